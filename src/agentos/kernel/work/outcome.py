"""What the outcome of an effect means to its order.

Rule 1: an outcome that comes when the order has moved on changes nothing; it was charged.
Rule 2: a check that could not be run is a finding too: unverified, never passed.
"""

from agentos.abi.effects import (
    AnyOutcome,
    Checked,
    CheckedOut,
    Checkout,
    Failed,
    Instruction,
    Moved,
    MoveRef,
    RunCheck,
    Seal,
    Sealed,
)
from agentos.abi.events.base import Event
from agentos.abi.events.work import (
    AttemptEnded,
    ContentPresented,
    CopyMade,
    EvidenceFound,
    OrderProved,
    PresentationAsked,
)
from agentos.abi.ids import Digest
from agentos.abi.refusals import Broken
from agentos.abi.replies import Begun
from agentos.abi.work import Finding, Reason, Verdict
from agentos.kernel.decision import Entry, deny, release
from agentos.kernel.state import Order, Pending, State
from agentos.kernel.work import evidence, gate
from agentos.kernel.work import order as orders

Following = tuple[list[Event], list[Instruction]]


def follow(state: State, pending: Pending, outcome: AnyOutcome, entry: Entry) -> Following:
    """The events an outcome leads to, for the order it was for."""
    order = state.orders.get(pending.order) if pending.order is not None else None
    if order is None:
        return [], []
    match pending.what:
        case Checkout() if order.state == "starting":
            return _copied(state, order, outcome, entry)
        case Seal() if order.state == "sealing":
            return _sealed(state, order, outcome)
        case RunCheck() if order.state in ("proving", "verifying"):
            return _checked(order, pending.what, outcome), []
        case MoveRef() if order.state == "closing":
            return _moved(state, order, outcome)
    return [], []


def _fact(outcome: AnyOutcome) -> str:
    return outcome.fact if isinstance(outcome, Failed) else f"ended as {type(outcome).__name__.lower()}"


def _copied(state: State, order: Order, outcome: AnyOutcome, entry: Entry) -> Following:
    if not isinstance(outcome, CheckedOut):
        events: list[Event] = [AttemptEnded(order=order.id, attempt=order.attempt, reason=_fact(outcome))]
        if order.call is not None:
            events += deny(state, order.call, Broken(thing=f"working copy of {order.id}", fact=_fact(outcome)))
        return events, []
    made = CopyMade(order=order.id, attempt=order.attempt)
    if order.contract.is_external:
        events, instructions = evidence.sealing(state, order, entry)
        return [made, PresentationAsked(order=order.id, by=order.by), *events], instructions
    begun = Begun(order=order.id, attempt=order.attempt)
    return [made, *(release(state, order.call, begun) if order.call else [])], []


def _sealed(state: State, order: Order, outcome: AnyOutcome) -> Following:
    if isinstance(outcome, Sealed):
        by = order.presenter or order.by
        events: list[Event] = []
        events.append(ContentPresented(order=order.id, attempt=order.attempt, by=by, change=outcome.change))
        return events, []
    ended: list[Event] = [AttemptEnded(order=order.id, attempt=order.attempt, reason=_fact(outcome))]
    if order.call is not None:
        ended += deny(state, order.call, Broken(thing=f"working copy of {order.id}", fact=_fact(outcome)))
    return ended, []


def _checked(order: Order, run: RunCheck, outcome: AnyOutcome) -> list[Event]:
    if isinstance(outcome, Checked):
        finding = outcome.finding
    else:
        finding = Finding(
            check=run.check.name,
            tree=order.change.tree if order.change else Digest(""),
            verdict=Verdict.UNVERIFIED,
            reason=Reason.CHECK_BROKEN,
            detail=_fact(outcome),
        )
    if order.state == "proving":
        return [OrderProved(order=order.id, finding=finding)]
    return [EvidenceFound(order=order.id, finding=finding)]


def _moved(state: State, order: Order, outcome: AnyOutcome) -> Following:
    if isinstance(outcome, Moved):
        ruling = gate.closing(state, order)
    else:
        ruling = orders.escalating(state, order, "branch_not_moved", _fact(outcome), ("retry", "cancel"))
    return ruling.events, ruling.instructions
