"""What the person's repository says when asked: where it is, what a name means, what is not committed.

Rule 1: it is only read, and nothing that it brings along is run: no hook, no monitor, no pager.
"""

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from agentos.ports.forge import NotARepository
from agentos.ui.cli import table
from agentos.ui.cli.trouble import Trouble

_GIT_S = 30  # git answers these in milliseconds; a repository on a dead network drive never does
_FILE_BYTES_MAX = 1 << 20  # settings and tests are far smaller; what is not is generated
_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.pager=cat")


class Place(NamedTuple):
    """A repository, and the commit that work starts from."""

    root: Path
    base: str  # commit id
    named: str  # what the person called it: "HEAD", "main"


def find(start: Path) -> Path:
    """The top of the repository that holds this folder."""
    ran = _git(start, "rev-parse", "--show-toplevel")
    if ran.returncode != 0:
        raise NotARepository(f"{start} is not in a git repository; go to one, or make one: git init && git commit")
    return Path(ran.stdout.rstrip("\n"))


def place(start: Path, base: str = "HEAD") -> Place:
    """The repository that holds this folder, and the commit that a name means there."""
    root = find(start)
    return Place(root, commit(root, base), base)


def commit(root: Path, name: str) -> str:
    """The commit that a branch, tag or id means."""
    ran = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if ran.returncode == 0:
        return ran.stdout.strip()
    if name == "HEAD":
        raise NotARepository(f"{root} has no commit yet; make one: git commit")
    raise Trouble(
        f"there is no commit '{name}' in {root}", next="name a branch, a tag or a commit", exit=table.NOT_FOUND
    )


def files(root: Path, commit: str) -> tuple[str, ...]:
    """The paths of a commit, relative to the top."""
    ran = _git(root, "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit)
    return tuple(name for name in ran.stdout.split("\0") if name)


def content(root: Path, commit: str, path: str) -> bytes | None:
    """A file of a commit as it is stored; None if there is none, or it is too large to be settings or a test."""
    size = _git(root, "cat-file", "-s", f"{commit}:{path}")
    if size.returncode != 0 or int(size.stdout) > _FILE_BYTES_MAX:
        return None
    return _git(root, "cat-file", "blob", f"{commit}:{path}").stdout.encode("utf-8", "surrogateescape")


def fork(root: Path, base: str, head: str) -> str:
    """Where two commits parted; the first of them when they have nothing in common."""
    ran = _git(root, "merge-base", base, head)
    return ran.stdout.strip() if ran.returncode == 0 else base


def uncommitted(root: Path) -> int:
    """How many files differ from the last commit."""
    ran = _git(root, "status", "--porcelain", "--untracked-files=all", "--ignore-submodules=all")
    return len(ran.stdout.splitlines()) if ran.returncode == 0 else 0


def diff(root: Path, base: str, head: str) -> str | None:
    """What lies between two commits, as text; None when the repository has one of them no more."""
    ran = _git(root, "diff", "--no-ext-diff", "--no-textconv", "--no-color", base, head, "--")
    return ran.stdout if ran.returncode == 0 else None


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    command = ["git", *_SAFE, "-C", str(folder), *words]
    try:
        return subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            env=env,
            timeout=_GIT_S,
            check=False,
        )
    except FileNotFoundError:
        raise Trouble("git is not installed", why="work is done on git repositories", next="agentos doctor") from None
    except subprocess.TimeoutExpired:
        raise Trouble(
            f"git did not answer within {_GIT_S} s in {folder}", next="try it again on a local disk"
        ) from None
