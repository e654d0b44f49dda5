"""The only writer. An event and the state it happened to; nothing is asked, nothing is refused.

Rule 1: total: every event type is in the table, and a test says so.
Rule 2: `apply` of a (type, version) never changes, for journals are replayed for ever.
Rule 3: an assert here is a law that a decision broke. The kernel dies of it rather than write on.
"""

from collections.abc import Callable
from typing import Any

from agentos.abi.events.base import Event
from agentos.abi.events.call import (
    CallAnswered,
    CallParked,
    CallRefused,
    EffectDispatched,
    EffectIntended,
    EffectOrphaned,
    EffectRetried,
    EffectSettled,
    KernelBooted,
    TimerFired,
    TimerSet,
)
from agentos.abi.events.ipc import (
    ArtifactAttached,
    CapabilityMinted,
    CapabilityRevoked,
    CapabilityUsed,
    ChannelJoined,
    ChannelOpened,
    ChannelPublished,
    LeaseEnded,
    LeaseGranted,
    LeaseQueued,
    MailSent,
    MailTaken,
)
from agentos.abi.events.process import (
    AccountClosed,
    AccountOpened,
    AccountRaised,
    PlaceDropped,
    ProcessBeaten,
    ProcessCheckpointed,
    ProcessExited,
    ProcessLaunched,
    ProcessNoted,
    ProcessReaped,
    ProcessRestarted,
    ProcessSignalled,
    ProcessSpawned,
)
from agentos.abi.events.work import (
    AttemptBegun,
    AttemptEnded,
    ChangeApplied,
    ClosingBegun,
    ContentAttested,
    ContentPresented,
    CopyMade,
    EvidenceFound,
    OrderCancelled,
    OrderClosed,
    OrderEscalated,
    OrderJudged,
    OrderProved,
    OrderReady,
    OrderResumed,
    OrderSubmitted,
    OrderVerified,
    PresentationAsked,
    ProvingBegun,
    QuestionAsked,
    QuestionDecided,
    QuestionWithdrawn,
    VerifyingBegun,
)
from agentos.abi.ids import CallId
from agentos.kernel import agenda, budget, capability, effects, ipc, lease, process, schedule, supervise, timer
from agentos.kernel.state import Parked, Process, State
from agentos.kernel.work import delivery, evidence, gate, order

Applier = Callable[[State, Any, int], None]


def _answered(state: State, event: CallAnswered | CallRefused, at_ns: int) -> None:
    caller = state.processes.get(event.id.pid)
    if caller is not None:
        _count(caller, event.id)
        waited = caller.parked.pop(event.id.strand, None)
        if waited is not None:
            agenda.strike(state, waited.timer)
        if caller.state == "waiting":
            caller.state = "running"


def _parked(state: State, event: CallParked, at_ns: int) -> None:
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


def _count(caller: Process, call: CallId) -> None:
    """The strand has got this far."""
    assert call.n >= caller.strands.get(call.strand, 0), "calls of a strand are answered in order"
    caller.strands[call.strand] = call.n
    caller.relaunches = 0


def _intended(state: State, event: EffectIntended, at_ns: int) -> None:
    effects.apply_intended(state, event, at_ns)
    evidence.apply_worked(state, event)


APPLY: dict[type[Event], Applier] = {
    ProcessSpawned: process.apply_spawned,
    ProcessLaunched: process.apply_launched,
    ProcessExited: process.apply_exited,
    ProcessReaped: supervise.apply_reaped,
    PlaceDropped: supervise.apply_dropped,
    ProcessSignalled: process.apply_signalled,
    ProcessCheckpointed: process.apply_checkpointed,
    ProcessBeaten: process.apply_beaten,
    ProcessNoted: process.apply_noted,
    ProcessRestarted: supervise.apply_restarted,
    AccountOpened: budget.apply_opened,
    AccountRaised: budget.apply_raised,
    AccountClosed: budget.apply_closed,
    CallAnswered: _answered,
    CallRefused: _answered,
    CallParked: _parked,
    EffectIntended: _intended,
    EffectDispatched: schedule.apply_dispatched,
    EffectSettled: effects.apply_settled,
    EffectRetried: effects.apply_retried,
    EffectOrphaned: effects.apply_orphaned,
    KernelBooted: effects.apply_booted,
    TimerSet: timer.apply_set,
    TimerFired: timer.apply_fired,
    MailSent: ipc.apply_sent,
    MailTaken: ipc.apply_taken,
    ChannelOpened: ipc.apply_opened,
    ChannelJoined: ipc.apply_joined,
    ChannelPublished: ipc.apply_published,
    ArtifactAttached: ipc.apply_attached,
    LeaseGranted: lease.apply_granted,
    LeaseQueued: lease.apply_queued,
    LeaseEnded: lease.apply_ended,
    CapabilityMinted: capability.apply_minted,
    CapabilityUsed: capability.apply_used,
    CapabilityRevoked: capability.apply_revoked,
    OrderSubmitted: order.apply_submitted,
    ProvingBegun: order.apply_proving,
    OrderProved: order.apply_proved,
    OrderReady: order.apply_ready,
    AttemptBegun: order.apply_begun,
    CopyMade: order.apply_copied,
    AttemptEnded: order.apply_ended,
    PresentationAsked: evidence.apply_asked,
    ContentPresented: evidence.apply_presented,
    VerifyingBegun: evidence.apply_verifying,
    EvidenceFound: evidence.apply_found,
    OrderVerified: evidence.apply_verified,
    ContentAttested: gate.apply_attested,
    OrderEscalated: order.apply_escalated,
    OrderResumed: order.apply_resumed,
    ClosingBegun: gate.apply_closing,
    OrderClosed: order.apply_over,
    OrderJudged: order.apply_over,
    ChangeApplied: delivery.apply_applied,
    OrderCancelled: order.apply_over,
    QuestionAsked: gate.apply_question,
    QuestionDecided: gate.apply_answered,
    QuestionWithdrawn: gate.apply_answered,
}


def apply(state: State, event: Event, at_ns: int) -> None:
    """The state after an event. Time in the state is the largest instant any event has had."""
    state.now_ns = max(state.now_ns, at_ns)
    state.events += 1
    APPLY[type(event)](state, event, at_ns)
