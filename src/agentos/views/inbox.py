"""What waits for a person: approvals, escalations, questions, outcomes that nobody knows.

Rule 1: a question leaves when it is decided or its order is over; nothing else makes it go.
Rule 2: an approval is about one exact content, and says which.
"""

from collections.abc import Iterable

import msgspec

from agentos.abi.events.process import ProcessExited
from agentos.abi.events.work import (
    ContentPresented,
    OrderCancelled,
    OrderClosed,
    OrderEscalated,
    OrderJudged,
    OrderSubmitted,
    QuestionAsked,
    QuestionDecided,
)
from agentos.views.base import Fact
from agentos.views.escape import clip, terminal
from agentos.views.words import short, span


class Row(msgspec.Struct):
    """One open question."""

    question: int
    kind: str  # ask | approval | escalation | unknown
    text: str
    choices: tuple[str, ...]
    order: str
    title: str
    pid: str
    asked_at_ns: int
    seq: int
    content: str = ""  # tree an approval is about
    commit: str = ""  # its commit
    reason: str = ""
    detail: str = ""
    effect: int = 0
    is_asker_gone: bool = False  # the process that asked has ended; an answer reaches nobody

    def command(self, choice: str = "") -> str:
        """What to type to decide it."""
        return f"agentos inbox {self.question} {choice or (self.choices[0] if self.choices else 'ANSWER')}"


def rows(facts: Iterable[Fact]) -> list[Row]:
    """The open questions, oldest first."""
    table: dict[int, Row] = {}
    titles: dict[str, str] = {}
    commits: dict[str, str] = {}
    whys: dict[int, OrderEscalated] = {}
    for fact in facts:
        match fact.event:
            case OrderSubmitted(order=order, title=title):
                titles[order] = title
            case ContentPresented(change=change):
                commits[change.tree] = change.commit
            case OrderEscalated(question=number):
                whys[number] = fact.event
            case QuestionAsked():
                table[fact.event.question] = _row(fact, fact.event, titles, commits, whys)
            case QuestionDecided(question=number):
                table.pop(number, None)
            case OrderClosed(order=order) | OrderJudged(order=order) | OrderCancelled(order=order):
                table = {number: row for number, row in table.items() if row.order != order}
            case ProcessExited(pid=pid):
                for row in table.values():
                    row.is_asker_gone = row.is_asker_gone or row.pid == pid and row.kind == "ask"
    return list(table.values())


def _row(
    fact: Fact, event: QuestionAsked, titles: dict[str, str], commits: dict[str, str], whys: dict[int, OrderEscalated]
) -> Row:
    why = whys.get(event.question)
    return Row(
        question=event.question,
        kind=event.kind,
        text=event.text,
        choices=event.choices,
        order=event.order or "",
        title=titles.get(event.order or "", ""),
        pid=event.pid,
        asked_at_ns=fact.at_ns,
        seq=fact.seq,
        content=event.content or "",
        commit=commits.get(event.content or "", ""),
        reason=why.reason if why else "",
        detail=why.detail if why else "",
        effect=event.effect,
    )


def render(table: list[Row], now_ns: int, columns: int = 80) -> str:
    """The inbox as text."""
    if not table:
        return "Nothing waits for you."
    lines: list[str] = []
    for row in table:
        head = f"{row.question}. {row.kind}, {span(now_ns - row.asked_at_ns)} ago" + (
            f", {row.order}" * bool(row.order)
        )
        lines.append(head + (", its asker has ended" if row.is_asker_gone else ""))
        lines.append("   " + clip(terminal(row.text), columns - 3))
        if row.content:
            lines.append(f"   commit {short(row.commit) or '?'}, tree {short(row.content)}")
        lines += [f"   {clip(row.command(choice), columns - 3)}" for choice in (row.choices or ("",))]
    return "\n".join(lines)
