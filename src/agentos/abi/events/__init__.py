"""Every event, one record each, grouped by subsystem.

Rule 1: `apply` of a (type, version) never changes. `VERSIONS` holds the ones that are past version 1.
Rule 2: an event not in `DURABLE_LATER` is on disk before anyone hears of it.
"""

from typing import get_args

from agentos.abi.events import call, ipc, process, work
from agentos.abi.events.base import Event

AnyEvent = (
    process.ProcessSpawned
    | process.ProcessLaunched
    | process.ProcessExited
    | process.ProcessReaped
    | process.PlaceDropped
    | process.ProcessSignalled
    | process.ProcessCheckpointed
    | process.ProcessBeaten
    | process.ProcessNoted
    | process.ProcessRestarted
    | process.AccountOpened
    | process.AccountRaised
    | process.AccountClosed
    | call.CallAnswered
    | call.CallRefused
    | call.CallParked
    | call.EffectIntended
    | call.EffectDispatched
    | call.EffectSettled
    | call.EffectRetried
    | call.EffectOrphaned
    | call.KernelBooted
    | call.TimerSet
    | call.TimerFired
    | ipc.MailSent
    | ipc.MailTaken
    | ipc.ChannelOpened
    | ipc.ChannelJoined
    | ipc.ChannelPublished
    | ipc.ArtifactAttached
    | ipc.LeaseGranted
    | ipc.LeaseQueued
    | ipc.LeaseEnded
    | ipc.CapabilityMinted
    | ipc.CapabilityUsed
    | ipc.CapabilityRevoked
    | work.OrderSubmitted
    | work.OrderProved
    | work.ProvingBegun
    | work.OrderReady
    | work.AttemptBegun
    | work.CopyMade
    | work.AttemptEnded
    | work.PresentationAsked
    | work.ContentPresented
    | work.VerifyingBegun
    | work.EvidenceFound
    | work.OrderVerified
    | work.ContentAttested
    | work.OrderEscalated
    | work.OrderResumed
    | work.ClosingBegun
    | work.OrderClosed
    | work.ChangeApplied
    | work.OrderJudged
    | work.OrderCancelled
    | work.QuestionAsked
    | work.QuestionDecided
    | work.QuestionWithdrawn
)

EVENTS: tuple[type[Event], ...] = get_args(AnyEvent)
VERSIONS: dict[type[Event], int] = {}
DURABLE_LATER: frozenset[type[Event]] = frozenset({process.ProcessBeaten, process.ProcessNoted})

__all__ = ["DURABLE_LATER", "EVENTS", "VERSIONS", "AnyEvent", "Event"]
