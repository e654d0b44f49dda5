"""The calls that touch the world for an agent: infer, invoke, ask. Checked, reserved, parked until the outcome.

Rule 1: no request leaves without a reservation of its upper bound.
Rule 2: the same call again and again is a loop: after `repeats_max` in a row it is refused, and nothing is spent.
Rule 3: an order that is over costs nothing more.
Rule 4: who worked on an earlier attempt may look at the new working copy, and not write to it.
"""

from agentos.abi.budget import NOTHING, Amounts
from agentos.abi.calls.device import Ask, Infer, Invoke
from agentos.abi.effects import AnyEffect, Generate, Repeat, RunTool
from agentos.abi.events.work import QuestionAsked
from agentos.abi.limits import value
from agentos.abi.refusals import Closed, Exhausted, NotYet, Refusal
from agentos.abi.rights import Right
from agentos.kernel import budget, capability, schedule
from agentos.kernel.decision import Decision, Entry, Ruling, deciding, park
from agentos.kernel.state import Process, State
from agentos.kernel.work import evidence

REPEATS = {kind.value: kind for kind in Repeat}  # whatever else a manifest says is `once`
COPY_STATES = ("executing", "sealing", "presented", "verifying", "gating")


def infer(state: State, entry: Entry, call: Infer) -> Ruling:
    process = state.processes[entry.id.pid]
    held = capability.find(state, process, Right.INFER, f"/{call.model_class}")
    if held is None:
        return capability.forbidden(process, Right.INFER, f"/{call.model_class}")
    reserved = Amounts(call.bound_uusd, call.input_tokens_max + call.output_tokens_max, 1)
    what = Generate(request=call.request, backend=call.backend, model_class=call.model_class)
    assert NOTHING.fits(reserved), "the machine enters bounds that are not negative"
    return capability.counted(held, _start(state, entry, process, what, reserved, call.phase))


def invoke(state: State, entry: Entry, call: Invoke) -> Ruling:
    process = state.processes[entry.id.pid]
    held = capability.find(state, process, Right.TOOL, f"/{call.tool}")
    if held is None:
        return capability.forbidden(process, Right.TOOL, f"/{call.tool}")
    order = state.orders.get(process.order) if process.order is not None else None
    kind = REPEATS.get(call.repeat, Repeat.ONCE)
    if order is not None and order.state not in COPY_STATES:
        return NotYet(
            thing=f"order {order.id}", fact=f"is {order.state} and has no working copy", remedy="begin it first"
        )
    if order is not None and kind != Repeat.PURE and process.attempt < order.attempt:
        return evidence.outrun(order, process)
    what = RunTool(
        tool=call.tool,
        arguments=call.arguments,
        order=process.order,
        attempt=order.attempt if order else 0,
        repeat=kind,
    )
    return capability.counted(held, _start(state, entry, process, what, Amounts(actions=1), call.phase))


def _start(state: State, entry: Entry, process: Process, what: AnyEffect, reserved: Amounts, phase: str) -> Ruling:
    refusal = _loop(process, entry) or _over(state, process) or budget.fault(state, process.account, reserved)
    if refusal is not None:
        return refusal
    events, instructions = schedule.intend(
        state,
        what,
        pid=process.pid,
        account=process.account,
        reserved=reserved,
        order=process.order,
        phase=phase,
        priority=process.spec.priority,
        call=entry.id,
    )
    number = str(state.next_effect)
    return Decision([park(entry, "effect", number), *events], instructions)


def _loop(process: Process, entry: Entry) -> Refusal | None:
    if process.repeated != entry.args or process.repeats < value("repeats_max"):
        return None
    return Exhausted(
        thing=f"process {process.pid}",
        fact=f"has made the same {entry.name} call {process.repeats} times in a row",
        remedy="do something else, or end; a human can raise limits.repeats_max",
        rule="loop detector",
        limit="limits.repeats_max",
    )


def _over(state: State, process: Process) -> Refusal | None:
    if process.order is None or process.order in state.orders:
        return None
    return Closed(thing=f"order {process.order}", fact="is over", rule="law 5")


def ask(state: State, entry: Entry, call: Ask) -> Ruling:
    process = state.processes[entry.id.pid]
    open_now = sum(row.pid == process.pid or row.order == process.order is not None for row in state.questions.values())
    if open_now >= value("questions_max"):
        return Exhausted(thing="questions", fact=f"{open_now} are open already", limit="limits.questions_max")
    number = state.next_question
    asked = QuestionAsked(
        question=number,
        kind="ask",
        text=call.question,
        choices=call.choices,
        pid=process.pid,
        order=process.order,
        call=entry.id,
    )
    return deciding(park(entry, "question", str(number)), asked)
