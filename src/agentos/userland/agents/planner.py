"""The planner: a goal becomes a short numbered list of steps, each a path and an outcome, checked before anyone follows it.

Rule 1: a plan that names a path outside the scope, or too many steps, is refused and asked for once more; then it fails.
Rule 2: "BLOCKED: ..." is a plan too: it says that the goal cannot be reached, and why.
"""

import re
from typing import Any

import msgspec

from agentos.abi.paths import Place, place
from agentos.abi.work import Scope
from agentos.sdk import System
from agentos.userland.agents import asking, brief, files, task
from agentos.userland.documents.agent import fill

STEPS_MAX = 5  # a goal that needs more is two orders
ROUNDS = 2  # once, and once with what was wrong; the same model does not mend more
TREE_PATHS_MAX = 300  # shown to the model: about 3,000 tokens
ARTIFACT = "/plan.md"

_STEP = re.compile(r"^\s*\d+[.)]\s+`?([\w./*-]+?)`?\s*:\s+(\S.*)$")


class Step(msgspec.Struct, frozen=True):
    """One file and its outcome."""

    path: str
    outcome: str


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to be done, in order."""

    steps: tuple[Step, ...] = ()
    blocked: str = ""  # why nothing can be done


async def main(os: System, args: Any, state: Any = None) -> Plan:
    """Plan, check the plan, keep it as an artifact. Garbled when the model has no plan that fits."""
    given = task.read(args)
    standing = await os.look(given.order)
    paths = (await files.tree(os)).paths[:TREE_PATHS_MAX]
    order = brief.values(standing, brief.read(await os.text(standing.text)))
    prompt = fill(given.agent, {**order, "tree": "\n".join(paths), **given.values})
    wrong = ""
    for _ in range(ROUNDS):
        asked = f"{prompt}\n\nYour last plan could not be used: {wrong}" if wrong else prompt
        answer = await asking.words(os, asked, model_class=given.model_class, phase="planning")
        plan, wrong = checked(answer.text, standing.contract.scope)
        if not wrong:
            await os.attach(
                given.artifact or ARTIFACT, written(plan), media_type="text/markdown", sources=given.sources
            )
            return plan
    raise asking.Garbled(f"no plan that can be used: {wrong}")


def checked(text: str, scope: Scope) -> tuple[Plan, str]:
    """The plan in the text, and what is wrong with it, or ""."""
    blocked = re.search(r"^\W*BLOCKED:\s*(.+)$", text, re.MULTILINE)
    if blocked:
        return Plan(blocked=blocked[1].strip()), ""
    steps = tuple(Step(match[1], match[2].strip()) for one in text.split("\n") if (match := _STEP.match(one)))
    plan = Plan(steps=steps)
    if not steps:
        return plan, "no line has the form '1. path/to/file: what changes there'"
    if len(steps) > STEPS_MAX:
        return plan, f"it has {len(steps)} steps; at most {STEPS_MAX}"
    outside = [step.path for step in steps if place(scope, step.path) is not Place.ALLOWED]
    return plan, f"these paths may not be changed: {', '.join(outside)}" if outside else ""


def written(plan: Plan) -> str:
    """The plan as a page."""
    if plan.blocked:
        return f"BLOCKED: {plan.blocked}\n"
    return "".join(f"{number}. {step.path}: {step.outcome}\n" for number, step in enumerate(plan.steps, 1))
