"""The hand-off: what whoever stops working leaves for whoever goes on, as five short texts.

Rule 1: a hand-off is a claim. It is recorded, shown and read by the next worker; no verdict depends on it.
Rule 2: it is written by everyone who worked, above all by those who failed: what is not handed on is done twice.
"""

from typing import Annotated

import msgspec

FIELD_CHARS_MAX = 4_000  # a screen or two; what is longer is an artifact of its own, and is named here

Line = Annotated[str, msgspec.Meta(max_length=FIELD_CHARS_MAX)]


class HandOff(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one attempt leaves behind."""

    attempted: Line = ""  # what was tried, and how
    changed: Line = ""  # which paths are different now
    remains: Line = ""  # what is still to be done
    failed: Line = ""  # what went wrong, in the words of whatever said so
    next: Line = ""  # what the next one should do first


def handoff(*, attempted: str = "", changed: str = "", remains: str = "", failed: str = "", next: str = "") -> HandOff:
    """A hand-off with every text cut to its bound, from the middle: beginnings say what, ends say why."""
    return HandOff(
        attempted=_cut(attempted), changed=_cut(changed), remains=_cut(remains), failed=_cut(failed), next=_cut(next)
    )


def _cut(text: str) -> str:
    if len(text) <= FIELD_CHARS_MAX:
        return text
    half = FIELD_CHARS_MAX // 2 - 3
    return f"{text[:half]} ... {text[-half:]}"
