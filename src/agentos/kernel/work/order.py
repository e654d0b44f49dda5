"""The work order's life. Each step is an event, and each event is allowed from some states only.

    submitted ─> proving ─> ready ─> starting ─> executing ─> sealing ─> presented ─> verifying
                               ▲                  ▲   │                                 │
                               │                  └───┼────────── failed ───────────────┤
                               └── attempt ended ─────┘                                 ▼ passed
    closed <─ closing <─ gating <────────────────────────────────────────────────────── gating
    from any open state: escalated (a person decides) ─> ready | cancelled;  cancelled;  external orders: judged

Rule 1: the table below is the whole truth; `step` asserts it for every event.
Rule 2: an order's authority comes from its author: whoever submits needs the right to author.
Rule 3: an order that is over owns no process, no money and no slot.
"""

from agentos.abi.budget import NOTHING
from agentos.abi.calls.work import Begin, Cancel, Escalate, Look, Raise, Submit
from agentos.abi.effects import Abort, Cancelled, Checkout, Halt, Instruction
from agentos.abi.events.base import Event
from agentos.abi.events.call import EffectSettled, TimerFired, TimerSet
from agentos.abi.events.process import AccountClosed, AccountOpened, AccountRaised
from agentos.abi.events.work import (
    AttemptBegun,
    AttemptEnded,
    ClosingBegun,
    ContentPresented,
    CopyMade,
    OrderCancelled,
    OrderClosed,
    OrderEscalated,
    OrderJudged,
    OrderProved,
    OrderReady,
    OrderResumed,
    OrderSubmitted,
    OrderVerified,
    PresentationAsked,
    ProvingBegun,
    QuestionAsked,
    QuestionWithdrawn,
    VerifyingBegun,
)
from agentos.abi.ids import KERNEL, AccountId, OrderId
from agentos.abi.limits import value
from agentos.abi.refusals import Closed, Exhausted, Invalid, NotFound, NotYet, Refusal
from agentos.abi.replies import Done, Ordered, Standing
from agentos.abi.rights import Right
from agentos.kernel import agenda, budget, capability, ipc, process, schedule
from agentos.kernel.decision import Decision, Entry, Ruling, answer, deciding, deny, park
from agentos.kernel.state import Order, State, Summary
from agentos.kernel.work import contract

OPEN = (
    "submitted",
    "proving",
    "ready",
    "starting",
    "executing",
    "sealing",
    "presented",
    "verifying",
    "gating",
    "closing",
)

TRANSITIONS: dict[type[Event], tuple[tuple[str, ...], str]] = {
    ProvingBegun: (("submitted",), "proving"),
    OrderReady: (("submitted", "proving"), "ready"),
    AttemptBegun: (("ready", "executing"), "starting"),
    CopyMade: (("starting",), "executing"),
    AttemptEnded: (("starting", "executing", "sealing", "presented", "gating"), "ready"),
    PresentationAsked: (("executing",), "sealing"),
    ContentPresented: (("sealing",), "presented"),
    VerifyingBegun: (("presented",), "verifying"),
    OrderVerified: (("presented", "verifying"), "gating"),  # or executing, when it did not pass
    ClosingBegun: (("gating",), "closing"),
    OrderClosed: (("gating", "closing"), "closed"),
    OrderJudged: (("gating", "executing"), "judged"),
    OrderEscalated: (OPEN, "escalated"),
    OrderResumed: (("escalated",), "ready"),
    OrderCancelled: ((*OPEN, "escalated"), "cancelled"),
}
OVER = ("closed", "judged", "cancelled")


def submit(state: State, entry: Entry, call: Submit) -> Ruling:
    caller = state.processes[entry.id.pid]
    held = capability.find(state, caller, Right.AUTHOR, "/")
    if held is None:
        return capability.forbidden(caller, Right.AUTHOR, "/")
    if len(state.orders) >= value("orders_open_max"):
        return Exhausted(thing="open orders", fact=f"are {len(state.orders)} already", limit="limits.orders_open_max")
    refusal = contract.fault(call.contract, state.accounts[AccountId(1)])
    if refusal is not None:
        return refusal
    order, account = OrderId(f"WO-{state.next_order}"), AccountId(state.next_account)
    due = entry.now_ns + call.contract.wall_ns_max
    ruling = deciding(
        AccountOpened(account=account, parent=AccountId(1), limit=call.contract.budget, owner=order),
        OrderSubmitted(
            order=order,
            title=call.title,
            text=call.text,
            contract=call.contract,
            author=caller.principal,
            by=caller.pid,
            account=account,
        ),
        TimerSet(timer=state.next_timer, at_ns=due, pid=KERNEL, kind="order", target=order),
        answer(entry, Ordered(order=order)),
    )
    return capability.counted(held, ruling)


def find(state: State, id: OrderId) -> Order | Refusal:
    """An open order, or why there is none."""
    order = state.orders.get(id)
    if order is not None:
        return order
    over = state.closed.get(id)
    if over is None:
        return NotFound(thing=f"order {id}", fact="does not exist", remedy="list them with: agentos work ls")
    return Closed(thing=f"order {id}", fact=f"is {over.state}", remedy="submit a new one")


def look(state: State, entry: Entry, call: Look) -> Ruling:
    order = find(state, call.order)
    if not isinstance(order, Order):
        return order
    standing = Standing(
        order=order.id,
        state=order.state,
        title=order.title,
        text=order.text,
        contract=order.contract,
        attempt=order.attempt,
        presentations=order.presentations,
        verdict=order.verdict,
        reason=order.reason,
        content=order.change.tree if order.change else None,
        commit=order.commit,
        proofs=tuple(order.proofs),
        findings=tuple(order.findings),
        change=order.change,
    )
    return deciding(answer(entry, standing))


def begin(state: State, entry: Entry, call: Begin) -> Ruling:
    order = find(state, call.order)
    if not isinstance(order, Order):
        return order
    caller = state.processes[entry.id.pid]
    held = capability.find(state, caller, Right.CONDUCT, f"/{order.id}")
    if held is None:
        return capability.forbidden(caller, Right.CONDUCT, f"/{order.id}")
    if order.state not in TRANSITIONS[AttemptBegun][0]:
        return NotYet(thing=f"order {order.id}", fact=f"is {order.state}", remedy="wait until it is ready")
    if order.attempt - order.attempts_granted >= order.contract.attempts_max:
        return Exhausted(
            thing=f"order {order.id}",
            fact=f"has had its {order.attempt} attempts",
            remedy="escalate it; a person can grant more",
            limit="order.attempts",
        )
    events, instructions = start(state, order, entry)
    return capability.counted(held, Decision([*events, park(entry, "order", order.id)], instructions))


def start(state: State, order: Order, entry: Entry) -> tuple[list[Event], list[Instruction]]:
    """A new attempt: its working copy is made."""
    number = order.attempt + 1
    source = order.contract.candidate or order.contract.base
    checkout = Checkout(order=order.id, attempt=number, repository=order.contract.repository, commit=source)
    events, instructions = schedule.intend(
        state, checkout, pid=KERNEL, account=order.account, reserved=NOTHING, order=order.id, phase="orchestration"
    )
    call = entry.id if entry.id.pid != KERNEL else None
    return [AttemptBegun(order=order.id, attempt=number, by=entry.id.pid, call=call), *events], instructions


def escalating(state: State, order: Order, reason: str, detail: str, choices: tuple[str, ...]) -> Decision:
    """The order waits for a person; its processes end, and it costs nothing."""
    number = state.next_question
    asked = QuestionAsked(
        question=number,
        kind="escalation",
        text=f"{order.id} {order.title}: {reason}. {detail}".strip(),
        choices=choices,
        pid=KERNEL,
        order=order.id,
    )
    escalated = OrderEscalated(order=order.id, question=number, reason=str(reason), detail=detail)
    ends, instructions = _stop(state, order, f"{order.id} was escalated")
    void = withdrawing(state, order, "the order was escalated")
    return Decision([*void, escalated, asked, *ends], instructions)


def withdrawing(state: State, order: Order, reason: str, *, kept: int = 0) -> list[Event]:
    """What the kernel asked about it leaves the inbox. What its processes asked leaves with them.

    `kept` is the question that is being answered right now.
    """
    asked = [state.questions[number] for number in order.questions if number != kept]
    return [
        QuestionWithdrawn(question=row.id, reason=reason) for row in asked if row.kind in ("approval", "escalation")
    ]


def resuming(state: State, order: Order, now_ns: int) -> Decision:
    """A person's word that it goes on: from the start, with time and attempts of its own."""
    due = now_ns + order.contract.wall_ns_max
    return deciding(
        OrderResumed(order=order.id, state="ready"),
        TimerSet(timer=state.next_timer, at_ns=due, pid=KERNEL, kind="order", target=order.id),
    )


def _stop(state: State, order: Order, reason: str) -> tuple[list[Event], list[Instruction]]:
    """End the order's processes and whatever the kernel itself has in flight for it."""
    events: list[Event] = []
    instructions: list[Instruction] = []
    if order.call is not None:
        events += deny(state, order.call, Closed(thing=f"order {order.id}", fact=reason))
    for pid in order.processes:
        if state.processes[pid].state != "zombie":
            events += process.killed(pid, reason)
            instructions.append(Halt(pid))
    for pending in state.effects.values():
        if pending.order != order.id or pending.pid != KERNEL:
            continue
        if pending.is_dispatched:
            instructions.append(Abort(pending.id))
        else:
            events.append(EffectSettled(effect=pending.id, attempt=pending.attempt, outcome=Cancelled(), spent=NOTHING))
    return events, instructions


def escalate(state: State, entry: Entry, call: Escalate) -> Ruling:
    order = find(state, call.order)
    if not isinstance(order, Order):
        return order
    caller = state.processes[entry.id.pid]
    held = capability.find(state, caller, Right.CONDUCT, f"/{order.id}")
    if held is None:
        return capability.forbidden(caller, Right.CONDUCT, f"/{order.id}")
    if order.state not in ("ready", "executing", "gating"):
        return NotYet(thing=f"order {order.id}", fact=f"is {order.state}", remedy="wait for its verdict")
    ruling = escalating(state, order, call.reason, call.detail, ("retry", "cancel"))
    return capability.counted(held, Decision([answer(entry, Done()), *ruling.events], ruling.instructions))


def cancel(state: State, entry: Entry, call: Cancel) -> Ruling:
    order = find(state, call.order)
    if not isinstance(order, Order):
        return order
    caller = state.processes[entry.id.pid]
    is_author = caller.principal == order.author
    held = None if is_author else capability.find(state, caller, Right.CONDUCT, f"/{order.id}")
    if not is_author and held is None:
        return capability.forbidden(caller, Right.CONDUCT, f"/{order.id}")
    ruling = cancelling(state, order, call.reason or f"cancelled by {caller.principal}")
    return capability.counted(held, Decision([answer(entry, Done()), *ruling.events], ruling.instructions))


def cancelling(state: State, order: Order, reason: str, *, kept: int = 0) -> Decision:
    """The order ends without a result."""
    ends, instructions = _stop(state, order, f"{order.id} was cancelled")
    void = withdrawing(state, order, "the order was cancelled", kept=kept)
    spent = state.accounts[order.account].spent
    over = OrderCancelled(order=order.id, reason=reason, spent=spent)
    return Decision([*void, *ends, over, AccountClosed(account=order.account)], instructions)


def ending(state: State, order: Order, over: Event) -> Decision:
    """The order ends with a result: nothing of it goes on."""
    ends, instructions = _stop(state, order, f"{order.id} is over")
    return Decision(
        [*withdrawing(state, order, "the order is over"), *ends, over, AccountClosed(account=order.account)],
        instructions,
    )


def raise_(state: State, entry: Entry, call: Raise) -> Ruling:
    order = find(state, call.order)
    if not isinstance(order, Order):
        return order
    caller = state.processes[entry.id.pid]
    is_author = caller.principal == order.author
    held = None if is_author else capability.find(state, caller, Right.AUTHOR, "/")
    if not is_author and held is None:
        return capability.forbidden(caller, Right.AUTHOR, "/")
    if not NOTHING.fits(call.by):
        return Invalid(thing="field by", fact="is negative", remedy="a budget is lowered by cancelling")
    short = budget.fault(state, AccountId(1), call.by)
    raised = AccountRaised(account=order.account, by=call.by)
    return short or capability.counted(held, deciding(raised, answer(entry, Done())))


def overdue(state: State, fired: TimerFired, target: str) -> Ruling:
    """The order's time is up."""
    order = state.orders.get(OrderId(target))
    if order is None or order.state not in OPEN:
        return deciding(fired)
    minutes = order.contract.wall_ns_max // 60_000_000_000
    ruling = escalating(state, order, "overdue", f"its time limit of {minutes} min is up", ("retry", "cancel"))
    return Decision([fired, *ruling.events], ruling.instructions)


def step(state: State, order: OrderId, event: Event) -> Order:
    """Part of every transition's apply: the table's word."""
    row = state.orders[order]
    sources, target = TRANSITIONS[type(event)]
    assert row.state in sources, f"{order}: {type(event).__name__} from {row.state}"
    row.state = target
    return row


def apply_submitted(state: State, event: OrderSubmitted, at_ns: int) -> None:
    assert event.order == f"WO-{state.next_order}", "orders are numbered as they are submitted"
    state.next_order += 1
    state.orders[event.order] = Order(
        id=event.order,
        title=event.title,
        text=event.text,
        contract=event.contract,
        author=event.author,
        by=event.by,
        account=event.account,
        opened_at_ns=at_ns,
    )


def apply_proving(state: State, event: ProvingBegun, at_ns: int) -> None:
    step(state, event.order, event).waiting_checks = event.checks


def apply_proved(state: State, event: OrderProved, at_ns: int) -> None:
    order = state.orders[event.order]
    order.proofs.append(event.finding)
    order.waiting_checks -= 1
    assert order.waiting_checks >= 0


def apply_ready(state: State, event: OrderReady, at_ns: int) -> None:
    step(state, event.order, event)


def apply_begun(state: State, event: AttemptBegun, at_ns: int) -> None:
    order = step(state, event.order, event)
    order.attempt, order.call = event.attempt, event.call
    if event.by in order.processes:
        state.processes[event.by].attempt = event.attempt
    order.change = order.verdict = order.reason = None
    order.is_conducted = True


def apply_copied(state: State, event: CopyMade, at_ns: int) -> None:
    step(state, event.order, event).call = None


def apply_ended(state: State, event: AttemptEnded, at_ns: int) -> None:
    step(state, event.order, event).call = None


def apply_escalated(state: State, event: OrderEscalated, at_ns: int) -> None:
    order = step(state, event.order, event)
    order.call, order.waiting_checks = None, 0
    order.questions.append(event.question)
    _abandon(state, event.order)


def apply_resumed(state: State, event: OrderResumed, at_ns: int) -> None:
    order = step(state, event.order, event)
    order.is_conducted = False
    order.attempts_granted = order.attempt  # a person's retry is a fresh allowance
    order.presentations = 0


def apply_over(state: State, event: OrderClosed | OrderJudged | OrderCancelled, at_ns: int) -> None:
    order = step(state, event.order, event)
    commit = event.commit if isinstance(event, OrderClosed) else order.commit
    state.closed[event.order] = Summary(
        event.order,
        order.state,
        order.title,
        commit,
        event.spent,
        at_ns,
        order.account,
        order.author,
        order.contract.repository,
        order.contract.base,
    )
    _abandon(state, event.order)
    agenda.strike(state, order.timer)
    ipc.close(state, event.order)
    schedule.forget(state, event.order)
    del state.orders[event.order]


def _abandon(state: State, order: OrderId) -> None:
    """What the kernel still has in flight for it is only charged from now on. O(effects in flight)."""
    for pending in state.effects.values():
        if pending.order == order and pending.pid == KERNEL:
            pending.is_abandoned = True
