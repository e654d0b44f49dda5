"""What comes after a passed verdict: reviewers, the gatekeeper, and people; and why a process ended.

    verified ─> each review by a reviewer ─> report ─> gatekeeper ─> the kernel closes, and this process ends with it
                      │ no                                  │ no        └─ approvals open: wait for people
                      └─> another attempt, with the reason   └─> a person

Rule 1: whoever judges is another process in another trust domain, and has only the right to attest and to read.
Rule 2: nothing here closes an order. The kernel does, when every judgement is in.
"""

from collections.abc import Coroutine
from typing import Any, NamedTuple

import msgspec

from agentos.abi.ids import OrderId, Pid
from agentos.abi.replies import Ended, Standing
from agentos.abi.rights import Grant, Right
from agentos.abi.work import Review, Verdict
from agentos.sdk import System
from agentos.sdk.errors import Closed, Refused
from agentos.userland.agents import programs
from agentos.userland.agents.gatekeeper import Ruling
from agentos.userland.agents.reviewer import Opinion
from agentos.userland.agents.task import Holdings, Task
from agentos.userland.documents.agent import Agent, builtin, builtin_names

POLL_NS, POLL_NS_MAX = 10_000_000_000, 300_000_000_000  # 10 s doubling to 5 min: people answer in minutes or days
GATE_FAMILY = "program"  # the gatekeeper is no model, and so of no worker's model family
JUDGE_CLASS = "judge"
NOT_ACCEPTED = "a person did not accept it"


class Cause(NamedTuple):
    """Why something ended without a result."""

    reason: str  # short and stable: what an inbox groups by
    detail: str


class Outcome(NamedTuple):
    """What judgement came to, when the order is not closed by it: one of the two."""

    escalation: Cause | None = None  # a person has to look
    rejection: str = ""  # another attempt may mend it: who said what


def cause(ended: Ended, *, what: str) -> Cause:
    """Why a process failed, by the refusal that ended it."""
    kind = ended.reason.partition(":")[0]
    if kind == "Exhausted" and "budget" in ended.reason:
        return Cause("budget", ended.reason.partition(": ")[2])
    if kind in ("Broken", "TimedOut"):
        return Cause("model_unavailable", ended.reason.partition(": ")[2])
    return Cause(f"{what}_ended", ended.reason or f"it ended with status {ended.status}")


def refused(error: Refused) -> Cause:
    """Why a call that was refused ends the run."""
    return cause(Ended(pid=Pid(""), status=1, reason=f"{type(error).__name__}: {error}"), what="conductor")


async def settled(os: System, order: OrderId, run: Coroutine[Any, Any, Cause | None]) -> None:
    """Run to the end; what it ends in goes to a person, a refused call too. Nothing when the order is closed."""
    why: Cause | None = None
    try:
        why = await run
    except* Closed:
        why = None  # the order is over: there is nobody to ask and nothing to ask for
    except* Refused as group:
        why = refused(_first(group))
    if why is not None:
        await os.escalate(order, why.reason, why.detail)


def _first(group: BaseExceptionGroup[Refused]) -> Refused:
    """The first refusal in a group of groups."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


async def judge(os: System, order: OrderId, holds: Holdings, models: tuple[str, ...] = ()) -> Outcome:
    """Have it reviewed and gated. Returns when that fails or is refused; on success the kernel ends this process."""
    standing = await os.look(order)
    for check in standing.contract.accept:
        if isinstance(check, Review):
            outcome = await _review(os, standing, check, holds, models)
            if outcome is not None:
                return outcome
    return await _gate(os, order) or await _people(os, order)


async def _review(
    os: System, standing: Standing, check: Review, holds: Holdings, models: tuple[str, ...]
) -> Outcome | None:
    """One review; None when it passed."""
    agent = _agent(check.role)
    given = Task(
        agent=agent,
        order=standing.order,
        attempt=standing.attempt,
        model_class=judge_class(holds, standing.contract.model_classes),
        phase="review",
        check=check.name,
        models=models,
    )
    grants = (
        Grant(Right.ATTEST, f"/{standing.order}"),
        Grant(Right.SPAWN, "/reviewer"),
        *holds.grants(Right.INFER, (given.model_class,)),
        *holds.grants(Right.TOOL, programs.TOOLS["reviewer"]),
    )
    child = await os.spawn("reviewer", role=check.role, args=given, grants=grants, domain="review")
    ended = await os.wait(child)
    if ended.status != 0:
        return await _unjudged(os, standing.order, cause(ended, what="reviewer"))
    opinion = msgspec.json.decode(await os.text(ended.result), type=Opinion)
    if opinion.verdict == Verdict.UNVERIFIED:
        return Outcome(
            escalation=Cause("review_unverified", f"{check.name}: {opinion.reason}; have a person review it")
        )
    return Outcome(rejection=f"{check.name}: {opinion.reason}") if opinion.verdict == Verdict.FAILED else None


def _agent(role: str) -> Agent:
    """The agent for a review's role; a role that ships under no name is played by the reviewer."""
    return builtin(role if role in builtin_names() else "reviewer")


def judge_class(holds: Holdings, classes: tuple[str, ...]) -> str:
    """The class that judges: the one named for it where it is granted, else the last of the chain, its strongest."""
    return JUDGE_CLASS if holds.may(Right.INFER, f"/{JUDGE_CLASS}") else classes[-1]


async def _gate(os: System, order: OrderId) -> Outcome | None:
    """The gatekeeper's word; None when it passed."""
    grants = (Grant(Right.ATTEST, f"/{order}"),)
    child = await os.spawn("gatekeeper", role="gatekeeper", grants=grants, domain="gate", family=GATE_FAMILY)
    ended = await os.wait(child)
    if ended.status != 0:
        return await _unjudged(os, order, cause(ended, what="gatekeeper"))
    ruling = msgspec.json.decode(await os.text(ended.result), type=Ruling)
    return None if ruling.verdict == Verdict.PASSED else Outcome(escalation=Cause("gate_failed", ruling.reason))


async def _unjudged(os: System, order: OrderId, why: Cause) -> Outcome:
    """A judge failed: for there was nothing to judge any more, since a person was quicker, or for a reason of its own."""
    if (await os.look(order)).state == "ready":
        return Outcome(rejection=NOT_ACCEPTED)
    return Outcome(escalation=why)


async def _people(os: System, order: OrderId) -> Outcome:
    """Wait until the people asked have spoken. No starts another attempt; yes closes the order, and `look` is Closed."""
    span_ns = POLL_NS
    while True:
        if (await os.look(order)).state == "ready":
            return Outcome(rejection=NOT_ACCEPTED)
        await os.sleep(span_ns)
        span_ns = min(2 * span_ns, POLL_NS_MAX)
