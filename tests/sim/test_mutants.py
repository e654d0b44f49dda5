"""The quick ones of the planted bugs: each is caught within a few seeds, by a law that speaks of it."""

import pytest

from agentos.sim.mutants import MUTANTS, hunt
from agentos.sim.scenario import draw
from agentos.sim.simulation import simulate

QUICK = {  # mutant -> a word of what catches it
    "reply before flush": "durable before told",
    "effect before its event is durable": "durable before done",
    "blob never synced": "blob before event",
    "append is not atomic": "durable before told",
    "time goes back": "time",
    "restart without a new epoch": "epoch",
    "hash chain skips a byte": "chain",
    "budget is not asked": "bounds",
    "charged at the bound": "ledger",
    "a call is answered twice": "answered once",
    "lease tokens do not grow": "tokens only grow",
    "stale incarnation is believed": "stale incarnation",
    "record answers without comparing": "record",
    "workers judge themselves": "own work",
    "failed checks pass": "evidence",
}
SEEDS_MAX = 30


def test_there_are_at_least_twenty_mutants_and_each_has_one_name() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) == len(dict.fromkeys(names)) >= 20
    assert [name for name in QUICK if name not in names] == []


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_is_caught_by_the_law_it_breaks(name: str) -> None:
    catch = hunt(next(mutant for mutant in MUTANTS if mutant.name == name), seeds=SEEDS_MAX)
    assert QUICK[name] in catch.by


def test_a_mutant_is_gone_once_the_hunt_is_over() -> None:
    hunt(MUTANTS[0], seeds=3)
    assert simulate(draw(2)).fault == ""
