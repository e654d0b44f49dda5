"""An agent as a file: what it may use and cost in the front matter, its prompt in the body.

    ---
    name: writer
    role: worker
    model: tiny
    program: answer
    inputs: [task, notes]
    ---
    Write {{task}} using only these notes:
    {{notes}}

Rule 1: a placeholder is filled or the prompt is not sent: an unknown one is a fault when read, a missing value one when
filled. Text that was filled in is never searched for placeholders again, so content cannot ask for more content.
Rule 2: `\\{{` writes two braces that are no placeholder.
Rule 3: a file grants nothing; tools and limits are requests that the order's contract cuts down.
"""

import re
from collections.abc import Mapping
from importlib import resources
from typing import Final

import msgspec

from agentos.userland.documents import source
from agentos.userland.documents.fault import Faults, fail, nearest
from agentos.userland.documents.shape import WORD, Either, Field, ListOf, Record, Text, Usd, Whole, read

ROLES: Final = ("planner", "worker", "evaluator", "reviewer", "gatekeeper")  # others are welcome, these have checks
CLASSES: Final = ("tiny", "coder", "frontier", "judge")  # model classes; any other word names one model
PROMPT_CHARS_MAX: Final = 20_000  # about 5,000 tokens: what a small model can still follow beside its material

SUPPLIED: Final = {  # what a work order gives to every agent that asks, by placeholder name
    "goal": "the order's goal",
    "success_criteria": "the order's success criteria",
    "constraints": "the order's constraints",
    "context": "the other sections of the order",
    "scope": "the paths that may, may not and must not be changed",
    "checks": "the acceptance checks, one per line",
    "findings": "what the checks said of the last attempt",
    "attempt": "number of this attempt, from 1",
    "path": "the one file to write",
    "files": "the files that matter, each under its path",
    "tree": "the paths in the repository",
    "plan": "the planner's plan",
    "change": "the change under review, as a unified diff",
    "evidence": "what the kernel's own checks found",
    "tools": "the tools it may call, one per line",
}

PROGRAMS: Final = {  # built-in programs an agent file may name
    "answer": "one request; the words of the answer are the output",
    "file-writer": "one request per file; the fenced block of the answer becomes the file",
    "tool-loop": "requests and tool calls in turn until the model stops calling",
    "verdict": "one request for a decision; the output starts with a verdict line",
    "evaluator": "one request for what was missed and what comes next; a hand-off",
    "planner": "one request for steps, which must name paths that may be changed",
}

_PLACEHOLDER = re.compile(r"(?P<escape>\\\{\{)|\{\{(?P<name>[^{}\n]*)\}\}")


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one run may use at most. None leaves it to the order."""

    turns_max: int | None = None  # requests to a model
    tokens_max: int | None = None
    spend_uusd: int | None = None
    minutes_max: int | None = None  # wall time


class Program(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What runs when the agent is spawned."""

    kind: str  # builtin | python | command
    name: str = ""  # builtin: its name; python: "module:function"
    argv: tuple[str, ...] = ()  # command


class Agent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An agent as its author wrote it."""

    name: str
    role: str
    prompt: str
    description: str = ""
    model: str = "coder"  # one of CLASSES, or a model's own name
    program: Program = Program(kind="builtin", name="answer")
    inputs: tuple[str, ...] = ()  # values it must be given, beside what an order supplies
    tools: tuple[str, ...] = ()
    limits: Limits = Limits()
    skills: tuple[str, ...] = ()

    @property
    def is_class(self) -> bool:
        """The model is named by class, to be routed."""
        return self.model in CLASSES

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The names its prompt asks for, in order of appearance, each once."""
        return tuple(dict.fromkeys(match["name"] for match in _PLACEHOLDER.finditer(self.prompt) if match["name"]))


LIMITS = Record(
    fields=(
        Field("turns", Whole(least=1, most=1000), "Requests to a model."),
        Field("tokens", Whole(least=1, most=10**12), "Tokens, all kinds together."),
        Field("usd", Usd(), "Dollars."),
        Field("minutes", Whole(least=1, most=60 * 24 * 30), "Wall time."),
    )
)
_NAME = Text(chars_max=64, pattern=WORD, called="a name of a-z, 0-9 and '-'")
_INPUT = Text(chars_max=64, pattern=r"^[a-z][a-z0-9_]*$", called="a name of a-z, 0-9 and '_'")
_TOOL = Text(chars_max=64, pattern=r"^[A-Za-z][A-Za-z0-9_.:/-]*$", called="the name of a tool")
_ARGV = ListOf(item=Text(chars_max=4000), items_min=1)
_PROGRAM_PATTERN = r"^([a-z][a-z0-9-]*|python:[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*)$"

AGENT = Record(
    help="Front matter of an agent. The Markdown below it is the prompt, with {{name}} placeholders.",
    fields=(
        Field("name", _NAME, "What workflows and orders call it; the same as the file's name.", True),
        Field("role", _NAME, f"{', '.join(ROLES)}, or a word of one's own.", True),
        Field("description", Text(chars_max=1024), "What it is for, in one line."),
        Field("model", Text(pattern=r"^\S+$", called="a model class or name"), f"{', '.join(CLASSES)}, or a model."),
        Field(
            "program",
            Either(
                options=(
                    Text(pattern=_PROGRAM_PATTERN, called="a built-in program or python:MODULE:FUNCTION"),
                    Record(fields=(Field("command", _ARGV, "The words of the command.", True),)),
                )
            ),
            f"{', '.join(PROGRAMS)}, python:MODULE:FUNCTION, or a command.",
        ),
        Field("inputs", ListOf(item=_INPUT), "Values it must be given; each is a placeholder of the prompt."),
        Field("tools", ListOf(item=_TOOL), "Tools it asks for."),
        Field("limits", LIMITS, "What one run may use."),
        Field("skills", ListOf(item=_NAME), "Skills it loads."),
    ),
)


def parse(raw: bytes | str, file: str = "agent.md") -> Agent:
    """The agent in the file; Malformed with every fault if it is not one."""
    faults = Faults(file)
    document = source.markdown(raw, faults)
    got = read(AGENT, document.front, "", faults)
    program = _program(got.get("program", "answer"), document.front, faults)
    prompt = source.trimmed(document.body)
    _check_prompt(prompt, document, got.get("inputs", ()), program, faults)
    faults.close()
    rest = {name: got[name] for name in ("description", "model", "inputs", "tools", "skills") if name in got}
    limits = read_limits(got.get("limits", {}))
    return Agent(name=got["name"], role=got["role"], prompt=prompt, program=program, limits=limits, **rest)


def read_limits(got: Mapping[str, int]) -> Limits:
    """Limits out of what the shape LIMITS read."""
    return Limits(
        turns_max=got.get("turns"),
        tokens_max=got.get("tokens"),
        spend_uusd=got.get("usd"),
        minutes_max=got.get("minutes"),
    )


def fill(agent: Agent, values: Mapping[str, str]) -> str:
    """The prompt with its placeholders filled, in one pass. ValueError names every value that is missing."""
    missing = [name for name in agent.placeholders if name not in values]
    if missing:
        raise ValueError(f"agent '{agent.name}' needs a value for {', '.join(missing)}; give one, empty if need be")
    return _PLACEHOLDER.sub(lambda match: "{{" if match["escape"] else values[match["name"]], agent.prompt)


def builtin(name: str) -> Agent:
    """The agent that ships under this name; Malformed if none does."""
    if name not in (known := builtin_names()):
        hint = nearest(name, known)
        raise fail(f"agent '{name}'", 1, expected=f"one of {', '.join(known)}", found=hint and f"a name like '{hint}'")
    file = f"{name}.md"
    return parse((resources.files("agentos.userland.agents") / file).read_bytes(), file)


def builtin_names() -> tuple[str, ...]:
    """The agents that ship, by name."""
    files = resources.files("agentos.userland.agents").iterdir()
    return tuple(sorted(file.name.removesuffix(".md") for file in files if file.name.endswith(".md")))


def _program(given: object, front: source.Node, faults: Faults) -> Program:
    if isinstance(given, dict):
        return Program(kind="command", argv=given.get("command", ()))
    text = str(given)
    if text.startswith("python:"):
        return Program(kind="python", name=text.removeprefix("python:"))
    if text not in PROGRAMS:
        expected = f"{', '.join(PROGRAMS)}, python:MODULE:FUNCTION or a command"
        line = source.at(front, "program").line
        faults.add(line, "program", expected=expected, found=f"'{text}'", nearest=nearest(text, PROGRAMS))
    return Program(kind="builtin", name=text)


def _check_prompt(
    prompt: str, document: source.Document, inputs: tuple[str, ...], program: Program, faults: Faults
) -> None:
    """Every placeholder has a source, every declared input a use, and a model's program has words to say."""
    used = set()
    for number, line in enumerate(document.body.split("\n"), document.body_line):
        for match in _PLACEHOLDER.finditer(line):
            name = match["name"]
            used.add(name)
            if name is not None and name not in inputs and name not in SUPPLIED:
                near = nearest(name.strip(), (*inputs, *SUPPLIED))
                faults.add(number, f"{{{{{name}}}}}", found="no such placeholder", nearest=near)
        if "{{" in _PLACEHOLDER.sub("", line):
            faults.add(number, found="a '{{' that no '}}' closes; write \\{{ for plain braces")
    for name in inputs:
        if name not in used:
            line_of = source.at(document.front, "inputs").line
            faults.add(line_of, f"inputs.{name}", found=f"an input that the prompt never uses; write {{{{{name}}}}}")
    if not prompt and program.kind == "builtin":
        faults.add(document.body_line, expected="a prompt below the front matter", found="nothing")
    if len(prompt) > PROMPT_CHARS_MAX:
        bound = f"at most {PROMPT_CHARS_MAX} characters of prompt (limit documents.prompt_chars_max)"
        faults.add(document.body_line, expected=bound, found=f"{len(prompt)} characters")
