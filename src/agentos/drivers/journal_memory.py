"""A journal in memory for the simulator, which knows what a power cut would leave behind.

A disk outlives the journals opened on it, as a real one does: open a `MemoryJournal` on a `MemoryDisk`, let the process
"die" with `disk.release()`, open the next. Appends that are not durable form a queue of operations; a power cut keeps the
durable part and any prefix of that queue, never half an append.

Rule 1: `images` is complete for what the port promises: whatever a correct machine may find after a power cut is
        among them, and nothing else is.
Rule 2: operations are lost from the end only, in the order in which they were made, snapshots included.
"""

from collections.abc import Iterator, Sequence
from itertools import count

from agentos.ports.journal import Failed, Locked, Row, Snapshot

SNAPSHOTS_MAX = 2  # The newest, and the one before it in case an older program is started again.


class MemoryDisk:
    """What is stored, how much of it a power cut would leave, and who owns it."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.snapshots: list[Snapshot] = []
        self.meta: dict[str, str] = {}
        self.owner: MemoryJournal | None = None
        self._pending: list[int | Snapshot] = []  # after the last durable point: rows of an append, or a snapshot
        self._durable_rows = 0
        self._durable_snapshots: list[Snapshot] = []

    @property
    def pending_count(self) -> int:
        """How many operations a power cut could take."""
        return len(self._pending)

    def image(self, kept: int) -> "MemoryDisk":
        """The disk after a power cut which kept `kept` of the pending operations. Nobody owns it."""
        assert 0 <= kept <= len(self._pending), f"{kept} of {len(self._pending)} pending operations"
        image = MemoryDisk()
        image.snapshots = list(self._durable_snapshots)
        rows_count = self._durable_rows
        for operation in self._pending[:kept]:
            if isinstance(operation, int):
                rows_count += operation
            else:
                _keep(image.snapshots, operation)
        image.rows = self.rows[:rows_count]
        image.meta = dict(self.meta)
        image.settle()
        return image

    def images(self) -> Iterator["MemoryDisk"]:
        """Every disk that a power cut here could leave, the poorest first."""
        return map(self.image, range(len(self._pending) + 1))

    def release(self) -> None:
        """The owner died: the lock is free, and what it wrote is there."""
        self.owner = None

    def settle(self) -> None:
        """All that was written becomes durable."""
        self._pending.clear()
        self._durable_rows = len(self.rows)
        self._durable_snapshots = list(self.snapshots)

    def extend(self, rows: Sequence[Row]) -> None:
        """Write an append, not yet durable."""
        self.rows.extend(rows)
        self._pending.append(len(rows))

    def store(self, snapshot: Snapshot) -> None:
        """Write a snapshot, not yet durable."""
        _keep(self.snapshots, snapshot)
        self._pending.append(snapshot)


class MemoryJournal:
    """The journal port over a `MemoryDisk`.

    `fail_at=n` makes the n-th append fail; `is_written` says whether its rows reach the disk all the same, since a
    caller who sees `Failed` cannot know.
    """

    def __init__(self, disk: MemoryDisk, *, fail_at: int = 0, is_written: bool = False) -> None:
        if disk.owner is not None:
            raise Locked("the journal in memory is owned by another journal object; close that one first")
        self._disk = disk
        self._fault = ""
        self._fail_at = fail_at
        self._is_written = is_written
        self._appends = count(1)
        disk.owner = self

    def append(self, rows: Sequence[Row], *, is_durable: bool) -> None:
        disk = self._ready()
        first = len(disk.rows) + 1
        assert [row.seq for row in rows] == list(range(first, first + len(rows))), f"rows must go on from {first}"
        if next(self._appends) == self._fail_at:
            if self._is_written:
                disk.extend(rows)
            self._fault = "the disk in memory failed, as it was told to; open the journal again and recover"
            raise Failed(self._fault)
        if rows:
            disk.extend(rows)
        if is_durable:
            disk.settle()

    def last(self) -> Row | None:
        rows = self._ready().rows
        return rows[-1] if rows else None

    def read(self, after: int = 0, *, count_max: int | None = None) -> Iterator[Row]:
        end = len(self._ready().rows)
        assert after >= 0, "events are numbered from 1"
        if count_max is not None:
            end = min(end, after + count_max)
        return (self._ready().rows[index] for index in range(after, end))

    def read_order(self, order: str) -> Iterator[Row]:
        return (row for row in self.read() if order and row.order == order)

    def read_caller(self, caller: str, type: str) -> Iterator[Row]:
        return (row for row in self.read() if row.caller == caller and row.type == type)

    def erase(self, seqs: Sequence[int]) -> None:
        disk = self._ready()
        assert all(1 <= seq <= len(disk.rows) for seq in seqs), "only stored rows can be erased"
        for seq in seqs:
            disk.rows[seq - 1] = disk.rows[seq - 1]._replace(salt=b"", payload=None)
        disk.snapshots.clear()
        disk.settle()

    def save_snapshot(self, snapshot: Snapshot) -> None:
        disk = self._ready()
        assert snapshot.seq <= len(disk.rows), "a snapshot folds stored rows only"
        disk.store(snapshot)

    def load_snapshot(self, tag: str) -> Snapshot | None:
        mine = [snapshot for snapshot in self._ready().snapshots if snapshot.tag == tag]
        return max(mine, key=lambda snapshot: snapshot.seq, default=None)

    def meta(self, key: str) -> str | None:
        return self._ready().meta.get(key)

    def set_meta(self, key: str, value: str) -> None:
        disk = self._ready()
        disk.meta[key] = value
        disk.settle()

    def verify_storage(self) -> None:
        """Nothing to find: memory is not a medium that lies, and `append` admits no gap."""
        self._ready()

    def close(self) -> None:
        self._fault = self._fault or "the journal in memory is closed; open it again"
        if self._disk.owner is self:
            self._disk.owner = None

    def _ready(self) -> MemoryDisk:
        if self._fault:
            raise Failed(self._fault)
        if self._disk.owner is not self:
            raise Failed("the journal in memory has another owner now: this one was declared dead")
        return self._disk


def _keep(snapshots: list[Snapshot], snapshot: Snapshot) -> None:
    snapshots.append(snapshot)
    del snapshots[:-SNAPSHOTS_MAX]
