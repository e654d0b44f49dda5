"""The sandbox port: run one native command so that it can touch what it was given and nothing else.

Rule 1: no network, a scrubbed environment, a private /tmp and HOME, the root read-only; only `writable` is writable.
Rule 2: when `run` returns, nothing the command started is alive. A time-out kills the whole tree.
Rule 3: output over its bound keeps its beginning and its end, with a line between them that says how much is missing;
        the command goes on, and the cut is told.
Rule 4: a machine that cannot do this says so in `probe()`, with what is missing; `run` then raises `Unavailable`.
        Nothing is downgraded in silence.
"""

from pathlib import Path
from typing import NamedTuple, Protocol


class Bind(NamedTuple):
    """A host path made visible inside at `inside`; read-only unless `is_writable`."""

    host: Path
    inside: str
    is_writable: bool = False


class Limits(NamedTuple):
    wall_ns: int = 60_000_000_000
    cpu_s: int = 120
    memory_bytes_max: int = 2 << 30
    processes_max: int = 128
    file_bytes_max: int = 256 << 20  # any one file
    disk_bytes_max: int = 1 << 30  # all that is written behind writable binds
    output_bytes_max: int = 1 << 20  # stdout and stderr, each


class Command(NamedTuple):
    argv: tuple[str, ...]
    binds: tuple[Bind, ...] = ()
    cwd: str = "/copy"
    env: tuple[tuple[str, str], ...] = ()  # all there is, besides PATH, HOME, TMPDIR, LANG
    stdin: bytes = b""
    limits: Limits = Limits()


class Exit(NamedTuple):
    status: int  # exit status; 128 + signal when killed by one
    reason: str  # exited | signalled | timed_out | exhausted
    stdout: bytes
    stderr: bytes
    is_cut: bool  # output was over its bound
    wall_ns: int
    cpu_ns: int
    level: str  # isolation level it really ran under
    limit: str = ""  # the field of Limits that was reached, if that ended it


class Level(NamedTuple):
    """What this machine gives."""

    name: str  # "bubblewrap" | "none"
    is_usable: bool
    missing: tuple[str, ...] = ()  # what would have to be installed or allowed
    holes: tuple[str, ...] = ()  # what this level leaves open


class Unavailable(Exception):
    """This machine cannot isolate; the message says what to install."""


class Sandbox(Protocol):
    name: str

    def probe(self) -> Level: ...
    async def run(self, command: Command) -> Exit: ...  # cancelling kills the tree; ValueError: malformed command
