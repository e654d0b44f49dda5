"""What must hold, judged from outside: from the journal's rows, the servers' own logs, and what programs were told.

    after each recovery   storage, chain, replay, promises, blobs            `recovered`
    at each response      staleness, sameness, digests                       `heard`
    at the end            audit of every event, servers' logs, money, rest   `ended`

Rule 1: a law says its name when it breaks, then the fact. The first that breaks ends the run.
Rule 2: nothing is asked of the machine that it could lie about: the state is compared with a replay of the rows.
"""

from collections import Counter
from typing import NamedTuple

import msgspec

from agentos.abi.budget import NOTHING, Amounts
from agentos.abi.effects import Answered, Generate, Perform, Repeat, RunTool, ToolEnded, Unknown
from agentos.abi.events.base import Event
from agentos.abi.events.call import (
    CallAnswered,
    CallParked,
    CallRefused,
    EffectDispatched,
    EffectIntended,
    EffectOrphaned,
    EffectRetried,
    EffectSettled,
    KernelBooted,
    TimerFired,
    TimerSet,
)
from agentos.abi.events.ipc import ArtifactAttached, LeaseEnded, LeaseGranted, MailSent, MailTaken
from agentos.abi.events.process import (
    ProcessCheckpointed,
    ProcessExited,
    ProcessLaunched,
    ProcessRestarted,
    ProcessSpawned,
)
from agentos.abi.events.work import ContentAttested, OrderClosed, OrderEscalated, OrderSubmitted, QuestionAsked
from agentos.abi.ids import AccountId, CallId, Digest, Pid
from agentos.abi.refusals import Closed, Stale
from agentos.abi.replies import Response
from agentos.abi.work import Verdict
from agentos.drivers.blobs_memory import MemoryBlobs
from agentos.kernel import budget
from agentos.kernel.apply import apply
from agentos.kernel.fsck import faults
from agentos.kernel.state import State, encode
from agentos.machine import codec, recover
from agentos.machine.journal import genesis, verify
from agentos.machine.loop import Head
from agentos.ports.journal import Row
from agentos.sim.host import Heard
from agentos.sim.loop import Deadlock
from agentos.sim.people import Person
from agentos.sim.scenario import Scenario
from agentos.sim.world import BASE, World

FIRE_LATE_NS_MAX = 1_000_000_000  # while a kernel runs, a timer fires when it is due; a second is generous


class Breach(Exception):
    """A law does not hold."""

    def __init__(self, law: str, fact: str) -> None:
        super().__init__(f"{law}: {fact}")
        self.law = law


def named(error: BaseException) -> str:
    """What stopped a run, as one line with the law's name first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case Breach():
            return str(error)
        case Deadlock():
            return f"liveness: {error}"
        case AssertionError():
            return f"the kernel's own assert: {error or _place(error)}"
    return f"crash: {type(error).__name__}: {error} at {_place(error)}"


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace is not None else "nowhere"


class Ledger(NamedTuple):
    """The kernel's books against the model server's own, in micro-USD. books = metered + written_off, to the last one."""

    books: int  # spent, in the root account
    metered: int  # settled from the provider's own count; equal to what the server billed for these attempts
    written_off: int  # reservations charged because nobody could tell
    billed: int  # all that the server billed


class Laws:
    """The checks of one run, and what they need to remember across lives."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.rows: list[Row] = []  # as of the last recovery, at the end all
        self.ledger: Ledger | None = None
        self._batches = 0
        self._outcomes: dict[tuple[int, int], bool] = {}  # effect and attempt whose outcome was told
        self._told: dict[CallId, bytes] = {}  # responses that left the machine
        self._performs: dict[tuple[int, int], bool] = {}  # effect and attempt that were instructed
        self._calls: dict[CallId, tuple[str, bytes]] = {}  # what programs called, and heard

    # While it runs

    def told_response(self, response: Response) -> None:
        """A response leaves the machine: from now on it must be on the disk, for ever."""
        if not isinstance(response.refusal, Stale | Closed):
            self._told[response.id] = msgspec.msgpack.encode(response)

    def batch(self, state: State) -> None:
        """A batch is decided: the state is one that others may see."""
        self._batches += 1
        if self._batches % FSCK_EVERY == 0 and (wrong := faults(state)):
            raise Breach("fsck", f"after event {state.events}: {wrong[0]}")

    def outcome(self, effect: int, attempt: int) -> None:
        """An outcome of this attempt is on its way into the machine."""
        self._outcomes[effect, attempt] = True

    def settling(self, rows: list[Row], events: list[Event]) -> None:
        """What a batch settles was told of that very attempt, and not of another."""
        for row, event in zip(rows, events, strict=True):
            if row.cause != "kernel:settle" or not isinstance(event, EffectSettled | EffectRetried):
                continue
            is_late = isinstance(event, EffectSettled) and event.is_late
            if not is_late and (event.effect, event.attempt) not in self._outcomes:
                raise Breach("outcome", f"attempt {event.attempt} of effect {event.effect} got another's, in {row.seq}")

    def told_effect(self, instruction: Perform) -> None:
        self._performs[instruction.id, instruction.attempt] = True

    def heard(self, heard: Heard) -> None:
        """A program got a response: the same as ever for the same call, and none for one that is over."""
        refusal = heard.response.refusal
        if heard.is_stale and not isinstance(refusal, Stale | Closed):
            raise Breach("stale incarnation", f"call {heard.id} of an earlier incarnation was answered")
        if isinstance(refusal, Stale | Closed):
            return
        now = (heard.args, msgspec.msgpack.encode(heard.response))
        before = self._calls.setdefault(heard.id, now)
        if before[0] != heard.args:
            raise Breach("record", f"call {heard.id} was made with other arguments and answered from the record")
        if before != now:
            raise Breach("record", f"call {heard.id} was answered twice, differently")

    # After a recovery

    def recovered(self, rows: list[Row], state: State, head: Head, blobs: MemoryBlobs) -> None:
        """What the disk kept is whole, replays to this state, and holds everything that was told."""
        self.rows = rows
        if not rows[0].payload:
            raise Breach("storage", "the first row is empty")
        proof = verify(rows, state.workspace, previous=genesis(state.workspace))
        if proof.breach is not None or (proof.seq, proof.hash) != head:
            raise Breach("chain", f"{proof.breach or 'the head is not the last row'}")
        events = [_event(row) for row in rows]
        self._replays(events, state)
        self._promised(events)
        _blobs_there(events, blobs)
        if wrong := faults(state):
            raise Breach("fsck", str(wrong[0]))

    def _replays(self, events: list[Event], state: State) -> None:
        again = recover.empty(state.workspace)
        for row, event in zip(self.rows, events, strict=True):
            apply(again, event, row.at_ns)
        if encode(again) != encode(state):
            raise Breach("replay", f"the rows give another state after event {len(events)}")

    def _promised(self, events: list[Event]) -> None:
        kept = {
            event.id: msgspec.msgpack.encode(_response(event))
            for event in events
            if isinstance(event, CallAnswered | CallRefused)
        }
        for id, told in self._told.items():
            if kept.get(id) != told:
                raise Breach("durable before told", f"the response of {id} was told and is not on the disk")
        dispatched = {(event.effect, event.attempt) for event in events if isinstance(event, EffectDispatched)}
        for effect, attempt in self._performs:
            if (effect, attempt) not in dispatched:
                raise Breach("durable before done", f"attempt {attempt} of effect {effect} is not on the disk")

    # At the end

    def ended(self, scenario: Scenario, state: State, person: Person, blobs: MemoryBlobs) -> None:
        """Everything is over; every law is held against the whole history."""
        events = [_event(row) for row in self.rows]
        audit = Audit(self.rows, events, state.workspace)
        self._at_rest(state)
        self._endings(scenario, state, person, events)
        self._effects(audit, blobs, state.workspace)
        self._money(audit, state)
        self._gate(events)
        self._writes()

    def _at_rest(self, state: State) -> None:
        for row in state.accounts.values():
            if row.reserved != NOTHING:
                raise Breach("at rest", f"account {row.id} of {row.owner} still has {row.reserved} reserved")
        for pid, process in state.processes.items():
            if process.parked or process.effects:
                raise Breach("at rest", f"process {pid} still waits: {process.parked}")
        if len(state.accounts) != 1 or any(row.busy or row.lanes for row in state.devices.values()):
            raise Breach("at rest", f"accounts {list(state.accounts)} or slots are left over")

    def _endings(self, scenario: Scenario, state: State, person: Person, events: list[Event]) -> None:
        escalated = {event.order: event.reason for event in events if isinstance(event, OrderEscalated)}
        titles = Counter(event.title for event in events if isinstance(event, OrderSubmitted))
        for plan in scenario.plans:
            if titles[plan.title] != 1:
                raise Breach("submitted once", f"{plan.title} was submitted {titles[plan.title]} times")
            order = person.orders[plan.title]
            how = state.closed[order].state
            if escalated.get(order) == "overdue":
                raise Breach("liveness", f"{order} was never finished: it ran out of time")
            if plan.ending == "closed" and how != "closed" or how == "cancelled" and plan.ending == "closed":
                raise Breach("endings", f"{order} ended {how}, not {plan.ending}: {escalated.get(order)}")

    def _effects(self, audit: "Audit", blobs: MemoryBlobs, workspace: str) -> None:
        """Each keyed effect, judged from its server's log."""
        acts = Counter((row.kind, row.op) for row in self._world.done)
        keys = Counter((row.kind, row.key) for row in self._world.done)
        for kind in (Repeat.IDEMPOTENT, Repeat.QUERYABLE, Repeat.ONCE):
            for name, count in acts.items():
                if name[0] == kind and count > 1:
                    raise Breach("once", f"{name[1]} ({kind}) was done {count} times")
        for effect, intended in audit.intended.items():
            what = intended.what
            if not isinstance(what, RunTool) or what.tool in ("write", "guarded"):
                continue
            done = keys[what.repeat, f"{workspace}-{effect}"]
            is_ended = isinstance(audit.outcome.get(effect), ToolEnded)
            if is_ended and not done:
                raise Breach("happened", f"effect {effect} ({what.repeat}) has a result and was never done")
            if what.repeat == Repeat.ONCE and audit.attempts[effect] > 1:
                raise Breach(
                    "once", f"effect {effect} is of kind once and was attempted {audit.attempts[effect]} times"
                )
            is_asked = effect in audit.orphaned or audit.is_abandoned(effect)
            if what.repeat == Repeat.ONCE and f"{workspace}-{effect}" in self._world.broken and not is_asked:
                raise Breach("unknown is asked", f"the line of effect {effect} broke, and nobody was asked")
            was_lost = isinstance(audit.outcome.get(effect), Unknown) and not audit.is_abandoned(effect)
            if what.repeat == Repeat.ONCE and was_lost and effect not in audit.orphaned:
                raise Breach("unknown is asked", f"effect {effect} has no outcome and nobody was asked")
        if audit.orphaned - audit.asked:
            raise Breach("unknown is asked", f"effects {sorted(audit.orphaned - audit.asked)} raised no question")

    def _money(self, audit: "Audit", state: State) -> None:
        """The ledger equals the model server's own log, attempt by attempt, and in sum."""
        billed = {(row.key, row.attempt): row for row in self._world.billed}
        if len(billed) != len(self._world.billed):
            raise Breach("ledger", "one attempt was billed twice")
        metered = written_off = 0
        for (effect, attempt), charge in audit.charges.items():
            bill = billed.pop((f"{state.workspace}-{effect}", attempt), None)
            server = bill.uusd if bill is not None else 0
            if charge.is_metered:
                metered += charge.spent.uusd
                if bill is None or (server, bill.tokens) != (charge.spent.uusd, charge.spent.tokens):
                    raise Breach("ledger", f"effect {effect}.{attempt}: {charge.spent} here, {bill} at the server")
                continue
            written_off += charge.spent.uusd
            if server > charge.spent.uusd and not self._world.faults.overrun:
                raise Breach("ledger", f"effect {effect}.{attempt}: {charge.spent.uusd} here, {server} billed")
        if billed:
            raise Breach("ledger", f"{len(billed)} billed attempts are not in the books: {next(iter(billed))}")
        books = state.accounts[ROOT_ACCOUNT].spent.uusd
        self.ledger = Ledger(books, metered, written_off, sum(row.uusd for row in self._world.billed))
        if books != metered + written_off:
            raise Breach("ledger", f"{books} spent, but {metered} metered and {written_off} written off")

    def _gate(self, events: list[Event]) -> None:
        """What closed was checked and passed, judged by somebody else, and is on its branch."""
        passed = {(row.check, row.commit) for row in self._world.ran if row.verdict == Verdict.PASSED}
        contracts = {event.order: event.contract for event in events if isinstance(event, OrderSubmitted)}
        judges = [event for event in events if isinstance(event, ContentAttested) and event.check == "gate"]
        makers = {
            event.pid for event in events if isinstance(event, EffectIntended) and isinstance(event.what, RunTool)
        }
        for event in events:
            if not isinstance(event, OrderClosed):
                continue
            names = [check.name for check in contracts[event.order].accept if check.name != "boss"]
            if missing := [name for name in names if (name, event.commit) not in passed]:
                raise Breach("evidence", f"{event.order} closed, and the checker never passed {missing}")
            if self._world.refs.get(f"refs/heads/agentos/{event.order}") != event.commit:
                raise Breach("evidence", f"{event.order} closed, and its branch is elsewhere")
            mine = [row for row in judges if row.order == event.order and row.content == event.content]
            if not mine or any(row.by in makers for row in mine):
                raise Breach("no one judges their own work", f"{event.order} was judged by {[row.by for row in mine]}")
        moves = Counter(ref for ref, _ in self._world.moved)
        if any(count > 1 for count in moves.values()):
            raise Breach("once", f"a branch was moved twice: {moves}")
        assert BASE in self._world.commits

    def _writes(self) -> None:
        newest: dict[str, int] = {}
        for resource, token, op in self._world.writes:
            if token < newest.get(resource, 0):
                raise Breach("late writer", f"{op} wrote {resource} with token {token} after {newest[resource]}")
            newest[resource] = token


ROOT_ACCOUNT = AccountId(1)


class Charge(NamedTuple):
    spent: Amounts
    is_metered: bool


class Audit:
    """The history, event by event: what each may follow, and what it adds up to."""

    def __init__(self, rows: list[Row], events: list[Event], workspace: str) -> None:
        self.intended: dict[int, EffectIntended] = {}
        self.outcome: dict[int, object] = {}
        self.attempts: Counter[int] = Counter()
        self.orphaned: set[int] = set()
        self.asked: set[int] = set()
        self.charges: dict[tuple[int, int], Charge] = {}
        self._abandoned: set[int] = set()
        self._answered: set[CallId] = set()
        self._parked: set[CallId] = set()
        self._taken: set[int] = set()
        self._holders: dict[str, tuple[int, Pid | None]] = {}
        self._due: dict[int, int] = {}
        self._epoch = 0
        self._vacant: dict[Pid, tuple[Pid, int]] = {}  # failed and to be restarted -> by whom, and when it failed
        self._state = recover.empty(workspace)
        last_ns = 0
        for row, event in zip(rows, events, strict=True):
            if row.at_ns < last_ns or row.epoch < self._epoch:
                raise Breach("time", f"event {row.seq} is at {row.at_ns} in epoch {row.epoch}, before the last")
            last_ns = row.at_ns
            self._before(row, event)
            apply(self._state, event, row.at_ns)
            self._after(event)

    def is_abandoned(self, effect: int) -> bool:
        return effect in self._abandoned

    def _before(self, row: Row, event: Event) -> None:
        match event:
            case CallAnswered() | CallRefused():
                if event.id in self._answered:
                    raise Breach("answered once", f"call {event.id} is answered again in event {row.seq}")
                self._answered.add(event.id)
                self._released(row, event)
            case CallParked():
                self._parked.add(event.id)
            case EffectSettled() | EffectRetried():
                self._charged(event)
            case TimerSet():
                self._due[event.timer] = event.at_ns
            case TimerFired():
                self._fires(row, event)
            case MailTaken():
                if event.mail in self._taken:
                    raise Breach("taken once", f"mail {event.mail} is taken again in event {row.seq}")
                self._taken.add(event.mail)
            case KernelBooted():
                if event.epoch <= self._epoch:
                    raise Breach("epoch", f"event {row.seq} boots epoch {event.epoch} after {self._epoch}")
                self._epoch = event.epoch
            case LeaseGranted() | LeaseEnded():
                self._leased(event)
            case ProcessExited():
                self._failed(row, event)
            case ProcessRestarted():
                self._vacant.pop(event.child, None)

    def _released(self, row: Row, event: CallAnswered | CallRefused) -> None:
        """A lease is given up by its holder only."""
        if event.name == "release" and isinstance(event, CallAnswered) and not self._ended_by(row):
            raise Breach("late writer", f"{event.id} released a lease that was not its own, in event {row.seq}")

    def _ended_by(self, row: Row) -> bool:
        return self._last_end == row.caller

    _last_end = ""

    def _leased(self, event: LeaseGranted | LeaseEnded) -> None:
        token, holder = self._holders.get(event.resource, (0, None))
        if isinstance(event, LeaseEnded):
            if holder is None or token != event.token:
                raise Breach("lease", f"{event.resource} ended with token {event.token}; {token} was held by {holder}")
            self._holders[event.resource] = (token, None)
            self._last_end = str(holder)
            return
        is_renewed = holder == event.holder and event.token == token
        if not is_renewed and (holder is not None or event.token <= token):
            raise Breach("lease", f"{event.resource} went to {event.holder} with {event.token}; {holder} held {token}")
        self._holders[event.resource] = (event.token, event.holder)

    def _failed(self, row: Row, event: ProcessExited) -> None:
        """A child that failed as scripted, under a supervisor that has not restarted any yet, is restarted."""
        for child, (supervisor, at_ns) in list(self._vacant.items()):
            if row.at_ns > at_ns:
                raise Breach("supervision", f"{child} failed and was not restarted by {supervisor}")
            if supervisor == event.pid:
                del self._vacant[child]
        failed = self._state.processes[event.pid]
        above = self._state.processes.get(failed.parent)
        is_scripted = event.reason.endswith("as scripted") and failed.spec.restart == "transient"
        if is_scripted and above is not None and above.state != "zombie" and not above.restarts_at_ns:
            self._vacant[event.pid] = (above.pid, row.at_ns)

    def _fires(self, row: Row, event: TimerFired) -> None:
        timer = self._state.timers[event.timer]
        if row.at_ns < timer.at_ns:
            raise Breach("timer", f"timer {event.timer} fired early, in event {row.seq}")

    def _charged(self, event: EffectSettled | EffectRetried) -> None:
        """What an attempt was charged. Only attempts that were begun are charged for money."""
        if isinstance(event, EffectSettled) and event.is_late:
            return
        pending = self._state.effects.get(event.effect)
        if pending is None:
            raise Breach("settled once", f"effect {event.effect} is settled and is not in flight")
        if isinstance(event, EffectSettled):
            self.outcome[event.effect] = event.outcome
            if pending.is_abandoned:
                self._abandoned.add(event.effect)
        spent = event.spent if isinstance(event, EffectSettled) else event.written_off
        is_metered = (
            isinstance(event, EffectSettled) and isinstance(event.outcome, Answered) and event.outcome.is_metered
        )
        is_given_up = (
            not pending.is_dispatched and spent == NOTHING
        )  # between two attempts, of which the last is charged
        if isinstance(pending.what, Generate) and not is_given_up:
            if (event.effect, event.attempt) in self.charges:
                raise Breach("ledger", f"attempt {event.attempt} of effect {event.effect} is charged twice")
            self.charges[event.effect, event.attempt] = Charge(spent, is_metered)

    def _after(self, event: Event) -> None:
        match event:
            case EffectIntended():
                self.intended[event.effect] = event
                self._within(event)
            case EffectDispatched():
                self.attempts[event.effect] += 1
            case EffectOrphaned():
                self.orphaned.add(event.effect)
            case QuestionAsked(kind="unknown"):
                self.asked.add(event.effect)
            case ProcessLaunched() if self._state.processes[event.pid].incarnation != event.incarnation:
                raise Breach("stale incarnation", f"{event.pid} was launched as {event.incarnation}")

    def _within(self, event: EffectIntended) -> None:
        """At each reservation every account above has room for it."""
        for row in budget.path(self._state, event.account):
            used = row.spent.plus(row.reserved).minus(row.overrun)
            if event.reserved != NOTHING and not used.fits(row.limit):
                raise Breach("budget", f"effect {event.effect} takes {row.owner} to {used} of {row.limit}")


FSCK_EVERY = 8  # batches between two looks at the whole state; each is O(state)


def _event(row: Row) -> Event:
    assert row.payload is not None, "nothing is erased here"
    return codec.decode(row.type, row.version, row.payload)


def _response(event: CallAnswered | CallRefused) -> Response:
    if isinstance(event, CallAnswered):
        return Response(id=event.id, reply=event.reply)
    return Response(id=event.id, refusal=event.refusal)


def _blobs_there(events: list[Event], blobs: MemoryBlobs) -> None:
    """A blob is durable before the event that names it."""
    for number, event in enumerate(events, start=1):
        for digest in _names(event):
            if digest and not blobs.has(digest):
                raise Breach("blob before event", f"event {number} names {digest[:12]}, which is not there")


def _names(event: Event) -> tuple[Digest | None, ...]:
    match event:
        case EffectIntended(what=Generate() as what):
            return (what.request,)
        case EffectIntended(what=RunTool() as what):
            return (what.arguments,)
        case EffectSettled(outcome=Answered() as outcome):
            return (outcome.answer,)
        case EffectSettled(outcome=ToolEnded() as outcome):
            return (outcome.content,)
        case MailSent():
            return (event.body,)
        case ArtifactAttached():
            return (event.content,)
        case OrderSubmitted():
            return (event.text,)
        case ProcessSpawned():
            return (event.spec.args,)
        case ProcessCheckpointed():
            return (event.state,)
    return ()
