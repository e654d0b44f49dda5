"""Leases: alone with a resource, until a deadline, with a token that outranks every earlier holder's.

    free ──acquire──> held ──renew──> held
      ▲                │ release, deadline, holder's end
      └── nobody ──────┴── next in the queue ──> held, a greater token

Rule 1: a resource's token only grows: all tokens come from one counter, so that a lease nobody holds leaves no row. A
        late writer with an old token is refused, whoever it was, however long it slept.
Rule 2: the deadline is judged by the state's time alone; after a restart each lease gets one span of grace, since
        nobody can have renewed while no kernel ran.
Rule 3: the queue is first come, first served; a waiter that ends leaves it.
Source: Kleppmann, "How to do distributed locking" (2016), for fencing tokens.
"""

from collections.abc import Collection

from agentos.abi.calls.lease import Acquire, Release, Renew
from agentos.abi.events.base import Event
from agentos.abi.events.call import TimerSet
from agentos.abi.events.ipc import LeaseEnded, LeaseGranted, LeaseQueued
from agentos.abi.ids import CallId, Pid
from agentos.abi.limits import value
from agentos.abi.refusals import Busy, Exhausted, Invalid, NotFound, Refusal, Stale
from agentos.abi.replies import Done, Held
from agentos.abi.rights import Right, canonical_fault
from agentos.kernel import agenda, capability
from agentos.kernel.decision import Entry, Ruling, answer, deciding, park
from agentos.kernel.decision import release as release_call
from agentos.kernel.state import Lease, Process, State


def acquire(state: State, entry: Entry, call: Acquire) -> Ruling:
    process = state.processes[entry.id.pid]
    refusal = _fault(state, process, call)
    if refusal is not None:
        return refusal
    lease = state.leases.get(call.resource)
    right = capability.find(state, process, Right.LEASE, call.resource)
    if lease is None or lease.holder is None:
        token = state.next_token
        granted, timer = _grant(state, call.resource, token, process.pid, entry.now_ns + call.ttl_ns)
        held = Held(token=token, deadline_at_ns=granted.deadline_at_ns)
        return capability.counted(right, deciding(granted, timer, answer(entry, held)))
    if call.is_waiting:
        queued = LeaseQueued(resource=call.resource, pid=process.pid, call=entry.id, ttl_ns=call.ttl_ns)
        return capability.counted(right, deciding(park(entry, "lease", call.resource), queued))
    return Busy(
        thing=f"lease {call.resource!r}",
        fact=f"is held by pid {lease.holder} for {max(lease.deadline_at_ns - entry.now_ns, 0) // 1_000_000} ms more",
        remedy="wait (is_waiting), or send it TERM",
    )


def _fault(state: State, process: Process, call: Acquire) -> Refusal | None:
    wrong = canonical_fault(call.resource)
    if wrong is not None:
        return Invalid(thing=f"resource {call.resource!r}", fact=wrong)
    if call.ttl_ns <= 0 or call.ttl_ns > value("lease_ttl_ns_max"):
        return Exhausted(
            thing="ttl_ns", fact=f"must be within 1 and {value('lease_ttl_ns_max')} ns", limit="limits.lease_ttl_ns_max"
        )
    if capability.find(state, process, Right.LEASE, call.resource) is None:
        return capability.forbidden(process, Right.LEASE, call.resource)
    if len(process.leases) >= value("leases_max"):
        return Exhausted(thing=f"process {process.pid}", fact="holds its most leases", limit="limits.leases_max")
    return None


def _grant(
    state: State, resource: str, token: int, holder: Pid, deadline_at_ns: int, *, offset: int = 0
) -> tuple[LeaseGranted, TimerSet]:
    granted = LeaseGranted(resource=resource, token=token, holder=holder, deadline_at_ns=deadline_at_ns)
    timer = TimerSet(
        timer=state.next_timer + offset, at_ns=deadline_at_ns, pid=holder, kind="lease", target=f"{token}:{resource}"
    )
    return granted, timer


def renew(state: State, entry: Entry, call: Renew) -> Ruling:
    refusal = _token_fault(state, entry.id.pid, call.resource, call.token)
    if refusal is not None:
        return refusal
    if not 0 < call.ttl_ns <= value("lease_ttl_ns_max"):
        return Exhausted(thing="ttl_ns", fact="is out of bounds", limit="limits.lease_ttl_ns_max")
    deadline = entry.now_ns + call.ttl_ns
    granted, timer = _grant(state, call.resource, call.token, entry.id.pid, deadline)
    return deciding(granted, timer, answer(entry, Held(token=call.token, deadline_at_ns=deadline)))


def release(state: State, entry: Entry, call: Release) -> Ruling:
    refusal = _token_fault(state, entry.id.pid, call.resource, call.token)
    if refusal is not None:
        return refusal
    return deciding(*end(state, state.leases[call.resource], "released", entry.now_ns), answer(entry, Done()))


def _token_fault(state: State, pid: Pid, resource: str, token: int) -> Refusal | None:
    lease = state.leases.get(resource)
    if lease is None and not 0 < token < state.next_token:
        return NotFound(thing=f"lease {resource!r}", fact=f"was never granted with token {token}")
    if lease is None or lease.holder != pid or lease.token != token:
        return Stale(
            thing=f"token {token} of {resource!r}",
            fact=f"is outranked by {lease.token}, held by {lease.holder}" if lease else "is over; nobody holds it now",
            remedy="acquire it again, and look at what changed meanwhile",
            rule="law 10",
        )
    return None


def end(
    state: State, lease: Lease, reason: str, now_ns: int, *, leaving: Collection[Pid] = (), offset: int = 0
) -> list[Event]:
    """The lease ends, and the next that still waits gets it."""
    events: list[Event] = [LeaseEnded(resource=lease.resource, token=lease.token, reason=reason)]
    for call in lease.queue:
        if call.pid in leaving or call.pid not in state.processes or state.processes[call.pid].state == "zombie":
            continue
        deadline = now_ns + lease.waits[str(call)]
        token = state.next_token + offset
        granted, timer = _grant(state, lease.resource, token, call.pid, deadline, offset=offset)
        held = Held(token=granted.token, deadline_at_ns=deadline)
        return [*events, granted, timer, *release_call(state, call, held)]
    return events


def pass_on(state: State, dead: Process, leaving: Collection[Pid], now_ns: int) -> list[Event]:
    """Part of reaping: what the dead process held goes to the next who is not leaving with it."""
    events: list[Event] = []
    for resource in dead.leases:
        if state.leases[resource].holder == dead.pid:
            set_already = sum(isinstance(event, TimerSet) for event in events)
            events += end(
                state, state.leases[resource], f"{dead.pid} ended", now_ns, leaving=leaving, offset=set_already
            )
    return events


def expire(state: State, target: str, now_ns: int) -> list[Event]:
    """A lease timer is due: the lease ends."""
    token, resource = target.split(":", 1)
    lease = state.leases[resource]
    assert lease.token == int(token) and lease.deadline_at_ns <= now_ns, "a lease's timer is its deadline"
    return end(state, lease, "deadline passed", now_ns)


def apply_granted(state: State, event: LeaseGranted, at_ns: int) -> None:
    lease = state.leases.setdefault(event.resource, Lease(event.resource))
    is_new = event.token == state.next_token
    assert is_new or event.token == lease.token and lease.holder == event.holder, "tokens only grow"
    state.next_token = max(state.next_token, event.token + 1)
    lease.token, lease.holder, lease.deadline_at_ns = event.token, event.holder, event.deadline_at_ns
    for place, call in enumerate(lease.queue if is_new else ()):
        if call.pid == event.holder:
            lease.waits.pop(str(call))
            del lease.queue[place]
            break
    held = state.processes[event.holder].leases
    if event.resource not in held:
        held.append(event.resource)


def apply_queued(state: State, event: LeaseQueued, at_ns: int) -> None:
    lease = state.leases[event.resource]
    lease.queue.append(event.call)
    lease.waits[str(event.call)] = event.ttl_ns
    if event.resource not in state.processes[event.pid].leases:
        state.processes[event.pid].leases.append(event.resource)


def apply_ended(state: State, event: LeaseEnded, at_ns: int) -> None:
    lease = state.leases[event.resource]
    assert lease.token == event.token
    holder = state.processes.get(lease.holder) if lease.holder else None
    if holder is not None and not any(call.pid == holder.pid for call in lease.queue):
        holder.leases.remove(event.resource)
    agenda.strike(state, lease.timer)
    lease.holder, lease.deadline_at_ns, lease.timer = None, 0, 0
    _forget(state, lease)


def _forget(state: State, lease: Lease) -> None:
    """A lease that nobody holds and nobody waits for leaves."""
    if lease.holder is None and not lease.queue:
        del state.leases[lease.resource]


def leave(state: State, process: Process) -> None:
    """Part of reaping: it waits for no lease any more."""
    for resource in process.leases:
        lease = state.leases[resource]
        gone: list[CallId] = [call for call in lease.queue if call.pid == process.pid]
        for call in gone:
            lease.queue.remove(call)
            lease.waits.pop(str(call))
        _forget(state, lease)
