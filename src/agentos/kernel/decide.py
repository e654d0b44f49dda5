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

from agentos.abi.calls import device
from agentos.abi.calls import ipc as mail
from agentos.abi.calls import kernel as inner
from agentos.abi.calls import lease as hold
from agentos.abi.calls import process as proc
from agentos.abi.calls import work as job
from agentos.abi.calls.base import Call
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
    proc.Spawn: process.spawn,
    proc.Exit: process.exit,
    proc.Await: process.await_,
    proc.Kill: process.kill,
    proc.Checkpoint: process.checkpoint,
    proc.Note: process.note,
    proc.Whoami: process.whoami,
    mail.Send: ipc.send,
    mail.Receive: ipc.receive,
    mail.Open: ipc.open,
    mail.Subscribe: ipc.subscribe,
    mail.Publish: ipc.publish,
    mail.Attach: ipc.attach,
    mail.Find: ipc.find,
    hold.Acquire: lease.acquire,
    hold.Renew: lease.renew,
    hold.Release: lease.release,
    hold.Derive: capability.derive,
    hold.Revoke: capability.revoke,
    hold.Sleep: timer.sleep,
    device.Infer: inference.infer,
    device.Invoke: inference.invoke,
    device.Ask: inference.ask,
    job.Submit: order.submit,
    job.Look: order.look,
    job.Begin: order.begin,
    job.Present: evidence.present,
    job.Attest: gate.attest,
    job.Decide: gate.decide,
    job.Escalate: order.escalate,
    job.Cancel: order.cancel,
    job.Raise: order.raise_,
    job.Apply: delivery.apply,
    job.Undo: delivery.undo,
}

KERNEL_CALLS: dict[type[Call], Decider] = {
    inner.Boot: effects.boot,
    inner.Recover: effects.recover,
    inner.Settle: effects.settle,
    inner.Enroll: process.enroll,
    inner.Beat: process.beat,
    inner.Fence: process.fence,
    inner.Finish: process.finish,
    inner.Diverge: process.diverge,
    inner.Reap: supervise.reap,
    inner.Refill: supervise.refill,
    inner.Dispatch: schedule.dispatch,
    inner.Fire: timer.fire,
    inner.Advance: progress.advance,
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
