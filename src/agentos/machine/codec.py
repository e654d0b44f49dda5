"""Events as bytes and back. One form for the journal, for ever.

Rule 1: what is written is MessagePack of the tagged record; fields at their default are left out.
Rule 2: an event of an older version is lifted when it is read, by the functions in LIFTS, one version at a time.
Rule 3: an event of a version we do not know is not guessed at: `Newer` names it, and nothing is replayed.
"""

from collections.abc import Callable

import msgspec

from agentos.abi.events import EVENTS, VERSIONS, AnyEvent
from agentos.abi.events.base import Event

Lift = Callable[[dict[str, object]], dict[str, object]]

LIFTS: dict[tuple[str, int], Lift] = {}  # (type, version) -> the fields of version + 1

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(AnyEvent)
_TAGS: dict[type[Event], str] = {kind: str(kind.__struct_config__.tag) for kind in EVENTS}
_NEWEST: dict[str, int] = {tag: VERSIONS.get(kind, 1) for kind, tag in _TAGS.items()}
_FORMS: dict[type[Event], tuple[str, int]] = {kind: (tag, _NEWEST[tag]) for kind, tag in _TAGS.items()}


class Newer(Exception):
    """The journal holds an event that this program is too old to understand."""


def tag(event: Event) -> str:
    """An event's type, as the journal writes it."""
    return _TAGS[type(event)]


def version(event: Event) -> int:
    """The version that is written today."""
    return VERSIONS.get(type(event), 1)


def form(event: Event) -> tuple[str, int]:
    """Tag and version in one look."""
    return _FORMS[type(event)]


def encode(event: Event) -> bytes:
    """The payload."""
    return _ENCODER.encode(event)


def decode(type: str, version: int, payload: bytes) -> AnyEvent:
    """The event of a payload, lifted to today's version."""
    newest = _NEWEST.get(type)
    if newest is None or version > newest:
        raise Newer(f"event {type} version {version} was written by a newer agentos; use that version or newer")
    if version == newest:
        event: AnyEvent = _DECODER.decode(payload)
        return event
    fields = msgspec.msgpack.decode(payload)
    for old in range(version, newest):
        fields = LIFTS[type, old](fields)
    lifted: AnyEvent = msgspec.convert(fields, AnyEvent)
    return lifted
