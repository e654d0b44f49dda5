"""Timers: instants at which the state itself demands something. Facts like any other, so they survive every crash.

    sleep    answer the sleeper        receive   refuse the receiver: TimedOut
    lease    end the lease             retry     queue the effect again
    order    the order's time is up: a person decides

Rule 1: due timers fire in the order of (instant, number), one decision each, before any call that comes later.
Rule 2: a timer belongs to one thing (a parked call, a lease, an effect, an order) that knows its number, and goes with it:
        what is over leaves nothing behind that would be due some day.
"""

from agentos.abi.calls.kernel import Fire
from agentos.abi.calls.lease import Sleep
from agentos.abi.events.base import Event
from agentos.abi.events.call import TimerFired, TimerSet
from agentos.abi.ids import OrderId, parse_call_id
from agentos.abi.limits import value
from agentos.abi.refusals import Exhausted, TimedOut
from agentos.abi.replies import Done
from agentos.kernel import agenda, lease, schedule
from agentos.kernel.decision import Entry, Ruling, deciding, deny, park, parked, release
from agentos.kernel.state import Lease, Order, Parked, Pending, State, Timer
from agentos.kernel.work import order


def sleep(state: State, entry: Entry, call: Sleep) -> Ruling:
    if not 0 <= call.span_ns <= value("timer_span_ns_max"):
        return Exhausted(
            thing="span_ns", fact=f"must be within 0 and {value('timer_span_ns_max')}", limit="limits.timer_span_ns_max"
        )
    number = state.next_timer
    due = entry.now_ns + call.span_ns
    timer = TimerSet(timer=number, at_ns=due, pid=entry.id.pid, kind="sleep", target=str(entry.id))
    return deciding(park(entry, "timer", str(number)), timer)


def fire(state: State, entry: Entry, call: Fire) -> Ruling:
    """Kernel call: a timer is due."""
    timer = state.timers[call.timer]
    assert timer.at_ns <= entry.now_ns, "a timer does not fire early"
    fired = TimerFired(timer=timer.id)
    events: list[Event] = []
    match timer.kind:
        case "sleep":
            events = release(state, parse_call_id(timer.target), Done())
        case "receive":
            late = TimedOut(thing="receive", fact="got no message in time", remedy="ask again, or go on without")
            events = deny(state, parse_call_id(timer.target), late)
        case "lease":
            events = lease.expire(state, timer.target, entry.now_ns)
        case "order":
            return order.overdue(state, fired, timer.target)
        case _:
            assert timer.kind == "retry"
    return deciding(fired, *events)


def apply_set(state: State, event: TimerSet, at_ns: int) -> None:
    assert event.timer == state.next_timer, "timers are numbered as they are set"
    state.next_timer += 1
    agenda.enter(state, Timer(event.timer, event.at_ns, event.pid, event.kind, event.target))
    agenda.strike(state, _own(state, event.kind, event.target, event.timer))


def apply_fired(state: State, event: TimerFired, at_ns: int) -> None:
    timer = state.timers[event.timer]
    assert state.schedule[0] == (timer.at_ns, timer.id), "timers fire in order"
    agenda.strike(state, timer.id)
    owned = _own(state, timer.kind, timer.target, 0)
    assert owned == timer.id, "a timer fires for what it was set for"
    if timer.kind == "retry":
        schedule.enqueue(state, state.effects[int(timer.target)], at_ns)


def _own(state: State, kind: str, target: str, number: int) -> int:
    """What a timer is for has this one now; the number of the one it had, or 0."""
    owner: Parked | Lease | Pending | Order | None
    match kind:
        case "lease":
            owner = state.leases[target.split(":", 1)[1]]
        case "retry":
            owner = state.effects[int(target)]
        case "order":
            owner = state.orders[OrderId(target)]
        case _:
            owner = parked(state, parse_call_id(target))
    assert owner is not None, f"a timer of kind {kind} is for {target}, which is not there"
    had, owner.timer = owner.timer, number
    return had
