"""`cost`: what was spent, and on what."""

import click

from agentos.ui.cli import lookup, table
from agentos.ui.cli.pages import plain
from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import command
from agentos.views import cost as ledger

_KEYS = ("order", "phase", "role", "backend", "model")


def _read(ctx: click.Context, param: click.Parameter, text: str) -> tuple[str, ...]:
    keys = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    wrong = [key for key in keys if key not in _KEYS]
    if wrong or not keys:
        raise click.BadParameter(f"{', '.join(wrong) or 'nothing'} cannot be a column; take some of {', '.join(_KEYS)}")
    return keys


@command("cost")
@click.argument("order", required=False)
@click.option(
    "--by", "keys", default="phase,role,model", callback=_read, metavar="KEYS", help=f"Some of {','.join(_KEYS)}."
)
def cost(session: Session, order: str | None, keys: tuple[str, ...]) -> int:
    """What was spent, by phase, role and model: of one order, or of all."""
    return show(session, order, keys)


def show(session: Session, order: str | None = None, keys: tuple[str, ...] = ("phase", "role", "model")) -> int:
    """The table of one order, or of all."""
    facts = session.facts() if order else session.facts_or_none()
    wanted = lookup.order(order, facts) if order else None
    rows = ledger.table(facts, wanted, keys)
    session.screen.record(plain(rows))
    session.screen.result(ledger.render(rows) if rows.rows else "Nothing was spent.")
    return table.OK
