"""Bytes from anywhere, as bounded text a model can be shown. Shared by the tools, for all their results pass here.

Rule 1: what is left out or written differently is said in the text itself; a model cannot see a flag.
Rule 2: control characters never pass as such: whoever prints a result on a terminal must not obey it.
"""

import re
from typing import NamedTuple

# About 8,000 tokens: an eighth of a small model's window, so that one result never crowds out the task.
RESULT_CHARS_MAX = 32_000

# All of C0 but tab, line feed and the return before one; DEL and C1; and the marks that reorder text (CVE-2021-42574).
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]|\r(?!\n)")


class Shown(NamedTuple):
    text: str
    is_escaped: bool  # some bytes were no text, or were control characters
    is_cut: bool


def show(content: bytes, chars_max: int = RESULT_CHARS_MAX) -> Shown:
    """The content as text: what is no text is written as escapes, and what is too much is left out of the middle."""
    plain, is_escaped = escape(content.decode("utf-8", errors="backslashreplace"), content)
    fitted = fit(plain, chars_max)
    return Shown(fitted, is_escaped, fitted != plain)


def escape(text: str, source: bytes) -> tuple[str, bool]:
    """Control characters as escapes; whether that, or undecodable bytes in the source, made any difference."""
    plain = _CONTROL.sub(lambda found: _code(ord(found[0])), text)
    return plain, plain != text or not _is_utf8(source)


def fit(text: str, chars_max: int) -> str:
    """The text, or its beginning and end, cut at line ends where there are any near, and the cut said between them."""
    if len(text) <= chars_max:
        return text
    half = max((chars_max - 80) // 2, 0)  # 80: the note between them
    head, tail = text[:half], text[len(text) - half :]
    head = head[: head.rfind("\n") + 1] if "\n" in head[half // 2 :] else head
    tail = tail[tail.find("\n") + 1 :] if "\n" in tail[: half // 2] else tail
    return f"{head}\n[... {len(text) - len(head) - len(tail)} characters left out ...]\n{tail}"


def _code(point: int) -> str:
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}"


def _is_utf8(source: bytes) -> bool:
    try:
        source.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
