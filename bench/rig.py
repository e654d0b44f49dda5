"""A workspace for measuring: the machine with the drivers that the daemon gives it, in this process.

What differs from the daemon: the model answers at once and costs nothing, and programs may run in this process
(`is_inline`), as the peers' do; workers are real processes otherwise. Nothing else is left out.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import msgspec

from agentos.abi.calls import AnyCall
from agentos.abi.calls.kernel import Boot
from agentos.abi.calls.process import Exit, Spawn
from agentos.abi.effects import Abort, Halt, Instruction, Launch, Perform
from agentos.abi.events.base import Event
from agentos.abi.events.process import ProcessReaped
from agentos.abi.ids import Digest, Pid
from agentos.abi.inference import Answer, Request, Text, Usage
from agentos.abi.replies import Response, Spawned
from agentos.abi.rights import Grant, Right
from agentos.drivers.blobs_files import FileBlobs
from agentos.drivers.blobs_near import NearBlobs
from agentos.drivers.executor_local import LocalExecutor
from agentos.drivers.journal_sqlite import SqliteJournal
from agentos.machine import recover
from agentos.machine.desk import MachineDesk
from agentos.machine.loop import Machine
from agentos.machine.perform import Devices, Performer
from agentos.machine.prepare import Preparer, Route
from agentos.machine.processes import RESIDENTS_MAX, Programs
from agentos.machine.trap import Trap
from agentos.ports.journal import Row
from agentos.sdk.system import System, _content
from agentos.sdk.worker import load

MODELS = (Grant(Right.INFER, "/**"),)
WAIT_S = 300.0  # for a condition that takes seconds; five minutes late is a fault
TICKS = os.sysconf("SC_CLK_TCK")


class WallClock:
    """The machine's own clock, as the daemon has it. `agentos.ports.clock.Clock`."""

    def wall_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep_until(self, monotonic_ns: int) -> None:
        await asyncio.sleep(max(0, monotonic_ns - time.monotonic_ns()) / 1e9)


class Prompt:
    """A model that has answered already. `agentos.ports.inference.Inference`, as far as programs here use it."""

    name = "prompt"

    async def generate(self, request: Request, *, key: str) -> Answer:
        usage = Usage(input_tokens=5, output_tokens=1)
        return Answer(content=(Text("ok"),), stop="end", usage=usage, model="m", provider="prompt")


class Direct:
    """A program's calls, straight into the trap."""

    def __init__(self, rig: "Rig", pid: Pid, incarnation: int) -> None:
        self._rig, self._pid, self._incarnation = rig, pid, incarnation

    async def call(self, strand: int, n: int, call: AnyCall, blobs: Mapping[Digest, bytes]) -> Response:
        return await self._rig.trap.call(self._pid, self._incarnation, strand, n, call, blobs)

    async def read(self, digest: Digest) -> bytes:
        return self._rig.blobs.get(digest)


class Rig:
    """One workspace. Made by `running`."""

    def __init__(self, folder: Path, *, is_inline: bool, residents_max: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.journal = SqliteJournal(folder / "journal.db")
        self.blobs = NearBlobs(self.journal, FileBlobs(folder / "blobs"))
        state, head = recover.recover(self.journal, workspace="bench", now_ns=time.time_ns(), salts=os.urandom)
        self.machine = Machine(
            state, self.journal, self.blobs, WallClock(), head=head, salts=os.urandom, crash=lambda name: None
        )
        routes = {"coder": Route("prompt", "m", lambda inputs, outputs: 0, "")}
        self.trap = Trap(self.machine, self.blobs, Preparer(self.blobs, routes, {}))
        devices = Devices(
            blobs=self.blobs,
            forge=None,  # type: ignore[arg-type]
            checker=None,  # type: ignore[arg-type]
            backends={"prompt": Prompt()},  # type: ignore[dict-item]
            models={},
            tools={},
            cost=lambda answer: (0, "free"),
            copies=folder / "copies",
        )
        self.performer = Performer(self.machine, devices, jitter_milli=lambda: 0)
        self.executor = LocalExecutor(folder / "log")
        self.programs = Programs(
            self.machine, self.trap, self.executor, self.blobs, builtin={}, residents_max=residents_max
        )
        self.desk = MachineDesk(self.machine, self.trap, self.blobs, status=dict)
        self.machine.responded = self._respond if is_inline else self.programs.respond
        self.machine.instructed = self._instruct
        self.machine.recorded = self._recorded
        self.waiting: list[asyncio.Task[None]] = []  # programs in this process
        self._gone: dict[Pid, asyncio.Future[None]] = {}
        self._is_inline = is_inline
        self.group: asyncio.TaskGroup | None = None

    def _instruct(self, instruction: Instruction) -> None:
        match instruction:
            case Perform():
                self.performer.perform(instruction)
            case Abort():
                self.performer.abort(instruction)
            case Launch():
                if self._is_inline:
                    assert self.group is not None
                    self.waiting.append(self.group.create_task(self._run(instruction)))
                else:
                    self.programs.launch(instruction)
            case Halt():
                self.programs.halt(instruction)

    def _respond(self, response: Response) -> None:
        self.trap.respond(response)

    async def _run(self, launch: Launch) -> None:
        """A program in this process, from `main` to exit; as `agentos.sdk.worker.run` does it in a worker."""
        process = self.machine.state.processes.get(launch.pid)
        if process is None or not process.spec.program.startswith("python:"):
            return
        wire = Direct(self, launch.pid, launch.incarnation)
        system = System(wire)
        args = msgspec.json.decode(await wire.read(process.spec.args)) if process.spec.args else None
        result = await load(process.spec.program)(system, args)
        blobs, digest = _content(None if result is None else msgspec.json.encode(result))
        await wire.call(0, system._n + 1, Exit(status=0, result=digest), blobs)

    async def person(self, name: str = "user:bench") -> Pid:
        """A person's process."""
        return await self.desk.enroll(name, "operator")

    async def spawn(self, person: Pid, program: str, args: object = None, grants: tuple[Grant, ...] = MODELS) -> Pid:
        """Start a program of this package as a person's child."""
        blobs, digest = _content(None if args is None else msgspec.json.encode(args))
        call = Spawn(program=f"python:bench.programs:{program}", role="worker", args=digest, grants=grants)
        response = await self.desk.call(person, call, blobs)
        assert isinstance(response.reply, Spawned), response.refusal
        return response.reply.pid

    async def wait_gone(self, pid: Pid) -> None:
        """Until a process has ended and was reaped, durably."""
        if pid in self.machine.state.processes:
            gone = self._gone.setdefault(pid, asyncio.get_running_loop().create_future())
            async with asyncio.timeout(WAIT_S):
                await gone

    def _recorded(self, row: Row, event: Event) -> None:
        self.desk.recorded(row, event)
        if isinstance(event, ProcessReaped):
            gone = self._gone.pop(event.pid, None)
            if gone is not None:
                gone.set_result(None)

    async def wait_until(self, is_true: Callable[[], bool], every_s: float = 0.01) -> None:
        """Until a condition holds."""
        deadline = time.monotonic() + WAIT_S
        while not is_true():
            assert time.monotonic() < deadline, "the condition did not come about"
            await asyncio.sleep(every_s)

    def workers(self) -> list[int]:
        """The workers' process ids."""
        return [worker.os_pid for worker in self.executor._workers.values()]

    def workers_cpu_s(self) -> float:
        """CPU seconds of the workers alive, user and system; /proc counts in ticks of 10 ms."""
        spent = 0
        for pid in self.workers():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            spent += int(fields[11]) + int(fields[12])
        return spent / TICKS


@contextlib.asynccontextmanager
async def running(folder: Path, *, is_inline: bool = False, residents_max: int = RESIDENTS_MAX) -> AsyncIterator[Rig]:
    """A booted workspace in a folder, ended in order at the end; without the daemon's last snapshot."""
    rig = Rig(folder, is_inline=is_inline, residents_max=residents_max)
    async with asyncio.TaskGroup() as group:
        rig.group = group
        rig.performer.begin(group)
        rig.programs.begin(group)
        group.create_task(rig.machine.run())
        rig.machine.tell(Boot(epoch=rig.machine.state.epoch + 1))
        try:
            yield rig
        finally:
            rig.machine.stop()
            rig.performer.close()
            rig.programs.close()
            await rig.executor.close()
            for task in rig.waiting:
                task.cancel()
    rig.journal.close()
