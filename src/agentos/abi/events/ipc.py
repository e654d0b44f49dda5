"""Mail, channels, artifacts, leases, capabilities."""

from agentos.abi.events.base import Event
from agentos.abi.ids import CallId, CapabilityId, Digest, OrderId, Pid
from agentos.abi.rights import Grant


class MailSent(Event, frozen=True, tag="mail.sent"):
    """It lies in the mailbox."""

    mail: int
    sender: Pid
    to: Pid
    kind: str
    body: Digest | None = None


class MailTaken(Event, frozen=True, tag="mail.taken"):
    mail: int
    by: Pid


class ChannelOpened(Event, frozen=True, tag="channel.opened"):
    channel: str
    schema: Digest | None
    by: Pid


class ChannelJoined(Event, frozen=True, tag="channel.joined"):
    channel: str
    pid: Pid


class ChannelPublished(Event, frozen=True, tag="channel.published"):
    """Kept for late subscribers; the copies to today's are mail."""

    channel: str
    sender: Pid
    body: Digest


class ArtifactAttached(Event, frozen=True, tag="artifact.attached"):
    name: str
    content: Digest
    author: Pid
    order: OrderId | None
    media_type: str
    body_bytes: int
    sources: tuple[Digest, ...] = ()


class LeaseGranted(Event, frozen=True, tag="lease.granted"):
    """The token is greater than any before for this resource."""

    resource: str
    token: int
    holder: Pid
    deadline_at_ns: int


class LeaseQueued(Event, frozen=True, tag="lease.queued"):
    resource: str
    pid: Pid
    call: CallId  # waits for it
    ttl_ns: int  # what it asked for, from the moment it gets it


class LeaseEnded(Event, frozen=True, tag="lease.ended"):
    """Released, run out, or its holder has ended."""

    resource: str
    token: int
    reason: str


class CapabilityMinted(Event, frozen=True, tag="capability.minted"):
    """A right in somebody's hands: derived from `parent`, or 0 for standing rights."""

    capability: CapabilityId
    holder: Pid
    grant: Grant
    parent: CapabilityId


class CapabilityUsed(Event, frozen=True, tag="capability.used"):
    """Counted, for a capability with a bounded number of uses."""

    capability: CapabilityId


class CapabilityRevoked(Event, frozen=True, tag="capability.revoked"):
    """It and everything derived from it."""

    capability: CapabilityId
    by: Pid
