"""Timers: instants at which the state itself demands something. Facts like any other, so they survive every crash.

    sleep    answer the sleeper        receive   refuse the receiver: TimedOut
    lease    end the lease             retry     queue the effect again
    order    the order's time is up: a person decides

Rule 1: due timers fire in the order of (instant, number), one decision each, before any call that comes later.
Rule 2: a timer whose object is gone fires into nothing; it is not searched for when the object goes.
"""

import heapq

from agentos.abi.calls.kernel import Fire
from agentos.abi.calls.lease import Sleep
from agentos.abi.events.base import Event
from agentos.abi.events.call import TimerFired, TimerSet
from agentos.abi.ids import parse_call_id
from agentos.abi.limits import value
from agentos.abi.refusals import Exhausted, TimedOut
from agentos.abi.replies import Done
from agentos.kernel import lease, schedule
from agentos.kernel.decision import Entry, Ruling, deciding, deny, park, release
from agentos.kernel.state import State, Timer
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
    state.timers[event.timer] = Timer(event.timer, event.at_ns, event.pid, event.kind, event.target)
    heapq.heappush(state.schedule, (event.at_ns, event.timer))


def apply_fired(state: State, event: TimerFired, at_ns: int) -> None:
    timer = state.timers.pop(event.timer)
    at, number = heapq.heappop(state.schedule)
    assert (at, number) == (timer.at_ns, timer.id), "timers fire in order"
    if timer.kind == "retry" and int(timer.target) in state.effects:
        schedule.enqueue(state, state.effects[int(timer.target)], at_ns)


def postpone(state: State, kind: str, span_ns: int) -> None:
    """Part of booting: timers of a kind fire later by a span."""
    for timer in state.timers.values():
        if timer.kind == kind:
            timer.at_ns += span_ns
    state.schedule = [(timer.at_ns, timer.id) for timer in state.timers.values()]
    heapq.heapify(state.schedule)
