"""The gate for people on this machine: a Unix socket in the workspace, one JSON object per line each way.

    hello ─> who is there, by peer credentials ─> call | follow | blob | status | stop

Rule 1: who is there is what the operating system says of the other end. A frame cannot claim a name.
Rule 2: the socket is the owner's alone (mode 0600, in a folder of mode 0700), and another user is turned away with a
        reason even where the mode was changed.
Rule 3: the gate translates; it decides nothing. Each frame has an id, and each answer carries it.
"""

import asyncio
import base64
import os
import pwd
import socket
import struct
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import msgspec

from agentos.abi.calls import AnyCall
from agentos.abi.ids import Digest, Pid
from agentos.ports.desk import Desk

FRAME_BYTES_MAX = 32 << 20  # content_bytes_max in base64, and room
BLOB_REPLY_MAX = 64 << 10  # content that travels with a reply


class Frame(msgspec.Struct, omit_defaults=True):
    """What a client sends."""

    op: str  # call | follow | blob | status | stop
    id: int = 0
    call: AnyCall | None = None
    blobs: dict[Digest, str] = {}
    order: str = ""
    after: int = 0
    is_live: bool = True
    digest: Digest = Digest("")


_DECODE = msgspec.json.Decoder(Frame).decode
_ENCODE = msgspec.json.Encoder().encode


def peer_uid(connection: socket.socket) -> int:
    """The user id of the process at the other end, from the operating system."""
    if sys.platform == "darwin":
        credentials = connection.getsockopt(0, 1, 76)  # SOL_LOCAL, LOCAL_PEERCRED: struct xucred {version, uid, ...}
        return int(struct.unpack_from("=II", credentials)[1])
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def name_of(uid: int) -> str:
    """A user's name, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


class SocketGate:
    """Listens until cancelled."""

    def __init__(self, desk: Desk, path: Path) -> None:
        self._desk, self._path = desk, path
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self) -> None:
        """Accept people until cancelled. The path must be free: the workspace's lock guards it."""
        self._path.unlink(missing_ok=True)
        old = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(self._accept, str(self._path), limit=FRAME_BYTES_MAX)
        finally:
            os.umask(old)
        try:
            await server.serve_forever()
        finally:  # a server waits for its connections, and a client may hold one for as long as it likes
            server.close()
            for writer in list(self._writers):
                writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        uid = peer_uid(writer.get_extra_info("socket"))
        if uid not in (os.getuid(), 0):
            self._send(writer, {"op": "refused", "fact": f"this workspace belongs to {name_of(os.getuid())}"})
            writer.close()
            return
        self._writers.add(writer)
        pid = await self._desk.enroll(f"user:{name_of(uid)}", "operator")
        tasks: list[asyncio.Task[None]] = []
        try:
            async with asyncio.TaskGroup() as group:
                try:
                    while raw := await self._line(reader, writer):
                        tasks = [task for task in tasks if not task.done()]
                        tasks += self._take(group, pid, raw, writer)
                finally:
                    for task in tasks:
                        task.cancel()
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """The next frame; nothing at the end, and after one that is too long: where it would end cannot be told."""
        try:
            return await reader.readline()
        except ConnectionError:
            return b""
        except ValueError:
            self._send(writer, {"op": "refused", "fact": f"the frame is longer than {FRAME_BYTES_MAX} bytes"})
            return b""

    def _take(
        self, group: asyncio.TaskGroup, pid: Pid, raw: bytes, writer: asyncio.StreamWriter
    ) -> Iterator[asyncio.Task[None]]:
        try:
            frame = _DECODE(raw)
        except msgspec.DecodeError as error:
            self._send(writer, {"op": "refused", "fact": f"the frame cannot be read: {error}"[:500]})
            return
        match frame.op:
            case "call":
                yield group.create_task(self._said(self._call(pid, frame, writer), frame, writer))
            case "follow":
                yield group.create_task(self._said(self._follow(frame, writer), frame, writer))
            case "blob":
                yield group.create_task(self._said(self._blob(frame, writer), frame, writer))
            case "status":
                self._send(writer, {"op": "status", "id": frame.id, "status": self._desk.status()})
            case "stop":
                self._send(writer, {"op": "stopping", "id": frame.id})
                self._desk.stop()
            case _:
                self._send(writer, {"op": "refused", "id": frame.id, "fact": f"there is no operation {frame.op!r}"})

    async def _said(self, answer: Coroutine[Any, Any, None], frame: Frame, writer: asyncio.StreamWriter) -> None:
        """Answer; what goes wrong is said on this connection and ends no other."""
        try:
            await answer
        except ConnectionError:
            return  # nobody is there any more
        except Exception as error:  # noqa: BLE001 the frame's own fault or a broken blob: told to whoever asked
            fact = f"{type(error).__name__}: {error}"[:500]
            self._send(writer, {"op": "refused", "id": frame.id, "fact": fact})

    async def _blob(self, frame: Frame, writer: asyncio.StreamWriter) -> None:
        content = self._desk.blob(frame.digest)
        body = None if content is None else base64.b64encode(content).decode()
        self._send(writer, {"op": "content", "id": frame.id, "content": body})

    async def _call(self, pid: Pid, frame: Frame, writer: asyncio.StreamWriter) -> None:
        if frame.call is None:
            self._send(writer, {"op": "refused", "id": frame.id, "fact": "the frame holds no call"})
            return
        blobs = {digest: base64.b64decode(body) for digest, body in frame.blobs.items()}
        response = await self._desk.call(pid, frame.call, blobs)
        self._send(writer, {"op": "response", "id": frame.id, "response": response})

    async def _follow(self, frame: Frame, writer: asyncio.StreamWriter) -> None:
        async for record in self._desk.follow(order=frame.order, after=frame.after, is_live=frame.is_live):
            self._send(writer, {"op": "fact", "id": frame.id, "fact": list(record)})
            await writer.drain()
        self._send(writer, {"op": "end", "id": frame.id})

    def _send(self, writer: asyncio.StreamWriter, frame: dict[str, Any]) -> None:
        writer.write(_ENCODE(frame) + b"\n")
