"""The workflow program: conducts an order whose work is a graph of steps, each an agent in a process of its own.

    .agentos-workflow.yaml, inputs ─> steps, as their needs allow ─> files ─> presented by a child ─> judged ─> closed
                                         └ artifact, with what it was made from; its own check; once more with complaints

The kernel spawns a conductor without arguments, so the workflow and its inputs are files of the order's base: what is to
be done is under the same commit as what it is done to, and protected from whoever does it.

Rule 1: each step has a strand, forked in the order of the file before any step runs, so that a run repeats itself
        whichever step is done first.
Rule 2: a step that fails stops what needs it and nothing else; what failed, and at what, is in the report.
Rule 3: the same as for any order: the kernel checks what is presented, others judge it, and what cannot be mended by
        another model class goes to a person.
"""

import asyncio
import re
from hashlib import sha256
from typing import Any

import msgspec

from agentos.abi.handoff import HandOff, handoff
from agentos.abi.ids import Digest
from agentos.abi.replies import Judged, Standing
from agentos.abi.rights import Grant, Right
from agentos.abi.work import Verdict
from agentos.sdk import System
from agentos.sdk.errors import Broken, Exhausted
from agentos.userland.agents import answer, brief, files, handoffs, judgement, presenter, programs
from agentos.userland.agents.judgement import Cause
from agentos.userland.agents.task import Holdings, Task
from agentos.userland.documents.agent import Agent, builtin, builtin_names
from agentos.userland.documents.expectation import complaints
from agentos.userland.documents.fault import Malformed
from agentos.userland.documents.workflow import Step, Workflow, fill, parse

FILE = ".agentos-workflow.yaml"
INPUTS = ".agentos-inputs"  # folder: a file of an input's name is its value, before any default

_INPUT = re.compile(r"\$\{\{\s*inputs\.([a-z][a-z0-9_-]*)\s*\}\}")


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """How a step went."""

    step: str
    agent: str
    model_class: str
    tries: int = 0
    tokens: int = 0
    text: str | None = None  # None: it has no output
    issues: tuple[str, ...] = ()  # what its check said, or what ended it
    cause: Cause | None = None


class Run:
    """One attempt at the whole graph."""

    def __init__(self, os: System, standing: Standing, holds: Holdings, flow: Workflow, chain_class: str) -> None:
        self._os, self._standing, self._holds, self._flow = os, standing, holds, flow
        self._class = chain_class
        self._inputs: dict[str, str] = {}
        self._digests: dict[str, Digest] = {}  # of inputs and outputs, by "inputs.NAME" and "steps.ID"
        self._ran: dict[str, Ran] = {}
        self._over = {step.id: asyncio.Event() for step in flow.steps}

    async def run(self, inputs: dict[str, str]) -> tuple[Ran, ...]:
        """Every step that can run, as soon as it can; how each went, in the order of the file."""
        self._inputs = inputs
        for name, text in inputs.items():
            self._digests[f"inputs.{name}"] = await self._os.attach(f"/inputs/{name}", text)

        def part(step: Step) -> Any:
            return lambda os: self._when_ready(os, step)

        return tuple(await self._os.gather(*map(part, self._flow.steps)))

    async def _when_ready(self, os: System, step: Step) -> Ran:
        """Wait for the needs, run, and let those go on who wait."""
        try:
            for need in step.needs:
                await self._over[need].wait()
            lacking = [need for need in step.needs if self._ran[need].text is None]
            if lacking:
                ran = Ran(step=step.id, agent=step.agent, model_class="", issues=(f"not run: {lacking[0]} failed",))
            else:
                ran = await self._run_step(os, step)
            self._ran[step.id] = ran
            return ran
        finally:
            self._over[step.id].set()

    async def _run_step(self, os: System, step: Step) -> Ran:
        agent, issues, tokens = builtin(step.agent), list[str](), 0
        model_class = agent.model if self._holds.may(Right.INFER, f"/{agent.model}") else self._class
        outputs = {one: ran.text or "" for one, ran in self._ran.items()}
        values = {name: fill(text, inputs=self._inputs, outputs=outputs) for name, text in step.values.items()}
        for tries in range(1, step.attempts + 1):
            said, ended = await self._ask(os, step, _insisting(agent, issues), values, model_class, tries)
            if said is None:
                why = judgement.cause(ended, what="step")
                return _failed(step, model_class, tries, tokens, (*issues, why.detail), why)
            tokens += said.tokens
            lacks = complaints(step.expectation, said.text) + (("it was cut off: write less",) if said.is_cut else ())
            if not lacks:
                self._digests[f"steps.{step.id}"] = Digest(sha256(said.text.encode()).hexdigest())
                return Ran(
                    step=step.id,
                    agent=step.agent,
                    model_class=model_class,
                    tries=tries,
                    tokens=tokens,
                    text=said.text,
                    issues=tuple(issues),
                )
            issues.append("; ".join(lacks))
        why = Cause("step_failed", f"step {step.id} ({step.agent}): {issues[-1]}")
        return _failed(step, model_class, step.attempts, tokens, tuple(issues), why)

    async def _ask(
        self, os: System, step: Step, agent: Agent, values: dict[str, str], model_class: str, tries: int
    ) -> tuple[answer.Said | None, Any]:
        """Spawn the step's agent, and wait for what it says; None and its end where it failed."""
        given = Task(
            agent=agent,
            order=self._standing.order,
            attempt=self._standing.attempt,
            tries=tries,
            model_class=model_class,
            values=values,
            artifact=f"/steps/{step.id}.md",
            sources=self._sources(step),
        )
        program, args = programs.resolve(agent, given)
        wanted = agent.tools or programs.TOOLS.get(program, ())
        grants = self._holds.grants(Right.INFER, (model_class,)) + self._holds.grants(Right.TOOL, wanted)
        domain = "" if programs.is_ours(program) else f"{self._standing.order}/{agent.name}"
        child = await os.spawn(program, role=agent.role, name=step.id, args=args, grants=grants, domain=domain)
        ended = await os.wait(child)
        if ended.status != 0:
            return None, ended
        raw = await os.text(ended.result)
        try:
            return msgspec.json.decode(raw, type=answer.Said), ended
        except msgspec.DecodeError:
            await os.attach(
                given.artifact, raw, sources=given.sources
            )  # a program of another kind: its result is its word
            return answer.Said(text=raw), ended

    def _sources(self, step: Step) -> tuple[Digest, ...]:
        """What its prompt is made from."""
        names = [f"steps.{need}" for need in step.needs]
        names += [f"inputs.{name}" for text in step.values.values() for name in _INPUT.findall(text)]
        return tuple(dict.fromkeys(self._digests[name] for name in names))


class Conductor:
    """Attempts, one for each model class of the chain at most."""

    def __init__(self, os: System, standing: Standing, holds: Holdings) -> None:
        self._os, self._standing, self._holds = os, standing, holds
        self._rows: list[str] = []

    async def run(self) -> Cause | None:
        classes = self._standing.contract.model_classes
        why: Cause | None = None
        for position, chain_class in enumerate(classes):
            try:
                begun = await self._os.begin(self._standing.order)
            except Exhausted as error:
                return why or Cause("attempts", str(error))
            except Broken as error:
                return Cause("copy_failed", str(error))
            why = await self._attempt(begun.attempt, chain_class)
            is_last = position == len(classes) - 1
            if why is None or is_last or why.reason not in ("step_failed", "model_unavailable", "failed"):
                return why
        return why

    async def _attempt(self, number: int, chain_class: str) -> Cause | None:
        """One attempt to its end; None when it is closed, or when a person has it."""
        try:
            flow, inputs = await _given(self._os)
        except (Malformed, files.Unreadable, ValueError) as error:
            return Cause("bad_workflow", str(error))
        standing = await self._os.look(self._standing.order)
        await self._os.note(f"attempt {number}: workflow {flow.name} with {chain_class}", "orchestration")
        ran = await Run(self._os, standing, self._holds, flow, chain_class).run(inputs)
        left = _left(flow, ran)
        await handoffs.leave(self._os, left, role="worker", attempt=number)
        self._rows = rows(ran)
        await self._report(flow, "not presented: a step failed")
        why = next((one.cause for one in ran if one.cause is not None), None)
        if why is not None:
            return why
        texts = {one.step: one.text or "" for one in ran}
        written = {step.output: texts[step.id].strip() + "\n" for step in flow.steps if step.output}
        return await self._present(flow, left, written)

    async def _present(self, flow: Workflow, left: HandOff, written: dict[str, str]) -> Cause | None:
        """Write and present through a child, for this process is no author, and have it judged."""
        order = self._standing.order
        args = presenter.Presentation(order=order, claim=left, files=written)
        grants = (Grant(Right.PRESENT, f"/{order}"), *self._holds.grants(Right.TOOL, ("write_file",)))
        ended = await self._os.wait(await self._os.spawn("presenter", role="worker", args=args, grants=grants))
        if ended.status != 0:
            return judgement.cause(ended, what="presenter")
        judged = msgspec.json.decode(await self._os.text(ended.result), type=Judged)
        await self._report(flow, f"{judged.verdict} ({judged.reason}): {judged.detail}")
        if judged.verdict != Verdict.PASSED:
            reason = "failed" if judged.verdict == Verdict.FAILED else str(judged.reason)
            return Cause(reason, f"{judged.reason}: {judged.detail}")
        outcome = await judgement.judge(self._os, order, self._holds)
        return Cause("failed", outcome.rejection) if outcome.rejection else outcome.escalation

    async def _report(self, flow: Workflow, said: str) -> None:
        standing = await self._os.look(self._standing.order)
        findings = [f"- {brief.line(finding)}" for finding in standing.findings]
        lines = [f"# {flow.name}", "", flow.description, "", "## Steps", *self._rows, "", "## Outcome", said, *findings]
        await self._os.attach("/report.md", "\n".join(lines) + "\n", media_type="text/markdown")


async def main(os: System, args: Any, state: Any = None) -> None:
    """Conduct the order this process was spawned for, by the workflow in its base."""
    me = await os.whoami()
    assert me.order is not None, "a conductor is spawned for an order"
    conductor = Conductor(os, await os.look(me.order), Holdings(me))
    await judgement.settled(os, me.order, conductor.run())


async def _given(os: System) -> tuple[Workflow, dict[str, str]]:
    """The workflow, and a value for each of its inputs. ValueError names an input that has none."""
    raw = await files.content(os, FILE)
    if raw is None:
        raise ValueError(f"{FILE} is not in the order's base; put the workflow there")
    flow = parse(raw, FILE, agents={name: builtin(name) for name in builtin_names()})
    values: dict[str, str] = {}
    for one in flow.inputs:
        text = await files.content(os, f"{INPUTS}/{one.name}")
        if text is None:
            text = one.text if one.text is not None else await files.content(os, one.file) if one.file else None
        if text is None:
            raise ValueError(f"input {one.name!r} has no value; write it to {INPUTS}/{one.name} in the order's base")
        values[one.name] = text
    return flow, values


def rows(ran: tuple[Ran, ...]) -> list[str]:
    """The steps as lines of a report: who, how often, how many tokens, what was wrong."""
    lines = []
    for one in ran:
        how = f"{one.tries} tries, {one.tokens} tokens, {one.model_class}" if one.tries else "not run"
        lines.append(f"- {one.step} ({one.agent}): {'done' if one.text is not None else 'failed'}, {how}")
        lines += [f"  - {issue}" for issue in one.issues]
    return lines


def _insisting(agent: Agent, issues: list[str]) -> Agent:
    """The agent, told what was wrong with its last answer."""
    if not issues:
        return agent
    plain = issues[-1].replace("{{", "\\{{")  # a complaint quotes texts, and a quoted placeholder is none
    return msgspec.structs.replace(
        agent, prompt=f"{agent.prompt}\n\nYour last answer was not right: {plain}\nAnswer again, the whole of it."
    )


def _failed(step: Step, model_class: str, tries: int, tokens: int, issues: tuple[str, ...], why: Cause) -> Ran:
    return Ran(
        step=step.id, agent=step.agent, model_class=model_class, tries=tries, tokens=tokens, issues=issues, cause=why
    )


def _left(flow: Workflow, ran: tuple[Ran, ...]) -> HandOff:
    done = [one.step for one in ran if one.text is not None]
    failed = [f"{one.step}: {one.issues[-1]}" for one in ran if one.text is None]
    return handoff(
        attempted=f"ran the workflow {flow.name}: {', '.join(done)}",
        changed=", ".join(step.output for step in flow.steps if step.output and step.id in done),
        failed="; ".join(failed),
    )
