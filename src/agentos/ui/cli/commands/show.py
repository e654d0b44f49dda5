"""`show`: an order as its receipt, its log, its change or its bare events."""

import click

from agentos.abi.ids import OrderId
from agentos.ui.cli import lookup, repository, table
from agentos.ui.cli.pages import facts_plain, plain, receipt
from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import command
from agentos.ui.cli.trouble import Trouble
from agentos.views import answers as seven
from agentos.views import timeline
from agentos.views.base import Fact, about
from agentos.views.escape import terminal

DIFF_COLUMNS_MAX = 2_000  # of one line; a minified file is no reading


@command("show")
@click.argument("order", required=False)
@click.option("--log", "part", flag_value="log", help="What happened, line by line.")
@click.option("--diff", "part", flag_value="diff", help="What was changed.")
@click.option("--events", "part", flag_value="events", help="The events themselves.")
def show(session: Session, order: str | None, part: str | None) -> int:
    """An order's receipt, log, diff or events; the last order's, if none is named."""
    facts = session.facts()
    wanted = lookup.order(order, facts)
    _PARTS[part](session, wanted, facts)
    return table.OK


def _log(session: Session, order: OrderId, facts: list[Fact]) -> None:
    screen = session.screen
    rows = timeline.lines(facts, order=order)
    for row in rows:
        screen.record({"record": "line", "seq": row.seq, "at_ns": row.at_ns, "who": row.who, "text": row.text})
    screen.result(timeline.render(rows, columns=screen.columns, style=screen.style))


def _diff(session: Session, order: OrderId, facts: list[Fact]) -> None:
    changed = seven.answers(order, facts, session.blob).changed
    if not changed.commit:
        raise Trouble(f"{order} has no change yet", next=f"agentos show {order} --log", exit=table.NOT_FOUND)
    text = _text(session, changed.repository, changed.base, changed.commit)
    session.screen.record({"record": "diff", "base": changed.base, "commit": changed.commit, "text": text})
    tones = {"+": "good", "-": "bad", "@": "faint"}
    for line in text.splitlines():
        # Escaped, for the change is an agent's; a tab is no trick and stays.
        shown = "\t".join(terminal(part, DIFF_COLUMNS_MAX) for part in line.split("\t"))
        session.screen.result(session.screen.style(tones.get(line[:1], ""), shown))


def _text(session: Session, root: str, base: str, commit: str) -> str:
    """The change as text, from the person's repository or, before it is on a branch there, from our own."""
    from pathlib import Path

    from agentos.boot.workspace import Folder

    private = Folder(session.home).forge
    places = [Path(root), *sorted(private.glob("*.git")), *sorted(private.glob("*/*.git")), private]
    for place in places:
        text = repository.diff(place, base, commit) if place.is_dir() else None
        if text is not None:
            return text
    raise Trouble(
        f"the content of commit {commit[:12]} is not here any more",
        why="it was collected, or the repository was moved",
        next="agentos show --log",
        exit=table.NOT_FOUND,
    )


def _events(session: Session, order: OrderId, facts: list[Fact]) -> None:
    for fact in about(order, facts):
        row = facts_plain(fact)
        session.screen.record(row)
        if not session.screen.is_json:
            import json

            event = {name: item for name, item in plain(fact.event).items() if name != "type"}
            session.screen.result(terminal(f"{fact.seq:>6}  {fact.type:<20} {json.dumps(event)}", 2_000))


_PARTS = {None: receipt, "log": _log, "diff": _diff, "events": _events}
