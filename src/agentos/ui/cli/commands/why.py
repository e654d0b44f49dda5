"""`why`: the seven answers about an order, each with the events it rests on."""

import textwrap
from typing import Any

import click

from agentos.ui.cli import lookup, table
from agentos.ui.cli.pages import plain
from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import command
from agentos.views import answers as seven
from agentos.views.escape import terminal
from agentos.views.words import exact_money, few

_SEQS_MAX = 8  # of the events an answer rests on; --json has them all
_ITEMS_MAX = 20  # of one list inside an answer
_TEXT_MAX = 600  # characters of one text inside an answer


@command("why")
@click.argument("order", required=False)
@click.argument("question", required=False, type=click.Choice(tuple(seven.QUESTIONS)))
def why(session: Session, order: str | None, question: str | None) -> int:
    """The seven answers about an order: who, allowed, grounding, changed, evidence, cost, trust.

    With a question, that answer in full.
    """
    if order in seven.QUESTIONS and question is None:
        order, question = None, order
    return show(session, order, question)


def show(session: Session, order: str | None, question: str | None = None) -> int:
    """All answers in short, or one in full."""
    facts = session.facts()
    answers = seven.answers(lookup.order(order, facts), facts, session.blob)
    screen = session.screen
    wanted = (question,) if question else tuple(seven.QUESTIONS)
    screen.record({"order": answers.order, "answers": {name: plain(getattr(answers, name)) for name in wanted}})
    screen.result(f"{answers.order}  {terminal(answers.title, screen.columns - 10)}")
    for name in wanted:
        answer = getattr(answers, name)
        screen.result("\n" + screen.style("strong", seven.QUESTIONS[name]))
        screen.result(
            textwrap.fill(terminal(answer.summary, 2_000), screen.columns, initial_indent="  ", subsequent_indent="  ")
        )
        if question:
            for line in _parts(plain(answer)):
                screen.result("  " + line)
        seqs = few([str(seq) for seq in answer.rests_on], _SEQS_MAX)
        screen.result(screen.style("faint", f"  events {seqs or 'none'}"))
    return table.OK


def _parts(answer: dict[str, Any]) -> list[str]:
    """The answer's fields, each on a line or a few; what is empty is left out."""
    lines: list[str] = []
    for name, item in answer.items():
        if name in ("summary", "rests_on") or item in ("", [], {}, None):
            continue
        label = name.replace("_uusd", "").replace("_", " ")
        if isinstance(item, list) and isinstance(item[0], dict | list):
            lines += [f"{label}:", *(f"  {_row(row)}" for row in item[:_ITEMS_MAX])]
            lines += [f"  and {len(item) - _ITEMS_MAX} more"] if len(item) > _ITEMS_MAX else []
        else:
            lines.append(f"{label}: {_row(item)}")
    return lines


def _row(item: Any) -> str:
    """One record or value in one line."""
    if isinstance(item, dict):
        if set(item) <= {"uusd", "tokens", "actions"}:
            return f"{exact_money(item.get('uusd', 0))}, {item.get('tokens', 0):,} tokens"
        shown = {name: row for name, row in item.items() if row not in ("", [], {}, None) and not name.endswith("seqs")}
        return ", ".join(f"{name} {_row(row)}" for name, row in shown.items())
    if isinstance(item, list):
        return few([_row(row) for row in item], 5)
    return terminal(str(item), _TEXT_MAX)
