"""What a text must look like: headings, facts, length, fields. Judged by counting and searching, by no model.

Rule 1: the same text gets the same answer, always.
Rule 2: a complaint says what is missing in words that can be sent back to the writer as they are.
Rule 3: a fact is searched without regard to case, emphasis, line breaks and the kind of dash; ` | ` parts the ways to
write it ("30 days | thirty days"), because a right answer in other words is right.
"""

import json
import re
from typing import Any, Final

import msgspec

from agentos.userland.documents import source
from agentos.userland.documents.fault import Faults, shown
from agentos.userland.documents.shape import Field, ListOf, MapOf, Record, Text, Whole

WORDS_MAX: Final = 100_000  # the longest text any context holds

KINDS: Final[dict[str, tuple[type, ...]]] = {
    "text": (str,),
    "number": (int, float),
    "flag": (bool,),
    "list": (list,),
    "mapping": (dict,),
}

_FENCED = re.compile(r"```[a-z]*\n(.*?)```", re.DOTALL)
_DASHES = str.maketrans({"‐": "-", "‑": "-", "–": "-", "—": "-", "’": "'", "“": '"', "”": '"'})


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
        Field("fields", MapOf(item=Text(choices=tuple(KINDS))), "Names and kinds in the JSON object it must hold."),
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
    both = {_plain(fact) for fact in got.get("contains", ())} & {_plain(fact) for fact in got.get("excludes", ())}
    for fact in sorted(both):
        line = source.at(node, "excludes").line
        faults.add(line, field, found=f"'{shown(fact)}' in contains and in excludes: nothing can pass")
    for name in ("contains", "excludes", "starts"):
        facts = (got[name],) if isinstance(got.get(name), str) else got.get(name, ())
        for fact in (fact for fact in facts if not all(_plain(way) for way in fact.split("|"))):
            line = source.at(node, name).line
            faults.add(line, f"{field}.{name}", expected="words", found=f"'{shown(fact)}', which any text holds")
    rest = {name: got[name] for name in ("headings", "contains", "excludes", "starts", "fields") if name in got}
    return Expectation(words_min=least, words_max=most, **rest)


def complaints(expectation: Expectation, text: str) -> tuple[str, ...]:
    """What the text lacks, one line each; empty when it is as expected."""
    if not text.strip():
        return ("the text is empty",)
    said = _plain(text)
    return (
        *_about_headings(expectation.headings, text),
        *(f"it does not say: {fact}" for fact in expectation.contains if not _says(said, fact)),
        *(f"it must not say: {fact}" for fact in expectation.excludes if _says(said, fact)),
        *_about_start(expectation.starts, text),
        *_about_length(expectation, text),
        *_about_fields(expectation.fields, text),
    )


def _about_headings(wanted: tuple[str, ...], text: str) -> list[str]:
    found = [_plain(line.title).rstrip(":") for line in source.scan(text)[0] if line.level]
    missing = [f"the heading '{one}' is missing" for one in wanted if _plain(one) not in found]
    places = [found.index(_plain(one)) for one in wanted if _plain(one) in found]
    if not missing and places != sorted(places):
        missing.append(f"the headings are not in the order {', '.join(wanted)}")
    return missing


def _about_start(wanted: str, text: str) -> list[str]:
    first = _plain(text.strip().split("\n")[0])
    is_met = not wanted or any(first.startswith(_plain(way)) for way in wanted.split(" | "))
    return [] if is_met else [f"the first line must begin with: {wanted}"]


def _about_length(expectation: Expectation, text: str) -> list[str]:
    count = len(text.split())
    if count < expectation.words_min:
        return [f"it has {count} words; write at least {expectation.words_min}"]
    if count > expectation.words_max:
        return [f"it has {count} words; write at most {expectation.words_max}"]
    return []


def _about_fields(wanted: dict[str, str], text: str) -> list[str]:
    if not wanted:
        return []
    got = _object(text)
    if got is None:
        return [f"it is no JSON object with the fields {', '.join(wanted)}"]
    wrong = []
    for name, kind in wanted.items():
        is_flag_as_number = kind == "number" and isinstance(got.get(name), bool)
        if name not in got:
            wrong.append(f"the field '{name}' is missing")
        elif not isinstance(got[name], KINDS[kind]) or is_flag_as_number:
            wrong.append(f"the field '{name}' is no {kind}")
        elif got[name] in ("", [], {}):
            wrong.append(f"the field '{name}' is empty")
    return wrong


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object that is the text, or the first one in a fence."""
    for candidate in (text, *_FENCED.findall(text)):
        try:
            got = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(got, dict):
            return got
    return None


def _says(said: str, fact: str) -> bool:
    """One of the ways is there, and not as part of a longer number or word."""
    ways = (re.escape(_plain(way)) for way in fact.split(" | "))
    return any(re.search(rf"(?<!\w)(?<!\d[.,]){way}(?!\w)(?![.,]\d)", said) for way in ways)


def _plain(text: str) -> str:
    bare = re.sub(r"[*_`]+", "", text.translate(_DASHES))
    return " ".join(bare.split()).casefold()
