"""The seven answers about a work order: who did it, why was it allowed, what grounding did it get, what changed, what
evidence is there, what did it cost, can it be trusted.

Rule 1: every answer carries the sequence numbers of the events it rests on; who doubts it can read them.
Rule 2: no answer is kinder than the record. What was not checked is said as plainly as what was.
Rule 3: text from outside (titles, details, reasons) is in here as it was written; whoever shows it escapes it.
"""

from collections.abc import Iterable

import msgspec

from agentos.abi.ids import OrderId
from agentos.views.answers import allowed, changed, cost, evidence, grounding, trust, who
from agentos.views.answers.allowed import Allowed
from agentos.views.answers.changed import Changed
from agentos.views.answers.cost import Cost
from agentos.views.answers.evidence import Evidence
from agentos.views.answers.grounding import Grounding
from agentos.views.answers.trust import Trust
from agentos.views.answers.who import Who
from agentos.views.base import Blob, Fact, no_blob
from agentos.views.orders import Step, next_step
from agentos.views.record import Record, fold


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """A question that waits for a person."""

    question: int
    kind: str
    text: str
    choices: tuple[str, ...]
    reason: str  # of an escalation
    detail: str


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """The seven, and what a page needs above them."""

    order: str
    title: str
    state: str
    began_at_ns: int
    ended_at_ns: int  # 0: it goes on
    last_at_ns: int
    next: Step
    questions: tuple[Open, ...]
    who: Who
    allowed: Allowed
    grounding: Grounding
    changed: Changed
    evidence: Evidence
    cost: Cost
    trust: Trust


QUESTIONS = {
    "who": "Who did it?",
    "allowed": "Why was it allowed?",
    "grounding": "What grounding did it get?",
    "changed": "What changed?",
    "evidence": "What evidence is there?",
    "cost": "What did it cost?",
    "trust": "Can it be trusted?",
}


class UnknownOrder(LookupError):
    """The facts say nothing of that order."""


def answers(order: OrderId, facts: Iterable[Fact], blob: Blob = no_blob) -> Answers:
    """The seven answers about an order, out of its own facts or a whole journal. UnknownOrder when none was submitted."""
    return answered(fold(order, facts), blob)


def answered(record: Record, blob: Blob = no_blob) -> Answers:
    """The seven answers of a record."""
    if record.submitted is None:
        raise UnknownOrder(f"order {record.order} is not in these facts; list what is with: agentos work ls")
    did, may, cost_of = who.answer(record), allowed.answer(record), cost.answer(record)
    made, found = changed.answer(record), evidence.answer(record)
    waiting = tuple(
        Open(
            question=row.question,
            kind=row.kind,
            text=row.text,
            choices=row.choices,
            reason=row.reason,
            detail=row.detail,
        )
        for row in record.open_questions
    )
    has_repository = bool(record.contract.repository)
    return Answers(
        order=record.order,
        title=record.submitted.title,
        state=record.state,
        began_at_ns=record.began_at_ns,
        ended_at_ns=record.ended_at_ns,
        last_at_ns=record.last_at_ns,
        next=next_step(record.order, record.state, questions=len(waiting), has_repository=has_repository),
        questions=waiting,
        who=did,
        allowed=may,
        grounding=grounding.answer(record, blob),
        changed=made,
        evidence=found,
        cost=cost_of,
        trust=trust.answer(record, did, may, made, found, cost_of),
    )


__all__ = ["QUESTIONS", "Answers", "Open", "UnknownOrder", "answered", "answers"]
