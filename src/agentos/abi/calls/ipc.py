"""Messages: mail to one process, channels to many. Bounded, stamped by the kernel, validated before they enter."""

from agentos.abi.calls.base import Call
from agentos.abi.ids import Digest, Pid


class Send(Call, frozen=True, tag="send"):
    """Put a message into one process's mailbox. The kernel stamps the sender.

    Parents and children may always write to each other; others need a send right.

    Refusals: Forbidden, NotFound, Closed (the receiver has ended), Busy (its mailbox is full), Invalid (a kind that only
    the kernel gives: "signal:...", "channel:...").
    """

    to: Pid
    kind: str  # what sort of message, for the receiver's filter
    body: Digest | None = None


class Receive(Call, frozen=True, tag="receive"):
    """Take the oldest message of a kind (any kind when empty); waits for one, at most `timeout_ns`.

    Refusals: TimedOut, Exhausted (strands).
    """

    kind: str = ""
    timeout_ns: int = 0  # 0: no bound but the process's own end


class Open(Call, frozen=True, tag="open"):
    """Create a named channel whose messages must match a JSON Schema. Opening it again with the same schema is fine.

    A channel below "/WO-n/" belongs to that order and ends with it.

    Refusals: Forbidden, Busy (it exists with another schema), Invalid, Exhausted (channels), Closed (its order is over).
    """

    channel: str
    schema: Digest | None = None


class Subscribe(Call, frozen=True, tag="subscribe"):
    """From now on get a copy of each message of a channel as mail of kind "channel:NAME".

    Refusals: Forbidden, NotFound, Exhausted (subscriptions).
    """

    channel: str
    is_from_start: bool = False  # also what the channel still keeps


class Publish(Call, frozen=True, tag="publish"):
    """Send to all subscribers of a channel. A subscriber whose mailbox is full makes the call Busy: nothing is lost silently.

    Refusals: Forbidden, NotFound, Busy, Invalid (the body does not match the channel's schema).
    """

    channel: str
    body: Digest
    fault: str = ""  # entered: what the channel's schema says against the body


class Attach(Call, frozen=True, tag="attach"):
    """Record content as an artifact of the caller's order, with what it was made from.

    Refusals: Invalid (name not canonical), NotFound (a source that is no artifact of this workspace), Exhausted
    (artifacts).
    """

    name: str  # canonical path: "/plan.md"
    content: Digest
    media_type: str = "text/plain"
    body_bytes: int = 0
    sources: tuple[Digest, ...] = ()


class Find(Call, frozen=True, tag="find"):
    """The newest artifact of a name in the caller's order.

    Refusals: NotFound.
    """

    name: str
