"""Money: reserved before it is spent, on the whole way up."""

import pytest

from agentos.abi.budget import Amounts
from agentos.abi.calls.process import Exit
from agentos.abi.calls.work import Cancel, Raise
from agentos.abi.effects import Answered, Cancelled, Failed
from agentos.abi.events.call import EffectDispatched
from agentos.abi.ids import AccountId, Digest, OrderId
from agentos.abi.inference import Usage
from agentos.abi.refusals import Closed, Exhausted, Forbidden, Invalid, NotFound
from agentos.abi.replies import Done, Generated
from agentos.abi.rights import Right
from tests.kernel.world import WAITING, World, ask_model, grants

ROOT = AccountId(1)
MODEL = grants((Right.INFER, "/**"), (Right.SPAWN, "/**"))


def answered(uusd: int, tokens: int = 5, *, is_metered: bool = True) -> Answered:
    return Answered(answer=Digest("a" * 64), usage=Usage(input_tokens=tokens), uusd=uusd, is_metered=is_metered)


def test_the_upper_bound_is_reserved_and_the_real_cost_charged_up_to_the_root() -> None:
    world = World()
    child = world.spawn(world.person(), grants=MODEL, budget=Amounts(1_000, 100, 10))
    account = world.state.processes[child].account
    id = world.next_id(child)
    world.ask(child, ask_model(100))
    for row in (world.state.accounts[account], world.state.accounts[ROOT]):
        assert (row.reserved, row.spent) == (Amounts(100, 20, 1), Amounts())
    world.settle(1, answered(30))
    for row in (world.state.accounts[account], world.state.accounts[ROOT]):
        assert (row.reserved, row.spent) == (Amounts(), Amounts(30, 5, 1))
    got = world.answer(id)
    assert isinstance(got, Generated) and got.spent == Amounts(30, 5, 1)


def test_an_answer_without_a_meter_costs_its_bound() -> None:
    world = World()
    child = world.spawn(world.person(), grants=MODEL)
    world.ask(child, ask_model(100))
    world.settle(1, answered(0, is_metered=False))
    assert world.state.accounts[ROOT].spent == Amounts(100, 20, 1)


@pytest.mark.parametrize("outcome", [Cancelled(), Failed(fact="cut off", is_spent_unknown=True)])
def test_where_nobody_can_tell_it_costs_its_bound(outcome: Cancelled | Failed) -> None:
    world = World()
    child = world.spawn(world.person(), grants=MODEL)
    world.ask(child, ask_model(100))
    world.settle(1, outcome)
    assert world.state.accounts[ROOT].spent == Amounts(100, 20, 1)


def test_an_overrun_is_recorded_and_nothing_more_is_granted() -> None:
    world = World()
    child = world.spawn(world.person(), grants=MODEL, budget=Amounts(100, 1_000, 10))
    world.ask(child, ask_model(100))
    world.settle(1, answered(150))
    row = world.state.accounts[world.state.processes[child].account]
    assert row.spent.uusd == 150 and row.overrun.uusd == 50
    assert isinstance(world.refused(child, ask_model(1)), Exhausted)


def test_a_parents_limit_binds_all_children_together() -> None:
    world = World()
    parent = world.spawn(world.person(), grants=MODEL, budget=Amounts(100, 1_000, 10))
    a, b = (world.spawn(parent, grants=MODEL, budget=Amounts(100, 1_000, 10)) for _ in range(2))
    assert world.ask(a, ask_model(60)) == WAITING
    refusal = world.refused(b, ask_model(60))
    assert isinstance(refusal, Exhausted) and refusal.limit == "budget.uusd" and parent in refusal.thing


@pytest.mark.parametrize("limit", [Amounts(10, 10_000, 10), Amounts(10_000, 10, 10), Amounts(10_000, 10_000, 0)])
def test_every_unit_binds(limit: Amounts) -> None:
    world = World()
    child = world.spawn(world.person(), grants=MODEL, budget=limit)
    assert isinstance(world.refused(child, ask_model(100)), Exhausted)


def test_a_hundred_racing_spenders_never_pass_the_limit() -> None:
    world = World(is_checked=False)
    parent = world.spawn(world.person(), grants=MODEL, budget=Amounts(1_000, 100_000, 1_000))
    children = [world.spawn(parent, grants=MODEL) for _ in range(100)]
    got = [world.ask(child, ask_model(30)) for child in children]
    assert got.count(WAITING) == 33 and sum(isinstance(one, Exhausted) for one in got) == 67
    while world.flying:
        world.settle(next(iter(world.flying)), answered(30))
    world.is_checked = True
    from agentos.kernel import fsck

    assert fsck.faults(world.state) == []
    assert world.state.accounts[world.state.processes[parent].account].spent.uusd == 990


def test_an_account_whose_process_ended_stays_for_those_who_draw_on_it() -> None:
    world = World()
    parent = world.spawn(world.person(), grants=MODEL, budget=Amounts(100, 1_000, 10))
    own = world.spawn(parent, grants=MODEL, budget=Amounts(50, 1_000, 10), is_linked=False)
    shared = world.spawn(parent, grants=MODEL, is_linked=False)
    world.ask(parent, Exit())
    assert world.ask(own, ask_model(50)) == WAITING
    assert isinstance(world.refused(shared, ask_model(60)), Exhausted), "the limit of the dead still binds"
    assert world.ask(shared, ask_model(40)) == WAITING
    world.ask(own, Exit(), strand=1)
    world.ask(shared, Exit(), strand=1)
    assert len(world.state.accounts) == 3, "what flies still settles through it"
    for number in list(world.flying):
        world.settle(number, answered(10))
    assert list(world.state.accounts) == [ROOT] and world.state.accounts[ROOT].spent.uusd == 20


def test_an_order_that_is_over_spends_nothing_and_pays_for_what_flew() -> None:
    world = World()
    ada = world.person()
    order, conductor = world.executing(ada)
    worker = world.spawn(conductor, grants=grants((Right.INFER, "/coder")), budget=Amounts(1_000, 1_000, 10))
    assert world.ask(worker, ask_model(100)) == WAITING
    world.ask(ada, Cancel(order=order))
    dispatched = len(world.of(EffectDispatched))
    assert isinstance(world.ask(worker, ask_model(1), strand=1), Closed)
    world.settle(next(iter(world.flying)), answered(70))
    assert world.state.accounts[ROOT].spent.uusd == 70 and list(world.state.accounts) == [ROOT]
    assert len(world.of(EffectDispatched)) == dispatched


def test_an_author_raises_an_orders_budget_within_the_workspaces() -> None:
    world = World()
    ada = world.person("user:ada", "author")
    order = world.submit(ada)
    account = world.state.orders[order].account
    before = world.state.accounts[account].limit
    assert world.ask(ada, Raise(order=order, by=Amounts(uusd=5))) == Done()
    assert world.state.accounts[account].limit.uusd == before.uusd + 5
    assert isinstance(world.refused(ada, Raise(order=order, by=Amounts(uusd=-5))), Invalid)
    assert isinstance(world.refused(ada, Raise(order=order, by=Amounts(uusd=10**12))), Exhausted)
    assert isinstance(world.refused(ada, Raise(order=OrderId("WO-9"), by=Amounts(uusd=5))), NotFound)
    eve = world.person("user:eve", "observer")
    assert isinstance(world.refused(eve, Raise(order=order, by=Amounts(uusd=5))), Forbidden)
    world.ask(ada, Cancel(order=order))
    assert isinstance(world.refused(ada, Raise(order=order, by=Amounts(uusd=5))), Closed)


def test_a_shortage_names_a_command_that_there_is() -> None:
    world = World()
    order, conductor = world.executing(world.person(), budget=Amounts(uusd=50, tokens=1_000, actions=9))
    denied = world.refused(conductor, ask_model(1_500_050))
    assert isinstance(denied, Exhausted)
    assert denied.remedy == f"raise it with: agentos work raise {order} --usd 1.500000"
