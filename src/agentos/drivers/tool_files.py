"""Tools on the files of a working copy: read, write, edit, list, search.

Rule 1: paths go through `files_beneath`; what it refuses, the model is told in its words.
Rule 2: a regular expression is never run in this process: it can take for ever, and nothing can stop it here.
Rule 3: every tool but search works without a sandbox, for it runs nothing; search without one says what is missing.
"""

import asyncio
import hashlib
import posixpath
import sys
from collections.abc import Callable
from pathlib import Path

from agentos.drivers import files_beneath, tool_text
from agentos.drivers.files_beneath import Absent, Unsafe
from agentos.ports.sandbox import Bind, Command, Exit, Limits, Sandbox, Unavailable
from agentos.ports.tool import Manifest, Result, Tool

# Source files are far smaller; what is larger is material for `search_files` and the shell.
FILE_BYTES_MAX = 8 << 20
# What a model writes in one go is bounded by its own output, some 100,000 tokens; this is several times that.
WRITE_BYTES_MAX = 2 << 20
# A page of names that fits a result: 1,000 paths of 30 characters.
LISTED_MAX = 1_000
# More hits than this say that the pattern is too wide.
HITS_MAX = 200
# A hit in a minified file must not be the whole result.
HIT_CHARS_MAX = 300
# Half a million lines take Python's `re` about a second; what takes this long backtracks.
SEARCH_LIMITS = Limits(wall_ns=15_000_000_000, cpu_s=15, memory_bytes_max=512 << 20, processes_max=4)

_INSIDE = "/copy"  # where the sandbox shows the working copy, and so what a model may call it
_TOUCHABLE = "Relative to the working copy's root."


class BadArgument(Exception):
    """The model called the tool with arguments that are not what the schema says."""


class _FileTool:
    """What file tools share: work happens off the loop, and what a path refuses becomes an answer."""

    manifest: Manifest

    def _work(self, arguments: dict[str, object], root: Path) -> Result:
        raise NotImplementedError

    async def run(self, arguments: dict[str, object], *, root: Path, key: str) -> Result:
        return await asyncio.to_thread(_answer, lambda: self._work(arguments, root))

    async def query(self, *, root: Path, key: str) -> Result | None:
        return None  # pure and idempotent tools are run again, not asked about


class ReadFile(_FileTool):
    manifest = Manifest(
        name="read_file",
        description=(
            "Read a text file of the working copy. A long file comes in pages: the last line says how to read on. "
            "Bytes that are not UTF-8 text are shown as \\xNN."
        ),
        schema={
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": _TOUCHABLE},
                "first_line": {"type": "integer", "minimum": 1, "description": "From 1; default 1."},
                "lines_max": {"type": "integer", "minimum": 1, "description": "Default: as many as fit."},
            },
            "required": ["path"],
            "additionalProperties": False,
        },
        repeat="pure",
        right="fs.read",
    )

    def _work(self, arguments: dict[str, object], root: Path) -> Result:
        path = _path(arguments)
        first = _number(arguments, "first_line", 1)
        count = _number(arguments, "lines_max", sys.maxsize)
        piece = files_beneath.read(root, path, FILE_BYTES_MAX)
        if b"\0" in piece.content:
            return _binary(path, piece)
        text, is_escaped = tool_text.escape(piece.content.decode("utf-8", errors="backslashreplace"), piece.content)
        return _page(path, text, first=first, count=count, is_whole=not piece.is_cut, is_escaped=is_escaped)


class WriteFile(_FileTool):
    manifest = Manifest(
        name="write_file",
        description=(
            "Create a file of the working copy, or replace all of its content. Folders on the way are made. "
            "To change part of a file, use edit_file."
        ),
        schema={
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": _TOUCHABLE},
                "content": {"type": "string", "description": "The whole new content."},
            },
            "required": ["path", "content"],
            "additionalProperties": False,
        },
        repeat="idempotent",
        right="fs.write",
    )

    def _work(self, arguments: dict[str, object], root: Path) -> Result:
        path, content = _path(arguments), _bytes(arguments, "content")
        _must_fit(content)
        files_beneath.write(root, path, content)
        return Result(f"wrote {len(content)} bytes to {path}")


class EditFile(_FileTool):
    manifest = Manifest(
        name="edit_file",
        description=(
            "Replace one piece of text in a file of the working copy. `old` must be in the file exactly once, character "
            "by character; give enough lines around the place to make it unique."
        ),
        schema={
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": _TOUCHABLE},
                "old": {"type": "string", "minLength": 1, "description": "The text as it is now."},
                "new": {"type": "string", "description": "What takes its place; empty to delete it."},
            },
            "required": ["path", "old", "new"],
            "additionalProperties": False,
        },
        repeat="idempotent",
        right="fs.write",
    )

    def _work(self, arguments: dict[str, object], root: Path) -> Result:
        path, old, new = _path(arguments), _bytes(arguments, "old"), _bytes(arguments, "new")
        if not old:
            raise BadArgument("argument 'old' is empty; give the text to replace, or use write_file for a new file")
        piece = files_beneath.read(root, path, FILE_BYTES_MAX)
        if piece.is_cut:
            raise BadArgument(f"{path} has {piece.size_bytes} bytes; at most {FILE_BYTES_MAX} can be edited here")
        if _is_done(piece.content, old, new):
            return Result(f"{path} already reads so; nothing was changed")
        changed = _replace(path, piece.content, old, new)
        _must_fit(new)
        files_beneath.write(root, path, changed)
        return Result(f"edited {path} at line {_line_of(piece.content, piece.content.find(old))}")


class ListFiles(_FileTool):
    manifest = Manifest(
        name="list_files",
        description="List the files below a folder of the working copy, folders first by depth; .git is left out.",
        schema={
            "type": "object",
            "properties": {"path": {"type": "string", "description": f"{_TOUCHABLE} Default: the root."}},
            "additionalProperties": False,
        },
        repeat="pure",
        right="fs.read",
    )

    def _work(self, arguments: dict[str, object], root: Path) -> Result:
        top = _path(arguments, default=".")
        lines: list[str] = []
        folders = [top]
        while folders and len(lines) <= LISTED_MAX:
            folder = folders.pop(0)
            # A folder deeper down may be gone, or a link by now; the one that was asked for must be there.
            try:
                entries = files_beneath.list(root, folder)
            except (Absent, Unsafe):
                if folder == top:
                    raise
                continue
            for entry in entries:
                path = posixpath.normpath(posixpath.join(folder, entry.name))
                lines.append(_line(path, entry))
                if entry.kind == "folder":
                    folders.append(path)
        return _listing(top, lines)


class SearchFiles:
    """Search by Python's regular expressions, run inside the sandbox, where a pattern without end is ended."""

    manifest = Manifest(
        name="search_files",
        description=(
            "Search the text files of the working copy line by line with a Python regular expression. "
            "Each hit is given as path:line: text. Binary files, links and .git are passed over."
        ),
        schema={
            "type": "object",
            "properties": {
                "pattern": {"type": "string", "minLength": 1},
                "path": {"type": "string", "description": f"File or folder. {_TOUCHABLE} Default: the root."},
                "is_literal": {"type": "boolean", "description": "Take the pattern as plain text. Default false."},
                "ignore_case": {"type": "boolean", "description": "Default false."},
            },
            "required": ["pattern"],
            "additionalProperties": False,
        },
        repeat="pure",
        right="fs.read",
    )

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        binds: tuple[Bind, ...] = (),
        python: str = sys.executable,
        limits: Limits = SEARCH_LIMITS,
    ) -> None:
        self._sandbox = sandbox
        self._binds = binds  # what that Python needs inside
        self._python = python
        self._limits = limits

    async def run(self, arguments: dict[str, object], *, root: Path, key: str) -> Result:
        try:
            pattern, path = _text(arguments, "pattern"), _path(arguments, default=".")
            flags = ("l" if _flag(arguments, "is_literal") else "") + ("i" if _flag(arguments, "ignore_case") else "")
            if not _bytes(arguments, "pattern") or "\0" in pattern:
                raise BadArgument("argument 'pattern' is empty or holds a NUL byte; give a text to look for")
            await asyncio.to_thread(files_beneath.stat, root, path)
            ended = await self._sandbox.run(self._command(root, pattern, path, flags))
        except (BadArgument, Unsafe, Absent, Unavailable) as refusal:
            return Result(str(refusal), is_error=True)
        return _hits(pattern, ended)

    async def query(self, *, root: Path, key: str) -> Result | None:
        return None

    def _command(self, root: Path, pattern: str, path: str, flags: str) -> Command:
        script = _SEARCH.replace("HITS_MAX", str(HITS_MAX)).replace("HIT_CHARS_MAX", str(HIT_CHARS_MAX))
        return Command(
            argv=(self._python, "-I", "-S", "-c", script, pattern, path, flags),
            binds=(*self._binds, Bind(root, _INSIDE)),
            limits=self._limits._replace(output_bytes_max=4 * HITS_MAX * HIT_CHARS_MAX),
        )


# Runs inside. Status 2 with a line on stderr: the pattern is no regular expression.
_SEARCH = """
import os, re, sys
pattern, top, flags = sys.argv[1:]
sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
try:
    find = re.compile(re.escape(pattern) if "l" in flags else pattern, re.I if "i" in flags else 0).search
except re.error as error:
    sys.exit(print(error, file=sys.stderr) or 2)
def files(top):
    if os.path.isfile(top):
        yield top
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name.lower() != ".git")
        yield from (os.path.join(folder, name) for name in sorted(names))
hits = 0
for path in files(top):
    if os.path.islink(path) or not os.path.isfile(path):
        continue
    try:
        with open(path, "rb") as file:
            if b"\\0" in file.read(8192):
                continue
            file.seek(0)
            for number, line in enumerate(file, 1):
                text = line.decode("utf-8", "backslashreplace").rstrip("\\r\\n")
                found = find(text)
                if found:
                    hits += 1
                    if hits > HITS_MAX:
                        sys.exit(print("more"))
                    start = max(0, min(found.start() - 80, len(text) - HIT_CHARS_MAX))
                    print(f"{os.path.normpath(path)}:{number}: {text[start:start + HIT_CHARS_MAX]}")
    except OSError as error:
        print(f"{path}: {error.strerror}", file=sys.stderr)
"""


def file_tools(sandbox: Sandbox, *, binds: tuple[Bind, ...] = ()) -> tuple[Tool, ...]:
    """All of them; `binds` is what this Python needs inside the sandbox."""
    return (ReadFile(), WriteFile(), EditFile(), ListFiles(), SearchFiles(sandbox, binds=binds))


# Arguments, as a model wrote them.


def _answer(work: Callable[[], Result]) -> Result:
    try:
        return work()
    except (BadArgument, Unsafe, Absent) as refusal:
        return Result(str(refusal), is_error=True)
    except OSError as error:
        return Result(f"the file could not be reached: {error.strerror or error}", is_error=True)


def _text(arguments: dict[str, object], name: str, default: str | None = None) -> str:
    value = arguments.get(name, default)
    if not isinstance(value, str):
        raise BadArgument(f"argument {name!r} must be a string; it is {_named(value)}")
    return value


def _path(arguments: dict[str, object], default: str | None = None) -> str:
    """Relative to the root; a path as the shell tool shows it is taken too."""
    path = _text(arguments, "path", default)
    if path == _INSIDE or path.startswith(_INSIDE + "/"):
        path = path[len(_INSIDE) + 1 :] or "."
    return path


def _bytes(arguments: dict[str, object], name: str) -> bytes:
    try:
        return _text(arguments, name).encode("utf-8")
    except UnicodeEncodeError:
        raise BadArgument(f"argument {name!r} holds half of a surrogate pair, which is no text") from None


def _number(arguments: dict[str, object], name: str, default: int) -> int:
    value = arguments.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BadArgument(f"argument {name!r} must be a whole number from 1; it is {_named(value)}")
    return value


def _flag(arguments: dict[str, object], name: str) -> bool:
    value = arguments.get(name, False)
    if not isinstance(value, bool):
        raise BadArgument(f"argument {name!r} must be true or false; it is {_named(value)}")
    return value


def _named(value: object) -> str:
    return "missing" if value is None else tool_text.fit(repr(value), 200)


def _must_fit(content: bytes) -> None:
    if len(content) > WRITE_BYTES_MAX:
        raise BadArgument(f"content has {len(content)} bytes; at most {WRITE_BYTES_MAX} are taken: write it in parts")


# Results.


def _binary(path: str, piece: files_beneath.Piece) -> Result:
    start = tool_text.show(piece.content[:64]).text
    digest = "" if piece.is_cut else f", SHA-256 {hashlib.sha256(piece.content).hexdigest()}"
    return Result(f"{path} is not text: {piece.size_bytes} bytes{digest}; it begins with {start}")


def _page(path: str, text: str, *, first: int, count: int, is_whole: bool, is_escaped: bool) -> Result:
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()  # the last line end, which is no line of its own
    if lines and first > len(lines):
        raise BadArgument(f"{path} has {len(lines)} lines; argument 'first_line' is {first}")
    shown: list[str] = []
    chars = 0
    for line in lines[first - 1 : first - 1 + min(count, len(lines))]:
        if shown and chars + len(line) + 1 > tool_text.RESULT_CHARS_MAX:
            break
        shown.append(tool_text.fit(line, tool_text.RESULT_CHARS_MAX))
        chars += len(shown[-1]) + 1
    last = first - 1 + len(shown)
    is_cut = (
        last < len(lines) or not is_whole or any(s != line for s, line in zip(shown, lines[first - 1 :], strict=False))
    )
    notes = _notes(path, lines, first, last, is_whole=is_whole, is_escaped=is_escaped)
    return Result("\n".join([*shown, *notes]) or f"[{path} is empty]", is_cut=is_cut)


def _notes(path: str, lines: list[str], first: int, last: int, *, is_whole: bool, is_escaped: bool) -> list[str]:
    notes = []
    if is_escaped:
        notes.append(
            "[what is not UTF-8 text, and control characters, are shown as \\xNN; edit_file cannot match them]"
        )
    if last < len(lines):
        more = "" if is_whole else "more than "
        notes.append(f"[lines {first} to {last} of {more}{len(lines)}; read on with first_line {last + 1}]")
    elif not is_whole:
        notes.append(f"[{path} goes on: only its first {FILE_BYTES_MAX} bytes can be read here]")
    return notes


def _is_done(content: bytes, old: bytes, new: bytes) -> bool:
    """Made before, where `new` holds `old` and doing it again would grow it: no `old` is left outside a `new`."""
    return old in new and new in content and old not in content.replace(new, b"")


def _replace(path: str, content: bytes, old: bytes, new: bytes) -> bytes:
    count = content.count(old)
    if count > 1:
        raise BadArgument(f"argument 'old' is in {path} {count} times; add lines around the one that is meant")
    if count == 1:
        return content.replace(old, new)
    hints = ""
    if b"\r\n" in content and b"\r\n" not in old:
        hints += "; the file has CRLF line ends, and so must 'old'"
    if new and new in content:
        hints += f"; 'new' is there already, at line {_line_of(content, content.find(new))}"
    raise BadArgument(f"argument 'old' is not in {path}; read the file and copy the text exactly{hints}")


def _line_of(content: bytes, at: int) -> int:
    return content.count(b"\n", 0, at) + 1


def _line(path: str, entry: files_beneath.Entry) -> str:
    plain, _ = tool_text.escape(path, b"")
    tail = {"folder": "/", "link": " (symbolic link)", "other": " (not a file)"}.get(entry.kind, "")
    return plain.replace("\n", "\\n") + tail


def _listing(top: str, lines: list[str]) -> Result:
    if not lines:
        return Result(f"[{top} is empty]")
    kept = sorted(lines[:LISTED_MAX])
    is_cut = len(lines) > LISTED_MAX
    note = [f"[more than {LISTED_MAX} entries; deeper ones are left out: list a folder below]"] if is_cut else []
    text = tool_text.fit("\n".join(kept + note), tool_text.RESULT_CHARS_MAX)
    return Result(text, is_cut=is_cut or text != "\n".join(kept + note))


def _hits(pattern: str, ended: Exit) -> Result:
    said = tool_text.show(ended.stderr, 2_000).text.strip()
    if ended.reason == "exited" and ended.status == 2:
        return Result(f"pattern {pattern!r} is not a regular expression: {said}", is_error=True)
    shown = tool_text.show(ended.stdout)
    if ended.reason != "exited":
        why = f"the search was ended after {ended.wall_ns / 1e9:.0f} s ({ended.limit or ended.reason})"
        return Result(
            f"{why}; simplify the pattern, or name a folder\n{shown.text}".strip(), is_error=True, is_cut=True
        )
    if ended.status != 0:
        return Result(f"the search failed with status {ended.status}: {said}", is_error=True)
    hits = shown.text.rstrip("\n")
    is_more = hits.endswith("\nmore")
    if is_more:
        hits = hits.removesuffix("more") + f"[more than {HITS_MAX} hits; narrow the pattern or name a folder]"
    return Result(hits or f"[no line matches {pattern!r}]", is_cut=is_more or shown.is_cut or ended.is_cut)
