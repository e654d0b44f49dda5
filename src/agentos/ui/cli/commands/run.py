"""`run`: a work order or a workflow out of a file.

Rule 1: a file grants what its author, who runs it, could have said on the command line, and no more.
"""

from pathlib import Path

import click

from agentos.ui.cli import draft, table
from agentos.ui.cli.commands.do import read_text, submit
from agentos.ui.cli.options import AMOUNT
from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import command
from agentos.ui.cli.survey import ground
from agentos.ui.cli.trouble import Trouble
from agentos.userland.documents import order as documents


@command("run")
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@click.option("--workflow", type=click.Path(dir_okay=False), help="A workflow file, or the name of one that ships.")
@click.option("--input", "inputs", multiple=True, metavar="NAME=VALUE", help="A workflow's input; @FILE reads a file.")
@click.option(
    "--budget-usd", "budget_uusd", type=AMOUNT, metavar="USD", help="What it may cost, whatever the file says."
)
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask before handing it in.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Show the order, and hand nothing in.")
@click.option("--detach", "is_detached", is_flag=True, help="Do not watch it.")
def run(
    session: Session,
    file: str | None,
    workflow: str | None,
    inputs: tuple[str, ...],
    budget_uusd: int | None,
    **flags: bool,
) -> int:
    """Hand in a work order from a Markdown file, or run a workflow.

    The order's front matter says what may be touched and spent, and which checks decide; `-` reads it from standard
    input.
    """
    if (file is None) == (workflow is None):
        raise click.UsageError("give one file: agentos run ORDER.md, or agentos run --workflow FILE.yaml")
    if workflow is not None:
        from agentos.ui.cli.commands.workflow import run_workflow

        return run_workflow(session, workflow, inputs, budget_uusd=budget_uusd, **flags)
    if inputs:
        raise Trouble("--input belongs to a workflow", next="agentos run --workflow FILE.yaml", exit=table.USAGE)
    assert file is not None
    written = documents.parse(read_text(file), file)
    folder = session.folder if file == "-" else Path(file).absolute().parent
    start = folder / Path(written.repository).expanduser() if written.repository else session.folder
    found = ground(start, written.base)
    order = draft.from_document(written, found, draft.Wish(budget_uusd=budget_uusd))
    return submit(session, order, found, **flags)
