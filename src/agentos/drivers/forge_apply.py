"""Bring a sealed change into the user's checkout, whole or not at all, and take it back exactly.

    plan: three-way per path over (base, HEAD, commit)      nothing is written; conflicts and edits in the way are named
    note: the receipt, with every before-image, durably      from here on a crash can be undone
    write: each new file beside its place                    the slow part; still nothing is visible
    swap: look again, then rename and remove                 microseconds per file; a failure puts everything back

Rule 1: a path with changes of the user's is never written, at apply or at undo.
Rule 2: index, HEAD, config and stash stay as they are: the change shows as the user's own unstaged edit.
Rule 3: a receipt is on disk before the first byte of the checkout changes.
"""

import fcntl
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from agentos.drivers import forge_files
from agentos.drivers.forge_store import ENVIRONMENT, Entry, Store, git, top_of
from agentos.ports.forge import Conflict

APPLY_BYTES_MAX = 256 << 20  # any one file of the checkout that is compared; apply holds the touched files in memory
MERGE_TIMEOUT_S = 60  # one file


class Image(msgspec.Struct, frozen=True):
    """What lies at a path: a blob of the private store and the exec bit, or nothing."""

    blob: str = ""  # "" means: no file
    is_executable: bool = False


class Touched(msgspec.Struct, frozen=True):
    """One path of an apply."""

    path: str
    before: Image
    after: Image


class Aim(NamedTuple):
    """One path on its way: what must be there, and what shall be."""

    path: str
    old: Image
    new: Image


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What an apply did, enough to reverse it. `state`: applying, applied, undone."""

    id: str  # counter of this repository, "1", "2", ...
    repository: str  # root of the checkout
    base: str
    commit: str
    head: str  # where HEAD was
    state: str
    touched: tuple[Touched, ...]
    directories: tuple[str, ...] = ()  # made by the apply, outermost first

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(touched.path for touched in self.touched)


def apply(store: Store, repository: Path, *, commit: str, base: str) -> Receipt:
    """Write the change into the checkout; `Conflict` names the paths in the way, and then nothing was written."""
    top = top_of(repository)
    with _locked(store), forge_files.opened(top) as root:
        _refuse_unfinished(store)
        head = git("rev-parse", "--verify", "HEAD^{commit}", cwd=top).decode().strip()
        touched = _plan(store, root, top, (base, head, commit))
        receipt = Receipt(
            id=str(len(_receipts(store)) + 1),
            repository=str(top),
            base=base,
            commit=commit,
            head=head,
            state="applying",
            touched=tuple(touched),
        )
        return _swap(store, root, receipt, to_after=True) if touched else _save(store, _with(receipt, "applied"))


def undo(store: Store, repository: Path, id: str | None) -> Receipt:
    """Put every touched path back; a half-finished apply is put back the same way. `Conflict` where the user edited since."""
    top = top_of(repository)
    with _locked(store), forge_files.opened(top) as root:
        found = [r for r in _receipts(store) if r.state != "undone" and r.repository == str(top) and id in (None, r.id)]
        if not found:
            raise Conflict(f"there is nothing to undo in {top}" + (f" under receipt {id}" if id else ""))
        return _swap(store, root, found[-1], to_after=False)


def _plan(store: Store, root: int, top: Path, commits: tuple[str, str, str]) -> list[Touched]:
    base, head, commit = (store.entries(c) for c in commits)
    staged = _index(top)
    touched, dirty, clashing = [], [], []
    for path in store.changed(commits[0], commits[2]):
        if base.get(path) and not base[path].is_file or commit.get(path) and not commit[path].is_file:
            clashing.append(path)  # a link or submodule: `seal` makes none, so this commit is not one of ours
            continue
        goal = _merge(store, base.get(path), head.get(path), commit.get(path))
        if goal is None:
            clashing.append(path)
            continue
        here, is_crlf = _look(store, root, path, head.get(path))
        if here == goal:
            continue
        if here != _image(head.get(path)) and not is_crlf or staged.get(path) != _staged_form(head.get(path)):
            dirty.append(path)
            continue
        touched.append(Touched(path, here, _as_crlf(store, goal) if is_crlf else goal))
    if dirty:
        raise Conflict(f"{_names(dirty)} changed in the checkout and not committed; commit or stash, then apply again")
    if clashing:
        raise Conflict(
            f"{_names(clashing)} changed on both sides; bring the order up to the present HEAD and run it again"
        )
    return touched


def _merge(store: Store, base: Entry | None, head: Entry | None, commit: Entry | None) -> Image | None:
    """What the path becomes; None where both sides changed it and the changes do not fit."""
    if head == base or head == commit:
        return _image(commit)
    if base is None or head is None or commit is None or not head.is_file:
        return None
    sides = list(store.blobs([head.id, base.id, commit.id]))
    merged = _merge_file(*sides)
    is_executable = commit.is_executable if head.is_executable == base.is_executable else head.is_executable
    return None if merged is None else Image(store.keep(merged), is_executable)


def _merge_file(ours: bytes, base: bytes, theirs: bytes) -> bytes | None:
    with tempfile.TemporaryDirectory() as place:
        names = [os.path.join(place, name) for name in ("ours", "base", "theirs")]
        for name, content in zip(names, (ours, base, theirs), strict=True):
            Path(name).write_bytes(content)
        done = subprocess.run(
            ["git", "merge-file", "-p", "-q", *names],
            capture_output=True,
            cwd=place,
            env={**ENVIRONMENT, "GIT_CEILING_DIRECTORIES": place},
            timeout=MERGE_TIMEOUT_S,
            check=False,
        )
    return done.stdout if done.returncode == 0 else None


def _look(store: Store, root: int, path: str, head: Entry | None) -> tuple[Image, bool]:
    """What the checkout has there, and whether it is HEAD's content with other line ends (a Windows habit of git)."""
    mode = forge_files.mode(root, path)
    if mode is None:
        return Image(), False
    if not stat.S_ISREG(mode):
        return Image("not a file"), False
    content = forge_files.read(root, path, bytes_max=APPLY_BYTES_MAX)
    is_executable = bool(mode & 0o100)
    oid = store.blob_id(content)
    is_crlf = head is not None and oid != head.id and store.blob_id(content.replace(b"\r\n", b"\n")) == head.id
    if is_crlf:
        store.keep(content)  # a before-image that no commit has
    return Image(oid, is_executable), is_crlf


def _as_crlf(store: Store, image: Image) -> Image:
    if not image.blob:
        return image
    return Image(store.keep(next(store.blobs([image.blob])).replace(b"\n", b"\r\n")), image.is_executable)


def _swap(store: Store, root: int, receipt: Receipt, *, to_after: bool) -> Receipt:
    """Move every path to one side. Writes beside first; on any failure everything goes back to where it was."""
    aims = [Aim(t.path, t.before, t.after) if to_after else Aim(t.path, t.after, t.before) for t in receipt.touched]
    is_partial = receipt.state == "applying" and not to_after  # cut off: some paths may never have been written
    _refuse_edited(store, root, aims, is_partial)
    made = list(receipt.directories)
    done: list[Aim] = []
    receipt = _save(store, receipt)
    try:
        for aim in aims:
            if aim.new.blob:
                _write(store, root, aim.path, aim.new, receipt, made)
        receipt = _save(store, _with(receipt, receipt.state, tuple(made)))
        _refuse_edited(store, root, aims, is_partial)
        for aim in sorted(aims, key=lambda one: bool(one.new.blob)):  # removals first: a file may become a directory
            done.append(aim)
            _put(root, aim.path, aim.new, receipt)
    except BaseException:
        _put_back(store, root, aims, done, receipt)
        if to_after:
            _remove_directories(root, made)
            _save(store, _with(receipt, "undone"))
        raise
    if not to_after:
        for aim in aims:  # what an apply that was cut off had written beside
            forge_files.remove(root, _beside(aim.path, receipt))
        _remove_directories(root, made)
    return _save(store, _with(receipt, "applied" if to_after else "undone", tuple(made)))


def _write(store: Store, root: int, path: str, image: Image, receipt: Receipt, made: list[str]) -> None:
    there = forge_files.mode(root, path)
    permissions = stat.S_IMODE(there) & 0o666 if there is not None else 0o666
    permissions |= (permissions & 0o444) >> 2 if image.is_executable else 0
    content = next(store.blobs([image.blob]))
    forge_files.write_beside(root, path, _beside(path, receipt), content, permissions=permissions, made=made)


def _put(root: int, path: str, image: Image, receipt: Receipt) -> None:
    if image.blob:
        forge_files.put_in_place(root, _beside(path, receipt), path)
    else:
        forge_files.remove(root, path)


def _beside(path: str, receipt: Receipt) -> str:
    return f"{path}.agentos-apply-{receipt.id}"


def _put_back(store: Store, root: int, aims: list[Aim], done: list[Aim], receipt: Receipt) -> None:
    for aim in aims:
        forge_files.remove(root, _beside(aim.path, receipt))
    for aim in done:
        if aim.old.blob:
            _write(store, root, aim.path, aim.old, receipt, [])
        _put(root, aim.path, aim.old, receipt)


def _refuse_edited(store: Store, root: int, aims: list[Aim], is_partial: bool) -> None:
    def is_expected(aim: Aim) -> bool:
        here = _look(store, root, aim.path, None)[0]
        return here == aim.old or (is_partial and here == aim.new)

    edited = [aim.path for aim in aims if not is_expected(aim)]
    if edited:
        raise Conflict(f"{_names(edited)} changed in the checkout since; save your edits elsewhere, or undo by hand")


def _remove_directories(root: int, made: list[str]) -> None:
    for directory in reversed(made):
        forge_files.remove_directory(root, directory)


def _index(top: Path) -> dict[str, str]:
    """What is staged: `mode id` for each path."""
    found: dict[str, str] = {}
    for line in git("ls-files", "--stage", "-z", "--full-name", cwd=top).split(b"\0"):
        head, _, path = line.partition(b"\t")
        if path:
            found[os.fsdecode(path)] = " ".join(head.decode().split()[:2])
    return found


def _staged_form(entry: Entry | None) -> str | None:
    return f"{entry.mode} {entry.id}" if entry else None


def _image(entry: Entry | None) -> Image:
    return Image(entry.id, entry.is_executable) if entry else Image()


def _names(found: list[str]) -> str:
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return ", ".join(found[:5]) + more


def _with(receipt: Receipt, state: str, directories: tuple[str, ...] | None = None) -> Receipt:
    kept = receipt.directories if directories is None else directories
    return msgspec.structs.replace(receipt, state=state, directories=kept)


def _receipts(store: Store) -> list[Receipt]:
    files = sorted((store.git_dir / "receipts").glob("*.json"), key=lambda f: int(f.stem))
    return [msgspec.json.decode(file.read_bytes(), type=Receipt) for file in files]


def _save(store: Store, receipt: Receipt) -> Receipt:
    place = store.git_dir / "receipts"
    place.mkdir(exist_ok=True)
    beside = place / f"{receipt.id}.new"
    with beside.open("wb") as file:
        file.write(msgspec.json.encode(receipt))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(place / f"{receipt.id}.json")
    return receipt


def _refuse_unfinished(store: Store) -> None:
    for receipt in _receipts(store):
        if receipt.state == "applying":
            raise Conflict(f"apply {receipt.id} in {receipt.repository} was cut off; undo it first, then apply again")


@contextmanager
def _locked(store: Store) -> Iterator[None]:
    with (store.git_dir / "apply.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("another apply is running on this repository; wait for it, then try again") from None
        yield
