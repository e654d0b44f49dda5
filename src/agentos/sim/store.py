"""What a kernel leaves behind when it dies: its journal and its blobs, as a power cut or a mere death would leave them.

Rule 1: `die` fixes what is on the disk at that instant; what the dead kernel still does reaches nothing.
Rule 2: a power cut keeps what was durable and any prefix of the rest (in memory), or what the tape of SQLite's writes
        allows (on files); a process that dies alone leaves everything it wrote.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Protocol

import apsw

from agentos.drivers.blobs_memory import MemoryBlobs
from agentos.drivers.journal_memory import MemoryDisk, MemoryJournal
from agentos.drivers.journal_sqlite import SqliteJournal
from agentos.ports.journal import Failed, Journal, Row
from agentos.sim.powercut import Tape

Visit = Callable[[str], None]


class Store(Protocol):
    blobs: MemoryBlobs

    def open(self, visit: Visit) -> Journal: ...
    def die(self, *, is_power_cut: bool) -> None: ...
    def close(self) -> None: ...


class SteppedJournal(MemoryJournal):
    """A journal in memory that shows the moment in which rows are written and not yet safe."""

    def __init__(self, disk: MemoryDisk, visit: Visit, *, fail_at: int, is_written: bool) -> None:
        super().__init__(disk, fail_at=fail_at, is_written=is_written)
        self._visit = visit

    def append(self, rows: Sequence[Row], *, is_durable: bool) -> None:
        super().append(rows, is_durable=False)
        self._visit("during append")
        if is_durable:
            super().append([], is_durable=True)


class MemoryStore:
    """A disk in memory. `fails` lists, per life, the append and the sync of blobs that fail; 0 is none."""

    def __init__(self, random: Random, fails: Sequence[tuple[int, int]]) -> None:
        self._random, self._fails = random, list(fails)
        self._disk, self.blobs = MemoryDisk(), MemoryBlobs()

    def open(self, visit: Visit) -> Journal:
        append, sync = self._fails.pop(0) if self._fails else (0, 0)
        if sync:
            self.blobs = _copied(self.blobs, fail_at=sync)
        return SteppedJournal(self._disk, visit, fail_at=append, is_written=self._random.random() < 0.5)

    def die(self, *, is_power_cut: bool) -> None:
        if is_power_cut:
            self._disk = self._disk.image(self._random.randint(0, self._disk.pending_count))
            self.blobs = self.blobs.image()
        else:
            self._disk.release()
            self.blobs = _copied(self.blobs)

    def close(self) -> None: ...


def _copied(blobs: MemoryBlobs, *, fail_at: int = 0) -> MemoryBlobs:
    """The same blobs in the hands of a new owner: what the old one still holds is not what this one sees."""
    copy = MemoryBlobs(fail_at=fail_at)
    copy._visible, copy._durable = dict(blobs._visible), dict(blobs._durable)
    return copy


class SqliteStore:
    """Real SQLite files under the recording VFS. `fails` lists, per life, the write or sync of it that fails."""

    def __init__(self, random: Random, fails: Sequence[tuple[int, int]]) -> None:
        self._random, self._fails = random, list(fails)
        self._root = Path(tempfile.mkdtemp(prefix="agentos-sim-"))
        self._generation = 0
        self._folder().mkdir()
        self.blobs = MemoryBlobs()
        self._tape: Tape | None = None
        self._journal: SqliteJournal | None = None

    def _folder(self) -> Path:
        return self._root / str(self._generation)

    def open(self, visit: Visit) -> Journal:
        self._let_go()
        self._tape = Tape(self._random.randrange(1 << 32))
        at, _ = self._fails.pop(0) if self._fails else (0, 0)
        self._journal = SqliteJournal(self._folder() / "journal.db", vfs=self._tape.vfs)
        if at:
            self._tape.fail(at * 3, self._random.choice((apsw.IOError, apsw.FullError)))
        return self._journal

    def die(self, *, is_power_cut: bool) -> None:
        assert self._tape is not None, "open first"
        before = self._folder()
        self._generation += 1
        if is_power_cut:
            self._tape.image().write(self._folder())
            self.blobs = self.blobs.image()
        else:
            shutil.copytree(before, self._folder())
            self.blobs = _copied(self.blobs)

    def close(self) -> None:
        self._let_go()
        shutil.rmtree(self._root)

    def _let_go(self) -> None:
        """The dead kernel's connection: nothing it says now reaches what is kept."""
        if self._journal is not None and self._tape is not None:
            with contextlib.suppress(Failed):  # its disk may have failed, and fails still
                self._journal.close()
            self._tape.close()
        self._journal = self._tape = None
