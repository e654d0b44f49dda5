"""What every system call record is."""

import msgspec


class Call(msgspec.Struct, frozen=True, tag_field="call", omit_defaults=True, kw_only=True):
    """One crossing of the boundary. Subclasses say the effect, what a caller must know, and the refusals."""
