"""What a repository says about itself: which checks it has, where its tests are, in which languages, what work may touch.

So that an order can be drafted without a set-up, and `verify` runs what the repository itself would run. Pure: file names
come as a listing, small files through a callback; nothing is executed and nothing is guessed from a network.

Rule 1: what the repository says of itself (a Makefile's `test`, package.json, pytest's settings) comes before convention.
Rule 2: a check is offered only where there is something for it to run. No tests, no check; and `notes` says what to do.
Rule 3: tests, and what steers them, are suggested as protected. A suggestion is data in a draft; an author signs it.
"""

import configparser
import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

import msgspec

from agentos.abi import paths
from agentos.abi.work import Command, Scope

Read = Callable[[str], bytes | None]  # the content of a small file, or None

LANGUAGES = {
    ".py": "python",
    ".js": "javascript",
    ".mjs": "javascript",
    ".cjs": "javascript",
    ".ts": "typescript",
    ".tsx": "typescript",
    ".jsx": "javascript",
    ".go": "go",
    ".rs": "rust",
    ".rb": "ruby",
    ".java": "java",
    ".kt": "kotlin",
    ".c": "c",
    ".h": "c",
    ".cc": "c++",
    ".cpp": "c++",
    ".cs": "c#",
    ".php": "php",
    ".swift": "swift",
    ".sh": "shell",
    ".sql": "sql",
}

# Never an agent's to touch, whatever the order: what is built, bought, or secret.
FORBIDDEN = (
    ".git/",
    ".env",
    ".env.*",
    "*.pem",
    "*.key",
    "id_rsa*",
    "node_modules/",
    ".venv/",
    "vendor/",
    "dist/",
    "build/",
)
SOURCES_READ_MAX = 40  # test files looked into to tell unittest from pytest; the first few decide it in practice


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `checks` are in the order of preference: the first is what `verify` runs."""

    checks: tuple[Command, ...] = ()
    tests: tuple[str, ...] = ()  # paths of test files
    languages: tuple[str, ...] = ()  # most files first
    scope: Scope = Scope()  # suggested
    notes: tuple[str, ...] = ()  # what a person should know: the thing, the fact, the way out


def survey(files: Iterable[str], read: Read) -> Survey:
    """Look at a repository. `files` are paths relative to its root, with forward slashes."""
    listing = sorted(set(files))
    is_test = paths.compile_patterns(paths.TESTS, is_case_blind=True)
    tests = tuple(path for path in listing if is_test(path) and _language(path))
    checks = _unique(found for look in (_make, _npm, _python, _go, _cargo) for found in look(listing, tests, read))
    protected = _protected(listing, tests, checks, read)
    scope = Scope(allowed=("**",), forbidden=FORBIDDEN, protected=protected)
    return Survey(
        checks=checks, tests=tests, languages=_languages(listing), scope=scope, notes=_notes(listing, tests, checks)
    )


def _make(files: list[str], tests: tuple[str, ...], read: Read) -> Iterable[Command]:
    for name in ("GNUmakefile", "makefile", "Makefile"):
        if name not in files:
            continue
        text = (read(name) or b"").decode(errors="replace")
        if re.search(r"^test\s*:(?!=)", text, re.MULTILINE):
            yield Command(name="make test", argv=("make", "test"))
        return  # make itself reads the first of these only


def _npm(files: list[str], tests: tuple[str, ...], read: Read) -> Iterable[Command]:
    if "package.json" in files:
        script = _npm_script(read)
        if script and "no test specified" not in script:  # what `npm init` writes
            yield Command(name="npm test", argv=("npm", "test"))
            return
    if any(re.search(r"\.(test|spec)\.[cm]?js$|^test/.*\.[cm]?js$", path) for path in tests):
        yield Command(name="node --test", argv=("node", "--test"))


def _npm_script(read: Read) -> str:
    try:
        return str(json.loads(read("package.json") or b"{}").get("scripts", {}).get("test", ""))
    except (ValueError, AttributeError, RecursionError):
        return ""


def _python(files: list[str], tests: tuple[str, ...], read: Read) -> Iterable[Command]:
    sources = [path for path in tests if path.endswith(".py") and not path.endswith(("__init__.py", "conftest.py"))]
    if not sources:
        return
    if _says_pytest(files, read) or not _is_all_unittest(sources, read):
        yield Command(name="pytest", argv=("pytest",))
    else:
        yield Command(name="unittest", argv=("python", "-m", "unittest", "discover", *_discovery(files, sources)))


def _says_pytest(files: list[str], read: Read) -> bool:
    if any(PurePosixPath(path).name in ("conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml") for path in files):
        return True
    try:
        if "pyproject.toml" in files and "pytest" in tomllib.loads((read("pyproject.toml") or b"").decode()).get(
            "tool", {}
        ):
            return True
        for name, section in (("setup.cfg", "tool:pytest"), ("tox.ini", "pytest")):
            parser = configparser.RawConfigParser(strict=False)
            parser.read_string((read(name) or b"").decode() if name in files else "")
            if parser.has_section(section):
                return True
    except (ValueError, configparser.Error):
        return False  # a broken settings file is the runner's to complain about
    return False


def _is_all_unittest(sources: list[str], read: Read) -> bool:
    texts = [(read(path) or b"").decode(errors="replace") for path in sources[:SOURCES_READ_MAX]]
    uses = [bool(re.search(r"^\s*(import unittest|from unittest)\b", text, re.MULTILINE)) for text in texts]
    is_pytest = any(re.search(r"^\s*(import pytest|from pytest)\b|^(async )?def test_", t, re.MULTILINE) for t in texts)
    return any(uses) and not is_pytest


def _discovery(files: list[str], sources: list[str]) -> tuple[str, ...]:
    """Options for unittest's discovery: where to start, and from where names count."""
    tops = {path.split("/")[0] for path in sources if "/" in path}
    if len(tops) != 1 or any("/" not in path for path in sources):
        return ()
    (top,) = tops
    pattern = () if all(PurePosixPath(p).name.startswith("test") for p in sources) else ("-p", "*test*.py")
    return ("-s", top, *(("-t", ".") if f"{top}/__init__.py" in files else ()), *pattern)


def _go(files: list[str], tests: tuple[str, ...], read: Read) -> Iterable[Command]:
    if "go.mod" in files and any(path.endswith("_test.go") for path in tests):
        yield Command(name="go test", argv=("go", "test", "./..."))


def _cargo(files: list[str], tests: tuple[str, ...], read: Read) -> Iterable[Command]:
    if "Cargo.toml" in files and any(path.endswith(".rs") for path in files):
        yield Command(name="cargo test", argv=("cargo", "test", "--offline"))


def _unique(checks: Iterable[Command]) -> tuple[Command, ...]:
    """The first of each; and where `make test` is there, what it most likely runs is still offered behind it."""
    return tuple({check.argv: check for check in checks}.values())


def _protected(files: list[str], tests: tuple[str, ...], checks: tuple[Command, ...], read: Read) -> tuple[str, ...]:
    """Patterns that cover every test file and what steers the checks, as few as do."""
    roots = ("tests", "test", "__tests__", "testdata", "spec")
    chosen = [f"{root}/" for root in roots if any(f"/{root}/" in f"/{path}" for path in files)]
    chosen += [
        f"/{folder}/" for folder in _test_folders(files, tests) if not paths.compile_patterns(chosen)(f"{folder}/x")
    ]
    is_covered = paths.compile_patterns(chosen)
    names = ("test_*.py", "*_test.py", "tests.py", "*.test.*", "*.spec.*", "*_test.go")
    for pattern in names:
        match = paths.compile_patterns((pattern,))
        if any(match(path) and not is_covered(path) for path in tests):
            chosen.append(pattern)
    if any(check.argv[0] == "make" for check in checks):
        chosen += [f"/{name}" for name in ("GNUmakefile", "makefile", "Makefile") if name in files]
    return (*chosen, *(f"/{path}" for path in _data_of(files, tests, read)))


def _test_folders(files: list[str], tests: tuple[str, ...]) -> list[str]:
    """Folders in which most sources are tests: what else is there, loaders and stand-ins, belongs to the tests."""
    sources = Counter(path.rpartition("/")[0] for path in files if _language(path))
    found = Counter(path.rpartition("/")[0] for path in tests)
    return sorted(folder for folder, count in found.items() if folder and 2 * count > sources[folder])


def _data_of(files: list[str], tests: tuple[str, ...], read: Read) -> list[str]:
    """Data outside test folders that test code names, by file or by folder: most likely what it compares with."""
    is_test = paths.compile_patterns(paths.TESTS)
    data = [path for path in files if path.endswith((".json", ".txt", ".csv", ".yaml", ".yml", ".golden", ".expected"))]
    data = [path for path in data if not is_test(path) and "/" in path and not paths.steering_of(path)]
    folders = set(_test_folders(files, tests))
    code = [path for path in files if path in tests or path.rpartition("/")[0] in folders]
    text = "\n".join((read(path) or b"").decode(errors="replace") for path in code[:SOURCES_READ_MAX])
    words = set(re.findall(r"[\w.-]+", text))
    named = {PurePosixPath(path).parent.as_posix() for path in data if PurePosixPath(path).parent.name in words}
    by_folder = {
        f"{folder}/" for folder in named if not any(_language(f) and f.startswith(f"{folder}/") for f in files)
    }
    singly = [
        p for p in data if PurePosixPath(p).name in words and f"{PurePosixPath(p).parent.as_posix()}/" not in by_folder
    ]
    return sorted(by_folder) + singly


def _language(path: str) -> str:
    return LANGUAGES.get(PurePosixPath(path).suffix.lower(), "")


def _languages(files: list[str]) -> tuple[str, ...]:
    counts = Counter(language for path in files if (language := _language(path)))
    return tuple(sorted(counts, key=lambda language: (-counts[language], language)))


def _notes(files: list[str], tests: tuple[str, ...], checks: tuple[Command, ...]) -> tuple[str, ...]:
    notes = []
    if not checks:
        notes.append("the repository has no tests that we recognise; add one, or name a command with --check")
    if checks and not tests and checks[0].argv[0] == "make":
        notes.append("`make test` is there, but no test files are; its exit status alone will be judged")
    if any(path.endswith(".ipynb") for path in files):
        notes.append("notebooks are not run; only their text is compared")
    return tuple(notes)
