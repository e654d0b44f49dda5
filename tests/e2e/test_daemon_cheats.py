"""Workers that cheat, through the whole system: none closes, each is told its own reason, and nothing is delivered."""

import subprocess

import pytest

from agentos.abi.events.call import CallRefused
from agentos.abi.events.work import ContentPresented, OrderClosed, OrderEscalated, OrderVerified
from agentos.abi.work import Command, Reason, Scope, Verdict
from tests.e2e.town import Town, events

TESTS = Command(name="tests", argv=("python3", "-m", "unittest", "test_calc"))
SCOPE = Scope(allowed=("*",), forbidden=("other/",), protected=("test_*.py",))
CHEATS = {
    "claiming": Reason.NO_CHANGE,
    "changing_the_tests": Reason.PROTECTED_CHANGED,
    "leaving_its_scope": Reason.OUT_OF_SCOPE,
    "writing_passed": Reason.CHECK_FAILED,
    "quitting_early": Reason.TESTS_MISSING,
    "mending_late": Reason.CHECK_FAILED,
}


def branches(town: Town) -> list[str]:
    listed = ["git", "-C", str(town.repository), "for-each-ref", "--format=%(refname)"]
    return subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split()


def test_no_cheat_closes_and_each_is_told_its_own_reason(town: Town) -> None:
    client = town.up()
    if not client.status().isolation["is_usable"]:
        pytest.skip(f"no sandbox on this machine: {client.status().isolation['missing']}")
    orders = {
        cheat: town.submit(client, cheat, title=cheat, check=TESTS, scope=SCOPE, attempts_max=1, is_once=True)
        for cheat in CHEATS
    }
    found = {}
    for cheat, order in orders.items():
        town.wait_for(client, OrderEscalated, order, bound_s=100)
        facts = town.facts(client, order=order)
        (verified,) = events(facts, OrderVerified)
        assert verified.verdict == Verdict.FAILED and verified.detail
        assert not events(facts, OrderClosed)
        found[cheat] = verified.reason
    assert found == CHEATS
    assert branches(town) == ["refs/heads/main"]


def test_what_is_put_into_the_copy_after_presenting_is_neither_judged_nor_delivered(town: Town) -> None:
    client = town.up()
    if not client.status().isolation["is_usable"]:
        pytest.skip(f"no sandbox on this machine: {client.status().isolation['missing']}")
    order = town.submit(client, "spoiling_late", check=TESTS, attempts_max=1)
    closed = town.wait_for(client, OrderClosed, order, bound_s=100)
    (presented,) = events(town.facts(client, order=order), ContentPresented)
    assert closed.content == presented.change.tree
    assert (town.folder.copies / order / "1/calc.py").read_text() == "import os  # planted\n", "it did change the copy"
    show = ["git", "-C", str(town.repository), "show", f"refs/heads/agentos/{order}:calc.py"]
    assert (
        subprocess.run(show, check=True, capture_output=True, text=True).stdout == "def add(a, b):\n    return a + b\n"
    )


def test_a_worker_cannot_attest_to_its_own_work(town: Town) -> None:
    client = town.up()
    order = town.submit(client, "judging_itself", path="calc.py", attempts_max=1, is_attesting=True)
    town.wait_for(client, OrderClosed, order)  # the gatekeeper, whom the conductor starts after it, has the last word
    (refused,) = [event for event in events(town.facts(client, order=order), CallRefused) if event.name == "attest"]
    assert refused.refusal.rule == "law 6: no one judges their own work"
