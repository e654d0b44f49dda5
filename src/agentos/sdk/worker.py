"""The worker: an operating-system process that hosts SDK programs of one trust domain. Run as
`python -m agentos.sdk.worker FD`, where FD is the socket it inherited.

Rule 1: it holds no authority of its own. What a program does goes through the socket, and the socket is who it is.
Rule 2: a program that fails ends its process with status 1 and the error's last line; the worker goes on.
Rule 3: when the socket closes, the worker ends at once: an orphan must not go on working.
"""

import asyncio
import base64
import importlib
import os
import socket
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import msgspec

from agentos.abi.calls import AnyCall
from agentos.abi.calls.process import Exit
from agentos.abi.ids import Digest, Pid
from agentos.abi.refusals import NotFound, Refusal
from agentos.abi.replies import Response
from agentos.sdk.errors import raising
from agentos.sdk.system import System

FRAME_BYTES_MAX = 32 << 20  # as the kernel's side has it
CACHE_BYTES_MAX = 8 << 20  # content kept per program between the response that brought it and the read that wants it


class Incoming(msgspec.Struct):
    """What the kernel sends."""

    op: str  # run | halt | ping | response | content | refused
    id: int = 0
    pid: Pid = Pid("")
    incarnation: int = 0
    program: str = ""
    n: int = 0
    args: Digest | None = None
    state: Digest | None = None
    blobs: dict[Digest, str] = {}
    response: Response | None = None
    digest: Digest = Digest("")
    content: str = ""
    refusal: Refusal | None = None


_DECODE = msgspec.json.Decoder(Incoming).decode
_ENCODE = msgspec.json.Encoder().encode


class Link:
    """The socket, shared by the programs of this worker."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._waiting: dict[int, asyncio.Future[Incoming]] = {}
        self._last = 0
        self._out: list[bytes] = []

    def send(self, frame: Mapping[str, Any]) -> None:
        """Put a frame on the socket; all of one turn of the event loop travel in one write."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(_ENCODE(frame) + b"\n")

    def _flush(self) -> None:
        self._writer.write(b"".join(self._out))
        self._out.clear()

    async def ask(self, frame: dict[str, Any]) -> Incoming:
        """Send a frame, wait for the one that answers it."""
        self._last += 1
        frame["id"] = self._last
        future = asyncio.get_running_loop().create_future()
        self._waiting[self._last] = future
        try:
            self.send(frame)
            answer: Incoming = await future
            return answer
        finally:
            del self._waiting[frame["id"]]

    def answer(self, frame: Incoming) -> None:
        future = self._waiting.get(frame.id)
        if future is not None and not future.done():
            future.set_result(frame)


class Wire:
    """One program's calls."""

    def __init__(self, link: Link, pid: Pid, incarnation: int) -> None:
        self._link, self._pid, self._incarnation = link, pid, incarnation
        self._cache: dict[Digest, bytes] = {}

    async def call(self, strand: int, n: int, call: AnyCall, blobs: Mapping[Digest, bytes]) -> Response:
        frame: dict[str, Any] = {
            "op": "call",
            "pid": self._pid,
            "incarnation": self._incarnation,
            "strand": strand,
            "n": n,
            "call": call,
        }
        if blobs:
            frame["blobs"] = {digest: base64.b64encode(body).decode() for digest, body in blobs.items()}
        answer = await self._link.ask(frame)
        assert answer.response is not None, "a call is answered with a response"
        self.keep(answer.blobs)
        return answer.response

    def keep(self, blobs: Mapping[Digest, str]) -> None:
        """Hold content that came along, until there is too much of it."""
        if sum(map(len, self._cache.values())) > CACHE_BYTES_MAX:
            self._cache.clear()
        for digest, content in blobs.items():
            self._cache[digest] = base64.b64decode(content)

    async def read(self, digest: Digest) -> bytes:
        if digest not in self._cache:
            answer = await self._link.ask({"op": "read", "pid": self._pid, "digest": digest})
            if answer.refusal is not None:
                raise raising(answer.refusal)
            return base64.b64decode(answer.content)
        return self._cache[digest]


async def run(link: Link, frame: Incoming) -> None:
    """One program, from `main` to exit."""
    wire = Wire(link, frame.pid, frame.incarnation)
    wire.keep(frame.blobs)
    system = System(wire, n=frame.n)
    try:
        result = await _main(frame, wire, system)
        ending = _ending(result)
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 whatever a program does wrong is its own process's end
        traceback.print_exc()
        ending = Exit(status=1, reason=f"{type(error).__name__}: {error}"[:500]), {}
    await wire.call(0, system._n + 1, *ending)


async def _main(frame: Incoming, wire: Wire, system: System) -> Any:
    main = await asyncio.to_thread(load, frame.program)  # importing takes long, and pings are to be answered meanwhile
    given = [msgspec.json.decode(await wire.read(frame.args)) if frame.args else None]
    if frame.state is not None:
        given.append(msgspec.json.decode(await wire.read(frame.state)))
    return await main(system, *given)


def _ending(result: Any) -> tuple[Exit, dict[Digest, bytes]]:
    """What `main` returned, as the exit call: None, or anything JSON can hold."""
    from agentos.sdk.system import _content

    blobs, digest = _content(None if result is None else msgspec.json.encode(result))
    return Exit(status=0, result=digest), blobs


def load(program: str) -> Any:
    """The function a program names: "python:MODULE:FUNCTION"."""
    kind, _, rest = program.partition(":")
    module, _, function = rest.partition(":")
    if kind != "python" or not module or not function:
        raise raising(NotFound(thing=f"program {program!r}", fact="is not of the form python:MODULE:FUNCTION"))
    return getattr(importlib.import_module(module), function)


async def serve(fd: int) -> None:
    """Until the socket closes."""
    ours = socket.socket(fileno=fd)
    reader, writer = await asyncio.open_unix_connection(sock=ours, limit=FRAME_BYTES_MAX)
    link, programs = Link(writer), dict[Pid, asyncio.Task[None]]()
    async with asyncio.TaskGroup() as group:
        while raw := await reader.readline():
            frame = _DECODE(raw)
            match frame.op:
                case "response" | "content":
                    link.answer(frame)
                case "run":
                    _drop(programs, frame.pid)
                    programs[frame.pid] = group.create_task(run(link, frame))
                case "halt":
                    _drop(programs, frame.pid)
                case "ping":
                    link.send({"op": "pong", "id": frame.id})
                case _:
                    print(f"kernel says: {raw.decode()[:500]}", file=sys.stderr)
        os._exit(0)


def _drop(programs: dict[Pid, asyncio.Task[None]], pid: Pid) -> None:
    task = programs.pop(pid, None)
    if task is not None:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
