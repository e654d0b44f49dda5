"""`stop`: an order ended by a person, without a result."""

import click

from agentos.abi.calls.work import Cancel
from agentos.ui.cli import lookup, table
from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import command
from agentos.ui.cli.trouble import Trouble
from agentos.views import orders
from agentos.views.escape import terminal


@command("stop")
@click.argument("order", required=False)
@click.option("--all", "is_all", is_flag=True, help="Every open order.")
@click.option("--reason", default="stopped by a person", help="Kept on record.")
def stop(session: Session, order: str | None, is_all: bool, reason: str) -> int:
    """End an order without a result. Its processes are killed; what it had found stays on record."""
    facts = session.facts_or_none()
    open_orders = [row for row in orders.rows(facts) if not row.is_over]
    if order is not None:
        chosen = [str(lookup.order(order, facts))]
    elif is_all:
        chosen = [row.order for row in open_orders]
    elif not open_orders:
        chosen = []
    else:
        listed = "\n".join(f"{row.order}  {row.state}  {terminal(row.title, 60)}" for row in open_orders)
        raise Trouble("say which order to stop", why=listed, next="agentos stop WO-n, or --all", exit=table.USAGE)
    for name in chosen:
        session.client().call(Cancel(order=lookup.spelled(name), reason=reason))
        session.screen.result(f"{name} is stopped.")
    session.screen.record({"stopped": chosen})
    if not chosen:
        session.screen.result("No order is open.")
    return table.OK
