"""Can it be trusted: the last verdict, who judged, what weakens it, and what nobody looked at.

    yes         closed or passed, judged by an independent party, and no hole is known
    with care   passed, but with holes, waivers, or by a weaker grade
    no          failed, unverified, or cancelled
    not yet     it goes on, and what stands has not failed

Rule 1: no hole is weighed against another: one is enough for "with care".
Rule 2: what was not asked for is said too: a green check says nothing about what it does not exercise.
"""

import msgspec

from agentos.abi.events.work import OrderJudged
from agentos.abi.work import Approval, Command, Metric, Reason, Review, Verdict
from agentos.views.answers.allowed import Allowed
from agentos.views.answers.changed import Changed, protected
from agentos.views.answers.cost import Cost
from agentos.views.answers.evidence import Evidence, Proof
from agentos.views.answers.who import Who
from agentos.views.record import OVER, Record, seqs
from agentos.views.words import count, few


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    verdict: str  # passed | failed | unverified | "" when there is none yet
    reason: str
    detail: str
    grade: str  # independent | self-accepted | checks only | none
    word: str  # yes | with care | no | not yet
    holes: tuple[str, ...]  # what weakens it
    waivers: tuple[str, ...]
    unchecked: tuple[str, ...]  # what nobody looked at
    summary: str
    rests_on: tuple[int, ...]


def answer(record: Record, who: Who, allowed: Allowed, changed: Changed, evidence: Evidence, cost: Cost) -> Trust:
    verdict, reason, detail, seq = _verdict(record)
    grade = _grade(record, evidence)
    holes = tuple(_holes(record, who, changed, evidence, cost))
    waivers = tuple(f"{row.by} let it pass: {row.reason}: {row.detail}" for row in allowed.waivers)
    word = _word_of(record.state, verdict, grade, holes + waivers)
    parts = [word, f"{verdict} ({reason})" if verdict else f"{record.state}, no verdict", f"judged: {grade}"]
    parts += [count(len(holes), "hole")] * bool(holes) + [count(len(waivers), "waiver")] * bool(waivers)
    return Trust(
        verdict=verdict,
        reason=reason,
        detail=detail,
        grade=grade,
        word=word,
        holes=holes,
        waivers=waivers,
        unchecked=tuple(_unchecked(record, evidence)),
        summary=", ".join(parts),
        rests_on=seqs(
            [seq, record.over_seq],
            (row.seq for row in evidence.judgements if row.is_standing),
            (row.seq for row in allowed.waivers),
        ),
    )


def _verdict(record: Record) -> tuple[str, str, str, int]:
    """Verdict, reason, detail and the event that says so: the last word on what was presented last."""
    if isinstance(record.over, OrderJudged):
        last = record.presentations[-1].verified if record.presentations else None
        detail = last.detail if last is not None else ""
        return record.over.verdict.value, record.over.reason.value, detail, record.over_seq
    for presentation in reversed(record.presentations):
        rejected = [row for row in presentation.attestations if row.event.verdict != Verdict.PASSED]
        if rejected:
            event = rejected[0].event
            who = f"{event.check} by {event.principal}"
            code = Reason.NOT_APPROVED if record.is_person(event.by) else Reason.REVIEW_REJECTED
            return event.verdict.value, code.value, f"{who}: {event.reason}" if event.reason else who, rejected[0].seq
        if presentation.verified is not None:
            row = presentation.verified
            return row.verdict.value, row.reason.value, row.detail, presentation.verified_seq
    return "", "", "", 0


def _grade(record: Record, evidence: Evidence) -> str:
    """The weakest grade among the judgements that stand; "checks only" when only the kernel's checks have spoken."""
    standing = [row for row in evidence.judgements if row.is_standing]
    if any(row.grade == "self-accepted" for row in standing):
        return "self-accepted"
    if standing:
        return standing[0].grade
    return "checks only" if any(row.verified for row in record.presentations) else "none"


def _word_of(state: str, verdict: str, grade: str, doubts: tuple[str, ...]) -> str:
    if state not in OVER and verdict != "failed":
        return "not yet"
    if verdict != "passed" or state == "cancelled":
        return "no"
    return "with care" if doubts or grade != "independent" else "yes"


def _holes(record: Record, who: Who, changed: Changed, evidence: Evidence, cost: Cost) -> list[str]:
    """What weakens the answer, each as a sentence."""
    holes = list(dict.fromkeys(row.warning for row in who.served if row.warning))
    if any(row.grade == "self-accepted" and row.is_standing for row in evidence.judgements):
        holes.append("whoever asked for the work also judged it")
    for row in evidence.proofs:
        if row.after is None or row.kind in ("review", "approval"):
            continue
        if row.is_green_after and row.must_fail_on_base and not row.is_red_before:
            holes.append(f"{row.check} was not seen red on the base")
        if row.is_green_after and row.probe == "not probed":
            holes.append(f"{row.check} was not probed: nobody saw that it can fail on this content")
        if row.isolation == "none" and row.after.verdict != Verdict.UNVERIFIED:
            holes.append(f"{row.check} ran without isolation")
    if changed.out_of_scope:
        holes.append(f"changes out of scope were left out: {few(changed.out_of_scope)}")
    if changed.protected_changed:
        holes.append(
            f"the worker changed protected paths, taken from the base instead: {few(changed.protected_changed)}"
        )
    lost = [entry for entry in record.ledger.entries.values() if entry.is_orphaned]
    if lost:
        holes.append(f"nobody knows whether {count(len(lost), 'effect')} happened; a person was asked")
    if cost.unmetered:
        holes.append(f"{count(cost.unmetered, 'answer')} came without usage and was charged at its bound")
    return holes


def _unchecked(record: Record, evidence: Evidence) -> list[str]:
    """What nobody looked at, from what the contract did not ask for and what has not been answered."""
    contract = record.contract
    kinds = [type(check) for check in contract.accept]
    rows = [f"{row.check}: no finding on what stands" for row in evidence.proofs if _is_unanswered(row, evidence)]
    if contract.is_external:
        rows.append("who made the change, and how: it came from outside")
    if Review not in kinds:
        rows.append("no reviewer was asked to read the change")
    if Approval not in kinds:
        rows.append("no person was asked to approve the change")
    if not protected(contract):
        rows.append("no path was protected: the tests could be changed")
    if Command not in kinds and Metric not in kinds:
        rows.append("nothing was run: no check executes the change")
    loose = [check.name for check in contract.accept if isinstance(check, Command) and not check.must_fail_on_base]
    if loose:
        rows.append(f"not required to be red before: {few(loose)}")
    if Command in kinds:
        rows.append("behaviour that no test of these checks exercises")
    return rows


def _is_unanswered(row: Proof, evidence: Evidence) -> bool:
    if row.kind in ("review", "approval"):
        return not any(each.check == row.check and each.is_standing for each in evidence.judgements)
    return row.after is None
