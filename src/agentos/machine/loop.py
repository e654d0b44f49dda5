"""The loop: calls in, decisions, one durable batch, then replies and effects. It fits on a screen, and nothing else
in the system may change the state or write the journal.

    inbox ─> decide ─> apply ─> what the state demands, likewise ─> ... ─> seal ─> append ─> respond, instruct
             └────────── back to back, call by call ──────────┘            └─ durable ─┘

Rule 1: decide and apply run back to back for each call, so that the next call sees it.
Rule 2: nobody hears of anything before the batch that holds it is on disk: replies, effects and reads alike. A batch
        of nothing but heartbeats and notes may lag; whatever comes later makes it durable too.
Rule 3: if a flush fails the loop dies with `Failed`. It never rolls back: recovery reads what is there.
Rule 4: time enters here, once per batch, and never goes back.
Rule 5: a batch is what was waiting when the last one was done: group commit without a timer.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from agentos.abi.calls.base import Call
from agentos.abi.calls.kernel import Settle
from agentos.abi.effects import Instruction
from agentos.abi.events import DURABLE_LATER
from agentos.abi.events.base import Event
from agentos.abi.events.call import CallAnswered, CallParked, CallRefused
from agentos.abi.ids import KERNEL, CallId
from agentos.abi.refusals import Refusal
from agentos.abi.replies import Response
from agentos.kernel import demand
from agentos.kernel.apply import apply
from agentos.kernel.decide import decide
from agentos.kernel.decision import Decision, Entry
from agentos.kernel.decision import name as call_name
from agentos.kernel.state import State
from agentos.machine import codec
from agentos.machine.journal import SALT_BYTES, Header, seal
from agentos.ports.blobs import Blobs
from agentos.ports.clock import Clock
from agentos.ports.journal import Journal, Row

BATCH_MAX = 1_024  # calls decided before a flush: about 20 ms of work, what a caller may wait behind others
KERNEL_CALL = CallId(KERNEL, 0, 0)
_OF_CALL = (CallAnswered, CallRefused, CallParked)


class Incoming(NamedTuple):
    """A call on its way in."""

    id: CallId
    call: Call
    args: str  # digest of the call as its maker wrote it
    done: "asyncio.Future[None] | None" = None  # set once what came of it is durable; for the machine's own calls


class Head(NamedTuple):
    """Where the journal ends."""

    seq: int
    hash: bytes


Salts = Callable[[int], bytes]  # n bytes of fresh randomness; an input, never born in the kernel


class Machine:
    """One workspace's loop. `responded` and `instructed` are called after each flush, in the order of the events."""

    def __init__(
        self,
        state: State,
        journal: Journal,
        blobs: Blobs,
        clock: Clock,
        *,
        head: Head,
        salts: Salts,
        crash: Callable[[str], None],
    ) -> None:
        self.state = state
        self.journal = journal
        self.head = head
        self.responded: Callable[[Response], None] = lambda response: None
        self.instructed: Callable[[Instruction], None] = lambda instruction: None
        self.recorded: Callable[[Row, Event], None] = lambda row, event: None
        self._blobs, self._clock, self._salts, self._crash = blobs, clock, salts, crash
        self._inbox: deque[Incoming] = deque()
        self._woken = asyncio.Event()
        self._origin_ns = (
            state.now_ns - clock.monotonic_ns()
            if state.now_ns > clock.wall_ns()
            else clock.wall_ns() - clock.monotonic_ns()
        )
        self._is_stopping = False

    def submit(self, id: CallId, call: Call, args: str) -> None:
        """A process's call; its response comes through `responded`."""
        self._inbox.append(Incoming(id, call, args))
        self._woken.set()

    def tell(self, call: Call, done: "asyncio.Future[None] | None" = None) -> None:
        """A fact or a demand from the machine itself; `done` is set once what came of it is durable."""
        self._inbox.append(Incoming(KERNEL_CALL, call, "", done))
        self._woken.set()

    def stop(self) -> None:
        """End `run` after the batch in hand."""
        self._is_stopping = True
        self._woken.set()

    def now_ns(self) -> int:
        """The state's time: wall time at start, monotonic from there, never behind an event."""
        return max(self.state.now_ns, self._origin_ns + self._clock.monotonic_ns())

    async def run(self) -> None:
        """Until `stop`. Raises `journal.Failed` when the disk refuses: then the process must end."""
        while not self._is_stopping:
            if not self._inbox:
                await self._idle()
            self.turn()
            await asyncio.sleep(0)  # readers fill the inbox for the next batch

    async def _idle(self) -> None:
        """Wait for a call, or for the next timer."""
        self._woken.clear()
        due = demand.wakes_at_ns(self.state)
        if due is None:
            await self._woken.wait()
            return
        sleeping = asyncio.ensure_future(self._clock.sleep_until(due - self._origin_ns))
        waking = asyncio.ensure_future(self._woken.wait())
        try:
            await asyncio.wait((sleeping, waking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()

    def turn(self) -> int:
        """One batch: everything that waits, decided, flushed, told. Returns how many events it made."""
        now_ns = self.now_ns()
        batch = Batch(self, now_ns)
        if not self._is_booting():
            batch.demanded()
        for _ in range(min(len(self._inbox), BATCH_MAX)):
            batch.enter(self._inbox.popleft())
        if batch.rows or batch.responses or batch.told:
            self._flush(batch)
            self._release(batch)
        return len(batch.rows)

    def _is_booting(self) -> bool:
        """Whether the boot comes next. Nothing is demanded before it: what that began would count as the dead kernel's."""
        return bool(self._inbox) and call_name(self._inbox[0].call) == "boot"

    def _flush(self, batch: "Batch") -> None:
        self._crash("before sync")
        self._blobs.sync()
        self._crash("before append")
        self.journal.append(batch.rows, is_durable=batch.is_durable)
        self._crash("after append")

    def _release(self, batch: "Batch") -> None:
        for row, event in zip(batch.rows, batch.events, strict=True):
            self.recorded(row, event)
        for response in batch.responses:
            self.responded(response)
        self._crash("amid telling")
        for instruction in batch.instructions:
            self.instructed(instruction)
        for done in batch.told:
            if not done.done():
                done.set_result(None)


class Batch:
    """The decisions of one turn, applied already, not yet durable, not yet told."""

    def __init__(self, machine: Machine, now_ns: int) -> None:
        self.rows: list[Row] = []
        self.events: list[Event] = []
        self.responses: list[Response] = []
        self.instructions: list[Instruction] = []
        self.told: list[asyncio.Future[None]] = []
        self.is_durable = False
        self._machine, self._state, self._now_ns = machine, machine.state, now_ns

    def enter(self, incoming: Incoming) -> None:
        """One call through the gate, and then whatever the state demands because of it."""
        self._decide(incoming)
        self.demanded()
        if incoming.done is not None:
            self.told.append(incoming.done)

    def demanded(self) -> None:
        """What the state itself demands, until it demands nothing."""
        while (call := demand.due(self._state, self._now_ns)) is not None:
            self._decide(Incoming(KERNEL_CALL, call, ""))

    def _decide(self, incoming: Incoming) -> None:
        id, call, args = incoming.id, incoming.call, incoming.args
        entry = Entry(id, self._now_ns, args, call_name(call))
        order = self._order(incoming)
        ruling = decide(self._state, entry, call)
        if not isinstance(ruling, Decision):
            self._unrecorded(id, ruling)
            return
        cause = str(id) if id.pid != KERNEL else f"kernel:{entry.name}"
        stirred = self._apply(ruling.events, id, cause, order)
        self.instructions += ruling.instructions
        for number in stirred:
            step = demand.step(self._state, number)  # type: ignore[arg-type]
            if step is not None:
                self._decide(Incoming(KERNEL_CALL, step, ""))

    def _unrecorded(self, id: CallId, refusal: Refusal) -> None:
        """Nobody is there to record it for; the caller is told all the same."""
        if id.pid != KERNEL:
            self.responses.append(Response(id=id, refusal=refusal))

    def _order(self, incoming: Incoming) -> str:
        """The order a decision belongs to, for the journal's index."""
        process = self._state.processes.get(incoming.id.pid)
        if process is not None:
            return process.order or ""
        if isinstance(incoming.call, Settle):
            pending = self._state.effects.get(incoming.call.effect)
            return (pending.order or "") if pending is not None else ""
        return ""

    def _apply(self, events: Iterable[Event], id: CallId, cause: str, order: str) -> list[str]:
        machine, state = self._machine, self._state
        stirred: dict[str, None] = {}
        for event in events:
            apply(state, event, self._now_ns)
            caller = id.pid
            if isinstance(event, _OF_CALL):
                caller = event.id.pid
                if not isinstance(event, CallParked):
                    self._respond(event)
            header = Header(
                machine.head.seq + 1,
                self._now_ns,
                state.epoch,
                codec.tag(event),
                codec.version(event),
                caller,
                cause,
                getattr(event, "order", None) or order,
            )
            row = seal(
                machine.head.hash, state.workspace, header, salt=machine._salts(SALT_BYTES), payload=codec.encode(event)
            )
            machine.head = Head(row.seq, row.hash)
            self.rows.append(row)
            self.events.append(event)
            self.is_durable = self.is_durable or type(event) not in DURABLE_LATER
            number = demand.stirred(event)
            if number is not None:
                stirred[number] = None
        return list(stirred)

    def _respond(self, event: CallAnswered | CallRefused) -> None:
        if isinstance(event, CallAnswered):
            self.responses.append(Response(id=event.id, reply=event.reply))
        else:
            self.responses.append(Response(id=event.id, refusal=event.refusal))
