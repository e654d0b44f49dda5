"""The scheduler: which queued effect gets a device's free slot.

    lane = priority and order; within a lane first come, first served
    between lanes: highest priority first, where waiting raises it one step each AGE_STEP_NS,
    then the order that has used the least of this device for its weight (stride scheduling)

Rule 1: slots are never idle while something is queued for them: `hungry` says so, and `demand` acts on it.
Rule 2: nobody starves: ageing lifts any lane above any fixed priority in bounded time.
Rule 3: an order that comes late starts at the clock, so that idling earns no credit.
Source: Waldspurger and Weihl, "Stride scheduling" (1995).
"""

from agentos.abi.budget import Amounts
from agentos.abi.calls.kernel import Dispatch
from agentos.abi.effects import AnyEffect, Instruction, Perform, device
from agentos.abi.events.base import Event
from agentos.abi.events.call import EffectDispatched, EffectIntended
from agentos.abi.ids import AccountId, CallId, OrderId, Pid
from agentos.abi.limits import value
from agentos.kernel.decision import Entry, Ruling, deciding
from agentos.kernel.state import Device, Pending, State

AGE_STEP_NS = (
    10_000_000_000  # one priority step for each 10 s of waiting: slow next to a model call, fast next to a person
)
STRIDE = 1 << 20  # of virtual time for one use at weight 1; divides without much loss up to weights of a thousand

SLOTS = {
    "inference": value("inference_slots"),
    "tool": value("tool_slots"),
    "check": value("check_slots"),
    "forge": value("forge_slots"),
}


def lane(pending: Pending) -> str:
    """The lane an effect waits in."""
    return f"{pending.priority}:{pending.order or ''}"


def dispatch(state: State, entry: Entry, call: Dispatch) -> Ruling:
    """Kernel call: give one free slot to the effect whose turn it is."""
    row = state.devices[call.device]
    assert row.lanes and row.busy < row.slots, "hungry means a free slot and a queue"
    chosen = min(row.lanes, key=lambda name: _rank(state, row, name, entry.now_ns))
    pending = state.effects[row.lanes[chosen][0]]
    started = dispatched(state, pending.id, pending.what, pending.order or "", pending.attempt + 1)
    return deciding(started, then=[instruction(state, started, pending.what)])


def intend(
    state: State,
    what: AnyEffect,
    *,
    pid: Pid,
    account: AccountId,
    reserved: Amounts,
    order: OrderId | None,
    phase: str,
    priority: int = 0,
    call: CallId | None = None,
    offset: int = 0,
) -> tuple[list[Event], list[Instruction]]:
    """The events that bring an effect on its way; dispatched at once when a slot is free and nobody waits for it."""
    number = state.next_effect + offset
    intended = EffectIntended(
        effect=number,
        pid=pid,
        what=what,
        account=account,
        reserved=reserved,
        order=order,
        phase=phase,
        priority=priority,
        call=call,
    )
    if offset or not _is_immediate(state, what, order or ""):
        return [intended], []
    started = dispatched(state, number, what, order or "", 1)
    return [intended, started], [instruction(state, started, what)]


def _is_immediate(state: State, effect: AnyEffect, order: str) -> bool:
    """Whether an effect intended now can be dispatched in the same decision: a slot is free and nobody waits."""
    row = state.devices[device(effect)]
    return row.busy < row.slots and not row.lanes


def _rank(state: State, row: Device, name: str, now_ns: int) -> tuple[int, int, int]:
    priority, order = name.split(":", 1)
    head = state.effects[row.lanes[name][0]]
    aged = int(priority) + (now_ns - head.queued_at_ns) // AGE_STEP_NS
    return (-aged, max(row.turns.get(order, 0), row.clock), head.id)


def dispatched(state: State, effect: int, what: AnyEffect, order: str, attempt: int) -> EffectDispatched:
    """The event that takes a slot, with the order's virtual time after it."""
    row = state.devices[device(what)]
    weight = state.orders[order].contract.weight if order in state.orders else 1  # type: ignore[index]
    start = max(row.turns.get(order, 0), row.clock)
    return EffectDispatched(effect=effect, attempt=attempt, turn=start + STRIDE // max(weight, 1))


def key(state: State, effect: int) -> str:
    """The idempotency key of an effect: the same for every attempt."""
    return f"{state.workspace}-{effect}"


def instruction(state: State, event: EffectDispatched, what: AnyEffect) -> Perform:
    """What the machine is told when an effect is dispatched."""
    return Perform(event.effect, event.attempt, what, key(state, event.effect))


def enqueue(state: State, pending: Pending, at_ns: int) -> None:
    """Part of an event's apply: the effect waits for a slot."""
    row = state.devices[device(pending.what)]
    pending.queued_at_ns = at_ns
    row.lanes.setdefault(lane(pending), []).append(pending.id)
    stir(state, device(pending.what))


def dequeue(state: State, pending: Pending) -> None:
    """Part of an event's apply: it waits no more."""
    row = state.devices[device(pending.what)]
    name = lane(pending)
    row.lanes[name].remove(pending.id)
    if not row.lanes[name]:
        del row.lanes[name]
    stir(state, device(pending.what))


def withdraw(state: State, pending: Pending) -> None:
    """Part of an event's apply: an effect that is given up leaves its lane, if it is in one."""
    if pending.id in state.devices[device(pending.what)].lanes.get(lane(pending), ()):
        dequeue(state, pending)


def stir(state: State, name: str) -> None:
    """Keep `hungry` true: a device is in it exactly when it has a free slot and somebody waits."""
    row = state.devices[name]
    is_hungry = bool(row.lanes) and row.busy < row.slots
    if is_hungry and name not in state.hungry:
        state.hungry.append(name)
    elif not is_hungry and name in state.hungry:
        state.hungry.remove(name)


def apply_dispatched(state: State, event: EffectDispatched, at_ns: int) -> None:
    pending = state.effects[event.effect]
    assert not pending.is_dispatched and event.attempt == pending.attempt + 1
    row = state.devices[device(pending.what)]
    order = pending.order or ""
    weight = state.orders[order].contract.weight if order in state.orders else 1  # type: ignore[index]
    row.clock = max(row.clock, event.turn - STRIDE // max(weight, 1))
    if not order or order in state.orders:
        row.turns[order] = event.turn  # what is delivered after an order is over shares with nobody
    row.busy += 1
    pending.attempt, pending.is_dispatched, pending.epoch = event.attempt, True, state.epoch
    dequeue(state, pending)


def vacate(state: State, pending: Pending) -> None:
    """Part of an event's apply: its slot is free again."""
    name = device(pending.what)
    state.devices[name].busy -= 1
    assert state.devices[name].busy >= 0
    pending.is_dispatched = False
    stir(state, name)


def forget(state: State, order: str) -> None:
    """Part of closing an order: its share is nobody's."""
    for row in state.devices.values():
        row.turns.pop(order, None)
