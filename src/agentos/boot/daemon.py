"""The daemon: one kernel for one workspace. Put together here, in the order in which the parts need each other.

    python -m agentos.boot.daemon --home HOME [--scripted FILE]

It ends when it is told to, when the disk refuses, or when nothing has happened for IDLE_S and no order is open.
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
import uuid
from collections.abc import Mapping
from pathlib import Path

import agentos
from agentos.abi.calls.kernel import Boot
from agentos.abi.effects import Abort, Halt, Instruction, Launch, Perform
from agentos.abi.inference import Answer
from agentos.boot.models import Choice, choose, open_backend, probes_of
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
from agentos.machine import recover
from agentos.machine.desk import MachineDesk
from agentos.machine.loop import Machine
from agentos.machine.perform import Devices, Performer
from agentos.machine.prepare import Preparer, Route
from agentos.machine.processes import Programs
from agentos.machine.trap import Trap
from agentos.ports.inference import Inference
from agentos.ports.tool import Tool
from agentos.userland.programs import BUILTIN

IDLE_S = 900  # a quarter of an hour: longer than a pause for thought, shorter than a night of memory held for nothing
CLASSES = ("tiny", "coder", "frontier", "judge")  # model classes an order may ask for; one backend serves all here


class WallClock:
    """The machine's own clock. `agentos.ports.clock.Clock`."""

    def wall_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep_until(self, monotonic_ns: int) -> None:
        await asyncio.sleep(max(0, monotonic_ns - time.monotonic_ns()) / 1e9)


class Daemon:
    """One workspace's kernel and everything around it."""

    def __init__(self, folder: Folder, choice: Choice, env: Mapping[str, str], *, script: Path | None = None) -> None:
        folder.make()
        self.folder, self.choice = folder, choice
        self.clock = WallClock()
        self.journal = SqliteJournal(folder.journal)
        self.blobs = NearBlobs(self.journal, FileBlobs(folder.blobs))
        self.backend = open_backend(choice, env, script=script)
        self.sandbox = NativeSandbox()
        self.forge = GitForge(folder.forge)
        self.executor = LocalExecutor(folder.log / "workers.log")
        self.prices = Prices()
        self.machine = self._machine()
        self.devices = self._devices()
        preparer = Preparer(self.blobs, self._routes(), self.devices.tools)
        self.trap = Trap(self.machine, self.blobs, preparer)
        self.performer = Performer(self.machine, self.devices, jitter_milli=lambda: random.randrange(1001))
        self.programs = Programs(self.machine, self.trap, self.executor, self.blobs, builtin=BUILTIN)
        self.desk = MachineDesk(self.machine, self.trap, self.blobs, status=self._status)
        self.gate = SocketGate(self.desk, folder.socket)
        self._last_events, self._quiet_since = 0, time.monotonic()

    def _machine(self) -> Machine:
        workspace = self.journal.meta("workspace") or str(uuid.uuid4())
        state, head = recover.recover(self.journal, workspace=workspace, now_ns=time.time_ns(), salts=os.urandom)
        self.journal.append([], is_durable=True)  # what a dead kernel left in the log is made durable before it is acted on
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
        )
        return Devices(
            blobs=self.blobs,
            forge=self.forge,
            checker=SuiteChecker(self.forge, self.sandbox, self.blobs),
            backends={self.choice.backend: self.backend},
            models={},
            tools={tool.manifest.name: tool for tool in tools},
            cost=self._cost,
            copies=self.folder.copies,
        )

    def _routes(self) -> dict[str, Route]:
        provider, model = self.choice.backend, self.choice.model

        def bound(inputs: int, outputs: int) -> int:
            return self.prices.bound_uusd(provider, model, inputs, outputs)

        return {name: Route(self.choice.backend, model, bound, "") for name in CLASSES}

    def _cost(self, answer: Answer) -> tuple[int, str]:
        cost = self.prices.cost_uusd(answer.provider, answer.model, answer.usage)
        return cost.uusd, cost.price_version

    def _status(self) -> dict[str, object]:
        level = self.sandbox.probe()
        return {
            "version": agentos.__version__,
            "home": str(self.folder.home),
            "pid": os.getpid(),
            "models": [{"backend": self.choice.backend, "model": self.choice.model, "reason": self.choice.reason}],
            "isolation": {"level": level.name, "is_usable": level.is_usable, "holes": level.holes, "missing": level.missing},
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
        async with asyncio.TaskGroup() as group:
            self.performer.begin(group)
            self.programs.begin(group)
            background = [group.create_task(self.gate.serve()), group.create_task(self._watch())]
            self.machine.tell(Boot(epoch=self.machine.state.epoch + 1))
            self._announce()
            try:
                await self.machine.run()
            finally:
                for task in background:
                    task.cancel()
                await self._close()

    async def _close(self) -> None:
        self.performer.close()
        self.programs.close()
        await self.executor.close()
        await self.backend.close()
        recover.snapshot(self.journal, self.machine.state, self.machine.head)
        self.journal.close()
        for path in (self.folder.socket, self.folder.daemon):
            path.unlink(missing_ok=True)

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


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="agentos.boot.daemon")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--scripted", type=Path)
    told = parser.parse_args(argv)
    env = dict(os.environ)
    choice = Choice(backend="scripted", reason="told to") if told.scripted else choose(env, probes_of(env, lambda size: False))
    daemon = Daemon(Folder(told.home), choice, env, script=told.scripted)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(daemon.run())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
