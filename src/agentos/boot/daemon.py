"""The daemon: one kernel for one workspace. Put together here, in the order in which the parts need each other.

    python -m agentos.boot.daemon --home HOME [--scripted FILE]

It ends when it is told to, when the disk refuses, or when nothing has happened for IDLE_S and no order is open.

Rule 1: whatever ends it, the last line it prints says why and what to do; a reserve on disk pays for that line.
Rule 2: only an orderly end keeps a snapshot. After any fault the state in memory is not known to be the record's.
Rule 3: tools that other packages bring are found by the entry points of `agentos.tool`. An order has one only if its
        contract names it, like any tool.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
import traceback
import uuid
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path

import agentos
from agentos.abi.calls.kernel import Boot
from agentos.abi.effects import Abort, Halt, Instruction, Launch, Perform
from agentos.abi.ids import Digest
from agentos.abi.inference import Answer
from agentos.boot import fabric
from agentos.boot.fabric import Served
from agentos.boot.models import Choice, Misconfigured, choose, probes_of
from agentos.boot.workspace import Folder
from agentos.drivers.blobs_files import FileBlobs
from agentos.drivers.blobs_near import NearBlobs
from agentos.drivers.check_suite import SuiteChecker
from agentos.drivers.executor_local import LocalExecutor
from agentos.drivers.forge_git import GitForge
from agentos.drivers.journal_sqlite import SqliteJournal
from agentos.drivers.prices import Prices
from agentos.drivers.sandbox_native import NativeSandbox, toolchain_binds
from agentos.drivers.tool_files import EditFile, ListFiles, ReadFile, SearchFiles, WriteFile
from agentos.drivers.tool_shell import Shell
from agentos.gates.socket import SocketGate
from agentos.machine import codec, recover
from agentos.machine.desk import MachineDesk
from agentos.machine.loop import Machine
from agentos.machine.perform import Devices, Performer
from agentos.machine.prepare import Preparer, Route
from agentos.machine.processes import Programs
from agentos.machine.trap import Trap
from agentos.ports import blobs as blob_port
from agentos.ports import journal as journal_port
from agentos.ports.tool import Tool
from agentos.userland.agents.programs import BUILTIN

IDLE_S = 900  # a quarter of an hour: longer than a pause for thought, shorter than a night of memory held for nothing
LOCK_S = 1.0  # a killed daemon lets go of its journal when its last thread is gone: milliseconds, on a slow disk more
RESERVE_BYTES = 65_536  # kept on disk for the last words of a daemon whose disk is full
# What ends a daemon with nothing wrong in it: its message is enough, a traceback would only hide it.
EXPECTED = (
    Misconfigured,
    codec.Newer,
    journal_port.Locked,
    journal_port.Unsuitable,
    journal_port.Failed,
    journal_port.Corrupt,
    blob_port.Failed,
    OSError,
)


class WallClock:
    """The machine's own clock. `agentos.ports.clock.Clock`."""

    def wall_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


class Stopped(Exception):
    """The daemon was told to end, or has nothing to do."""


class Daemon:
    """One workspace's kernel and everything around it."""

    def __init__(self, folder: Folder, served: Sequence[Served], prices: Prices) -> None:
        folder.make()
        self.folder, self.served, self.prices = folder, served, prices
        self.clock = WallClock()
        self.journal = owned(folder.journal)
        self._reserve()
        far = FileBlobs(folder.blobs)
        far.sweep()
        self.blobs = NearBlobs(self.journal, far)
        self.sandbox = NativeSandbox()
        self.forge = GitForge(folder.forge)
        self.executor = LocalExecutor(folder.log / "workers.log")
        self.machine = self._machine()
        self.devices = self._devices()
        preparer = Preparer(self.blobs, self._routes(), self.devices.tools, self._schema_of)
        self.trap = Trap(self.machine, self.blobs, preparer)
        self.performer = Performer(self.machine, self.devices, jitter_milli=lambda: random.randrange(1001))
        self.programs = Programs(self.machine, self.trap, self.executor, self.blobs, builtin=BUILTIN)
        self.desk = MachineDesk(self.machine, self.trap, self.blobs, status=self._status)
        self.gate = SocketGate(self.desk, folder.socket)
        self._last_events, self._quiet_since = 0, time.monotonic()

    def _machine(self) -> Machine:
        workspace = self.journal.meta("workspace") or str(uuid.uuid4())
        state, head = recover.recover(self.journal, workspace=workspace, now_ns=time.time_ns(), salts=os.urandom)
        self.journal.append(
            [], is_durable=True
        )  # what a dead kernel left in the log is made durable before it is acted on
        return Machine(state, self.journal, self.blobs, self.clock, head=head, salts=os.urandom, crash=crash_point)

    def _devices(self) -> Devices:
        binds = toolchain_binds("python3", "node", "npm", "make", "git")
        tools: tuple[Tool, ...] = (
            ReadFile(),
            WriteFile(),
            EditFile(),
            ListFiles(),
            SearchFiles(self.sandbox, binds=toolchain_binds()),
            *((Shell(self.sandbox, binds=binds),) if self.sandbox.probe().is_usable else ()),
            *brought(),
        )
        return Devices(
            blobs=self.blobs,
            forge=self.forge,
            checker=SuiteChecker(self.forge, self.sandbox, self.blobs, scratch=self.folder.home / "scratch"),
            backends={served.name: served.backend for served in self.served},
            models={},
            tools={tool.manifest.name: tool for tool in tools},
            cost=self._cost,
            copies=self.folder.copies,
        )

    def _schema_of(self, channel: str) -> Digest | None:
        row = self.machine.state.channels.get(channel)
        return row.schema if row is not None else None

    def _routes(self) -> dict[str, Route]:
        return {
            name: Route(served.name, served.choice.model, fabric.bound(served, self.prices), "")
            for served in self.served
            for name in served.classes
        }

    def _cost(self, answer: Answer) -> tuple[int, str]:
        cost = self.prices.cost_uusd(answer.provider, answer.model, answer.usage)
        return cost.uusd, cost.price_version

    def _status(self) -> dict[str, object]:
        level = self.sandbox.probe()
        return {
            "version": agentos.__version__,
            "home": str(self.folder.home),
            "pid": os.getpid(),
            "models": [
                {"backend": served.name, "model": served.choice.model, "reason": served.choice.reason}
                for served in self.served
            ],
            "isolation": {
                "level": level.name,
                "is_usable": level.is_usable,
                "holes": level.holes,
                "missing": level.missing,
            },
        }

    def _instruct(self, instruction: Instruction) -> None:
        match instruction:
            case Perform():
                self.performer.perform(instruction)
            case Abort():
                self.performer.abort(instruction)
            case Launch():
                self.programs.launch(instruction)
            case Halt():
                self.programs.halt(instruction)

    async def run(self) -> None:
        """Until stopped. The first thing that enters is the boot of a new epoch."""
        self.machine.responded = self.programs.respond
        self.machine.instructed = self._instruct
        self.machine.recorded = self.desk.recorded
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.machine.stop)
        try:
            async with asyncio.TaskGroup() as group:
                self.performer.begin(group)
                self.programs.begin(group)
                group.create_task(self.gate.serve())
                group.create_task(self._watch())
                self.machine.tell(Boot(epoch=self.machine.state.epoch + 1))
                self._announce()
                try:
                    await self._serve()
                finally:
                    await self._close()
        except* Stopped:
            pass

    async def _serve(self) -> None:
        """The loop, to its orderly end: `Stopped`, so that the group ends whatever still waits for an answer."""
        await self.machine.run()
        recover.snapshot(self.journal, self.machine.state, self.machine.head)
        raise Stopped

    async def _close(self) -> None:
        self.performer.close()
        self.programs.close()
        await self.executor.close()
        for served in self.served:
            await served.backend.close()
        self.journal.close()
        for path in (self.folder.socket, self.folder.daemon, self.folder.reserve):
            path.unlink(missing_ok=True)

    def _reserve(self) -> None:
        with contextlib.suppress(OSError):  # a disk that is full already is told of by whoever writes to it first
            self.folder.reserve.write_bytes(b"\0" * RESERVE_BYTES)

    def _announce(self) -> None:
        self.folder.daemon.write_text(json.dumps({"pid": os.getpid(), "socket": str(self.folder.socket)}))

    async def _watch(self) -> None:
        """Keep a snapshot at hand, and end when nothing has happened for long."""
        kept = self.machine.head.seq
        while True:
            await asyncio.sleep(1)
            if self.machine.head.seq - kept >= recover.SNAPSHOT_EVERY:
                kept = self.machine.head.seq
                recover.snapshot(self.journal, self.machine.state, self.machine.head)
            if self.machine.head.seq != self._last_events or self.machine.state.orders:
                self._last_events, self._quiet_since = self.machine.head.seq, time.monotonic()
            if time.monotonic() - self._quiet_since > IDLE_S:
                self.machine.stop()


def crash_point(name: str) -> None:
    """Die here, if the environment says so: how tests and the demo show that dying changes nothing."""
    if os.environ.get("AGENTOS_CRASH_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)


def owned(path: Path) -> SqliteJournal:
    """The journal, ours alone; Locked names the owner if it does not let go within LOCK_S."""
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            return SqliteJournal(path)
        except journal_port.Locked:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def brought() -> Iterator[Tool]:
    """The tools of other packages. Misconfigured names the one that cannot be had."""
    for entry in sorted(entry_points(group="agentos.tool")):
        try:
            yield entry.load()()
        except Exception as error:
            raise Misconfigured(
                f"tool {entry.name} ({entry.value}) cannot be loaded: {error}; remove its package"
            ) from error


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="agentos.boot.daemon")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--scripted", type=Path)
    told = parser.parse_args(argv)
    folder = Folder(told.home)
    try:
        _serve(folder, dict(os.environ), told.scripted)
    except KeyboardInterrupt:
        return 0
    except Exception as error:  # noqa: BLE001 the end of the process: said here, or never
        last_words(folder, error)
        return 1
    return 0


def _serve(folder: Folder, env: Mapping[str, str], script: Path | None) -> None:
    """One life of the daemon."""
    probes = probes_of(env, lambda size: False)
    choice = Choice(backend="scripted", reason="told to") if script else choose(env, probes)
    rows = {} if script else fabric.table(env, probes)
    served = fabric.serve(choice, rows, env, script=script)
    asyncio.run(Daemon(folder, served, fabric.prices(env)).run())


def last_words(folder: Folder, error: Exception) -> None:
    """Say what ended the daemon, on the log's last line."""
    cause: BaseException = error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    with contextlib.suppress(OSError):
        folder.reserve.unlink(missing_ok=True)
    if not isinstance(cause, EXPECTED):
        traceback.print_exception(error)
        cause = RuntimeError(
            f"a fault of its own ({type(cause).__name__}: {cause}); the record is kept: start it again"
        )
    print(f"agentos: the daemon ended: {cause}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
