"""Calls: answered, refused, waiting. The record a re-run program is answered from."""

from agentos.abi.budget import Amounts
from agentos.abi.effects import AnyEffect, AnyOutcome
from agentos.abi.events.base import Event
from agentos.abi.ids import AccountId, CallId, OrderId, Pid
from agentos.abi.refusals import Refusal
from agentos.abi.replies import AnyReply


class CallAnswered(Event, frozen=True, tag="call.answered"):
    """The reply of a call, for ever."""

    id: CallId
    name: str
    args: str  # digest of the call as the caller made it
    reply: AnyReply


class CallRefused(Event, frozen=True, tag="call.refused"):
    """The refusal of a call, for ever. Every denial is one of these."""

    id: CallId
    name: str
    args: str
    refusal: Refusal


class CallParked(Event, frozen=True, tag="call.parked"):
    """The caller waits; what for is in the events beside this one."""

    id: CallId
    name: str
    args: str
    kind: str  # await | receive | lease | timer | effect | question | order
    target: str  # pid, mail kind, resource, timer, effect, question or order


class EffectIntended(Event, frozen=True, tag="effect.intended"):
    """It will be done, once a slot is free. The reservation stands from here."""

    effect: int
    pid: Pid  # whose call caused it; the kernel's own for the work of verification
    what: AnyEffect
    account: AccountId
    reserved: Amounts
    order: OrderId | None = None
    phase: str = ""
    priority: int = 0
    call: CallId | None = None  # the call that waits for it


class EffectDispatched(Event, frozen=True, tag="effect.dispatched"):
    """The machine has been told to do it."""

    effect: int
    attempt: int
    turn: int  # virtual time of its order's share, for fairness


class EffectSettled(Event, frozen=True, tag="effect.settled"):
    """Its outcome is known, or will never be. What it really cost is charged; the reservation is lifted."""

    effect: int
    attempt: int
    outcome: AnyOutcome
    spent: Amounts
    is_late: bool = False  # came for an attempt that was already given up: charged, not used


class EffectRetried(Event, frozen=True, tag="effect.retried"):
    """Queued again, under a new reservation where it costs; not before `not_before_ns`."""

    effect: int
    attempt: int  # the one given up
    written_off: Amounts  # the old reservation, counted as spent until reconciled
    reason: str
    not_before_ns: int = 0


class EffectOrphaned(Event, frozen=True, tag="effect.orphaned"):
    """Nobody can say whether it happened; it is never done again by itself. A question asks a person."""

    effect: int
    question: int


class KernelBooted(Event, frozen=True, tag="kernel.booted"):
    """A new epoch. Leases get one span of grace."""

    epoch: int
    grace_ns: int


class TimerSet(Event, frozen=True, tag="timer.set"):
    timer: int
    at_ns: int
    pid: Pid
    kind: str  # sleep | receive | lease | retry | order
    target: str


class TimerFired(Event, frozen=True, tag="timer.fired"):
    timer: int
