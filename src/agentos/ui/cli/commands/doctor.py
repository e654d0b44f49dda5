"""`doctor`: what this machine has and lacks, each with a fix.

Rule 1: each line is ok, warn or fail; a warn or fail says what to do. Only a fail makes the exit status 1.
Rule 2: looking changes nothing: no daemon is started, nothing is fetched.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import click  # noqa: F401  (the decorator needs it loaded)

from agentos.ui.cli import table
from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import command
from agentos.ui.cli.trouble import told
from agentos.views.escape import terminal

GIT_MIN = (2, 38)  # the first with `merge-tree --write-tree`, which merges without a checkout
DISK_WARN_BYTES, DISK_FAIL_BYTES = 2 << 30, 256 << 20  # a few working copies of a middling repository; the journal
_TONES = {"ok": "good", "warn": "doubtful", "fail": "bad"}


class Line(NamedTuple):
    """One thing looked at."""

    name: str
    state: str  # ok | warn | fail
    fact: str
    fix: str = ""


def _python(session: Session) -> Iterator[Line]:
    version = ".".join(map(str, sys.version_info[:3]))
    is_new = sys.version_info >= (3, 11)
    yield Line("python", "ok" if is_new else "fail", version, "" if is_new else "install Python 3.11 or newer")


def _git(session: Session) -> Iterator[Line]:
    path = shutil.which("git")
    if path is None:
        yield Line("git", "fail", "not installed", "install git: apt install git, or brew install git")
        return
    ran = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    match = re.search(r"(\d+)\.(\d+)", ran.stdout)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    shown = ran.stdout.strip().removeprefix("git version ") or "does not say its version"
    fix = f"install git {GIT_MIN[0]}.{GIT_MIN[1]} or newer" if version < GIT_MIN else ""
    yield Line("git", "fail" if fix else "ok", shown, fix)


def _sandbox(session: Session) -> Iterator[Line]:
    from agentos.boot.inspection import isolation

    level = isolation()
    if level.is_usable:
        yield Line("sandbox", "ok", level.name)
        for hole in level.holes:
            yield Line("sandbox", "ok", f"leaves open: {hole}")
        return
    for missing in level.missing or ("nothing here isolates",):
        fix = "install it: apt install bubblewrap; until then every verdict is unverified"
        yield Line("sandbox", "fail", missing, fix)


def _model(session: Session) -> Iterator[Line]:
    from agentos.boot import models

    choice = models.choose(session.env, models.probes_of(session.env, lambda _: False))
    name = " ".join(filter(None, (choice.backend, choice.model)))
    if choice.backend == "scripted":
        yield Line(
            "model", "warn", f"none: {choice.reason}", "set ANTHROPIC_API_KEY or OPENAI_API_KEY, or start Ollama"
        )
        return
    fix = "agentos models pull" if choice.pull_bytes else ""
    yield Line("model", "warn" if fix else "ok", f"{name}: {choice.reason}", fix)


def _disk(session: Session) -> Iterator[Line]:
    folder = next(path for path in (session.home, *session.home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    state = "fail" if free < DISK_FAIL_BYTES else "warn" if free < DISK_WARN_BYTES else "ok"
    fix = "" if state == "ok" else "free some space, or move the workspace with --home"
    yield Line("disk", state, f"{free / (1 << 30):.1f} GiB free at {folder}", fix)


def _journal(session: Session) -> Iterator[Line]:
    from agentos.boot import inspection

    client = session.running()
    if client is not None:
        status = client.status()
        yield Line("daemon", "ok", f"runs, pid {status.pid}")
        yield Line("journal", "ok", f"{status.events:,} events, held by the daemon; to check it: agentos sys down")
        return
    yield Line("daemon", "ok", "not running; the next order starts it")
    if not inspection.exists(session.home):
        yield Line("journal", "ok", f"none yet in {session.home}")
        return
    for row in inspection.check(session.home):
        yield Line(
            "journal",
            "ok" if row.is_whole else "fail",
            f"{row.name}: {row.fact}",
            "" if row.is_whole else "restore a backup",
        )


_LOOKS: tuple[tuple[str, Callable[[Session], Iterator[Line]]], ...] = (
    ("python", _python),
    ("git", _git),
    ("sandbox", _sandbox),
    ("model", _model),
    ("disk", _disk),
    ("journal", _journal),
)


@command("doctor")
def doctor(session: Session) -> int:
    """What this machine has and lacks, and the fix for what it lacks."""
    lines = [line for name, look in _LOOKS for line in _looked(session, name, look)]
    session.screen.record([line._asdict() for line in lines])
    for line in lines:
        mark = session.screen.style(_TONES[line.state], f"{line.state:<5}")
        session.screen.result(f"{mark} {line.name:<8} {terminal(line.fact, 300)}")
        if line.fix:
            session.screen.result(f"{'':<15}fix: {terminal(line.fix, 300)}")
    return table.FAILED if any(line.state == "fail" for line in lines) else table.OK


def _looked(session: Session, name: str, look: Callable[[Session], Iterator[Line]]) -> list[Line]:
    """The lines of one look; one that fails in a known way is a line too, and does not end the others."""
    try:
        return list(look(session))
    except Exception as error:
        known = told(error)
        if known is None:
            raise
        return [Line(name, "fail", known.what, known.next)]
