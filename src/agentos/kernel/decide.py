"""The gate. Every call of every process passes here, and is checked, charged and recorded, or refused.

    entry ─> is the caller alive, and not stopped? ─> is it its turn? ─> does it hold the right? ─> the decision
                 Closed             NotYet                Stale               Forbidden               events | refusal

Rule 1: to decide is not to do: nothing here changes the state; a test holds its bytes before and after.
Rule 2: every refusal of a living caller is an event, with its reason and its remedy.
Rule 3: what may come from outside is in CALLS; what only the state and the machine may say is in KERNEL_CALLS.
Rule 4: an error in deciding is ours: an assert, a crash, a recovery. Never a denial that looks like policy.
"""

from collections.abc import Callable
from typing import Any

from agentos.abi.calls.base import Call
from agentos.abi.calls.device import Ask, Infer, Invoke
from agentos.abi.calls.ipc import Attach, Find, Open, Publish, Receive, Send, Subscribe
from agentos.abi.calls.kernel import (
    Advance,
    Beat,
    Boot,
    Dispatch,
    Diverge,
    Enroll,
    Fence,
    Finish,
    Fire,
    Reap,
    Recover,
    Refill,
    Settle,
)
from agentos.abi.calls.lease import Acquire, Derive, Release, Renew, Revoke, Sleep
from agentos.abi.calls.process import Await, Checkpoint, Exit, Kill, Note, Spawn, Whoami
from agentos.abi.calls.work import Apply, Attest, Begin, Cancel, Decide, Escalate, Look, Present, Raise, Submit, Undo
from agentos.abi.events.call import CallRefused
from agentos.abi.ids import KERNEL
from agentos.abi.limits import value
from agentos.abi.refusals import Closed, Exhausted, NotYet, Refusal, Stale
from agentos.kernel import capability, effects, inference, ipc, lease, process, schedule, supervise, timer
from agentos.kernel.decision import Decision, Entry, Ruling
from agentos.kernel.state import State
from agentos.kernel.work import delivery, evidence, gate, order, progress

Decider = Callable[[State, Entry, Any], Ruling]

CALLS: dict[type[Call], Decider] = {
    Spawn: process.spawn,
    Exit: process.exit,
    Await: process.await_,
    Kill: process.kill,
    Checkpoint: process.checkpoint,
    Note: process.note,
    Whoami: process.whoami,
    Send: ipc.send,
    Receive: ipc.receive,
    Open: ipc.open,
    Subscribe: ipc.subscribe,
    Publish: ipc.publish,
    Attach: ipc.attach,
    Find: ipc.find,
    Acquire: lease.acquire,
    Renew: lease.renew,
    Release: lease.release,
    Derive: capability.derive,
    Revoke: capability.revoke,
    Sleep: timer.sleep,
    Infer: inference.infer,
    Invoke: inference.invoke,
    Ask: inference.ask,
    Submit: order.submit,
    Look: order.look,
    Begin: order.begin,
    Present: evidence.present,
    Attest: gate.attest,
    Decide: gate.decide,
    Escalate: order.escalate,
    Cancel: order.cancel,
    Raise: order.raise_,
    Apply: delivery.apply,
    Undo: delivery.undo,
}

KERNEL_CALLS: dict[type[Call], Decider] = {
    Boot: effects.boot,
    Recover: effects.recover,
    Settle: effects.settle,
    Enroll: process.enroll,
    Beat: process.beat,
    Fence: process.fence,
    Finish: process.finish,
    Diverge: process.diverge,
    Reap: supervise.reap,
    Refill: supervise.refill,
    Dispatch: schedule.dispatch,
    Fire: timer.fire,
    Advance: progress.advance,
}


def decide(state: State, entry: Entry, call: Call) -> Decision | Refusal:
    """What happens because of a call. A refusal is returned only where there is nobody to record it for."""
    if entry.id.pid == KERNEL:
        return KERNEL_CALLS[type(call)](state, entry, call)
    refusal = _turn(state, entry)
    if refusal is not None:
        return refusal
    ruling = CALLS[type(call)](state, entry, call)
    if isinstance(ruling, Decision):
        return ruling
    refused = CallRefused(id=entry.id, name=entry.name, args=entry.args, refusal=ruling)
    return Decision([refused], [])


def _turn(state: State, entry: Entry) -> Refusal | None:
    """Whether the caller lives and this is the next call of its strand."""
    caller = state.processes.get(entry.id.pid)
    if caller is None or caller.state == "zombie":
        return Closed(thing=f"process {entry.id.pid}", fact="has ended", remedy="start a new one")
    if caller.state == "stopped":
        return NotYet(thing=f"process {entry.id.pid}", fact="is stopped", remedy="send it CONT; then call again")
    last = caller.strands.get(entry.id.strand, 0)
    if entry.id.n != last + 1 or entry.id.strand in caller.parked:
        return Stale(
            thing=f"call {entry.id}",
            fact=f"is not the next: strand {entry.id.strand} is at {last}",
            remedy="number calls from 1",
        )
    if last == 0 and len(caller.strands) >= value("strands_max"):
        return Exhausted(thing=f"process {entry.id.pid}", fact="has its most strands", limit="limits.strands_max")
    return None
