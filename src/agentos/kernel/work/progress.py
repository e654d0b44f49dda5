"""An order's next step, as far as it needs nobody's word. The only place that knows the whole way.

    submitted ─ red proofs ─> ready ─ conductor ─> executing ... presented ─ checks ─> verdict ─ gate ─> closed

Rule 1: each step is a function of the order's state alone; taking it twice is impossible, since it changes that state.
Rule 2: when a step cannot be taken and nobody else will take it, a person is asked. An order is never just stuck.
"""

from agentos.abi.calls.kernel import Advance
from agentos.abi.calls.process import Spawn
from agentos.abi.events.work import OrderReady, ProvingBegun
from agentos.abi.ids import INIT
from agentos.abi.work import Command, Reason, Verdict
from agentos.kernel import process
from agentos.kernel.decision import Decision, Entry, Ruling, deciding
from agentos.kernel.state import Order, State
from agentos.kernel.work import contract, evidence, gate
from agentos.kernel.work import order as orders


def advance(state: State, entry: Entry, call: Advance) -> Ruling:
    """Kernel call: take the next step that needs nobody's word."""
    order = state.orders.get(call.order)
    if order is None:
        return deciding()  # an earlier step of the same batch has ended it
    step: Ruling
    match order.state:
        case "submitted":
            step = _prove(state, order)
        case "proving" if order.waiting_checks == 0:
            step = _weigh_proofs(state, order)
        case "ready" if order.contract.is_external and not order.is_conducted:
            step = Decision(*orders.start(state, order, entry))
        case "executing" if order.contract.is_external and order.verdict is not None:
            step = gate.judging(state, order)
        case "ready" | "executing":
            step = _conduct(state, order)
        case "presented":
            step = evidence.verify(state, order)
        case "verifying" if order.waiting_checks == 0:
            step = evidence.conclude(state, order)
        case "gating":
            step = _weigh(state, order)
        case _:
            step = deciding()
    assert isinstance(step, Decision)
    return step


def _prove(state: State, order: Order) -> Ruling:
    """Red first: every command is run on the base before anyone works."""
    commands = [check for check in order.contract.accept if isinstance(check, Command)]
    if not commands or not order.contract.repository:
        return deciding(OrderReady(order=order.id))
    begun = ProvingBegun(order=order.id, checks=len(commands))
    return evidence.running(state, order, begun, commands, commit=order.contract.base, is_probed=False)


def _weigh_proofs(state: State, order: Order) -> Ruling:
    must_fail = [
        check.name for check in order.contract.accept if isinstance(check, Command) and check.must_fail_on_base
    ]
    for finding in order.proofs:
        if finding.verdict == Verdict.UNVERIFIED:
            return orders.escalating(
                state, order, finding.reason, f"{finding.check} on the base: {finding.detail}", ("proceed", "cancel")
            )
        if finding.check in must_fail and finding.verdict == Verdict.PASSED:
            detail = f"{finding.check} passes on the base already, so it cannot show that work was done"
            return orders.escalating(state, order, Reason.CHECK_GREEN_ON_BASE, detail, ("proceed", "cancel"))
    return deciding(OrderReady(order=order.id))


def _weigh(state: State, order: Order) -> Ruling:
    """Close, or ask for what is missing; where nobody is left who could bring it, a person is asked."""
    step = gate.weigh(state, order)
    assert isinstance(step, Decision)
    is_awaited = bool(order.processes) or any(number in state.questions for number in order.questions)
    if step.events or is_awaited or order.contract.is_external:
        return step
    return orders.escalating(
        state, order, "not_judged", "whoever was to judge it ended without a word", ("retry", "cancel")
    )


def _conduct(state: State, order: Order) -> Ruling:
    """A ready order gets its conductor; one whose conductor is gone without a result goes to a person."""
    if order.contract.is_external:
        is_stuck = order.state == "ready" and order.is_conducted
        return (
            orders.escalating(state, order, "attempt_failed", "the change could not be read", ("retry", "cancel"))
            if is_stuck
            else deciding()
        )
    if not order.is_conducted:
        spec = Spawn(
            program=order.contract.conductor,
            role="conductor",
            name=f"conductor of {order.id}",
            grants=contract.grants(order.id, order.contract),
            order=order.id,
            domain=f"{order.id}",
        )
        init = state.processes[INIT]
        return Decision(*process.birth(state, init, spec, order.id, order.account, grants=spec.grants))
    if not order.processes:
        return orders.escalating(
            state, order, "conductor_ended", "whoever ran it ended without a result", ("retry", "cancel")
        )
    return deciding()
