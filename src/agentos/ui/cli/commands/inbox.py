"""`inbox`: what waits for a person, and the person's word on it."""

import click

from agentos.abi.calls.work import Decide
from agentos.ui.cli import table
from agentos.ui.cli.pages import plain
from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import command
from agentos.ui.cli.trouble import Trouble
from agentos.views import inbox as waiting
from agentos.views.escape import terminal
from agentos.views.words import short, span

_LINES_MAX = 12  # of one question's text; what is longer is read with --json --content


@command("inbox")
@click.argument("number", required=False, type=int)
@click.argument("choice", required=False)
@click.option("--text", default="", help="A word with it, kept on record.")
def inbox(session: Session, number: int | None, choice: str | None, text: str) -> int:
    """What waits for your word, and your word on it.

    Without a number: the list. With one: that question. With a choice too: your decision.
    """
    facts = session.facts_or_none()
    rows = waiting.rows(facts)
    if number is None:
        session.screen.record([plain(row) for row in rows])
        session.screen.result(waiting.render(rows, session.now_ns(), session.screen.columns))
        return table.OK
    row = next((row for row in rows if row.question == number), None)
    if row is None:
        raise Trouble(f"question {number} is not open", next="agentos inbox", exit=table.NOT_FOUND)
    if choice is None:
        session.screen.record(plain(row))
        session.screen.result(_page(row, session.now_ns()))
        return table.OK
    return _decide(session, row, choice, text)


def _page(row: waiting.Row, now_ns: int) -> str:
    lines = [f"{row.kind}, {row.order or 'no order'}, asked {span(now_ns - row.asked_at_ns)} ago by {row.pid}"]
    lines += [terminal(line) for line in row.text.splitlines()[:_LINES_MAX]]
    lines += [f"why: {terminal(row.reason, 60)}" if row.reason else "", terminal(row.detail)]
    if row.content:
        lines.append(f"about commit {short(row.commit) or '?'}, tree {short(row.content)}")
    lines += [f"  {command_of(row, choice)}" for choice in (row.choices or ("",))]
    return "\n".join(line for line in lines if line)


def command_of(row: waiting.Row, choice: str = "") -> str:
    """What to type to decide a question."""
    return f"agentos inbox {row.question} {terminal(choice, 40) or 'yes --text ANSWER'}"


def _decide(session: Session, row: waiting.Row, choice: str, text: str) -> int:
    """A choice may be shortened as long as it stays one of them."""
    matching = [known for known in row.choices if known.lower().startswith(choice.lower())]
    if row.choices and len(matching) != 1 and choice not in row.choices:
        raise Trouble(
            f"'{choice}' is not one of the choices",
            why=f"it can be {', '.join(terminal(known, 40) for known in row.choices)}",
            next=command_of(row, row.choices[0]),
            exit=table.USAGE,
        )
    picked = choice if not row.choices or choice in row.choices else matching[0]
    session.client().call(Decide(question=row.question, choice=picked, text=text))
    session.screen.record({"question": row.question, "choice": picked, "order": row.order})
    after = f"next         agentos show {row.order}" if row.order else ""
    session.screen.result(f"Question {row.question}: {terminal(picked, 60)}.\n{after}".rstrip())
    return table.OK
