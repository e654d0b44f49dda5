"""Text from outside, made safe for a terminal and for a page. Titles, details and names are written by whoever wants
to; a title that moves the cursor can paint a verdict.

Rule 1: what cannot be seen, or changes how other characters are seen, is written as an escape: controls, ANSI, bidi
        marks, zero-width and filler characters, line ends, tags, private and unassigned code points.
Rule 2: the result is one line, bounded, and printable; escaping it again changes nothing.
Rule 3: a backslash stays a backslash: the escapes are for people to read, not for programs to undo.
"""

from unicodedata import category, east_asian_width

TERMINAL_CHARS_MAX = 400  # five lines of 80 columns: more of one field is a document, and has its own place
MARKS_MAX = 2  # combining marks on one letter; real scripts stack two, text that floods the screen stacks more

_MARKS = ("Mn", "Me")  # marks that are drawn onto the letter before them
# Letters and symbols by category that show nothing: fillers, the blank braille pattern, variation selectors.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5") | {chr(code) for code in range(0xFE00, 0xFE10)}
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}


def terminal(text: str, chars_max: int = TERMINAL_CHARS_MAX) -> str:
    """The text as one printable line of at most `chars_max` characters; what was cut off is told by an ellipsis."""
    cut = text[: chars_max + 1]
    if not (cut.isascii() and cut.isprintable()):
        cut = _escaped(cut)
    return cut if len(cut) <= chars_max else cut[: max(chars_max - 1, 0)] + "…"


def _escaped(text: str) -> str:
    shown: list[str] = []
    marks = 0
    for char in text:
        kind = category(char)
        marks = marks + 1 if kind in _MARKS else 0
        if kind == "Zs":
            shown.append(" ")
        elif char.isprintable() and char not in _BLANK and marks <= MARKS_MAX and not 0xE0100 <= ord(char) <= 0xE01EF:
            shown.append(char)
        else:
            shown.append(_SHORT.get(char) or _code(char))
    return "".join(shown)


def _code(char: str) -> str:
    point = ord(char)
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def width(text: str) -> int:
    """How many terminal columns a printable text takes. Wide East Asian characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(0 if category(char) in _MARKS else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def clip(text: str, columns_max: int) -> str:
    """The text, escaped, in at most so many columns."""
    shown = terminal(text, columns_max)
    if width(shown) <= columns_max:
        return shown
    kept, used = [], 1  # one column for the ellipsis
    for char in shown:
        used += width(char)
        if used > columns_max:
            break
        kept.append(char)
    return "".join(kept) + "…"


def page(text: str, chars_max: int = TERMINAL_CHARS_MAX) -> str:
    """The text as one line of HTML, for element content and quoted attributes alike."""
    return "".join(_MARKUP.get(char, char) for char in terminal(text, chars_max))


def page_lines(text: str, *, lines_max: int, chars_max: int = TERMINAL_CHARS_MAX) -> str:
    """Text of several lines as HTML for a `<pre>`: each line escaped and bounded, the rest counted."""
    lines = text[: lines_max * chars_max * 2].splitlines()
    shown = [page(line.expandtabs(4), chars_max) for line in lines[:lines_max]]
    more = len(lines) - len(shown)
    return "\n".join([*shown, f"… {more} more lines"] if more else shown)
