"""A small real model on this machine, in a process of its own, spoken to over the loopback.

The process is started at the first request, because loading takes seconds and gigabytes that most runs never need,
and started again when it has died. It ends with this one.

Rule 1: the model's memory is never in this process, and never over its bound.
Rule 2: nobody else on the machine can use it: the port is random, on the loopback, behind a random key.
Rule 3: it promises no tools. Models of this size write calls as text, and the engine does not hold them to the format;
        JSON by grammar it does hold.
Rule 4: a model that keeps dying is not started for ever.
"""

import asyncio
import importlib.util
import json
import os
import secrets
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import IO, NamedTuple

from agentos.abi.families import family_of
from agentos.abi.inference import Abilities, Answer, Delta, Request
from agentos.drivers.wire import openai
from agentos.drivers.wire.chat import Chat
from agentos.drivers.wire.http import Bounds, Endpoint, Secret, Wire, parse_object
from agentos.ports.inference import Garbled, Refused, Unreachable

_SERVER = Path(__file__).with_name("inference_local_server.py")
_ENVIRONMENT = ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TMPDIR")  # no keys of ours
_REFUSED_STATUS = 3  # with this the process says that the engine would not load the model
_STARTS_MAX = 3  # within the window: a model that dies at once dies of something that starting does not cure
_STARTS_WINDOW_S = 60
_CLOSE_S = 2  # from end of file on its stdin to the end of the process; after that it is killed
_TELL_EVERY_S = 1  # while loading: often enough to see that it lives
_LAST_WORDS_BYTES = 600  # of the engine's log, in an error


class Bound(NamedTuple):
    """What the model's process may take."""

    memory_bytes_max: int = 4 << 30  # address space; a 1.1 GB model with 8k tokens of context takes half of it
    threads: int = max(1, (os.cpu_count() or 2) // 2)  # the engine spins while it waits, so it must not have every core
    context_tokens_max: int = 8192  # about 230 MB of cache for a model of 1.5 billion weights
    start_s: int = 120  # reading a gigabyte from a slow disk


BOUND = Bound()
_WIRE_BOUNDS = Bounds(connect_s=5, silence_s=900, total_s=3600)  # two slow cores read a long prompt for minutes


class _Child(NamedTuple):
    process: asyncio.subprocess.Process
    wire: Wire
    chat: Chat
    log: IO[bytes]


class Local:
    """A model file on this machine. The file is trusted to be what its name says: the model store verifies it."""

    def __init__(
        self,
        model_path: Path,
        *,
        model: str = "",
        name: str = "local",
        family: str = "",
        bound: Bound = BOUND,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self._model_path = model_path
        self._model = model or model_path.stem
        self._bound = bound
        self._progress = progress or (lambda _: None)
        self._abilities = Abilities(
            has_tools=False,
            has_streaming=True,
            has_json_mode=True,
            context_tokens_max=bound.context_tokens_max,
            zone="local",
            family=family or family_of(self._model),
        )
        self._child: _Child | None = None
        self._starting = asyncio.Lock()
        self._started_at_s: deque[float] = deque(maxlen=_STARTS_MAX)

    def __repr__(self) -> str:
        return f"Local({self._model_path}, model={self._model!r})"

    def abilities(self) -> Abilities:
        return self._abilities

    @property
    def pid(self) -> int | None:
        """The model's process while it lives."""
        return self._child.process.pid if self._child and self._child.process.returncode is None else None

    async def generate(self, request: Request, *, key: str) -> Answer:
        chat = await self._ready()
        return await chat.generate(self._own(request), key=key)

    async def stream(self, request: Request, *, key: str) -> AsyncIterator[Delta | Answer]:
        chat = await self._ready()
        async with aclosing(chat.stream(self._own(request), key=key)) as items:
            async for item in items:
                yield item

    async def start(self) -> None:
        """Loads the model now instead of at the first request."""
        await self._ready()

    async def close(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await _end(child)

    def _own(self, request: Request) -> Request:
        if request.model in ("", self._model):
            return request
        raise Refused(f"{self.name} holds {self._model!r} and not {request.model!r}; ask for that, or for no name")

    async def _ready(self) -> Chat:
        async with self._starting:
            if self._child is not None and self._child.process.returncode is None:
                return self._child.chat
            if self._child is not None:
                dead, self._child = self._child, None
                self._progress(f"{self._model} ended with status {dead.process.returncode}; starting it again")
                await _end(dead)
            self._child = await self._start()
            return self._child.chat

    async def _start(self) -> _Child:
        self._check_startable()
        api_key = secrets.token_urlsafe(24)
        # Open files of this process are not inherited, so no other child can hold this one's stdin open.
        log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the child
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", str(_SERVER)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            start_new_session=True,  # a Ctrl-C at the terminal is for the parent, which then ends this one in order
        )
        try:
            url = await self._wait_loaded(process, log, api_key)
            child = self._connect(process, log, Endpoint(f"{url}/v1", Secret(api_key)))
            await child.wire.get_json("/models")  # it answers, and to our key
            self._progress(f"{self._model} is ready")
            return child
        except BaseException:
            await _kill(process)
            log.close()
            raise

    def _check_startable(self) -> None:
        if importlib.util.find_spec("xllamacpp") is None:
            raise Refused("the local model needs xllamacpp, which is not installed; install agentos with extra 'local'")
        if not self._model_path.is_file():
            raise Refused(f"model file {self._model_path} is not there; pull the model first")
        now_s = asyncio.get_running_loop().time()
        if len(self._started_at_s) == _STARTS_MAX and now_s - self._started_at_s[0] < _STARTS_WINDOW_S:
            error = Unreachable(
                f"{self._model} died {_STARTS_MAX} times within {_STARTS_WINDOW_S} s; not started again"
            )
            error.retry_after_ns = int((_STARTS_WINDOW_S - (now_s - self._started_at_s[0])) * 1_000_000_000)
            raise error
        self._started_at_s.append(now_s)

    async def _wait_loaded(self, process: asyncio.subprocess.Process, log: IO[bytes], api_key: str) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        settings = {
            "parent_pid": os.getpid(),
            "model_path": str(self._model_path),
            "model": self._model,
            "api_key": api_key,
            "threads": self._bound.threads,
            "context_tokens_max": self._bound.context_tokens_max,
            "memory_bytes_max": self._bound.memory_bytes_max,
        }
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        line = await self._first_line(process.stdout)
        if not line:
            await _kill(process)
            words = f"{self._model} did not start: {_last_words(log, api_key)}"
            raise Refused(words) if process.returncode == _REFUSED_STATUS else Unreachable(words)
        url = parse_object(line).get("url")
        if not isinstance(url, str):
            raise Garbled(f"{self._model} started and did not say where it listens")
        return url

    async def _first_line(self, stdout: asyncio.StreamReader) -> bytes:
        """The line that says where it listens, b"" when the process ended first; tells the time while it waits."""
        megabytes = self._model_path.stat().st_size >> 20
        for waited_s in range(0, self._bound.start_s, _TELL_EVERY_S):
            self._progress(f"loading {self._model} ({megabytes} MB), {waited_s} s")
            with suppress(TimeoutError):  # nothing is lost: a line that is not whole stays in the reader
                async with asyncio.timeout(_TELL_EVERY_S):
                    return await stdout.readline()
        raise Unreachable(f"{self._model} was not loaded after start_s = {self._bound.start_s} s; raise it")

    def _connect(self, process: asyncio.subprocess.Process, log: IO[bytes], endpoint: Endpoint) -> _Child:
        wire = Wire(endpoint, _WIRE_BOUNDS)
        chat = Chat(
            wire,
            name=self.name,
            abilities=self._abilities,
            model=self._model,
            provider="local",
            accent=openai.Accent(),
        )
        return _Child(process, wire, chat, log)


async def _end(child: _Child) -> None:
    await child.wire.close()
    assert child.process.stdin is not None
    child.process.stdin.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            await child.process.wait()
    await _kill(child.process)
    child.log.close()


async def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _last_words(log: IO[bytes], api_key: str) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - _LAST_WORDS_BYTES))
    words = " ".join(log.read(_LAST_WORDS_BYTES).decode("utf-8", "replace").split())
    return Secret(api_key).scrub(words) or "it said nothing; was it killed for want of memory?"
