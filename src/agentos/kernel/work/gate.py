"""The gate: who may judge, what closes an order, and what only a person can say.

Rule 1: nobody judges their own work: the attester shares neither process nor ancestry with an author, also where those
        between them have ended, and where the contract says so, no model family. Where the author of the order accepts
        it, the grade is `self-accepted`.
Rule 2: an attestation is about one exact content. Presenting anew voids it.
Rule 3: an order closes when its checks passed, the gatekeeper, every review and every approval have passed the same
        content, and its branch holds exactly that commit.
Rule 4: a question is decided once, by somebody with the right to approve, with one of its choices. An approval is given
        in no other way, and only by whom the contract names.
Rule 5: a question whose answer would mean nothing any more leaves the inbox.
"""

from agentos.abi.budget import NOTHING
from agentos.abi.calls.work import Attest, Decide
from agentos.abi.effects import Failed, MoveRef
from agentos.abi.events.base import Event
from agentos.abi.events.call import EffectSettled
from agentos.abi.events.work import (
    AttemptEnded,
    ClosingBegun,
    ContentAttested,
    OrderClosed,
    OrderJudged,
    QuestionAsked,
    QuestionDecided,
    QuestionWithdrawn,
)
from agentos.abi.ids import KERNEL
from agentos.abi.refusals import Broken, Closed, Forbidden, Invalid, NotFound, NotYet, Refusal, Stale
from agentos.abi.replies import Chosen, Done
from agentos.abi.rights import Right
from agentos.abi.work import Approval, Review, Verdict
from agentos.kernel import capability, schedule
from agentos.kernel.decision import Decision, Entry, Ruling, answer, deciding, deny, release
from agentos.kernel.state import Attestation, Order, Process, Question, State
from agentos.kernel.work import order as orders

GATE = "gate"


def attest(state: State, entry: Entry, call: Attest) -> Ruling:
    order = orders.find(state, call.order)
    if not isinstance(order, Order):
        return order
    caller = state.processes[entry.id.pid]
    refusal = _attest_fault(state, order, caller, call)
    if refusal is not None:
        return refusal
    held = capability.find(state, caller, Right.ATTEST, f"/{order.id}")
    attested = ContentAttested(
        order=order.id,
        content=call.content,
        check=call.check,
        verdict=call.verdict,
        reason=call.reason,
        by=caller.pid,
        principal=caller.principal,
        family=caller.spec.family,
        grade="self-accepted" if caller.principal == order.author else "independent",
    )
    return capability.counted(held, deciding(attested, answer(entry, Done())))


def _attest_fault(state: State, order: Order, caller: Process, call: Attest) -> Refusal | None:
    if capability.find(state, caller, Right.ATTEST, f"/{order.id}") is None:
        return capability.forbidden(caller, Right.ATTEST, f"/{order.id}")
    if order.state != "gating" or order.change is None:
        return NotYet(thing=f"order {order.id}", fact=f"is {order.state}, not verified", remedy="wait for its verdict")
    if call.content != order.change.tree:
        return Stale(
            thing=f"content {call.content[-12:]}",
            fact=f"is not what is presented now ({order.change.tree[-12:]})",
            remedy="look at the order again and judge that",
        )
    reviews = [check.name for check in order.contract.accept if isinstance(check, Review)]
    if call.check != GATE and call.check not in reviews:
        return NotFound(thing=f"review {call.check!r}", fact=f"is not asked for by {order.id}")
    return _kinship(state, order, caller, call.check)


def _kinship(state: State, order: Order, caller: Process, check: str) -> Refusal | None:
    """Separation of duties: neither an author, nor above or below one."""
    above = [pid for pid in caller.forebears if pid in order.barred]
    if caller.pid in order.workers or above:
        is_own = caller.pid in order.workers
        return Forbidden(
            thing=f"process {caller.pid}",
            fact=f"had a hand in {order.id}" if is_own else f"descends from {above[-1]}, an author of {order.id}",
            remedy="have somebody else judge it",
            rule="law 6: no one judges their own work",
        )
    asked = next((one for one in order.contract.accept if one.name == check), None)
    other = isinstance(asked, Review) and asked.is_other_family or check == GATE and order.contract.is_gate_other_family
    if other and (not caller.spec.family or caller.spec.family in order.families):
        return Forbidden(
            thing=f"model family {caller.spec.family or '(none)'}",
            fact=f"worked on {order.id} itself" if caller.spec.family else "is not known",
            remedy="judge with a model of another family",
            rule="law 6: another family",
        )
    return None


def weigh(state: State, order: Order) -> Ruling:
    """Verified: ask people, or close when every judgement is in."""
    if order.verdict != Verdict.PASSED or order.change is None:
        return deciding()
    if order.contract.is_external:
        return judging(state, order)
    rejected = [row for row in order.attestations if row.verdict != Verdict.PASSED]
    if rejected:
        detail = f"{rejected[0].check} was judged {rejected[0].verdict} by {rejected[0].principal}"
        ended = AttemptEnded(order=order.id, attempt=order.attempt, reason=detail)
        return deciding(*orders.withdrawing(state, order, "what it was about was rejected"), ended)
    passed = {row.check: None for row in order.attestations}
    missing = [
        check for check in order.contract.accept if isinstance(check, Review | Approval) and check.name not in passed
    ]
    if not order.processes and (GATE not in passed or any(isinstance(check, Review) for check in missing)):
        detail = "whoever could have it judged has ended"
        return orders.escalating(state, order, "conductor_ended", detail, ("retry", "cancel"))
    asked = [state.questions[number].text for number in order.questions if number in state.questions]
    events: list[Event] = []
    for check in missing:
        text = _approval_text(order, check.name)
        if isinstance(check, Approval) and text not in asked:
            events.append(_approval(state, order, text, len(events)))
    if missing or GATE not in passed:
        return deciding(*events)
    return _close(state, order)


def _approval_text(order: Order, name: str) -> str:
    assert order.change is not None
    return f"{order.id} {order.title}: approve {name!r} for commit {order.change.commit[:12]}?"


def _approval(state: State, order: Order, text: str, offset: int) -> QuestionAsked:
    assert order.change is not None
    return QuestionAsked(
        question=state.next_question + offset,
        kind="approval",
        text=text,
        choices=("approve", "reject"),
        pid=KERNEL,
        order=order.id,
        content=order.change.tree,
    )


def judging(state: State, order: Order) -> Decision:
    """An external change has its verdict, which is all that was asked for."""
    assert order.verdict is not None and order.reason is not None
    spent = state.accounts[order.account].spent
    over = OrderJudged(order=order.id, verdict=order.verdict, reason=order.reason, spent=spent)
    return orders.ending(state, order, over)


def _close(state: State, order: Order) -> Decision:
    assert order.change is not None
    if not order.contract.branch:
        return closing(state, order)
    ref = order.contract.branch.replace("{order}", order.id)
    move = MoveRef(
        order=order.id, attempt=order.attempt, repository=order.contract.repository, ref=ref, commit=order.change.commit
    )
    events, instructions = schedule.intend(
        state, move, pid=KERNEL, account=order.account, reserved=NOTHING, order=order.id, phase="gatekeeping"
    )
    return Decision([ClosingBegun(order=order.id), *events], instructions)


def closing(state: State, order: Order) -> Decision:
    """The order is completed."""
    assert order.change is not None
    spent = state.accounts[order.account].spent
    over = OrderClosed(order=order.id, commit=order.change.commit, content=order.change.tree, spent=spent)
    return orders.ending(state, order, over)


def decide(state: State, entry: Entry, call: Decide) -> Ruling:
    question = state.questions.get(call.question)
    if question is None:
        gone = call.question < state.next_question
        fact = "is decided already, or its order is over" if gone else "does not exist"
        kind = Closed if gone else NotFound
        return kind(thing=f"question {call.question}", fact=fact, remedy="list the open ones with: agentos inbox")
    caller = state.processes[entry.id.pid]
    held = capability.find(state, caller, Right.APPROVE, f"/{question.order or ''}")
    if held is None:
        return capability.forbidden(caller, Right.APPROVE, f"/{question.order or ''}")
    refusal = _approval_fault(state, question, caller) if question.kind == "approval" else None
    if refusal is not None:
        return refusal
    if question.choices and call.choice not in question.choices:
        return Invalid(
            thing=f"choice {call.choice!r}",
            fact=f"is none of: {', '.join(question.choices)}",
            remedy="take one of them",
        )
    decided = QuestionDecided(question=question.id, choice=call.choice, text=call.text, by=caller.principal)
    more = _consequences(state, question, call, caller, entry.now_ns)
    return capability.counted(held, Decision([decided, *more.events, answer(entry, Done())], more.instructions))


def _approval_fault(state: State, question: Question, caller: Process) -> Refusal | None:
    """Whose approval it is: the person's that the contract names, and never an author's."""
    assert question.order is not None, "an approval is about an order"
    order = state.orders[question.order]
    asked = _asked(order, question)
    if asked.who and asked.who != caller.principal:
        return Forbidden(thing=f"approval {asked.name!r}", fact=f"is {asked.who}'s to give, not {caller.principal}'s")
    return _kinship(state, order, caller, asked.name)


def _asked(order: Order, question: Question) -> Approval:
    """The approval of the contract that a question is about."""
    approvals = [check for check in order.contract.accept if isinstance(check, Approval)]
    return next(check for check in approvals if _approval_text(order, check.name) == question.text)


def _consequences(state: State, question: Question, call: Decide, caller: Process, now_ns: int) -> Decision:
    order = state.orders.get(question.order) if question.order is not None else None
    match question.kind:
        case "ask" if question.call is not None:
            return deciding(*release(state, question.call, Chosen(choice=call.choice, text=call.text)))
        case "unknown":
            return _resolve(state, question, call.choice)
        case "approval" if order is not None and order.change is not None and question.content == order.change.tree:
            return deciding(_accepted(order, question, call, caller))
        case "escalation" if order is not None and order.state == "escalated":
            if call.choice == "cancel":
                return orders.cancelling(state, order, f"cancelled by {caller.principal}", kept=question.id)
            return orders.resuming(state, order, now_ns)
    return deciding()


def _accepted(order: Order, question: Question, call: Decide, caller: Process) -> ContentAttested:
    assert order.change is not None
    return ContentAttested(
        order=order.id,
        content=order.change.tree,
        check=_asked(order, question).name,
        verdict=Verdict.PASSED if call.choice == "approve" else Verdict.FAILED,
        reason=call.text,
        by=caller.pid,
        principal=caller.principal,
        grade="self-accepted" if caller.principal == order.author else "independent",
    )


def _resolve(state: State, question: Question, choice: str) -> Decision:
    """A person has looked: the effect's outcome is what they say, and its caller goes on."""
    pending = state.effects.get(question.effect)
    if pending is None:
        return deciding()
    assert pending.is_orphaned, "a person is asked about what is lost"
    outcome = Failed(fact=f"its outcome was lost; a person says it {choice}")
    spent = pending.reserved if choice == "happened" else NOTHING
    events: list[Event] = [EffectSettled(effect=pending.id, attempt=pending.attempt, outcome=outcome, spent=spent)]
    if pending.call is not None:
        refusal = Broken(
            thing="outcome", fact=f"was lost in a crash; a person says: {choice}", remedy="go on from there"
        )
        events += deny(state, pending.call, refusal)
    return deciding(*events)


def apply_attested(state: State, event: ContentAttested, at_ns: int) -> None:
    order = state.orders[event.order]
    assert order.change is not None and event.content == order.change.tree
    order.attestations.append(
        Attestation(event.content, event.check, event.verdict, event.by, event.principal, event.family, event.grade)
    )


def apply_closing(state: State, event: ClosingBegun, at_ns: int) -> None:
    orders.step(state, event.order, event)


def apply_question(state: State, event: QuestionAsked, at_ns: int) -> None:
    assert event.question == state.next_question, "questions are numbered as they are asked"
    state.next_question += 1
    state.questions[event.question] = Question(
        event.question,
        event.kind,
        event.text,
        event.choices,
        event.pid,
        event.order,
        event.content,
        event.effect,
        event.call,
    )
    if event.order in state.orders and event.kind != "escalation":
        state.orders[event.order].questions.append(event.question)


def apply_answered(state: State, event: QuestionDecided | QuestionWithdrawn, at_ns: int) -> None:
    question = state.questions.pop(event.question)
    order = state.orders.get(question.order) if question.order is not None else None
    if order is None:
        return
    order.questions.remove(question.id)
    if isinstance(event, QuestionDecided) and event.choice == "proceed" and question.kind == "escalation":
        order.proved_by = "waived"


__all__ = ["attest", "closing", "decide", "judging", "weigh"]
