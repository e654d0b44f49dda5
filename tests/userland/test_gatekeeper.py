"""The gatekeeper's rules, each broken by itself in an otherwise perfect record."""

from typing import Any

import msgspec
import pytest

from agentos.abi.ids import Digest, OrderId
from agentos.abi.replies import Standing
from agentos.abi.work import (
    Approval,
    Change,
    Command,
    Contract,
    Document,
    Finding,
    Metric,
    Reason,
    Review,
    Scope,
    Verdict,
)
from agentos.userland.agents.gatekeeper import doubts

TREE, OTHER = Digest("a" * 64), Digest("b" * 64)
BASE, COMMIT = "1" * 40, "2" * 40
SUITE = Command(name="suite", argv=("pytest",))
RED = Finding(
    check="suite",
    tree=OTHER,
    verdict=Verdict.FAILED,
    reason=Reason.CHECK_FAILED,
    passed=("t::old",),
    failed=("t::new",),
)
GREEN = Finding(
    check="suite",
    tree=TREE,
    verdict=Verdict.PASSED,
    reason=Reason.OK,
    passed=("t::new", "t::old"),
    isolation="bubblewrap",
)
CHANGE = Change(base=BASE, commit=COMMIT, tree=TREE, paths=("src/a.py",))
SOUND = Standing(
    order=OrderId("WO-1"),
    state="gating",
    title="t",
    text=Digest("c" * 64),
    contract=Contract(
        repository="/r", base=BASE, accept=(SUITE,), scope=Scope(allowed=("src/**",), protected=("tests/**",))
    ),
    attempt=1,
    verdict=Verdict.PASSED,
    reason=Reason.OK,
    content=TREE,
    proofs=(RED,),
    findings=(GREEN,),
    change=CHANGE,
)


def standing(**changes: Any) -> Standing:
    return msgspec.structs.replace(SOUND, **changes)


def finding(**changes: Any) -> dict[str, Any]:
    return {"findings": (msgspec.structs.replace(GREEN, **changes),)}


def change(**changes: Any) -> dict[str, Any]:
    return {"change": msgspec.structs.replace(CHANGE, **changes)}


def asked(*checks: Any) -> dict[str, Any]:
    return {"contract": msgspec.structs.replace(SOUND.contract, accept=checks)}


def test_a_perfect_record_raises_no_doubt() -> None:
    assert list(doubts(SOUND)) == []


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"change": None}, "nothing was presented"),
        (change(tree=OTHER), "the change is of another content"),
        (change(paths=()), "nothing was changed"),
        (change(commit=BASE), "nothing was changed"),
        (change(base=COMMIT), "not from the order's base"),
        (change(links=("a",)), "links or other non-files were added: a"),
        (change(protected=("tests/a.py",)), "protected paths were changed"),
        (change(out_of_scope=("b",)), "paths outside the scope were changed"),
        (change(syntax_errors=("src/a.py:1",)), "files do not parse"),
        (change(paths=("src/a.py", "setup.py")), "paths the scope does not allow: setup.py"),
        (change(paths=("src/conftest.py",)), "paths the scope does not allow: src/conftest.py"),
        ({"verdict": Verdict.UNVERIFIED}, "the order was judged unverified"),
        ({"findings": ()}, "check suite has no finding"),
        ({"findings": (GREEN, GREEN)}, "some check has two findings"),
        (finding(tree=OTHER), "check suite ran on another content"),
        (finding(verdict=Verdict.FAILED), "check suite is failed"),
        (finding(reason=Reason.CHECK_CANNOT_FAIL), "check suite is passed (check_cannot_fail)"),
        (finding(failed=("t::other",)), "check suite has failing tests: t::other"),
        (finding(isolation=""), "names no isolation level"),
        (finding(isolation="none"), "names no isolation level"),
        (finding(passed=("t::new",)), "no positive record of t::old"),
        (finding(passed=("t::old",)), "no positive record of t::new"),
        (finding(passed=()), "no positive record of t::new, t::old"),
        ({"proofs": ()}, "was not run on the base"),
        ({"proofs": (msgspec.structs.replace(RED, verdict=Verdict.PASSED),)}, "passes on the base"),
        (asked(SUITE, Metric(name="m", argv=("m",), at_most=1)), "check m has no finding"),
        (asked(SUITE, Document(name="d", path="d")), "check d has no finding"),
        (asked(msgspec.structs.replace(SUITE, tests=("t::lost",))), "no positive record of t::lost"),
        (asked(msgspec.structs.replace(SUITE, tests=("t::old",))), "every named test was green on the base"),
    ],
)
def test_each_gap_in_the_record_is_a_reason_to_fail(broken: dict[str, Any], said: str) -> None:
    assert any(said in doubt for doubt in doubts(standing(**broken))), list(doubts(standing(**broken)))


def test_named_tests_are_the_only_ones_that_count_where_there_are_any() -> None:
    named = msgspec.structs.replace(SUITE, tests=("t::new",))
    assert list(doubts(standing(**asked(named), **finding(passed=("t::new",), failed=("t::other",))))) == []


def test_a_command_without_records_needs_its_exit_status() -> None:
    plain = msgspec.structs.replace(GREEN, passed=(), exit_status=0)
    red = msgspec.structs.replace(RED, passed=(), failed=())
    assert list(doubts(standing(proofs=(red,), findings=(plain,)))) == []
    silent = msgspec.structs.replace(plain, exit_status=None)
    assert any(
        "neither a record per test nor exit status 0" in one
        for one in doubts(standing(proofs=(red,), findings=(silent,)))
    )


def test_what_people_judge_is_not_the_gatekeepers_to_ask_for() -> None:
    assert list(doubts(standing(**asked(SUITE, Review(name="look"), Approval(name="ok"))))) == []
