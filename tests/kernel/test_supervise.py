"""Supervision: what the dead leave behind, and who takes their place."""

import pytest

from agentos.abi.calls.device import Ask
from agentos.abi.calls.kernel import Reap, Refill
from agentos.abi.calls.process import Await, Exit, Kill
from agentos.abi.calls.work import Decide
from agentos.abi.events.base import Event
from agentos.abi.events.process import PlaceDropped, ProcessExited, ProcessRestarted
from agentos.abi.ids import INIT, KERNEL, AccountId, CallId, Pid
from agentos.abi.refusals import Closed
from agentos.abi.rights import Grant, Right
from agentos.abi.signals import Signal
from agentos.kernel.apply import apply
from agentos.kernel.decision import Decision, Entry, Ruling
from agentos.kernel.supervise import reap, refill
from tests.kernel.world import SECOND, WAITING, World, ask_model, grants

SPAWN = grants((Right.SPAWN, "/**"), (Right.INFER, "/**"), (Right.LEASE, "/**"))


def family(world: World, strategy: str, kinds: tuple[str, ...], **spec: object) -> tuple[Pid, list[Pid]]:
    """A supervisor and its children, of these restart kinds."""
    top = world.spawn(world.person(), strategy=strategy, grants=SPAWN, **spec)
    return top, [world.spawn(top, restart=kind, name=str(n), grants=SPAWN) for n, kind in enumerate(kinds)]


def names(world: World, pid: Pid) -> list[str]:
    """The names of a process's children, in their order."""
    return [world.state.processes[child].spec.name for child in world.state.processes[pid].children]


@pytest.mark.parametrize(
    ("kind", "status", "is_back"),
    [
        ("permanent", 0, True),
        ("permanent", 1, True),
        ("transient", 0, False),
        ("transient", 1, True),
        ("temporary", 0, False),
        ("temporary", 1, False),
    ],
)
def test_a_restart_kind_says_whether_the_place_is_filled(kind: str, status: int, is_back: bool) -> None:
    world = World()
    top, (child,) = family(world, "one_for_one", (kind,))
    world.ask(child, Exit(status=status))
    assert child not in world.state.processes
    assert names(world, top) == (["0"] if is_back else [])


def test_one_for_one_restarts_the_dead_alone() -> None:
    world = World()
    top, (a, b, c) = family(world, "one_for_one", ("permanent",) * 3)
    world.ask(b, Exit(status=1))
    assert a in world.state.processes and c in world.state.processes
    assert sorted(names(world, top)) == ["0", "1", "2"]


def test_one_for_all_restarts_all_in_the_order_they_were_started() -> None:
    world = World()
    top, children = family(world, "one_for_all", ("permanent", "transient", "permanent"))
    world.ask(children[2], Exit(status=1))
    assert not set(children) & set(world.state.processes)
    assert names(world, top) == ["0", "1", "2"]
    assert len(world.of(ProcessRestarted)) == 1, "a group's restart counts once"


def test_one_for_all_does_not_bring_back_the_temporary() -> None:
    world = World()
    top, children = family(world, "one_for_all", ("temporary", "permanent"))
    world.ask(children[1], Exit(status=1))
    assert names(world, top) == ["1"]


def test_rest_for_one_restarts_the_younger_siblings_only() -> None:
    world = World()
    top, (a, b, c) = family(world, "rest_for_one", ("permanent",) * 3)
    world.ask(b, Exit(status=1))
    assert a in world.state.processes and b not in world.state.processes and c not in world.state.processes
    assert names(world, top) == ["0", "1", "2"]
    world.ask(world.state.processes[top].children[2], Exit(status=1))
    assert names(world, top) == ["0", "1", "2"] and a in world.state.processes


def test_too_many_restarts_within_the_period_end_the_supervisor() -> None:
    world = World()
    top, _ = family(world, "one_for_one", ("permanent",), intensity=2, period_ns=SECOND)
    for _ in range(2):
        world.ask(world.state.processes[top].children[0], Exit(status=1))
    assert top in world.state.processes
    world.ask(world.state.processes[top].children[0], Exit(status=1))
    assert top not in world.state.processes and world.halted(top)


def test_restarts_spread_over_time_are_forgotten() -> None:
    world = World()
    top, _ = family(world, "one_for_one", ("permanent",), intensity=1, period_ns=SECOND)
    for _ in range(5):
        world.ask(world.state.processes[top].children[0], Exit(status=1))
        world.tick(SECOND)
    assert top in world.state.processes and len(world.state.processes[top].restarts_at_ns) == 1


def test_a_failing_supervisor_is_restarted_by_its_own() -> None:
    world = World()
    top = world.spawn(world.person(), grants=SPAWN)
    middle = world.spawn(top, restart="permanent", intensity=0, grants=SPAWN, name="middle")
    leaf = world.spawn(middle, restart="permanent")
    world.ask(leaf, Exit(status=1))
    assert middle not in world.state.processes and leaf not in world.state.processes
    assert names(world, top) == ["middle"], "the new one starts its children itself"


def test_a_person_outlives_a_child_that_keeps_crashing() -> None:
    world = World()
    ada = world.person()
    world.spawn(ada, restart="permanent")
    for _ in range(20):
        for child in world.state.processes[ada].children:
            world.ask(child, Exit(status=1))
    assert ada in world.state.processes and not world.state.processes[ada].children


def test_a_program_cannot_claim_to_be_replaced() -> None:
    world = World()
    top, _ = family(world, "one_for_one", ("transient",), intensity=2)
    for _ in range(3):
        world.ask(world.state.processes[top].children[0], Exit(status=143, reason="restarting with a sibling"))
    assert top not in world.state.processes, "each of these restarts was counted"


def test_a_child_of_the_dead_is_not_started_again_under_init() -> None:
    world = World()
    top, (linked,) = family(world, "one_for_one", ("permanent",))
    free = world.spawn(top, restart="permanent", is_linked=False)
    world.ask(top, Exit(status=1))
    assert linked not in world.state.processes and world.state.processes[INIT].children == [free]
    world.ask(free, Exit(status=1))
    assert world.state.processes[INIT].children == []


def test_a_restarted_child_gets_no_right_that_its_parent_has_lost() -> None:
    from agentos.abi.calls.lease import Revoke

    world = World()
    ada = world.person()
    top = world.spawn(ada, grants=grants((Right.SPAWN, "/**"), (Right.INFER, "/coder"), (Right.TOOL, "/shell")))
    child = world.spawn(top, restart="permanent", grants=grants((Right.INFER, "/coder"), (Right.TOOL, "/shell")))
    tool = next(
        id for id in world.state.processes[top].capabilities if world.state.capabilities[id].grant.right == Right.TOOL
    )
    world.ask(ada, Revoke(capability=tool))
    world.ask(child, Exit(status=1))
    (new,) = world.state.processes[top].children
    held = [world.state.capabilities[id].grant.right for id in world.state.processes[new].capabilities]
    assert held == [Right.INFER]


def test_a_restart_brings_no_used_up_uses_back() -> None:
    world = World()
    top = world.spawn(world.person(), grants=SPAWN)
    child = world.spawn(top, restart="permanent", grants=(Grant(Right.INFER, "/coder", 2), Grant(Right.LEASE, "/a", 1)))
    world.ask(child, ask_model())
    world.ask(child, Exit(status=1), strand=1)
    (new,) = world.state.processes[top].children
    held = [world.state.capabilities[id].grant for id in world.state.processes[new].capabilities]
    assert held == [Grant(Right.INFER, "/coder", 1), Grant(Right.LEASE, "/a", 1)]


def test_a_place_in_an_escalated_order_stays_empty() -> None:
    from agentos.abi.calls.work import Escalate

    world = World()
    ada = world.person()
    order, _ = world.executing(ada)
    world.spawn(ada, order=order, restart="permanent")
    world.ask(ada, Escalate(order=order, reason="stuck"))
    assert world.state.orders[order].processes == []


def test_a_place_whose_supervisor_died_meanwhile_is_dropped() -> None:
    """Two deaths in one batch, which no single call makes today: the events are applied by hand."""
    world = World(is_checked=False)
    top, (child,) = family(world, "one_for_one", ("permanent",))
    kernel = Entry(CallId(KERNEL, 0, 0), world.now_ns)
    apply(world.state, ProcessExited(pid=child, status=1, is_failure=True), world.now_ns)
    for event in ruled(reap(world.state, kernel, Reap(pid=child))):
        apply(world.state, event, world.now_ns)
    apply(world.state, ProcessExited(pid=top, status=1), world.now_ns)
    assert ruled(refill(world.state, kernel, Refill())) == [PlaceDropped(pid=child)]
    apply(world.state, PlaceDropped(pid=child), world.now_ns)
    assert world.state.vacant == []


def ruled(ruling: Ruling) -> list[Event]:
    assert isinstance(ruling, Decision)
    return ruling.events


def test_an_awaiting_parent_is_told_once_whatever_ends_the_child() -> None:
    world = World()
    ada = world.person()
    parent = world.spawn(ada, grants=SPAWN)
    child = world.spawn(parent)
    id = world.next_id(parent)
    assert world.ask(parent, Await(pid=child)) == WAITING
    world.ask(ada, Kill(pid=child, signal=Signal.KILL))
    assert world.answer(id) != WAITING
    assert isinstance(world.ask(child, Exit()), Closed)


def test_the_questions_of_the_dead_leave_the_inbox() -> None:
    world = World()
    ada = world.person()
    child = world.spawn(ada)
    assert world.ask(child, Ask(question="which?", choices=("a", "b"))) == WAITING
    (number,) = world.state.questions
    world.ask(ada, Kill(pid=child, signal=Signal.KILL))
    assert not world.state.questions
    assert isinstance(world.refused(ada, Decide(question=number, choice="a")), Closed)


def test_what_the_dead_had_queued_is_lifted_and_what_flew_is_charged() -> None:
    world = World()
    ada = world.person()
    parent = world.spawn(ada, grants=SPAWN)
    for strand in range(33):  # one more than there are slots
        assert world.ask(parent, ask_model(10, args_of(strand)), strand=strand) == WAITING
    world.ask(parent, Exit(), strand=40)
    assert world.state.accounts[AccountId(1)].reserved.uusd == 320
    from agentos.abi.effects import Cancelled

    for number in list(world.flying):
        world.settle(number, Cancelled())
    assert (
        world.state.accounts[AccountId(1)].reserved.uusd == 0 and world.state.accounts[AccountId(1)].spent.uusd == 320
    )
    assert not world.state.effects


def args_of(number: int) -> str:
    """A digit of a digest, so that no two requests in a row are the same."""
    return "abcdef"[number % 6]
