"""The agenda: which timer is due when. A heap beside the table of timers.

Rule 1: a timer goes with what it was set for. Its entry in the heap may stay a while, but never as the first: `due`
        looks at the first and finds a living timer.
Rule 2: entries of gone timers are at most as many as the living ones and a few: then the heap is built anew.
"""

import heapq

from agentos.kernel.state import State, Timer

SLACK = 64  # entries of gone timers that are not worth a rebuild


def enter(state: State, timer: Timer) -> None:
    """Part of an event's apply: the timer is set. O(log timers)."""
    state.timers[timer.id] = timer
    heapq.heappush(state.schedule, (timer.at_ns, timer.id))


def strike(state: State, number: int) -> None:
    """Part of an event's apply: the timer is no more, if it still was. O(log timers), amortised."""
    if state.timers.pop(number, None) is None:
        return
    while state.schedule and state.schedule[0][1] not in state.timers:
        heapq.heappop(state.schedule)
    if len(state.schedule) > 2 * len(state.timers) + SLACK:
        _rebuild(state)


def postpone(state: State, kind: str, span_ns: int) -> None:
    """Part of booting: timers of a kind fire later by a span."""
    for timer in state.timers.values():
        if timer.kind == kind:
            timer.at_ns += span_ns
    _rebuild(state)


def _rebuild(state: State) -> None:
    state.schedule = [(timer.at_ns, timer.id) for timer in state.timers.values()]
    heapq.heapify(state.schedule)
