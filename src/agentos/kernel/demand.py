"""What the state itself demands next. The machine takes these calls through the gate right after the call that made
them necessary, in the same batch, so that nobody ever sees or stores the state in between.

Rule 1: `due` looks in a fixed order: the dead, what is adrift, vacant places, free slots, timers. Same state, same call.
Rule 2: every call it returns changes what made it return it, so the pump ends.
Rule 3: an order takes a step when an event in STIRRING says that something about it is new.
"""

from agentos.abi.calls.base import Call
from agentos.abi.calls.kernel import Advance, Dispatch, Fire, Reap, Recover, Refill
from agentos.abi.events.base import Event
from agentos.abi.events.process import ProcessReaped
from agentos.abi.events.work import (
    AttemptEnded,
    ContentAttested,
    ContentPresented,
    CopyMade,
    EvidenceFound,
    OrderProved,
    OrderReady,
    OrderResumed,
    OrderSubmitted,
    OrderVerified,
)
from agentos.abi.ids import OrderId
from agentos.kernel.state import State

STIRRING: tuple[type[Event], ...] = (
    CopyMade,
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
_STIRRING = frozenset(STIRRING)


def due(state: State, now_ns: int) -> Call | None:
    """The next call the state demands by itself, or None. O(1)."""
    if state.dying:
        return Reap(pid=state.dying[0])
    if state.adrift:
        return Recover(effect=state.adrift[0])
    if state.vacant:
        return Refill()
    if state.hungry:
        return Dispatch(device=state.hungry[0])
    if state.schedule and state.schedule[0][0] <= now_ns:
        return Fire(timer=state.schedule[0][1])
    return None


def stirred(event: Event) -> OrderId | None:
    """The order that can take a step because of this event."""
    return event.order if type(event) in _STIRRING else None  # type: ignore[attr-defined]


def step(state: State, order: OrderId) -> Call | None:
    """The call that lets an order take its step, if it is still open."""
    return Advance(order=order) if order in state.orders else None


def wakes_at_ns(state: State) -> int | None:
    """When the next timer is due, or None."""
    return state.schedule[0][0] if state.schedule else None
