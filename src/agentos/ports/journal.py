"""The journal port: an append-only table of events, with two durability classes and disposable snapshots.

Rule 1: `append` is atomic: after any crash either all its rows are there or none, and the rows form a gapless prefix.
Rule 2: when `append(..., is_durable=True)` returns, those rows and all before them survive a power cut. Without it
        they survive the death of the process, and may be lost from the end at a power cut. A durable append of no rows
        makes everything before it durable.
Rule 3: one process owns the write connection; a second is refused with `Locked` before it can write.
Rule 4: a failed write raises `Failed`, and so does every call after it; the caller must die and recover, for it cannot
        know what is on disk.
Rule 5: rows are opaque here: the codec and the hash chain belong to the machine.
Rule 6: an iteration ends at the row that was last when it began; it holds nothing open, so appends may go on meanwhile.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol


class Row(NamedTuple):
    """One event as it is stored. Sequence numbers start at 1 and have no gaps."""

    seq: int
    at_ns: int
    epoch: int
    type: str
    version: int
    caller: str  # pid of the process whose call caused it
    cause: str  # call id, or "" for what the state itself demanded
    order: str  # order id, or ""
    salt: bytes  # 16 bytes; erased together with the payload
    payload: bytes | None  # None once erased; the hash still verifies, by the commitment
    commitment: bytes  # 32 bytes: digest of salt and payload; outlives both
    hash: bytes  # 32 bytes: over the previous hash, the header fields and the commitment


class Snapshot(NamedTuple):
    seq: int  # last event folded in
    tag: str  # digest of the code that made it; another tag means: do not use
    body: bytes


class Locked(Exception):
    """Another process owns this journal; the message names it."""


class Unsuitable(Exception):
    """A journal cannot be kept there: a read-only folder, a network filesystem, a library too old to be trusted."""


class Failed(Exception):
    """The device refused a write (full disk, I/O error), or the journal is closed. The owner must stop."""


class Corrupt(Exception):
    """What is stored is not what was written: failed integrity check, gap, or a newer format."""


class Journal(Protocol):
    def append(self, rows: Sequence[Row], *, is_durable: bool) -> None: ...
    def last(self) -> Row | None: ...
    def read(self, after: int = 0, *, count_max: int | None = None) -> Iterator[Row]: ...
    def read_order(self, order: str) -> Iterator[Row]: ...
    def read_caller(self, caller: str, type: str) -> Iterator[Row]: ...
    def erase(
        self, seqs: Sequence[int]
    ) -> None: ...  # payload and salt of these rows and all snapshots, for good; durable
    def save_snapshot(self, snapshot: Snapshot) -> None: ...
    def load_snapshot(self, tag: str) -> Snapshot | None: ...  # newest with this tag
    def meta(self, key: str) -> str | None: ...  # workspace uuid, epoch, format
    def set_meta(self, key: str, value: str) -> None: ...  # durable
    def verify_storage(self) -> None: ...  # reads every byte; `Corrupt` if the storage contradicts itself or has a gap
    def close(self) -> None: ...
