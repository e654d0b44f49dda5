"""`report`: an order's report as one page that opens anywhere and loads nothing."""

import time
from pathlib import Path

import click

from agentos.ui.cli import lookup, table
from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import command
from agentos.ui.cli.trouble import Trouble


@command("report")
@click.argument("order", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it [WO-n.html].")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def report(session: Session, order: str | None, output: Path | None, force: bool) -> int:
    """Write an order's report as one HTML page."""
    from agentos.views import report as pages

    facts = session.facts()
    wanted = lookup.order(order, facts)
    path = output or Path(f"{wanted}.html")
    if path.exists() and not force:
        raise Trouble(f"{path} is there already", next="name another with -o, or say --force", exit=table.USAGE)
    path.write_text(pages.report(wanted, facts, session.blob, now_ns=time.time_ns()), encoding="utf-8")
    session.screen.record({"order": wanted, "path": str(path.absolute()), "size_bytes": path.stat().st_size})
    session.screen.result(str(path))
    return table.OK
