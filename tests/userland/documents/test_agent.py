"""Agents: front matter, placeholders, and the ones that ship."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentos.userland.documents.agent import (
    PROGRAMS,
    ROLES,
    SUPPLIED,
    Agent,
    Limits,
    Program,
    builtin,
    builtin_names,
    fill,
    parse,
)
from agentos.userland.documents.fault import Malformed

WHOLE = """---
name: finder
role: scout
description: Finds things.
model: qwen2.5:1.5b
program: {command: [finder, --json]}
inputs: [topic]
tools: [read_file, mcp:search/web]
limits: {turns: 3, tokens: 1000, usd: $0.10, minutes: 2}
skills: [pdf-reading]
---

Find {{topic}} for {{goal}}. Write \\{{braces}} and {"a": {"b": 1}} as they are.
"""


def test_an_agent_says_what_its_author_wrote() -> None:
    agent = parse(WHOLE)
    assert agent == Agent(
        name="finder",
        role="scout",
        prompt='Find {{topic}} for {{goal}}. Write \\{{braces}} and {"a": {"b": 1}} as they are.',
        description="Finds things.",
        model="qwen2.5:1.5b",
        program=Program(kind="command", argv=("finder", "--json")),
        inputs=("topic",),
        tools=("read_file", "mcp:search/web"),
        limits=Limits(turns_max=3, tokens_max=1000, spend_uusd=100_000, minutes_max=2),
        skills=("pdf-reading",),
    )
    assert agent.placeholders == ("topic", "goal")
    assert not agent.is_class
    assert parse("---\nname: a\nrole: worker\nprogram: python:pkg.mod:main\n---\n").program == Program(
        kind="python", name="pkg.mod:main"
    )


def test_filling_is_one_pass_so_content_cannot_ask_for_content() -> None:
    agent = parse(WHOLE)
    filled = fill(agent, {"topic": "{{goal}}", "goal": "\\{{topic}}", "unused": "x"})
    assert filled == 'Find {{goal}} for \\{{topic}}. Write {{braces}} and {"a": {"b": 1}} as they are.'


@given(st.text(max_size=50), st.text(max_size=50))
def test_whatever_is_filled_in_arrives_unchanged(topic: str, goal: str) -> None:
    agent = Agent(name="a", role="worker", prompt="<{{topic}}|{{goal}}>", inputs=("topic",))
    assert fill(agent, {"topic": topic, "goal": goal}) == f"<{topic}|{goal}>"


def test_a_missing_value_stops_the_prompt() -> None:
    with pytest.raises(ValueError, match="agent 'finder' needs a value for topic, goal; give one, empty if need be"):
        fill(parse(WHOLE), {})


@pytest.mark.parametrize(
    ("lines", "body", "said"),
    [
        ("", "{{gaol}}", "agent.md:5: field '{{gaol}}': no such placeholder; did you mean 'goal'?"),
        ("", "x\n{{ goal }}", "agent.md:6: field '{{ goal }}': no such placeholder; did you mean 'goal'?"),
        ("", "{{goal", "agent.md:5: a '{{' that no '}}' closes; write \\{{ for plain braces"),
        ("inputs: [topic]\n", "x", "agent.md:4: field 'inputs.topic': an input that the prompt never uses; write {{topic}}"),
        ("", "", "agent.md:5: expected a prompt below the front matter, found nothing"),
        (
            "program: anwser\n",
            "x",
            ("agent.md:4: field 'program': expected answer, file-writer, tool-loop, verdict, evaluator, planner, python:MODULE:FUNCTION or a "
            "command, found 'anwser'; did you mean 'answer'?"),
        ),
        (
            "program: python:os.system\n",
            "x",
            ("agent.md:4: field 'program': expected a built-in program or python:MODULE:FUNCTION, "
            "found the text 'python:os.system'"),
        ),
        ("tool: [a]\n", "x", "agent.md:4: field 'tool': no such field; did you mean 'tools'?"),
        (
            "limits: {turns: 0}\n",
            "x",
            "agent.md:4: field 'limits.turns': expected a whole number from 1 to 1000, found the number 0",
        ),
        ("", "y" * 20_001, ("agent.md:5: expected at most 20000 characters of prompt (limit documents.prompt_chars_max), "
         "found 20001 characters")),
    ],
)  # fmt: skip
def test_a_malformed_agent_is_refused_with_line_and_reason(lines: str, body: str, said: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(f"---\nname: a\nrole: worker\n{lines}---\n{body}")
    assert str(caught.value) == said


@pytest.mark.parametrize("name", builtin_names())
def test_a_shipped_agent_reads_and_is_short_enough_for_a_small_model(name: str) -> None:
    agent = builtin(name)
    assert agent.name == name, "the file's name is the agent's"
    assert agent.role in ROLES
    assert agent.program.kind == "builtin"
    assert agent.program.name in PROGRAMS
    assert agent.description
    assert agent.limits.turns_max
    assert agent.limits.tokens_max, "no agent ships without a limit"
    assert len(agent.prompt.split()) <= 200, "about 300 tokens: the prefill of a small model on two cores is 5 s"
    assert agent.is_class, "a shipped agent names no vendor's model"
    assert set(agent.placeholders) <= set(agent.inputs) | set(SUPPLIED)


def test_every_role_of_the_work_graph_ships() -> None:
    assert {builtin(name).role for name in builtin_names()} == set(ROLES)


def test_an_unknown_agent_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(Malformed, match=r"expected one of .*, found a name like 'reviewer'"):
        builtin("reviwer")
    with pytest.raises(Malformed):
        builtin("../agents/worker")
