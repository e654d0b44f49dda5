"""What the person's repository says when asked: where it is, what a name means, what is not committed.

Rule 1: its checkout, index, refs and settings are only read, and nothing that it brings along is run: no hook, no
        monitor, no pager.
Rule 2: `grown` adds objects and nothing else. No ref leads to them until an order's branch does.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from agentos.ports.forge import NotARepository
from agentos.ui.cli import table
from agentos.ui.cli.trouble import Trouble

_GIT_S = 30  # git answers these in milliseconds; a repository on a dead network drive never does
_FILE_BYTES_MAX = 1 << 20  # settings and tests are far smaller; what is not is generated
_NO_MORE: Mapping[str, str] = {}
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


def grown(root: Path, base: str, more: Mapping[str, bytes], message: str) -> str:
    """A commit on top of the base with these files added. The same files on the same base are the same commit."""
    dated = _git(root, "show", "-s", "--format=%ct", base).stdout.strip()
    who = {"NAME": "agentos", "EMAIL": "agentos@localhost", "DATE": f"{dated} +0000"}
    env = {f"GIT_{role}_{name}": text for role in ("AUTHOR", "COMMITTER") for name, text in who.items()}
    with TemporaryDirectory(prefix="agentos-index-") as folder:
        env["GIT_INDEX_FILE"] = f"{folder}/index"
        _must(root, "read-tree", base, env=env)
        for path, body in sorted(more.items()):
            blob = _must(root, "hash-object", "-w", "--stdin", env=env, stdin=body)
            _must(root, "update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", env=env)
        tree = _must(root, "write-tree", env=env)
    return _must(root, "commit-tree", tree, "-p", base, "-m", message, env=env)


def _must(root: Path, *words: str, env: Mapping[str, str], stdin: bytes = b"") -> str:
    ran = _git(root, *words, env=env, stdin=stdin)
    if ran.returncode != 0:
        raise Trouble(f"git {words[0]} failed in {root}", why=ran.stderr.strip()[:300], next="agentos doctor")
    return ran.stdout.strip()


def uncommitted(root: Path) -> int:
    """How many files differ from the last commit."""
    ran = _git(root, "status", "--porcelain", "--untracked-files=all", "--ignore-submodules=all")
    return len(ran.stdout.splitlines()) if ran.returncode == 0 else 0


def diff(root: Path, base: str, head: str) -> str | None:
    """What lies between two commits, as text; None when the repository has one of them no more."""
    ran = _git(root, "diff", "--no-ext-diff", "--no-textconv", "--no-color", base, head, "--")
    return ran.stdout if ran.returncode == 0 else None


def _git(
    folder: Path, *words: str, env: Mapping[str, str] = _NO_MORE, stdin: bytes = b""
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", **env}
    command = ["git", *_SAFE, "-C", str(folder), *words]
    try:
        ran = subprocess.run(command, input=stdin, capture_output=True, env=env, timeout=_GIT_S, check=False)
    except FileNotFoundError:
        raise Trouble("git is not installed", why="work is done on git repositories", next="agentos doctor") from None
    except subprocess.TimeoutExpired:
        raise Trouble(
            f"git did not answer within {_GIT_S} s in {folder}", next="try it again on a local disk"
        ) from None
    out, err = (text.decode("utf-8", "surrogateescape") for text in (ran.stdout, ran.stderr))
    return subprocess.CompletedProcess(ran.args, ran.returncode, out, err)
