"""The laws over the whole state, each a small function. `faults` names every breach; a healthy state has none.

What a single event may do is asserted where it is applied. Here is what must be true of all tables together, after
every settled pump: sums agree with their parts, whoever waits is known to what it waits for, and what is over is gone.

    faults(state)  ->  [Fault(law, thing, fact), ...]        pure; O(state)

Rule 1: a law asks the tables only, never how they came to be so.
Rule 2: a state between two demanded calls may breach a law; a settled one may not.
Rule 3: nothing here repairs. A breach is our defect: the kernel that finds one stops.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from agentos.abi.budget import NOTHING
from agentos.abi.effects import RunCheck, device
from agentos.abi.ids import KERNEL, AccountId, CallId, OrderId, Pid
from agentos.abi.limits import value
from agentos.abi.rights import covers
from agentos.kernel import schedule
from agentos.kernel.decision import parked
from agentos.kernel.process import PERSON
from agentos.kernel.state import Pending, Process, State
from agentos.kernel.work import order as orders

ROOT = AccountId(1)  # the workspace's own account
LIVE = ("ready", "running", "waiting", "stopped")


class Fault(NamedTuple):
    """One breach: which law, of what, and what is so."""

    law: str
    thing: str
    fact: str


Breach = tuple[str, str]  # thing, fact
Law = Callable[[State], Iterator[Breach]]


def faults(state: State) -> list[Fault]:
    """Every breach of every law, in the order of the table. Empty for a healthy state."""
    return [Fault(law, thing, fact) for law, check in LAWS.items() for thing, fact in check(state)]


def _settled(state: State) -> Iterator[Breach]:
    for name in ("dying", "adrift", "vacant", "hungry"):
        if getattr(state, name):
            yield name, f"still wants something: {getattr(state, name)}"


def _numbers(state: State) -> Iterator[Breach]:
    """Nothing has a number that is yet to be given out."""
    for name, numbers, following in (
        ("capability", state.capabilities, state.next_capability),
        ("account", state.accounts, state.next_account),
        ("effect", state.effects, state.next_effect),
        ("timer", state.timers, state.next_timer),
        ("question", state.questions, state.next_question),
        ("mail", [letter.id for row in state.processes.values() for letter in row.mailbox], state.next_mail),
        ("token", [lease.token for lease in state.leases.values()], state.next_token),
        ("order", [int(id.removeprefix("WO-")) for id in (*state.orders, *state.closed)], state.next_order),
    ):
        for number in numbers:
            if not 0 < number < following:
                yield f"{name} {number}", f"is not below the next, {following}"


def _account_sums(state: State) -> Iterator[Breach]:
    """What is reserved is the sum of the reservations below."""
    sums = dict.fromkeys(state.accounts, NOTHING)
    for pending in state.effects.values():
        account = pending.account
        while account in sums:
            sums[account] = sums[account].plus(pending.reserved)
            account = state.accounts[account].parent
        if account and pending.reserved != NOTHING:
            yield f"effect {pending.id}", f"is reserved on account {account}, which does not exist"
    for id, row in state.accounts.items():
        if row.reserved != sums[id]:
            yield f"account {id}", f"has {row.reserved} reserved; the effects below it say {sums[id]}"


def _account_bounds(state: State) -> Iterator[Breach]:
    for id, row in state.accounts.items():
        used, bound = row.reserved.plus(row.spent), row.limit.plus(row.overrun)
        if not used.fits(bound):
            yield f"account {id}", f"has used {used} of {bound}"
        if not all(NOTHING.fits(amounts) for amounts in (row.limit, row.reserved, row.spent, row.overrun)):
            yield f"account {id}", "has a negative amount"


def _account_tree(state: State) -> Iterator[Breach]:
    users = dict.fromkeys(state.accounts, 0)
    spent = dict.fromkeys(state.accounts, NOTHING)
    for row in state.accounts.values():
        if row.parent in users:
            users[row.parent] += not row.is_closed
            spent[row.parent] = spent[row.parent].plus(row.spent)
        elif row.id != ROOT:
            yield f"account {row.id}", f"hangs under {row.parent}, which does not exist"
    for process in state.processes.values():
        if process.account in users:
            users[process.account] += 1
        else:
            yield f"process {process.pid}", f"draws on account {process.account}, which does not exist"
    for id, row in state.accounts.items():
        if row.users != users[id]:
            yield f"account {id}", f"counts {row.users} users; there are {users[id]}"
        if not spent[id].fits(row.spent):
            yield f"account {id}", f"has spent {row.spent}, less than those below it: {spent[id]}"
        if row.is_closed and not users[id] and row.reserved == NOTHING:
            yield f"account {id}", "is closed and empty, and still there"
        if not row.is_closed and not users[id] and id != ROOT and row.owner not in state.orders:
            yield f"account {id}", f"of {row.owner} is open, and nobody draws on it"


def _capability_holders(state: State) -> Iterator[Breach]:
    held = {id: pid for pid, process in state.processes.items() for id in process.capabilities}
    if len(held) != sum(len(process.capabilities) for process in state.processes.values()):
        yield "capabilities", "are in two lists"
    for id, row in state.capabilities.items():
        if held.get(id) != row.holder:
            yield f"capability {id}", f"names {row.holder} as holder; the list says {held.get(id)}"
    for id in held:
        if id not in state.capabilities:
            yield f"capability {id}", "is held and does not exist"


def _capability_tree(state: State) -> Iterator[Breach]:
    for id, row in state.capabilities.items():
        above = state.capabilities.get(row.parent)
        if row.parent >= id:
            yield f"capability {id}", f"is older than its parent {row.parent}"
        if row.parent and (above is None or id not in above.children):
            yield f"capability {id}", f"is unknown to its parent {row.parent}"
        if above is not None and not covers(above.grant, row.grant):
            yield f"capability {id}", f"is wider than its parent {row.parent}"
        if row.grant.uses_max and row.uses > row.grant.uses_max:
            yield f"capability {id}", f"was used {row.uses} times of {row.grant.uses_max}"
        for child in row.children:
            if child not in state.capabilities or state.capabilities[child].parent != id:
                yield f"capability {id}", f"claims {child} as derived"


def _process_tree(state: State) -> Iterator[Breach]:
    for pid, row in state.processes.items():
        above = state.processes.get(row.parent)
        if above is None and row.parent != KERNEL:
            yield f"process {pid}", f"has no parent: {row.parent}"
        if above is not None and above.children.count(pid) != 1:
            yield f"process {pid}", f"is {above.children.count(pid)} times in the list of {row.parent}"
        if pid != row.pid or not _reaches_root(state, row):
            yield f"process {pid}", "is not below the root"
        for child in row.children:
            if child not in state.processes or state.processes[child].parent != pid:
                yield f"process {pid}", f"claims {child} as child"
        if len(row.ended) > value("ended_max"):
            yield f"process {pid}", f"keeps {len(row.ended)} exit records"


def _reaches_root(state: State, row: Process) -> bool:
    for _ in range(len(state.processes)):
        if row.parent == KERNEL or row.parent not in state.processes:
            return True
        row = state.processes[row.parent]
    return False


def _slots(state: State) -> Iterator[Breach]:
    taken: dict[int, int] = {}
    for pid in state.processes:
        slot, generation = (int(part) for part in pid.split("."))
        taken[slot] = generation
        if not 0 < slot <= len(state.generations) or state.generations[slot - 1] != generation:
            yield f"process {pid}", "is of another generation than its slot"
    if len(taken) != len(state.processes):
        yield "slots", "are held twice"
    if sorted((*taken, *state.free_slots)) != list(range(1, len(state.generations) + 1)):
        yield "slots", f"do not agree: taken {sorted(taken)}, free {sorted(state.free_slots)}"


def _process_states(state: State) -> Iterator[Breach]:
    for pid, row in state.processes.items():
        if row.state not in LIVE:
            yield f"process {pid}", f"is {row.state}, which nothing settled is"
        if row.state == "waiting" and not row.parked:
            yield f"process {pid}", "waits for nothing"
        if row.state == "running" and row.parked and len(row.parked) == len(row.strands):
            yield f"process {pid}", "runs, and every strand of it is parked"
        if row.ending is not None:
            yield f"process {pid}", "has ended and lives"
        if row.order is not None and row.order not in state.orders:
            yield f"process {pid}", f"works for {row.order}, which is over"


def _sessions(state: State) -> Iterator[Breach]:
    for principal, pid in state.sessions.items():
        row = state.processes.get(pid)
        if row is None or row.principal != principal or not row.spec.program.startswith(PERSON):
            yield f"session of {principal}", f"is process {pid}, which is not theirs"


def _parked_calls(state: State) -> Iterator[Breach]:
    """Whoever waits is known to what it waits for."""
    for pid, row in state.processes.items():
        if len(row.strands) > value("strands_max"):
            yield f"process {pid}", f"has {len(row.strands)} strands"
        for strand, waiting in row.parked.items():
            if waiting.id != CallId(pid, strand, row.strands.get(strand, 0)):
                yield f"call {waiting.id}", f"is parked on strand {strand}, at {row.strands.get(strand)}"
            if not _is_awaited(state, row, waiting.kind, waiting.target, waiting.id):
                yield f"call {waiting.id}", f"waits for {waiting.kind} {waiting.target}, which knows nothing of it"


def _is_awaited(state: State, row: Process, kind: str, target: str, call: CallId) -> bool:
    match kind:
        case "await":
            child = state.processes.get(Pid(target))
            return child is not None and child.parent == row.pid and child.awaited_by.count(call) == 1
        case "receive":
            return not any(target in ("", letter.kind) for letter in row.mailbox)
        case "lease":
            return target in state.leases and state.leases[target].queue.count(call) == 1
        case "timer":
            return int(target) in state.timers and state.timers[int(target)].target == str(call)
        case "effect":
            return int(target) in state.effects and state.effects[int(target)].call == call
        case "question":
            return int(target) in state.questions and state.questions[int(target)].call == call
        case "order":
            return OrderId(target) in state.orders and state.orders[OrderId(target)].call == call
    return False


def _answers_owed(state: State) -> Iterator[Breach]:
    """Whoever is to be answered still waits."""
    for thing, kind, call in _owed(state):
        waiting = parked(state, call)
        if waiting is None or waiting.kind != kind:
            yield thing, f"owes an answer to {call}, which does not wait for it"


def _owed(state: State) -> Iterator[tuple[str, str, CallId]]:
    for pid, row in state.processes.items():
        yield from ((f"process {pid}", "await", call) for call in row.awaited_by)
    for lease in state.leases.values():
        yield from ((f"lease {lease.resource}", "lease", call) for call in lease.queue)
    for number, pending in state.effects.items():
        if pending.call is not None and not pending.is_abandoned:
            yield f"effect {number}", "effect", pending.call
    for number, question in state.questions.items():
        if question.call is not None:
            yield f"question {number}", "question", question.call
    for id, order in state.orders.items():
        if order.call is not None:
            yield f"order {id}", "order", order.call


def _devices(state: State) -> Iterator[Breach]:
    queued: dict[str, dict[str, list[int]]] = {name: {} for name in state.devices}
    busy = dict.fromkeys(state.devices, 0)
    for pending in state.effects.values():
        name = device(pending.what)
        if pending.is_dispatched:
            busy[name] += 1
        elif not pending.is_orphaned and not pending.timer:
            queued[name].setdefault(schedule.lane(pending), []).append(pending.id)
    for name, row in state.devices.items():
        if row.busy != busy[name] or row.busy > row.slots:
            yield f"device {name}", f"is busy with {row.busy} of {row.slots}; {busy[name]} are dispatched"
        if {lane: sorted(ids) for lane, ids in row.lanes.items()} != queued[name]:
            yield f"device {name}", f"queues {row.lanes}; the effects say {queued[name]}"
        if (name in state.hungry) != (bool(row.lanes) and row.busy < row.slots):
            yield f"device {name}", "is hungry and does not know it, or the other way round"
        for order in row.turns:
            if order and order not in state.orders:
                yield f"device {name}", f"keeps a share for {order}, which is over"


def _effects(state: State) -> Iterator[Breach]:
    wanted = [number for row in state.processes.values() for number in row.effects]
    if len(wanted) != len(dict.fromkeys(wanted)):
        yield "effects", "are in two lists"
    for number, pending in state.effects.items():
        if pending.is_dispatched and pending.is_orphaned:
            yield f"effect {number}", "is in flight and orphaned"
        if pending.is_abandoned and not pending.is_dispatched:
            yield f"effect {number}", "is abandoned, not in flight, and still there"
        if pending.attempt > value("attempts_max"):
            yield f"effect {number}", f"is at attempt {pending.attempt}"
        if not pending.is_abandoned and not _is_wanted(state, pending):
            yield f"effect {number}", "has an outcome that nobody will use, and is not abandoned"
        if pending.is_abandoned and pending.pid in state.processes:
            yield f"effect {number}", f"is abandoned, and {pending.pid} lives"
    for number in wanted:
        if number not in state.effects:
            yield f"effect {number}", "is in a process's list and is over"


def _is_wanted(state: State, pending: Pending) -> bool:
    """Whether a process waits for its outcome, or its order's state does."""
    if pending.pid != KERNEL:
        return pending.pid in state.processes and pending.id in state.processes[pending.pid].effects
    order = state.orders.get(pending.order) if pending.order is not None else None
    return order is not None and order.state in ("proving", "starting", "sealing", "verifying", "closing")


def _leases(state: State) -> Iterator[Breach]:
    for resource, lease in state.leases.items():
        if lease.holder is None:
            yield f"lease {resource}", f"is free and still there, with {len(lease.queue)} waiting"
        elif lease.holder not in state.processes or resource not in state.processes[lease.holder].leases:
            yield f"lease {resource}", f"is held by {lease.holder}, who does not know"
        if [str(call) for call in lease.queue] != list(lease.waits):
            yield f"lease {resource}", "does not know how long its queue wants it"
        timer = state.timers.get(lease.timer)
        if timer is None or timer.at_ns != lease.deadline_at_ns:
            yield f"lease {resource}", f"ends at {lease.deadline_at_ns}, and timer {lease.timer} does not say so"
    for pid, row in state.processes.items():
        if len(row.leases) > value("leases_max") or len(row.leases) != len(dict.fromkeys(row.leases)):
            yield f"process {pid}", f"lists {len(row.leases)} leases"
        for resource in row.leases:
            wanted = state.leases.get(resource)
            if wanted is None or wanted.holder != pid and not any(call.pid == pid for call in wanted.queue):
                yield f"process {pid}", f"lists the lease {resource}, and neither holds nor waits"


def _timers(state: State) -> Iterator[Breach]:
    rows = [(timer.at_ns, timer.id) for timer in state.timers.values()]
    live = [entry for entry in state.schedule if entry[1] in state.timers]
    if sorted(live) != sorted(rows):
        yield "schedule", f"has {len(live)} live entries for {len(rows)} timers"
    if state.schedule and state.schedule[0][1] not in state.timers:
        yield "schedule", "starts with a timer that is gone"
    if len(state.schedule) > 2 * len(rows) + 64:
        yield "schedule", f"has {len(state.schedule)} entries for {len(rows)} timers"
    for place in range(1, len(state.schedule)):
        if state.schedule[place] < state.schedule[(place - 1) // 2]:
            yield "schedule", f"is no heap at {place}"
    owned = list(_timed(state))
    if sorted(owned) != sorted(state.timers):
        yield "timers", f"are {sorted(state.timers)}; what they are for says {sorted(owned)}"


def _timed(state: State) -> Iterator[int]:
    """The timers that something in the state is waiting for."""
    for row in state.processes.values():
        yield from (waiting.timer for waiting in row.parked.values() if waiting.timer)
    yield from (lease.timer for lease in state.leases.values() if lease.timer)
    yield from (pending.timer for pending in state.effects.values() if pending.timer)
    yield from (order.timer for order in state.orders.values() if order.timer)


def _orders(state: State) -> Iterator[Breach]:
    checks = dict.fromkeys(state.orders, 0)
    for pending in state.effects.values():
        if isinstance(pending.what, RunCheck) and not pending.is_abandoned and pending.order in checks:
            checks[pending.order] += 1
    for id, row in state.orders.items():
        account = state.accounts.get(row.account)
        if id != row.id or row.state not in (*orders.OPEN, "escalated"):
            yield f"order {id}", f"is {row.state}"
        if account is None or account.is_closed or account.owner != id:
            yield f"order {id}", f"has no open account: {row.account}"
        if row.waiting_checks != checks[id] or row.waiting_checks and row.state not in ("proving", "verifying"):
            yield f"order {id}", f"is {row.state}, waits for {row.waiting_checks} checks; {checks[id]} are on the way"
        if row.state in ("submitted", "presented"):
            yield f"order {id}", f"is {row.state}, and nothing takes its next step"
        if row.state == "escalated" and row.processes:
            yield f"order {id}", f"waits for a person, and {row.processes} go on"
        living = [pid for pid, process in state.processes.items() if process.order == id]
        if sorted(row.processes) != sorted(living):
            yield f"order {id}", f"lists {row.processes}; {living} work for it"
        tree = row.change.tree if row.change else None
        if row.state in ("gating", "closing") and any(one.content != tree for one in row.attestations):
            yield f"order {id}", "has an attestation of another content"


def _closed(state: State) -> Iterator[Breach]:
    for id in state.closed:
        if id in state.orders or id in state.artifacts:
            yield f"order {id}", "is over and open"
        if any(name.startswith(f"/{id}/") for name in state.channels):
            yield f"order {id}", "is over and has a channel"
    for number, pending in state.effects.items():
        if pending.order is None or pending.order in state.orders or pending.is_abandoned:
            continue
        asker = state.processes.get(pending.pid)
        if asker is None or asker.order is not None:  # else a person's, about its result
            yield f"effect {number}", f"is for {pending.order}, which is over"


def _mailboxes(state: State) -> Iterator[Breach]:
    for pid, row in state.processes.items():
        numbers = [letter.id for letter in row.mailbox]
        if len(numbers) > value("mailbox_max"):
            yield f"mailbox of {pid}", f"holds {len(numbers)}"
        if numbers != sorted(dict.fromkeys(numbers)):
            yield f"mailbox of {pid}", "is out of order"


def _channels(state: State) -> Iterator[Breach]:
    for name, channel in state.channels.items():
        if len(channel.backlog) > value("backlog_max"):
            yield f"channel {name}", f"keeps {len(channel.backlog)}"
        for pid in channel.subscribers:
            if pid not in state.processes or name not in state.processes[pid].channels:
                yield f"channel {name}", f"has the subscriber {pid}, who does not know"
    for pid, row in state.processes.items():
        for name in row.channels:
            if name not in state.channels or state.channels[name].subscribers.count(pid) != 1:
                yield f"process {pid}", f"reads channel {name}, which does not know"


def _questions(state: State) -> Iterator[Breach]:
    """Every question is somebody's, and every somebody still wants to know."""
    for number, row in state.questions.items():
        order = state.orders.get(row.order) if row.order is not None else None
        is_listed = order is not None and order.questions.count(number) == 1
        if row.order is not None and not is_listed and not (row.kind == "unknown" and row.order in state.closed):
            yield f"question {number}", f"is about {row.order}, which does not ask"
        match row.kind:
            case "ask":
                is_wanted = row.call is not None
            case "approval":
                is_wanted = order is not None and order.state == "gating" and order.change is not None
                is_wanted = is_wanted and order is not None and order.change.tree == row.content  # type: ignore[union-attr]
            case "escalation":
                is_wanted = order is not None and order.state == "escalated"
            case _:
                is_wanted = row.effect in state.effects and state.effects[row.effect].question == number
        if not is_wanted:
            yield f"question {number}", f"({row.kind}) is in the inbox, and its answer would mean nothing"
    for id, order in state.orders.items():
        for number in order.questions:
            if number not in state.questions:
                yield f"order {id}", f"asks {number}, which is not in the inbox"
        if order.state == "escalated" and not any(
            state.questions[number].kind == "escalation" for number in order.questions if number in state.questions
        ):
            yield f"order {id}", "is escalated, and nobody is asked"
    for number, pending in state.effects.items():
        if pending.is_orphaned and pending.question not in state.questions:
            yield f"effect {number}", "is orphaned, and nobody is asked"


LAWS: dict[str, Law] = {
    "settled": _settled,
    "numbers": _numbers,
    "account sums": _account_sums,
    "account bounds": _account_bounds,
    "account tree": _account_tree,
    "capability holders": _capability_holders,
    "capability tree": _capability_tree,
    "process tree": _process_tree,
    "slots": _slots,
    "process states": _process_states,
    "sessions": _sessions,
    "parked calls": _parked_calls,
    "answers owed": _answers_owed,
    "devices": _devices,
    "effects": _effects,
    "leases": _leases,
    "timers": _timers,
    "orders": _orders,
    "closed orders": _closed,
    "mailboxes": _mailboxes,
    "channels": _channels,
    "questions": _questions,
}

__all__ = ["LAWS", "Fault", "faults"]
