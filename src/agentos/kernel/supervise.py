"""What an ended process leaves behind, and who takes its place.

    exit ─> reap: waiters told, linked children end, leases pass on, queued effects settle
                  │
                  └─> the supervisor's strategy: one_for_one | one_for_all | rest_for_one
                      restart kinds: permanent (always) | transient (after a failure) | temporary (never)
                      intensity and period: more restarts than that, and the supervisor fails; then up

Rule 1: reaping is one decision: nobody sees half of it.
Rule 2: a restarted child is a new process with the same spec; it inherits no authority its parent has since lost.
Rule 3: supervision ends at init and at people, who go on whatever their children do: a place that is restarted too
        often stays empty.
Rule 4: only the parent restarts. A process that outlives its parent is init's to reap and nobody's to start again.
Rule 5: what a dead process asked or waited for is asked and waited for no more.
Source: Erlang/OTP supervisor behaviour, for strategies, intensity and period.
"""

from agentos.abi.calls.kernel import Reap, Refill
from agentos.abi.effects import Abort, Halt, Instruction
from agentos.abi.events.base import Event
from agentos.abi.events.process import PlaceDropped, ProcessExited, ProcessReaped, ProcessRestarted
from agentos.abi.events.work import QuestionWithdrawn
from agentos.abi.ids import INIT, OrderId, Pid
from agentos.abi.limits import value
from agentos.kernel import agenda, budget, capability, effects, ipc, lease, process
from agentos.kernel.decision import Decision, Entry, Ruling, deciding, release
from agentos.kernel.state import Parked, Process, State, Vacancy

REPLACED = "restarting with a sibling"


def reap(state: State, entry: Entry, call: Reap) -> Ruling:
    """Kernel call: settle what an ended process leaves behind."""
    dead = state.processes[call.pid]
    assert dead.ending is not None, "only what has ended is reaped"
    events: list[Event] = []
    instructions: list[Instruction] = []
    for waiter in dead.awaited_by:
        events += release(state, waiter, process.ended(dead.ending))
    for waiting in dead.parked.values():
        if waiting.kind == "question":
            events.append(QuestionWithdrawn(question=int(waiting.target), reason=f"{dead.pid} ended"))
    linked = [child for child in dead.children if state.processes[child].spec.is_linked]
    linked = [child for child in linked if state.processes[child].state != "zombie"]
    for child in linked:
        events += process.killed(child, f"its parent {dead.pid} ended")
        instructions.append(Halt(child))
    for number in dead.effects:
        pending = state.effects[number]
        if pending.is_dispatched:
            instructions.append(Abort(number))
        else:
            events += effects.dropped(pending, f"{dead.pid} ended")
    events += lease.pass_on(state, dead, (dead.pid, *linked), entry.now_ns)
    is_vacant, consequences, halts = _supervise(state, dead, entry.now_ns)
    events.append(ProcessReaped(pid=dead.pid, order=dead.order, is_vacant=is_vacant))
    events += budget.ending(state, dead)
    return Decision(events + consequences, instructions + halts)


def _supervise(state: State, dead: Process, now_ns: int) -> tuple[bool, list[Event], list[Instruction]]:
    """Whether its place is to be filled, and what becomes of its siblings and its supervisor."""
    supervisor = _supervisor(state, dead.parent, dead.order)
    if supervisor is None or dead.is_adopted:
        return False, [], []
    if dead.is_replaced:
        return dead.spec.restart != "temporary", [], []
    if not (dead.spec.restart == "permanent" or dead.spec.restart == "transient" and dead.is_failed):
        return False, [], []
    recent = [at for at in supervisor.restarts_at_ns if at > now_ns - supervisor.spec.period_ns]
    if len(recent) >= supervisor.spec.intensity and supervisor.spec.program.startswith(process.RESIDENT):
        return False, [], []
    if len(recent) >= supervisor.spec.intensity:
        reason = f"its children were restarted {len(recent)} times within the period"
        failed = ProcessExited(pid=supervisor.pid, status=75, reason=reason, is_failure=True)
        return False, [failed], [Halt(supervisor.pid)]
    going = _going_with(state, supervisor, dead)
    ends: list[Event] = [
        ProcessExited(pid=pid, status=143, reason=REPLACED, is_failure=True, is_replaced=True) for pid in going
    ]
    counted = ProcessRestarted(supervisor=supervisor.pid, child=dead.pid)
    return True, [counted, *ends], [Halt(pid) for pid in going]


def _supervisor(state: State, pid: Pid, order: OrderId | None) -> Process | None:
    """Whoever would fill a place, if it lives and the place's order goes on. An escalated order starts nothing."""
    supervisor = state.processes.get(pid)
    if supervisor is None or supervisor.state == "zombie":
        return None
    if order is not None and (order not in state.orders or state.orders[order].state == "escalated"):
        return None
    return supervisor


def _going_with(state: State, supervisor: Process, dead: Process) -> list[Pid]:
    """The siblings that a strategy restarts together with the dead child."""
    alive = [pid for pid in supervisor.children if pid != dead.pid and state.processes[pid].state != "zombie"]
    match supervisor.spec.strategy:
        case "one_for_all":
            return alive
        case "rest_for_one":
            place = supervisor.children.index(dead.pid)
            return [pid for pid in alive if supervisor.children.index(pid) > place]
        case _:
            return []


def refill(state: State, entry: Entry, call: Refill) -> Ruling:
    """Kernel call: give a vacant place to a new process of the same spec, with what its supervisor can still give."""
    vacancy = state.vacant[0]
    supervisor = _supervisor(state, vacancy.supervisor, vacancy.order)
    if supervisor is None:
        return deciding(PlaceDropped(pid=vacancy.dead))
    grants = tuple(grant for grant in vacancy.grants if capability.covering(state, supervisor, grant) is not None)
    events, instructions = process.birth(
        state, supervisor, vacancy.spec, vacancy.order, vacancy.above, grants=grants, replaces=vacancy.dead
    )
    return Decision(events, instructions)


def _has_own_account(state: State, dead: Process) -> bool:
    """Whether it had a budget of its own, rather than drawing on the one above."""
    row = state.accounts.get(dead.account)
    return row is not None and row.owner == dead.pid


def apply_reaped(state: State, event: ProcessReaped, at_ns: int) -> None:
    dead = state.processes.pop(event.pid)
    assert dead.ending is not None
    state.dying.remove(event.pid)
    if event.is_vacant:
        _vacate(state, dead)
    for waiting in dead.parked.values():
        _unpark(state, waiting)
    if state.sessions.get(dead.principal) == dead.pid:
        del state.sessions[dead.principal]
    capability.drop(state, dead)
    ipc.leave(state, dead)
    lease.leave(state, dead)
    for number in dead.effects:
        state.effects[number].is_abandoned = True
    for child in dead.children:
        state.processes[child].parent = INIT
        state.processes[child].is_adopted = True
        state.processes[INIT].children.append(child)
    if dead.order in state.orders:
        state.orders[dead.order].processes.remove(event.pid)
    state.free_slots.append(int(event.pid.split(".")[0]))
    budget.leave(state, dead.account)
    _record(state, dead)


def _vacate(state: State, dead: Process) -> None:
    """Its place is to be filled, in the order in which the siblings were started."""
    above = state.accounts[dead.account].parent if _has_own_account(state, dead) else dead.account
    grants = capability.remaining(state, dead)
    place = sum(row.supervisor != dead.parent or row.born < dead.born for row in state.vacant)
    state.vacant.insert(place, Vacancy(dead.parent, dead.pid, dead.spec, grants, dead.order, above, dead.born))


def _unpark(state: State, waiting: Parked) -> None:
    """What it waited for owes it nothing any more."""
    agenda.strike(state, waiting.timer)
    if waiting.kind == "await" and Pid(waiting.target) in state.processes:
        state.processes[Pid(waiting.target)].awaited_by.remove(waiting.id)
    if waiting.kind == "order" and OrderId(waiting.target) in state.orders:
        state.orders[OrderId(waiting.target)].call = None


def _record(state: State, dead: Process) -> None:
    """The exit record goes to the parent, who keeps the newest few."""
    parent = state.processes.get(dead.parent)
    if parent is None or dead.ending is None:
        return
    parent.children.remove(dead.pid)
    parent.ended.append(dead.ending)
    del parent.ended[: -value("ended_max")]


def apply_restarted(state: State, event: ProcessRestarted, at_ns: int) -> None:
    supervisor = state.processes[event.supervisor]
    oldest = at_ns - supervisor.spec.period_ns
    supervisor.restarts_at_ns = [at for at in supervisor.restarts_at_ns if at > oldest] + [at_ns]


def apply_dropped(state: State, event: PlaceDropped, at_ns: int) -> None:
    assert state.vacant.pop(0).dead == event.pid
