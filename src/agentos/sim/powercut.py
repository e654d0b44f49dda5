"""A disk whose power can be cut at any moment, and which can fail at any call: SQLite files under a recording VFS.

    tape = Tape(seed)                                 registers a VFS named `tape.vfs`
    journal = SqliteJournal(path, vfs=tape.vfs)       works on real files; each write and sync is also on the tape
    journal.append(...); tape.mark(7)                 what the caller was told, in place between the writes
    for image in tape.images(700): image.write(to)    what might be on the disk; open it with SQLite's own VFS

The model of the disk. A write is safe once its file was synced; until then a power cut may keep it, lose it or tear it
at any multiple of 512 bytes, each unsynced write by itself, in any combination. A file that grew by a write that was
lost has zeros there. Names come and go in order (file systems journal them); a name is safe once a log file made after
it was synced (SQLite syncs the folder then) or, for a deletion, when SQLite asks for it.

Not modelled: bytes damaged outside of a write (the powersafe-overwrite assumption of SQLite, true of every disk that
keeps a sector whole), and a disk that lies, but for `lose_syncs`, which is the control that shows that a lie is seen.

Rule 1: the files below always hold everything, so the journal under test runs on undisturbed; the tape alone forgets.
Rule 2: what is cut and torn follows from the seed and the sequence of calls alone.
Rule 3: a fault is an error returned to SQLite in place of the call, which is then not made.

The journal must be in exclusive locking mode: SQLite's shared memory would pass the shim by.
After SQLite's test6.c (crash tests), and FoundationDB's simulated disk.
"""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import NamedTuple

import apsw

SECTOR_BYTES = 512  # the least any disk writes whole
RECORDED = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
LOGS = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL  # SQLite syncs the folder with the first sync of these

_names = count(1)


class Write(NamedTuple):
    file: int
    offset: int
    content: bytes


class Truncate(NamedTuple):
    file: int
    size: int


class Sync(NamedTuple):
    file: int
    is_folder_too: bool


class Create(NamedTuple):
    file: int
    name: str
    content: bytes  # what it held when the tape began to run; safe


class Delete(NamedTuple):
    name: str
    is_synced: bool


class Mark(NamedTuple):
    value: int


Step = Write | Truncate | Sync | Create | Delete | Mark


class Image(NamedTuple):
    """What a power cut left."""

    cut: int  # steps of the tape that had been made
    mark: int  # the highest mark before the cut: what callers had been told; 0 before the first
    files: dict[str, bytes]  # by file name

    def write(self, folder: Path) -> None:
        """Put the files into the folder, in place of any of these names that are there."""
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


class Tape:
    """A recording VFS over SQLite's own, and what is on the record.

    `lose_syncs` (0 to 100, percent) makes the disk report syncs that it did not do: the negative control.
    """

    def __init__(self, seed: int, *, lose_syncs: int = 0) -> None:
        self.vfs = f"powercut-{next(_names)}"
        self.steps: list[Step] = []
        self.calls = 0  # writes, truncations, syncs and deletions asked for, which is what `fail` counts
        self._random = Random(seed)
        self._lose_syncs = lose_syncs
        self._files: dict[str, int] = {}
        self._numbers = count(1)
        self._fault: Callable[[str], Exception] | None = None
        self._fault_at = 0
        self._is_fault_lasting = False
        self._shim = _Shim(self)

    def mark(self, value: int) -> None:
        """Note what a caller has been promised by now. Values must grow."""
        self.steps.append(Mark(value))

    def fail(self, at: int, error: Callable[[str], Exception], *, is_lasting: bool = True) -> None:
        """Answer the `at`-th call from now with the error, and all after it unless it is passing.

        `apsw.IOError` and `apsw.FullError` are what disks do.
        """
        self._fault, self._fault_at, self._is_fault_lasting = error, self.calls + at, is_lasting

    def images(self, wanted: int) -> Iterator[Image]:
        """Cut at random moments, in order of time, with a fresh choice of what was lost each time."""
        disk = _Disk()
        cuts = sorted(self._random.randint(0, len(self.steps)) for _ in range(wanted))
        done = mark = 0
        for cut in cuts:
            for step in self.steps[done:cut]:
                mark = step.value if isinstance(step, Mark) else mark
                disk.play(step)
            done = cut
            yield Image(cut, mark, disk.after_cut(self._random))

    def image(self) -> Image:
        """Cut now."""
        disk, mark = _Disk(), 0
        for step in self.steps:
            mark = step.value if isinstance(step, Mark) else mark
            disk.play(step)
        return Image(len(self.steps), mark, disk.after_cut(self._random))

    def close(self) -> None:
        """Unregister the VFS. Close what was opened through it first."""
        self._shim.unregister()

    # Called by the shim

    def ask(self) -> None:
        """Count a call that changes the disk, and raise if it is the one that fails."""
        self.calls += 1
        if self._fault is None:
            return
        if self.calls == self._fault_at or (self._is_fault_lasting and self.calls > self._fault_at):
            raise self._fault("the tape was told to fail this call")

    def opened(self, path: str) -> int:
        """The file's number. A new file is a new number, also under an old name."""
        name = Path(path).name
        if name not in self._files:
            self._files[name] = next(self._numbers)
            content = Path(path).read_bytes() if Path(path).exists() else b""
            self.steps.append(Create(self._files[name], name, content))
        return self._files[name]

    def deleted(self, path: str, *, is_synced: bool) -> None:
        name = Path(path).name
        if self._files.pop(name, None) is not None:
            self.steps.append(Delete(name, is_synced))

    def synced(self, file: int, *, is_folder_too: bool) -> None:
        if self._random.randrange(100) >= self._lose_syncs:
            self.steps.append(Sync(file, is_folder_too))


class _File:
    """One file's content: what is safe, and the unsynced steps on top of it."""

    def __init__(self, content: bytes) -> None:
        self.safe = bytearray(content)
        self.unsafe: list[Write | Truncate] = []

    def settle(self) -> None:
        for step in self.unsafe:
            _apply(self.safe, step)
        self.unsafe.clear()


class _Disk:
    """The tape played up to a moment."""

    def __init__(self) -> None:
        self._files: dict[int, _File] = {}
        self._names: dict[str, int] = {}
        self._unsafe_names: list[Create | Delete] = []

    def play(self, step: Step) -> None:
        match step:
            case Write() | Truncate():
                self._files[step.file].unsafe.append(step)
            case Sync():
                self._files[step.file].settle()
                if step.is_folder_too:
                    self._settle_names()
            case Create():
                self._files[step.file] = _File(step.content)
                self._unsafe_names.append(step)
                if step.content:
                    self._settle_names()  # it was there before the tape began
            case Delete():
                self._unsafe_names.append(step)
                if step.is_synced:
                    self._settle_names()
            case Mark():
                pass

    def after_cut(self, random: Random) -> dict[str, bytes]:
        """The files as they might be found: each unsynced step kept, lost or torn."""
        names = dict(self._names)
        for change in self._unsafe_names[: random.randint(0, len(self._unsafe_names))]:
            _rename(names, change)
        return {name: _survive(self._files[file], random) for name, file in names.items()}

    def _settle_names(self) -> None:
        for change in self._unsafe_names:
            _rename(self._names, change)
        self._unsafe_names.clear()


def _rename(names: dict[str, int], change: Create | Delete) -> None:
    if isinstance(change, Create):
        names[change.name] = change.file
    else:
        names.pop(change.name, None)


def _survive(file: _File, random: Random) -> bytes:
    """The safe content, and a choice of what came after: a prefix, a scattering, or a scattering with torn writes."""
    content = bytearray(file.safe)
    way = random.choice(("none", "all", "prefix", "scattered", "torn"))
    chance = random.random()
    kept = {"none": 0, "prefix": random.randint(0, len(file.unsafe))}.get(way, len(file.unsafe))
    for step in file.unsafe[:kept]:
        if way == "torn" and isinstance(step, Write):
            for piece in _sectors(step):
                if random.random() < chance:
                    _apply(content, piece)
        elif way in ("all", "prefix") or random.random() < chance:
            _apply(content, step)
    return bytes(content)


def _sectors(step: Write) -> Iterator[Write]:
    start = 0
    while start < len(step.content):
        end = start + SECTOR_BYTES - (step.offset + start) % SECTOR_BYTES
        yield Write(step.file, step.offset + start, step.content[start:end])
        start = end


def _apply(content: bytearray, step: Write | Truncate) -> None:
    if isinstance(step, Truncate):
        del content[step.size :]
        return
    if len(content) < step.offset:
        content.extend(bytes(step.offset - len(content)))
    content[step.offset : step.offset + len(step.content)] = step.content


class _Shim(apsw.VFS):
    """SQLite's own VFS, with the tape listening."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        super().__init__(tape.vfs, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        if name is None or not flags[0] & RECORDED:
            return super().xOpen(name, flags)
        return _ShimFile(self._tape, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self._tape.ask()
        super().xDelete(filename, syncdir)
        self._tape.deleted(filename, is_synced=bool(syncdir))


class _ShimFile(apsw.VFSFile):
    """A file of SQLite's own VFS, with the tape listening."""

    def __init__(self, tape: Tape, name: str | apsw.URIFilename, flags: list[int]) -> None:
        self._tape = tape
        self._is_log = bool(flags[0] & LOGS)
        self._file = tape.opened(name if isinstance(name, str) else name.filename())
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._tape.ask()
        super().xWrite(data, offset)
        self._tape.steps.append(Write(self._file, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        self._tape.ask()
        super().xTruncate(newsize)
        self._tape.steps.append(Truncate(self._file, newsize))

    def xSync(self, flags: int) -> None:
        self._tape.ask()
        super().xSync(flags)
        self._tape.synced(self._file, is_folder_too=self._is_log)


class SyncCounter:
    """A VFS that counts syncs and nothing else, for benches: open the journal with `vfs=counter.vfs`.

    It adds 1 to 2 us per page written, so time and count in different runs.
    """

    def __init__(self) -> None:
        self.vfs = f"syncs-{next(_names)}"
        self.log = 0  # syncs of the write-ahead log: one per durable append, and two per checkpoint
        self.database = 0  # syncs of the database file: one per checkpoint
        self._shim = _CountingShim(self)

    def close(self) -> None:
        """Unregister the VFS. Close what was opened through it first."""
        self._shim.unregister()


class _CountingShim(apsw.VFS):
    def __init__(self, counter: SyncCounter) -> None:
        self._counter = counter
        super().__init__(counter.vfs, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return _CountingFile(self._counter, name, flags)


class _CountingFile(apsw.VFSFile):
    def __init__(self, counter: SyncCounter, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._counter = counter
        self._is_log = bool(flags[0] & LOGS)
        super().__init__("", name, flags)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        if self._is_log:
            self._counter.log += 1
        else:
            self._counter.database += 1
