"""The workflows that ship: they read, they fit the agents that ship, and their checks can pass and can fail."""

from pathlib import Path

import pytest

from agentos.userland.documents import agent, workflow
from agentos.userland.documents.expectation import complaints

FOLDER = Path(__file__).resolve().parents[3] / "src/agentos/userland/workflows"
NAMES = ("docs-merge", "fact-sheet", "reviewed-merge")
TEAMS = {
    "docs-merge": ["coordinator", "synthesiser", "writer"],
    "fact-sheet": ["router", "extractor", "writer"],
    "reviewed-merge": ["coordinator", "merger", "writer", "reviewer", "writer"],
}

GOOD = {
    "docs-merge": """## Who and when
Staff may work from home up to 3 days a week after their first 3 months, which are spent in the office. Core hours are
10:00 to 15:00; everyone can be reached then.

## Equipment
A company laptop is provided and is the only computer allowed. The company pays 25 euros a month for the internet.

## Security
Use the VPN at all times and turn on disk encryption. Report a lost laptop within 2 hours, extension 4400.

## Requests
Requests go to the team lead, who answers within 5 working days.
""",
    "fact-sheet": """## Product
The pump is called Tarn 200. It moves 180 litres a minute and runs on 24 volts.

## Price
The list price is 480 euros. Orders of 10 or more get 15% off.

## Delivery
First units ship on 12 May. Delivery takes 5 working days.

## Service
Warranty is 36 months. Change the filter every 6 months; a filter costs 19 euros.
""",
    "reviewed-merge": """## Period
You can return anything within 30 days of delivery. Keep the receipt.

## Refund
Unused goods in their box get a full refund within 7 days of arrival. Return shipping is free above 50 euros and costs
4.90 euros below.

## Exceptions
Gift cards and opened software cannot be returned.

## Contact
Send returns to Dock 4, Harbour Road 12. Questions go to returns@example.com.
""",
}

SPOILED = {  # what a careless run does: text, its spoiled form, what is said
    "docs-merge": ("3 days a week", "2 days a week", "it does not say: 3 days | three days"),
    "fact-sheet": ("## Service", "**Service**", "the heading 'Service' is missing"),
    "reviewed-merge": ("within 30 days", "within 30 days (14 days on the web)", "it must not say: 14 days"),
}


def shipped(name: str) -> workflow.Workflow:
    agents = {one: agent.builtin(one) for one in agent.builtin_names()}
    return workflow.parse((FOLDER / f"{name}.yaml").read_bytes(), f"{name}.yaml", agents=agents)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_workflow_reads_with_its_team_and_its_inputs(name: str) -> None:
    flow = shipped(name)
    assert flow.name == name
    assert [step.agent for step in flow.steps] == TEAMS[name]
    assert not [one.name for one in flow.inputs if one.is_required], "it runs as it ships"
    for one in flow.inputs:
        assert not one.file or (FOLDER / one.file).read_text(encoding="utf-8").strip()
    assert flow.limits.tokens_max
    assert flow.limits.spend_uusd


@pytest.mark.parametrize("name", NAMES)
def test_every_prompt_of_a_shipped_workflow_can_be_filled_and_is_small(name: str) -> None:
    flow = shipped(name)
    inputs = {one.name: one.text if one.text is not None else (FOLDER / one.file).read_text() for one in flow.inputs}
    outputs: dict[str, str] = {}
    while batch := workflow.ready(flow, outputs):
        for step in batch:
            values = {key: workflow.fill(text, inputs=inputs, outputs=outputs) for key, text in step.values.items()}
            prompt = agent.fill(agent.builtin(step.agent), values)
            assert "${{" not in prompt
            assert len(prompt) < 6000, "about 1,500 tokens; with the answer it fits a context of 4,096"
            outputs[step.id] = "x " * 300
    assert len(outputs) == len(flow.steps)


@pytest.mark.parametrize("name", NAMES)
def test_a_right_result_passes(name: str) -> None:
    flow = shipped(name)
    assert complaints(flow.step(flow.result).expectation, GOOD[name]) == ()


@pytest.mark.parametrize("name", NAMES)
def test_a_careless_result_fails_with_the_reason(name: str) -> None:
    flow = shipped(name)
    right, wrong, said = SPOILED[name]
    spoiled = GOOD[name].replace(right, wrong)
    assert spoiled != GOOD[name]
    assert said in complaints(flow.step(flow.result).expectation, spoiled)


@pytest.mark.parametrize("name", NAMES)
def test_no_check_passes_on_the_inputs_alone(name: str) -> None:
    flow = shipped(name)
    given = "\n".join((FOLDER / one.file).read_text() for one in flow.inputs if one.file)
    assert complaints(flow.step(flow.result).expectation, given), "copying the inputs is not doing the work"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fact", range(9))
def test_each_fact_is_asked_for_by_itself(name: str, fact: int) -> None:
    expectation = shipped(name).step(shipped(name).result).expectation
    if fact >= len(expectation.contains):
        return
    text = GOOD[name]
    for way in expectation.contains[fact].split(" | "):
        text = text.replace(way, "").replace(way.capitalize(), "")
    assert f"it does not say: {expectation.contains[fact]}" in complaints(expectation, text)
