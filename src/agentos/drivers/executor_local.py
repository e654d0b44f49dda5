"""Workers as child processes of this machine, each holding one end of a socket pair.

Rule 1: the environment is scrubbed to what Python needs; no secret of the kernel's reaches a worker.
Rule 2: a worker dies with its socket: the SDK's ends itself, and `kill` takes the whole process group.
Rule 3: standard output and error go to the log file of the workspace, never to a terminal.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

from agentos.ports.executor import Launch, Worker

_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")  # what finding Python and its modules takes
KILL_WAIT_S = 5.0  # a process that KILL does not end within this is stuck in the kernel's own I/O


class LocalWorker:
    """A child process and our end of its socket."""

    def __init__(self, id: int, process: asyncio.subprocess.Process, fd: int) -> None:
        self.id, self.os_pid, self.socket = id, process.pid, fd
        self.process = process

    def is_alive(self) -> bool:
        return self.process.returncode is None


class LocalExecutor:
    """Starts workers here."""

    name = "local"

    def __init__(self, log: Path) -> None:
        self._log = log
        self._count = 0
        self._workers: dict[int, LocalWorker] = {}

    async def start(self, launch: Launch) -> LocalWorker:
        ours, theirs = socket.socketpair()
        argv = launch.argv or (sys.executable, "-m", "agentos.sdk.worker", str(theirs.fileno()))
        env = {name: os.environ[name] for name in _KEPT if name in os.environ}
        env["AGENTOS_FD"] = str(theirs.fileno())
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        theirs.close()
        ours.setblocking(False)
        self._count += 1
        worker = LocalWorker(self._count, process, ours.detach())
        self._workers[worker.id] = worker
        return worker

    async def reap(self, worker: Worker) -> int:
        """The exit status of a worker that has closed its socket; 128 and the signal where one ended it."""
        mine = self._workers.get(worker.id)
        if mine is None:
            return 137
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILL_WAIT_S):
                await mine.process.wait()
        await self.kill(worker)
        code = mine.process.returncode
        return 137 if code is None else code if code >= 0 else 128 - code

    async def kill(self, worker: Worker) -> None:
        mine = self._workers.pop(worker.id, None)
        if mine is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.os_pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILL_WAIT_S):
                await mine.process.wait()

    async def close(self) -> None:
        for worker in list(self._workers.values()):
            await self.kill(worker)
