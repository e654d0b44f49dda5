"""Which one file to change: a rule of thumb over what failed, and a short question to the model where several are left.

    named in the goal, in a traceback, imported by a failing test, searched by name ─> points ─> the best ones

Rule 1: only a path inside the order's scope is ever proposed; a test is not, unless the goal names it.
Rule 2: the same order, tree and output give the same list, in the same order.
"""

import re
from collections.abc import Iterable

from agentos.abi.paths import TESTS, Place, compile_patterns, place
from agentos.abi.work import Scope

CANDIDATES_MAX = 8  # put to a model; more is a list nobody reads, and a small model takes the first

# Points, by how directly the evidence names the file. A goal that names it is its author's word.
GOAL, FRAME, IMPORT, WORD = 8, 5, 4, 1

_FRAME = re.compile(r'(?:File ")?([\w./-]+\.[A-Za-z]\w{0,4})(?::|", line )(\d+)')
_PATH = re.compile(r"(?<![\w./-])[\w./-]+\.[A-Za-z]\w{0,4}(?![\w/])")
_MODULE = re.compile(r"No module named '([\w.]+)'")
_IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+import\s+(.+)|import\s+([\w., ]+))", re.MULTILINE)
_NAME = re.compile(r"`([A-Za-z_][\w.]*)")
_TEST_ID = re.compile(r"^([\w./-]+\.\w+)(?:::|$)")


def candidates(
    paths: tuple[str, ...], scope: Scope, *, goal: str, output: str, tests: dict[str, str]
) -> tuple[str, ...]:
    """The paths most likely to need the change, best first, ties together with nothing below them. `tests` are the
    failing tests' files and texts. A path that is not in the tree yet is proposed where goal or output name it."""
    points = dict.fromkeys((path for path in paths if is_eligible(path, scope)), 0)
    known = tuple(paths)

    def add(found: Iterable[str], score: int) -> None:
        for path in dict.fromkeys(found):
            if path in points or (path not in known and is_eligible(path, scope)):
                points[path] = points.get(path, 0) + score

    add((_known(path, known, is_new=True) for path in _PATH.findall(goal) if place(scope, path) is Place.ALLOWED), GOAL)
    add((_known(path, known) for path, _ in _FRAME.findall(output)), FRAME)
    add((path for text in tests.values() for path in imported(text, known)), IMPORT)
    add((_module(name, known, is_new=True) for name in _MODULE.findall(output)), IMPORT)
    add((path for path in points if _stem(path) in re.findall(r"\w+", goal.lower())), WORD)
    best = max(points.values(), default=0)
    if best == 0:
        return ()
    return tuple(path for path in points if points[path] >= max(best - WORD, 1))[:CANDIDATES_MAX]


def is_eligible(path: str, scope: Scope) -> bool:
    """Whether the worker may propose it: allowed, and no test."""
    return place(scope, path) is Place.ALLOWED and not compile_patterns(TESTS)(path)


def test_files(ids: Iterable[str], paths: tuple[str, ...], output: str) -> tuple[str, ...]:
    """The files of failing tests, by their ids and by what the output names."""
    named = [match[1] for name in ids if (match := _TEST_ID.match(name))]
    named += [_known(path, paths) for path, _ in _FRAME.findall(output) if compile_patterns(TESTS)(path)]
    return tuple(path for path in dict.fromkeys(named) if path in paths)


def names(goal: str) -> tuple[str, ...]:
    """The identifiers that the goal sets in backticks, last component first to be searched."""
    return tuple(dict.fromkeys(name.rstrip(".").rsplit(".", 1)[-1] for name in _NAME.findall(goal)))


def imported(text: str, paths: tuple[str, ...]) -> tuple[str, ...]:
    """The files of the tree that a Python text imports."""
    found: list[str] = []
    for module, members, modules in _IMPORT.findall(text):
        for name in [module] if module else [part.split(" as ")[0].strip() for part in modules.split(",")]:
            inner = [f"{name}.{member.strip(' ()')}" for member in members.split(",")] if members else []
            found += [_module(one, paths) for one in (*inner, name)]
    return tuple(dict.fromkeys(path for path in found if path))


def _module(name: str, paths: tuple[str, ...], *, is_new: bool = False) -> str:
    """The file of a module, wherever its source root is; with `is_new` the place it would have at the root."""
    stem = name.strip(".").replace(".", "/")
    for tail in (f"{stem}.py", f"{stem}/__init__.py"):
        for path in paths:
            if path == tail or path.endswith(f"/{tail}"):
                return path
    return f"{stem}.py" if is_new and stem else ""


def _known(path: str, paths: tuple[str, ...], *, is_new: bool = False) -> str:
    """The path of the tree that is meant: an absolute path of another machine ends in it."""
    path = path.removeprefix("./")
    if path in paths:
        return path
    ends = [known for known in paths if path.endswith(f"/{known}") or known.endswith(f"/{path}")]
    return max(ends, key=len) if ends else path if is_new and not path.startswith("/") else ""


def _stem(path: str) -> str:
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[0].lower()
