"""The published JSON Schemas: fresh, valid, and of one mind with the readers."""

import copy
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agentos.userland.documents import agent, order, skill, source, workflow
from agentos.userland.documents.fault import Faults, Malformed
from agentos.userland.documents.shape import Record, read
from tests.userland.documents import test_agent, test_order, test_skill, test_workflow

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "src/agentos/userland/documents/schemas"
SHAPES: dict[str, Record] = {
    "order": order.ORDER,
    "agent": agent.AGENT,
    "workflow": workflow.WORKFLOW,
    "skill": skill.SKILL,
}
PARSERS = {"order": order.parse, "agent": agent.parse, "workflow": workflow.parse, "skill": skill.parse}


def _pattern(_: Any, pattern: str, instance: object, __: Any) -> Iterator[jsonschema.ValidationError]:
    """As JSON Schema says it: `$` is the end. The library asks Python, for whom a line feed may follow."""
    if isinstance(instance, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


Draft = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": _pattern})


def validator(name: str) -> Any:
    schema = json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return Draft(schema)


VALIDATORS = {name: validator(name) for name in SHAPES}

# What the reader refuses and no JSON Schema can: seven decimals of a number, which a float has lost by then.
BEYOND = {"---\ntitle: x\nbudget: {usd: 0.0000001}\n---\n# Goal\ng\n"}


def corpus() -> Iterator[tuple[str, str]]:
    yield "order", test_order.WHOLE
    yield from (("order", text) for text, _ in test_order.MALFORMED.values())
    yield from (("order", case.read_text(encoding="utf-8")) for case in sorted(test_order.CASES.glob("*.md")))
    yield "agent", test_agent.WHOLE
    yield from (("agent", path.read_text()) for path in sorted((ROOT / "src/agentos/userland/agents").glob("*.md")))
    yield "workflow", test_workflow.WHOLE
    for path in sorted((ROOT / "src/agentos/userland/workflows").glob("*.yaml")):
        yield "workflow", path.read_text()
    yield from (("workflow", text) for text, _ in test_workflow.MALFORMED)
    yield from (("skill", text) for text in [*test_skill.GOOD, *test_skill.BAD])


def front(name: str, text: str) -> source.Node | None:
    """The front matter, or None where the text itself is at fault and there is nothing to compare."""
    faults = Faults("f")
    try:
        node = source.plain(text, faults) if name == "workflow" else source.markdown(text, faults).front
    except Malformed:
        return None
    return None if faults.items else node


def is_accepted(name: str, node: source.Node) -> bool:
    faults = Faults("f")
    read(SHAPES[name], node, "", faults)
    return not faults.items


@pytest.mark.parametrize(("name", "text"), list(corpus()))
def test_reader_and_schema_agree_on_every_file_of_the_corpus(name: str, text: str) -> None:
    node = front(name, text)
    if node is None:
        with pytest.raises(Malformed):
            PARSERS[name](text)
        return
    expected = text in BEYOND or is_accepted(name, node)
    assert VALIDATORS[name].is_valid(source.value(node)) == expected
    try:
        PARSERS[name](text)
    except Malformed:
        return
    assert expected, "what is read also validates"


def _paths(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _paths(inner, (*path, key))


SEEDS = [
    (name, source.value(node))
    for name, text in [
        ("order", test_order.WHOLE),
        ("agent", test_agent.WHOLE),
        ("workflow", test_workflow.WHOLE),
        ("skill", test_skill.GOOD[9]),
    ]
    if (node := front(name, text))
]
ODD = [None, True, 0, -1, 1.5, 2.0, 10**6, 10**15, "", " ", "a", "A b", "../x", "/x", "!x", "$2", "2.0000001", "user:a", [],
       [None], ["a"], [["a"]], {}, {"a": 1}, {"command": ["a"]}, {"review": None}, "x" * 300, "a\n"]  # fmt: skip


@settings(max_examples=300)
@given(st.data())
def test_reader_and_schema_agree_on_mutated_files(data: st.DataObject) -> None:
    name, seed = data.draw(st.sampled_from(SEEDS))
    value: Any = copy.deepcopy(seed)
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from([path for path in _paths(value) if path]))
        parent = value
        for part in path[:-1]:
            parent = parent[part]
        match data.draw(st.sampled_from(["put", "drop", "rename"])):
            case "put":
                parent[path[-1]] = copy.deepcopy(data.draw(st.sampled_from(ODD)))
            case "drop":
                del parent[path[-1]]
            case "rename" if isinstance(parent, dict):
                parent[data.draw(st.sampled_from(["name", "x", "review", "A", "usd"]))] = parent.pop(path[-1])
    text = yaml.safe_dump(value, allow_unicode=True, sort_keys=False)
    faults = Faults("f")
    node = source.plain(text, faults)
    if faults.items or source.value(node) != value:
        return  # the writer wrote a YAML 1.1 word that we read as JSON has it: another value, compared elsewhere
    assert VALIDATORS[name].is_valid(value) == is_accepted(name, node), text


def test_the_published_schemas_are_fresh() -> None:
    script = [sys.executable, str(ROOT / "scripts/schemas"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", SHAPES)
def test_every_field_of_a_schema_is_explained(name: str) -> None:
    properties = VALIDATORS[name].schema["properties"]
    assert all(field["description"] for field in properties.values())
