"""Calls nobody may make: what the state itself demands, and the facts the machine brings in.

They pass the same gate as any call, so that they are journaled and replayed like any.
"""

from agentos.abi.calls.base import Call
from agentos.abi.effects import AnyOutcome
from agentos.abi.ids import OrderId, Pid


class Boot(Call, frozen=True, tag="boot"):
    """A kernel has started on this journal: a new epoch. Orphaned effects are sorted out by how they may be repeated.

    Refusals: none.
    """

    epoch: int


class Enroll(Call, frozen=True, tag="enroll"):
    """A person has a session: their process is found or made, with the standing rights of their role.

    Refusals: Exhausted (processes), Invalid (an unknown role).
    """

    principal: str
    role: str = "operator"  # operator | author | observer


class Settle(Call, frozen=True, tag="settle"):
    """The outcome of an effect's attempt. Facts are recorded, never refused: late, stale or over the reservation.

    Refusals: none.
    """

    effect: int
    attempt: int
    outcome: AnyOutcome


class Beat(Call, frozen=True, tag="beat"):
    """These processes' workers answered a ping. May be lost at a power cut.

    Refusals: none.
    """

    pids: tuple[Pid, ...]


class Fence(Call, frozen=True, tag="fence"):
    """A process's worker is dead or frozen: its incarnation ends, a new one is launched and catches up.

    Refusals: NotFound, Stale (that incarnation is already over).
    """

    pid: Pid
    incarnation: int
    reason: str


class Finish(Call, frozen=True, tag="finish"):
    """A program that has a worker to itself has ended, with this exit status.

    Refusals: NotFound.
    """

    pid: Pid
    incarnation: int
    status: int


class Diverge(Call, frozen=True, tag="diverge"):
    """A re-run program made another call than its record has: it is stopped, with both calls named.

    Refusals: NotFound.
    """

    pid: Pid
    fact: str


class Reap(Call, frozen=True, tag="reap"):
    """Demanded: settle what an ended process leaves behind, tell who waits, restart by its supervisor's strategy."""

    pid: Pid


class Refill(Call, frozen=True, tag="refill"):
    """Demanded: a supervised place is vacant."""


class Recover(Call, frozen=True, tag="recover"):
    """Demanded: an effect was in flight when the last kernel died."""

    effect: int


class Dispatch(Call, frozen=True, tag="dispatch"):
    """Demanded: a slot of a device is free and an effect is queued for it."""

    device: str


class Fire(Call, frozen=True, tag="fire"):
    """Demanded: a timer is due."""

    timer: int


class Advance(Call, frozen=True, tag="advance"):
    """Demanded: an order can take its next step."""

    order: OrderId
