"""What the command line writes, and where: results on stdout, everything else on stderr.

    result   stdout  text for a person; nothing of it under --json
    record   stdout  one JSON value on one line, only under --json
    aside    stderr  what happens meanwhile; nothing of it under --json or --quiet
    progress stderr  one line that is painted over on a terminal, and a line each time elsewhere

Rule 1: under --json nothing but JSON reaches stdout, and it is ASCII: what an agent wrote cannot drive a terminal.
Rule 2: colour only on a terminal that wants it: not with NO_COLOR, not with TERM=dumb, not in a pipe.
Rule 3: text that an agent or a repository wrote is not in a record, unless it is asked for with --content: a program
        that reads our output may be a model, and must not be talked to by those it watches.
"""

import json
import os
import sys
from collections.abc import Mapping
from shutil import get_terminal_size
from typing import Any, TextIO

_COLOURS = {"good": "32", "bad": "31", "doubtful": "33", "strong": "1", "faint": "2"}
_ERASE = "\r\x1b[2K"
COLUMNS_MAX = 120  # wider lines are harder to read than broken ones

# Fields of free text that agents, models or repositories fill, wherever they stand in a record.
FREE_TEXT = frozenset(
    {"claim_text", "detail", "goal", "note", "said", "syntax_errors", "text", "questions", "failed", "passed"}
)
# Fields that hold a code in most events, and free text in these.
FREE_REASON = frozenset({"attempt.ended", "content.attested", "order.cancelled", "process.exited", "effect.retried"})


class Screen:
    """Where one command writes."""

    def __init__(
        self,
        *,
        out: TextIO | None = None,
        err: TextIO | None = None,
        env: Mapping[str, str] | None = None,
        is_json: bool = False,
        is_quiet: bool = False,
        is_content: bool = False,
    ) -> None:
        env = os.environ if env is None else env
        self.out, self.err = out or sys.stdout, err or sys.stderr
        self.is_json, self.is_quiet, self.is_content = is_json, is_quiet, is_content
        self.is_terminal = self.out.isatty()
        self.is_colour = self.is_terminal and not env.get("NO_COLOR") and env.get("TERM") != "dumb"
        self.is_painting = self.err.isatty() and env.get("TERM") != "dumb"
        self.is_ascii = "utf" not in (getattr(self.out, "encoding", None) or "utf-8").lower()
        self._painted = ""

    @property
    def columns(self) -> int:
        return min(get_terminal_size((100, 24)).columns, COLUMNS_MAX)

    def style(self, kind: str, text: str) -> str:
        """The text in its colour, where there is colour."""
        code = _COLOURS.get(kind)
        return f"\x1b[{code}m{text}\x1b[0m" if self.is_colour and code and text else text

    def result(self, text: str) -> None:
        """What was asked for."""
        if not self.is_json:
            self.clear()
            self._write(self.out, text + "\n")

    def record(self, value: Any) -> None:
        """What was asked for, as JSON."""
        if self.is_json:
            plain = value if self.is_content else withheld(value)
            self._write(self.out, json.dumps(plain, ensure_ascii=True) + "\n")

    def aside(self, text: str) -> None:
        """What happens meanwhile."""
        if not self.is_json and not self.is_quiet:
            self.clear()
            self._write(self.err, text + "\n")

    def progress(self, text: str) -> None:
        """Where it stands now. The same line twice is told once."""
        if self.is_json or self.is_quiet or text == self._painted:
            return
        if self.is_painting:
            self._write(self.err, _ERASE + text)
        else:
            self._write(self.err, text + "\n")
        self._painted = text

    def clear(self) -> None:
        """Take a painted line away, so that other text can stand there."""
        if self._painted and self.is_painting:
            self._write(self.err, _ERASE)
            self._painted = ""

    def _write(self, stream: TextIO, text: str) -> None:
        encoding = getattr(stream, "encoding", None) or "utf-8"
        stream.write(text.encode(encoding, "replace").decode(encoding))
        stream.flush()


def withheld(value: Any, kind: str = "") -> Any:
    """The value with agents' free text taken out, and a word on how much there was."""
    if isinstance(value, dict):
        kind = str(value.get("type", kind))
        return {key: _taken_out(item) if _is_free(key, kind) else withheld(item, kind) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [withheld(item, kind) for item in value]
    return value


def _is_free(key: str, kind: str) -> bool:
    return key in FREE_TEXT or key == "reason" and kind in FREE_REASON


def _taken_out(item: Any) -> Any:
    if isinstance(item, str) and item:
        return f"[{len(item)} characters withheld; --content shows them]"
    if isinstance(item, list | tuple) and item:
        return [f"[{len(item)} withheld; --content shows them]"]
    return item
