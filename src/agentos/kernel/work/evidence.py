"""Evidence: what the kernel found out itself, about exactly what was presented.

    present ─> seal (base plus in-scope files) ─> faults of the change itself ─> every check, in a clean sandbox
                                                        │                              │
                                                        └──────────> verdict <─────────┘

Rule 1: a worker's claim is recorded and decides nothing.
Rule 2: the change is judged before the checks run: empty, out of scope, protected, linked or unparsable fails at once.
Rule 3: passed means: every check passed, on this tree, and could have failed. Unverified wins over passed, failed
        wins over both.
Rule 4: whoever worked in the copy or presented it is an author, and so is its model family.
Rule 5: a late writer is refused: a process writes for the attempt it was started in, or has itself begun.
"""

from collections.abc import Sequence

from agentos.abi.budget import NOTHING
from agentos.abi.calls.work import Present
from agentos.abi.effects import Generate, Instruction, Repeat, RunCheck, RunTool, Seal
from agentos.abi.events.base import Event
from agentos.abi.events.call import EffectIntended
from agentos.abi.events.work import (
    ContentPresented,
    EvidenceFound,
    OrderVerified,
    PresentationAsked,
    VerifyingBegun,
)
from agentos.abi.ids import KERNEL, Digest, Pid
from agentos.abi.limits import value
from agentos.abi.refusals import Exhausted, Forbidden, NotYet, Stale
from agentos.abi.replies import Judged
from agentos.abi.rights import Right
from agentos.abi.work import Approval, Change, Check, Reason, Review, Verdict
from agentos.kernel import capability, schedule
from agentos.kernel.decision import Decision, Entry, Ruling, deciding, park, release
from agentos.kernel.state import Order, Process, State
from agentos.kernel.work import order as orders
from agentos.kernel.work import trust

DETAIL_MAX = 4_000  # characters of feedback to a worker: a screen or two of failing tests


def present(state: State, entry: Entry, call: Present) -> Ruling:
    order = orders.find(state, call.order)
    if not isinstance(order, Order):
        return order
    caller = state.processes[entry.id.pid]
    held = capability.find(state, caller, Right.PRESENT, f"/{order.id}")
    if held is None:
        return capability.forbidden(caller, Right.PRESENT, f"/{order.id}")
    if caller.order != order.id:
        return Forbidden(
            thing=f"process {caller.pid}", fact=f"works for {caller.order}, not for {order.id}", rule="law 4"
        )
    if order.state != "executing":
        return NotYet(thing=f"order {order.id}", fact=f"is {order.state}", remedy="begin an attempt first")
    if caller.attempt < order.attempt:
        return outrun(order, caller)
    if order.presentations >= value("presentations_max"):
        return Exhausted(
            thing=f"order {order.id}",
            fact=f"was presented {order.presentations} times",
            remedy="escalate it: a person should look",
            limit="limits.presentations_max",
        )
    events, instructions = sealing(state, order, entry)
    asked = PresentationAsked(order=order.id, by=caller.pid, claim=call.claim, call=entry.id)
    return capability.counted(held, Decision([asked, *events, park(entry, "order", order.id)], instructions))


def outrun(order: Order, caller: Process) -> Stale:
    """The refusal of a writer whose attempt is over."""
    return Stale(
        thing=f"process {caller.pid}",
        fact=f"worked on attempt {caller.attempt} of {order.id}; now is attempt {order.attempt}",
        remedy="start a new process for it",
        rule="law 10: a late writer is refused",
    )


def sealing(state: State, order: Order, entry: Entry) -> tuple[list[Event], list[Instruction]]:
    """The working copy of the attempt is to become one commit."""
    seal = Seal(
        order=order.id,
        attempt=order.attempt,
        repository=order.contract.repository,
        base=order.contract.base,
        scope=order.contract.scope,
        title=order.title,
        at_ns=order.opened_at_ns,
    )
    return schedule.intend(state, seal, pid=KERNEL, account=order.account, reserved=NOTHING, order=order.id, phase="qa")


def change_fault(change: Change) -> tuple[Reason, str] | None:
    """What is wrong with a change as such, before any check is run. First fault wins, gravest first."""
    if change.links:
        return Reason.SYMLINK, f"it adds links or other non-files: {_few(change.links)}"
    if change.protected:
        return Reason.PROTECTED_CHANGED, f"it changes protected paths: {_few(change.protected)}"
    if change.out_of_scope:
        return Reason.OUT_OF_SCOPE, f"it changes paths outside the scope: {_few(change.out_of_scope)}"
    if change.commit == change.base or not change.paths:
        return Reason.NO_CHANGE, "nothing was changed"
    if change.syntax_errors:
        return Reason.SYNTAX_ERROR, f"it does not parse: {_few(change.syntax_errors)}"
    return None


def _few(paths: tuple[str, ...]) -> str:
    shown = ", ".join(paths[:5])
    return shown if len(paths) <= 5 else f"{shown} and {len(paths) - 5} more"


def verify(state: State, order: Order) -> Ruling:
    """The change is sealed: judge it as such, then run every check on it."""
    assert order.change is not None
    wrong = change_fault(order.change)
    if wrong is not None:
        return _verdict(state, order, Verdict.FAILED, *wrong)
    checks = [check for check in order.contract.accept if not isinstance(check, Review | Approval)]
    if not checks:
        return _verdict(state, order, Verdict.PASSED, Reason.OK, "people judge it")
    begun = VerifyingBegun(order=order.id, checks=len(checks))
    return running(state, order, begun, checks, commit=order.change.commit, is_probed=True)


def running(
    state: State, order: Order, begun: Event, checks: Sequence[Check], *, commit: str, is_probed: bool
) -> Decision:
    """The kernel's own checks are to run on one exact commit: the base, or what was presented."""
    events: list[Event] = [begun]
    instructions: list[Instruction] = []
    for offset, check in enumerate(checks):
        run = RunCheck(
            order=order.id,
            attempt=order.attempt,
            repository=order.contract.repository,
            check=check,
            commit=commit,
            base=order.contract.base,
            scope=order.contract.scope,
            is_probed=is_probed,
        )
        more, told = schedule.intend(
            state, run, pid=KERNEL, account=order.account, reserved=NOTHING, order=order.id, phase="qa", offset=offset
        )
        events += more
        instructions += told
    return Decision(events, instructions)


def conclude(state: State, order: Order) -> Ruling:
    """Every check has spoken."""
    assert order.change is not None
    for verdict in (Verdict.FAILED, Verdict.UNVERIFIED):
        for finding in order.findings:
            if finding.verdict == verdict:
                return _verdict(state, order, verdict, finding.reason, f"{finding.check}: {finding.detail}")
    strange = [finding.check for finding in order.findings if finding.tree != order.change.tree]
    if strange:
        return _verdict(state, order, Verdict.FAILED, Reason.WRONG_CONTENT, f"{strange[0]} ran on something else")
    return _verdict(state, order, Verdict.PASSED, Reason.OK, f"{len(order.findings)} checks passed")


def _verdict(state: State, order: Order, verdict: Verdict, reason: Reason, detail: str) -> Decision:
    content = order.change.tree if order.change else Digest("")
    verified = OrderVerified(
        order=order.id, content=content, verdict=verdict, reason=reason, detail=detail[:DETAIL_MAX]
    )
    events: list[Event] = [verified]
    if order.call is not None:
        reply = Judged(verdict=verdict, reason=reason, content=content, detail=detail[:DETAIL_MAX])
        events += release(state, order.call, reply)
    return deciding(*events)


def apply_asked(state: State, event: PresentationAsked, at_ns: int) -> None:
    order = orders.step(state, event.order, event)
    order.call, order.claim = event.call, event.claim
    order.presenter = event.by
    order.presentations += 1
    if event.by in state.processes:
        _author(state, order, event.by, is_making=True)


def apply_presented(state: State, event: ContentPresented, at_ns: int) -> None:
    order = orders.step(state, event.order, event)
    order.change, order.findings, order.attestations = event.change, [], []


def apply_verifying(state: State, event: VerifyingBegun, at_ns: int) -> None:
    orders.step(state, event.order, event).waiting_checks = event.checks


def apply_found(state: State, event: EvidenceFound, at_ns: int) -> None:
    order = state.orders[event.order]
    order.findings.append(event.finding)
    order.waiting_checks -= 1
    assert order.waiting_checks >= 0


def apply_verified(state: State, event: OrderVerified, at_ns: int) -> None:
    trust.apply_verdict(state, event)
    order = orders.step(state, event.order, event)
    order.verdict, order.reason, order.call = event.verdict, event.reason, None
    if event.verdict != Verdict.PASSED:
        order.state = "executing"  # the worker may try again within its attempt


def apply_worked(state: State, event: EffectIntended) -> None:
    """Part of an effect's apply: whoever changes the copy, or asks a model other than to judge, is an author.

    The phase is the caller's word, so it excuses thinking only: a tool that can change something makes an author.
    """
    if event.order not in state.orders or event.pid not in state.processes:
        return
    is_making = isinstance(event.what, RunTool) and event.what.repeat != Repeat.PURE
    is_thinking = isinstance(event.what, Generate) and event.phase not in ("gatekeeping", "review", "orchestration")
    if is_making or is_thinking:
        _author(state, state.orders[event.order], event.pid, is_making=is_making)


def _author(state: State, order: Order, pid: Pid, *, is_making: bool) -> None:
    """The process and its ancestors within the order had a hand in it, and none of their descendants may judge.

    But for the conductor: it hands work and judgement to its children and does neither. It may stand above both, and
    is an author like any once it makes something itself.
    """
    process = state.processes[pid]
    if process.order != order.id:
        return
    for hand in (pid, *process.forebears):
        row = state.processes.get(hand)
        is_conductor = row is not None and row.spec.program == order.contract.conductor
        if hand not in order.workers:
            order.workers.append(hand)
        if hand not in order.barred and (not is_conductor or hand == pid and is_making):
            order.barred.append(hand)
        if row is not None and row.spec.family and row.spec.family not in order.families:
            order.families.append(row.spec.family)
