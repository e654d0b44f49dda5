"""What a view is given, and which facts belong to one order.

    journal ──decode──> Fact, Fact, Fact ... ──fold──> answers, receipt, timeline, cost, trace, report

A view that asked the kernel would show what the kernel thinks; one that folds facts shows what is on record, and
shows the same after a crash, on another machine and to a stranger.

Rule 1: a view is a function of the facts it is given, in their order, and of nothing else: no clock, no file, no
        kernel. Where "now" matters it is an argument, and where it is missing the last fact is now.
Rule 2: facts may be a part of a journal. A view then says what that part shows, and makes nothing up.
Rule 3: membership is derived from the events, not only from the `order` they were filed under: who works for an order,
        and what those processes caused, belongs to it.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from agentos.abi.events import EVENTS, AnyEvent
from agentos.abi.events.call import CallAnswered, EffectIntended, TimerSet
from agentos.abi.events.ipc import CapabilityMinted, MailSent
from agentos.abi.events.process import AccountOpened, ProcessSpawned
from agentos.abi.events.work import OrderSubmitted, QuestionAsked
from agentos.abi.ids import Digest, OrderId
from agentos.abi.replies import Ordered


class Fact(NamedTuple):
    """One event of the journal, decoded, with what its envelope says."""

    seq: int
    at_ns: int
    epoch: int
    type: str
    caller: str  # pid of the process whose call caused it; "0.0" when the state itself demanded it
    cause: str  # call id "PID/STRAND/N", or "kernel:NAME" of the demanded call, or "" for a workspace's first events
    order: str  # order it is filed under, or ""
    event: AnyEvent


Blob = Callable[[Digest], bytes | None]  # content by digest; None when it is not here, or was erased


def no_blob(digest: Digest) -> bytes | None:
    """A store that has nothing: every text is shown by its digest alone."""
    return None


# Which fields of an event name something that may belong to an order, and what kind of thing that is.
_KINDS = {
    "pid": "process",
    "holder": "process",
    "by": "process",
    "supervisor": "process",
    "child": "process",
    "sender": "process",
    "to": "process",
    "author": "process",
    "effect": "effect",
    "question": "question",
    "timer": "timer",
    "mail": "mail",
    "capability": "capability",
    "account": "account",
}
# What comes into being with an event, so that later events about it are known to belong.
_BIRTHS: dict[type, str] = {
    ProcessSpawned: "pid",
    EffectIntended: "effect",
    QuestionAsked: "question",
    TimerSet: "timer",
    MailSent: "mail",
    CapabilityMinted: "capability",
    AccountOpened: "account",
    OrderSubmitted: "account",
}
_FIELDS: dict[type, tuple[tuple[str, str], ...]] = {
    event: tuple((field, _KINDS[field]) for field in event.__struct_fields__ if field in _KINDS) for event in EVENTS
}


def about(order: OrderId, facts: Iterable[Fact]) -> Iterator[Fact]:
    """The facts that belong to one order, in their order. One pass, O(facts)."""
    known: set[tuple[str, Any]] = set()
    for fact in facts:
        if not _belongs(order, fact, known):
            continue
        field = _BIRTHS.get(type(fact.event))
        if field is not None:
            known.add((_KINDS[field], getattr(fact.event, field)))
        yield fact


def _belongs(order: OrderId, fact: Fact, known: set[tuple[str, Any]]) -> bool:
    if fact.order:
        return fact.order == order
    event = fact.event
    named = getattr(event, "order", None)
    if named is not None:
        return bool(named == order)
    if isinstance(event, AccountOpened):
        return event.owner == order or ("account", event.parent) in known
    if isinstance(event, TimerSet) and event.kind in ("order", "retry"):
        return event.target == order or event.kind == "retry" and ("effect", int(event.target)) in known
    if isinstance(event, CallAnswered) and isinstance(event.reply, Ordered):
        return event.reply.order == order
    call = getattr(event, "id", None)
    if call is not None:
        return ("process", call.pid) in known
    return any((kind, getattr(event, field)) in known for field, kind in _FIELDS[type(event)])
