"""Workflows: the graph, the references, and what a text must look like."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentos.userland.documents.agent import Agent, Limits
from agentos.userland.documents.expectation import Expectation, complaints
from agentos.userland.documents.fault import Malformed
from agentos.userland.documents.workflow import Input, Step, Workflow, file_name, fill, parse, ready

WHOLE = """
name: two-steps
inputs:
  page: {file: in/page.md, description: The page.}
  tone: {text: plain}
  must:
steps:
  - id: write
    agent: writer
    with:
      notes: ${{ steps.read.output }} in ${{inputs.tone}} tone
    output: out/text.md
    check: {headings: One, contains: [a | b], words: {at_most: 9}}
    attempts: 3
  - id: read
    agent: reader
    with: {page: "${{ inputs.page }} ${{ inputs.must }}"}
  - {id: last, agent: writer, needs: write, with: {notes: "7"}}
limits: {turns: 5, usd: 0.1}
"""


def test_a_workflow_says_what_its_author_wrote() -> None:
    expectation = Expectation(headings=("One",), contains=("a | b",), words_max=9)
    values = {"notes": "${{ steps.read.output }} in ${{inputs.tone}} tone"}
    assert parse(WHOLE) == Workflow(
        name="two-steps",
        inputs=(
            Input(name="page", file="in/page.md", description="The page."),
            Input(name="tone", text="plain"),
            Input(name="must"),
        ),
        steps=(
            Step(id="write", agent="writer", needs=("read",), values=values, output="out/text.md",
                 expectation=expectation, attempts=3),
            Step(id="read", agent="reader", values={"page": "${{ inputs.page }} ${{ inputs.must }}"}),
            Step(id="last", agent="writer", needs=("write",), values={"notes": "7"}),
        ),
        result="last",
        limits=Limits(turns_max=5, spend_uusd=100_000),
    )  # fmt: skip
    assert [one.is_required for one in parse(WHOLE).inputs] == [False, False, True]
    assert [file_name(step) for step in parse(WHOLE).steps] == ["out/text.md", "read.txt", "last.txt"]


def test_json_says_the_same_as_yaml() -> None:
    steps = [{"id": "a", "agent": "x"}, {"id": "b", "agent": "x", "needs": ["a"]}]
    text = json.dumps({"name": "w", "steps": steps}, indent="\t")
    assert parse(text) == parse("name: w\nsteps:\n  - {id: a, agent: x}\n  - {id: b, agent: x, needs: [a]}\n")


def test_steps_become_ready_as_their_needs_are_done() -> None:
    workflow = parse(WHOLE)
    assert [step.id for step in ready(workflow, ())] == ["read"]
    assert ready(workflow, (), started=("read",)) == ()
    assert [step.id for step in ready(workflow, ("read",))] == ["write"]
    assert ready(workflow, ("read", "write", "last")) == ()


def test_references_are_filled_in_one_pass() -> None:
    text = fill("${{ inputs.a }}+${{steps.b.output}}", inputs={"a": "${{ steps.b.output }}"}, outputs={"b": "x"})
    assert text == "${{ steps.b.output }}+x"
    with pytest.raises(KeyError):
        fill("${{ steps.b.output }}", inputs={}, outputs={})


def steps(*lines: str) -> str:
    return "name: w\nsteps:\n" + "".join(f"  - {line}\n" for line in lines)


MALFORMED = [
    (
        steps("{id: a, agent: x, needs: b}", "{id: b, agent: x, needs: [c]}", "{id: c, agent: x, needs: [a]}"),
        "w.yaml:3: field 'steps': a cycle: a -> b -> c -> a; no step of it can start",
    ),
    (
        steps("{id: a, agent: x, needs: a}"),
        "w.yaml:3: field 'steps': a cycle: a -> a; no step of it can start",
    ),
    (
        steps(
            "{id: a, agent: x, with: {t: '${{ steps.b.output }}'}}",
            "{id: b, agent: x, with: {t: '${{ steps.a.output }}'}}",
        ),
        "w.yaml:3: field 'steps': a cycle: a -> b -> a; no step of it can start",
    ),
    (
        steps("{id: plan, agent: x}", "{id: b, agent: x, needs: [plam]}"),
        (
            "w.yaml:3: field 'steps': step 'plan' leads nowhere: 'b' is the result and does not need it\n"
            "w.yaml:4: field 'steps[2].needs': no such step as 'plam'; did you mean 'plan'?"
        ),
    ),
    (
        steps("{id: a, agent: x, with: {t: '${{ inputs.pgae }}'}}") + "inputs: {page: }\n",
        "w.yaml:3: field 'steps[1].with.t': no such value as 'inputs.pgae'; did you mean 'inputs.page'?",
    ),
    (
        steps("{id: a, agent: x, with: {t: '${{ env.HOME }}'}}"),
        "w.yaml:3: field 'steps[1].with.t': 'env.HOME', which is neither inputs.NAME nor steps.ID.output",
    ),
    (
        steps("{id: a, agent: x, with: {t: '${{ inputs.a'}}"),
        "w.yaml:3: field 'steps[1].with.t': a '${{' that no '}}' closes",
    ),
    (
        steps("{id: a, agent: x}", "{id: a, agent: y}"),
        "w.yaml:4: field 'steps[2].id': 'a', which the step on line 3 has",
    ),
    (
        steps("{id: a, agent: x}", "{id: b, agent: x}"),
        "w.yaml:3: field 'steps': step 'a' leads nowhere: 'b' is the result and does not need it",
    ),
    (steps("{id: a, agent: x}") + "result: b\n", "w.yaml:4: field 'result': no such step as 'b'"),
    (
        "name: w\n",
        "w.yaml:1: field 'steps': expected a list, each item a mapping with id, agent, needs, with, found nothing",
    ),
    ("name: w\nsteps: []\n", "w.yaml:2: field 'steps': expected 1 to 64 items, found 0 items"),
    ("", "w.yaml:1: expected a mapping with name, description, inputs, steps, found nothing"),
    ("[1]", "w.yaml:1: expected a mapping with name, description, inputs, steps, found a list"),
    (
        steps("{id: a, agent: x, output: ../../etc/cron.d/x}"),
        "w.yaml:3: field 'steps[1].output': expected a relative path, found the text '../../etc/cron.d/x'",
    ),
    (
        steps("{id: a, agent: x, check: {words: {at_least: 5, at_most: 4}}}"),
        "w.yaml:3: field 'steps[1].check': at_least 5 above at_most 4: nothing can pass",
    ),
    (
        steps("{id: a, agent: x, check: {contains: A  b, excludes: a b}}"),
        "w.yaml:3: field 'steps[1].check': 'a b' in contains and in excludes: nothing can pass",
    ),
    (
        steps("{id: a, agent: x, check: {contains: ['x | **']}}"),
        "w.yaml:3: field 'steps[1].check.contains': expected words, found 'x | **', which any text holds",
    ),
    (
        steps("{id: a, agent: x, check: {contain: [x]}}"),
        "w.yaml:3: field 'steps[1].check.contain': no such field; did you mean 'contains'?",
    ),
    (
        steps(*[f"{{id: s{n}, agent: x}}" for n in range(65)]) + "result: s0\n",
        "w.yaml:3: field 'steps': expected 1 to 64 items, found 65 items",
    ),
]


@pytest.mark.parametrize(("text", "said"), MALFORMED)
def test_a_malformed_workflow_is_refused_with_line_and_reason(text: str, said: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(text, "w.yaml")
    assert said in str(caught.value)
    if "65 items" not in said:
        assert str(caught.value) == said


def test_a_step_gives_its_agent_exactly_what_the_prompt_asks_for() -> None:
    agents = {"writer": Agent(name="writer", role="worker", prompt="{{task}} {{notes}}", inputs=("task", "notes"))}
    text = steps("{id: a, agent: writer, with: {task: x, noets: y}}", "{id: b, agent: writr, needs: a}")
    with pytest.raises(Malformed) as caught:
        parse(text, "w.yaml", agents=agents)
    assert str(caught.value).split("\n") == [
        "w.yaml:3: field 'steps[1].with.noets': no such input of agent 'writer'; did you mean 'notes'?",
        "w.yaml:3: field 'steps[1].with.notes': expected a text, which agent 'writer' asks for, found nothing",
        "w.yaml:4: field 'steps[2].agent': no such agent as 'writr'; did you mean 'writer'?",
    ]


@given(st.lists(st.lists(st.integers(0, 7), max_size=4), min_size=1, max_size=8))
def test_a_workflow_is_accepted_exactly_when_every_step_can_run(graph: list[list[int]]) -> None:
    needs = [sorted({need for need in wanted if need < len(graph)}) for wanted in graph]
    lines = [
        f"{{id: s{n}, agent: x, needs: [{', '.join(f's{need}' for need in wanted)}]}}" for n, wanted in enumerate(needs)
    ]
    done: list[int] = []
    while more := [n for n, wanted in enumerate(needs) if n not in done and set(wanted) <= set(done)]:
        done += more
    try:
        workflow = parse(steps(*lines))
    except Malformed as error:
        assert len(done) < len(graph) or "leads nowhere" in str(error)
        assert ("a cycle" in str(error)) == (len(done) < len(graph))
        return
    assert len(done) == len(graph)
    ran: list[str] = []
    while batch := ready(workflow, ran):
        ran += [step.id for step in batch]
    assert len(ran) == len(graph)


@pytest.mark.parametrize(
    ("expectation", "text", "said"),
    [
        (Expectation(), " \n", ["the text is empty"]),
        (Expectation(), "x", []),
        (Expectation(headings=("Price", "Who & when")), "# **Price**:\n## Who & when ##\n", []),
        (Expectation(headings=("Price",)), "Price\n", ["the heading 'Price' is missing"]),
        (Expectation(headings=("Price",)), "```\n# Price\n```\n", ["the heading 'Price' is missing"]),
        (Expectation(headings=("A", "B")), "# B\n# A\n", ["the headings are not in the order A, B"]),
        (Expectation(contains=("30 days | thirty days",)), "within **Thirty\n days**.", []),
        (Expectation(contains=("30 days",)), "within 130 days", ["it does not say: 30 days"]),
        (Expectation(contains=("4.90",)), "14.90 and 4.901", ["it does not say: 4.90"]),
        (Expectation(contains=("4.90",)), "It costs 4.90.", []),
        (Expectation(contains=("1-2",)), "1\u20132 days", []),
        (Expectation(excludes=("14 days",)), "14 Days", ["it must not say: 14 days"]),
        (Expectation(starts="VERDICT: passed | VERDICT: failed"), "verdict: failed\nx", []),
        (Expectation(starts="VERDICT: passed"), "Well. VERDICT: passed", ["the first line must begin with: VERDICT: passed"]),
        (Expectation(words_min=3, words_max=4), "a b", ["it has 2 words; write at least 3"]),
        (Expectation(words_min=3, words_max=4), "a b c d e", ["it has 5 words; write at most 4"]),
        (Expectation(fields={"a": "text", "n": "number"}), 'So:\n```json\n{"a": "x", "n": 1.5}\n```', []),
        (Expectation(fields={"a": "text"}), "no", ["it is no JSON object with the fields a"]),
        (Expectation(fields={"a": "text", "n": "number", "l": "list"}), '{"n": true, "l": []}',
         ["the field 'a' is missing", "the field 'n' is no number", "the field 'l' is empty"]),
    ],
)  # fmt: skip
def test_a_text_is_judged_by_what_it_holds(expectation: Expectation, text: str, said: list[str]) -> None:
    assert list(complaints(expectation, text)) == said
