"""The two smallest programs: `answer`, one prompt and its words; `verdict`, one prompt and a short decision.

Rule 1: the output is an artifact of the order, made from the sources the task names, and the process's result.
Rule 2: neither touches the working copy, presents or attests: what becomes of the words is their parent's affair.
"""

from typing import Any

import msgspec

from agentos.abi.inference import Answer
from agentos.sdk import System
from agentos.userland.agents import asking, brief, task
from agentos.userland.agents.task import Task
from agentos.userland.documents.agent import fill

VERDICT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "verdict": {"enum": ["passed", "failed", "unverified"]},
        "findings": {"type": "array", "items": {"type": "string", "maxLength": 300}, "maxItems": 5},
    },
    "required": ["verdict", "findings"],
    "additionalProperties": False,
}


class Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a model said, and what that took."""

    text: str
    model: str = ""
    tokens: int = 0
    is_cut: bool = False  # it ran into the bound on its answer


async def main(os: System, args: Any, state: Any = None) -> Said:
    """Ask once, and answer with the words."""
    given = task.read(args)
    answer = await asking.words(
        os, await prompt(os, given), model_class=given.model_class, phase=given.phase, tries=given.tries
    )
    return await _keep(os, given, answer, answer.text)


async def verdict(os: System, args: Any, state: Any = None) -> Said:
    """Ask once for a decision, and answer with its lines: `VERDICT: ...`, then the findings. Fails on what is none."""
    given = task.read(args)
    asked = await prompt(os, given)
    got, answer = await asking.decide(os, asked, VERDICT, model_class=given.model_class, phase=given.phase)
    return await _keep(os, given, answer, lines(got))


def lines(got: dict[str, Any]) -> str:
    """A decision as text that a later step reads."""
    return "\n".join([f"VERDICT: {got['verdict']}", *(f"- {one}" for one in got["findings"] or ["No findings."])])


async def prompt(os: System, given: Task) -> str:
    """The agent's prompt, filled from the task and, where it asks for more, from the order."""
    if all(name in given.values for name in given.agent.placeholders):
        return fill(given.agent, given.values)
    standing = await os.look(given.order)
    order = brief.values(standing, brief.read(await os.text(standing.text)))
    return fill(given.agent, {**dict.fromkeys(given.agent.inputs, ""), **order, **given.values})


async def _keep(os: System, given: Task, answer: Answer, text: str) -> Said:
    if given.artifact:
        await os.attach(given.artifact, text, media_type="text/markdown", sources=given.sources)
    return Said(text=text, model=answer.model, tokens=answer.usage.tokens, is_cut=answer.stop == "length")
