"""What evidence there is: each check before and after, and each judgement, of what is presented now.

Rule 1: a check is green only by the kernel's own finding on the content that stands.
Rule 2: a judgement of an earlier content is kept, and does not stand.
"""

import msgspec

from agentos.abi.work import Command, Finding, Metric, Reason, Verdict
from agentos.views.record import Attested, Found, Presentation, Record, seqs
from agentos.views.words import count


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """One check: on the base before, on the content after."""

    check: str
    kind: str  # command | unchanged | fileschema | metric | review | approval
    must_fail_on_base: bool
    before: Finding | None
    after: Finding | None
    is_red_before: bool
    is_green_after: bool
    probe: str  # "can fail" | "cannot fail" | "not probed"; "" for what runs nothing, or was not run
    isolation: str
    seqs: tuple[int, ...]


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """An attestation."""

    check: str
    verdict: str
    reason: str
    grade: str
    pid: str
    role: str
    program: str
    principal: str
    family: str
    content: str
    is_standing: bool  # about what is presented now
    seq: int


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    proofs: tuple[Proof, ...]
    judgements: tuple[Judgement, ...]
    presentations: int
    refused: tuple[tuple[str, str], ...]  # reason and detail of presentations that did not pass
    tests_passed: int
    tests_failed: int
    isolation: tuple[str, ...]
    claim: str  # digest of what the worker said; it decided nothing
    summary: str
    rests_on: tuple[int, ...]


def answer(record: Record) -> Evidence:
    standing = record.standing
    proofs = tuple(_proofs(record, standing))
    judgements = tuple(_judgement(record, row, standing) for each in record.presentations for row in each.attestations)
    refused = tuple(
        (row.verified.reason.value, row.verified.detail)
        for row in record.presentations
        if row.verified is not None and row.verified.verdict != Verdict.PASSED
    )
    after = [row.after for row in proofs if row.after is not None]
    green = sum(row.is_green_after for row in proofs)
    red = sum(row.is_red_before for row in proofs)
    asked = [row for row in proofs if row.kind not in ("review", "approval")]
    parts = [f"{red} of {len([row for row in asked if row.must_fail_on_base])} checks red before"]
    parts += [f"{green} of {len(asked)} green after", count(len(judgements), "attestation")]
    parts += [f"{count(len(refused), 'presentation')} refused"] * bool(refused)
    return Evidence(
        proofs=proofs,
        judgements=judgements,
        presentations=len(record.presentations),
        refused=refused,
        tests_passed=sum(len(row.passed) for row in after),
        tests_failed=sum(len(row.failed) for row in after),
        isolation=tuple(dict.fromkeys(row.isolation for row in after if row.isolation)),
        claim=standing.claim if standing else "",
        summary=", ".join(parts),
        rests_on=seqs(
            (seq for row in proofs for seq in row.seqs),
            (row.seq for row in judgements),
            (row.verified_seq for row in record.presentations),
        ),
    )


def _proofs(record: Record, standing: Presentation | None) -> list[Proof]:
    before = {row.finding.check: row for row in record.proofs}
    after = {row.finding.check: row for row in standing.findings} if standing else {}
    rows = []
    for check in record.contract.accept:
        first, last = before.get(check.name), after.get(check.name)
        found = [row for row in (first, last) if row is not None]
        rows.append(
            Proof(
                check=check.name,
                kind=str(type(check).__struct_config__.tag),
                must_fail_on_base=isinstance(check, Command) and check.must_fail_on_base,
                before=first.finding if first else None,
                after=last.finding if last else None,
                is_red_before=first is not None and first.finding.verdict == Verdict.FAILED,
                is_green_after=last is not None and last.finding.verdict == Verdict.PASSED,
                probe=_probe(last) if isinstance(check, Command | Metric) else "",
                isolation=last.finding.isolation if last else "",
                seqs=tuple(row.seq for row in found),
            )
        )
    return rows


def _probe(found: Found | None) -> str:
    """Whether a check was seen to be able to fail on the very content it passed."""
    if found is None:
        return ""
    if not found.is_probed:
        return "not probed"
    if found.finding.reason == Reason.CHECK_CANNOT_FAIL:
        return "cannot fail"
    return "can fail" if found.finding.verdict in (Verdict.PASSED, Verdict.FAILED) else "not probed"


def _judgement(record: Record, row: Attested, standing: Presentation | None) -> Judgement:
    event = row.event
    spawned = record.people.get(event.by)
    return Judgement(
        check=event.check,
        verdict=event.verdict.value,
        reason=event.reason,
        grade=event.grade,
        pid=event.by,
        role=record.role(event.by),
        program=spawned.spec.program if spawned else "",
        principal=event.principal,
        family=event.family,
        content=event.content,
        is_standing=standing is not None and standing.change is not None and standing.change.tree == event.content,
        seq=row.seq,
    )
