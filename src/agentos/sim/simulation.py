"""The second composition root: the same kernel and machine, in virtual time, on a bad disk, in a bad world.

    seed ─> scenario ─> life 1: recover, boot, run ─ dies ─> what the disk kept ─> life 2 ... ─> the last one stops
                                                     └─ laws, after each recovery and at the end

Rule 1: kernel, machine, trap and sdk are the product's own. What is replaced is ports, and where programs live.
Rule 2: the streams of a life are seeded by (seed, life), so that what a dead kernel still drew shifts nothing.
Rule 3: the same seed gives the same journal, byte for byte.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from agentos.abi.budget import Amounts
from agentos.abi.calls.base import Call
from agentos.abi.calls.kernel import Boot, Settle
from agentos.abi.effects import Abort, Halt, Instruction, Launch, Perform, repeat
from agentos.abi.events.base import Event
from agentos.abi.events.call import EffectIntended, EffectSettled
from agentos.abi.events.work import OrderClosed, QuestionAsked
from agentos.abi.ids import INIT
from agentos.abi.replies import Response
from agentos.machine import recover
from agentos.machine.desk import MachineDesk
from agentos.machine.loop import Batch, Machine
from agentos.machine.perform import Devices, Performer
from agentos.machine.prepare import Preparer, Route
from agentos.machine.trap import Trap
from agentos.ports import blobs as blob_port
from agentos.ports import journal as journal_port
from agentos.ports.journal import Journal, Row
from agentos.sim import laws, programs
from agentos.sim.fate import CLOSE, SETTLE, START, Fate, Hit
from agentos.sim.host import Host
from agentos.sim.loop import VirtualClock, VirtualLoop, run
from agentos.sim.people import Person
from agentos.sim.scenario import TOOLS, WORKSPACE_UUSD, Scenario
from agentos.sim.store import MemoryStore, SqliteStore, Store
from agentos.sim.world import (
    KINDS,
    Died,
    GuardedTool,
    SimChecker,
    SimForge,
    SimModel,
    SimTool,
    World,
    WriteTool,
    cost,
    price_uusd,
)

WORKSPACE = "5e1f0000-0000-4000-8000-000000000000"
WALL_ORIGIN_NS = 1_800_000_000_000_000_000  # some day in 2027; nothing depends on it
DUPLICATE_S = 40  # how much later an outcome may come again: past most waits before another attempt
LIMIT_S = 24 * 3600.0  # virtual; no scenario has work for more than some hours, so this one hangs
LIVES_MAX = 40  # a kernel that dies again and again without a doom is a finding


Trace = Callable[[str], None]  # told each event as it becomes durable, as one line


class Outcome(NamedTuple):
    """What a run came to."""

    seed: int
    fault: str  # "LAW: what broke it", or "" when every law held
    lives: int
    hits: tuple[Hit, ...]
    events: int
    virtual_s: float
    journal: tuple[Row, ...]
    ledger: laws.Ledger | None


class Watched(Machine):
    """The machine, with named points where its life may end."""

    life: "Life"

    def _flush(self, batch: Batch) -> None:
        self.life.flushing(batch.events)
        self.life.simulation.laws.batch(self.state)
        self.life.simulation.laws.settling(batch.rows, batch.events)
        try:
            super()._flush(batch)
        except (journal_port.Failed, blob_port.Failed):
            self.life.fail()
            raise

    def tell(self, call: Call, done: "asyncio.Future[None] | None" = None) -> None:
        if self.life.is_dead:
            return
        if isinstance(call, Settle):
            self.life.outcome(call)
        super().tell(call, done)


class Life:
    """One kernel, from recovery to its death."""

    def __init__(self, simulation: "Simulation", number: int) -> None:
        self.simulation, self.number = simulation, number
        self.is_dead = False
        self.abouts: tuple[str, ...] = ()
        self.random = Random(f"{simulation.scenario.seed} life {number}")

    def check(self) -> None:
        if self.is_dead:
            raise Died(f"life {self.number} is over")

    def visit(self, point: str, kind: str = "") -> None:
        """A named point; this may be where the kernel dies."""
        self.check()
        abouts = (
            (kind,) if kind else self.abouts if "append" in point else self._in_flight() if point == "snapshot" else ()
        )
        doom = self.simulation.fate.is_due(point, abouts)
        if doom is not None:
            self._die(is_power_cut=doom.is_power_cut)
            raise Died(f"life {self.number} died at {point!r}")

    def fail(self) -> None:
        """The disk refused: the process ends, and what it wrote is there or not."""
        if not self.is_dead:
            self._die(is_power_cut=self.random.random() < 0.5)

    def _die(self, *, is_power_cut: bool) -> None:
        self.is_dead = True
        self.simulation.world.die()
        self.simulation.store.die(is_power_cut=is_power_cut)

    def _in_flight(self) -> tuple[str, ...]:
        return tuple({repeat(row.what).value: None for row in self.machine.state.effects.values() if row.is_dispatched})

    def flushing(self, events: list[Event]) -> None:
        """What the batch at hand is about, for dooms that aim at a kind."""
        found: dict[str, None] = {}
        for event in events:
            match event:
                case EffectIntended():
                    kind = repeat(event.what).value
                    self.simulation.kinds[event.effect] = (kind, event.order or "")
                    found[START + kind] = None
                case EffectSettled() if event.effect in self.simulation.kinds:
                    found[SETTLE + self.simulation.kinds[event.effect][0]] = None
                case OrderClosed():
                    found |= {
                        CLOSE + kind: None for kind, order in self.simulation.kinds.values() if order == event.order
                    }
        self.abouts = tuple(found)

    def outcome(self, settle: Settle) -> None:
        """An outcome is about to enter; it may come twice."""
        kind = self.simulation.kinds.get(settle.effect, ("", ""))[0]
        self.simulation.laws.outcome(settle.effect, settle.attempt)
        self.visit("before outcome", kind)
        if self.random.randrange(1000) < self.simulation.scenario.duplicates_milli:
            loop = asyncio.get_running_loop()
            loop.call_later(self.random.uniform(0, DUPLICATE_S), self._duplicate, settle)

    def _duplicate(self, settle: Settle) -> None:
        if not self.is_dead:
            Machine.tell(self.machine, settle)

    async def run(self) -> bool:
        """True when all is done; False when it died on the way."""
        simulation = self.simulation
        self.clock = simulation.clock(self.random)
        try:
            journal = simulation.store.open(self.visit)
            self._recover(journal)
            await self._serve()
            self.visit("close")
            recover.snapshot(journal, self.machine.state, self.machine.head)
            self.visit("close")
            journal.close()
        except BaseExceptionGroup as group:
            if not self.is_dead or group.split((Died, journal_port.Failed, blob_port.Failed))[1] is not None:
                raise
            return False
        except (Died, journal_port.Failed, blob_port.Failed):
            self.fail()
            return False
        return True

    def _recover(self, journal: Journal) -> None:
        """From what the disk kept to a machine, as the daemon does it."""
        simulation, random = self.simulation, self.random
        salts = Random(f"{simulation.scenario.seed} salts {self.number}").randbytes
        budget = Amounts(WORKSPACE_UUSD, 200_000_000, 1_000_000)
        now_ns = self.clock.wall_ns()
        state, head = recover.recover(journal, workspace=WORKSPACE, now_ns=now_ns, salts=salts, budget=budget)
        simulation.laws.recovered(list(journal.read()), state, head, simulation.store.blobs)
        self.visit("recovering")
        journal.append([], is_durable=True)
        self.machine = Watched(
            state, journal, simulation.store.blobs, self.clock, head=head, salts=salts, crash=self.visit
        )
        self.machine.life = self
        blobs, world = simulation.store.blobs, simulation.world
        tools = {name: _tool(world, self, name) for name in TOOLS}
        devices = Devices(
            blobs=blobs,
            forge=SimForge(world, self),
            checker=SimChecker(world, self),
            backends={"sim": SimModel(world, self)},
            models={},
            tools=tools,
            cost=cost,
            copies=simulation.copies,
        )
        preparer = Preparer(blobs, {"coder": Route("sim", "sim-1", price_uusd, "sim-prices")}, tools)
        self.trap = Trap(self.machine, blobs, preparer)
        self.performer = Performer(self.machine, devices, jitter_milli=lambda: random.randrange(1001))
        self.host = Host(self, self.machine, self.trap, blobs, random, simulation.laws.heard)
        self.desk = MachineDesk(self.machine, self.trap, blobs, status=dict)
        self.stirred, self.settled = asyncio.Event(), asyncio.Event()

    async def _serve(self) -> None:
        machine = self.machine
        machine.responded, machine.instructed, machine.recorded = self._respond, self._instruct, self._recorded
        async with asyncio.TaskGroup() as group:
            self.performer.begin(group)
            self.host.begin(group)
            machine.tell(Boot(epoch=machine.state.epoch + 1))
            person = self.simulation.person
            background = [
                group.create_task(person.live(self.desk, machine, self.stirred, self.settled)),
                group.create_task(self._snapshots()),
                group.create_task(self._finish()),
            ]
            if self.simulation.scenario.gremlin_s:
                background.append(group.create_task(self.host.gremlin(self.simulation.scenario.gremlin_s)))
            await machine.run()
            for task in background:
                task.cancel()
            self.performer.close()
            self.host.close()

    def _respond(self, response: Response) -> None:
        self.simulation.laws.told_response(response)
        self.host.respond(response)

    def _instruct(self, instruction: Instruction) -> None:
        match instruction:
            case Perform():
                self.visit("before effect", repeat(instruction.effect).value)
                self.simulation.laws.told_effect(instruction)
                self.simulation.world.attempts[instruction.key] = instruction.attempt
                self.performer.perform(instruction)
            case Abort():
                self.performer.abort(instruction)
            case Launch():
                self.host.launch(instruction)
            case Halt():
                self.host.halt(instruction)

    def _recorded(self, row: Row, event: Event) -> None:
        if self.simulation.trace is not None:
            self.simulation.trace(
                f"{self.number} {self.clock.monotonic_ns() / 1e9:10.3f} {row.seq:5} {row.cause:12} {event}"
            )
        self.settled.set()
        if isinstance(event, QuestionAsked):
            self.stirred.set()

    async def _snapshots(self) -> None:
        while True:
            await asyncio.sleep(self.random.expovariate(1 / self.simulation.scenario.snapshot_s))
            self.visit("snapshot")
            recover.snapshot(self.machine.journal, self.machine.state, self.machine.head)
            self.visit("snapshot")

    async def _finish(self) -> None:
        """Stop when there is nothing left to do."""
        while not self._is_finished():
            self.settled.clear()
            await self.settled.wait()
        self.machine.stop()

    def _is_finished(self) -> bool:
        state = self.machine.state
        is_idle = not (state.orders or state.effects or state.questions)
        others = [pid for pid in state.processes if pid != INIT and pid not in state.sessions.values()]
        return is_idle and not others and self.simulation.person.is_done


def _tool(world: World, life: Life, name: str) -> SimTool:
    match name:
        case "write":
            return WriteTool(world, life)
        case "guarded":
            return GuardedTool(world, life)
        case _:
            assert name in KINDS
            return SimTool(world, life, name)


class Simulation:
    """One scenario, life after life."""

    def __init__(self, scenario: Scenario, loop: VirtualLoop, copies: Path, trace: Trace | None) -> None:
        self.scenario, self.loop, self.copies, self.trace = scenario, loop, copies, trace
        self.world = World(loop, Random(f"{scenario.seed} world"), scenario.faults)
        store: type[MemoryStore | SqliteStore] = SqliteStore if scenario.is_sqlite else MemoryStore
        self.store: Store = store(Random(f"{scenario.seed} store"), scenario.fails)
        self.fate = Fate(scenario.dooms)
        self.person = Person(scenario.plans, self.world)
        self.laws = laws.Laws(self.world)
        self.kinds: dict[int, tuple[str, str]] = {}  # effect -> its repeat kind and order
        self.lives = 0

    def clock(self, random: Random) -> VirtualClock:
        """The clock of a machine that has just started: its wall time may be off by a lot."""
        off_ns = random.choice((0, 0, 0, -3_600_000_000_000, 60_000_000_000))
        return VirtualClock(self.loop, wall_origin_ns=WALL_ORIGIN_NS + off_ns, booted_ns=self.loop.now_ns())

    async def run(self) -> None:
        while True:
            self.lives += 1
            assert self.lives <= LIVES_MAX, f"the kernel died {LIVES_MAX} times"
            self.loop.reseed(Random(f"{self.scenario.seed} loop {self.lives}"))
            life = Life(self, self.lives)
            if await life.run():
                break
            await asyncio.sleep(life.random.choice((0.1, 2.0, 45.0, 700.0)))
        self._reopen()
        self.laws.ended(self.scenario, life.machine.state, self.person, self.store.blobs)

    def _reopen(self) -> None:
        """Once more from the disk: what was closed in order is all there."""
        journal = self.store.open(lambda point: None)
        state, head = recover.recover(journal, workspace=WORKSPACE, now_ns=0, salts=Random(0).randbytes)
        self.laws.recovered(list(journal.read()), state, head, self.store.blobs)
        journal.close()


def _fallen(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What was raised where nobody waits. The death of a kernel is noticed elsewhere; all else is told."""
    if not isinstance(context.get("exception"), Died):
        loop.default_exception_handler(context)


def simulate(scenario: Scenario, *, trace: Trace | None = None) -> Outcome:
    """Run a scenario to its end and say which law broke first, if one did."""
    programs.CHANCE[0] = 0
    loops: list[Simulation] = []
    fault = ""

    async def main(copies: str) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.set_exception_handler(_fallen)
        loops.append(Simulation(scenario, loop, Path(copies), trace))
        await loops[0].run()

    with TemporaryDirectory(prefix="agentos-sim-") as copies:
        try:
            run(main(copies), Random(f"{scenario.seed} loop"), limit_s=LIMIT_S)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            fault = laws.named(error)
        finally:
            simulation = loops[0]
            simulation.store.close()
    return Outcome(
        scenario.seed,
        fault,
        simulation.lives,
        tuple(simulation.fate.hits),
        len(simulation.laws.rows),
        simulation.loop.time(),
        tuple(simulation.laws.rows),
        simulation.laws.ledger,
    )
