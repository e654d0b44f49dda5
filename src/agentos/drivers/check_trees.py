"""The trees a check runs on: base and change exported as plain files, and put together so that nobody judges themselves.

    whole      the change, with everything protected as it is on the base: what the ordinary run sees
    tests      whole, without the artifact's source: what the run apart sees where it compares
    artifact   whole, without tests and what only tests read: what the run apart sees where it computes

Rule 1: a run gets a copy of its own, writable, and nobody on the host reads it afterwards.
Rule 2: what only tests use, and the change did not touch, is theirs: a loader of cases is no part of the artifact.
Rule 3: tests are the base's, even where the order protects nothing, unless the order names them as the work.
"""

import asyncio
import os
import shutil
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from agentos.abi import paths
from agentos.abi.work import Scope
from agentos.drivers import check_imports
from agentos.drivers.forge_steering import is_steering_changed
from agentos.ports.forge import Forge


class Trees(NamedTuple):
    """Exports of one change. `kept` are the paths that come from the base whatever was presented."""

    base: Path
    whole: Path
    kept: frozenset[str]
    helpers: frozenset[str]  # unchanged sources that only tests import
    base_files: frozenset[str]
    files: frozenset[str]  # of `whole`


async def export(forge: Forge, scratch: Path, *, repository: Path, commit: str, base: str) -> tuple[Path, Path]:
    """Base and change as plain files; `compose` puts them together."""
    await forge.export(repository, base, scratch / "base")
    await forge.export(repository, commit, scratch / "whole")
    return scratch / "base", scratch / "whole"


async def compose(base: Path, whole: Path, scope: Scope, defined_in: tuple[str, ...] = ()) -> Trees:
    """Bring every protected path of `whole` to the base's version. `defined_in` names files that say what the check is."""
    return await asyncio.to_thread(_compose, base, whole, scope, defined_in)


def _compose(base: Path, whole: Path, scope: Scope, defined_in: tuple[str, ...]) -> Trees:
    base_files, files = listing(base), listing(whole)
    is_kept = keeper(scope, base_files, defined_in)
    kept = set()
    for path in sorted(base_files | files):
        if is_kept(path) or _steers(base, whole, path, scope):
            kept.add(path)
            _take(base, whole, path)
    files = listing(whole)
    changed = {path for path in base_files | files if not is_same(base, whole, path)}
    helpers = check_imports.companions(whole, files, tests=kept, changed=changed)
    return Trees(base, whole, frozenset(kept), helpers, frozenset(base_files), frozenset(files))


def keeper(scope: Scope, base_files: Iterable[str], defined_in: tuple[str, ...] = ()) -> Callable[[str], bool]:
    """Which paths are the base's: protected ones, the base's own tests, and what defines the check."""
    on_base = frozenset(base_files)
    named = tuple(p for p in scope.allowed if p.strip("/*") != "")
    is_named = paths.compile_patterns(named)
    is_test = paths.compile_patterns(paths.TESTS, is_case_blind=True)

    def is_kept(path: str) -> bool:
        if paths.place(scope, path) is paths.Place.PROTECTED or path in defined_in:
            return True
        return path in on_base and is_test(path) and not is_named(path)

    return is_kept


def _steers(base: Path, whole: Path, path: str, scope: Scope) -> bool:
    if not paths.steering_of(path) or paths.is_named(scope, path):
        return False
    return is_steering_changed(path, content(base, path), content(whole, path))


def _take(base: Path, whole: Path, path: str) -> None:
    (whole / path).unlink(missing_ok=True)
    if (base / path).is_file():
        (whole / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(base / path, whole / path)


def artifact_sources(files: frozenset[str], trees: Trees) -> frozenset[str]:
    """What Python could import and is neither the tests' nor their helpers'."""
    return frozenset(path for path in files - trees.kept - trees.helpers if is_source(path))


def is_source(path: str) -> bool:
    """Whether Python would import it."""
    return path.endswith((".py", ".pyc", ".so", ".pyd"))


async def copy(
    tree: Path, target: Path, *, leave_out: frozenset[str] = frozenset(), put: dict[str, str] | None = None
) -> Path:
    """A writable copy of `tree` at `target`, without some paths and with others' text replaced."""
    await asyncio.to_thread(_copy, tree, target, leave_out, put or {})
    return target


def _copy(tree: Path, target: Path, leave_out: frozenset[str], put: dict[str, str]) -> None:
    # Compiled files stay behind: one that does not belong to its source would shadow it.
    for path in sorted(path for path in listing(tree) - leave_out if not path.endswith(".pyc")):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tree / path, target / path)
    target.mkdir(parents=True, exist_ok=True)
    for path, text in put.items():
        (target / path).write_bytes(text.encode(errors="surrogateescape"))


def listing(tree: Path) -> set[str]:
    """Paths of all files beneath `tree`."""
    return {os.path.relpath(os.path.join(folder, name), tree) for folder, _, names in os.walk(tree) for name in names}


def content(tree: Path, path: str) -> bytes | None:
    try:
        return (tree / path).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def is_same(left: Path, right: Path, path: str) -> bool:
    """Whether a path is byte for byte, and in its exec bit, the same in two trees."""
    if content(left, path) != content(right, path):
        return False
    modes = [(tree / path).stat().st_mode & stat.S_IXUSR for tree in (left, right) if (tree / path).exists()]
    return len(set(modes)) < 2
