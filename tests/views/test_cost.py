"""The ledger adds up, to the micro-dollar, whatever happened."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentos.abi.budget import NOTHING, Amounts
from agentos.abi.effects import Answered, Cancelled, Failed, Unknown
from agentos.abi.events.call import EffectRetried, EffectSettled
from agentos.abi.ids import Digest
from agentos.abi.inference import Usage
from agentos.views import cost
from agentos.views.base import Fact
from tests.views import story
from tests.views.story import ORDER, STORIES


def booked(facts: list[Fact]) -> Amounts:
    """What the events say was charged, added up without any view."""
    total = NOTHING
    for fact in facts:
        if isinstance(fact.event, EffectSettled):
            total = total.plus(fact.event.spent)
        elif isinstance(fact.event, EffectRetried):
            total = total.plus(fact.event.written_off)
    return total


def added(table: cost.Table) -> Amounts:
    total = NOTHING
    for row in table.rows:
        total = total.plus(row.cost)
    return total


@pytest.mark.parametrize("name", STORIES)
def test_the_table_is_the_sum_of_settlements_and_write_offs(name):
    facts = STORIES[name]().facts
    for keys in ((), ("order",), ("phase", "role", "backend"), cost.KEYS):
        table = cost.table(facts, keys=keys)
        assert added(table) == table.total.cost == booked(facts)


@pytest.mark.parametrize("name", STORIES)
def test_a_part_of_a_journal_adds_up_as_well(name):
    facts = STORIES[name]().facts
    for cut in range(0, len(facts), 7):
        for part in (facts[:cut], facts[cut:]):
            table = cost.table(part, keys=cost.KEYS)
            assert added(table) == table.total.cost == booked(part)


@pytest.mark.parametrize("name", STORIES)
def test_the_table_is_what_the_kernel_has_charged(name):
    world = STORIES[name]()
    root = world.state.accounts[1]  # type: ignore[index]
    total = cost.table(world.facts).total
    assert total.cost == root.spent
    assert total.open == root.reserved


OUTCOMES = st.one_of(
    st.none(),
    st.builds(
        Answered,
        answer=st.just(Digest("a" * 64)),
        usage=st.builds(Usage, input_tokens=st.integers(0, 9_000), output_tokens=st.integers(0, 3_000)),
        uusd=st.integers(0, 90_000),  # over the reservation too
        is_metered=st.booleans(),
    ),
    st.builds(Failed, fact=st.just("down"), is_retryable=st.booleans(), is_spent_unknown=st.booleans()),
    st.just(Cancelled()),
    st.just(Unknown(fact="lost")),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(OUTCOMES, max_size=8))
def test_whatever_becomes_of_a_call_it_is_charged_once(outcomes):
    world = story.costly(outcomes)
    table = cost.table(world.facts, keys=cost.KEYS)
    assert added(table) == table.total.cost == booked(world.facts) == world.state.accounts[1].spent  # type: ignore[index]
    own = cost.table(world.facts, ORDER)
    assert own.total.cost == table.total.cost


def test_written_off_money_has_its_own_column(transcript):
    world = story.crashed()
    table = cost.table(world.facts)
    assert table.total.written_off.uusd == 120_000
    transcript("views/cost_crashed", cost.render(table))


def test_the_share_of_what_left_the_building_is_a_figure():
    table = cost.table(story.closed().facts)
    everything = 8 * (1_204 + 388 + 9_216)
    assert cost.frontier_share(table, {"local": "local"}) == (0, everything)
    assert cost.frontier_share(table, {"local": "external"}) == (everything, everything)
