"""Leases: being alone with a resource, for a while, with a token that outranks whoever was before."""

from agentos.abi.calls.base import Call
from agentos.abi.ids import CapabilityId, Pid
from agentos.abi.rights import Grant


class Acquire(Call, frozen=True, tag="acquire"):
    """Hold a resource alone until the deadline. The token grows with each holder; writes carry it.

    Refusals: Forbidden, Busy (held, and is_waiting is False), Exhausted (leases; ttl not within its bounds), Invalid
    (a resource that is not canonical).
    """

    resource: str
    ttl_ns: int
    is_waiting: bool = False  # queue for it, first come first served


class Renew(Call, frozen=True, tag="renew"):
    """Extend one's lease to ttl_ns from now.

    Refusals: Stale (somebody else has held it since, or it ran out), NotFound, Exhausted (ttl not within its bounds).
    """

    resource: str
    token: int
    ttl_ns: int


class Release(Call, frozen=True, tag="release"):
    """Give it up; the next in the queue gets it.

    Refusals: Stale, NotFound.
    """

    resource: str
    token: int


class Derive(Call, frozen=True, tag="derive"):
    """Give a process a narrower copy of a capability one holds. Recorded; revoked with its parent.

    Refusals: Forbidden (not the holder, or not narrower), NotFound, Exhausted (capabilities of the receiver).
    """

    capability: CapabilityId
    to: Pid
    grant: Grant


class Revoke(Call, frozen=True, tag="revoke"):
    """Take back a capability one derived or holds, with everything derived from it.

    Refusals: Forbidden, NotFound.
    """

    capability: CapabilityId


class Sleep(Call, frozen=True, tag="sleep"):
    """Wait for a span. Survives the death of the kernel; fires once.

    Refusals: Exhausted (longer than timer_span_ns_max).
    """

    span_ns: int
