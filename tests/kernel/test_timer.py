"""Timers: facts that survive every crash, fire once, and leave with what they were for."""

import pytest

from agentos.abi.calls.ipc import Receive
from agentos.abi.calls.lease import Sleep
from agentos.abi.events.call import TimerFired
from agentos.abi.limits import value
from agentos.abi.refusals import Exhausted
from agentos.abi.replies import Done
from agentos.kernel import agenda
from agentos.kernel.demand import wakes_at_ns
from tests.kernel.world import SECOND, WAITING, World


def test_a_sleeper_wakes_in_time_and_not_before_also_after_a_crash() -> None:
    world = World()
    ada = world.person()
    id = world.next_id(ada)
    assert world.ask(ada, Sleep(span_ns=SECOND)) == WAITING
    assert wakes_at_ns(world.state) == world.now_ns + SECOND
    world.crash()
    world.tick(SECOND - 1)
    assert world.answer(id) == WAITING
    world.tick(1)
    assert world.answer(id) == Done() and wakes_at_ns(world.state) is None


@pytest.mark.parametrize("span", [-1, value("timer_span_ns_max") + 1])
def test_a_sleep_is_bounded(span: int) -> None:
    world = World()
    assert isinstance(world.refused(world.person(), Sleep(span_ns=span)), Exhausted)


def test_timers_fire_in_the_order_of_their_instants_then_numbers() -> None:
    world = World()
    ada = world.person()
    for strand, span in enumerate((3, 1, 2, 1)):
        world.ask(ada, Sleep(span_ns=span), strand=strand)
    world.tick(3)
    assert [event.timer for event in world.of(TimerFired)] == [2, 4, 3, 1]  # type: ignore[attr-defined]


def test_a_sleep_of_nothing_is_answered_at_once() -> None:
    world = World()
    assert world.ask(world.person(), Sleep(span_ns=0)) == Done()


def test_what_is_struck_leaves_the_heap_before_it_is_longer_than_what_lives() -> None:
    world = World()
    ada = world.person()
    child = world.spawn(ada)
    from agentos.abi.calls.ipc import Send

    world.ask(ada, Sleep(span_ns=SECOND))
    for _ in range(3 * agenda.SLACK):
        world.ask(child, Receive(timeout_ns=2 * SECOND))
        world.ask(ada, Send(to=child, kind="x"), strand=1)
    assert len(world.state.timers) == 1 and len(world.state.schedule) <= agenda.SLACK + 2
