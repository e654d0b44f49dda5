"""Money through the whole system: a budget that a hundred agents race for, an order that is over, a model that dies."""

from pathlib import Path

from agentos.abi.budget import Amounts
from agentos.abi.calls.work import Cancel
from agentos.abi.effects import Generate
from agentos.abi.events.call import CallRefused, EffectDispatched, EffectIntended
from agentos.abi.events.process import ProcessSpawned
from agentos.abi.events.work import AttemptBegun, OrderCancelled, OrderClosed
from agentos.abi.refusals import Exhausted
from agentos.abi.work import Command
from tests.e2e import ledger
from tests.e2e.town import ModelServer, Town, events, wait_until

AGENTS = 100
TESTS = Command(name="tests", argv=("python3", "-m", "unittest", "test_calc"))
FILE = "```python\ndef add(a, b):\n    return a + b\n```"


def test_a_hundred_agents_that_race_for_a_budget_spend_no_more_than_it(town: Town) -> None:
    client = town.up()
    budget = Amounts(uusd=12_000, tokens=50_000_000, actions=10_000)
    order = town.submit(client, "spender", agents=AGENTS, budget=budget)
    closed = town.wait_for(client, OrderClosed, order, bound_s=100)
    facts = town.facts(client, order=order)
    told = ledger.reconcile(facts, town.model.exchanges())
    assert told.gap_uusd == 0 and not told.written_off_uusd
    assert closed.spent.uusd == told.served_uusd <= budget.uusd
    bound = next(event.reserved.uusd for event in events(facts, EffectIntended) if isinstance(event.what, Generate))
    assert budget.uusd - closed.spent.uusd < 2 * bound, "it was spent as far as the next bound did not fit"
    denials = [event for event in events(facts, CallRefused) if event.name == "infer"]
    assert len(denials) == AGENTS, "each agent was denied once, and each denial is on record"
    assert len({event.id.pid for event in denials}) == AGENTS
    for denial in denials:
        assert isinstance(denial.refusal, Exhausted)
        assert (denial.refusal.rule, denial.refusal.limit) == ("law 5", "budget.uusd")
        assert "left of 12000" in denial.refusal.fact and "agentos work raise" in denial.refusal.remedy


def test_a_cancelled_order_asks_for_nothing_more(town: Town) -> None:
    client = town.up()
    order = town.submit(client, "endless")
    wait_until(lambda: len(town.model.exchanges()) >= 5, "it to be spending")
    client.call(Cancel(order=order, reason="enough"))
    later = town.submit(client, "steady", steps=2)
    town.wait_for(client, OrderClosed, later)
    facts = town.facts(client, order=order)
    over = next(fact for fact in facts if isinstance(fact.event, OrderCancelled))
    dispatched = {fact.event.effect: fact for fact in facts if isinstance(fact.event, EffectDispatched)}
    assert all(fact.seq < over.seq for fact in dispatched.values()), "an effect of it started after it was over"
    keys = {effect: [] for effect in dispatched}
    for exchange in town.model.exchanges():
        effect = int(exchange["key"].rsplit("-", 1)[1])
        if effect in keys:
            keys[effect].append(exchange["at"])
    assert sum(map(len, keys.values())) >= 5
    assert max(at for row in keys.values() for at in row) <= over.at_ns / 1e9 + 1, "the server saw it spend afterwards"


def test_an_order_whose_model_dies_goes_on_with_another(town: Town, tmp_path: Path) -> None:
    second = ModelServer(tmp_path, {"lines": [{"when": {}, "say": "ready"}], "model": "m-2"}, name="second")
    try:
        client = with_two_models(town, tmp_path, second)
        order = town.submit(client, "insisting", steps=2_000, model_classes=("coder", "frontier"))
        wait_until(lambda: len(town.model.exchanges()) >= 3, "the first model to be asked")
        town.model.process.kill()
        wait_until(lambda: len(second.exchanges()) >= 3, "the second model to be asked")
        facts = town.facts(client, order=order)
        assert len(events(facts, AttemptBegun)) == 2
        refused = [event.refusal.fact for event in events(facts, CallRefused) if event.name == "infer"]
        assert len(refused) == 1 and "after 4 attempts" in refused[0], refused
        client.call(Cancel(order=order))
        assert [row["backend"] for row in client.status().models] == ["openai", "frontier.openai"]
    finally:
        second.close()


def test_the_conductor_that_ships_replaces_a_worker_whose_model_is_dead(town: Town, tmp_path: Path) -> None:
    second = ModelServer(tmp_path, {"lines": [{"when": {}, "say": FILE}], "model": "m-2"}, name="second")
    try:
        client = with_two_models(town, tmp_path, second)
        town.model.process.kill()
        order = town.submit(
            client,
            conductor="conductor",
            agent="worker",
            check=TESTS,
            model_classes=("coder", "frontier"),
            title="mend add",
            goal="# Goal\nMend `add` in calc.py, so that its test passes.\n",
            attempts_max=3,
        )
        town.wait_for(client, OrderClosed, order, bound_s=100)
        facts = town.facts(client, order=order)
        workers = [event for event in events(facts, ProcessSpawned) if event.spec.role == "worker"]
        assert len(workers) == 2, "the first could not, the second did"
        assert len(second.exchanges()) >= 1
    finally:
        second.close()


def with_two_models(town: Town, folder: Path, second: ModelServer):  # type: ignore[no-untyped-def]
    """The daemon, with a class of the table on the second server."""
    table = folder / "models.toml"
    table.write_text(f'[frontier]\nbackend = "openai"\nbase_url = "{second.url}/v1"\nmodel = "m-2"\n')
    town.env["AGENTOS_MODELS"] = str(table)
    return town.up()
