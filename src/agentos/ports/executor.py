"""The executor port: where programs live. One worker per trust domain; the kernel's process runs none of them.

Rule 1: a worker speaks only through the socket it inherited; whoever holds that socket is that worker.
Rule 2: `start` returns when the worker is launched, not when its program has run.
Rule 3: after `kill` returns, the worker and all it started are dead, frozen ones too.
"""

from typing import NamedTuple, Protocol


class Launch(NamedTuple):
    domain: str  # trust domain: processes of one domain may share a worker
    argv: tuple[str, ...]  # () means: the SDK's own worker, which hosts many programs


class Worker(Protocol):
    """A launched worker: an open socket and an os process."""

    id: int  # counter, per executor
    os_pid: int
    socket: int  # file descriptor of our end

    def is_alive(self) -> bool: ...


class Executor(Protocol):
    name: str

    async def start(self, launch: Launch) -> Worker: ...
    async def kill(self, worker: Worker) -> None: ...
    async def reap(self, worker: Worker) -> int: ...  # its exit status, once it has ended; killed if it lingers
    async def close(self) -> None: ...
