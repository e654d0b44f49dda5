"""The only writer. An event and the state it happened to; nothing is asked, nothing is refused.

Rule 1: total: every event type is in the table, and a test says so.
Rule 2: `apply` of a (type, version) never changes, for journals are replayed for ever.
Rule 3: an assert here is a law that a decision broke. The kernel dies of it rather than write on.
"""

from collections.abc import Callable
from typing import Any

from agentos.abi.events import call, work
from agentos.abi.events import ipc as mail
from agentos.abi.events import process as born
from agentos.abi.events.base import Event
from agentos.abi.ids import CallId
from agentos.kernel import agenda, budget, capability, effects, ipc, lease, process, schedule, supervise, timer
from agentos.kernel.state import Parked, Process, State
from agentos.kernel.work import delivery, evidence, gate, order

Applier = Callable[[State, Any, int], None]


def _answered(state: State, event: call.CallAnswered | call.CallRefused, at_ns: int) -> None:
    caller = state.processes.get(event.id.pid)
    if caller is not None:
        _count(caller, event.id)
        waited = caller.parked.pop(event.id.strand, None)
        if waited is not None:
            agenda.strike(state, waited.timer)
        if caller.state == "waiting":
            caller.state = "running"


def _parked(state: State, event: call.CallParked, at_ns: int) -> None:
    caller = state.processes[event.id.pid]
    _count(caller, event.id)
    caller.parked[event.id.strand] = Parked(event.id, event.name, event.args, event.kind, event.target)
    if caller.state == "running":
        caller.state = "waiting"
    if event.kind == "await":
        state.processes[event.target].awaited_by.append(event.id)  # type: ignore[index]
    if event.kind == "effect":
        caller.repeats = caller.repeats + 1 if caller.repeated == event.args else 1
        caller.repeated = event.args


def _count(caller: Process, id: CallId) -> None:
    """The strand has got this far."""
    assert id.n >= caller.strands.get(id.strand, 0), "calls of a strand are answered in order"
    caller.strands[id.strand] = id.n
    caller.relaunches = 0


def _intended(state: State, event: call.EffectIntended, at_ns: int) -> None:
    effects.apply_intended(state, event, at_ns)
    evidence.apply_worked(state, event)


APPLY: dict[type[Event], Applier] = {
    born.ProcessSpawned: process.apply_spawned,
    born.ProcessLaunched: process.apply_launched,
    born.ProcessExited: process.apply_exited,
    born.ProcessReaped: supervise.apply_reaped,
    born.PlaceDropped: supervise.apply_dropped,
    born.ProcessSignalled: process.apply_signalled,
    born.ProcessCheckpointed: process.apply_checkpointed,
    born.ProcessBeaten: process.apply_beaten,
    born.ProcessNoted: process.apply_noted,
    born.ProcessRestarted: supervise.apply_restarted,
    born.AccountOpened: budget.apply_opened,
    born.AccountRaised: budget.apply_raised,
    born.AccountClosed: budget.apply_closed,
    call.CallAnswered: _answered,
    call.CallRefused: _answered,
    call.CallParked: _parked,
    call.EffectIntended: _intended,
    call.EffectDispatched: schedule.apply_dispatched,
    call.EffectSettled: effects.apply_settled,
    call.EffectRetried: effects.apply_retried,
    call.EffectOrphaned: effects.apply_orphaned,
    call.KernelBooted: effects.apply_booted,
    call.TimerSet: timer.apply_set,
    call.TimerFired: timer.apply_fired,
    mail.MailSent: ipc.apply_sent,
    mail.MailTaken: ipc.apply_taken,
    mail.ChannelOpened: ipc.apply_opened,
    mail.ChannelJoined: ipc.apply_joined,
    mail.ChannelPublished: ipc.apply_published,
    mail.ArtifactAttached: ipc.apply_attached,
    mail.LeaseGranted: lease.apply_granted,
    mail.LeaseQueued: lease.apply_queued,
    mail.LeaseEnded: lease.apply_ended,
    mail.CapabilityMinted: capability.apply_minted,
    mail.CapabilityUsed: capability.apply_used,
    mail.CapabilityRevoked: capability.apply_revoked,
    work.OrderSubmitted: order.apply_submitted,
    work.ProvingBegun: order.apply_proving,
    work.OrderProved: order.apply_proved,
    work.OrderReady: order.apply_ready,
    work.AttemptBegun: order.apply_begun,
    work.CopyMade: order.apply_copied,
    work.AttemptEnded: order.apply_ended,
    work.PresentationAsked: evidence.apply_asked,
    work.ContentPresented: evidence.apply_presented,
    work.VerifyingBegun: evidence.apply_verifying,
    work.EvidenceFound: evidence.apply_found,
    work.OrderVerified: evidence.apply_verified,
    work.ContentAttested: gate.apply_attested,
    work.OrderEscalated: order.apply_escalated,
    work.OrderResumed: order.apply_resumed,
    work.ClosingBegun: gate.apply_closing,
    work.OrderClosed: order.apply_over,
    work.OrderJudged: order.apply_over,
    work.ChangeApplied: delivery.apply_applied,
    work.OrderCancelled: order.apply_over,
    work.QuestionAsked: gate.apply_question,
    work.QuestionDecided: gate.apply_answered,
    work.QuestionWithdrawn: gate.apply_answered,
}


def apply(state: State, event: Event, at_ns: int) -> None:
    """The state after an event. Time in the state is the largest instant any event has had."""
    state.now_ns = max(state.now_ns, at_ns)
    state.events += 1
    APPLY[type(event)](state, event, at_ns)
