"""Capabilities: held, derived, counted, revoked; never amplified."""

import pytest

from agentos.abi.calls.lease import Acquire, Derive, Release, Revoke
from agentos.abi.calls.process import Exit, Spawn
from agentos.abi.events.ipc import CapabilityUsed
from agentos.abi.ids import CapabilityId, Pid
from agentos.abi.limits import value
from agentos.abi.refusals import Exhausted, Forbidden, NotFound
from agentos.abi.replies import Capable, Done
from agentos.abi.rights import Grant, Right, canonical_fault, covers, selects
from tests.kernel.world import WAITING, World, ask_model, grants


def held(world: World, pid: Pid, right: Right) -> CapabilityId:
    """The first capability of a process for a right."""
    return next(
        id for id in world.state.processes[pid].capabilities if world.state.capabilities[id].grant.right == right
    )


def derive(world: World, holder: Pid, to: Pid, grant: Grant) -> CapabilityId:
    """A derivation that must succeed."""
    got = world.ask(holder, Derive(capability=held(world, holder, grant.right), to=to, grant=grant))
    assert isinstance(got, Capable), got
    return got.capability


@pytest.mark.parametrize("selector", ["", "a", "//", "/a//b", "/./a", "/a/..", "/**/a", "/a\x00", "/a/**/b"])
def test_a_selector_that_is_not_canonical_is_named_so(selector: str) -> None:
    assert canonical_fault(selector) is not None


@pytest.mark.parametrize(
    ("outer", "inner", "is_covered"),
    [
        ("/a", "/a", True),
        ("/a", "/a/b", False),
        ("/a/**", "/a", True),
        ("/a/**", "/a/b/c", True),
        ("/a/**", "/ab", False),
        ("/a/b/**", "/a/**", False),
        ("/**", "/", True),
    ],
)
def test_a_selector_covers_itself_and_what_is_below(outer: str, inner: str, is_covered: bool) -> None:
    assert selects(outer, inner) is is_covered


def test_a_bounded_grant_does_not_cover_an_unbounded_one() -> None:
    bounded, free = Grant(Right.INFER, "/a", 3), Grant(Right.INFER, "/a")
    assert covers(free, bounded) and not covers(bounded, free) and not covers(bounded, Grant(Right.INFER, "/a", 4))


def test_an_id_means_nothing_in_other_hands() -> None:
    world = World()
    ada = world.person()
    one, other = world.spawn(ada, grants=grants((Right.INFER, "/**"))), world.spawn(ada)
    id = held(world, one, Right.INFER)
    refusal = world.refused(other, Derive(capability=id, to=other, grant=Grant(Right.INFER, "/coder")))
    assert isinstance(refusal, Forbidden)
    assert isinstance(world.refused(other, ask_model()), Forbidden)
    assert isinstance(world.refused(other, Revoke(capability=id)), Forbidden)


@pytest.mark.parametrize(
    "grant",
    [Grant(Right.INFER, "/**"), Grant(Right.TOOL, "/m/a"), Grant(Right.INFER, "/m/../b"), Grant(Right.INFER, "/n")],
)
def test_derived_is_never_wider(grant: Grant) -> None:
    world = World()
    one = world.spawn(world.person(), grants=grants((Right.INFER, "/m/**")))
    refusal = world.refused(one, Derive(capability=held(world, one, Right.INFER), to=one, grant=grant))
    assert isinstance(refusal, Forbidden)


def test_nothing_is_derived_for_nobody() -> None:
    world = World()
    one = world.spawn(world.person(), grants=grants((Right.INFER, "/m/**")))
    call = Derive(capability=held(world, one, Right.INFER), to=Pid("99.1"), grant=Grant(Right.INFER, "/m/a"))
    assert isinstance(world.refused(one, call), NotFound)


def test_how_many_a_process_holds_is_bounded() -> None:
    world = World(is_checked=False)
    one = world.spawn(world.person(), grants=grants((Right.INFER, "/**")))
    grant = Grant(Right.INFER, "/a")
    for _ in range(value("capabilities_max") - 1):
        derive(world, one, one, grant)
    call = Derive(capability=held(world, one, Right.INFER), to=one, grant=grant)
    assert isinstance(world.refused(one, call), Exhausted)


def test_revoking_takes_back_everything_derived() -> None:
    world = World()
    ada = world.person()
    a, b, c = (world.spawn(ada, grants=grants((Right.INFER, "/x"))) for _ in range(3))
    top = derive(world, ada, a, Grant(Right.LEASE, "/r/**"))
    derive(world, a, b, Grant(Right.LEASE, "/r/s/**"))
    leaf = derive(world, b, c, Grant(Right.LEASE, "/r/s/t"))
    assert isinstance(world.refused(c, Revoke(capability=top)), Forbidden)
    assert world.ask(ada, Revoke(capability=top)) == Done(), "who derived it may take it back"
    assert isinstance(world.refused(c, Acquire(resource="/r/s/t", ttl_ns=1)), Forbidden)
    assert isinstance(world.refused(c, Revoke(capability=leaf)), NotFound)


def test_a_chain_longer_than_the_stack_is_revoked() -> None:
    world = World(is_checked=False)
    ada = world.person()
    workers = [world.spawn(ada) for _ in range(3)]
    grant = Grant(Right.LEASE, "/r")
    first = last = derive(world, ada, workers[0], grant)
    for number in range(1_500):
        holder, to = workers[number % 3], workers[(number + 1) % 3]
        got = world.ask(holder, Derive(capability=last, to=to, grant=grant))
        assert isinstance(got, Capable)
        last = got.capability
    assert world.ask(ada, Revoke(capability=first)) == Done()
    assert not any(world.state.processes[pid].capabilities for pid in workers)


def test_what_the_dead_derived_hangs_on_where_it_came_from() -> None:
    world = World()
    ada = world.person()
    a, b = world.spawn(ada), world.spawn(ada)
    derive(world, ada, a, Grant(Right.LEASE, "/r/**"))
    leaf = derive(world, a, b, Grant(Right.LEASE, "/r/s"))
    world.ask(a, Exit())
    assert world.state.capabilities[leaf].parent == held(world, ada, Right.LEASE)
    assert world.ask(ada, Revoke(capability=leaf)) == Done()


def test_uses_are_counted_and_run_out() -> None:
    world = World()
    one = world.spawn(world.person(), grants=(Grant(Right.LEASE, "/r", 2),))
    for _ in range(2):
        got = world.ask(one, Acquire(resource="/r", ttl_ns=1_000))
        world.ask(one, Release(resource="/r", token=got.token))  # type: ignore[union-attr]
    assert len(world.of(CapabilityUsed)) == 2
    assert isinstance(world.refused(one, Acquire(resource="/r", ttl_ns=1_000)), Forbidden)


def test_uses_of_the_derived_count_against_their_source() -> None:
    world = World()
    ada = world.person()
    a = world.spawn(ada, grants=(Grant(Right.INFER, "/coder", 2), *grants((Right.SPAWN, "/**"))))
    b, c = (world.spawn(a, grants=(Grant(Right.INFER, "/coder", 2),)) for _ in range(2))
    assert world.ask(b, ask_model()) == WAITING and world.ask(c, ask_model()) == WAITING
    assert isinstance(world.refused(c, ask_model(), strand=1), Forbidden)
    assert isinstance(world.refused(a, ask_model(), strand=1), Forbidden)


def test_the_holders_end_does_not_multiply_uses() -> None:
    world = World()
    ada = world.person()
    a = world.spawn(ada, grants=(Grant(Right.INFER, "/coder", 3), *grants((Right.SPAWN, "/**"))))
    b, c = (world.spawn(a, grants=(Grant(Right.INFER, "/coder", 3),), is_linked=False) for _ in range(2))
    world.ask(b, ask_model())
    world.ask(a, Exit())
    made = [world.ask(pid, ask_model(), strand=strand) for strand in range(1, 5) for pid in (b, c)]
    assert made.count(WAITING) == 2, "one of three was used"


def test_a_refused_call_uses_nothing_up() -> None:
    world = World()
    one = world.spawn(world.person(), grants=(Grant(Right.SPAWN, "/**", 1),))
    world.refused(one, Spawn(program="p", grants=grants((Right.INFER, "/coder"))))
    assert not world.of(CapabilityUsed)
    world.spawn(one)
    assert isinstance(world.refused(one, Spawn(program="p")), Forbidden)
