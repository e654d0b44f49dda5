"""The conductor: runs one order, from ready to closed or to a person. It works and judges nothing itself.

    begin ─> worker ─> verdict ─ passed ─> reviews, gatekeeper, people ─> closed by the kernel
      ▲                   │ failed, or a review said no: the next attempt, next model class, with what was left
      └───────────────────┤
                          └ unverified, no budget, no model, no attempt left: a person, with the reason and the way out

Rule 1: attempt k is done by class min(k, last) of the contract's chain: the same model has not been seen to mend what it
        failed at, a stronger one has.
Rule 2: what no attempt can mend is not tried again: a check that cannot run here, a budget that is spent.
Rule 3: whatever happens, it ends in a closed order or in a question to a person, never in silence.
"""

import asyncio
from typing import Any, Final

import msgspec

from agentos.abi.handoff import HandOff, handoff
from agentos.abi.ids import Pid
from agentos.abi.replies import Ended, Standing
from agentos.abi.rights import Grant, Right
from agentos.abi.signals import Signal
from agentos.abi.work import Reason, Verdict
from agentos.sdk import System
from agentos.sdk.errors import Broken, Exhausted, Refused
from agentos.userland.agents import brief, handoffs, judgement, programs
from agentos.userland.agents.judgement import Cause
from agentos.userland.agents.task import Holdings, Task
from agentos.userland.documents.agent import Agent, builtin, builtin_names
from agentos.userland.documents.fault import Malformed

MINUTE_NS: Final = 60_000_000_000
MINUTES_MAX: Final = 30  # of one worker whose agent names no limit; the order's own wall time stands above it
SPAWNABLE: Final = ("worker", "planner")  # roles that a worker may start agents of

WAY_OUT: Final[dict[Reason, str]] = {  # what a person can do about what no attempt can mend
    Reason.NO_SANDBOX: "make a sandbox available on this machine (agentos doctor says what is missing), then retry",
    Reason.CHECK_BROKEN: "mend the check so that it starts, then retry",
    Reason.CHECK_GREEN_ON_BASE: "add a check that fails without the work, in a new order",
    Reason.NO_CHECKS: "give the order a check, in a new order",
}


class Conductor:
    """One order's run."""

    def __init__(self, os: System, standing: Standing, holds: Holdings, agent: Agent) -> None:
        self._os, self._holds, self._agent = os, holds, agent
        self.order, self._contract = standing.order, standing.contract
        self._previous: HandOff | None = None
        self._rows: list[str] = []  # of the report, one per attempt
        self._step = 0  # attempts of this run, which is also the place in the chain of classes

    async def run(self, standing: Standing) -> Cause | None:
        """Attempts until one is through; the cause to escalate for, or None when there is nothing more to do."""
        if standing.attempt:
            self._previous = await handoffs.last(self._os, "worker", standing.attempt)
        while True:
            try:
                begun = await self._os.begin(self.order)
            except Exhausted as error:
                return Cause("attempts", f"{error.refusal}. {self._why()}")
            except Broken as error:
                return Cause("copy_failed", str(error))
            stop = await self._attempt(begun.attempt)
            if stop is not None:
                return stop
            self._step += 1

    def _class(self, step: int) -> str:
        classes = self._contract.model_classes or ("coder",)
        return classes[min(step, len(classes) - 1)]

    async def _attempt(self, number: int) -> Cause | None:
        """One attempt to its end; the cause when no other is to follow."""
        ended = await self._work(number)
        standing = await self._os.look(self.order)
        self._previous = await self._left(ended, number)
        self._rows.append(
            f"- attempt {number}, {self._agent.name}, {self._class(self._step)}: {_said(standing, ended)}"
        )
        if standing.verdict == Verdict.PASSED:
            return await self._judge(number)
        if standing.verdict == Verdict.UNVERIFIED:
            return self._unverified(standing)
        if ended.status != 0:
            return self._after_failure(ended)
        await self._advise(standing)
        return None

    async def _work(self, number: int) -> Ended:
        """Spawn the worker, and wait for its end or for its time to be up."""
        given = Task(
            agent=self._agent,
            order=self.order,
            attempt=number,
            model_class=self._class(self._step),
            previous=self._previous,
        )
        program, args = programs.resolve(self._agent, given)
        await self._os.note(f"attempt {number}: {self._agent.name} with {given.model_class}", "orchestration")
        domain = "" if programs.is_ours(program) else f"{self.order}/{self._agent.name}"
        worker = await self._os.spawn(
            program,
            role=self._agent.role,
            name=f"{self._agent.name} {self.order}/{number}",
            args=args,
            grants=self._grants(program, given.model_class),
            domain=domain,
        )
        return await bounded(self._os, worker, minutes=self._agent.limits.minutes_max or MINUTES_MAX)

    def _grants(self, program: str, model_class: str) -> tuple[Grant, ...]:
        """What the worker needs of what the order has: to present, one class, its tools, and helpers if it has rounds."""
        wanted = self._agent.tools or programs.TOOLS.get(program, self._contract.tools)
        helpers = self._holds.grants(Right.SPAWN, SPAWNABLE) if program == "tool-loop" else ()
        return (
            *self._holds.grants(Right.PRESENT, (self.order,)),
            *self._holds.grants(Right.INFER, (model_class,)),
            *self._holds.grants(Right.TOOL, wanted),
            *helpers,
        )

    async def _left(self, ended: Ended, number: int) -> HandOff:
        """What the attempt left: its hand-off, or what is known without one."""
        left = await handoffs.last(self._os, "worker", number)
        return left or handoff(attempted=f"{self._agent.name} ran", failed=ended.reason or "it left no hand-off")

    async def _judge(self, number: int) -> Cause | None:
        """Verified: have it judged. The cause to stop for, or None for another attempt."""
        await self._report()
        models = await handoffs.models(self._os, "worker", number)
        outcome = await judgement.judge(self._os, self.order, self._holds, models)
        if outcome.rejection:
            previous = self._previous or HandOff()
            failed = f"the checks passed, and it was turned down: {outcome.rejection}"
            left = handoff(
                attempted=previous.attempted, changed=previous.changed, failed=failed, next=outcome.rejection
            )
            self._previous = await handoffs.leave(self._os, left, role="review", attempt=number)
            self._rows.append(f"  - turned down: {outcome.rejection}")
            return None
        return outcome.escalation

    def _unverified(self, standing: Standing) -> Cause:
        """Nothing can be said about it here, and another attempt would not change that."""
        reason = standing.reason or Reason.CHECK_BROKEN
        said = "; ".join(brief.line(one) for one in brief.red(standing))
        way_out = WAY_OUT.get(reason, "look at the check, then retry")
        return Cause(str(reason), f"{said or 'the change could not be verified'}. The way out: {way_out}")

    def _after_failure(self, ended: Ended) -> Cause | None:
        """The worker failed: whether somebody else can go on."""
        why = judgement.cause(ended, what="worker")
        if why.reason == "budget":
            return why
        if why.reason == "model_unavailable" and self._class(self._step + 1) == self._class(self._step):
            return Cause(why.reason, f"{why.detail}. No other model class is in the contract's chain")
        return None

    async def _advise(self, standing: Standing) -> None:
        """Have an evaluator say what comes next, where there is a model to judge with. Its failing changes nothing."""
        has_more = standing.attempt < self._contract.attempts_max
        if not has_more or not self._holds.may(Right.INFER, f"/{judgement.JUDGE_CLASS}"):
            return
        given = Task(
            agent=builtin("evaluator"),
            order=self.order,
            attempt=standing.attempt,
            model_class=judgement.JUDGE_CLASS,
            previous=self._previous,
            phase="review",
        )
        grants = (
            *self._holds.grants(Right.INFER, (given.model_class,)),
            *self._holds.grants(Right.TOOL, programs.TOOLS["reviewer"]),
        )
        ended = await self._os.wait(await self._os.spawn("evaluator", role="evaluator", args=given, grants=grants))
        if ended.status == 0 and ended.result:
            self._previous = msgspec.json.decode(await self._os.read(ended.result), type=HandOff)

    async def _report(self) -> None:
        """The completion report, before the kernel closes the order and ends this process."""
        standing = await self._os.look(self.order)
        await self._os.attach("/report.md", report(standing, self._rows), media_type="text/markdown")

    def _why(self) -> str:
        """What the last attempt failed at, for a person."""
        last = self._previous
        return f"The last one: {last.failed or last.attempted}" if last is not None else ""


async def main(os: System, args: Any, state: Any = None) -> None:
    """Conduct the order this process was spawned for."""
    me = await os.whoami()
    assert me.order is not None, "a conductor is spawned for an order"
    standing = await os.look(me.order)
    name = standing.contract.agent
    try:
        agent = builtin(name)
    except Malformed:
        detail = f"there is no agent {name!r}; there are: {', '.join(builtin_names())}"
        await os.escalate(me.order, "unknown_agent", detail)
        return
    await judgement.settled(os, me.order, Conductor(os, standing, Holdings(me), agent).run(standing))


async def bounded(os: System, pid: Pid, *, minutes: int) -> Ended:
    """How a child ended, once it has; it is killed when its time is up. The clock is the system's, on its own strand."""
    timer = os.fork()

    async def end() -> None:
        await timer.sleep(minutes * MINUTE_NS)
        try:
            await timer.kill(pid, Signal.KILL)
        except Refused:
            return  # it has just ended by itself

    async with asyncio.TaskGroup() as group:
        late = group.create_task(end())
        ended = await os.wait(pid)
        late.cancel()
    return ended


def report(standing: Standing, rows: list[str]) -> str:
    """What was done and found, as a page."""
    change = standing.change
    paths = [f"- {path}" for path in (change.paths if change else ())]
    findings = [f"- {brief.line(finding)}" for finding in standing.findings]
    lines = [f"# {standing.title}", "", "## Attempts", *rows, "", "## Changed", *paths, "", "## Found", *findings, ""]
    return "\n".join(lines)


def _said(standing: Standing, ended: Ended) -> str:
    if standing.verdict is not None:
        return f"{standing.verdict} ({standing.reason})"
    return f"ended with status {ended.status}: {ended.reason}" if ended.status else "nothing was presented"
