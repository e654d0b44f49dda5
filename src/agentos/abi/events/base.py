"""What every event record is."""

import msgspec


class Event(msgspec.Struct, frozen=True, tag_field="type", omit_defaults=True, kw_only=True):
    """One fact. Past tense, complete in itself: `apply` needs the state and this, nothing else.

    `apply` of a (type, version) never changes; a new meaning is a new version, and old ones are lifted when read.
    """
