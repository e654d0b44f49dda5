"""What a path pattern means, and where a path stands in a scope. One meaning for forge, checks, files and orders.

Patterns are those of gitignore(5), without a dependency, since a scope is part of the boundary and must read the same in
every release. The known library for this (pathspec) changed its matching between majors; a recorded order must not.

Rule 1: forbidden wins over protected, protected over allowed; what nothing allows is outside.
Rule 2: what limits is matched without regard to case, what allows with it: `Tests/conftest.py` is `tests/conftest.py`
        on half of the world's disks.
Rule 3: files that steer a test runner, a shell, git or CI are protected unless the order names them: see `HOSTILE`.
"""

import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import lru_cache

from agentos.abi.work import Scope

# What an agent writes and something else later runs, though nobody asked for a program. Each is protected by default.
# Not here, though it looks as if it belonged: `.gitignore` (it hides, it does not run), and `pyproject.toml`, `setup.cfg`,
# `tox.ini` and `package.json`, which have honest reasons to change: of those only the steering sections are compared.
HOSTILE: tuple[str, ...] = (
    "conftest.py",  # pytest runs it before any test
    "pytest.ini",
    ".pytest.ini",
    "pytest.toml",
    ".pytest.toml",
    "sitecustomize.py",  # the interpreter runs these before anything
    "usercustomize.py",
    "*.pth",
    "*.egg-link",
    "/pytest.py",  # a module of this name at the root is imported instead of the runner, or of what it stands on
    "/_pytest/",
    "/pluggy/",
    "/pluggy.py",
    "/unittest.py",
    "/unittest/",
    "__pycache__/",  # compiled code that shadows its source
    "*.pyc",
    ".coveragerc",
    "noxfile.py",
    ".gitattributes",
    ".gitmodules",
    ".gitconfig",
    ".githooks/",
    ".husky/",
    ".pre-commit-config.yaml",
    ".github/",
    ".gitlab-ci.yml",
    ".circleci/",
    ".buildkite/",
    "azure-pipelines.yml",
    "Jenkinsfile",
    ".travis.yml",
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    ".mocharc.*",
    "jest.config.*",
    "vitest.config.*",
    ".cargo/",
    ".envrc",
    ".vscode/",
    ".idea/",
    ".claude/",
    ".codex/",
    ".mcp.json",
    "CLAUDE.md",
    "AGENTS.md",
)

# Files with two natures: the named parts steer a runner and are compared, the rest may change.
STEERING: dict[str, tuple[str, ...]] = {
    "pyproject.toml": ("tool.pytest", "tool.coverage", "tool.tox", "tool.nox", "tool.hatch.envs"),
    "setup.cfg": ("tool:pytest", "aliases", "coverage:run"),
    "tox.ini": ("pytest", "tox", "testenv", "coverage:run"),
    "package.json": ("scripts", "jest", "mocha", "ava", "vitest"),
}

# Where tests live, by the conventions of the runners we know. Used where an order says nothing.
TESTS: tuple[str, ...] = (
    "test_*.py",
    "*_test.py",
    "tests.py",
    "tests/",
    "test/",
    "__tests__/",
    "*.test.*",
    "*.spec.*",
    "*_test.go",
    "testdata/",
)


class Place(StrEnum):
    """Where a path stands in a scope."""

    ALLOWED = "allowed"
    OUTSIDE = "outside"
    FORBIDDEN = "forbidden"
    PROTECTED = "protected"


Match = Callable[[str], bool]


def compile_patterns(patterns: Iterable[str], *, is_case_blind: bool = False) -> Match:
    """A predicate over repository paths: the last pattern that matches decides, `!` reverses, a directory covers its content."""
    return _compile(tuple(patterns), is_case_blind)


@lru_cache(maxsize=512)  # an order has a handful of pattern lists; 512 is many orders at once
def _compile(patterns: tuple[str, ...], is_case_blind: bool) -> Match:
    flags = re.DOTALL | (re.IGNORECASE if is_case_blind else 0)
    rules = [(not p.startswith("!"), re.compile(translate(p.removeprefix("!")), flags)) for p in patterns if is_rule(p)]

    def match(path: str) -> bool:
        verdict = False
        for is_positive, rule in rules:
            if is_positive != verdict and rule.match(path):
                verdict = is_positive
        return verdict

    return match


def is_rule(line: str) -> bool:
    """Whether a line of an ignore file is a pattern: not blank, not a comment."""
    return bool(line.strip()) and not line.startswith("#")


def translate(pattern: str) -> str:
    """The regular expression of one gitignore pattern, over a whole path relative to the pattern's directory."""
    pattern = pattern.removeprefix("\\") if pattern.startswith(("\\#", "\\!")) else pattern
    pattern = pattern if pattern.endswith("\\ ") else pattern.rstrip(" ")
    is_directory = pattern.endswith("/")
    pattern = pattern.rstrip("/")
    is_anchored = "/" in pattern
    segments = pattern.removeprefix("/").split("/")
    start = "" if is_anchored else "(?:.*/)?"
    body = _join(segments)
    return f"{start}{body}" + ("/.*" if is_directory else "(?:/.*)?") + r"\Z"


def _join(segments: list[str]) -> str:
    out = ""
    for at, segment in enumerate(segments):
        is_last = at == len(segments) - 1
        if segment == "**":
            out += ".+" if is_last else "(?:.*/)?"
        else:
            out += _segment(segment) + ("" if is_last else "/")
    return out


def _segment(text: str) -> str:
    out, at = "", 0
    while at < len(text):
        sign = text[at]
        if sign == "*":
            out += "[^/]*"
        elif sign == "?":
            out += "[^/]"
        elif sign == "\\" and at + 1 < len(text):
            at += 1
            out += re.escape(text[at])
        elif sign == "[" and (end := text.find("]", at + 2)) > 0:
            out += _bracket(text[at + 1 : end])
            at = end
        else:
            out += re.escape(sign)
        at += 1
    return out


def _bracket(text: str) -> str:
    is_negative = text[0] in "!^"
    body = text[1:] if is_negative else text
    return ("[^/" if is_negative else "[") + body.replace("\\", "\\\\").replace("[", "\\[") + "]"


def is_hostile(path: str) -> bool:
    """Whether something would run or obey a file of this name though nobody asked for a program."""
    return compile_patterns(HOSTILE, is_case_blind=True)(path)


def steering_of(path: str) -> tuple[str, ...]:
    """The parts of this file that steer a runner; empty for an ordinary file."""
    return STEERING.get(path.rsplit("/", 1)[-1].lower(), ())


def is_git_own(path: str) -> bool:
    """Whether git would take some component for its own directory, on any file system."""
    return any(part.lower().rstrip(". ") in (".git", "git~1") for part in path.split("/"))


def place(scope: Scope, path: str) -> Place:
    """Where `path` stands: forbidden, then protected, then allowed, else outside."""
    if is_git_own(path) or compile_patterns(scope.forbidden, is_case_blind=True)(path):
        return Place.FORBIDDEN
    if compile_patterns(scope.protected, is_case_blind=True)(path):
        return Place.PROTECTED
    if is_hostile(path) and not is_named(scope, path):
        return Place.PROTECTED
    return Place.ALLOWED if compile_patterns(scope.allowed)(path) else Place.OUTSIDE


def is_named(scope: Scope, path: str) -> bool:
    """Whether the order names this path on purpose: by a pattern without a wildcard, or by an entry of `HOSTILE`."""
    named = tuple(p for p in scope.allowed if p in HOSTILE or not set(p) & set("*?[!"))
    return compile_patterns(named)(path)
