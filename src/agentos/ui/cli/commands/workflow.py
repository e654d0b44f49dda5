"""A workflow handed in: read with its inputs, laid into a commit on top of the base, submitted as one order.

    FILE.yaml + inputs ─> checked ─> base + workflow + inputs, one commit ─> Submit(conductor="workflow") ─> receipt

Rule 1: everything that can be wrong with it is told before anything is started.
Rule 2: the workflow and its inputs are in the order's base and protected, so that nobody who works by it changes it.
Rule 3: an output is judged by what its step says of it, by the kernel's own check, and not by the step.
"""

from importlib import resources
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import asdict

from agentos.abi.budget import ORDER_DEFAULT, Amounts
from agentos.abi.work import Contract, Document, Scope
from agentos.ui.cli import draft, repository, table
from agentos.ui.cli.commands.do import read_text, submit
from agentos.ui.cli.session import Session
from agentos.ui.cli.trouble import Trouble
from agentos.userland.agents.files import TOOLS
from agentos.userland.documents import workflow as documents
from agentos.userland.documents.agent import builtin, builtin_names
from agentos.userland.workflows.run import FILE, INPUTS

_MINUTE_NS = 60_000_000_000


class Read(NamedTuple):
    """A workflow as its author wrote it, and where its inputs are found."""

    flow: documents.Workflow
    text: str
    folder: Path


def read(name: str) -> Read:
    """The workflow in this file, or the one that ships under this name. Malformed with every fault."""
    path = Path(name)
    shipped = Path(str(resources.files("agentos.userland.workflows"))) / f"{name}.yaml"
    if not path.exists() and "/" not in name and shipped.exists():
        path = shipped
    text = read_text(str(path))
    agents = {known: builtin(known) for known in builtin_names()}
    return Read(documents.parse(text, str(path), agents=agents), text, path.absolute().parent)


def filled(flow: documents.Workflow, given: tuple[str, ...], folder: Path) -> dict[str, str]:
    """The inputs by name: what was given, else what the file says; `@FILE` reads a file. Trouble for what is missing."""
    known = {row.name for row in flow.inputs}
    said: dict[str, str] = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or name not in known:
            why = f"{flow.name} has the inputs {', '.join(sorted(known)) or 'none'}"
            raise Trouble(f"'{word}' is no input", why=why, next="--input NAME=VALUE", exit=table.USAGE)
        said[name] = read_text(value[1:]) if value.startswith("@") else value
    for row in flow.inputs:
        if row.name not in said and row.is_required:
            raise Trouble(f"input '{row.name}' is missing", next=f"--input {row.name}=VALUE", exit=table.USAGE)
        if row.name not in said:
            said[row.name] = read_text(str(folder / row.file)) if row.file else row.text or ""
    return said


def contract(flow: documents.Workflow, place: repository.Place, budget_uusd: int | None) -> Contract:
    """What the workflow may touch and cost, and the checks of its outputs. Trouble when nothing of it can be judged."""
    kept = [step for step in flow.steps if step.output]
    if not kept:
        why = "no step keeps its output in a file, so there is nothing to judge"
        raise Trouble(f"workflow {flow.name} has no result", why=why, next="give its last step an 'output: FILE'")
    limits = flow.limits
    said = limits.spend_uusd if budget_uusd is None else budget_uusd
    return Contract(
        repository=str(place.root),
        base=place.base,
        branch=draft.BRANCH,
        scope=Scope(allowed=tuple(f"/{step.output}" for step in kept), protected=(f"/{FILE}", f"/{INPUTS}/")),
        accept=tuple(Document(name=step.id, path=step.output, **asdict(step.expectation)) for step in kept),
        budget=Amounts(
            ORDER_DEFAULT.uusd if said is None else said,
            limits.tokens_max or ORDER_DEFAULT.tokens,
            ORDER_DEFAULT.actions,
        ),
        wall_ns_max=(limits.minutes_max or draft.MINUTES) * _MINUTE_NS,
        model_classes=tuple(dict.fromkeys(builtin(step.agent).model for step in flow.steps)),
        tools=TOOLS,
        conductor="workflow",
    )


def run_workflow(
    session: Session, name: str, inputs: tuple[str, ...], *, budget_uusd: int | None, **flags: bool
) -> int:
    """Check a workflow and its inputs, and hand it in as one order of the repository one stands in."""
    found = read(name)
    values = filled(found.flow, inputs, found.folder)
    place = repository.place(session.folder)
    contract(found.flow, place, budget_uusd)  # refused before anything is written
    files = {FILE: found.text.encode(), **{f"{INPUTS}/{key}": text.encode() for key, text in values.items()}}
    base = repository.grown(place.root, place.base, files, f"Workflow {found.flow.name} and its inputs")
    steps = tuple(
        f"{step.id}: {step.agent}" + f", after {', '.join(step.needs)}" * bool(step.needs) for step in found.flow.steps
    )
    text = f"# Workflow {found.flow.name}\n\n{found.flow.description}\n\n" + "\n".join(f"- {step}" for step in steps)
    order = draft.Draft(
        draft.title(f"{found.flow.name}: {found.flow.description}"),
        text,
        contract(found.flow, place._replace(base=base), budget_uusd),
    )
    return submit(session, order, draft.Ground(str(place.root), base, "HEAD and the workflow"), **flags)
