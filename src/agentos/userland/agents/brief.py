"""What an order says, cut up for prompts: its text, its checks, its scope, and what was found so far.

Rule 1: text from an order fills prompts and nothing else; what an agent may do comes from its capabilities.
Rule 2: everything is bounded here, in characters, with the reason beside the bound: a small model reads 4,096 tokens.
"""

import re

import msgspec

from agentos.abi.handoff import HandOff
from agentos.abi.replies import Standing
from agentos.abi.work import (
    Approval,
    Check,
    Command,
    Document,
    FileSchema,
    Finding,
    Metric,
    Review,
    Unchanged,
    Verdict,
)
from agentos.sdk import System
from agentos.userland.documents import source
from agentos.userland.documents.fault import Faults

OUTPUT_CHARS_MAX = 1_500  # of one check's output: about 400 tokens, what a small model still reads beside a file
LINES_MAX = 30  # of that output

_SECTIONS = ("goal", "success criteria", "constraints")
_TELLING = re.compile(r"^(E\s|>\s|FAILED|ERROR|\S*(Error|Exception)\b|\S+\.\w+:\d+|\s*File \"|not ok)")


class Brief(msgspec.Struct, frozen=True):
    """An order's text, by its sections."""

    goal: str
    success_criteria: str = ""
    constraints: str = ""
    context: str = ""


def read(text: str) -> Brief:
    """The sections of an order's text; where it has none, all of it is the goal."""
    body = _body(text)
    known: dict[str, str] = {}
    rest: list[str] = []
    for section in source.sections(body, 1, frozenset(_SECTIONS), Faults("order")):
        name = source.folded(section.title)
        if name in _SECTIONS and name not in known:
            known[name] = section.text
        elif section.text:
            rest.append(f"{section.title}\n{section.text}".strip())
    if "goal" not in known:
        return Brief(body.strip())
    return Brief(known["goal"], known.get("success criteria", ""), known.get("constraints", ""), "\n\n".join(rest))


def _body(text: str) -> str:
    """The text below the front matter, if it has any."""
    lines = text.split("\n")
    if lines[0].rstrip() != "---":
        return text
    end = next((n for n, line in enumerate(lines[1:], 1) if line.rstrip() == "---"), 0)
    return "\n".join(lines[end + 1 :]) if end else text


def values(standing: Standing, brief: Brief) -> dict[str, str]:
    """What an order gives to the placeholders of a prompt. Those nobody has a value for are empty."""
    scope = standing.contract.scope
    limits = [f"allowed: {', '.join(scope.allowed)}"]
    limits += [f"forbidden: {', '.join(scope.forbidden)}"] if scope.forbidden else []
    limits += [f"protected: {', '.join(scope.protected)}"] if scope.protected else []
    return {
        "goal": brief.goal,
        "success_criteria": brief.success_criteria,
        "constraints": brief.constraints,
        "context": brief.context,
        "scope": "\n".join(limits),
        "checks": "\n".join(f"- {describe(check)}" for check in standing.contract.accept),
        "attempt": str(standing.attempt),
        "evidence": "\n".join(f"- {line(finding)}" for finding in standing.findings),
        **dict.fromkeys(("findings", "path", "files", "tree", "plan", "change", "tools"), ""),
    }


def describe(check: Check) -> str:
    """A check in one line."""
    match check:
        case Command():
            return f"{check.name}: {' '.join(check.argv)}"
        case Unchanged():
            return f"{check.name}: unchanged: {', '.join(check.paths)}"
        case FileSchema():
            return f"{check.name}: {check.path} exists" + (" and matches its schema" if check.schema else "")
        case Document():
            return f"{check.name}: {check.path} says what it must"
        case Metric():
            bounds = [("at most", check.at_most), ("at least", check.at_least)]
            return f"{check.name}: {' '.join(check.argv)} prints " + ", ".join(
                f"{w} {n}" for w, n in bounds if n is not None
            )
        case Review():
            return f"{check.name}: a {check.role} passes it"
        case Approval():
            return f"{check.name}: {check.who or 'a person'} accepts it"


def line(finding: Finding) -> str:
    """A finding in one line."""
    tail = f": {finding.detail}" if finding.detail else ""
    return f"{finding.check} {finding.verdict} ({finding.reason}){tail}"


def red(standing: Standing) -> tuple[Finding, ...]:
    """The findings that are to become green: of the last presentation, or of the base where there was none."""
    wrong = tuple(finding for finding in standing.findings if finding.verdict != Verdict.PASSED)
    return wrong or tuple(finding for finding in standing.proofs if finding.verdict != Verdict.PASSED)


async def output(os: System, standing: Standing) -> str:
    """What the failing checks say, the telling lines of each."""
    parts = []
    for finding in red(standing):
        log = excerpt(await os.text(finding.log))
        parts.append(f"{line(finding)}\n{log}".strip())
    return "\n\n".join(parts)


def excerpt(log: str, chars_max: int = OUTPUT_CHARS_MAX) -> str:
    """The lines of an output that say what went wrong, or its end; from the end back, as far as the bound allows."""
    lines = [one.rstrip() for one in log.split("\n") if one.strip()]
    telling = [one for one in lines if _TELLING.match(one)]
    kept: list[str] = []
    for one in reversed((telling or lines)[-LINES_MAX:]):
        if sum(map(len, kept)) + len(one) > chars_max:
            break
        kept.insert(0, one)
    return "\n".join(kept)


def told(said: str, previous: HandOff | None) -> str:
    """What the checks say, and what the last attempt left."""
    if previous is None:
        return said
    rows = (("It tried", previous.attempted), ("It failed", previous.failed), ("Next", previous.next))
    left = "\n".join(f"{name}: {text[:OUTPUT_CHARS_MAX]}" for name, text in rows if text)
    return f"{said}\n\nThe attempt before this one:\n{left}".strip() if left else said
