"""The laws, tried on random plays over the whole call surface. What a play asserts is in court.py and world.py."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentos.abi.budget import Amounts
from agentos.abi.calls.lease import Acquire, Derive, Release, Revoke
from agentos.abi.effects import Answered
from agentos.abi.events import EVENTS
from agentos.abi.events.call import CallRefused
from agentos.abi.events.process import PlaceDropped
from agentos.abi.ids import CapabilityId, Digest, Pid
from agentos.abi.inference import Usage
from agentos.abi.refusals import Exhausted, Forbidden, NotFound, Stale
from agentos.abi.replies import Capable, Done, Held
from agentos.abi.rights import Grant, Right, canonical_fault, covers, selects
from agentos.kernel import demand, fsck
from agentos.kernel.state import decode, encode
from tests.kernel.world import WAITING, World, ask_model, grants
from tests.laws.play import MOVES, dealt, play

NUMBER = st.integers(0, 10**6)
MOVE = st.tuples(st.integers(0, len(MOVES) - 1), NUMBER, NUMBER, NUMBER)


@given(st.lists(MOVE, max_size=60))
def test_whatever_is_called_in_whatever_order_every_law_holds(moves: list[tuple[int, int, int, int]]) -> None:
    play(moves)


@pytest.mark.parametrize("seed", range(40))
def test_every_law_holds_in_long_plays(seed: int) -> None:
    play(dealt(10_000 + seed, 120))


def test_the_plays_reach_every_event_and_every_end() -> None:
    """A suite that never closes an order proves little of closing.

    What plays do not reach is made by hand in tests/kernel: PlaceDropped needs two deaths in one batch, which no single
    call makes (test_supervise.py).
    """
    seen, ends = set(), set()
    for seed in range(400):
        court = play(dealt(seed, 150), is_checked=False)
        seen |= {type(event) for event in court.events}
        ends |= {row.state for row in court.state.closed.values()}
        if seen >= set(EVENTS) - {PlaceDropped} and len(ends) == 3:
            break
    assert set(EVENTS) - seen <= {PlaceDropped} and ends == {"closed", "judged", "cancelled"}


@given(st.integers(0, 10**6), st.integers(0, 400))
def test_a_snapshot_anywhere_and_the_rest_is_the_live_state(seed: int, cut: int) -> None:
    court = play(dealt(seed, 60), is_checked=False)
    assert court.replayed(cut % len(court.log)) == encode(court.state)
    assert decode(encode(court.state)) == court.state


@given(st.integers(0, 10**6))
def test_the_same_moves_make_the_same_journal(seed: int) -> None:
    moves = dealt(seed, 50)
    assert play(moves, is_checked=False).log == play(moves, is_checked=False).log


@given(st.integers(0, 10**6), st.integers(1, 20))
def test_a_settled_state_demands_nothing_until_its_next_timer(seed: int, span: int) -> None:
    court = play(dealt(seed, 40), is_checked=False)
    wakes = demand.wakes_at_ns(court.state)
    assert demand.due(court.state, court.now_ns) is None
    assert wakes is None or wakes > court.now_ns


SELECTOR = st.lists(st.sampled_from(("a", "b", "c")), max_size=3).flatmap(
    lambda parts: st.sampled_from(["/" + "/".join(parts), "/" + "/".join([*parts, "**"])])
)
GRANT = st.builds(Grant, st.sampled_from((Right.LEASE, Right.INFER)), SELECTOR, st.integers(0, 3))


@given(GRANT, GRANT, GRANT)
def test_covering_is_a_partial_order(a: Grant, b: Grant, c: Grant) -> None:
    assert covers(a, a)
    if covers(a, b) and covers(b, c):
        assert covers(a, c)
    if covers(a, b) and covers(b, a):
        assert a.right == b.right and a.uses_max == b.uses_max
        assert selects(a.selector, b.selector) and selects(b.selector, a.selector)


@given(GRANT, GRANT, SELECTOR)
def test_what_a_narrower_grant_allows_the_wider_allows(outer: Grant, inner: Grant, path: str) -> None:
    if covers(outer, inner) and selects(inner.selector, path):
        assert selects(outer.selector, path)


@given(st.text(max_size=12))
@example("/a/**/**")
@example("/**/..")
def test_a_canonical_selector_has_no_way_up(text: str) -> None:
    if canonical_fault(text) is None:
        parts = text.removesuffix("/**").split("/")[1:]
        assert text.startswith("/") and not {".", "..", "**"} & set(parts)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), GRANT), max_size=40), st.integers(0, 40))
def test_derivation_only_shrinks_and_revoking_takes_the_whole_subtree(
    steps: list[tuple[int, int, Grant]], which: int
) -> None:
    world = World(is_checked=False)
    ada = world.person()
    pids = [world.spawn(ada, grants=grants((Right.LEASE, "/**"), (Right.INFER, "/a/**"))) for _ in range(6)]
    for source, to, grant in steps:
        held = world.state.processes[pids[source]].capabilities
        id = held[grant.uses_max % len(held)]
        got = world.ask(pids[source], Derive(capability=id, to=pids[to], grant=grant))
        is_narrower = covers(world.state.capabilities[id].grant, grant)
        assert isinstance(got, Capable if is_narrower else Forbidden)
        other = pids[(source + 1) % 6]
        stolen = world.ask(other, Derive(capability=id, to=other, grant=world.state.capabilities[id].grant))
        assert isinstance(stolen, Forbidden), "an id means nothing in other hands"
    assert fsck.faults(world.state) == []
    ids = [id for pid in pids for id in world.state.processes[pid].capabilities]
    chosen = ids[which % len(ids)]
    below = subtree(world, chosen)
    world.ask(ada, Revoke(capability=chosen))
    assert not set(below) & set(world.state.capabilities)
    assert set(ids) - set(below) <= set(world.state.capabilities) and fsck.faults(world.state) == []
    assert isinstance(world.ask(ada, Revoke(capability=chosen)), NotFound)


def subtree(world: World, id: CapabilityId) -> list[CapabilityId]:
    """A capability and all below it."""
    return [id, *(one for child in world.state.capabilities[id].children for one in subtree(world, child))]


@given(
    st.lists(st.integers(1, 400), min_size=100, max_size=100), st.integers(0, 3_000), st.randoms(use_true_random=False)
)
def test_a_hundred_racing_spenders_end_within_the_budget_and_each_denial_is_on_record(
    costs: list[int], limit: int, chance: object
) -> None:
    world = World(is_checked=False)
    parent = world.spawn(
        world.person(), grants=grants((Right.INFER, "/**"), (Right.SPAWN, "/**")), budget=Amounts(limit, 10**5, 10**3)
    )
    children = [world.spawn(parent, grants=grants((Right.INFER, "/**"))) for _ in range(100)]
    account = world.state.processes[parent].account
    refused = len(world.of(CallRefused))
    got = []
    for child, cost in zip(children, costs, strict=True):
        got.append(world.ask(child, ask_model(cost)))
        row = world.state.accounts[account]
        assert row.spent.uusd + row.reserved.uusd <= limit
        if world.flying and chance.random() < 0.3:  # type: ignore[attr-defined]
            finish(world)
    while world.flying:
        finish(world)
    denied = sum(isinstance(one, Exhausted) for one in got)
    assert denied + got.count(WAITING) == 100 and len(world.of(CallRefused)) == refused + denied
    assert world.state.accounts[account].spent.uusd <= limit and world.state.accounts[account].reserved == Amounts()


def finish(world: World) -> None:
    """The oldest request in flight is answered at its full bound."""
    number = next(iter(world.flying))
    uusd = world.state.effects[number].reserved.uusd
    world.settle(number, Answered(answer=Digest("a" * 64), usage=Usage(), uusd=uusd))


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 3)), max_size=40))
def test_a_resource_has_one_holder_and_its_tokens_only_grow(steps: list[tuple[int, bool, int]]) -> None:
    world = World()
    ada = world.person()
    pids = [world.spawn(ada, grants=grants((Right.LEASE, "/r"))) for _ in range(4)]
    newest, holder = 0, Pid("")
    for who, is_release, span in steps:
        row = world.state.leases.get("/r")
        if is_release and row is not None:
            got = world.ask(pids[who], Release(resource="/r", token=row.token))
            assert isinstance(got, Done if pids[who] == holder else Stale)
        else:
            got = world.ask(pids[who], Acquire(resource="/r", ttl_ns=2))
            if isinstance(got, Held):
                assert got.token > newest
                newest, holder = got.token, pids[who]
        row = world.state.leases.get("/r")
        assert row is None or row.holder == holder and row.token == newest
        world.tick(span)
