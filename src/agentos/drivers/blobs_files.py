"""Blobs as files, named by their digest: `objects/ab/abcd...`, one folder per first byte.

    put     a temporary file is written; this object serves it from there
    sync    every temporary file is synced, then all are renamed to their names, then each folder touched is synced

So whatever stands under a digest's name was on the disk before it got the name, and a name never leads to half a blob,
whenever the power is cut. Many puts share one `sync`; the machine calls it once per batch, before the journal's append.

Rule 1: one process writes, the owner of the journal; any may read what is synced.
Rule 2: no name reaches the file system unless it is 64 lower-case hex digits: digests come from programs too.
Rule 3: after a failed sync nothing more is written (a second sync would report success for pages the kernel dropped).

Small blobs are files as well: one more way to store them would be one more way to lose them, and what is really small
stands in the event itself.
"""

import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from tempfile import mkstemp

from agentos.abi.ids import Digest
from agentos.ports.blobs import Corrupt, Failed, Missing

SYNC_THREADS = 8  # syncs in flight at once; the file system commits neighbours together. 256 files: 19 ms, in a row 40
SYNC_THREADS_FROM = 16  # files; below, starting the threads costs what they save
HEX = frozenset("0123456789abcdef")


class FileBlobs:
    """The blob port over `folder`, which is created if it is missing; its parent is not."""

    def __init__(self, folder: Path) -> None:
        self._objects = folder / "objects"
        self._temporary = folder / "temporary"
        self._pending: dict[Digest, Path] = {}  # put, not yet synced
        self._dirty: set[Path] = set()  # folders with a rename or an unlink that is not yet durable
        self._settled: set[Path] = set()  # folders synced by this object, so that all their names are durable
        self._fault = ""
        try:
            for each in (folder, self._objects, self._temporary):
                each.mkdir(mode=0o700, exist_ok=True)
            _each(_sync, (folder.parent, folder))
        except OSError as error:
            raise Failed(f"blobs cannot be kept in {folder}: {error.strerror}; give this user write access") from error

    def put(self, content: bytes) -> Digest:
        self._ready()
        digest = Digest(sha256(content).hexdigest())
        if digest in self._pending:
            return digest
        home = self._home(digest)
        if home.exists():
            # It may have got its name just before an earlier process died, and the name not be durable yet.
            self._dirty.update({home.parent} - self._settled)
            return digest
        try:
            self._pending[digest] = _write(self._temporary, content)
        except OSError as error:
            raise Failed(f"blob {digest} was not stored: {error.strerror}; free the disk") from error
        return digest

    def sync(self) -> None:
        self._ready()
        if not self._pending and not self._dirty:
            return
        try:
            _each(_sync, self._pending.values())
            self._make_shards()
            for digest, path in self._pending.items():
                path.rename(self._home(digest))
                self._dirty.add(self._home(digest).parent)
            _each(_sync, self._dirty)
        except OSError as error:
            self._fault = (
                f"blobs in {self._objects} could not be synced: {error.strerror}; repair the disk, start again"
            )
            raise Failed(self._fault) from error
        self._settled |= self._dirty
        self._pending.clear()
        self._dirty.clear()

    def get(self, digest: Digest) -> bytes:
        if not is_digest(digest):
            raise Missing(f"{digest!r} is not the name of a blob")
        try:
            content = self._pending.get(digest, self._home(digest)).read_bytes()
        except FileNotFoundError as error:
            raise Missing(f"blob {digest} is not in {self._objects}") from error
        except OSError as error:
            raise Corrupt(f"blob {digest} cannot be read: {error.strerror}; restore it from a backup") from error
        if sha256(content).hexdigest() != digest:
            raise Corrupt(f"blob {digest} holds other bytes than it was given; restore it from a backup")
        return content

    def has(self, digest: Digest) -> bool:
        return is_digest(digest) and (digest in self._pending or self._home(digest).exists())

    def delete(self, digest: Digest) -> None:
        """Take the name away now; that is durable after `sync`."""
        self._ready()
        if not is_digest(digest):
            return
        home = self._home(digest)
        try:
            if digest in self._pending:
                self._pending.pop(digest).unlink(missing_ok=True)
            if home.exists():
                home.unlink()
                self._dirty.add(home.parent)
        except OSError as error:
            raise Failed(f"blob {digest} could not be deleted: {error.strerror}; see to its permissions") from error

    def sweep(self) -> int:
        """Remove what dead processes left unsynced and say how many; for the journal's owner, at start."""
        mine = set(self._pending.values())
        left = [path for path in self._temporary.iterdir() if path not in mine]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    def _home(self, digest: Digest) -> Path:
        return self._objects / digest[:2] / digest

    def _make_shards(self) -> None:
        made = {self._home(digest).parent for digest in self._pending} - self._settled
        for shard in made:
            shard.mkdir(mode=0o700, exist_ok=True)
        if made:
            _sync(self._objects)

    def _ready(self) -> None:
        if self._fault:
            raise Failed(self._fault)


def is_digest(name: str) -> bool:
    """Whether the text is a SHA-256 in lower-case hex."""
    return len(name) == 64 and HEX.issuperset(name)


def _write(folder: Path, content: bytes) -> Path:
    """A new file of that content, readable by its owner only; nothing is left if it cannot be written.

    The name is random: in a container every process has the same pid, so a pid would meet its dead namesake's files.
    """
    number, name = mkstemp(dir=folder)
    try:
        with open(number, "wb", buffering=0) as file:
            view = memoryview(content)
            while view:
                view = view[file.write(view) :]  # one write takes at most 2 GiB
    except BaseException:
        os.unlink(name)
        raise
    return Path(name)


def _each(verb: Callable[[Path], None], paths: Collection[Path]) -> None:
    """Do it to all, several at a time if there are many; an error is raised when all have been tried or were started."""
    if len(paths) < SYNC_THREADS_FROM:
        for path in paths:
            verb(path)
        return
    with ThreadPoolExecutor(SYNC_THREADS) as pool:
        for _ in pool.map(verb, paths):
            pass


def _sync(path: Path) -> None:
    """Sync a file, or a folder, which makes the names in it durable."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
