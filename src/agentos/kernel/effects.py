"""Effects: from intention to outcome, through crashes.

    intend ──> queued ──dispatch──> in flight ──outcome──> settled
                 ▲                     │
                 └──── retried <───────┤ retryable failure; kernel died and the kind allows it
                                       └── orphaned: kind `once`, kernel died: a person decides

Rule 1: an effect is intended, and its reservation stands, before the machine hears of it.
Rule 2: an outcome is a fact. For an attempt that was given up it is recorded as late and changes nothing.
Rule 3: after a crash the kind alone decides: pure and idempotent again, queryable asked, costly again under a new
        reservation with the old one written off, once never. So too when a device says that it does not know.
Rule 4: whoever waits for an effect gets exactly one answer. An effect whose process is gone is only charged.
"""

from agentos.abi.budget import NOTHING, Amounts
from agentos.abi.calls.kernel import Boot, Recover, Settle
from agentos.abi.effects import (
    Answered,
    AnyOutcome,
    Applied,
    ApplyChange,
    Cancelled,
    Failed,
    Generate,
    Instruction,
    Launch,
    Repeat,
    RunTool,
    ToolEnded,
    Unknown,
    repeat,
)
from agentos.abi.events.base import Event
from agentos.abi.events.call import (
    EffectIntended,
    EffectOrphaned,
    EffectRetried,
    EffectSettled,
    KernelBooted,
    TimerSet,
)
from agentos.abi.events.process import ProcessLaunched
from agentos.abi.events.work import QuestionAsked, QuestionWithdrawn
from agentos.abi.ids import KERNEL
from agentos.abi.limits import value
from agentos.abi.refusals import Broken, Refusal, TimedOut
from agentos.abi.replies import Generated, Reply, Result
from agentos.kernel import agenda, budget, schedule
from agentos.kernel.decision import Decision, Entry, Ruling, deciding, deny, release
from agentos.kernel.process import RESIDENT
from agentos.kernel.state import Pending, Process, State
from agentos.kernel.work import delivery
from agentos.kernel.work import outcome as work

GRACE_NS = 30_000_000_000  # leases after a restart: the longest we expect a kernel to be away unnoticed


def settle(state: State, entry: Entry, call: Settle) -> Ruling:
    """Kernel call: an outcome has come in."""
    pending = state.effects.get(call.effect)
    if pending is None or _is_late(pending, call):
        late = EffectSettled(
            effect=call.effect, attempt=call.attempt, outcome=call.outcome, spent=NOTHING, is_late=True
        )
        return deciding(late)
    outcome = call.outcome
    if isinstance(outcome, Failed) and outcome.is_retryable and _may_retry(state, pending):
        return _retry(state, pending, outcome, entry.now_ns)
    if isinstance(outcome, Unknown) and not pending.is_abandoned:
        return _lost(state, pending, outcome.fact or "its outcome is unknown", entry)
    spent = charge(pending, outcome)
    settled = EffectSettled(effect=pending.id, attempt=pending.attempt, outcome=outcome, spent=spent)
    known = _withdrawn(pending, "its outcome came in after all")
    events, instructions = _follow(state, pending, outcome, spent, entry)
    return Decision([settled, *known, *events], instructions)


def _is_late(pending: Pending, call: Settle) -> bool:
    """Whether the outcome is of no use: of an attempt given up, or one more "unknown" of an effect a person looks at."""
    if call.attempt != pending.attempt:
        return True
    return not pending.is_dispatched and (not pending.is_orphaned or isinstance(call.outcome, Unknown))


def _may_retry(state: State, pending: Pending) -> bool:
    return pending.attempt < value("attempts_max") and not pending.is_abandoned and repeat(pending.what) != Repeat.ONCE


def _retry(state: State, pending: Pending, outcome: Failed, now_ns: int) -> Ruling:
    written_off = pending.reserved if outcome.is_spent_unknown else NOTHING
    if written_off != NOTHING and budget.fault(state, pending.account, written_off) is not None:
        settled = EffectSettled(effect=pending.id, attempt=pending.attempt, outcome=outcome, spent=written_off)
        return deciding(settled, *_answer(state, pending, budget.fault(state, pending.account, written_off)))
    due = now_ns + outcome.retry_after_ns if outcome.retry_after_ns else 0
    retried = EffectRetried(
        effect=pending.id, attempt=pending.attempt, written_off=written_off, reason=outcome.fact, not_before_ns=due
    )
    if not due:
        return deciding(retried)
    wait = TimerSet(timer=state.next_timer, at_ns=due, pid=pending.pid, kind="retry", target=str(pending.id))
    return deciding(retried, wait)


def _orphan(state: State, pending: Pending, fact: str) -> Ruling:
    """Nobody can say whether it happened; ask a person, and leave the caller waiting."""
    question = state.next_question
    asked = QuestionAsked(
        question=question,
        kind="unknown",
        text=f"Did this happen? {type(pending.what).__name__} {getattr(pending.what, 'tool', '')}: {fact}".strip(),
        choices=("happened", "did not happen"),
        pid=pending.pid,
        order=pending.order,
        effect=pending.id,
    )
    return deciding(EffectOrphaned(effect=pending.id, question=question), asked)


def dropped(pending: Pending, reason: str) -> list[Event]:
    """The end of an effect that is not in flight and that nobody wants any more. One that may have happened is charged."""
    outcome = Unknown(fact=reason) if pending.is_orphaned else Cancelled()
    spent = pending.reserved if pending.is_orphaned else NOTHING
    settled = EffectSettled(effect=pending.id, attempt=pending.attempt, outcome=outcome, spent=spent)
    return [settled, *_withdrawn(pending, reason)]


def _withdrawn(pending: Pending, reason: str) -> list[Event]:
    """The question about an orphaned effect leaves the inbox."""
    return [QuestionWithdrawn(question=pending.question, reason=reason)] if pending.is_orphaned else []


def charge(pending: Pending, outcome: AnyOutcome) -> Amounts:
    """What an outcome costs: the provider's own count; the reservation where nobody can tell; else one action."""
    action = Amounts(actions=1 if pending.reserved.actions else 0)
    match outcome:
        case Answered(is_metered=True) if isinstance(pending.what, Generate):
            return Amounts(outcome.uusd, outcome.usage.tokens, action.actions)
        case Answered() | Unknown():
            return pending.reserved
        case Failed(is_spent_unknown=True):
            return pending.reserved
        case Cancelled():
            return pending.reserved if pending.is_dispatched and isinstance(pending.what, Generate) else NOTHING
        case _:
            return action


def _follow(
    state: State, pending: Pending, outcome: AnyOutcome, spent: Amounts, entry: Entry
) -> tuple[list[Event], list[Instruction]]:
    """What an outcome means to whoever wanted it."""
    if isinstance(pending.what, ApplyChange) and isinstance(outcome, Applied):
        return delivery.applied(state, pending, pending.what, outcome), []  # the files have changed, whoever still asks
    if pending.is_abandoned:
        return [], []
    if not isinstance(pending.what, Generate | RunTool | ApplyChange):
        return work.follow(state, pending, outcome, entry)
    match outcome:
        case Answered():
            backend = pending.what.backend if isinstance(pending.what, Generate) else ""
            reply = Generated(answer=outcome.answer, usage=outcome.usage, spent=spent, backend=backend)
            return _answer(state, pending, None, reply), []
        case ToolEnded():
            return _answer(state, pending, None, Result(content=outcome.content, is_error=outcome.is_error)), []
    return _answer(state, pending, refusal_of(pending, outcome)), []


def refusal_of(pending: Pending, outcome: AnyOutcome) -> Refusal:
    """A failed outcome as the caller's refusal."""
    thing = pending.what.tool if isinstance(pending.what, RunTool) else getattr(pending.what, "backend", "effect")
    if isinstance(outcome, Failed):
        kind = TimedOut if outcome.is_timeout else Broken
        tries = f" (after {pending.attempt} attempts)" if pending.attempt > 1 else ""
        return kind(thing=thing, fact=outcome.fact + tries, remedy="try another way or another model")
    return Broken(
        thing=thing, fact=f"ended as {type(outcome).__name__.lower()}", remedy="ask again if it is still needed"
    )


def _answer(state: State, pending: Pending, refusal: Refusal | None, reply: Reply | None = None) -> list[Event]:
    if pending.call is None:
        return []
    if refusal is not None:
        return deny(state, pending.call, refusal)
    assert reply is not None
    return release(state, pending.call, reply)


def boot(state: State, entry: Entry, call: Boot) -> Ruling:
    """Kernel call: a new epoch. What was in flight is adrift, and the programs that were running are run again."""
    events: list[Event] = [KernelBooted(epoch=call.epoch, grace_ns=GRACE_NS)]
    instructions: list[Instruction] = []
    for process in state.processes.values():
        if _has_work(process) and not process.spec.program.startswith(RESIDENT):
            new = process.incarnation + 1
            events.append(ProcessLaunched(pid=process.pid, incarnation=new, reason="kernel restarted"))
            instructions.append(Launch(process.pid, new))
    return Decision(events, instructions)


def _has_work(process: Process) -> bool:
    """Whether it was doing something between calls: on any strand. One that waits on all of them is run at its wake."""
    if process.state in ("ready", "running"):
        return True
    return process.state == "waiting" and len(process.parked) < len(process.strands)


def recover(state: State, entry: Entry, call: Recover) -> Ruling:
    """Kernel call: one effect that the last kernel left in flight. Its kind decides."""
    pending = state.effects[call.effect]
    reason = "the kernel died while it was in flight"
    if pending.is_abandoned:
        spent = pending.reserved if repeat(pending.what) == Repeat.COSTLY else NOTHING
        return deciding(
            EffectSettled(effect=pending.id, attempt=pending.attempt, outcome=Unknown(fact=reason), spent=spent)
        )
    return _lost(state, pending, reason, entry)


def _lost(state: State, pending: Pending, reason: str, entry: Entry) -> Ruling:
    """Nobody can say whether it happened: how it may be repeated decides (rule 3)."""
    kind = repeat(pending.what)
    if kind == Repeat.ONCE:
        return _orphan(state, pending, reason)
    written_off = pending.reserved if kind == Repeat.COSTLY else NOTHING
    short = budget.fault(state, pending.account, written_off) if written_off != NOTHING else None
    if short is None and pending.attempt < value("attempts_max"):
        return deciding(
            EffectRetried(effect=pending.id, attempt=pending.attempt, written_off=written_off, reason=reason)
        )
    outcome = Failed(fact=reason, is_spent_unknown=kind == Repeat.COSTLY)
    settled = EffectSettled(effect=pending.id, attempt=pending.attempt, outcome=outcome, spent=written_off)
    if isinstance(pending.what, Generate | RunTool | ApplyChange):
        return deciding(settled, *_answer(state, pending, short or refusal_of(pending, outcome)))
    events, instructions = work.follow(state, pending, outcome, entry)
    return Decision([settled, *events], instructions)


def apply_intended(state: State, event: EffectIntended, at_ns: int) -> None:
    assert event.effect == state.next_effect, "effects are numbered as they are intended"
    state.next_effect += 1
    pending = Pending(
        id=event.effect,
        pid=event.pid,
        what=event.what,
        account=event.account,
        reserved=event.reserved,
        order=event.order,
        phase=event.phase,
        priority=event.priority,
        queued_at_ns=at_ns,
        call=event.call,
    )
    state.effects[event.effect] = pending
    budget.reserve(state, event.account, event.reserved)
    if event.pid != KERNEL:
        state.processes[event.pid].effects.append(event.effect)
    schedule.enqueue(state, pending, at_ns)


def apply_settled(state: State, event: EffectSettled, at_ns: int) -> None:
    if event.is_late:
        return
    pending = state.effects.pop(event.effect)
    _found(state, pending)
    budget.settle(state, pending.account, pending.reserved, event.spent)
    if pending.is_dispatched:
        schedule.vacate(state, pending)
    else:
        schedule.withdraw(state, pending)
        agenda.strike(state, pending.timer)
    process = state.processes.get(pending.pid)
    if process is not None:
        process.effects.remove(event.effect)


def apply_retried(state: State, event: EffectRetried, at_ns: int) -> None:
    pending = state.effects[event.effect]
    assert pending.is_dispatched and pending.attempt == event.attempt
    _found(state, pending)
    if event.written_off != NOTHING:
        budget.write_off(state, pending.account, event.written_off)
    schedule.vacate(state, pending)
    if not event.not_before_ns:
        schedule.enqueue(state, pending, at_ns)


def apply_orphaned(state: State, event: EffectOrphaned, at_ns: int) -> None:
    pending = state.effects[event.effect]
    assert pending.is_dispatched, "only what is in flight is lost"
    pending.is_orphaned, pending.question = True, event.question
    _found(state, pending)
    schedule.vacate(state, pending)


def _found(state: State, pending: Pending) -> None:
    """It is adrift no more."""
    if pending.id in state.adrift:
        state.adrift.remove(pending.id)


def apply_booted(state: State, event: KernelBooted, at_ns: int) -> None:
    assert event.epoch > state.epoch, "epochs only grow"
    state.epoch = event.epoch
    state.adrift = [pending.id for pending in state.effects.values() if pending.is_dispatched]
    for lease in state.leases.values():
        if lease.holder is not None:
            lease.deadline_at_ns += event.grace_ns
    agenda.postpone(state, "lease", event.grace_ns)
