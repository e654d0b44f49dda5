"""Processes: the table, and the calls about it.

    spawn ──> ready ──launch──> running <──> waiting (parked in a call)
                                  │  ▲           │
                               STOP  CONT        │
                                  ▼  │           │
                                stopped       exit / KILL ──> zombie ──reap──> an exit record with its parent

Rule 1: a pid is slot and generation; a slot is used again, a pid never.
Rule 2: a child holds at most what its parent holds: grants derive from the parent's, the account hangs under its.
Rule 3: a process that ends takes its linked children, leases, channels and capabilities with it. What it had in
        flight in the world goes on to its outcome and is charged to its order.
Rule 4: a program may be run again at any time, in a new incarnation; calls of an earlier one are stale. Ending is
        for processes, being run again is for programs.
"""

from agentos.abi.budget import NOTHING, Amounts
from agentos.abi.calls.kernel import Beat, Diverge, Enroll, Fence, Finish
from agentos.abi.calls.process import Await, Checkpoint, Exit, Kill, Note, Spawn, Whoami
from agentos.abi.effects import Halt, Instruction, Launch
from agentos.abi.events.base import Event
from agentos.abi.events.ipc import CapabilityMinted
from agentos.abi.events.process import (
    AccountOpened,
    ProcessBeaten,
    ProcessCheckpointed,
    ProcessExited,
    ProcessLaunched,
    ProcessNoted,
    ProcessSignalled,
    ProcessSpawned,
)
from agentos.abi.ids import INIT, AccountId, CapabilityId, OrderId, Pid, Principal
from agentos.abi.limits import value
from agentos.abi.refusals import Busy, Closed, Exhausted, Forbidden, Invalid, NotFound, NotYet, Refusal, Stale
from agentos.abi.replies import Done, Ended, Self, Spawned
from agentos.abi.rights import Grant, Right, canonical_fault
from agentos.abi.signals import Signal
from agentos.kernel import budget, capability, ipc
from agentos.kernel.decision import Decision, Entry, Ruling, answer, deciding, is_descendant, park
from agentos.kernel.state import Ending, Process, State

PERSON = "person:"  # the program of a process whose program is a human being
RESIDENT = (PERSON, "kernel:")  # programs that no worker runs
RESTARTS = ("permanent", "transient", "temporary")
STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")
STANDING = {  # what a person may do, by role
    "operator": tuple(Grant(right, "/**") for right in Right),
    "author": tuple(Grant(right, "/**") for right in (Right.AUTHOR, Right.APPROVE)),
    "observer": (),
}


def spawn(state: State, entry: Entry, call: Spawn) -> Ruling:
    parent = state.processes[entry.id.pid]
    order = call.order or parent.order
    refusal = _spawn_fault(state, parent, call, order)
    if refusal is not None:
        return refusal
    held = capability.find(state, parent, Right.SPAWN, f"/{call.role}")
    above = _account_above(state, parent, order)
    events, instructions = birth(state, parent, call, order, above, grants=call.grants)
    pid = _next_pid(state)
    return capability.counted(held, Decision([*events, answer(entry, Spawned(pid=pid))], instructions))


def birth(
    state: State,
    parent: Process,
    spec: Spawn,
    order: OrderId | None,
    above: AccountId,
    *,
    grants: tuple[Grant, ...],
    replaces: Pid | None = None,
) -> tuple[list[Event], list[Instruction]]:
    """The events that make a child: its account, itself, its capabilities, its launch. Grants must be covered."""
    pid, account = _next_pid(state), above
    events: list[Event] = []
    if spec.budget is not None:
        account = AccountId(state.next_account)
        events.append(AccountOpened(account=account, parent=above, limit=spec.budget, owner=pid))
    principal = parent.principal if spec.domain == "" else Principal(f"agent:{spec.domain}")
    events.append(
        ProcessSpawned(
            pid=pid, parent=parent.pid, principal=principal, spec=spec, order=order, account=account, replaces=replaces
        )
    )
    for offset, grant in enumerate(grants):
        source = capability.covering(state, parent, grant)
        assert source is not None, "grants were checked before the child is made"
        new = CapabilityId(state.next_capability + offset)
        events.append(CapabilityMinted(capability=new, holder=pid, grant=grant, parent=source.id))
    events.append(ProcessLaunched(pid=pid, incarnation=1, reason="spawned"))
    return events, [Launch(pid, 1)]


def _next_pid(state: State) -> Pid:
    slot = state.free_slots[-1] if state.free_slots else len(state.generations) + 1
    generation = state.generations[slot - 1] + 1 if slot <= len(state.generations) else 1
    return Pid(f"{slot}.{generation}")


def _account_above(state: State, parent: Process, order: OrderId | None) -> AccountId:
    """Work for an order draws on the order, whoever started it; else a child draws on its parent."""
    if order is not None and order != parent.order:
        return state.orders[order].account
    return parent.account


def _spawn_fault(state: State, parent: Process, call: Spawn, order: OrderId | None) -> Refusal | None:
    wrong = _spec_fault(call)
    if wrong is not None:
        return wrong
    if capability.find(state, parent, Right.SPAWN, f"/{call.role}") is None:
        return capability.forbidden(parent, Right.SPAWN, f"/{call.role}")
    for grant in call.grants:
        if capability.covering(state, parent, grant) is None:
            return capability.forbidden(parent, grant.right, grant.selector)
    return (
        (_order_fault(state, parent, order) if order is not None else None)
        or _crowding(state, parent, call)
        or _budget_fault(state, parent, call, order)
    )


def _spec_fault(call: Spawn) -> Refusal | None:
    """What is wrong with a spec as such, whoever asks."""
    if not call.program or call.program.startswith(RESIDENT):
        fact = "is the kernel's or a person's" if call.program else "is empty"
        return Invalid(thing=f"program {call.program!r}", fact=fact, remedy="name the program to run")
    for selector in (f"/{call.role}", *(grant.selector for grant in call.grants)):
        wrong = canonical_fault(selector)
        if wrong is not None:
            return Invalid(thing=f"selector {selector!r}", fact=wrong)
    if not call.role or call.role.endswith("**") or any(grant.uses_max < 0 for grant in call.grants):
        return Invalid(thing="fields role, uses_max", fact="must name one role, and no negative number of uses")
    if call.budget is not None and not NOTHING.fits(call.budget):
        return Invalid(thing="field budget", fact="is negative")
    if call.restart not in RESTARTS or call.strategy not in STRATEGIES:
        return Invalid(thing="fields restart, strategy", fact=f"must be of {RESTARTS} and {STRATEGIES}")
    if abs(call.priority) > value("priority_max"):
        return Invalid(thing="field priority", fact=f"must be within {value('priority_max')} of 0")
    return None


def _order_fault(state: State, parent: Process, id: OrderId) -> Refusal | None:
    """Why a child cannot work for an order: its money is only for whoever runs it, and for those already in it."""
    order = state.orders.get(id)
    if order is None:
        kind, fact = (Closed, "is over") if id in state.closed else (NotFound, "does not exist")
        return kind(thing=f"order {id}", fact=fact, remedy="submit a new one")
    if parent.order != id and capability.find(state, parent, Right.CONDUCT, f"/{id}") is None:
        return capability.forbidden(parent, Right.CONDUCT, f"/{id}")
    if order.state == "escalated":
        return NotYet(thing=f"order {id}", fact="waits for a person", remedy="decide its question first")
    return None


def _crowding(state: State, parent: Process, call: Spawn) -> Refusal | None:
    for limit, used in (
        ("children_max", len(parent.children)),
        ("depth_max", parent.depth),
        ("processes_max", len(state.processes)),
        ("capabilities_max", len(call.grants)),
    ):
        if used >= value(limit):
            return Exhausted(
                thing=f"process {parent.pid}",
                fact=f"has reached {limit} = {value(limit)}",
                remedy=f"wait for some to end, or raise limits.{limit}",
                limit=f"limits.{limit}",
            )
    return None


def _budget_fault(state: State, parent: Process, call: Spawn, order: OrderId | None) -> Refusal | None:
    if call.budget is None:
        return None
    above = state.accounts[_account_above(state, parent, order)]
    if call.budget.fits(above.limit):
        return None
    return Exhausted(
        thing=f"budget of {above.owner}",
        fact=f"is {above.limit.uusd} uusd and {above.limit.tokens} tokens, less than the child is to get",
        remedy="give the child less",
        rule="law 4",
    )


def exit(state: State, entry: Entry, call: Exit) -> Ruling:
    pid = entry.id.pid
    ended = ProcessExited(
        pid=pid, status=call.status, reason=call.reason, result=call.result, is_failure=call.status != 0
    )
    return deciding(answer(entry, Done()), ended, then=[Halt(pid)])


def await_(state: State, entry: Entry, call: Await) -> Ruling:
    caller = state.processes[entry.id.pid]
    for ending in caller.ended:
        if ending.pid == call.pid:
            return deciding(answer(entry, ended(ending)))
    child = state.processes.get(call.pid)
    if child is None or child.parent != caller.pid:
        return NotFound(thing=f"child {call.pid}", fact="is not a child of yours, or its exit record was dropped")
    return deciding(park(entry, "await", call.pid))


def ended(ending: Ending) -> Ended:
    """An exit record as a reply."""
    return Ended(pid=ending.pid, status=ending.status, reason=ending.reason, result=ending.result)


def kill(state: State, entry: Entry, call: Kill) -> Ruling:
    target = state.processes.get(call.pid)
    if target is None or target.state == "zombie":
        return NotFound(thing=f"process {call.pid}", fact="does not exist or has ended")
    caller = state.processes[entry.id.pid]
    is_own = is_descendant(state, call.pid, caller.pid)
    if not is_own and capability.find(state, caller, Right.SIGNAL, f"/{call.pid}") is None:
        return capability.forbidden(caller, Right.SIGNAL, f"/{call.pid}")
    if call.pid == INIT or call.signal in (Signal.STOP, Signal.CONT) and target.spec.program.startswith(PERSON):
        return Forbidden(thing=f"process {call.pid}", fact="cannot be signalled", rule="init and people go on")
    held = None if is_own else capability.find(state, caller, Right.SIGNAL, f"/{call.pid}")
    return capability.counted(held, _signal(state, entry, target, call.signal))


def _signal(state: State, entry: Entry, target: Process, signal: Signal) -> Ruling:
    done = answer(entry, Done())
    match signal:
        case Signal.KILL:
            return deciding(done, *killed(target.pid, f"killed by {entry.id.pid}"), then=[Halt(target.pid)])
        case Signal.STOP | Signal.CONT:
            return deciding(ProcessSignalled(pid=target.pid, signal=signal, by=entry.id.pid), done)
        case _:
            sent = ipc.deliver(state, entry.id.pid, target, f"signal:{signal}", None)
            return sent if isinstance(sent, Busy) else deciding(*sent, done)


def killed(pid: Pid, reason: str) -> list[Event]:
    """The exit of a process that is not asked."""
    return [ProcessExited(pid=pid, status=137, reason=reason, is_failure=True)]


def checkpoint(state: State, entry: Entry, call: Checkpoint) -> Ruling:
    process = state.processes[entry.id.pid]
    if entry.id.strand != 0:
        return Invalid(thing="checkpoint", fact="was called on a side strand", remedy="call it from the main one")
    if process.parked:
        other = next(iter(process.parked.values()))
        return Busy(
            thing=f"process {process.pid}", fact=f"is inside {other.name} on another strand", remedy="await it first"
        )
    taken = ProcessCheckpointed(pid=process.pid, state=call.state, n=entry.id.n)
    return deciding(taken, answer(entry, Done()))


def note(state: State, entry: Entry, call: Note) -> Ruling:
    if len(call.text.encode()) > value("note_bytes_max"):
        return Exhausted(
            thing="note", fact=f"is longer than {value('note_bytes_max')} bytes", limit="limits.note_bytes_max"
        )
    return deciding(ProcessNoted(pid=entry.id.pid, text=call.text, phase=call.phase), answer(entry, Done()))


def whoami(state: State, entry: Entry, call: Whoami) -> Ruling:
    process = state.processes[entry.id.pid]
    held = tuple(
        (id, state.capabilities[id].grant.right.value, state.capabilities[id].grant.selector)
        for id in process.capabilities
    )
    reply = Self(
        pid=process.pid,
        role=process.spec.role,
        name=process.spec.name,
        order=process.order,
        account=process.account,
        args=process.spec.args,
        capabilities=held,
    )
    return deciding(answer(entry, reply))


def enroll(state: State, entry: Entry, call: Enroll) -> Ruling:
    """Kernel call: a person's process, made once per principal; its parent is the kernel, its budget the workspace's."""
    if call.principal in state.sessions:
        return deciding()
    if call.role not in STANDING:
        return Invalid(thing=f"role {call.role!r}", fact=f"is none of: {', '.join(STANDING)}")
    if len(state.processes) >= value("processes_max"):
        return Exhausted(thing="processes", fact=f"are {len(state.processes)} already", limit="limits.processes_max")
    spec = Spawn(program=f"{PERSON}{call.principal}", role=call.role, name=str(call.principal), is_linked=False)
    pid = _next_pid(state)
    events: list[Event] = [
        ProcessSpawned(
            pid=pid,
            parent=entry.id.pid,
            principal=Principal(call.principal),
            spec=spec,
            order=None,
            account=AccountId(1),
        )
    ]
    for offset, grant in enumerate(STANDING[call.role]):
        new = CapabilityId(state.next_capability + offset)
        events.append(CapabilityMinted(capability=new, holder=pid, grant=grant, parent=CapabilityId(0)))
    return deciding(*events)


def fence(state: State, entry: Entry, call: Fence) -> Ruling:
    """Kernel call: its worker is dead, frozen or released; a new incarnation catches up from the record."""
    process = state.processes.get(call.pid)
    if process is None or process.state == "zombie":
        return NotFound(thing=f"process {call.pid}", fact="does not exist or has ended")
    if call.incarnation != process.incarnation:
        return Stale(thing=f"incarnation {call.incarnation} of {call.pid}", fact=f"is over; {process.incarnation} runs")
    if process.relaunches >= value("relaunches_max"):
        reason = f"its program was run {process.relaunches} times without a new call; the last time {call.reason}"
        ended = ProcessExited(pid=call.pid, status=70, reason=reason, is_failure=True)
        return deciding(ended, then=[Halt(call.pid)])
    new = process.incarnation + 1
    return deciding(
        ProcessLaunched(pid=call.pid, incarnation=new, reason=call.reason), then=[Halt(call.pid), Launch(call.pid, new)]
    )


def finish(state: State, entry: Entry, call: Finish) -> Ruling:
    """Kernel call: a program with a worker of its own has ended without saying so; its exit status speaks for it."""
    process = state.processes.get(call.pid)
    if process is None or process.state == "zombie" or process.incarnation != call.incarnation:
        return NotFound(thing=f"process {call.pid}", fact="has ended, or runs anew")
    reason = "" if call.status == 0 else f"its program ended with status {call.status}"
    return deciding(ProcessExited(pid=call.pid, status=call.status, reason=reason, is_failure=call.status != 0))


def diverge(state: State, entry: Entry, call: Diverge) -> Ruling:
    """Kernel call: a program that does not repeat itself cannot be recovered, and is stopped."""
    process = state.processes.get(call.pid)
    if process is None or process.state == "zombie":
        return NotFound(thing=f"process {call.pid}", fact="does not exist or has ended")
    fact = ProcessExited(pid=call.pid, status=70, reason=f"diverged: {call.fact}", is_failure=True)
    return deciding(fact, then=[Halt(call.pid)])


def beat(state: State, entry: Entry, call: Beat) -> Ruling:
    return deciding(ProcessBeaten(pids=call.pids))


def apply_spawned(state: State, event: ProcessSpawned, at_ns: int) -> None:
    slot, generation = (int(part) for part in event.pid.split("."))
    if slot > len(state.generations):
        state.generations.append(0)
    else:
        assert state.free_slots[-1] == slot, "slots are used again last freed first"
        state.free_slots.pop()
    assert slot <= len(state.generations) and state.generations[slot - 1] == generation - 1, "a pid is never reused"
    state.generations[slot - 1] = generation
    parent = state.processes.get(event.parent)
    order = state.orders[event.order] if event.order is not None else None
    state.processes[event.pid] = Process(
        pid=event.pid,
        parent=event.parent,
        principal=event.principal,
        spec=event.spec,
        order=event.order,
        account=event.account,
        depth=parent.depth + 1 if parent else 0,
        beaten_at_ns=at_ns,
        forebears=[*parent.forebears, parent.pid] if parent and order and parent.order == order.id else [],
        attempt=order.attempt if order else 0,
        born=state.events,
    )
    budget.join(state, event.account)
    if parent is not None:
        parent.children.append(event.pid)
    if order is not None:
        order.processes.append(event.pid)
        order.is_conducted = order.is_conducted or event.spec.program == order.contract.conductor
    if event.replaces is not None:
        assert state.vacant.pop(0).dead == event.replaces, "places are filled in the order they became vacant"
    if event.spec.program.startswith(PERSON):
        state.sessions[event.principal] = event.pid


def apply_launched(state: State, event: ProcessLaunched, at_ns: int) -> None:
    process = state.processes[event.pid]
    assert event.incarnation == process.incarnation + 1, "incarnations only grow"
    process.incarnation = event.incarnation
    process.relaunches += 1
    process.beaten_at_ns = at_ns
    if process.state != "stopped":
        process.state = "waiting" if process.parked else "running"


def apply_exited(state: State, event: ProcessExited, at_ns: int) -> None:
    process = state.processes[event.pid]
    assert process.state != "zombie", "a process ends once"
    process.state = "zombie"
    process.ending = Ending(event.pid, event.status, event.reason, event.result)
    process.is_failed, process.is_replaced = event.is_failure, event.is_replaced
    state.dying.append(event.pid)


def apply_signalled(state: State, event: ProcessSignalled, at_ns: int) -> None:
    process = state.processes[event.pid]
    if event.signal == Signal.STOP:
        process.state = "stopped"
    elif process.state == "stopped":
        process.state = "waiting" if process.parked else "running"


def apply_checkpointed(state: State, event: ProcessCheckpointed, at_ns: int) -> None:
    process = state.processes[event.pid]
    process.checkpoint, process.checkpoint_n = event.state, event.n


def apply_beaten(state: State, event: ProcessBeaten, at_ns: int) -> None:
    for pid in event.pids:
        if pid in state.processes:
            state.processes[pid].beaten_at_ns = at_ns


def apply_noted(state: State, event: ProcessNoted, at_ns: int) -> None:
    state.processes[event.pid].beaten_at_ns = at_ns


def rooted(budget: Amounts) -> list[Event]:
    """A fresh workspace's first events: the root account and init."""
    spec = Spawn(program="kernel:init", role="init", name="init", restart="permanent", intensity=1_000, is_linked=False)
    events: list[Event] = [
        AccountOpened(account=AccountId(1), parent=AccountId(0), limit=budget, owner="workspace"),
        ProcessSpawned(
            pid=INIT, parent=Pid("0.0"), principal=Principal("kernel"), spec=spec, order=None, account=AccountId(1)
        ),
    ]
    for number, right in enumerate(Right, start=1):
        events.append(
            CapabilityMinted(
                capability=CapabilityId(number), holder=INIT, grant=Grant(right, "/**"), parent=CapabilityId(0)
            )
        )
    return events
