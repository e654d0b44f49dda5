"""The gatekeeper: a program, no model. It derives the verdict once more from what is on record, and attests.

Rule 1: it believes no verdict as such: each is derived from the findings, test by test, and from the change.
Rule 2: what is not on record did not happen. A missing finding, test, isolation level or probe is a reason to fail.
Rule 3: the first reason found is the one attested, gravest first; the same record gives the same word.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from agentos.abi.paths import Place, place
from agentos.abi.replies import Standing
from agentos.abi.work import Approval, Command, Finding, Metric, Reason, Review, Verdict
from agentos.sdk import System

NOT_ISOLATED = ("", "none")  # how a finding says that what it ran was not kept apart


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """What was attested."""

    verdict: Verdict
    reason: str


async def main(os: System, args: Any, state: Any = None) -> Ruling:
    """Judge the order this process belongs to, and attest to its gate."""
    order = (await os.whoami()).order
    assert order is not None, "a gatekeeper is spawned for an order"
    standing = await os.look(order)
    why = next(doubts(standing), "")
    ruling = Ruling(verdict=Verdict.FAILED if why else Verdict.PASSED, reason=why or _summary(standing))
    assert standing.content is not None, "a gatekeeper is asked when there is content"
    await os.attest(order, standing.content, ruling.verdict, ruling.reason)
    return ruling


def doubts(standing: Standing) -> Iterator[str]:
    """Every reason not to close on this record, gravest first."""
    yield from _about_change(standing)
    findings = {finding.check: finding for finding in standing.findings}
    judged = [check for check in standing.contract.accept if not isinstance(check, Review | Approval)]
    if len(findings) != len(standing.findings):
        yield "some check has two findings"
    if not judged and not standing.contract.accept:
        yield "nothing was asked, so nothing is known"
    for check in judged:
        finding = findings.get(check.name)
        if finding is None:
            yield f"check {check.name} has no finding"
            continue
        yield from _about_finding(finding, standing)
        if isinstance(check, Command | Metric) and finding.isolation in NOT_ISOLATED:
            yield f"check {check.name} names no isolation level"
        if isinstance(check, Command):
            yield from _about_tests(check, finding, standing)


def _about_change(standing: Standing) -> Iterator[str]:
    change = standing.change
    if change is None or standing.content is None:
        yield "nothing was presented"
        return
    if change.tree != standing.content:
        yield "the change is of another content than the one to be judged"
    if not change.paths or change.commit == change.base:
        yield "nothing was changed"
    if standing.contract.base and change.base != standing.contract.base:
        yield f"the change starts from {change.base[:12]}, not from the order's base"
    for fact, paths in (
        ("links or other non-files were added", change.links),
        ("protected paths were changed", change.protected),
        ("paths outside the scope were changed", change.out_of_scope),
        ("files do not parse", change.syntax_errors),
    ):
        if paths:
            yield f"{fact}: {', '.join(paths[:3])}"
    wrong = [path for path in change.paths if place(standing.contract.scope, path) is not Place.ALLOWED]
    if wrong:
        yield f"the commit holds paths the scope does not allow: {', '.join(wrong[:3])}"
    if standing.verdict != Verdict.PASSED:
        yield f"the order was judged {standing.verdict}"


def _about_finding(finding: Finding, standing: Standing) -> Iterator[str]:
    if finding.tree != standing.content:
        yield f"check {finding.check} ran on another content"
    if finding.verdict != Verdict.PASSED or finding.reason != Reason.OK:
        yield f"check {finding.check} is {finding.verdict} ({finding.reason})"
    if finding.failed and isinstance(_check(standing, finding.check), Command) and not _named(standing, finding.check):
        yield f"check {finding.check} has failing tests: {', '.join(finding.failed[:3])}"


def _about_tests(check: Command, finding: Finding, standing: Standing) -> Iterator[str]:
    """Red to green, or green to green, each with a positive record; and something was red where it had to be."""
    proof = next((one for one in standing.proofs if one.check == check.name), None)
    if proof is None:
        if standing.contract.repository:
            yield f"check {check.name} was not run on the base"
        return
    if check.must_fail_on_base and proof.verdict == Verdict.PASSED:
        yield f"check {check.name} passes on the base, so it says nothing about the change"
    named = check.tests or tuple(dict.fromkeys((*proof.failed, *proof.passed)))
    missing = [test for test in named if test not in finding.passed]
    if missing:
        yield f"check {check.name} has no positive record of {', '.join(missing[:3])}"
    if check.tests and check.must_fail_on_base and not [test for test in check.tests if test not in proof.passed]:
        yield f"check {check.name}: every named test was green on the base"
    if not finding.passed and finding.exit_status != 0:
        yield f"check {check.name} left neither a record per test nor exit status 0"


def _check(standing: Standing, name: str) -> object:
    return next((check for check in standing.contract.accept if check.name == name), None)


def _named(standing: Standing, name: str) -> bool:
    check = _check(standing, name)
    return isinstance(check, Command) and bool(check.tests)


def _summary(standing: Standing) -> str:
    tests = sum(len(finding.passed) for finding in standing.findings)
    assert standing.change is not None
    return f"{len(standing.findings)} checks and {tests} tests passed on {standing.change.commit[:12]}, in scope"
