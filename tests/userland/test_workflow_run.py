"""Workflows as orders: steps side by side, artifacts with their sources, a page the kernel judges, a report of it all."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentos.abi.budget import Amounts
from agentos.abi.events.ipc import ArtifactAttached
from agentos.abi.events.work import AttemptBegun, ContentAttested, OrderClosed
from agentos.abi.inference import Request
from agentos.abi.work import Contract, Document, Review, Scope
from agentos.drivers.inference_scripted import Line
from tests.userland.documents.test_shipped import GOOD
from tests.userland.test_conductor import escalation, says, spawned
from tests.userland.world import BUDGET, TOOLS, Script, World, words

SHIPPED = Path(__file__).resolve().parents[2] / "src/agentos/userland/workflows"
FLOW = """name: page
inputs:
  topic: {text: Leave}
  first: {file: notes/first.md}
  second:
steps:
  - {id: left, agent: writer, with: {task: "Say what ${{ inputs.topic }} is", notes: "${{ inputs.first }}"}}
  - {id: right, agent: writer, with: {task: Say how long, notes: "${{ inputs.second }}"}}
  - id: both
    agent: writer
    with: {task: One page, notes: "${{ steps.left.output }} ${{ steps.right.output }}"}
    output: page.md
    check: {contains: 30 days}
"""
FILES = {
    ".agentos-workflow.yaml": FLOW,
    ".agentos-inputs/second": "Thirty days.",
    "notes/first.md": "Leave is time off.",
}
PAGE = Document(name="page", path="page.md", contains=("30 days",))
CONTRACT = Contract(
    conductor="workflow",
    accept=(PAGE,),
    tools=TOOLS,
    budget=BUDGET,
    scope=Scope(protected=(".agentos*", "notes/**")),
    model_classes=("tiny",),
)


def contract(**changes: Any) -> Contract:
    return msgspec.structs.replace(CONTRACT, **changes)


def writes(request: Request) -> Line:
    asked = words(request)
    if "Say what Leave is" in asked:
        return Line(say="LEFT: time off")
    return Line(say="RIGHT: 30 days" if "Say how long" in asked else "# Leave\nTime off, 30 days.")


def conduct(
    root: Path, script: Script | Mapping[str, Script], order: Contract = CONTRACT, files: Mapping[str, str] = FILES
) -> World:
    world = World(root, script if isinstance(script, Mapping) else {"tiny": script})
    asyncio.run(world.run(files, order, text="One page about leave."))
    return world


def test_steps_become_a_page_that_the_kernel_judges_and_closes_on(tmp_path: Path) -> None:
    world = conduct(tmp_path, writes)
    assert world.events_of(OrderClosed)
    assert world.result("refs/heads/WO-1")["page.md"] == "# Leave\nTime off, 30 days.\n"
    assert spawned(world) == ["answer", "answer", "answer", "presenter", "gatekeeper"]
    (attested,) = world.events_of(ContentAttested)
    assert attested.principal == "agent:gate"


def test_inputs_come_from_the_file_the_text_or_the_order_and_outputs_go_on(tmp_path: Path) -> None:
    world = conduct(tmp_path, writes)
    asked = [words(request) for _, request in world.requests]
    assert any("Leave is time off." in one for one in asked)
    assert any("Thirty days." in one for one in asked)
    assert "LEFT: time off RIGHT: 30 days" in asked[-1]


def test_every_output_is_an_artifact_made_from_what_it_was_made_from(tmp_path: Path) -> None:
    world = conduct(tmp_path, writes)
    rows = {event.name: event for event in world.events_of(ArtifactAttached)}
    assert set(rows["/steps/both.md"].sources) == {rows["/steps/left.md"].content, rows["/steps/right.md"].content}
    assert set(rows["/steps/left.md"].sources) == {rows["/inputs/topic"].content, rows["/inputs/first"].content}
    assert len({rows[f"/steps/{step}.md"].author for step in ("left", "right", "both")}) == 3


def test_steps_that_need_nothing_of_each_other_run_at_the_same_time(tmp_path: Path) -> None:
    """The second is answered first, and only if the first is still being asked."""
    seen: list[str] = []

    def slow(request: Request) -> Line:
        asked = words(request)
        seen.append(asked)
        line = writes(request)
        return msgspec.structs.replace(line, delay_ms=200) if "Say what Leave is" in asked else line

    world = conduct(tmp_path, slow)
    assert world.events_of(OrderClosed)
    ended = [event.name for event in world.events_of(ArtifactAttached) if event.name.startswith("/steps/")]
    assert ended == ["/steps/right.md", "/steps/left.md", "/steps/both.md"]


def test_a_step_is_told_what_its_answer_lacks_and_asked_once_more(tmp_path: Path) -> None:
    def careless(request: Request) -> Line:
        asked = words(request)
        if "One page" in asked and "Your last answer was not right" not in asked:
            return Line(say="# Leave\nTime off.")
        return writes(request)

    world = conduct(tmp_path, careless)
    assert world.events_of(OrderClosed)
    assert "it does not say: 30 days" in words(world.requests[-1][1])
    assert "both (writer): done, 2 tries" in world.artifact("/report.md")
    assert "it does not say: 30 days" in world.artifact("/report.md")


def test_the_report_says_what_each_step_took(tmp_path: Path) -> None:
    report = conduct(tmp_path, writes).artifact("/report.md")
    assert "# page" in report
    for step in ("left", "right", "both"):
        assert f"- {step} (writer): done, 1 tries, " in report
    assert "tokens, tiny" in report
    assert "passed (ok)" in report


def test_a_step_that_never_gets_it_right_goes_to_a_person_with_what_it_lacks(tmp_path: Path) -> None:
    world = conduct(tmp_path, says(Line(say="# Leave")))
    assert escalation(world).reason == "step_failed"
    assert "step both (writer): it does not say: 30 days" in escalation(world).detail
    assert not world.events_of(OrderClosed)
    assert "both (writer): failed, 2 tries" in world.artifact("/report.md")


def test_what_needs_a_failed_step_is_not_run_and_its_neighbour_is(tmp_path: Path) -> None:
    def left_dies(request: Request) -> Line:
        return Line(fault="refuse", say="gone") if "Say what Leave is" in words(request) else writes(request)

    world = conduct(tmp_path, left_dies)
    assert escalation(world).reason == "model_unavailable"
    report = world.artifact("/report.md")
    assert "- right (writer): done" in report
    assert "- both (writer): failed, not run" in report
    assert "not run: left failed" in report


def test_the_next_model_class_runs_the_workflow_when_the_first_fails(tmp_path: Path) -> None:
    world = conduct(
        tmp_path, {"small": says(Line(say="# Leave")), "large": writes}, contract(model_classes=("small", "large"))
    )
    assert world.events_of(OrderClosed)
    assert len(world.events_of(AttemptBegun)) == 2


def test_a_class_that_an_agent_asks_for_is_used_where_the_contract_has_it(tmp_path: Path) -> None:
    world = conduct(tmp_path, {"coder": says(Line(say="?")), "tiny": writes}, contract(model_classes=("coder", "tiny")))
    assert {name for name, _ in world.requests} == {"tiny"}, "the writer asks for a tiny model"


def test_a_page_that_the_kernels_check_refuses_does_not_close(tmp_path: Path) -> None:
    strict = Document(name="page", path="page.md", headings=("Pay",))
    world = conduct(tmp_path, writes, contract(accept=(strict,)))
    assert escalation(world).reason == "failed"
    assert "the heading 'Pay' is missing" in escalation(world).detail


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, ".agentos-workflow.yaml is not in the order's base"),
        ({".agentos-workflow.yaml": "name: x\nsteps: 3\n"}, "a list"),
        ({".agentos-workflow.yaml": FLOW.replace("agent: writer", "agent: wizard")}, "no such agent"),
        ({".agentos-workflow.yaml": FLOW}, "input 'first' has no value"),
    ],
)
def test_a_workflow_that_cannot_be_run_goes_to_a_person_with_the_fault(
    tmp_path: Path, files: dict[str, str], said: str
) -> None:
    world = conduct(tmp_path, writes, files={"a.md": "x", **files})
    assert escalation(world).reason == "bad_workflow"
    assert said in escalation(world).detail
    assert not world.requests, "nothing was spent"


def test_a_spent_budget_is_named_as_the_reason(tmp_path: Path) -> None:
    world = conduct(tmp_path, writes, contract(budget=Amounts(uusd=10, tokens=10**8, actions=100)))
    assert escalation(world).reason == "budget"
    world = conduct(tmp_path / "b", writes, contract(budget=Amounts(uusd=10**6, tokens=10**8, actions=1)))
    assert escalation(world).reason == "budget"


def test_a_workflows_result_can_be_reviewed_like_any(tmp_path: Path) -> None:
    def judge(request: Request) -> Line:
        verdict = "failed" if "must not be merged" in words(request) else "passed"
        return Line(json={"verdict": verdict, "findings": []})

    order = contract(accept=(PAGE, Review(name="look")), model_classes=("tiny", "judge"))
    world = conduct(tmp_path, {"tiny": writes, "judge": judge}, order)
    assert world.events_of(OrderClosed)
    assert {event.check for event in world.events_of(ContentAttested)} == {"look", "gate"}


@pytest.mark.parametrize("name", ["docs-merge", "fact-sheet", "reviewed-merge"])
def test_each_shipped_workflow_runs_to_its_end(tmp_path: Path, name: str) -> None:
    """With a model that answers each step so that its check passes; what the words are worth is not the question here."""
    from agentos.userland.documents.workflow import parse

    flow = parse((SHIPPED / f"{name}.yaml").read_bytes())
    files = {one.file: (SHIPPED / one.file).read_text() for one in flow.inputs if one.file}
    page = flow.step(flow.result).output

    def pick(request: Request) -> Line:
        if request.schema is not None:
            return Line(json={"verdict": "passed", "findings": []})
        notes = "note 1: Product\nnote 2: Price\nnote 3: Delivery\nnote 4: Service"
        return Line(say=notes if "For each note write one line" in words(request) else GOOD[name])

    wanted = flow.step(flow.result).expectation
    accept = (Document(name="page", path=page, headings=wanted.headings, contains=wanted.contains),)
    files[".agentos-workflow.yaml"] = (SHIPPED / f"{name}.yaml").read_text()
    world = conduct(tmp_path, pick, contract(accept=accept, scope=Scope(allowed=(page,))), files)
    assert world.events_of(OrderClosed), world.artifact("/report.md")
    assert world.result("refs/heads/WO-1")[page].strip() == GOOD[name].strip()
