"""One run of a Python test suite in the sandbox: together with the artifact, or apart from it. Reads records, judges nothing.

Rule 1: a record counts if its seal verifies and its number is the next one; the key lives for one run.
Rule 2: the key goes through a pipe that is empty once read; stdin is a file inside the sandbox, and not for secrets.
Rule 3: apart means two sandboxes and two pipes between them, nothing else in common.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from agentos.drivers.check_python import Python
from agentos.ports.sandbox import Bind, Command, Exit, Limits, Sandbox

INSIDE = Path(__file__).parent / "check_inside"
RECORDS_BYTES_MAX = 16 << 20  # stdout of a run: 100,000 tests of 160 bytes
LOG_BYTES_MAX = 256 << 10  # of what the tests printed, kept as evidence
KEY_BYTES = 32


class Test(NamedTuple):
    """What is on record for one test."""

    outcome: str  # passed | failed | skipped | xfailed
    error: str = ""  # class of the exception
    failed: int = 0  # spoiled assertions that failed, as they must
    blind: int = 0  # spoiled assertions that passed
    crossings: int = 0  # apart: questions asked of the artifact
    is_loose: bool = False  # apart: something crossed that behaves differently there
    is_far: bool = False  # apart: an object of the artifact's came across
    is_from_afar: bool = False  # apart: the artifact raised the error
    is_opaque: bool = False


class Ran(NamedTuple):
    """What one run left behind."""

    tests: dict[str, Test]
    collected: tuple[str, ...]
    broken: dict[str, str]  # what could not be collected, and why
    canaries: tuple[str, str] | None  # the one that must fail, the one that must pass
    test_reads: frozenset[str]  # files that test code alone has read
    other_reads: frozenset[str]  # files that other code has read
    is_complete: bool  # the runner got to its end
    is_late: bool  # over its time
    limit: str  # the sandbox's limit that ended it, or ""
    log: bytes
    wall_ns: int
    level: str


class Suite(NamedTuple):
    """How to run one suite."""

    runner: str  # pytest | unittest
    words: tuple[str, ...]
    python: Python
    timeout_s: int


async def together(sandbox: Sandbox, suite: Suite, tree: Path, *, kept: frozenset[str], is_base: bool = False) -> Ran:
    """Tests and artifact in one interpreter, on a tree that is given up to them."""
    asked = {"runner": suite.runner, "arguments": suite.words, "kept": sorted(kept), "is_base": is_base}
    with _pipes(tree.parent / f"{tree.name}-io") as (place, _, key):
        found = await sandbox.run(_command(suite, "together.py", tree, place, asked))
        return _read(found, key)


async def apart(sandbox: Sandbox, suite: Suite, tests: Path, artifact: Path, *, sources: frozenset[str]) -> Ran:
    """Tests in one sandbox, the artifact in another."""
    asked = {
        "runner": suite.runner,
        "arguments": suite.words,
        "sources": sorted(sources),
        "wall_s": max(1, suite.timeout_s - 1),  # so that the tests' side can still say that the other is late
    }
    with _pipes(tests.parent / f"{tests.name}-io") as (place, other, key):
        async with asyncio.TaskGroup() as group:
            server = group.create_task(sandbox.run(_command(suite, "serve.py", artifact, other, {})))
            server.add_done_callback(lambda _: _knock(place))
            try:
                found = await sandbox.run(_command(suite, "apart.py", tests, place, asked))
            finally:
                server.cancel()
        return _read(found, key)


def _command(suite: Suite, program: str, tree: Path, pipes: Path, asked: dict[str, object]) -> Command:
    binds = (
        *suite.python.binds,
        Bind(INSIDE, "/agentos/check_inside"),
        Bind(pipes, "/agentos-io"),
        Bind(tree, "/copy", is_writable=True),
    )
    python = (suite.python.path, "-I", "-B")
    limits = Limits(
        wall_ns=suite.timeout_s * 1_000_000_000, cpu_s=suite.timeout_s * 2, output_bytes_max=RECORDS_BYTES_MAX
    )
    argv = (*python, f"/agentos/check_inside/{program}")
    return Command(argv, binds, "/copy", (), json.dumps(asked).encode(), limits)


@contextlib.contextmanager
def _pipes(place: Path) -> Iterator[tuple[Path, Path, bytes]]:
    """Named pipes for one run: a folder for the tests' side, one for the artifact's, and the key in the first."""
    other = place.with_name(f"{place.name}-artifact")
    for folder in (place, other):
        folder.mkdir(mode=0o755)
    os.mkfifo(place / "key", 0o644)
    for name in ("questions", "answers"):
        os.mkfifo(place / name, 0o666)
        os.link(place / name, other / name)
    key = os.urandom(KEY_BYTES)
    held = os.open(place / "key", os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(held, key)
        yield place, other, key
    finally:
        os.close(held)
        shutil.rmtree(place)
        shutil.rmtree(other)


def _knock(place: Path) -> None:
    """The artifact's side is gone, perhaps before it opened its ends: open and close them, so the tests' side goes on."""
    for name in ("questions", "answers"):
        with contextlib.suppress(OSError):
            os.close(os.open(place / name, os.O_RDWR | os.O_NONBLOCK))


def _read(found: Exit, key: bytes) -> Ran:
    tests: dict[str, Test] = {}
    collected: list[str] = []
    broken: dict[str, str] = {}
    reads: dict[bool, set[str]] = {True: set(), False: set()}
    canaries: tuple[str, str] | None = None
    is_complete = False
    for record in _records(found.stdout, key):
        match record:
            case {"test": str(name), "outcome": str(outcome)}:
                tests.setdefault(name, _test(outcome, record))  # the first record counts: a forger comes late
            case {"collected": [*names]}:
                collected = [str(name) for name in names]
            case {"broken": str(name), "why": str(why)}:
                broken[name] = why
            case {"canaries": [str(wrong), str(fine)]}:
                canaries = (wrong, fine)
            case {"read": str(path), "is_by_tests": bool(is_by_tests)}:
                reads[is_by_tests].add(path)
            case {"end": int()}:
                is_complete = True
    return Ran(
        tests=tests,
        collected=tuple(collected),
        broken=broken,
        canaries=canaries,
        test_reads=frozenset(reads[True] - reads[False]),
        other_reads=frozenset(reads[False]),
        is_complete=is_complete,
        is_late=found.reason == "timed_out",
        limit=found.limit,
        log=found.stderr[-LOG_BYTES_MAX:],
        wall_ns=found.wall_ns,
        level=found.level,
    )


def _test(outcome: str, record: dict[str, object]) -> Test:
    spoiled = record.get("spoiled")
    counts = spoiled if isinstance(spoiled, dict) else {}
    return Test(
        outcome,
        str(record.get("error", "")),
        failed=int(counts.get("failed", 0)),
        blind=int(counts.get("blind", 0)),
        crossings=int(str(record.get("crossings", 0))),
        is_loose=bool(record.get("is_loose")),
        is_far=bool(record.get("is_far")),
        is_from_afar=bool(record.get("is_from_afar")),
        is_opaque=bool(record.get("is_opaque")),
    )


def _records(stdout: bytes, key: bytes) -> Iterator[dict[str, object]]:
    last = 0
    for line in stdout.split(b"\n"):
        seal, _, body = line.partition(b" ")
        if not hmac.compare_digest(seal, hmac.new(key, body, hashlib.sha256).hexdigest().encode()):
            continue
        number, record = json.loads(body)
        if number == last + 1 and isinstance(record, dict):
            last = number
            yield record
