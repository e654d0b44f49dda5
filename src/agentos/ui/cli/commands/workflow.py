"""A workflow handed in: its file read, its inputs filled, its steps shown.

Rule 1: everything that can be wrong with it is told before anything is started.
"""

from pathlib import Path

from agentos.ui.cli import table
from agentos.ui.cli.commands.do import read_text
from agentos.ui.cli.pages import plain
from agentos.ui.cli.session import Session
from agentos.ui.cli.trouble import Trouble
from agentos.userland.documents import workflow as documents
from agentos.views.escape import terminal


def run_workflow(
    session: Session,
    file: str,
    inputs: tuple[str, ...],
    *,
    budget_uusd: int | None,
    is_sure: bool,
    is_dry: bool,
    is_detached: bool,
) -> int:
    """Check a workflow and its inputs, and show its steps. This build cannot run one yet, and says so."""
    written = documents.parse(read_text(file), file)
    values = filled(written, inputs, Path(file).absolute().parent)
    screen = session.screen
    screen.record({"record": "workflow", "workflow": plain(written), "inputs": sorted(values)})
    screen.aside(f"  workflow   {terminal(written.name, 60)}: {terminal(written.description, 60)}")
    for step in written.steps:
        after = f", after {', '.join(step.needs)}" if step.needs else ""
        screen.aside(f"  {terminal(step.id, 20):<11}{terminal(step.agent, 30)}{terminal(after, 60)}")
    if is_dry:
        return table.OK
    raise Trouble(
        "this build checks workflows and does not run them yet",
        why="the program that conducts them is not part of it",
        next=f"agentos run --workflow {file} --dry-run",
    )


def filled(written: documents.Workflow, given: tuple[str, ...], folder: Path) -> dict[str, str]:
    """The inputs by name: what was given, else what the file says; `@FILE` reads a file. Trouble for what is missing."""
    said: dict[str, str] = {}
    known = {row.name for row in written.inputs}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or name not in known:
            raise Trouble(
                f"'{word}' is no input of {written.name}",
                why=f"it has {', '.join(sorted(known)) or 'none'}",
                next="--input NAME=VALUE",
                exit=table.USAGE,
            )
        said[name] = read_text(value[1:]) if value.startswith("@") else value
    for row in written.inputs:
        if row.name in said:
            continue
        if row.is_required:
            raise Trouble(f"input '{row.name}' is missing", next=f"--input {row.name}=VALUE", exit=table.USAGE)
        said[row.name] = read_text(str(folder / row.file)) if row.file else row.text or ""
    return said
