"""What is wrong with a file, said so that the person who wrote it can mend it without a manual.

Rule 1: a fault names one line and one field; two mistakes are two faults.
Rule 2: whatever came out of the file is escaped and cut before it is shown: a file must not drive a terminal.
"""

import difflib
from collections.abc import Iterable

import msgspec

SHOWN_CHARS_MAX = 60  # of a value quoted back: enough to recognise it, short enough for one line
FAULTS_SHOWN_MAX = 50  # of one file: nobody mends more in one go, and a hostile file could hold a hundred thousand
NEAREST_RATIO = 0.7  # difflib similarity for "did you mean": below it the guesses are noise ("tests" for "title")


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One mistake in one file."""

    file: str  # as the caller named it
    line: int  # from 1; for a missing field the line where its parent starts
    field: str = ""  # dotted path: "budget.usd", "accept[2].timeout_s"; "" for the file itself
    expected: str = ""  # "text", "a whole number from 1 to 10"
    found: str = ""  # "the text 'many'", "no such field"
    nearest: str = ""  # the valid word that was probably meant

    def __str__(self) -> str:
        where = f"{shown(self.file, chars_max=200)}:{self.line}: "
        subject = f"field '{shown(self.field, chars_max=120)}': " if self.field else ""
        fact = f"expected {self.expected}, found {self.found}" if self.expected and self.found else ""
        fact = fact or self.found or f"expected {self.expected}"
        hint = f"; did you mean '{self.nearest}'?" if self.nearest else ""
        return f"{where}{subject}{fact}{hint}"


class Malformed(ValueError):
    """The file cannot be used. `faults` has every reason, in the order of the file."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line))
        super().__init__(self.faults)

    def __str__(self) -> str:
        lines = [str(fault) for fault in self.faults[:FAULTS_SHOWN_MAX]]
        left_out = len(self.faults) - len(lines)
        return "\n".join(lines + ([f"... and {left_out} more"] if left_out else []))


class Faults:
    """The faults of one file while it is read."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.items: list[Fault] = []

    def add(self, line: int, field: str = "", *, expected: str = "", found: str = "", nearest: str = "") -> None:
        """Notes one fault. The same words about the same place are noted once."""
        fault = Fault(file=self.file, line=line, field=field, expected=expected, found=found, nearest=nearest)
        if fault not in self.items[-3:]:
            self.items.append(fault)

    def close(self) -> None:
        """Raises Malformed if anything was noted."""
        if self.items:
            raise Malformed(self.items)


def fail(file: str, line: int, field: str = "", *, expected: str = "", found: str = "") -> Malformed:
    """A Malformed with one fault, for what makes the rest of the file unreadable."""
    return Malformed([Fault(file=file, line=line, field=field, expected=expected, found=found)])


def shown(text: str, *, chars_max: int = SHOWN_CHARS_MAX) -> str:
    """The text on one line, control and invisible characters as escapes, cut at a bound."""
    cut = text if len(text) <= chars_max else text[: chars_max - 1] + "…"
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut)


def nearest(word: str, words: Iterable[str], *, ratio: float = NEAREST_RATIO) -> str:
    """The known word most like this one, or "" when none is like it."""
    by_folded = {known.casefold(): known for known in words}
    close = difflib.get_close_matches(word.casefold()[:SHOWN_CHARS_MAX], by_folded, n=1, cutoff=ratio)
    return by_folded[close[0]] if close else ""
