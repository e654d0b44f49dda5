"""Which test runner a command ends up in, and how to read what it says.

    pytest, unittest      run by our own runner inside the sandbox: authenticated records, probes
    node, go, cargo       run as they are; test ids are read from their machine-readable output
    plain                 anything else: an exit status

Rule 1: a command is followed through `make TARGET`, `npm test`, `uv run` and the like only where it is one plain command;
        what needs a shell to be understood stays plain.
Rule 2: options that would hide a test (`-x`, `--lf`, parallel workers) are taken out, never put in.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import NamedTuple

Read = Callable[[str], bytes | None]  # content of a path of the repository, or None

FOLLOW_MAX = 5  # make calls npm calls uv calls pytest is four


class Plan(NamedTuple):
    """What to run. For pytest and unittest `words` are the runner's arguments; else the command."""

    runner: str  # pytest | unittest | node | go | cargo | plain
    words: tuple[str, ...]
    defined_in: tuple[str, ...] = ()  # files that say what the command is: Makefile, package.json, a script


_LAUNCHERS = {("uv", "run"), ("poetry", "run"), ("pipenv", "run"), ("pdm", "run"), ("rye", "run"), ("hatch", "run")}
_SHELL_SIGNS = set("|&;<>()$`\n*?~")
# Python's own options that stand before -m; those of the second set take a value.
_PYTHON_FLAGS, _PYTHON_VALUES = (
    frozenset(("-B", "-I", "-E", "-s", "-S", "-u", "-b", "-q", "-v", "-O", "-P")),
    {"-W", "-X"},
)
_PYTEST_DROPPED = {
    "-x",
    "--exitfirst",
    "--lf",
    "--last-failed",
    "--ff",
    "--sw",
    "--stepwise",
    "--pdb",
    "--collect-only",
}
_PYTEST_DROPPED_VALUES = {"-n", "--numprocesses", "--maxfail", "--dist", "--junitxml", "--junit-xml"}


def plan(argv: tuple[str, ...], read: Read, *, _depth: int = 0) -> Plan:
    """The plan for a command; `plain` where it is not understood."""
    words = list(argv)
    while len(words) > 2 and tuple(words[:2]) in _LAUNCHERS:
        words = words[2:]
    name = PurePath(words[0]).name if words else ""
    if name in ("pytest", "py.test"):
        return Plan("pytest", _pytest_words(words[1:]))
    if re.fullmatch(r"python(\d(\.\d+)?)?", name):
        return _python_plan(argv, words)
    if name == "node" and "--test" in words:
        return Plan("node", tuple(words))
    if name in ("go", "cargo") and words[1:2] == ["test"]:
        return Plan(name, tuple(words))
    inner, source = _followed(name, words, read)
    if inner and _depth < FOLLOW_MAX:
        found = plan(tuple(inner), read, _depth=_depth + 1)
        if found.runner != "plain":
            return found._replace(defined_in=(*found.defined_in, *source))
    return Plan("plain", argv, source or ((words[0].removeprefix("./"),) if words else ()))


def _python_plan(argv: tuple[str, ...], words: list[str]) -> Plan:
    at = 1
    while at < len(words) and (words[at] in _PYTHON_FLAGS or words[at][:2] in _PYTHON_VALUES):
        at += 2 if words[at] in _PYTHON_VALUES else 1
    if words[at : at + 2] == ["-m", "pytest"]:
        return Plan("pytest", _pytest_words(words[at + 2 :]))
    if words[at : at + 2] == ["-m", "unittest"]:
        return Plan("unittest", tuple(w for w in words[at + 2 :] if w not in ("-f", "--failfast")))
    return Plan("plain", argv, tuple(words[at : at + 1]))


def _pytest_words(words: list[str]) -> tuple[str, ...]:
    kept, at = [], 0
    while at < len(words):
        word = words[at]
        if word in _PYTEST_DROPPED_VALUES:
            at += 2
            continue
        if word not in _PYTEST_DROPPED and word.split("=")[0] not in _PYTEST_DROPPED_VALUES:
            kept.append(word)
        at += 1
    return tuple(kept)


def _followed(name: str, words: list[str], read: Read) -> tuple[list[str], tuple[str, ...]]:
    """The one plain command behind a wrapper, and the file that says so."""
    if name == "make" and len(words) == 2:
        for path in ("GNUmakefile", "makefile", "Makefile"):
            content = read(path)
            if content is not None:
                return _split(_recipe(content.decode(errors="replace"), words[1])), (path,)
    if name in ("npm", "pnpm", "yarn") and words[1:] in (["test"], ["t"], ["run", "test"]):
        try:
            scripts = json.loads(read("package.json") or b"{}").get("scripts", {})
            return _split(str(scripts.get("test", ""))), ("package.json",)
        except (ValueError, AttributeError):
            return [], ("package.json",)
    if name in ("sh", "bash") and words[1:2] == ["-c"] and len(words) == 3:
        return _split(words[2]), ()
    return [], ()


def _recipe(makefile: str, target: str) -> str:
    """The recipe of a target if it is a single line; variables with plain values are put in."""
    values = dict(re.findall(r"^(\w+)\s*[:?]?=\s*(.*?)\s*$", makefile, re.MULTILINE))
    found = re.search(rf"^{re.escape(target)}\s*:[^=\n]*\n((?:\t.*\n?)+)", makefile, re.MULTILINE)
    lines = [line.strip().lstrip("@-") for line in found[1].splitlines() if line.strip()] if found else []
    if len(lines) != 1:
        return ""
    return re.sub(r"\$[({](\w+)[)}]", lambda m: values.get(m[1], m[0]), lines[0])


def _split(text: str) -> list[str]:
    if not text or set(text) & _SHELL_SIGNS:
        return []
    try:
        words = shlex.split(text)
    except ValueError:
        return []
    while words and re.fullmatch(r"[A-Za-z_]\w*=.*", words[0]):
        words = words[1:]  # a variable for the command; our sandbox has an environment of its own
    return words


# Runners that report for themselves.


class Outcomes(NamedTuple):
    passed: tuple[str, ...]
    failed: tuple[str, ...]


def command_of(plan: Plan) -> tuple[str, ...]:
    """The command that makes the runner say in lines what each test did."""
    if plan.runner == "node":
        return (*plan.words[:1], "--test-reporter=tap", *plan.words[1:])
    if plan.runner == "go":
        return ("go", "test", "-json", *(word for word in plan.words[2:] if word not in ("-v", "-json")))
    return plan.words


def outcomes(runner: str, stdout: bytes) -> Outcomes:
    """Test ids read from the output. What the artifact prints there can look like this too: weaker than a record."""
    read = {"node": _tap, "go": _go, "cargo": _cargo}[runner]
    last: dict[str, bool] = {}
    for name, is_passed in read(stdout.decode(errors="replace").splitlines()):
        last[name] = is_passed and last.get(name, True)  # a name that failed once has failed
    return Outcomes(tuple(sorted(n for n in last if last[n])), tuple(sorted(n for n in last if not last[n])))


def _tap(lines: list[str]) -> Iterable[tuple[str, bool]]:
    above: list[str] = []
    for line in lines:
        depth = (len(line) - len(line.lstrip(" "))) // 4
        if found := re.match(r"\s*# Subtest: (.*)", line):
            above[depth:] = [found[1]]
        elif (found := re.match(r"\s*(not )?ok \d+ - (.*?)(\s# (SKIP|TODO).*)?$", line)) and not found[3]:
            yield " > ".join([*above[:depth], found[2]]), not found[1]


def _go(lines: list[str]) -> Iterable[tuple[str, bool]]:
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("Test") and event.get("Action") in ("pass", "fail"):
            yield f"{event.get('Package')}/{event['Test']}", event["Action"] == "pass"


def _cargo(lines: list[str]) -> Iterable[tuple[str, bool]]:
    for line in lines:
        if found := re.match(r"test (\S+)(?: - should panic)? \.\.\. (ok|FAILED)$", line):
            yield found[1], found[2] == "ok"
