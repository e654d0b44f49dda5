"""Delivery: a closed order's change into its author's checkout, and out again. The only effect on files that are theirs.

Rule 1: only what is closed is applied, only once at a time, and only at a person's word.
Rule 2: it is kind `once`: where nobody can say whether it happened, a person looks at their own files.
"""

from agentos.abi.budget import NOTHING
from agentos.abi.calls.work import Apply, Undo
from agentos.abi.effects import Applied, ApplyChange
from agentos.abi.events.base import Event
from agentos.abi.events.call import EffectIntended
from agentos.abi.events.work import ChangeApplied
from agentos.abi.ids import AccountId, OrderId
from agentos.abi.refusals import Busy, NotFound, NotYet, Refusal
from agentos.abi.replies import Applied as Reply
from agentos.abi.rights import Right
from agentos.kernel import capability, schedule
from agentos.kernel.decision import Decision, Entry, Ruling, park, release
from agentos.kernel.state import Pending, State, Summary


def apply(state: State, entry: Entry, call: Apply) -> Ruling:
    summary = _closed(state, entry, call.order)
    if not isinstance(summary, Summary):
        return summary
    if summary.receipt:
        return Busy(thing=f"order {call.order}", fact="is applied already", remedy=f"agentos undo {call.order}")
    return _counted(state, entry, _change(state, entry, summary, ""))


def undo(state: State, entry: Entry, call: Undo) -> Ruling:
    summary = _closed(state, entry, call.order)
    if not isinstance(summary, Summary):
        return summary
    if not summary.receipt:
        return NotYet(thing=f"order {call.order}", fact="is not applied", remedy=f"agentos apply {call.order}")
    return _counted(state, entry, _change(state, entry, summary, summary.receipt))


def _closed(state: State, entry: Entry, id: OrderId) -> Summary | Refusal:
    caller = state.processes[entry.id.pid]
    if capability.find(state, caller, Right.APPROVE, f"/{id}") is None:
        return capability.forbidden(caller, Right.APPROVE, f"/{id}")
    summary = state.closed.get(id)
    if summary is None and id not in state.orders:
        return NotFound(thing=f"order {id}", fact="does not exist", remedy="list them with: agentos work ls")
    if summary is None or summary.state != "closed":
        fact = f"is {summary.state if summary else state.orders[id].state}, not closed"
        return NotYet(thing=f"order {id}", fact=fact, remedy=f"look at it with: agentos show {id}")
    if any(isinstance(pending.what, ApplyChange) and pending.what.order == id for pending in state.effects.values()):
        return Busy(thing=f"order {id}", fact="is being applied right now", remedy="wait for it")
    return summary


def _counted(state: State, entry: Entry, ruling: Decision) -> Ruling:
    what = next(event.what for event in ruling.events if isinstance(event, EffectIntended))
    assert isinstance(what, ApplyChange)
    held = capability.find(state, state.processes[entry.id.pid], Right.APPROVE, f"/{what.order}")
    return capability.counted(held, ruling)


def _change(state: State, entry: Entry, summary: Summary, undoes: str) -> Decision:
    what = ApplyChange(
        order=summary.id, repository=summary.repository, commit=summary.commit, base=summary.base, undoes=undoes
    )
    events, instructions = schedule.intend(
        state,
        what,
        pid=entry.id.pid,
        account=AccountId(1),
        reserved=NOTHING,
        order=summary.id,
        phase="delivery",
        call=entry.id,
    )
    return Decision([park(entry, "effect", str(state.next_effect)), *events], instructions)


def applied(state: State, pending: Pending, what: ApplyChange, outcome: Applied) -> list[Event]:
    """The checkout has changed: on record, and told to whoever asked."""
    receipt = "" if what.undoes else outcome.receipt
    events: list[Event] = [ChangeApplied(order=what.order, receipt=receipt, paths=outcome.paths, by=pending.pid)]
    if pending.call is not None:
        reply = Reply(order=what.order, receipt=outcome.receipt, paths=outcome.paths)
        events += release(state, pending.call, reply)
    return events


def apply_applied(state: State, event: ChangeApplied, at_ns: int) -> None:
    state.closed[event.order].receipt = event.receipt
