"""Why it was allowed: the contract, the rights that were handed down and by whom, people's words, and what was refused.

Rule 1: a waiver is a person's word on something the kernel had stopped for; other decisions are not called that.
"""

import msgspec

from agentos.abi.budget import Amounts
from agentos.abi.work import Contract
from agentos.views.record import Asked, Record, seqs
from agentos.views.words import count, few, money


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """A right that one of the order's processes held."""

    capability: int
    right: str
    selector: str
    uses_max: int
    holder: str
    role: str
    giver: str
    giver_role: str
    is_revoked: bool
    seq: int


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """A person's decision."""

    question: int
    kind: str
    text: str
    reason: str  # of an escalation
    detail: str
    choice: str
    said: str
    by: str
    content: str
    seq: int


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was not allowed."""

    pid: str
    call: str
    name: str
    kind: str
    text: str
    rule: str
    seq: int


class Allowed(msgspec.Struct, frozen=True, kw_only=True):
    author: str
    contract: Contract
    budget: Amounts  # with what was added later
    raised: tuple[tuple[Amounts, str], ...]  # how much, and which principal
    grants: tuple[Given, ...]
    approvals: tuple[Word, ...]
    waivers: tuple[Word, ...]  # a check that should have held, let pass by a person
    decisions: tuple[Word, ...]  # other words of people: retries, answers, resolved outcomes
    refused: tuple[Refused, ...]
    summary: str
    rests_on: tuple[int, ...]


def answer(record: Record) -> Allowed:
    assert record.submitted is not None
    contract = record.contract
    grants = tuple(_given(record))
    waivers = tuple(_word(row) for row in record.questions.values() if is_waiver(row))
    approvals = tuple(_word(row) for row in record.questions.values() if row.kind == "approval" and row.decided_seq)
    others = tuple(
        _word(row)
        for row in record.questions.values()
        if row.decided_seq and row.kind != "approval" and not is_waiver(row)
    )
    raised = tuple((by, record.principal(pid)) for _, by, pid in record.raises)
    parts = [
        f"{record.submitted.author} wrote the contract: {_reach(contract)}",
        f"{money(record.limit.uusd)} at most",
        count(len(grants), "grant"),
    ]
    parts += [count(len(approvals), "approval")] * bool(approvals) + [count(len(waivers), "waiver")] * bool(waivers)
    parts += [f"{count(len(record.denials), 'call')} refused"] * bool(record.denials)
    return Allowed(
        author=record.submitted.author,
        contract=contract,
        budget=record.limit,
        raised=raised,
        grants=grants,
        approvals=approvals,
        waivers=waivers,
        decisions=others,
        refused=tuple(_refused(record)),
        summary=", ".join(parts),
        rests_on=seqs(
            [record.submitted_seq],
            (row.seq for row in grants),
            (row.revoked_seq for row in record.held.values()),
            (row.seq for row in record.questions.values()),
            (row.decided_seq for row in record.questions.values()),
            (seq for seq, _, _ in record.raises),
            (row.seq for row in record.denials),
            record.resumed_seqs,
        ),
    )


def _reach(contract: Contract) -> str:
    tools = f"tools {few(contract.tools)}" if contract.tools else "no tools"
    scope = f"paths {few(contract.scope.allowed)}"
    if contract.scope.forbidden:
        scope += f" but not {few(contract.scope.forbidden)}"
    return "an outside change, nobody works" if contract.is_external else f"{scope}, {tools}"


def _given(record: Record) -> list[Given]:
    return [
        Given(
            capability=row.capability,
            right=row.right,
            selector=row.selector,
            uses_max=row.uses_max,
            holder=row.holder,
            role=record.role(row.holder),
            giver=row.giver,
            giver_role=record.role(row.giver),
            is_revoked=bool(row.revoked_seq),
            seq=row.seq,
        )
        for row in record.held.values()
    ]


def _refused(record: Record) -> list[Refused]:
    return [
        Refused(pid=row.pid, call=row.call, name=row.name, kind=row.kind, text=row.text, rule=row.rule, seq=row.seq)
        for row in record.denials
    ]


def is_waiver(row: Asked) -> bool:
    """A person let something pass that the kernel had stopped for: a check that was not red, or could not be run."""
    return row.kind == "escalation" and row.choice == "proceed"


def _word(row: Asked) -> Word:
    return Word(
        question=row.question,
        kind=row.kind,
        text=row.text,
        reason=row.reason,
        detail=row.detail,
        choice=row.choice,
        said=row.said,
        by=row.by,
        content=row.content,
        seq=row.decided_seq,
    )
