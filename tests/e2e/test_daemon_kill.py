"""The daemon is killed with -9 at random moments, again and again: every order closes, nothing keyed is done twice, and
the ledger is what the model server counted.

The tool server and the model server are processes that the daemon's death does not touch; each is judged by its own log.
"""

import os
import time
from pathlib import Path
from random import Random

import pytest

from agentos.abi.effects import Generate
from agentos.abi.events.call import (
    CallRefused,
    EffectDispatched,
    EffectIntended,
    EffectOrphaned,
    EffectRetried,
    EffectSettled,
    KernelBooted,
)
from agentos.abi.events.process import ProcessLaunched
from agentos.abi.events.work import OrderClosed, OrderEscalated, OrderSubmitted
from agentos.abi.work import Command
from agentos.boot.client import Client
from agentos.views.base import Fact
from tests.e2e import ledger
from tests.e2e.town import Town, children, events, wait_until

OPEN = 3  # orders at a time; each is a worker process, and the machine may have two cores
CLOSE_S = 90.0
SEED = int(os.environ.get("AGENTOS_CHAOS_SEED", "20"))


def test_ten_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    chaos(tmp_path, kills=10, seed=SEED)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    chaos(tmp_path, kills=100, seed=SEED + 1)


def test_a_program_whose_answers_come_before_it_is_back_is_run_again_once(town: Town) -> None:
    client, strands = town.up(), 12
    order = town.submit(client, "at_once", strands=strands)
    wait_until(lambda: len(in_flight_of(town.facts(client))) == strands, "all to be asked")
    client.close()
    town.kill_daemon()
    client = town.up()
    town.wait_for(client, OrderClosed, order)
    launched = events(town.facts(client, order=order), ProcessLaunched)
    again = [event.pid for event in launched if event.incarnation > 1]
    assert again and len(again) == len(set(again)), "an answer that nobody waits for yet is no reason to launch it anew"


def test_an_answer_that_came_while_its_program_was_on_its_way_is_found(tmp_path: Path) -> None:
    town = Town(
        tmp_path,
        script={"lines": [{"when": {"contains": "second"}, "say": "b", "delay_ms": 700}, {"when": {}, "say": "a"}]},
    )
    try:
        client = town.up()
        order = town.submit(client, "slow_to_return", witness=str(tmp_path), attempts_max=1)
        wait_until(
            lambda: len(in_flight_of(town.facts(client))) == 1 and list(tmp_path.glob("run.*")), "the second question"
        )
        wait_until(
            lambda: [f for f in town.facts(client) if isinstance(f.event, EffectIntended)][-1].event.call.n == 2, "it"
        )
        client.close()
        town.kill_daemon()
        client = town.up()
        wait_until(lambda: len(list(tmp_path.glob("run.*"))) == 2, "the program to be back")
        wait_until(lambda: not in_flight_of(town.facts(client)), "the second answer")
        (tmp_path / "go").touch()
        town.wait_for(client, OrderClosed, order)
    finally:
        town.close()


def in_flight_of(facts: list[Fact]) -> set[int]:
    """The questions to a model that are out."""
    asked = {
        fact.event.effect
        for fact in facts
        if isinstance(fact.event, EffectIntended) and isinstance(fact.event.what, Generate)
    }
    return adrift(facts) & asked


def chaos(folder: Path, *, kills: int, seed: int) -> None:
    town, random = Town(folder, seed=seed), Random(seed)
    try:
        client, in_flight = town.up(), 0
        for number in range(kills):
            supply(town, client, number)
            moment(town, random)
            client.close()
            town.kill_daemon()
            in_flight += bool(adrift(town.facts()))
            client = town.up()
        wait_until(lambda: not client.status().orders_open, "all orders to close", bound_s=CLOSE_S)
        facts = town.facts(client)
        report = judge(town, facts, kills, in_flight)
        print(f"seed {seed}: {report}")
        client.stop()
    finally:
        town.close()


def supply(town: Town, client: Client, number: int) -> None:
    """Keep OPEN orders open; every fourth is judged by a command, which takes a sandbox and longer."""
    for _ in range(client.status().orders_open, OPEN):
        is_code = number % 4 == 3
        check = Command(name="tests", argv=("python3", "-m", "unittest", "test_calc")) if is_code else None
        town.submit(client, "mend" if is_code else "steady", check=check, steps=4)


def moment(town: Town, random: Random) -> None:
    """Half of the time just any moment; else one at which something is being done out there."""
    if random.random() < 0.5:
        seen = town.tools.asked
        with town.tools.changed:
            town.tools.changed.wait_for(lambda: town.tools.asked > seen and town.tools.busy, timeout=10)
        time.sleep(random.uniform(0, 0.05))  # the moment itself is what is random here, not a wait for something
    else:
        time.sleep(random.uniform(0.0, 1.5))


def adrift(facts: list[Fact]) -> set[int]:
    """The effects that were in flight at the end of this record."""
    flying: set[int] = set()
    for fact in facts:
        match fact.event:
            case EffectDispatched(effect=number):
                flying.add(number)
            case EffectSettled(effect=number, is_late=False) | EffectRetried(effect=number):
                flying.discard(number)
            case EffectOrphaned(effect=number):
                flying.discard(number)
    return flying


def judge(town: Town, facts: list[Fact], kills: int, in_flight: int) -> dict[str, object]:
    """Everything that must be so after it all; what is worth telling."""
    submitted, closed = events(facts, OrderSubmitted), events(facts, OrderClosed)
    assert not events(facts, OrderEscalated), [event.detail for event in events(facts, OrderEscalated)]
    assert sorted(event.order for event in closed) == sorted(event.order for event in submitted)
    assert len(events(facts, KernelBooted)) == kills + 1
    assert in_flight * 2 >= kills, f"only {in_flight} of {kills} kills met an effect in flight"
    assert town.tools.doubled() == []
    assert not [event for event in events(facts, CallRefused) if "diverged" in event.refusal.fact]
    told = ledger.reconcile(facts, town.model.exchanges())
    assert told.gap_uusd == 0
    assert sum(event.spent.uusd for event in closed) == told.charged_uusd, "the orders' sums are the ledger"
    assert told.settled_uusd > 0
    assert children(town.pids[-1]) is not None
    return {
        "kills": kills,
        "with an effect in flight": in_flight,
        "orders closed": len(closed),
        "deeds": len(town.tools.deeds),
        "deeds asked again": town.tools.asked - len(town.tools.deeds),
        "exchanges": told.exchanges,
        "settled_uusd": told.settled_uusd,
        "written_off_uusd": told.written_off_uusd,
        "of it really used": told.lost_uusd,
        "served_uusd": told.served_uusd,
    }
