"""strace for agents: every call of a process with its outcome and cost; and why something happened, back to a person.

    effect ─> the call that intended it ─> the process ─> the call that spawned it ─> ... ─> the order ─> its author

Rule 1: each step back goes to an earlier event, so the walk ends; where the facts end, it says so.
Rule 2: what the state itself demanded ("kernel:NAME") has a cause too: the event that made it demand. `_DEMANDED` says
        which for each such call, and a test holds it against the abi's list.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from agentos.abi.budget import NOTHING, Amounts
from agentos.abi.effects import AnyEffect, Checked, Checkout, Generate, MoveRef, RunCheck, RunTool
from agentos.abi.events.call import (
    CallAnswered,
    CallParked,
    CallRefused,
    EffectIntended,
    EffectOrphaned,
    EffectRetried,
    EffectSettled,
    TimerFired,
    TimerSet,
)
from agentos.abi.events.process import ProcessExited, ProcessReaped, ProcessSpawned
from agentos.abi.events.work import (
    AttemptEnded,
    ContentAttested,
    ContentPresented,
    EvidenceFound,
    OrderProved,
    OrderReady,
    OrderResumed,
    OrderSubmitted,
    OrderVerified,
)
from agentos.abi.replies import (
    Artifact,
    Begun,
    Capable,
    Chosen,
    Done,
    Ended,
    Generated,
    Held,
    Judged,
    Mail,
    Ordered,
    Reply,
    Result,
    Self,
    Spawned,
    Standing,
)
from agentos.views.base import Fact
from agentos.views.escape import clip, terminal
from agentos.views.ledger import Ledger
from agentos.views.words import exact_money, short, span

STEPS_MAX = 200  # of one walk back; 16 generations of processes take fewer than a hundred

_CALLS = CallAnswered | CallRefused | CallParked
_OF_AN_EFFECT = EffectSettled | EffectRetried | EffectOrphaned
# Events after which an order takes its next step by itself ("kernel:advance").
_STIRRING = (
    OrderSubmitted,
    OrderProved,
    OrderReady,
    AttemptEnded,
    ContentPresented,
    EvidenceFound,
    OrderVerified,
    ContentAttested,
    OrderResumed,
    ProcessReaped,
)


class Call(msgspec.Struct, kw_only=True):
    """One call of a process."""

    id: str
    name: str
    args: str  # digest of the call as it was made
    seq: int
    at_ns: int  # when it entered
    took_ns: int = 0  # until it was answered
    outcome: str = "waits"  # in a few words
    refusal: str = ""  # kind of refusal; "" when it was not refused
    waits: str = ""  # what it is or was parked for
    cost: Amounts = NOTHING
    effects: list[int] = []
    seqs: list[int] = []


def calls(facts: Iterable[Fact], pid: str) -> list[Call]:
    """The calls of one process, in the order they entered."""
    table: dict[str, Call] = {}
    ledger = Ledger()
    for fact in facts:
        ledger.take(fact)
        event = fact.event
        if isinstance(event, _CALLS) and event.id.pid == pid:
            _take(table, fact, event)
    for entry in ledger.entries.values():
        call = table.get(entry.call)
        if call is not None:
            call.effects.append(entry.effect)
            call.cost = call.cost.plus(entry.cost)
    return list(table.values())


def _take(table: dict[str, Call], fact: Fact, event: Any) -> None:
    id = str(event.id)
    call = table.setdefault(id, Call(id=id, name=event.name, args=event.args, seq=fact.seq, at_ns=fact.at_ns))
    call.seqs.append(fact.seq)
    if isinstance(event, CallParked):
        call.waits = f"{event.kind} {event.target}"
        call.outcome = f"waits for {call.waits}"
        return
    call.took_ns = fact.at_ns - call.at_ns
    if isinstance(event, CallRefused):
        call.refusal = type(event.refusal).__name__
        call.outcome = str(event.refusal)
    else:
        call.outcome = reply(event.reply)


def reply(answer: Reply) -> str:
    """A reply in a few words, not escaped."""
    match answer:
        case Done():
            return "done"
        case Spawned(pid=pid):
            return f"pid {pid}"
        case Ended(pid=pid, status=status, reason=reason):
            return f"{pid} ended with {status}" + (f": {reason}" if reason else "")
        case Self(pid=pid, role=role):
            return f"{pid} ({role})"
        case Mail(id=id, sender=sender, kind=kind):
            return f"mail {id} from {sender}: {kind}"
        case Held(token=token):
            return f"token {token}"
        case Artifact(name=name, content=content):
            return f"{name} {short(content)}"
        case Capable(capability=capability):
            return f"capability {capability}"
        case Generated(usage=usage, backend=backend):
            return f"{usage.input_tokens:,} in, {usage.output_tokens:,} out by {backend or 'a model'}"
        case Result(content=content, is_error=is_error):
            return f"{'error ' if is_error else ''}{short(content)}"
        case Chosen(choice=choice):
            return f"chosen: {choice}"
        case Ordered(order=order):
            return str(order)
        case Begun(order=order, attempt=attempt):
            return f"{order} attempt {attempt}"
        case Judged(verdict=verdict, reason=reason):
            return f"{verdict.value} ({reason.value})"
        case Standing(order=order, state=state):
            return f"{order} is {state}"
    return type(answer).__name__.lower()


def render(rows: list[Call], columns: int = 120) -> str:
    """The calls as strace shows a program's."""
    out = []
    for row in rows:
        sign = f"-{row.refusal.upper()} " if row.refusal else ""
        tail = f"  <{span(row.took_ns)}>" if row.took_ns else ""
        tail += f"  {exact_money(row.cost.uusd)}" if row.cost.uusd else ""
        head = f"{row.id:<12} {row.name}({short(row.args)}) = "
        out.append(head + clip(sign + terminal(row.outcome), max(columns - len(head) - len(tail), 20)) + tail)
    return "\n".join(out)


# --- why ------------------------------------------------------------------------------------------------------------


class Step(msgspec.Struct, frozen=True):
    """One link of the walk back."""

    kind: str  # event | effect | call | process | order | person | start | end
    name: str  # "effect 12", "call 4.1/0/3", "process 4.1", "WO-1", "user:ada"
    text: str
    seq: int  # event it rests on; 0 at the end of the facts


class Causes:
    """The facts, arranged so that causes are found in O(log facts)."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self._facts: list[Fact] = list(facts)
        self._seqs = [fact.seq for fact in self._facts]
        self._calls: dict[str, list[Fact]] = {}
        self._born: dict[str, Fact] = {}
        self._gone: dict[str, Fact] = {}
        self._intended: dict[int, Fact] = {}
        self._timers: dict[int, Fact] = {}
        self._stirring: dict[str, list[int]] = {}
        for place, fact in enumerate(self._facts):
            self._index(place, fact)

    def _index(self, place: int, fact: Fact) -> None:
        event = fact.event
        match event:
            case CallAnswered() | CallRefused() | CallParked():
                self._calls.setdefault(str(event.id), []).append(fact)
            case ProcessSpawned(pid=pid):
                self._born[pid] = fact
            case ProcessExited(pid=pid):
                self._gone[pid] = fact
            case EffectIntended(effect=number):
                self._intended[number] = fact
            case TimerSet(timer=timer):
                self._timers[timer] = fact
        if isinstance(event, _STIRRING):
            self._stirring.setdefault(str(getattr(event, "order", None) or ""), []).append(place)

    def at(self, seq: int) -> Fact | None:
        """The fact of that sequence number."""
        place = bisect_left(self._seqs, seq)
        return self._facts[place] if place < len(self._seqs) and self._seqs[place] == seq else None

    def why(self, target: int | str) -> list[Step]:
        """Back from an event (its sequence number) or a call (its id) to whoever wanted it."""
        start = self.at(target) if isinstance(target, int) else self._entered(target)
        if start is None:
            return [Step("end", str(target), "is not in these facts", 0)]
        steps: list[Step] = []
        place: Fact | None = start
        if isinstance(target, int):
            steps.append(Step("event", f"event {start.seq}", _told(start), start.seq))
        while place is not None and len(steps) < STEPS_MAX:
            before = place.seq
            links, place = self._back(place)
            steps += links
            assert place is None or place.seq < before, "a cause is earlier than what it caused"
        return steps

    def _entered(self, call: str) -> Fact | None:
        """Where a call left its first trace: an event of its own, or one it caused."""
        if call in self._calls:
            return self._calls[call][0]
        return next((fact for fact in self._facts if fact.cause == call), None)

    def _back(self, fact: Fact) -> tuple[list[Step], Fact | None]:
        """The links from a fact to the one before it in the chain, and that one; None at the end."""
        if not fact.cause:
            return [Step("start", "the workspace", "began with it", fact.seq)], None
        name = fact.cause.removeprefix("kernel:")
        if name == fact.cause:
            return self._back_from_call(fact.cause, fact)
        finder = _DEMANDED.get(name)
        if finder is None:
            return [Step("end", fact.cause, "is no call these pages know", fact.seq)], None
        return finder(self, fact)

    def _back_from_call(self, id: str, fact: Fact) -> tuple[list[Step], Fact | None]:
        pid = id.split("/")[0]
        records = self._calls.get(id, [])
        answered = [row for row in records if not isinstance(row.event, CallParked)]
        steps = [Step("call", f"call {id}", _call_text(records), (answered or records or [fact])[-1].seq)]
        born = self._born.get(pid)
        if born is None:
            return [*steps, Step("end", f"process {pid}", "was born before these facts", 0)], None
        return [*steps, *_process_steps(born)], born if _has_cause(born) else None

    # One for each demanded call: what made the state demand it.

    def _by_effect(self, fact: Fact) -> tuple[list[Step], Fact | None]:
        """settle, dispatch, recover: the effect, and whoever intended it."""
        is_new = isinstance(fact.event, EffectIntended)  # an outcome led to the next effect
        number = (0 if is_new else getattr(fact.event, "effect", 0)) or self._head_effect(fact)
        intended = self._intended.get(number)
        if intended is None or intended.seq >= fact.seq:
            return [Step("end", f"effect {number or '?'}", "was intended before these facts", 0)], None
        assert isinstance(intended.event, EffectIntended)
        text = f"{_effect_text(intended.event.what)}, wanted by {intended.event.phase or 'no phase'}"
        return [Step("effect", f"effect {number}", text, intended.seq)], intended

    def _head_effect(self, fact: Fact) -> int:
        """The effect whose outcome led to this fact: that of the nearest outcome before it in the same decision."""
        place = bisect_left(self._seqs, fact.seq)
        while place >= 0 and place < len(self._facts) and self._facts[place].cause == fact.cause:
            event = self._facts[place].event
            if isinstance(event, _OF_AN_EFFECT):
                return event.effect
            place -= 1
        return 0

    def _by_order(self, fact: Fact) -> tuple[list[Step], Fact | None]:
        """advance: the nearest event before it that gave its order something new."""
        order = str(getattr(fact.event, "order", None) or fact.order or self._order_near(fact))
        if isinstance(fact.event, OrderSubmitted):
            return [], None
        places = self._stirring.get(order, [])
        place = bisect_left(places, bisect_left(self._seqs, fact.seq)) - 1
        if place < 0:
            return [Step("end", order or "its order", "was stirred before these facts", 0)], None
        stirring = self._facts[places[place]]
        return [Step("event", f"event {stirring.seq}", _told(stirring), stirring.seq)], stirring

    def _order_near(self, fact: Fact) -> str:
        """The order of an event that names none, from those beside it in the same decision."""
        for step in (1, -1):
            place = bisect_left(self._seqs, fact.seq)
            while 0 <= place < len(self._facts) and self._facts[place].cause == fact.cause:
                order = getattr(self._facts[place].event, "order", None)
                if order:
                    return str(order)
                place += step
        return ""

    def _by_death(self, fact: Fact) -> tuple[list[Step], Fact | None]:
        """reap and refill: the end of the process that left something behind."""
        pid = self._dead_near(fact)
        gone = self._gone.get(pid)
        if gone is None or gone.seq >= fact.seq:
            return [Step("end", f"process {pid or '?'}", "ended before these facts", 0)], None
        return [Step("event", f"event {gone.seq}", _told(gone), gone.seq)], gone

    def _dead_near(self, fact: Fact) -> str:
        event = fact.event
        if isinstance(event, ProcessReaped):
            return event.pid
        place = bisect_left(self._seqs, fact.seq)
        for step in (1, -1):
            at = place
            while 0 <= at < len(self._facts) and self._facts[at].cause == fact.cause:
                near = self._facts[at].event
                if isinstance(near, ProcessReaped):
                    return near.pid
                if isinstance(near, ProcessSpawned) and near.replaces is not None:
                    return near.replaces
                at += step
        return ""

    def _by_timer(self, fact: Fact) -> tuple[list[Step], Fact | None]:
        """fire: the timer, and what set it."""
        place = bisect_left(self._seqs, fact.seq)
        while place >= 0 and self._facts[place].cause == fact.cause:
            event = self._facts[place].event
            if isinstance(event, TimerFired):
                timer = self._timers.get(event.timer)
                if timer is None:
                    break
                assert isinstance(timer.event, TimerSet)
                return [Step("event", f"timer {event.timer}", f"was set for {timer.event.kind}", timer.seq)], timer
            place -= 1
        return [Step("end", "a timer", "was set before these facts", 0)], None

    def _by_machine(self, fact: Fact) -> tuple[list[Step], Fact | None]:
        """boot, enroll, fence, diverge, beat: the machine or a person at the door; nothing in the facts is before it."""
        return [Step("start", fact.cause, _DOORS[fact.cause.removeprefix("kernel:")], fact.seq)], None


_DOORS = {
    "boot": "a kernel was started",
    "enroll": "a person came in",
    "fence": "the machine found a worker dead, frozen or superseded",
    "finish": "the machine saw a program with a worker to itself end",
    "diverge": "the machine saw a program make another call than its record has",
    "beat": "a worker answered a ping",
}
_Finder = Callable[[Causes, Fact], tuple[list[Step], Fact | None]]
_DEMANDED: dict[str, _Finder] = {
    "settle": Causes._by_effect,
    "dispatch": Causes._by_effect,
    "recover": Causes._by_effect,
    "advance": Causes._by_order,
    "reap": Causes._by_death,
    "refill": Causes._by_death,
    "fire": Causes._by_timer,
    "boot": Causes._by_machine,
    "enroll": Causes._by_machine,
    "fence": Causes._by_machine,
    "finish": Causes._by_machine,
    "diverge": Causes._by_machine,
    "beat": Causes._by_machine,
}


def why(facts: Iterable[Fact], target: int | str) -> list[Step]:
    """Back from an event (its sequence number) or a call ("4.1/0/3") to whoever wanted it."""
    return Causes(facts).why(target)


def why_effect(facts: Iterable[Fact], effect: int) -> list[Step]:
    """Back from an effect's outcome, or from its intention while it has none."""
    kept = list(facts)
    seq = 0
    for fact in kept:
        if isinstance(fact.event, EffectIntended | EffectSettled) and fact.event.effect == effect:
            seq = fact.seq
    return Causes(kept).why(seq)


def render_why(steps: list[Step], columns: int = 100) -> str:
    """The walk as text, the effect first and the person last."""
    out = []
    for depth, step in enumerate(steps):
        head = "because of " if depth else ""
        mark = f"  [{step.seq}]" if step.seq else ""
        text = clip(f"{head}{terminal(step.name, 60)}: {terminal(step.text)}", columns - len(mark))
        out.append(text + mark)
    return "\n".join(out)


def _has_cause(born: Fact) -> bool:
    """Whether to look further back than a process: not for people, who are where a walk ends."""
    return isinstance(born.event, ProcessSpawned) and not born.event.spec.program.startswith("person:")


def _process_steps(born: Fact) -> list[Step]:
    event = born.event
    assert isinstance(event, ProcessSpawned)
    if not _has_cause(born):
        return [Step("person", event.principal, f"at the door as {event.spec.role}, process {event.pid}", born.seq)]
    of = f", works for {event.order}" if event.order else ""
    return [Step("process", f"process {event.pid}", f"{event.spec.role} ({event.spec.program}){of}", born.seq)]


def _call_text(records: list[Fact]) -> str:
    if not records:
        return "made it"
    last = records[-1].event
    if isinstance(last, CallAnswered):
        return f"{last.name}, answered: {reply(last.reply)}"
    if isinstance(last, CallRefused):
        return f"{last.name}, refused: {last.refusal}"
    assert isinstance(last, CallParked)
    return f"{last.name}, waits for {last.kind} {last.target}"


def _effect_text(what: AnyEffect) -> str:
    match what:
        case Generate(backend=backend):
            return f"ask {backend or 'a model'}"
        case RunTool(tool=tool):
            return f"tool {tool}"
        case RunCheck(check=check):
            return f"check {check.name}"
        case Checkout():
            return "check out"
        case MoveRef(ref=ref):
            return f"move {ref}"
    return "seal the working copy"


def _told(fact: Fact) -> str:
    """An event in a few words, for a chain; the timeline has the sentences."""
    event = fact.event
    if isinstance(event, OrderSubmitted):
        return f"{event.order} was submitted by {event.author}: {event.title}"
    if isinstance(event, EffectSettled) and isinstance(event.outcome, Checked):
        finding = event.outcome.finding
        return f"check {finding.check}: {finding.verdict.value} ({finding.reason.value})"
    named = getattr(event, "verdict", None)
    text = fact.type.replace(".", " ")
    parts = [text, str(getattr(event, "order", None) or ""), named.value if named is not None else ""]
    reason = getattr(event, "reason", "")
    return " ".join(part for part in parts if part) + (f": {reason}" if reason else "")


__all__ = ["Call", "Causes", "Step", "calls", "render", "render_why", "reply", "why", "why_effect"]
