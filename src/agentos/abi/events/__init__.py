"""Every event, one record each, grouped by subsystem.

Rule 1: `apply` of a (type, version) never changes. `VERSIONS` holds the ones that are past version 1.
Rule 2: an event not in `DURABLE_LATER` is on disk before anyone hears of it.
"""

from typing import get_args

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

AnyEvent = (
    ProcessSpawned
    | ProcessLaunched
    | ProcessExited
    | ProcessReaped
    | PlaceDropped
    | ProcessSignalled
    | ProcessCheckpointed
    | ProcessBeaten
    | ProcessNoted
    | ProcessRestarted
    | AccountOpened
    | AccountRaised
    | AccountClosed
    | CallAnswered
    | CallRefused
    | CallParked
    | EffectIntended
    | EffectDispatched
    | EffectSettled
    | EffectRetried
    | EffectOrphaned
    | KernelBooted
    | TimerSet
    | TimerFired
    | MailSent
    | MailTaken
    | ChannelOpened
    | ChannelJoined
    | ChannelPublished
    | ArtifactAttached
    | LeaseGranted
    | LeaseQueued
    | LeaseEnded
    | CapabilityMinted
    | CapabilityUsed
    | CapabilityRevoked
    | OrderSubmitted
    | OrderProved
    | ProvingBegun
    | OrderReady
    | AttemptBegun
    | CopyMade
    | AttemptEnded
    | PresentationAsked
    | ContentPresented
    | VerifyingBegun
    | EvidenceFound
    | OrderVerified
    | ContentAttested
    | OrderEscalated
    | OrderResumed
    | ClosingBegun
    | OrderClosed
    | ChangeApplied
    | OrderJudged
    | OrderCancelled
    | QuestionAsked
    | QuestionDecided
    | QuestionWithdrawn
)

EVENTS: tuple[type[Event], ...] = get_args(AnyEvent)
VERSIONS: dict[type[Event], int] = {}
DURABLE_LATER: frozenset[type[Event]] = frozenset({ProcessBeaten, ProcessNoted})

__all__ = ["DURABLE_LATER", "EVENTS", "VERSIONS", "AnyEvent", "Event"]
