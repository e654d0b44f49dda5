"""What a document may hold, written once: it checks a file and it is published as JSON Schema.

Shapes are data. `read` turns a node into plain values and notes every fault on the way; `schema` turns the same shape
into JSON Schema (draft 2020-12). What one accepts the other does, but for the rules the docstrings name as beyond it.

Rule 1: a shape reads kinds as JSON has them; a number is no text, and `yes` is no truth value.
Rule 2: reading goes on after a fault; what could not be read is left out of the result.
Rule 3: every text and every list has a bound.
Rule 4: a pattern matches the whole text, and carries words for the person who missed it.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from agentos.userland.documents.fault import Faults, nearest, shown
from agentos.userland.documents.source import Entry, Node, value

USD_PATTERN: Final = r"^\$?(0|[1-9][0-9]{0,6})(\.[0-9]{1,6})?$"  # 7 digits: no order is worth ten million dollars
LINE: Final = r"^.*\S.*$"  # one line that is not blank
WORD: Final = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
_BLOCK: Final = r"^[\s\S]*\S[\s\S]*$"  # any lines, not all blank


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a value may be."""


class Text(Shape, frozen=True, kw_only=True):
    """A text. With `choices` one of them; with `is_loose` any scalar, read as it was written, blank or not."""

    chars_max: int = 200  # one line of prose
    pattern: str = LINE
    called: str = "text"  # what a fault says was expected
    choices: tuple[str, ...] = ()
    is_loose: bool = False
    is_block: bool = False  # may have many lines
    is_blank_ok: bool = False


class Whole(Shape, frozen=True, kw_only=True):
    """A whole number within bounds, both included."""

    least: int
    most: int


class Flag(Shape, frozen=True):
    """true or false."""


class Nothing(Shape, frozen=True):
    """A name without a value."""


class Usd(Shape, frozen=True):
    """Dollars as `2`, `2.00`, `$2` or `0.005`; read as micro-USD, from the digits as written, never through a float.

    Beyond the schema: a number (not a text) with more than six decimals is refused.
    """


class ListOf(Shape, frozen=True, kw_only=True):
    """A list of one shape. With `is_single_ok` one item may stand without its list."""

    item: Shape
    items_max: int = 100  # nobody reviews a longer list line by line
    items_min: int = 0
    is_single_ok: bool = False


class MapOf(Shape, frozen=True, kw_only=True):
    """Names the author chooses, all with values of one shape."""

    item: Shape
    key: str = r"^[a-z][a-z0-9_-]{0,63}$"
    key_called: str = "a name of a-z, 0-9, '-' and '_'"
    entries_max: int = 100


class Field(msgspec.Struct, frozen=True):
    """One name of a record. The help is published with the schema."""

    name: str
    shape: Shape
    help: str
    is_required: bool = False


class Record(Shape, frozen=True, kw_only=True):
    """A mapping with known names."""

    fields: tuple[Field, ...]
    help: str = ""


class Cases(Shape, frozen=True, kw_only=True):
    """One of several records, told apart by their first field, which is required."""

    records: tuple[Record, ...]
    called: str


class Either(Shape, frozen=True, kw_only=True):
    """One of several shapes that differ in kind."""

    options: tuple[Shape, ...]


class Anything(Shape, frozen=True):
    """Any mapping, kept as it is: a JSON Schema, for one."""


class _Missing:
    """What could not be read. Its fault is noted."""


MISSING: Final = _Missing()

_KINDS: dict[type[Shape], tuple[str, ...]] = {  # which kinds of node a shape reads, for Either
    Text: ("text",),
    Whole: ("whole",),
    Flag: ("flag",),
    Nothing: ("nothing",),
    Usd: ("whole", "number", "text"),
    ListOf: ("list",),
    MapOf: ("mapping",),
    Record: ("mapping",),
    Cases: ("mapping",),
    Anything: ("mapping",),
}


# ---- reading -----------------------------------------------------------------------------------------------------


def read(shape: Shape, node: Node, field: str, faults: Faults) -> Any:
    """The value of the node, or MISSING. Records are dicts with what was given and sound; lists are tuples."""
    return _READERS[type(shape)](shape, node, field, faults)


def describe(node: Node) -> str:
    """What stands there, for a fault."""
    if node.kind == "text":
        return f"the text '{shown(node.raw)}'" if node.raw else "an empty text"
    if node.kind in ("whole", "number"):
        return f"the number {shown(node.raw)}"
    return {"flag": shown(node.raw), "nothing": "nothing", "list": "a list", "mapping": "a mapping"}[node.kind]


def expects(shape: Shape) -> str:
    """What the shape wants, in words."""
    return _EXPECTS[type(shape)](shape)


def _read_text(shape: Text, node: Node, field: str, faults: Faults) -> Any:
    is_scalar = node.kind not in ("list", "mapping")
    if node.kind != "text" and not (shape.is_loose and is_scalar):
        quote = "; put it in quotes" if is_scalar and node.kind != "nothing" and not shape.choices else ""
        return _miss(faults, node, field, expects(shape), found=describe(node) + quote)
    text = node.raw
    if shape.choices and text not in shape.choices:
        return _miss(faults, node, field, expects(shape), near=nearest(text, shape.choices))
    if len(text) > shape.chars_max:
        return _miss(faults, node, field, f"at most {shape.chars_max} characters", found=f"{len(text)} characters")
    if shape.choices or shape.is_loose or (not text.strip() and shape.is_blank_ok):
        return text
    return text if re.fullmatch(_pattern(shape), text) else _miss(faults, node, field, expects(shape))


def _read_whole(shape: Whole, node: Node, field: str, faults: Faults) -> Any:
    is_whole = node.kind == "whole" or (node.kind == "number" and node.value.is_integer())
    if not is_whole or not shape.least <= node.value <= shape.most:
        return _miss(faults, node, field, expects(shape))
    return int(node.value)


def _read_flag(shape: Flag, node: Node, field: str, faults: Faults) -> Any:
    return node.value if node.kind == "flag" else _miss(faults, node, field, expects(shape))


def _read_nothing(shape: Nothing, node: Node, field: str, faults: Faults) -> Any:
    return None if node.kind == "nothing" else _miss(faults, node, field, expects(shape))


def _read_usd(shape: Usd, node: Node, field: str, faults: Faults) -> Any:
    if node.kind in _KINDS[Usd]:
        if re.fullmatch(USD_PATTERN, node.raw):
            return uusd(node.raw)
        if re.fullmatch(r"\$?[0-9]+\.[0-9]{7,}", node.raw):
            return _miss(faults, node, field, "at most 6 decimals of a dollar")
    return _miss(faults, node, field, expects(shape))


def uusd(text: str) -> int:
    """Micro-USD out of a text that matches USD_PATTERN."""
    dollars, _, rest = text.removeprefix("$").partition(".")
    return int(dollars) * 1_000_000 + int(rest.ljust(6, "0"))


def _read_list(shape: ListOf, node: Node, field: str, faults: Faults) -> Any:
    if node.kind != "list":
        if shape.is_single_ok and node.kind in _kinds(shape.item):
            item = read(shape.item, node, field, faults)
            return MISSING if item is MISSING else (item,)
        return _miss(faults, node, field, expects(shape))
    if not shape.items_min <= len(node.value) <= shape.items_max:
        bounds = f"{shape.items_min} to {shape.items_max} items"
        return _miss(faults, node, field, bounds, found=f"{len(node.value)} items")
    items = (read(shape.item, item, f"{field}[{n}]", faults) for n, item in enumerate(node.value, 1))
    return tuple(item for item in list(items) if item is not MISSING)


def _read_map(shape: MapOf, node: Node, field: str, faults: Faults) -> Any:
    if node.kind != "mapping":
        return _miss(faults, node, field, expects(shape))
    if len(node.value) > shape.entries_max:
        found = f"{len(node.value)} names"
        return _miss(faults, node, field, f"at most {shape.entries_max} names", found=found)
    got = {}
    for entry in node.value:
        if not re.fullmatch(shape.key, entry.key):
            faults.add(entry.line, field, expected=shape.key_called, found=f"'{shown(entry.key)}'")
        got[entry.key] = read(shape.item, entry.node, _under(field, entry.key), faults)
    return {key: item for key, item in got.items() if item is not MISSING}


def _read_record(shape: Record, node: Node, field: str, faults: Faults) -> Any:
    if node.kind != "mapping":
        return _miss(faults, node, field, expects(shape))
    fields = {one.name: one for one in shape.fields}
    got = {}
    for entry in node.value:
        if entry.key in fields:
            got[entry.key] = read(fields[entry.key].shape, entry.node, _under(field, entry.key), faults)
        else:
            _unknown(entry, field, fields, faults)
    for one in shape.fields:
        if one.is_required and one.name not in got:
            faults.add(node.line, _under(field, one.name), expected=expects(one.shape), found="nothing")
    return {name: item for name, item in got.items() if item is not MISSING}


def _read_cases(shape: Cases, node: Node, field: str, faults: Faults) -> Any:
    if node.kind != "mapping":
        return _miss(faults, node, field, expects(shape))
    heads = {record.fields[0].name: record for record in shape.records}
    given = [entry for entry in node.value if entry.key in heads]
    if len(given) == 1:
        return _read_record(heads[given[0].key], node, field, faults)
    if given:
        names = " and ".join(f"'{entry.key}'" for entry in given)
        return _miss(faults, node, field, f"one of {', '.join(heads)}", found=f"{names}; write two items")
    near = next((word for entry in node.value if (word := nearest(entry.key, heads))), "")
    names = ", ".join(f"'{shown(entry.key)}'" for entry in node.value[:3]) or "nothing"
    return _miss(faults, node, field, f"one of {', '.join(heads)}", found=names, near=near)


def _read_either(shape: Either, node: Node, field: str, faults: Faults) -> Any:
    for option in shape.options:
        if node.kind in _kinds(option):
            return read(option, node, field, faults)
    return _miss(faults, node, field, expects(shape))


def _read_anything(shape: Anything, node: Node, field: str, faults: Faults) -> Any:
    return value(node) if node.kind == "mapping" else _miss(faults, node, field, expects(shape))


def _miss(faults: Faults, node: Node, field: str, expected: str, *, found: str = "", near: str = "") -> _Missing:
    faults.add(node.line, field, expected=expected, found=found or describe(node), nearest=near)
    return MISSING


def _unknown(entry: Entry, field: str, fields: dict[str, Field], faults: Faults) -> None:
    near = nearest(entry.key, fields)
    faults.add(entry.line, _under(field, entry.key), found="no such field", nearest=near)


def _under(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _kinds(shape: Shape) -> tuple[str, ...]:
    if isinstance(shape, Either):
        return tuple(kind for option in shape.options for kind in _kinds(option))
    if isinstance(shape, Text) and shape.is_loose:
        return ("text", "whole", "number", "flag", "nothing")
    return _KINDS[type(shape)]


def _pattern(shape: Text) -> str:
    return _BLOCK if shape.is_block and shape.pattern == LINE else shape.pattern


_READERS: dict[type[Shape], Callable[[Any, Node, str, Faults], Any]] = {
    Text: _read_text,
    Whole: _read_whole,
    Flag: _read_flag,
    Nothing: _read_nothing,
    Usd: _read_usd,
    ListOf: _read_list,
    MapOf: _read_map,
    Record: _read_record,
    Cases: _read_cases,
    Either: _read_either,
    Anything: _read_anything,
}

_EXPECTS: dict[type[Shape], Callable[[Any], str]] = {
    Text: lambda shape: f"one of {', '.join(shape.choices)}" if shape.choices else shape.called,
    Whole: lambda shape: f"a whole number from {shape.least} to {shape.most}",
    Flag: lambda shape: "true or false",
    Nothing: lambda shape: "nothing",
    Usd: lambda shape: "dollars such as 2, 0.50 or $2, below 10000000",
    ListOf: lambda shape: f"a list, each item {expects(shape.item)}",
    MapOf: lambda shape: "a mapping of names to values",
    Record: lambda shape: f"a mapping with {', '.join(one.name for one in shape.fields[:4])}",
    Cases: lambda shape: shape.called,
    Either: lambda shape: " or ".join(expects(option) for option in shape.options),
    Anything: lambda shape: "a mapping",
}


# ---- publishing --------------------------------------------------------------------------------------------------


def schema(shape: Shape) -> dict[str, Any]:
    """The shape as JSON Schema."""
    return _SCHEMAS[type(shape)](shape)


def published(shape: Record, *, title: str, name: str) -> dict[str, Any]:
    """The schema of a whole document, as it is written to a file."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:agentos:schema:{name}"}
    return {**head, "title": title, **schema(shape)}


def _text_schema(shape: Text) -> dict[str, Any]:
    if shape.choices:
        return {"enum": list(shape.choices)}
    made: dict[str, Any] = {"type": "string", "maxLength": shape.chars_max}
    if shape.is_loose:
        return {"anyOf": [made, {"type": ["number", "boolean", "null"]}]}
    if not shape.is_blank_ok:
        made["pattern"] = _pattern(shape)
    return made


def _usd_schema(shape: Usd) -> dict[str, Any]:
    number = {"type": "number", "minimum": 0, "exclusiveMaximum": 10_000_000}
    text = {"type": "string", "pattern": USD_PATTERN}
    return {"anyOf": [number, text], "description": "Dollars, with at most six decimals."}


def _list_schema(shape: ListOf) -> dict[str, Any]:
    item = schema(shape.item)
    made: dict[str, Any] = {"type": "array", "items": item, "maxItems": shape.items_max}
    if shape.items_min:
        made["minItems"] = shape.items_min
    return {"anyOf": [item, made]} if shape.is_single_ok else made


def _map_schema(shape: MapOf) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "object", "propertyNames": {"pattern": shape.key}}
    return {**made, "additionalProperties": schema(shape.item), "maxProperties": shape.entries_max}


def _record_schema(shape: Record) -> dict[str, Any]:
    properties = {one.name: {"description": one.help, **schema(one.shape)} for one in shape.fields}
    made: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if shape.help:
        made = {"description": shape.help, **made}
    required = [one.name for one in shape.fields if one.is_required]
    return {**made, "required": required} if required else made


_SCHEMAS: dict[type[Shape], Callable[[Any], dict[str, Any]]] = {
    Text: _text_schema,
    Whole: lambda shape: {"type": "integer", "minimum": shape.least, "maximum": shape.most},
    Flag: lambda shape: {"type": "boolean"},
    Nothing: lambda shape: {"type": "null"},
    Usd: _usd_schema,
    ListOf: _list_schema,
    MapOf: _map_schema,
    Record: _record_schema,
    Cases: lambda shape: {"anyOf": [_record_schema(record) for record in shape.records]},
    Either: lambda shape: {"anyOf": [schema(option) for option in shape.options]},
    Anything: lambda shape: {"type": "object"},
}
