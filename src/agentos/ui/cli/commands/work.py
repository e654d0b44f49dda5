"""`work`: orders one by one: listed, shown, resumed, cancelled, given more."""

import click

from agentos.abi.budget import Amounts
from agentos.abi.calls.work import Decide, Raise
from agentos.ui.cli import lookup, table
from agentos.ui.cli.commands.apply import apply, undo
from agentos.ui.cli.commands.show import show
from agentos.ui.cli.commands.stop import stop
from agentos.ui.cli.options import AMOUNT
from agentos.ui.cli.pages import plain
from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import Nested, common
from agentos.ui.cli.trouble import Trouble
from agentos.views import inbox, orders
from agentos.views.words import money

_GOING_ON = ("retry", "proceed")  # choices of an escalation that let the order go on


@click.group("work", cls=Nested)
def work() -> None:
    """Work orders: list, show, resume, cancel, give more.

    \b
    Example:
      agentos work raise WO-1 --usd 1
    """


@work.command("ls", help="List orders, oldest first.")
@click.option("--open", "is_open", is_flag=True, help="Only those that are not over.")
@common
def ls(session: Session, is_open: bool) -> int:
    facts = session.facts_or_none()
    rows = orders.rows(facts, is_over_shown=not is_open)
    session.screen.record([{**plain(row), "next": plain(row.next)} for row in rows])
    session.screen.result(orders.render(rows, session.now_ns(), session.screen.columns) if rows else "No order.")
    return table.OK


@work.command("resume", help="Let an escalated order go on: it is tried again.")
@click.argument("order")
@click.option("--text", default="", help="A word with it, kept on record.")
@common
def resume(session: Session, order: str, text: str) -> int:
    facts = session.facts()
    wanted = lookup.order(order, facts)
    asked = [row for row in inbox.rows(facts) if row.order == wanted and row.kind == "escalation"]
    going_on = [choice for row in asked for choice in _GOING_ON if choice in row.choices]
    if not going_on:
        raise Trouble(f"{wanted} waits for nobody's word", next=f"agentos show {wanted}")
    session.client().call(Decide(question=asked[-1].question, choice=going_on[0], text=text))
    session.screen.record({"order": wanted, "question": asked[-1].question, "choice": going_on[0]})
    session.screen.result(f"{wanted} goes on ({going_on[0]}).\nnext         agentos log {wanted} -f")
    return table.OK


@work.command("raise", help="Give an order more budget.")
@click.argument("order")
@click.option("--usd", "uusd", type=AMOUNT, default="0", metavar="USD", help="Dollars on top.")
@click.option("--tokens", type=click.IntRange(0), default=0, help="Tokens on top.")
@click.option("--actions", type=click.IntRange(0), default=0, help="Actions on top.")
@common
def more(session: Session, order: str, uusd: int, tokens: int, actions: int) -> int:
    by = Amounts(uusd, tokens, actions)
    if by == Amounts():
        raise click.UsageError("say by how much: agentos work raise WO-1 --usd 1")
    wanted = lookup.order(order, session.facts())
    session.client().call(Raise(order=wanted, by=by))
    session.screen.record({"order": wanted, "by": plain(by)})
    session.screen.result(f"{wanted} has {money(uusd)}, {tokens:,} tokens and {actions:,} actions more.")
    return table.OK


for _also in (show, apply, undo):
    work.add_command(_also)
work.add_command(stop, "cancel")
