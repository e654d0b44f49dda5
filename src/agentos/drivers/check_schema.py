"""JSON Schema, the part of it that acceptance contracts use. A keyword that is not known here is refused, never skipped.

A check that ignores what it does not understand is a check that passes. Draft 2020-12; `$ref`, formats and dynamic
keywords are left out: an order says what a file must hold, and does not build a type system.
"""

import re
from collections.abc import Callable
from typing import Any

TEXT_MAX = 10_000  # characters a pattern is tried on: the pattern is the author's, the text is not
ERRORS_MAX = 5

_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool) or (isinstance(v, float) and v.is_integer()),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
}
_ANNOTATIONS = frozenset(("$schema", "$id", "title", "description", "default", "examples", "$comment", "deprecated"))


class Unknown(Exception):
    """The schema uses a keyword, or a value for one, that is not understood here."""


def errors(value: object, schema: object) -> list[str]:
    """What is wrong with `value`, one line each with its place; empty if it matches. `Unknown` for a schema beyond us."""
    return list(_errors(value, schema, "$"))[:ERRORS_MAX]


def _errors(value: Any, schema: object, at: str) -> list[str]:
    if schema is True:
        return []
    if schema is False:
        return [f"{at} must not be there"]
    if not isinstance(schema, dict):
        raise Unknown(f"schema at {at} is neither an object nor a boolean")
    found: list[str] = []
    for keyword, wanted in schema.items():
        if keyword in _ANNOTATIONS or keyword == "additionalProperties":
            continue  # read below, together with `properties`
        if keyword not in _KEYWORDS:
            raise Unknown(f"schema keyword {keyword!r} at {at} is not supported; known: {', '.join(sorted(_KEYWORDS))}")
        found += _KEYWORDS[keyword](value, wanted, at)
    if "additionalProperties" in schema and isinstance(value, dict):
        extra = [name for name in value if name not in schema.get("properties", {})]
        found += [e for name in extra for e in _errors(value[name], schema["additionalProperties"], f"{at}.{name}")]
    return found


def _type(value: Any, wanted: Any, at: str) -> list[str]:
    names = wanted if isinstance(wanted, list) else [wanted]
    if not set(names) <= set(_TYPES):
        raise Unknown(f"schema type {wanted!r} at {at} is not one")
    return [] if any(_TYPES[name](value) for name in names) else [f"{at} is not of type {wanted}"]


def _properties(value: Any, wanted: Any, at: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    return [e for name, inner in wanted.items() if name in value for e in _errors(value[name], inner, f"{at}.{name}")]


def _items(value: Any, wanted: Any, at: str) -> list[str]:
    if not isinstance(value, list):
        return []
    return [e for n, item in enumerate(value) for e in _errors(item, wanted, f"{at}[{n}]")]


def _bound(
    is_met: Callable[[Any, Any], bool], kinds: tuple[type, ...], words: str
) -> Callable[[Any, Any, str], list[str]]:
    def check(value: Any, wanted: Any, at: str) -> list[str]:
        is_subject = isinstance(value, kinds) and not isinstance(value, bool)
        return [f"{at} {words} {wanted}"] if is_subject and not is_met(value, wanted) else []

    return check


def _any_of(value: Any, wanted: Any, at: str) -> list[str]:
    return [] if any(not _errors(value, inner, at) for inner in wanted) else [f"{at} matches none of anyOf"]


def _one_of(value: Any, wanted: Any, at: str) -> list[str]:
    count = sum(not _errors(value, inner, at) for inner in wanted)
    return [] if count == 1 else [f"{at} matches {count} of oneOf, not one"]


def _same(left: Any, right: Any) -> bool:
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


_NUMBER, _TEXT, _LIST, _OBJECT = (int, float), (str,), (list,), (dict,)
_KEYWORDS: dict[str, Callable[[Any, Any, str], list[str]]] = {
    "type": _type,
    "properties": _properties,
    "items": _items,
    "required": lambda v, w, at: [f"{at} lacks {n!r}" for n in w if isinstance(v, dict) and n not in v],
    "enum": lambda v, w, at: [] if any(_same(v, one) for one in w) else [f"{at} is none of {w}"],
    "const": lambda v, w, at: [] if _same(v, w) else [f"{at} is not {w!r}"],
    "minimum": _bound(lambda v, w: v >= w, _NUMBER, "is under"),
    "maximum": _bound(lambda v, w: v <= w, _NUMBER, "is over"),
    "exclusiveMinimum": _bound(lambda v, w: v > w, _NUMBER, "is not over"),
    "exclusiveMaximum": _bound(lambda v, w: v < w, _NUMBER, "is not under"),
    "multipleOf": _bound(lambda v, w: v % w == 0, _NUMBER, "is no multiple of"),
    "minLength": _bound(lambda v, w: len(v) >= w, _TEXT, "is shorter than"),
    "maxLength": _bound(lambda v, w: len(v) <= w, _TEXT, "is longer than"),
    "pattern": _bound(lambda v, w: re.search(w, v[:TEXT_MAX]) is not None, _TEXT, "does not match"),
    "minItems": _bound(lambda v, w: len(v) >= w, _LIST, "has fewer items than"),
    "maxItems": _bound(lambda v, w: len(v) <= w, _LIST, "has more items than"),
    "uniqueItems": _bound(
        lambda v, w: not w or all(a != b for n, a in enumerate(v) for b in v[:n]), _LIST, "repeats items:"
    ),
    "minProperties": _bound(lambda v, w: len(v) >= w, _OBJECT, "has fewer fields than"),
    "maxProperties": _bound(lambda v, w: len(v) <= w, _OBJECT, "has more fields than"),
    "allOf": lambda v, w, at: [e for inner in w for e in _errors(v, inner, at)],
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": lambda v, w, at: [f"{at} matches what it must not"] if not _errors(v, w, at) else [],
}
