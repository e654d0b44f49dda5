"""Programs in the simulator's own process: the part that workers play elsewhere, with all that can go wrong with them.

    Launch(pid, incarnation) ─> a task that runs the program over a wire to the trap, with delays both ways
    gremlin: a worker is lost (its task is dropped, Fence) | frozen (Fence, but it goes on: a zombie) | released

Rule 1: a program speaks through its wire only, under the incarnation it was launched in.
Rule 2: a zombie goes on calling. What it calls must be refused as stale; the wire holds the trap to that.
Rule 3: losing a worker loses no work: the record answers the program's next run.
"""

import asyncio
from collections.abc import Callable, Mapping
from hashlib import sha256
from random import Random
from typing import NamedTuple

import msgspec

from agentos.abi.calls import AnyCall
from agentos.abi.calls.kernel import Beat, Fence
from agentos.abi.calls.process import Exit
from agentos.abi.effects import Halt, Launch
from agentos.abi.ids import CallId, Digest, Pid
from agentos.abi.refusals import Closed, Stale
from agentos.abi.replies import Response
from agentos.kernel.process import RESIDENT
from agentos.kernel.state import Process
from agentos.machine.loop import Machine
from agentos.machine.trap import Trap, digest
from agentos.ports.blobs import Blobs
from agentos.sdk.system import System
from agentos.sdk.worker import load
from agentos.sim.world import Died, Living


class Heard(NamedTuple):
    """A response as a program got it."""

    id: CallId
    args: str  # digest of the call it made
    response: Response
    is_stale: bool  # its incarnation was over when it called


class Wire:
    """One incarnation's line to the trap. `agentos.sdk.system.Wire`."""

    def __init__(self, host: "Host", pid: Pid, incarnation: int) -> None:
        self._host, self._pid, self._incarnation = host, pid, incarnation

    async def call(self, strand: int, n: int, call: AnyCall, blobs: Mapping[Digest, bytes]) -> Response:
        return await self._host.call(self._pid, self._incarnation, CallId(self._pid, strand, n), call, blobs)

    async def read(self, digest: Digest) -> bytes:
        return self._host.read(digest)


class Host:
    """All programs of one life."""

    def __init__(
        self, life: Living, machine: Machine, trap: Trap, blobs: Blobs, random: Random, heard: Callable[[Heard], None]
    ) -> None:
        self._life, self._machine, self._trap, self._blobs = life, machine, trap, blobs
        self._random, self._heard = random, heard
        self._group: asyncio.TaskGroup | None = None
        self._running: dict[Pid, tuple[int, asyncio.Task[None]]] = {}
        self._zombies: list[asyncio.Task[None]] = []

    def begin(self, group: asyncio.TaskGroup) -> None:
        self._group = group

    def launch(self, instruction: Launch) -> None:
        """Run a process's program, after the delay that starting takes."""
        process = self._machine.state.processes.get(instruction.pid)
        if process is None or process.spec.program.startswith(RESIDENT):
            return
        assert self._group is not None, "begin first"
        self._trap.forget(instruction.pid)
        self._group.create_task(self._start(process, instruction.incarnation))

    async def _start(self, process: Process, incarnation: int) -> None:
        await self._travel()
        current = self._machine.state.processes.get(process.pid)
        if current is None or current.incarnation != incarnation or current.state == "zombie":
            return
        assert self._group is not None
        old = self._running.pop(process.pid, None)
        if old is not None:
            old[1].cancel()
        task = self._group.create_task(self._run(current, incarnation))
        self._running[process.pid] = (incarnation, task)

    def halt(self, instruction: Halt) -> None:
        """Its program is dropped; nothing it sends is read any more."""
        running = self._running.pop(instruction.pid, None)
        self._trap.resumed(instruction.pid)
        if running is not None:
            running[1].cancel()

    def respond(self, response: Response) -> None:
        """A durable response: to whoever waits, and wake the program it belongs to if it is not in memory.

        That somebody waits does not say that it is: a call outlives the release of the program that made it.
        """
        self._trap.respond(response)
        pid = response.id.pid
        process = self._machine.state.processes.get(pid)
        if process is None or process.state == "zombie" or pid in self._running:
            return
        if not process.spec.program.startswith(RESIDENT) and process.incarnation:
            self._machine.tell(Fence(pid=pid, incarnation=process.incarnation, reason="wakes"))

    def close(self) -> None:
        """Drop all programs, at shutdown."""
        for _, task in self._running.values():
            task.cancel()
        for task in self._zombies:
            task.cancel()

    async def call(
        self, pid: Pid, incarnation: int, id: CallId, call: AnyCall, blobs: Mapping[Digest, bytes]
    ) -> Response:
        """There, through the trap, and back."""
        await self._travel()
        process = self._machine.state.processes.get(pid)
        is_stale = process is not None and process.incarnation != incarnation
        response = await self._trap.call(pid, incarnation, id.strand, id.n, call, blobs)
        self._life.check()
        self._heard(Heard(id, digest(call), response, is_stale))
        await self._travel()
        return response

    def read(self, digest: Digest) -> bytes:
        self._life.check()
        return self._blobs.get(digest)

    async def _travel(self) -> None:
        self._life.check()
        await asyncio.sleep(self._random.choice((0, 0, 0.001, 0.003, 0.02)))
        self._life.check()

    async def _run(self, process: Process, incarnation: int) -> None:
        """One program, from `main` to exit. As a worker does it."""
        wire = Wire(self, process.pid, incarnation)
        system = System(wire, n=process.checkpoint_n)
        given = [
            msgspec.json.decode(self.read(digest)) if digest else None
            for digest in (process.spec.args, process.checkpoint)[: 2 if process.checkpoint else 1]
        ]
        blobs: dict[Digest, bytes] = {}
        try:
            result = await load(process.spec.program)(system, *given)
            ending = Exit(status=0)
            if result is not None:
                body = msgspec.json.encode(result)
                blobs[named(body)] = body
                ending = Exit(status=0, result=named(body))
        except (asyncio.CancelledError, Died):
            raise
        except BaseException as error:  # noqa: BLE001 whatever a program does wrong is its own process's end
            ending = Exit(status=1, reason=f"{type(error).__name__}: {error}"[:500])
        await wire.call(0, system._n + 1, ending, blobs)

    async def gremlin(self, pace_s: float) -> None:
        """Now and then lose a worker, freeze one, or let a waiting program go."""
        while True:
            await asyncio.sleep(self._random.expovariate(1 / pace_s))
            self._life.check()
            if not self._running:
                continue
            pid = self._random.choice(list(self._running))
            incarnation, task = self._running.pop(pid)
            process = self._machine.state.processes.get(pid)
            match self._random.choice(("lost", "frozen", "released", "beat")):
                case "lost":
                    task.cancel()
                    self._machine.tell(Fence(pid=pid, incarnation=incarnation, reason="its worker has ended"))
                case "frozen":
                    self._zombies.append(task)
                    self._machine.tell(Fence(pid=pid, incarnation=incarnation, reason="its worker does not answer"))
                case "released" if process is not None and process.state == "waiting":
                    task.cancel()
                case _:
                    self._running[pid] = (incarnation, task)
                    self._machine.tell(Beat(pids=(pid,)))


def named(body: bytes) -> Digest:
    """A blob's name."""
    return Digest(sha256(body).hexdigest())


def is_unrecorded(response: Response) -> bool:
    """Whether this refusal is of the kind that nobody records: the caller is over."""
    return isinstance(response.refusal, Stale | Closed)
