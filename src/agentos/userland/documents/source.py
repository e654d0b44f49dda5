"""Text with positions: Markdown with YAML front matter, and plain YAML or JSON, as nodes that know their line.

Why not `yaml.safe_load`: it forgets lines, keeps the last of two equal keys in silence, expands aliases without
bound, and reads `no`, `on`, `1:30` and `2024-01-01` as something other than what was written. Here YAML is only a
stream of events; what a plain word means follows JSON (YAML 1.2), so `base: on` is the text "on".

Rule 1: UTF-8, with or without BOM; LF or CRLF; no control, bidirectional or other invisible characters.
Rule 2: no tags, anchors, aliases, merges of documents or directives: each is refused at its line.
Rule 3: a key occurs once in its mapping.
Rule 4: every bound has a name, and the fault says which one was hit.

Source: YAML 1.2.2, chapter 10.2 (JSON schema); pyyaml supplies scanner and parser.
"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from agentos.sdk.document import Line, scan
from agentos.userland.documents.fault import Faults, Malformed, fail, shown

FILE_BYTES_MAX = 512 * 1024  # a whole document: at 4 bytes a token all that a context of 128k tokens can hold
FRONT_BYTES_MAX = 64 * 1024  # front matter: the largest real one is under 4 KiB; the pure parser needs 1 s for this
YAML_BYTES_MAX = 128 * 1024  # a workflow: 64 steps with generous texts stay below a quarter of it
DEPTH_MAX = 16  # nesting: a JSON Schema inside a check inside a list needs about 10

# C0 but tab and line feed, DEL, C1 (NEL too), line and paragraph separators, direction overrides, BOM, non-characters:
# each makes the text a person reviews differ from the text a program reads.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?")  # as JSON, without exponents; 18 digits fit an int64
_WORDS: dict[str, tuple[str, object]] = {
    "": ("nothing", None),
    "~": ("nothing", None),
    **dict.fromkeys(("null", "Null", "NULL"), ("nothing", None)),
    **dict.fromkeys(("true", "True", "TRUE"), ("flag", True)),
    **dict.fromkeys(("false", "False", "FALSE"), ("flag", False)),
}

# What the parser says, and what the person can do about it. The first match counts.
_YAML_PROBLEMS = (
    (r"'\\t'", "a tab; indent with spaces"),
    (r"mapping values are not allowed", "a second ': ' in the line; put the text in quotes"),
    (r"could not find expected ':'", "a line that is neither 'name: value' nor '- item'"),
    (r"while scanning a quoted scalar", "a quote that is never closed"),
    (r"while parsing a flow sequence", "a '[' that is never closed, or a missing ','"),
    (r"while parsing a flow mapping", "a '{' that is never closed, or a missing ','"),
    (r"expected <block end>", "a line that is not indented like its neighbours"),
    (r"cannot start any token", "a character that cannot start a value; put the text in quotes"),
)


class Node(NamedTuple):
    """A value and where it stands."""

    kind: str  # text | whole | number | flag | nothing | list | mapping
    value: Any  # str, int, float, bool, None, tuple of Node, tuple of Entry
    line: int  # from 1, in the file
    column: int  # from 1
    raw: str = ""  # a scalar as it was written, quotes and escapes resolved: "2.00" where value is 2.0


class Entry(NamedTuple):
    """One `key: value` of a mapping."""

    key: str
    line: int
    column: int
    node: Node


class Document(NamedTuple):
    """A Markdown file taken apart."""

    front: Node  # the mapping between the two `---`; its line is 1
    body: str  # all after it, line ends as \n
    body_line: int  # the line of the file on which the body starts


class Section(NamedTuple):
    """A heading and the text below it."""

    title: str  # "" for text before the first heading
    level: int  # 0 before the first heading
    text: str  # without blank lines at its edges
    line: int  # of the heading


def read(path: Path) -> bytes:
    """The bytes of a file, refusing what is too long before it is in memory."""
    with path.open("rb") as stream:
        raw = stream.read(FILE_BYTES_MAX + 1)
    if len(raw) > FILE_BYTES_MAX:
        raise _too_long(str(path), path.stat().st_size, "documents.file_bytes_max", FILE_BYTES_MAX)
    return raw


def decode(raw: bytes | str, file: str) -> str:
    """The text of a file, line ends as LF, without BOM."""
    if isinstance(raw, str):
        raw = raw.encode("utf-8", "surrogatepass")
    if len(raw) > FILE_BYTES_MAX:
        raise _too_long(file, len(raw), "documents.file_bytes_max", FILE_BYTES_MAX)
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise fail(file, 1, expected="text in UTF-8", found="UTF-16; save it as UTF-8")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise fail(file, line, expected="text in UTF-8", found=f"the byte 0x{raw[error.start]:02x}") from None
    text = text.replace("\r\n", "\n")
    if hidden := _INVISIBLE.search(text):
        line = text.count("\n", 0, hidden.start()) + 1
        raise fail(file, line, expected="visible text", found=f"the invisible character U+{ord(hidden[0]):04X}")
    return text


def markdown(raw: bytes | str, faults: Faults) -> Document:
    """Front matter and body. Raises Malformed when there is no front matter, or it cannot be read at all."""
    lines = decode(raw, faults.file).split("\n")
    if lines[0].rstrip() != "---":
        expected, found = "'---', which opens the front matter", f"'{shown(lines[0])}'" if lines[0] else "an empty line"
        raise fail(faults.file, 1, expected=expected, found=found)
    end = next((n for n, line in enumerate(lines[1:], 1) if line.rstrip() == "---"), None)
    if end is None:
        raise fail(faults.file, 1, found="front matter that no second '---' closes")
    front_text = "\n".join(lines[1:end]) + "\n"
    if (length := len(front_text.encode())) > FRONT_BYTES_MAX:
        raise _too_long(faults.file, length, "documents.front_bytes_max", FRONT_BYTES_MAX)
    front = _compose(front_text, faults, first_line=2)
    if front.kind == "nothing":
        front = Node("mapping", (), 1, 1)
    return Document(front._replace(line=1), "\n".join(lines[end + 1 :]), end + 2)


def plain(raw: bytes | str, faults: Faults) -> Node:
    """The one YAML or JSON value in the file."""
    text = decode(raw, faults.file)
    if (length := len(text.encode())) > YAML_BYTES_MAX:
        raise _too_long(faults.file, length, "documents.yaml_bytes_max", YAML_BYTES_MAX)
    return _compose(_untabbed(text), faults, first_line=1)


def sections(body: str, first_line: int, known: frozenset[str], faults: Faults) -> list[Section]:
    """The body cut at its headings of level 1 to 3, headings inside code left alone.

    A heading deeper than the section it stands in belongs to that section's text, unless its title is in `known`.
    """
    found: list[tuple[str, int, int, list[str]]] = [("", 0, first_line, [])]
    lines, open_fence = scan(body)
    for number, line in enumerate(lines, first_line):
        if line.level and _opens(line, level=found[-1][1], known=known):
            found.append((line.title, line.level, number, []))
        else:
            found[-1][3].append(line.text)
    if open_fence is not None:
        faults.add(first_line + open_fence, found="a code fence that is never closed")
    return [Section(title, level, trimmed("\n".join(text)), line) for title, level, line, text in found]


def folded(title: str) -> str:
    """A heading as it is compared: without case, colon or doubled spaces."""
    return " ".join(title.split()).rstrip(":").rstrip().casefold()


def trimmed(text: str) -> str:
    """The text without blank lines at its edges and without space at its end; the first line keeps its indent."""
    lines = text.rstrip().split("\n")
    while len(lines) > 1 and not lines[0].strip():
        lines.pop(0)
    return "\n".join(lines)


def value(node: Node) -> object:
    """The node as plain Python values, as JSON would have it."""
    if node.kind == "list":
        return [value(item) for item in node.value]
    if node.kind == "mapping":
        return {entry.key: value(entry.node) for entry in node.value}
    return node.value


def at(node: Node, *path: str | int) -> Node:
    """The node at the path, or the deepest one on the way there that exists: what a fault points at."""
    for part in path:
        inner = entry(node, part) if isinstance(part, str) else _item(node, part)
        if inner is None:
            return node
        node = inner
    return node


def entry(node: Node, key: str) -> Node | None:
    """The value of a key of a mapping."""
    if node.kind != "mapping":
        return None
    return next((item.node for item in node.value if item.key == key), None)


def _item(node: Node, index: int) -> Node | None:
    return node.value[index] if node.kind == "list" and index < len(node.value) else None


def _opens(line: Line, *, level: int, known: frozenset[str]) -> bool:
    return line.level <= 3 and (folded(line.title) in known or level == 0 or line.level <= level)


def _too_long(file: str, length: int, limit: str, bound: int) -> Malformed:
    return fail(file, 1, expected=f"at most {bound} bytes (limit {limit})", found=f"{length} bytes")


def _untabbed(text: str) -> str:
    """JSON may be indented with tabs and YAML may not; in valid JSON a raw tab is never inside a string."""
    if "\t" not in text or not text.lstrip().startswith(("{", "[")):
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text.replace("\t", " ")


def _compose(text: str, faults: Faults, *, first_line: int) -> Node:
    """One value out of YAML text. Syntax is fatal, the rest is noted and read on."""
    import yaml  # here, because it costs as much to import as everything else together

    builder = _Builder(faults, first_line)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        raise Malformed([*faults.items, *_explain(error, faults.file, first_line).faults]) from None
    return builder.root or Node("nothing", None, first_line, 1)


def _explain(error: Any, file: str, first_line: int) -> Malformed:
    said = f"{error.context or ''} {error.problem or ''}"
    words = next((words for pattern, words in _YAML_PROBLEMS if re.search(pattern, said)), shown(said.strip()))
    is_at_start = "never closed" in words or "neither" in words  # where it began is what the person looks for
    mark = (error.context_mark if is_at_start else None) or error.problem_mark or error.context_mark
    return fail(file, first_line + (mark.line if mark else 0), expected="YAML", found=words)


class _Open(NamedTuple):
    """A list or mapping that is being read."""

    kind: str
    line: int
    column: int
    items: list[Any]
    keys: dict[str, int]  # key to its line
    pending: list[Node]  # the key that waits for its value, if any


class _Builder:
    """Nodes from parser events, with a stack of its own so that depth is ours to bound."""

    def __init__(self, faults: Faults, first_line: int) -> None:
        self.faults = faults
        self.first_line = first_line
        self.stack: list[_Open] = []
        self.root: Node | None = None
        self.documents = 0

    def feed(self, event: Any) -> None:
        """Takes one event; the kinds are pyyaml's."""
        name = type(event).__name__
        line, column = self.first_line + event.start_mark.line, event.start_mark.column + 1
        if name == "DocumentStartEvent":
            self._start(event, line)
        elif name == "AliasEvent":
            self.faults.add(line, found=f"the alias '*{shown(event.anchor)}'; write the value out")
            self._put(Node("nothing", None, line, column))
        elif name == "ScalarEvent":
            self._refuse_extras(event, line)
            self._put(self._scalar(event, line, column))
        elif name in ("SequenceStartEvent", "MappingStartEvent"):
            self._refuse_extras(event, line)
            self._push("list" if name == "SequenceStartEvent" else "mapping", line, column)
        elif name in ("SequenceEndEvent", "MappingEndEvent"):
            top = self.stack.pop()
            self._put(Node(top.kind, tuple(top.items), top.line, top.column))

    def _start(self, event: Any, line: int) -> None:
        self.documents += 1
        if self.documents > 1:
            raise fail(self.faults.file, line, found="a second YAML document; one file holds one")
        if event.version or event.tags:
            raise fail(self.faults.file, line, found="a YAML directive; leave it out")

    def _refuse_extras(self, event: Any, line: int) -> None:
        if event.anchor:
            self.faults.add(line, found=f"the anchor '&{shown(event.anchor)}'; write the value out where it is used")
        if event.tag:
            self.faults.add(line, found=f"the tag '{shown(event.tag)}'; plain values only")

    def _push(self, kind: str, line: int, column: int) -> None:
        if len(self.stack) >= DEPTH_MAX:
            limit = f"at most {DEPTH_MAX} levels (limit documents.depth_max)"
            raise fail(self.faults.file, line, expected=limit, found="a deeper one")
        self.stack.append(_Open(kind, line, column, [], {}, []))

    def _scalar(self, event: Any, line: int, column: int) -> Node:
        text = event.value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # joins JSON's pairs
        if hidden := _INVISIBLE.search(text):
            self.faults.add(line, found=f"an escape for the invisible character U+{ord(hidden[0]):04X}")
        if event.style is not None:
            return Node("text", text, line, column, text)
        if text in _WORDS:
            return Node(*_WORDS[text], line, column, text)
        if number := _NUMBER.fullmatch(text):
            return Node("number", float(text), line, column, text) if number[2] else _whole(text, line, column)
        return Node("text", text, line, column, text)

    def _put(self, node: Node) -> None:
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        if top.kind == "list":
            top.items.append(node)
        elif not top.pending:
            top.pending.append(node)
        else:
            self._enter(top, top.pending.pop(), node)

    def _enter(self, top: _Open, key: Node, node: Node) -> None:
        if key.kind in ("list", "mapping") or not key.raw:
            self.faults.add(key.line, expected="a name before ':'", found=_NAMELESS.get(key.kind, "nothing"))
        elif key.raw in top.keys:
            fact = f"'{shown(key.raw)}' a second time; the first is on line {top.keys[key.raw]}"
            self.faults.add(key.line, found=fact)
        else:
            top.keys[key.raw] = key.line
            top.items.append(Entry(key.raw, key.line, key.column, node))


_NAMELESS = {"list": "a list", "mapping": "a mapping"}


def _whole(text: str, line: int, column: int) -> Node:
    return Node("whole", int(text), line, column, text)
