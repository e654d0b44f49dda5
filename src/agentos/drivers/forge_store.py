"""git, run so that nothing a repository brings along is ever run with it; and the private store all content work happens in.

The user's repository is asked two things only: where a ref is, and to move one. Trees are read, built and compared in a
bare store of our own that borrows the user's objects (alternates) and has our configuration, so a filter, a hook, an
fsmonitor or a diff driver configured there, or planted there by an agent, has no process it could run in.

Rule 1: every git process gets `ENVIRONMENT` and `OVERRIDES`, and nothing of ours: no HOME, no token, no GIT_*.
Rule 2: no git process looks at a working copy. Files are read by us (`forge_files`) and sent as content.
Rule 3: attributes are off: the store is bare, has no HEAD and no index, and its attributes file is empty.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from agentos.ports.forge import NotARepository, Stamp

GIT_TIMEOUT_S = 300  # the longest honest git process here reads a huge tree; past this something hangs

ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",  # a replace ref would show one content under another's id
    "GIT_NO_LAZY_FETCH": "1",  # a partial clone must not fetch on our behalf
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_PAGER": "cat",
    "GIT_COMMITTER_NAME": "agentos",  # for reflogs; commits carry the stamp they are given
    "GIT_COMMITTER_EMAIL": "agentos@localhost",
}
OVERRIDES = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.alternateRefsCommand=true",
    "core.pager=cat",
    "protocol.allow=never",
    "protocol.ext.allow=never",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "commit.gpgSign=false",
    "core.logAllRefUpdates=true",  # a moved ref leaves its reason, in a bare repository too
    "safe.directory=*",  # a repository of another user (a container's mount) runs nothing of its own here anyway
)


class GitFailed(Exception):
    """git said no; the message is its own."""


class Entry(NamedTuple):
    """One line of a tree."""

    mode: str  # 100644 100755 120000 160000
    id: str
    size_bytes: int  # 0 for a submodule

    @property
    def is_file(self) -> bool:
        return self.mode.startswith("100")

    @property
    def is_executable(self) -> bool:
        return self.mode == "100755"


class Edit(NamedTuple):
    """What becomes of one path: new content, or None to remove it."""

    path: str
    content: bytes | None
    is_executable: bool = False


def git(*words: str, git_dir: Path | None = None, cwd: Path | None = None, stdin: bytes = b"") -> bytes:
    """Run one git command, hardened; its stdout, or `GitFailed`."""
    if shutil.which("git") is None:
        raise NotARepository("git is not installed on this machine; install git 2.34 or newer")
    options = [option for override in OVERRIDES for option in ("-c", override)]
    environment = dict(ENVIRONMENT) | ({"GIT_DIR": str(git_dir)} if git_dir else {})
    argv = ["git", "--no-pager", *options, *words]
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, env=environment, cwd=cwd or "/", timeout=GIT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as late:
        raise GitFailed(f"git {words[0]} did not end within {GIT_TIMEOUT_S} s") from late
    if done.returncode:
        raise GitFailed(done.stderr.decode(errors="replace").strip() or f"git {words[0]} exited {done.returncode}")
    return done.stdout


def git_dir_of(repository: Path) -> Path:
    """The git directory that holds the repository's objects and refs; `NotARepository` with the way out if none."""
    if not repository.is_dir():
        raise NotARepository(f"{repository} is not a directory; give the path of a git repository")
    try:
        found = git("rev-parse", "--absolute-git-dir", cwd=repository)
    except GitFailed as failure:
        raise NotARepository(
            f"{repository} is not a git repository ({failure}); run `git init && git add -A && git commit` there"
        ) from failure
    return Path(os.fsdecode(found.rstrip(b"\n")))


def top_of(repository: Path) -> Path:
    """The root of the user's checkout; `NotARepository` for a bare repository, which has none."""
    try:
        return Path(os.fsdecode(git("rev-parse", "--show-toplevel", cwd=repository).rstrip(b"\n")))
    except GitFailed as failure:
        raise NotARepository(
            f"{repository} has no working tree (a bare repository); name a checkout of it"
        ) from failure


class Store:
    """A bare store of ours that reads through to one repository's objects and keeps what we add."""

    def __init__(self, repository: Path, state: Path) -> None:
        self.source = git_dir_of(repository)
        digest = hashlib.sha256(os.fsencode(self.source)).hexdigest()[:24]
        self.git_dir = state / "stores" / f"{digest}.git"
        self.object_format = git("rev-parse", "--show-object-format", cwd=repository).decode().strip()
        if not (self.git_dir / "objects" / "info" / "alternates").exists():
            self._create(repository)

    def _create(self, repository: Path) -> None:
        objects = os.fsdecode(git("rev-parse", "--git-path", "objects", cwd=repository).rstrip(b"\n"))
        borrowed = (repository / objects).resolve()
        if "\n" in str(borrowed):
            raise NotARepository(f"{repository} has a line break in its path, which git cannot borrow from; move it")
        fresh = self.git_dir.with_name(f"{self.git_dir.name}.{os.urandom(6).hex()}")
        fresh.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        git("init", "--quiet", "--bare", f"--object-format={self.object_format}", "--template=", str(fresh))
        (fresh / "objects" / "info").mkdir(exist_ok=True)
        (fresh / "objects" / "info" / "alternates").write_text(f"{borrowed}\n")
        try:
            fresh.rename(self.git_dir)
        except OSError:  # another process made the same store first; both are the same
            shutil.rmtree(fresh)

    def git(self, *words: str, stdin: bytes = b"") -> bytes:
        return git(*words, git_dir=self.git_dir, stdin=stdin)

    def tree_of(self, commit: str) -> str:
        return self.git("rev-parse", "--verify", f"{commit}^{{tree}}").decode().strip()

    def entries(self, commit: str) -> dict[str, Entry]:
        """Every path of a commit, files, links and submodules alike. O(files)."""
        found: dict[str, Entry] = {}
        for line in self.git("ls-tree", "-r", "-z", "--long", "--full-tree", commit).split(b"\0"):
            if not line:
                continue
            head, _, path = line.partition(b"\t")
            mode, _, oid, size = head.split()
            found[os.fsdecode(path)] = Entry(mode.decode(), oid.decode(), int(size) if size != b"-" else 0)
        return found

    def blobs(self, ids: Iterable[str]) -> Iterator[bytes]:
        """The content of each blob, in order. One process, streamed."""
        wanted = list(ids)
        for start in range(0, len(wanted), 500):  # bounds what is held at once; a process costs 2 ms
            chunk = wanted[start : start + 500]
            yield from _split_batch(self.git("cat-file", "--batch", stdin="\n".join(chunk).encode() + b"\n"), chunk)

    def blob_id(self, content: bytes) -> str:
        """The id git gives this content, computed here, with no filter in the way."""
        return hashlib.new(self.object_format, b"blob %d\0" % len(content) + content).hexdigest()

    def commit(self, base: str, edits: Iterable[Edit], *, message: str, stamp: Stamp) -> str:
        """A commit on top of `base`; the same arguments give the same id."""
        who = f"{_plain(stamp.name)} <{_plain(stamp.email)}> {stamp.at_s} +0000".encode()
        text = message.encode()
        mark = f"refs/agentos/{os.urandom(8).hex()}".encode()
        out = [b"feature done\n", b"commit %s\nmark :1\nauthor %s\ncommitter %s\n" % (mark, who, who)]
        out += [b"data %d\n%s\nfrom %s\n" % (len(text), text, base.encode())]
        for edit in sorted(edits, key=lambda one: (one.content is not None, one.path)):  # a file may become a directory
            if edit.content is None:
                out.append(b"D %s\n" % _quoted(edit.path))
            else:
                mode = b"100755" if edit.is_executable else b"100644"
                head = b"M %s inline %s\ndata %d\n" % (mode, _quoted(edit.path), len(edit.content))
                out.append(head + edit.content + b"\n")
        out += [b"get-mark :1\n", b"done\n"]
        commit = self.git("fast-import", "--quiet", "--date-format=raw", stdin=b"".join(out)).decode().strip()
        self.git("update-ref", "-d", mark.decode())  # the object stays: nothing collects in this store
        return commit

    def keep(self, content: bytes) -> str:
        """Store a blob durably; its id."""
        return (
            self.git("-c", "core.fsync=loose-object", "hash-object", "-w", "--no-filters", "--stdin", stdin=content)
            .decode()
            .strip()
        )

    def changed(self, base: str, commit: str) -> list[str]:
        """Paths that differ between two commits, sorted; a rename is two paths."""
        words = ("diff-tree", "-r", "-z", "--no-renames", "--name-only", "--no-ext-diff", base, commit)
        return sorted(os.fsdecode(path) for path in self.git(*words).split(b"\0") if path)

    def line_counts(self, base: str, commit: str) -> tuple[int, int]:
        """Lines added and removed; binary files count nothing."""
        words = ("diff-tree", "-r", "-z", "--no-renames", "--numstat", "--no-ext-diff", "--no-textconv", base, commit)
        added = removed = 0
        for row in self.git(*words).split(b"\0"):
            if row and not row.startswith(b"-"):
                plus, minus, _ = row.split(b"\t", 2)
                added, removed = added + int(plus), removed + int(minus)
        return added, removed

    def diff(self, base: str, commit: str) -> str:
        words = (
            "diff",
            "--no-color",
            "--no-ext-diff",
            "--no-textconv",
            "--find-renames",
            "--end-of-options",
            base,
            commit,
        )
        return self.git(*words, "--").decode(errors="replace")

    def give(self, commit: str) -> None:
        """Copy what `commit` needs, and the repository lacks, into the repository. Objects only, no ref."""
        try:
            git("cat-file", "-e", f"{commit}^{{commit}}", git_dir=self.source)
            return
        except GitFailed:
            pass
        listed = self.git("rev-list", "--objects", commit, "--not", *self._borrowed_tips(commit)).split(b"\n")
        ids = b"\n".join(line.split(b" ")[0] for line in listed if line) + b"\n"
        pack = self.git("pack-objects", "--stdout", "-q", stdin=ids)
        git("unpack-objects", "-q", git_dir=self.source, stdin=pack)

    def _borrowed_tips(self, commit: str) -> list[str]:
        return self.git("rev-list", "--parents", "--max-count=1", commit).decode().split()[1:]


def _split_batch(out: bytes, ids: list[str]) -> Iterator[bytes]:
    at = 0
    for oid in ids:
        line_end = out.index(b"\n", at)
        head = out[at:line_end].split()
        if len(head) != 3:
            raise GitFailed(f"object {oid} is missing; the repository is shallow, partial or damaged")
        size = int(head[2])
        yield out[line_end + 1 : line_end + 1 + size]
        at = line_end + 1 + size + 1


def _quoted(path: str) -> bytes:
    raw = os.fsencode(path)
    escaped = raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"' + escaped + b'"'


def _plain(text: str) -> str:
    return "".join(sign for sign in text if sign not in "<>\n\0")
