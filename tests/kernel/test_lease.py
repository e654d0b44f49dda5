"""Leases: one holder, a deadline, and a token that outranks whoever was before."""

import pytest

from agentos.abi.calls.lease import Acquire, Release, Renew
from agentos.abi.calls.process import Exit, Kill
from agentos.abi.ids import Pid
from agentos.abi.limits import value
from agentos.abi.refusals import Busy, Exhausted, Forbidden, Invalid, NotFound, Stale
from agentos.abi.replies import Done, Held
from agentos.abi.rights import Right
from agentos.abi.signals import Signal
from tests.kernel.world import SECOND, WAITING, World, grants

LEASE = grants((Right.LEASE, "/r/**"))


def workers(world: World, count: int) -> list[Pid]:
    ada = world.person()
    return [world.spawn(ada, grants=LEASE) for _ in range(count)]


def hold(world: World, pid: Pid, resource: str = "/r/a", ttl_ns: int = SECOND, strand: int = 0) -> Held:
    got = world.ask(pid, Acquire(resource=resource, ttl_ns=ttl_ns), strand=strand)
    assert isinstance(got, Held), got
    return got


def test_one_holds_and_the_other_is_told_who() -> None:
    world = World()
    a, b = workers(world, 2)
    hold(world, a)
    refusal = world.refused(b, Acquire(resource="/r/a", ttl_ns=1))
    assert isinstance(refusal, Busy) and a in refusal.fact


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (Acquire(resource="r", ttl_ns=1), Invalid),
        (Acquire(resource="/r/a", ttl_ns=0), Exhausted),
        (Acquire(resource="/r/a", ttl_ns=value("lease_ttl_ns_max") + 1), Exhausted),
        (Acquire(resource="/s", ttl_ns=1), Forbidden),
        (Renew(resource="/r/a", token=1, ttl_ns=1), NotFound),
        (Release(resource="/r/a", token=1), NotFound),
    ],
)
def test_a_lease_call_that_cannot_be_is_refused(call: Acquire | Renew | Release, kind: type) -> None:
    world = World()
    (a,) = workers(world, 1)
    assert isinstance(world.refused(a, call), kind)


def test_leases_are_bounded() -> None:
    world = World(is_checked=False)
    (a,) = workers(world, 1)
    for number in range(value("leases_max")):
        hold(world, a, f"/r/{number}")
    assert isinstance(world.refused(a, Acquire(resource="/r/more", ttl_ns=1)), Exhausted)


def test_a_renewal_moves_the_deadline_and_leaves_one_timer() -> None:
    world = World()
    (a,) = workers(world, 1)
    token = hold(world, a).token
    for _ in range(5):
        world.tick(SECOND // 2)
        assert isinstance(world.ask(a, Renew(resource="/r/a", token=token, ttl_ns=SECOND)), Held)
    assert len(world.state.timers) == 1 and world.state.leases["/r/a"].holder == a
    assert isinstance(world.refused(a, Renew(resource="/r/a", token=token, ttl_ns=0)), Exhausted)


def test_a_stalled_holder_is_outranked_by_its_successor() -> None:
    world = World()
    a, b = workers(world, 2)
    old = hold(world, a)
    world.tick(SECOND)
    assert isinstance(world.refused(a, Renew(resource="/r/a", token=old.token, ttl_ns=1)), Stale)
    new = hold(world, b)
    assert new.token > old.token
    for call in (Renew(resource="/r/a", token=old.token, ttl_ns=1), Release(resource="/r/a", token=old.token)):
        assert isinstance(world.refused(a, call), Stale)
    assert isinstance(world.refused(a, Release(resource="/r/a", token=new.token)), Stale), (
        "the token alone is not enough"
    )


def test_the_queue_is_first_come_first_served() -> None:
    world = World()
    a, b, c = workers(world, 3)
    token = hold(world, a).token
    ids = [world.next_id(pid) for pid in (b, c)]
    for pid in (b, c):
        assert world.ask(pid, Acquire(resource="/r/a", ttl_ns=SECOND, is_waiting=True)) == WAITING
    assert world.ask(a, Release(resource="/r/a", token=token)) == Done()
    first = world.answer(ids[0])
    assert isinstance(first, Held) and world.answer(ids[1]) == WAITING
    world.tick(SECOND)
    second = world.answer(ids[1])
    assert isinstance(second, Held) and second.token > first.token > token
    world.tick(SECOND)
    assert not world.state.leases and not world.state.timers


def test_what_the_dead_held_goes_to_who_waits_and_lives() -> None:
    world = World()
    a, b, c = workers(world, 3)
    for resource in ("/r/a", "/r/b"):
        hold(world, a, resource)
    gone, waits = world.next_id(b), [world.next_id(c, strand) for strand in (0, 1)]
    world.ask(b, Acquire(resource="/r/a", ttl_ns=SECOND, is_waiting=True))
    for strand, resource in enumerate(("/r/a", "/r/b")):
        world.ask(c, Acquire(resource=resource, ttl_ns=SECOND, is_waiting=True), strand=strand)
    world.ask(world.person(), Kill(pid=b, signal=Signal.KILL))
    world.ask(a, Exit())
    assert world.answer(gone) == WAITING
    tokens = [world.answer(id).token for id in waits]  # type: ignore[union-attr]
    assert tokens == [3, 4]


def test_a_child_that_ends_with_the_holder_does_not_inherit_the_lease() -> None:
    world = World()
    ada = world.person()
    parent = world.spawn(ada, grants=(*LEASE, *grants((Right.SPAWN, "/**"))))
    child, other = world.spawn(parent, grants=LEASE), world.spawn(ada, grants=LEASE)
    hold(world, parent)
    ids = [world.next_id(pid) for pid in (child, other)]
    for id in ids:
        world.ask(id.pid, Acquire(resource="/r/a", ttl_ns=SECOND, is_waiting=True))
    world.ask(parent, Exit())
    assert world.answer(ids[0]) == WAITING and isinstance(world.answer(ids[1]), Held)


def test_one_may_queue_behind_oneself() -> None:
    world = World()
    (a,) = workers(world, 1)
    hold(world, a)
    id = world.next_id(a, 1)
    world.ask(a, Acquire(resource="/r/a", ttl_ns=SECOND, is_waiting=True), strand=1)
    world.tick(SECOND)
    assert isinstance(world.answer(id), Held)


def test_tokens_grow_though_nobody_holds_it_between() -> None:
    world = World()
    (a,) = workers(world, 1)
    seen = []
    for _ in range(4):
        seen.append(hold(world, a).token)
        world.ask(a, Release(resource="/r/a", token=seen[-1]))
        assert not world.state.leases, "a lease that nobody holds leaves no row"
    assert seen == sorted(set(seen))


def test_a_restart_gives_every_lease_one_span_of_grace() -> None:
    from agentos.kernel.effects import GRACE_NS

    world = World()
    (a,) = workers(world, 1)
    hold(world, a)
    world.now_ns += 2 * SECOND
    world.crash()
    assert world.state.leases["/r/a"].holder == a
    world.tick(GRACE_NS - SECOND)
    assert not world.state.leases
