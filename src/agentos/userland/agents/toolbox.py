"""What a model is offered: the machine's tools it is granted, and the system calls an agent may make, as tools.

Rule 1: a tool that is not granted is not offered; offering it anyway would change nothing, the kernel refuses.
Rule 2: arguments are what a model wrote: what does not fit is answered as an error of the tool, never raised.
Rule 3: a result is bounded here once more, whatever the tool did.
"""

from typing import Any

import msgspec

from agentos.abi.inference import Tool
from agentos.abi.rights import Right
from agentos.userland.agents.task import Holdings

RESULT_CHARS_MAX = 32_000  # as the tools have it: about 8,000 tokens, an eighth of a small context
_TEXT: dict[str, Any] = {"type": "string"}


def _tool(name: str, description: str, required: dict[str, Any], **optional: Any) -> Tool:
    schema = {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }
    return Tool(name, description, schema)


MACHINE = {
    tool.name: tool
    for tool in (
        _tool(
            "read_file",
            "Read a text file. A long one comes in pages; the last line says how to read on.",
            {"path": _TEXT},
            first_line={"type": "integer"},
            lines_max={"type": "integer"},
        ),
        _tool("write_file", "Create a file, or replace all of its content.", {"path": _TEXT, "content": _TEXT}),
        _tool(
            "edit_file",
            "Replace one piece of text. `old` must be in the file exactly once, character by character.",
            {"path": _TEXT, "old": _TEXT, "new": _TEXT},
        ),
        _tool("list_files", "List the files below a folder; default the root.", {}, path=_TEXT),
        _tool(
            "search_files",
            "Search text files line by line with a Python regular expression.",
            {"pattern": _TEXT},
            path=_TEXT,
            is_literal={"type": "boolean"},
            ignore_case={"type": "boolean"},
        ),
        _tool(
            "shell",
            "Run a command line with /bin/sh in the working copy. There is no network.",
            {"command": _TEXT},
            timeout_s={"type": "integer"},
        ),
    )
}

CALLS = {
    tool.name: tool
    for tool in (
        _tool("present", "Have the checks run on the files as they are now. Answers with the verdict.", {}),
        _tool("note", "Tell people in one line how it goes.", {"text": _TEXT}),
        _tool(
            "ask",
            "Ask a person and wait for the answer. Only for what no file and no check can tell.",
            {"question": _TEXT},
            choices={"type": "array", "items": _TEXT},
        ),
        _tool(
            "spawn_agent",
            "Give a smaller task to another agent and wait for what it says.",
            {"agent": _TEXT, "task": _TEXT},
        ),
        _tool("send", "Send a message to another process.", {"to": _TEXT, "kind": _TEXT, "body": _TEXT}),
    )
}
CHANGING = ("write_file", "edit_file")  # a turn with one of these that succeeds has changed the working copy


def offered(holds: Holdings, wanted: tuple[str, ...], order: str) -> tuple[Tool, ...]:
    """The machine's tools that are granted and wanted, and the calls that can succeed at all."""
    names = (
        holds.names(Right.TOOL) if not wanted else tuple(name for name in wanted if holds.may(Right.TOOL, f"/{name}"))
    )
    machine = [MACHINE.get(name) or Tool(name, f"The tool {name}.", {"type": "object"}) for name in names]
    calls = [CALLS["note"], CALLS["ask"], CALLS["send"]]
    if holds.may(Right.PRESENT, f"/{order}"):
        calls.insert(0, CALLS["present"])
    if holds.may(Right.SPAWN, "/worker"):
        calls.append(CALLS["spawn_agent"])
    return (*machine, *calls)


def arguments(written: str, tool: Tool) -> tuple[dict[str, Any], str]:
    """The arguments a model wrote, or what is wrong with them."""
    try:
        got = msgspec.json.decode(written.encode("utf-8", "replace") or b"{}")
    except (msgspec.DecodeError, RecursionError) as error:
        return {}, f"the arguments of {tool.name} are no JSON: {error}; write one JSON object"
    if not isinstance(got, dict):
        return {}, f"the arguments of {tool.name} are no JSON object"
    properties: dict[str, Any] = tool.schema.get("properties", {})  # type: ignore[assignment]
    required: list[str] = tool.schema.get("required", [])  # type: ignore[assignment]
    missing = [name for name in required if name not in got]
    if missing:
        return {}, f"{tool.name} needs {', '.join(missing)}"
    strange = [name for name in got if name not in properties and properties]
    if strange:
        return {}, f"{tool.name} has no argument {', '.join(strange)}; it has {', '.join(properties)}"
    wrong = [name for name, value in got.items() if name in properties and not _is(value, properties[name]["type"])]
    return (got, "") if not wrong else ({}, f"{tool.name}: {wrong[0]} must be of type {properties[wrong[0]]['type']}")


def _is(value: object, kind: str) -> bool:
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, {"string": str, "boolean": bool, "array": list, "object": dict}[kind])


def cut(text: str, chars_max: int = RESULT_CHARS_MAX) -> str:
    """The text within a bound, with what is missing said in its middle."""
    if len(text) <= chars_max:
        return text
    half = (chars_max - 60) // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"
