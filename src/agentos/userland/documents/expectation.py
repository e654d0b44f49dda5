"""What a text must look like, as a file says it: headings, facts, length, fields. `sdk.document` judges by it.

Rule 1: what nothing could meet, or anything would, is a fault when the file is read, not a surprise when a run ends.
"""

from typing import Any

import msgspec

from agentos.abi.work import WORDS_MAX
from agentos.sdk.document import KINDS, complaints, plain
from agentos.userland.documents import source
from agentos.userland.documents.fault import Faults, shown
from agentos.userland.documents.shape import Field, ListOf, MapOf, Record, Text, Whole


class Expectation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a text must hold. Empty asks for nothing but a text that is not empty."""

    headings: tuple[str, ...] = ()  # Markdown headings, of any level, in this order
    contains: tuple[str, ...] = ()  # each in one of its ways
    excludes: tuple[str, ...] = ()  # none in any of its ways
    starts: str = ""  # how the first line begins, in one of its ways
    words_min: int = 0
    words_max: int = WORDS_MAX
    fields: dict[str, str] = {}  # of the JSON object that the text is, or holds in a fence; name to a key of KINDS


_FACTS = ListOf(item=Text(chars_max=400, called="a fact"), is_single_ok=True)
_COUNT = Whole(least=0, most=WORDS_MAX)

EXPECTATION = Record(
    fields=(
        Field("headings", ListOf(item=Text(), is_single_ok=True), "Headings that must be there, in this order."),
        Field("contains", _FACTS, "What must be said; ' | ' parts ways to say it."),
        Field("excludes", _FACTS, "What must not be said."),
        Field("starts", Text(), "How the first line begins; ' | ' parts alternatives."),
        Field(
            "words",
            Record(fields=(Field("at_least", _COUNT, "Fewest words."), Field("at_most", _COUNT, "Most words."))),
            "Length in words.",
        ),
        Field("fields", MapOf(item=Text(choices=KINDS)), "Names and kinds in the JSON object it must hold."),
    )
)


def build(got: dict[str, Any], node: source.Node, field: str, faults: Faults) -> Expectation:
    """An expectation out of what the shape read; a fault where nothing could meet it."""
    words = got.get("words", {})
    least, most = words.get("at_least", 0), words.get("at_most", WORDS_MAX)
    if least > most:
        faults.add(
            source.at(node, "words").line, field, found=f"at_least {least} above at_most {most}: nothing can pass"
        )
    both = {plain(fact) for fact in got.get("contains", ())} & {plain(fact) for fact in got.get("excludes", ())}
    for fact in sorted(both):
        line = source.at(node, "excludes").line
        faults.add(line, field, found=f"'{shown(fact)}' in contains and in excludes: nothing can pass")
    for name in ("contains", "excludes", "starts"):
        facts = (got[name],) if isinstance(got.get(name), str) else got.get(name, ())
        for fact in (fact for fact in facts if not all(plain(way) for way in fact.split("|"))):
            line = source.at(node, name).line
            faults.add(line, f"{field}.{name}", expected="words", found=f"'{shown(fact)}', which any text holds")
    rest = {name: got[name] for name in ("headings", "contains", "excludes", "starts", "fields") if name in got}
    return Expectation(words_min=least, words_max=most, **rest)


__all__ = ["EXPECTATION", "Expectation", "build", "complaints"]
