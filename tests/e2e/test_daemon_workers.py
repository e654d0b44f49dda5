"""Workers that freeze, die, end themselves, lie or go round in circles: their orders go on, and the kernel with them."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from agentos.abi.events.call import CallRefused
from agentos.abi.events.process import ProcessExited, ProcessLaunched, ProcessNoted, ProcessSpawned
from agentos.abi.events.work import OrderClosed, OrderEscalated
from agentos.machine.processes import HEARTBEAT_S
from tests.e2e.town import Town, events, is_running, wait_until, workers

SLACK_S = 1.0  # between the instant a signal is sent and the one we look, on a machine that is busy with other tests


def test_a_frozen_worker_is_outranked_and_its_late_calls_are_refused(town: Town, tmp_path: Path) -> None:
    client = town.up()
    order = town.submit(client, "frozen", witness=str(tmp_path), domain="apart")
    first = int(wait_until(lambda: list(tmp_path.glob("here.*")), "the worker to be there")[0].suffix[1:])
    os.kill(first, signal.SIGSTOP)
    frozen_at_ns = time.time_ns()

    def fenced() -> list[int]:
        facts = town.facts(client, order=order)
        launched = [fact for fact in facts if isinstance(fact.event, ProcessLaunched)]
        return [fact.at_ns for fact in launched if fact.event.reason == "its worker does not answer"]

    noticed_s = (wait_until(fenced, "the frozen worker to be noticed")[0] - frozen_at_ns) / 1e9
    assert noticed_s <= 2 * HEARTBEAT_S + SLACK_S, f"noticed after {noticed_s:.2f} s"
    (tmp_path / "go").touch()
    os.kill(first, signal.SIGCONT)
    told = tmp_path / f"refused.{first}"
    wait_until(lambda: told.exists() and told.read_text(), "the late call to be refused")
    assert told.read_text().startswith("Stale: incarnation 1")
    town.wait_for(client, OrderClosed, order)
    assert [deed.item for deed in town.tools.deeds] == [f"{order} at last"], "the successor's deed and no other"
    assert len(list(tmp_path.glob("here.*"))) == 2, "it was replaced once"
    wait_until(lambda: not is_running(first), "the fenced worker to be killed")


@pytest.mark.parametrize("by", ["kill", "exit"])
def test_a_worker_that_dies_is_replaced_and_the_order_closes(town: Town, tmp_path: Path, by: str) -> None:
    client = town.up()
    order = town.submit(client, "ending_its_worker", witness=str(tmp_path), deaths=2, by=by, domain="apart")
    town.wait_for(client, OrderClosed, order)
    reasons = [event.reason for event in events(town.facts(client, order=order), ProcessLaunched)]
    assert reasons.count("its worker has ended") == 2


def test_a_program_that_always_ends_its_worker_is_ended_itself(town: Town, tmp_path: Path) -> None:
    client = town.up()
    order = town.submit(
        client, "ending_its_worker", witness=str(tmp_path), deaths=1_000, domain="apart", attempts_max=1
    )
    escalated = town.wait_for(client, OrderEscalated, order)
    assert "was run 5 times without a new call" in escalated.detail
    assert client.status().pid == town.pids[0], "the daemon is the same"


def test_a_program_that_does_not_repeat_itself_is_stopped_at_the_first_difference(town: Town, tmp_path: Path) -> None:
    client = town.up()
    order = town.submit(client, "never_the_same", witness=str(tmp_path), domain="apart", attempts_max=1)
    escalated = town.wait_for(client, OrderEscalated, order)
    facts = town.facts(client, order=order)
    exited = next(event for event in events(facts, ProcessExited) if event.reason.startswith("diverged"))
    assert exited.status == 70
    assert f"call {exited.pid}/0/2 is the same call with other arguments" in exited.reason
    assert exited.reason in escalated.detail
    noted = [event for event in events(facts, ProcessNoted) if event.text.startswith("never the same")]
    assert len(noted) == 1, "the second one was not written"


def test_a_program_that_asks_the_same_for_ever_is_stopped(town: Town) -> None:
    client = town.up()
    order = town.submit(client, "going_round", attempts_max=1)
    escalated = town.wait_for(client, OrderEscalated, order)
    assert "the same infer call 5 times in a row" in escalated.detail
    denials = [event.refusal for event in events(town.facts(client, order=order), CallRefused)]
    assert [denial.rule for denial in denials] == ["loop detector"]
    assert len(town.model.exchanges()) == 5, "the sixth was not asked"


def test_no_worker_speaks_for_a_process_that_was_not_launched_on_it(town: Town) -> None:
    client = town.up()
    order = town.submit(client, "impostor", domain="apart")
    town.wait_for(client, OrderClosed, order)
    facts = town.facts(client)
    impostor = next(event.pid for event in events(facts, ProcessSpawned) if "impostor" in event.spec.program)
    noted = [fact.caller for fact in facts if isinstance(fact.event, ProcessNoted) and "else" in fact.event.text]
    assert set(noted) <= {impostor}, "what it said in another's name was heard"
    assert client.status().pid == town.pids[0], "nothing that was sent has ended the daemon"
    assert not any(fact.cause.startswith("1.1/") for fact in facts), "init makes no calls"


def test_a_program_that_cannot_start_ends_by_itself(town: Town, tmp_path: Path) -> None:
    client = town.up()
    order = town.submit(client, "missing_parts", witness=str(tmp_path))
    town.wait_for(client, OrderClosed, order)
    assert json.loads((tmp_path / "statuses").read_text()) == [127, 127, 1, 1]
    assert client.status().pid == town.pids[0]
    assert "/no/such/program" in town.log()


def test_the_gatekeeper_runs_in_another_process_than_the_worker(town: Town) -> None:
    client = town.up()
    order = town.submit(client, "steady", steps=1)
    town.wait_for(client, OrderClosed, order)
    pids = workers(town.pids[0])
    assert len(pids) == 2, "one for the order's own programs, one for its gatekeeper"
