"""The evaluator: compares what was asked with what the checks found, and says what the next attempt should do first.

Rule 1: its word decides nothing. The verdict is the kernel's; this is advice to the next worker, in a hand-off.
Rule 2: a model that may not judge gives no advice: a wrong hint costs the next attempt more than none.
"""

from typing import Any

from agentos.abi.handoff import HandOff, handoff
from agentos.sdk import System
from agentos.userland.agents import asking, brief, handoffs, judges, reviewer, task
from agentos.userland.documents.agent import fill

ADVICE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "missed": {"type": "string", "maxLength": 500},
        "next": {"type": "string", "maxLength": 500},
    },
    "required": ["missed", "next"],
    "additionalProperties": False,
}


async def main(os: System, args: Any, state: Any = None) -> HandOff:
    """The last hand-off, with what to do next in the evaluator's words; as it was where it has none."""
    given = task.read(args)
    previous = given.previous or HandOff()
    wrong, _ = await judges.unfit(os, model_class=given.model_class)
    if wrong:
        return previous
    standing = await os.look(given.order)
    change = (await reviewer.shown_change(os, standing.change))[0] if standing.change else "nothing was presented"
    order = brief.values(standing, brief.read(await os.text(standing.text)))
    evidence = await brief.output(os, standing) or previous.failed
    prompt = fill(given.agent, {**order, "change": change, "evidence": evidence, **given.values})
    try:
        got, _ = await asking.decide(os, prompt, ADVICE, model_class=given.model_class, phase="review")
    except asking.Garbled:
        return previous
    left = handoff(
        attempted=previous.attempted,
        changed=previous.changed,
        remains=got["missed"],
        failed=previous.failed,
        next=got["next"],
    )
    return await handoffs.leave(os, left, role="evaluator", attempt=standing.attempt)
