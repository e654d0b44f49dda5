"""Which sources belong to the tests although they are named like any other: helpers, loaders of cases, stand-ins.

Read from import statements alone, generously: an import of `a.b` may mean any file that could be called so. A file is the
tests' own only if nothing else could mean it, and if it could not lead to what the change touched.
"""

import ast
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

SOURCES_MAX = 5_000  # files read for this; beyond it no file is taken for a helper, which costs strictness, not truth
SOURCE_BYTES_MAX = 1 << 20


def companions(tree: Path, files: Iterable[str], *, tests: set[str], changed: set[str]) -> frozenset[str]:
    """Unchanged files that are imported by tests, or by such files, and by nothing else, and import nothing changed."""
    sources = sorted(path for path in files if path.endswith(".py"))
    if len(sources) > SOURCES_MAX:
        return frozenset()
    by_word: dict[str, set[str]] = {}
    for path in sources:
        by_word.setdefault(_word(path), set()).add(path)
    imports = {path: _meant(tree, path, by_word) for path in sources}
    importers: dict[str, set[str]] = {path: set() for path in sources}
    for path, meant in imports.items():
        for other in meant:
            importers[other].add(path)
    ours = set(sources) - tests - changed
    while True:  # take away until every one left is the tests' alone; each round removes one at least
        doubtful = {p for p in ours if not importers[p] or importers[p] - tests - ours or imports[p] - tests - ours}
        if not doubtful:
            return frozenset(ours)
        ours -= doubtful


def _meant(tree: Path, path: str, by_word: dict[str, set[str]]) -> set[str]:
    """Files that the import statements of a file could mean, itself left out."""
    content = (tree / path).read_bytes()
    try:
        parsed = ast.parse(content) if len(content) <= SOURCE_BYTES_MAX else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        parsed = None
    if parsed is None:
        return {other for found in by_word.values() for other in found} - {path}  # it could import anything
    words: set[str] = set()
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            words |= {part for alias in node.names for part in alias.name.split(".")}
        elif isinstance(node, ast.ImportFrom):
            words |= set((node.module or "").split(".")) | {alias.name for alias in node.names}
            words |= {PurePosixPath(path).parent.name} if node.level else set()
    return {other for word in words for other in by_word.get(word, ())} - {path}


def _word(path: str) -> str:
    pure = PurePosixPath(path)
    return pure.parent.name if pure.name == "__init__.py" else pure.stem
