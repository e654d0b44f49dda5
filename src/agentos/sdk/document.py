"""What a written document must hold, judged by counting and searching. One meaning for the check, the step of a
workflow that writes, and whoever reads the finding.

Rule 1: the same text gets the same answer, always; no model is asked.
Rule 2: a complaint says what is missing in words that can be sent back to the writer as they are.
Rule 3: a fact is searched without regard to case, emphasis, line breaks and the kind of dash; ` | ` parts the ways to
        write it ("30 days | thirty days"), because a right answer in other words is right.
Rule 4: an empty text meets nothing, so every expectation can be seen to fail.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import msgspec

KINDS = ("text", "number", "flag", "list", "mapping")  # of a field in the JSON object that a text holds

_FENCED = re.compile(r"```[a-z]*\n(.*?)```", re.DOTALL)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+")
_DASHES = str.maketrans({"‐": "-", "‑": "-", "–": "-", "—": "-", "’": "'", "“": '"', "”": '"'})


class Wanted(Protocol):
    """What is asked of a text: a `Document` check, or the check of a workflow's step."""

    @property
    def headings(self) -> tuple[str, ...]: ...  # Markdown headings, of any level, in this order
    @property
    def contains(self) -> tuple[str, ...]: ...  # each in one of its ways
    @property
    def excludes(self) -> tuple[str, ...]: ...  # none in any of its ways
    @property
    def starts(self) -> str: ...  # how the first line begins, in one of its ways
    @property
    def words_min(self) -> int: ...
    @property
    def words_max(self) -> int: ...
    @property
    def fields(self) -> Mapping[str, str]: ...  # of the JSON object that the text is or holds; name to one of KINDS


class Line(NamedTuple):
    """A line of Markdown."""

    text: str
    level: int  # 1 to 6 for a heading outside code, else 0
    title: str


def complaints(wanted: Wanted, text: str) -> tuple[str, ...]:
    """What the text lacks, one line each; empty when it is as expected."""
    if not text.strip():
        return ("the text is empty",)
    said = plain(text)
    return (
        *_about_headings(wanted.headings, text),
        *(f"it does not say: {fact}" for fact in wanted.contains if not _says(said, fact)),
        *(f"it must not say: {fact}" for fact in wanted.excludes if _says(said, fact)),
        *_about_start(wanted.starts, text),
        *_about_length(wanted, text),
        *_about_fields(wanted.fields, text),
    )


def scan(text: str) -> tuple[list[Line], int | None]:
    """The lines, each with its heading if it is one, and the index of a code fence that is never closed."""
    lines: list[Line] = []
    fence, opened = "", None
    for number, line in enumerate(text.split("\n")):
        level, title = (0, "") if fence else _heading(line)
        lines.append(Line(line, level, title))
        if mark := _FENCE.fullmatch(line):
            if not fence:
                fence, opened = mark[1], number
            elif mark[1].startswith(fence) and not mark[2].strip():
                fence, opened = "", None
    return lines, opened


def plain(text: str) -> str:
    """The text as facts are compared: without case, emphasis, doubled spaces and kinds of dash."""
    bare = re.sub(r"[*_`]+", "", text.translate(_DASHES))
    return " ".join(bare.split()).casefold()


def _heading(line: str) -> tuple[int, str]:
    """Level and title; (0, "") where the line is no heading. By hand, since a pattern needs quadratic time for it."""
    mark = _HEADING.match(line)
    if not mark:
        return 0, ""
    title = line[mark.end() :].strip()
    bare = title.rstrip("#")
    if not bare or bare[-1] in " \t":  # a closing run of signs stands apart from the title
        title = bare.rstrip()
    return (len(mark[1]), title) if title else (0, "")


def _about_headings(wanted: tuple[str, ...], text: str) -> list[str]:
    found = [plain(line.title).rstrip(":") for line in scan(text)[0] if line.level]
    missing = [f"the heading '{one}' is missing" for one in wanted if plain(one) not in found]
    places = [found.index(plain(one)) for one in wanted if plain(one) in found]
    if not missing and places != sorted(places):
        missing.append(f"the headings are not in the order {', '.join(wanted)}")
    return missing


def _about_start(wanted: str, text: str) -> list[str]:
    first = plain(text.strip().split("\n")[0])
    is_met = not wanted or any(first.startswith(plain(way)) for way in wanted.split(" | "))
    return [] if is_met else [f"the first line must begin with: {wanted}"]


def _about_length(wanted: Wanted, text: str) -> list[str]:
    count = len(text.split())
    if count < wanted.words_min:
        return [f"it has {count} words; write at least {wanted.words_min}"]
    if count > wanted.words_max:
        return [f"it has {count} words; write at most {wanted.words_max}"]
    return []


def _about_fields(wanted: Mapping[str, str], text: str) -> list[str]:
    if not wanted:
        return []
    got = _object(text)
    if got is None:
        return [f"it is no JSON object with the fields {', '.join(wanted)}"]
    wrong = []
    for name, kind in wanted.items():
        if name not in got:
            wrong.append(f"the field '{name}' is missing")
        elif _kind(got[name]) != kind:
            wrong.append(f"the field '{name}' is no {kind}")
        elif got[name] in ("", [], {}):
            wrong.append(f"the field '{name}' is empty")
    return wrong


def _kind(value: object) -> str:
    """Which of KINDS a JSON value is; "" for null."""
    match value:
        case None:
            return ""
        case bool():
            return "flag"
        case str():
            return "text"
        case list():
            return "list"
        case dict():
            return "mapping"
    return "number"


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object that is the text, or the first one in a fence."""
    for candidate in (text, *_FENCED.findall(text)):
        try:
            got = msgspec.json.decode(candidate.encode())
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            continue
        if isinstance(got, dict):
            return got
    return None


def _says(said: str, fact: str) -> bool:
    """One of the ways is there, and not as part of a longer number or word."""
    ways = (re.escape(plain(way)) for way in fact.split(" | "))
    return any(re.search(rf"(?<!\w)(?<!\d[.,]){way}(?!\w)(?![.,]\d)", said) for way in ways)
