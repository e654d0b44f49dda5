"""The forge over the git CLI: working copies without a .git, commits sealed from them, guarded refs, apply and undo.

    repository (the user's)  <--alternates--  store (ours, bare)          checkout: plain files --> worker's copy
          ^                                     |  ^                      seal: files read by us, compared with the base,
          |  fetch_into: objects                |  |  seal                      in-scope changes become one commit
          +--move_ref: one ref, compare-and-swap+  +---- working copy

A working copy has no .git that the host would read: an agent may `git init` there, and nobody looks at it. What crosses
back is the content of plain files, read without following a link.

Rule 1: forbidden wins; a protected path keeps the base's version; what is out of scope is left out. All three are listed.
Rule 2: links, devices and repositories in the copy are listed in `links` and never followed, opened or committed.
Rule 3: droppings (what the base's .gitignore names, and `JUNK`) are left out without a word: running tests makes them.
Rule 4: the same copy, base, scope and stamp give the same commit id.
Rule 5: `discard` deletes only what `checkout` made.
"""

import asyncio
import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

import msgspec

from agentos.abi import paths
from agentos.abi.ids import Digest
from agentos.abi.work import Change, Scope
from agentos.drivers import forge_apply, forge_files, forge_syntax
from agentos.drivers.forge_apply import Receipt
from agentos.drivers.forge_files import Kind
from agentos.drivers.forge_steering import is_steering_changed
from agentos.drivers.forge_store import Edit, Entry, GitFailed, Store, git, git_dir_of, top_of
from agentos.ports.forge import Conflict, Moved, NotARepository, Stamp, TooLarge

FILE_BYTES_MAX = 32 << 20  # a changed file; the largest hand-written source file known to us is under 10 MB
FILES_MAX = 200_000  # entries looked at in a copy; the Linux tree has 90,000
LINK_HOPS_MAX = 8  # links to links inside a tree; more is a loop

JUNK = (
    "__pycache__/",
    "*.pyc",
    ".pytest_cache/",
    ".mypy_cache/",
    ".ruff_cache/",
    ".hypothesis/",
    ".tox/",
    ".nox/",
    ".venv/",
    "node_modules/",
    "*.egg-info/",
    ".DS_Store",
    ".agentos/",
)


class _Copy(msgspec.Struct, frozen=True):
    """Which repository and base a working copy was made of; kept where its worker cannot write."""

    repository: str
    base: str
    target: str


class _Survey(msgspec.Struct):
    """What a walk of the copy found beyond its base."""

    edits: dict[str, Edit]
    links: list[str]


class GitForge:
    """`agentos.ports.forge.Forge` over the git command line, 2.34 or newer. State lives under `state`."""

    name = "git"

    def __init__(self, state: Path, *, file_bytes_max: int = FILE_BYTES_MAX, files_max: int = FILES_MAX) -> None:
        self.state = state.absolute()
        self.file_bytes_max = file_bytes_max
        self.files_max = files_max

    async def resolve(self, repository: Path, ref: str) -> str:
        """The commit id of `ref`: of the repository, or sealed and not fetched yet."""
        return await asyncio.to_thread(self._resolve, repository, ref)

    async def tree(self, repository: Path, commit: str) -> Digest:
        """The tree of a commit, of the repository or sealed, as evidence names it."""
        return await asyncio.to_thread(lambda: _padded(self._store(repository).tree_of(commit)))

    async def checkout(self, repository: Path, commit: str, target: Path) -> None:
        """Fill `target`, which must be absent or empty, with the commit's files and links. No .git."""
        await asyncio.to_thread(self._checkout, repository, commit, target)

    async def checkout_worktree(self, repository: Path, target: Path) -> None:
        """Fill `target` with the user's checkout as it is: tracked files and new ones that git does not ignore."""
        await asyncio.to_thread(self._checkout_worktree, repository, target)

    async def discard(self, target: Path) -> None:
        """Remove a working copy that `checkout` made; nothing happens if it is gone."""
        await asyncio.to_thread(self._discard, target)

    async def seal(self, target: Path, *, base: str, scope: Scope, message: str, stamp: Stamp) -> Change:
        """One commit of base plus in-scope changes; the id of the base where there are none."""
        return await asyncio.to_thread(self._seal, target, base, scope, message, stamp)

    async def export(self, repository: Path, commit: str, target: Path) -> None:
        """Plain files only: a link within the tree becomes a copy of what it names, any other link is left out."""
        await asyncio.to_thread(self._export, repository, commit, target)

    async def fetch_into(self, repository: Path, target: Path, commit: str) -> None:
        """Copy a sealed commit's objects into the repository. `target` only has to be a copy of the same repository."""
        await asyncio.to_thread(self._fetch_into, repository, target, commit)

    async def move_ref(self, repository: Path, ref: str, *, old: str | None, new: str | None, why: str) -> None:
        """Compare and swap one ref; None stands for no ref. Refused for a branch that is checked out somewhere."""
        await asyncio.to_thread(self._move_ref, repository, ref, old, new, why)

    async def diff(self, repository: Path, base: str, commit: str) -> str:
        return await asyncio.to_thread(lambda: self._store(repository).diff(base, commit))

    async def apply_to_checkout(self, repository: Path, commit: str, base: str) -> Receipt:
        """Bring a sealed change into the user's files: whole or not at all. Index and HEAD stay as they are."""
        return await asyncio.to_thread(
            lambda: forge_apply.apply(self._store(repository), repository, commit=commit, base=base)
        )

    async def undo(self, repository: Path, receipt: str | None = None) -> Receipt:
        """Reverse an apply exactly (the latest one, if no id is given); refused where the files were edited since."""
        return await asyncio.to_thread(lambda: forge_apply.undo(self._store(repository), repository, receipt))

    # The same, synchronous.

    def _store(self, repository: Path) -> Store:
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Store(repository, self.state)

    def _resolve(self, repository: Path, ref: str) -> str:
        git_dir = git_dir_of(repository)
        name = ref if not ref.startswith("-") else "\0"
        try:
            return git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", git_dir=git_dir).decode().strip()
        except (GitFailed, ValueError):
            pass
        if set(ref) <= set("0123456789abcdef") and len(ref) >= 40:
            try:
                return self._store(repository).git("rev-parse", "--verify", f"{ref}^{{commit}}").decode().strip()
            except GitFailed:
                pass
        if ref == "HEAD":
            raise NotARepository(f"{repository} has no commit yet; run `git add -A && git commit` there")
        raise NotARepository(f"{repository} has no commit {ref!r}; name a branch, tag or commit of it")

    def _checkout(self, repository: Path, commit: str, target: Path) -> None:
        store = self._store(repository)
        base = self._resolve(repository, commit)
        entries = self._bounded(store.entries(base))
        _make_empty(target)
        self._remember(target, _Copy(str(repository.absolute()), base, str(target.absolute())))
        with forge_files.opened(target) as root:
            self._write_files(store, root, {path: entry for path, entry in entries.items() if entry.is_file})
            links = [path for path, entry in entries.items() if entry.mode == "120000"]
            for path, content in zip(links, store.blobs(entries[path].id for path in links), strict=True):
                forge_files.link_new(root, path, os.fsdecode(content))

    def _checkout_worktree(self, repository: Path, target: Path) -> None:
        top = top_of(repository)
        base = self._resolve(repository, "HEAD")
        listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=top).split(b"\0")
        names = sorted({os.fsdecode(name) for name in listed if name})
        _make_empty(target)
        self._remember(target, _Copy(str(repository.absolute()), base, str(target.absolute())))
        with forge_files.opened(top) as source, forge_files.opened(target) as root:
            for path in names:
                mode = forge_files.mode(source, path)
                if mode is None or paths.is_git_own(path):
                    continue
                if stat.S_ISLNK(mode):
                    forge_files.link_new(root, path, forge_files.read_link(source, path))
                elif stat.S_ISREG(mode):
                    content = forge_files.read(source, path, bytes_max=self.file_bytes_max)
                    forge_files.write_new(root, path, content, is_executable=bool(mode & stat.S_IXUSR))

    def _export(self, repository: Path, commit: str, target: Path) -> None:
        store = self._store(repository)
        entries = self._bounded(store.entries(self._resolve(repository, commit)))
        _make_empty(target)
        with forge_files.opened(target) as root:
            self._write_files(store, root, resolve_links(store, entries))

    def _write_files(self, store: Store, root: int, files: dict[str, Entry]) -> None:
        chosen = [(path, entry) for path, entry in files.items() if not paths.is_git_own(path)]
        for (path, entry), content in zip(chosen, store.blobs(entry.id for _, entry in chosen), strict=True):
            forge_files.write_new(root, path, content, is_executable=entry.is_executable)

    def _bounded(self, entries: dict[str, Entry]) -> dict[str, Entry]:
        if len(entries) > self.files_max:
            raise TooLarge(
                f"the commit has {len(entries)} files, over the bound of {self.files_max}; raise forge.files_max"
            )
        return entries

    def _discard(self, target: Path) -> None:
        record = self._record(target)
        if not record.exists():
            if target.exists():
                raise NotARepository(f"{target} is not a working copy of this forge; delete it by hand if you mean to")
            return
        if target.exists() and not target.is_symlink():
            shutil.rmtree(target, onerror=_force)
        record.unlink(missing_ok=True)

    def _seal(self, target: Path, base: str, scope: Scope, message: str, stamp: Stamp) -> Change:
        copy = self._copy(target)
        store = self._store(Path(copy.repository))
        entries = self._bounded(store.entries(base))
        with forge_files.opened(target) as root:
            found = self._compare(store, root, entries)
        sorted_out = self._classify(store, entries, found, scope)
        kept = sorted_out[paths.Place.ALLOWED]
        commit = store.commit(base, kept, message=message, stamp=stamp) if kept else base
        added, removed = store.line_counts(base, commit) if kept else (0, 0)
        return Change(
            base=base,
            commit=commit,
            tree=_padded(store.tree_of(commit)),
            paths=tuple(edit.path for edit in kept),
            out_of_scope=tuple(edit.path for edit in sorted_out[paths.Place.OUTSIDE]),
            protected=tuple(edit.path for edit in sorted_out[paths.Place.PROTECTED]),
            links=tuple(sorted(set(found.links))),
            syntax_errors=forge_syntax.errors(kept, lambda path: _content(store, entries, path)),
            lines_added=added,
            lines_removed=removed,
        )

    def _classify(
        self, store: Store, entries: dict[str, Entry], found: _Survey, scope: Scope
    ) -> dict[paths.Place, list[Edit]]:
        out: dict[paths.Place, list[Edit]] = {place: [] for place in paths.Place}
        for path in sorted(found.edits):
            edit = found.edits[path]
            place = paths.place(scope, path)
            if place is paths.Place.ALLOWED and paths.steering_of(path) and not paths.is_named(scope, path):
                old = _content(store, entries, path)
                place = paths.Place.PROTECTED if is_steering_changed(path, old, edit.content) else place
            out[paths.Place.OUTSIDE if place is paths.Place.FORBIDDEN else place].append(edit)
        return out

    def _compare(self, store: Store, root: int, entries: dict[str, Entry]) -> _Survey:
        """What the copy holds beyond the base: changed, new and removed files, and what is no file at all."""
        found = _Survey({}, [])
        ignored = _ignored(store, entries)
        above = {"/".join(path.split("/")[:n]) + "/" for path in entries for n in range(1, path.count("/") + 1)}
        seen: set[str] = set()

        def is_skipped(directory: str) -> bool:
            if directory.rstrip("/").rsplit("/", 1)[-1] == ".git":
                if directory != ".git/":  # the agent's own repository at the root is its own affair
                    found.links.append(directory.rstrip("/"))
                return True
            return directory not in above and ignored(directory + "x")

        for item in forge_files.walk(root, is_skipped=is_skipped, files_max=self.files_max):
            seen.add(item.path)
            entry = entries.get(item.path)
            if item.path == ".git" or (entry is None and ignored(item.path)):
                continue
            if not _is_text(item.path) or not self._is_plain(store, root, item, entry):
                found.links.append(_printable(item.path))
            elif item.kind is Kind.FILE:
                self._note(store, root, item, entry, found)
        self._note_removed(entries, seen, found)
        return found

    def _is_plain(self, store: Store, root: int, item: forge_files.Seen, entry: Entry | None) -> bool:
        if item.kind is Kind.FILE:
            return entry is None or entry.is_file
        if item.kind is Kind.LINK and entry is not None and entry.mode == "120000":
            with contextlib.suppress(OSError):
                return store.blob_id(os.fsencode(forge_files.read_link(root, item.path))) == entry.id
        return False

    def _note(self, store: Store, root: int, item: forge_files.Seen, entry: Entry | None, found: _Survey) -> None:
        try:
            bound = max(self.file_bytes_max, entry.size_bytes if entry else 0)
            content = forge_files.read(root, item.path, bytes_max=bound)
        except OSError:  # no file any more, or unreadable: the base's version stays, and it is told
            found.links.append(_printable(item.path))
            return
        if entry is None or entry.id != store.blob_id(content) or entry.is_executable != item.is_executable:
            found.edits[item.path] = Edit(item.path, content, item.is_executable)

    def _note_removed(self, entries: dict[str, Entry], seen: set[str], found: _Survey) -> None:
        covered = tuple(f"{link}/" for link in found.links)
        for path, entry in entries.items():
            if path not in seen and entry.mode != "160000" and not path.startswith(covered):
                found.edits[path] = Edit(path, None)

    def _fetch_into(self, repository: Path, target: Path, commit: str) -> None:
        copy = self._copy(target)
        if git_dir_of(Path(copy.repository)) != git_dir_of(repository):
            raise Conflict(f"{target} is a copy of {copy.repository}, not of {repository}; fetch into that one")
        self._store(repository).give(commit)

    def _move_ref(self, repository: Path, ref: str, old: str | None, new: str | None, why: str) -> None:
        git_dir = git_dir_of(repository)
        if not ref.startswith("refs/"):
            raise Conflict(f"{ref!r} is not a full ref name; say refs/heads/NAME")
        listed = git("worktree", "list", "--porcelain", git_dir=git_dir).split(b"\n")
        if b"branch " + os.fsencode(ref) in listed and not _is_bare(git_dir):
            raise Conflict(f"branch {ref} is checked out in a working tree; apply the change there instead")
        zero = "0" * (64 if _uses_sha256(git_dir) else 40)
        words = ["update-ref", "--no-deref", "--create-reflog", "-m", " ".join(why.split())]
        words += [ref, new, old or zero] if new else ["-d", ref, old or zero]
        try:
            git(*(word for word in words if new or word != "--create-reflog"), git_dir=git_dir)
        except GitFailed as failure:
            at = _read_ref(git_dir, ref)
            if at != old:
                raise Moved(f"ref {ref} is at {at or 'nothing'}, not at {old or 'nothing'}; look again") from failure
            raise

    def _record(self, target: Path) -> Path:
        digest = hashlib.sha256(os.fsencode(target.absolute())).hexdigest()[:24]
        return self.state / "copies" / f"{digest}.json"

    def _remember(self, target: Path, copy: _Copy) -> None:
        record = self._record(target)
        record.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=record.parent, delete=False) as beside:
            beside.write(msgspec.json.encode(copy))
        Path(beside.name).replace(record)

    def _copy(self, target: Path) -> _Copy:
        try:
            return msgspec.json.decode(self._record(target).read_bytes(), type=_Copy)
        except FileNotFoundError:
            raise NotARepository(f"{target} is not a working copy of this forge; make one with checkout") from None


def resolve_links(store: Store, entries: dict[str, Entry]) -> dict[str, Entry]:
    """The files of a tree, each link replaced by the files it names inside the tree; links out of it are gone."""
    files = {path: entry for path, entry in entries.items() if entry.is_file}
    links = [path for path, entry in entries.items() if entry.mode == "120000"]
    targets = dict(zip(links, (os.fsdecode(c) for c in store.blobs(entries[p].id for p in links)), strict=True))
    for link in links:
        named: str | None = link
        for _ in range(LINK_HOPS_MAX):
            named = _beside(named, targets[named]) if named in targets else named
            if named is None:
                break
        if named in files:
            files[link] = files[named]
        elif named and named not in targets and not link.startswith(f"{named}/"):
            below = {p: e for p, e in files.items() if p.startswith(f"{named}/")}
            files |= {f"{link}/{path.removeprefix(f'{named}/')}": entry for path, entry in below.items()}
    return files


def _beside(link: str, target: str) -> str | None:
    """The path a link at `link` names, or None if that is not inside the tree."""
    if target.startswith("/"):
        return None
    joined = os.path.normpath(os.path.join(os.path.dirname(link), target))
    return None if joined.startswith("..") or joined == "." else joined


def _ignored(store: Store, entries: dict[str, Entry]) -> paths.Match:
    """What the base's own .gitignore files, and `JUNK`, leave out. The worker's versions are not asked."""
    files = sorted((p for p in entries if p.rsplit("/", 1)[-1] == ".gitignore" and entries[p].is_file), key=len)
    patterns = list(JUNK)
    for path, content in zip(files, store.blobs(entries[p].id for p in files), strict=True):
        lines = content.decode(errors="replace").splitlines()
        patterns += [_rooted(line, path.rpartition("/")[0]) for line in lines if paths.is_rule(line)]
    return paths.compile_patterns(patterns)


def _rooted(pattern: str, directory: str) -> str:
    sign, pattern = ("!", pattern[1:]) if pattern.startswith("!") else ("", pattern)
    if not directory:
        return sign + pattern
    between = "/" if "/" in pattern.rstrip().rstrip("/") else "/**/"
    escaped = "".join(f"\\{c}" if c in "*?[\\" else c for c in directory)
    return f"{sign}/{escaped}{between}{pattern.removeprefix('/')}"


def _content(store: Store, entries: dict[str, Entry], path: str) -> bytes | None:
    entry = entries.get(path)
    return next(store.blobs([entry.id])) if entry and entry.is_file else None


def _padded(tree: str) -> Digest:
    return Digest(tree.rjust(64, "0"))


def _make_empty(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or any(target.iterdir()):
        raise Conflict(f"directory {target} is not empty; name a new one")


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _printable(path: str) -> str:
    return path.encode(errors="backslashreplace").decode()


def _is_bare(git_dir: Path) -> bool:
    return git("rev-parse", "--is-bare-repository", git_dir=git_dir).strip() == b"true"


def _uses_sha256(git_dir: Path) -> bool:
    return git("rev-parse", "--show-object-format", git_dir=git_dir).strip() == b"sha256"


def _read_ref(git_dir: Path, ref: str) -> str | None:
    try:
        return git("rev-parse", "--verify", "--quiet", ref, git_dir=git_dir).decode().strip()
    except GitFailed:
        return None


def _force(function: object, path: str, _: object) -> None:
    """A worker may take away the right to delete; we own the files, so we give it back."""
    above = os.path.dirname(path)
    os.chmod(above, stat.S_IRWXU)
    if os.path.isdir(path) and not os.path.islink(path):
        os.chmod(path, stat.S_IRWXU)
        shutil.rmtree(path)
    else:
        os.unlink(path)
