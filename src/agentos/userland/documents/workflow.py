"""A workflow as a file: steps, each an agent with its inputs, bound together by references.

    name: docs-merge
    inputs:
      first: {file: inputs/docs-merge/handbook.md}
      topic: {text: Leave}
    steps:
      - id: plan
        agent: coordinator
        with: {task: "Plan one page about ${{ inputs.topic }}", documents: "${{ inputs.first }}"}
      - id: write
        agent: writer
        with: {notes: "${{ steps.plan.output }}"}
        output: page.md
        check: {headings: [Overview], words: {at_least: 80}}

Rule 1: the graph is drawn by references and `needs` together; it has no cycle and every step leads to the result.
Rule 2: a reference is `${{ inputs.NAME }}` or `${{ steps.ID.output }}`; there are no expressions, so nothing to inject.
Rule 3: what was filled in is never searched for references again.
Rule 4: order of steps in the file is order of preference only; `ready` says what may run.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

import msgspec

from agentos.userland.documents import source
from agentos.userland.documents.agent import LIMITS, Agent, Limits, read_limits
from agentos.userland.documents.expectation import EXPECTATION, Expectation
from agentos.userland.documents.expectation import build as build_expectation
from agentos.userland.documents.fault import Faults, Malformed, nearest, shown
from agentos.userland.documents.shape import (
    WORD,
    Cases,
    Either,
    Field,
    ListOf,
    MapOf,
    Nothing,
    Record,
    Text,
    Whole,
    read,
)

STEPS_MAX: Final = 64  # more is a program, and a program can be tested
ATTEMPTS: Final = 2  # a step: once, and once more with what its check said
ATTEMPTS_MAX: Final = 10

_REFERENCE = re.compile(r"\$\{\{\s*(?P<path>[^{}]*?)\s*\}\}")
_INPUT_NAME = r"^[a-z][a-z0-9_-]{0,63}$"
PATH = r"^(?!/)(?!\s)(?!.*(^|/)\.\.(/|$))[^\\]*[^\\\s]$"


class Input(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A value from outside. With neither file nor text, whoever runs the workflow must give it."""

    name: str
    file: str = ""  # relative to the workflow's own file
    text: str | None = None
    description: str = ""

    @property
    def is_required(self) -> bool:
        """There is no default."""
        return not self.file and self.text is None


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One agent, run once its needs are met."""

    id: str
    agent: str
    needs: tuple[str, ...] = ()  # every step it waits for: named in the file, or referred to; in the file's order
    values: dict[str, str] = {}  # the agent's inputs, with references
    output: str = ""  # file name its output is kept under; "" keeps it between the steps
    expectation: Expectation = Expectation()
    attempts: int = ATTEMPTS


class Workflow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A workflow as its author wrote it."""

    name: str
    steps: tuple[Step, ...]
    result: str  # id of the step whose output is the workflow's
    description: str = ""
    inputs: tuple[Input, ...] = ()
    limits: Limits = Limits()

    def step(self, step_id: str) -> Step:
        """The step of this id, which must exist."""
        return next(step for step in self.steps if step.id == step_id)


_ID = Text(chars_max=64, pattern=WORD, called="a name of a-z, 0-9 and '-'")
_VALUE = Text(chars_max=20_000, is_block=True, is_loose=True, called="a text")
_DESCRIPTION = Field("description", Text(chars_max=1024), "What it is, in one line.")

STEP = Record(
    fields=(
        Field("id", _ID, "Unique name of the step.", True),
        Field("agent", _ID, "The agent that does it.", True),
        Field("needs", ListOf(item=_ID, is_single_ok=True), "Steps to wait for, beside those referred to."),
        Field("with", MapOf(item=_VALUE, key=_INPUT_NAME), "The agent's inputs, by name."),
        Field("output", Text(pattern=PATH, called="a relative path"), "File to keep the output under."),
        Field("check", EXPECTATION, "What the output must look like."),
        Field("attempts", Whole(least=1, most=ATTEMPTS_MAX), "Tries, each with what the check said of the last."),
    )
)

WORKFLOW = Record(
    help="A workflow.",
    fields=(
        Field("name", _ID, "Name of the workflow.", True),
        _DESCRIPTION,
        Field(
            "inputs",
            MapOf(
                item=Either(
                    options=(
                        Cases(
                            called="file or text",
                            records=(
                                Record(
                                    fields=(
                                        Field(
                                            "file",
                                            Text(pattern=PATH, called="a relative path"),
                                            "Default: a file.",
                                            True,
                                        ),
                                        _DESCRIPTION,
                                    )
                                ),
                                Record(fields=(Field("text", _VALUE, "Default: a text.", True), _DESCRIPTION)),
                            ),
                        ),
                        Nothing(),
                    )
                ),
                key=_INPUT_NAME,
            ),
            "Values from outside: {file: PATH}, {text: WORDS}, or empty for one that must be given.",
        ),
        Field("steps", ListOf(item=STEP, items_min=1, items_max=STEPS_MAX), "The steps.", True),
        Field("result", _ID, "The step whose output is the result; default is the last."),
        Field("limits", LIMITS, "What the whole may use."),
    ),
)


def parse(raw: bytes | str, file: str = "workflow.yaml", *, agents: Mapping[str, Agent] | None = None) -> Workflow:
    """The workflow in the file; Malformed with every fault if it is not one.

    With `agents`, each step's agent must be among them and be given exactly what its prompt asks for.
    """
    faults = Faults(file)
    root = source.plain(raw, faults)
    got = read(WORKFLOW, root, "", faults)
    if not isinstance(got, dict):  # the file is no mapping at all, and the one fault says so
        raise Malformed(faults.items)
    graph = _graph(root, got, faults)
    _check_graph(graph, faults)
    steps = [_step(drawn.node, drawn, f"steps[{n}]", faults) for n, drawn in enumerate(graph.steps, 1)]
    if agents is not None:
        _check_agents(root, agents, faults)
    faults.close()
    inputs = tuple(Input(name=name, **(item or {})) for name, item in got.get("inputs", {}).items())
    return Workflow(
        name=got["name"],
        description=got.get("description", ""),
        inputs=inputs,
        steps=tuple(step for step in steps if step),
        result=graph.result,
        limits=read_limits(got.get("limits", {})),
    )


def ready(workflow: Workflow, done: Collection[str], started: Collection[str] = ()) -> tuple[Step, ...]:
    """The steps that may start now, in the file's order."""
    waiting = (step for step in workflow.steps if step.id not in done and step.id not in started)
    return tuple(step for step in waiting if all(need in done for need in step.needs))


def fill(text: str, *, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> str:
    """The text with its references replaced, in one pass. KeyError names a value that is not there yet."""

    def put(match: re.Match[str]) -> str:
        kind, name = _reference(match["path"]) or ("", match["path"])
        return inputs[name] if kind == "inputs" else outputs[name]

    return _REFERENCE.sub(put, text)


# ---- the graph ---------------------------------------------------------------------------------------------------


class _Drawn(NamedTuple):
    """A step as far as the graph knows it."""

    id: str  # "" where the file has none that can be read
    node: source.Node
    needs: tuple[str, ...]


class _Graph(NamedTuple):
    steps: tuple[_Drawn, ...]
    result: str
    result_line: int


def _steps(root: source.Node) -> tuple[source.Node, ...]:
    """The steps as they stand in the file, no more than may be there: what is beyond has its fault already."""
    node = source.entry(root, "steps")
    return node.value[:STEPS_MAX] if node and node.kind == "list" else ()


def _graph(root: source.Node, got: dict[str, Any], faults: Faults) -> _Graph:
    """The graph drawn from the nodes themselves, so that a fault elsewhere in a step does not hide it."""
    ids = tuple(_text(node, "id") for node in _steps(root))
    inputs = source.entry(root, "inputs")
    names = tuple(entry.key for entry in inputs.value) if inputs and inputs.kind == "mapping" else ()
    drawn = []
    lines: dict[str, int] = {}
    for position, (node, step_id) in enumerate(zip(_steps(root), ids, strict=True), 1):
        where = f"steps[{position}]"
        line = source.at(node, "id").line
        if step_id and step_id in lines:
            faults.add(line, f"{where}.id", found=f"'{shown(step_id)}', which the step on line {lines[step_id]} has")
        lines.setdefault(step_id, line)
        needs = dict.fromkeys([*_needs(node, where, ids, faults), *_references(node, where, ids, names, faults)])
        drawn.append(_Drawn(step_id, node, tuple(needs)))
    result = got.get("result") or (ids[-1] if ids else "")
    line = source.at(root, "result").line
    if result and result not in ids:
        faults.add(line, "result", found=f"no such step as '{shown(result)}'", nearest=nearest(result, ids))
    return _Graph(tuple(drawn), result, line)


def _needs(node: source.Node, where: str, ids: tuple[str, ...], faults: Faults) -> list[str]:
    given = source.entry(node, "needs")
    items = () if given is None else given.value if given.kind == "list" else (given,)
    for item in items:
        if item.kind == "text" and item.raw not in ids:
            fact = f"no such step as '{shown(item.raw)}'"
            faults.add(item.line, f"{where}.needs", found=fact, nearest=nearest(item.raw, ids))
    return [item.raw for item in items if item.kind == "text" and item.raw in ids]


def _references(
    node: source.Node, where: str, ids: tuple[str, ...], inputs: tuple[str, ...], faults: Faults
) -> list[str]:
    """The steps that the values of `with` refer to."""
    given = source.entry(node, "with")
    found = []
    for entry in given.value if given and given.kind == "mapping" else ():
        text = entry.node.raw
        field = f"{where}.with.{entry.key}"
        for match in _REFERENCE.finditer(text):
            fact, near = _lookup(match["path"], ids, inputs)
            if fact:
                faults.add(entry.node.line, field, found=fact, nearest=near)
            elif match["path"].startswith("steps."):
                found.append(match["path"].split(".")[1])
        if "${{" in _REFERENCE.sub("", text):
            faults.add(entry.node.line, field, found="a '${{' that no '}}' closes")
    return found


def _reference(path: str) -> tuple[str, str] | None:
    """("inputs", NAME) or ("steps", ID); None for anything else."""
    match path.split("."):
        case ["inputs", name]:
            return "inputs", name
        case ["steps", step_id, "output"]:
            return "steps", step_id
    return None


def _lookup(path: str, ids: tuple[str, ...], inputs: tuple[str, ...]) -> tuple[str, str]:
    """What is wrong with the reference, and what was probably meant; two empty texts when it is sound."""
    known = tuple(f"inputs.{name}" for name in inputs) + tuple(f"steps.{step_id}.output" for step_id in ids if step_id)
    if path in known:
        return "", ""
    if _reference(path) is None:
        return f"'{shown(path)}', which is neither inputs.NAME nor steps.ID.output", nearest(path, known)
    return f"no such value as '{shown(path)}'", nearest(path, known)


def _check_graph(graph: _Graph, faults: Faults) -> None:
    """No cycle, and no step that the result can do without."""
    needs = {step.id: step.needs for step in graph.steps if step.id}
    lines = {step.id: source.at(step.node, "id").line for step in reversed(graph.steps)}
    cycle = _cycle(needs)
    if cycle:
        faults.add(
            lines[cycle[0]], "steps", found=f"a cycle: {' -> '.join(map(shown, cycle))}; no step of it can start"
        )
    if graph.result not in needs:
        return
    wanted = _upstream(graph.result, needs)
    for step_id in needs:
        if step_id not in wanted and not (cycle and step_id in cycle):
            fact = f"step '{shown(step_id)}' leads nowhere: '{shown(graph.result)}' is the result and does not need it"
            faults.add(lines[step_id], "steps", found=fact)


def _cycle(needs: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The first cycle in the order of the file, its first step repeated at the end; [] when there is none."""
    done: set[str] = set()

    def walk(step_id: str, path: list[str]) -> list[str]:  # no deeper than STEPS_MAX
        if step_id in path:
            return [*path[path.index(step_id) :], step_id]
        if step_id in done:
            return []
        found = next((cycle for need in needs[step_id] if (cycle := walk(need, [*path, step_id]))), [])
        done.add(step_id)
        return found

    return next((cycle for start in needs if (cycle := walk(start, []))), [])


def _upstream(result: str, needs: Mapping[str, tuple[str, ...]]) -> set[str]:
    """The step and all it waits for."""
    seen: set[str] = set()
    pending = [result]
    while pending:
        if (step_id := pending.pop()) not in seen:
            seen.add(step_id)
            pending.extend(needs.get(step_id, ()))
    return seen


# ---- steps -------------------------------------------------------------------------------------------------------


def _step(node: source.Node, drawn: _Drawn, where: str, faults: Faults) -> Step | None:
    """The step; None where its shape is at fault, which is noted already."""
    scratch = Faults(faults.file)
    got = read(STEP, node, "", scratch)
    if scratch.items:
        return None
    rest = {name: got[name] for name in ("output", "attempts") if name in got}
    expectation = build_expectation(got.get("check", {}), source.at(node, "check"), f"{where}.check", faults)
    return Step(
        id=got["id"], agent=got["agent"], needs=drawn.needs, values=got.get("with", {}), expectation=expectation, **rest
    )


def _check_agents(root: source.Node, agents: Mapping[str, Agent], faults: Faults) -> None:
    for position, node in enumerate(_steps(root), 1):
        name = _text(node, "agent")
        where = f"steps[{position}]"
        if name not in agents:
            if name:
                line = source.at(node, "agent").line
                fact = f"no such agent as '{shown(name)}'"
                faults.add(line, f"{where}.agent", found=fact, nearest=nearest(name, agents))
            continue
        given = source.entry(node, "with")
        entries = given.value if given and given.kind == "mapping" else ()
        wanted = agents[name].placeholders
        for entry in entries:
            if entry.key not in wanted:
                fact = f"no such input of agent '{name}'"
                faults.add(entry.line, f"{where}.with.{entry.key}", found=fact, nearest=nearest(entry.key, wanted))
        for missing in sorted(set(wanted) - {entry.key for entry in entries}):
            expected = f"a text, which agent '{name}' asks for"
            faults.add(source.at(node, "with").line, f"{where}.with.{missing}", expected=expected, found="nothing")


def _text(node: source.Node, key: str) -> str:
    inner = source.entry(node, key)
    return inner.raw if inner and inner.kind == "text" else ""


def file_name(step: Step) -> str:
    """Where the step's output is kept, relative to the run's folder."""
    return PurePosixPath(step.output or f"{step.id}.txt").as_posix()
