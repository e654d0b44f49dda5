"""What the spoiled copy of a test calls while it runs: each assertion is made to fail, and it is noted which one did not.

eq(left, right)   is true only if `left` equals something it must not equal: a spoiled value, or an object nobody knows
failed() blind()  one spoiled assertion failed, as it must; or passed, and so cannot fail at all
"""

# mypy: ignore-errors
# Untyped on purpose: it runs under Pythons of other ages, beside code of any shape, and mostly stands in for objects
# whose type it does not know.

import random

VARIANTS_MAX = 24  # spoiled values tried per comparison; a container is spoiled one element at a time


class Other(Exception):
    """An exception that nobody raises: what a spoiled `raises` expects."""


class _Stranger:
    """Equal to nothing but itself."""

    __hash__ = object.__hash__


_counts = {"failed": 0, "blind": 0}


def each(test):
    """Counts since the test's start, for its record."""
    before = dict(_counts)

    def extra():
        return {"spoiled": {key: _counts[key] - before[key] for key in _counts}}

    return extra


def failed():
    _counts["failed"] += 1


def blind():
    _counts["blind"] += 1


def settle():
    """At the end of a spoiled test: fail as an honest one does, unless some assertion could not."""
    if _counts["failed"] and not _counts["blind"]:
        raise AssertionError("spoiled on purpose")


def eq(left, right):
    """Whether the two are equal although one of them was spoiled. Where neither is plain, all that can be asked is whether one equals a stranger."""
    plain_right, plain_left = list(variants(right)), list(variants(left))
    if plain_right and is_plain(right):
        if any(_same(left, other) for other in plain_right):
            return True
    elif plain_left and is_plain(left) and any(_same(other, right) for other in plain_left):
        return True
    return _is_promiscuous(left) or _is_promiscuous(right)


def pair(left, right):
    """Two values that the real `assertEqual` must find different; equal ones if these two cannot be told from spoiled ones."""
    if eq(left, right):
        return 0, 0
    for spoiled in variants(right) if is_plain(right) else ():
        return left, spoiled
    for spoiled in variants(left):
        return spoiled, right
    return left, _Stranger()


def _same(left, right):
    return bool(left == right)


def _is_promiscuous(value):
    if type(value).__module__ in ("unittest.mock", "mock"):
        return False  # mock.ANY equals everything by intent
    try:
        return bool(value == _Stranger())
    except Exception:  # noqa: BLE001 (its `__eq__` is foreign code)
        return False  # an array, or something that refuses to be compared


_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_CONTAINERS = (list, tuple, dict, set, frozenset)


def is_plain(value):
    return type(value) in _PLAIN or type(value) in _CONTAINERS


def variants(value, depth=0):
    """Values that differ from `value` in one place each; none for what is not plain."""
    kind = type(value)
    if kind is bool:
        yield not value
    elif kind in (int, float, complex):
        moved = value + random.choice((1, 3, 17)) + abs(value)
        yield moved if moved - moved == 0 and moved != value else kind(0)  # infinity stays where it is
    elif kind is str:
        yield value + random.choice("qzj") + "~"
    elif kind is bytes:
        yield value + b"~q"
    elif value is None:
        yield _Stranger()
    elif kind in _CONTAINERS and depth < 4:
        yield from _spoil_container(value, kind, depth)


def _spoil_container(value, kind, depth):
    if not value:
        yield {_Stranger(): 1} if kind is dict else kind([_Stranger()])
        return
    keys = list(value) if kind is dict else range(len(value))
    items = list(value.values()) if kind is dict else list(value)
    for at in list(enumerate(keys))[:VARIANTS_MAX]:
        for spoiled in list(variants(items[at[0]], depth + 1))[:4] or [_Stranger()]:
            changed = list(items)
            changed[at[0]] = spoiled
            try:
                yield {key: changed[n] for n, key in enumerate(keys)} if kind is dict else kind(changed)
            except TypeError:
                return  # a set of what cannot be hashed once spoiled
