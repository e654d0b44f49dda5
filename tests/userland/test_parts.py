"""What programs are made of: cutting up orders, reading models' answers, knowing who may judge, naming what is offered."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentos.abi.handoff import FIELD_CHARS_MAX, HandOff, handoff
from agentos.abi.inference import Message, Text, ToolCall, ToolResult
from agentos.abi.work import Scope
from agentos.drivers.tool_files import EditFile, ListFiles, ReadFile, SearchFiles, WriteFile
from agentos.drivers.tool_shell import Shell
from agentos.sdk.worker import load
from agentos.userland.agents import asking, brief, judges, planner, programs, toolbox, worker_coder, worker_tools
from agentos.userland.documents import agent

# ---- orders ----------------------------------------------------------------------------------------------------------


def test_an_orders_text_is_cut_at_its_headings() -> None:
    got = brief.read("# Goal\ng\n\n# Success criteria\ns\n\n# Constraints\nc\n\n# Background\nb\n")
    assert got == brief.Brief("g", "s", "c", "Background\nb")


def test_a_text_without_headings_is_the_goal_and_front_matter_is_not() -> None:
    assert brief.read("Fix the parser.\nPlease.") == brief.Brief("Fix the parser.\nPlease.")
    assert brief.read("---\ntitle: x\n---\nFix it.") == brief.Brief("Fix it.")


def test_the_telling_lines_of_an_output_are_kept_from_its_end() -> None:
    log = "\n".join([f"noise {n}" for n in range(500)] + ["E   assert 1 == 2", "calc.py:3: AssertionError", "noise"])
    assert brief.excerpt(log) == "E   assert 1 == 2\ncalc.py:3: AssertionError"
    assert brief.excerpt("first\nlast") == "first\nlast"
    assert len(brief.excerpt("E   " + "x\nE   " * 10_000)) <= brief.OUTPUT_CHARS_MAX


# ---- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("```python\na\n```", ["a\n"]),
        ("Sure:\n```\na\n```\nand\n~~~py\nb\n~~~\n", ["a\n", "b\n"]),
        ("````md\n```\ninner\n```\n````", ["```\ninner\n```\n"]),
        ("```markdown\n# A\n```sh\nls\n```\nend\n```\n", ["# A\n```sh\nls\n```\nend\n"]),
        ("```md\n# A\n```\nor\n```md\n# B\n```", ["# A\n", "# B\n"]),
        ("```python\nnever closed", ["never closed"]),
        ("none", []),
        ("", []),
    ],
)
def test_fenced_blocks_are_taken_out_of_prose(text: str, blocks: list[str]) -> None:
    assert asking.fenced(text) == blocks


SCHEMA = {
    "type": "object",
    "properties": {"verdict": {"enum": ["a", "b"]}, "why": {"type": "array"}},
    "required": ["verdict", "why"],
}


def test_a_decision_is_read_out_of_prose_where_a_backend_has_no_grammar() -> None:
    assert asking.fitting('Well: {"verdict": "a", "why": []} I think.', SCHEMA) == {"verdict": "a", "why": []}


@pytest.mark.parametrize(
    "text",
    ["", "no", "[1]", '{"verdict": "c", "why": []}', '{"verdict": "a"}', '{"verdict": "a", "why": [1]}', "{" * 5_000],
)
def test_what_is_no_decision_is_said_to_be_none(text: str) -> None:
    with pytest.raises(asking.Garbled):
        asking.fitting(text, SCHEMA)


@given(st.text(max_size=400), st.text(max_size=200))
def test_whatever_a_model_says_is_taken_or_refused_with_a_reason(text: str, original: str) -> None:
    for path in ("a.py", "a.md"):
        content, wrong = worker_coder.taken(text, path, original)
        assert bool(content) != bool(wrong)


def test_names_that_were_public_stay() -> None:
    assert worker_coder.fault("x = 1\n", "a.py", "def f(): pass\nclass G: pass\n_h = 2\n") == (
        "these names are gone, and must stay: f, G"
    )
    assert worker_coder.fault("def f(): ...\n", "a.py", "def f(\n") == "", "a file that did not parse had none"
    assert worker_coder.public_names("a: int = 1\nb, c = 1, 2\nasync def d(): pass\n") == ("a", "d")


def test_of_several_blocks_the_first_sound_one_is_taken() -> None:
    said = "Before:\n```python\ndef f(\n```\nAfter:\n```python\ndef f(): return 1\n```"
    assert worker_coder.taken(said, "a.py", "def f(): return 0\n") == ("def f(): return 1\n", "")


# ---- plans -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("1. src/a.py: mend it, and the test passes\n2) `src/b.py`: add it", ""),
        ("BLOCKED: the file is not in the scope", ""),
        ("I would start with the parser.", "no line has the form"),
        ("1. tests/a.py: loosen it", "may not be changed: tests/a.py"),
        ("1. ../x.py: y", "may not be changed"),
        ("".join(f"{n}. src/{n}.py: x\n" for n in range(1, 8)), "it has 7 steps"),
    ],
)
def test_a_plan_is_checked_before_anybody_follows_it(text: str, wrong: str) -> None:
    _, said = planner.checked(text, Scope(allowed=("src/**",), protected=("tests/**",)))
    assert (wrong in said) if wrong else said == ""


# ---- judges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "million"),
    [
        ("qwen2.5-coder-1.5b-instruct-q4_k_m", 1_500),
        ("Qwen/Qwen2.5-Coder-0.5B-Instruct", 500),
        ("SmolLM2-135M-Instruct", 135),
        ("qwen3:30b-a3b", 30_000),
        ("claude-opus-5-5", 0),
        ("gpt-5.5", 0),
        ("scripted-1", 0),
    ],
)
def test_a_models_name_tells_its_size_or_nothing(model: str, million: int) -> None:
    assert judges.size_million(model) == million


def test_kinship_is_assumed_where_nobody_can_tell() -> None:
    assert not judges.is_kin("claude-opus", ("qwen3-30b",))
    assert judges.is_kin("claude-opus", ("claude-haiku",))
    assert judges.is_kin("claude-opus", ("claude-haiku", "qwen3"))
    assert judges.is_kin("unheard-of", ("qwen3",))
    assert judges.is_kin("claude-opus", ("unheard-of",))
    assert judges.is_kin("claude-opus", ())


# ---- hand-offs -------------------------------------------------------------------------------------------------------


@given(st.text(), st.text())
def test_a_hand_off_is_within_the_schema_that_is_published_whatever_goes_in(a: str, b: str) -> None:
    left = handoff(attempted=a, failed=b * 100)
    assert len(left.failed) <= FIELD_CHARS_MAX
    assert msgspec.json.decode(msgspec.json.encode(left), type=HandOff) == left


def test_the_hand_offs_schema_says_what_the_record_says() -> None:
    folder = Path(__file__).resolve().parents[2] / "src/agentos/userland/documents/schemas"
    schema = json.loads((folder / "handoff.schema.json").read_text())
    assert list(schema["properties"]) == list(HandOff.__struct_fields__)
    assert schema["additionalProperties"] is False


def test_a_models_own_hand_off_is_read_from_its_labels() -> None:
    said = worker_tools.labelled("Done.\n- **ATTEMPTED:** the sign\nNEXT: look at tax.py\nnote: x\nFAILED:")
    assert said == {"ATTEMPTED": "the sign", "NEXT": "look at tax.py"}


# ---- tools -----------------------------------------------------------------------------------------------------------


def test_what_a_model_is_told_of_a_tool_is_what_the_tool_takes() -> None:
    manifests = [one.manifest for one in (ReadFile, WriteFile, EditFile, ListFiles, SearchFiles, Shell)]
    assert {one.name for one in manifests} == set(toolbox.MACHINE)
    for manifest in manifests:
        shown = toolbox.MACHINE[manifest.name].schema
        assert set(shown["properties"]) == set(manifest.schema["properties"]), manifest.name  # type: ignore[call-overload]
        assert shown["required"] == manifest.schema.get("required", []), manifest.name


def test_a_result_is_cut_in_its_middle_and_says_so() -> None:
    cut = toolbox.cut("a" * 10_000_000 + "end")
    assert len(cut) <= toolbox.RESULT_CHARS_MAX
    assert "characters left out" in cut
    assert cut.endswith("end")


def test_a_long_conversation_loses_its_oldest_results_and_never_its_prompt_or_its_last() -> None:
    turn = [
        Message("assistant", (ToolCall("1", "read_file", "{}"),)),
        Message("tool", (ToolResult("1", "x" * 90_000),)),
    ]
    kept = worker_tools.trimmed([Message("user", (Text("prompt"),)), *turn * 4])
    assert kept[0] == Message("user", (Text("prompt"),))
    assert [len(message.content[0].content) for message in kept if message.role == "tool"] == [48, 48, 90_000, 90_000]  # type: ignore[union-attr]


# ---- programs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", programs.BUILTIN)
def test_every_program_that_ships_can_be_loaded(name: str) -> None:
    assert callable(load(programs.BUILTIN[name]))


def test_every_program_an_agents_file_can_name_ships() -> None:
    assert set(agent.PROGRAMS) <= set(programs.BUILTIN)


@pytest.mark.parametrize("name", agent.builtin_names())
def test_every_agent_that_ships_resolves_to_a_program_that_ships(name: str) -> None:
    program, args = programs.resolve(agent.builtin(name))
    assert program in programs.BUILTIN
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(args)), type(args)) == args, "it survives the wire"


def test_programs_of_others_are_named_by_module_or_command() -> None:
    made = agent.parse("---\nname: a\nrole: worker\nprogram: python:pkg.mod:main\n---\n")
    assert programs.resolve(made)[0] == "python:pkg.mod:main"
    made = agent.parse('---\nname: a\nrole: worker\nprogram: {command: [a, "b c"]}\n---\n')
    assert programs.resolve(made)[0] == 'command:["a","b c"]'
    assert not programs.is_ours('command:["a"]')
