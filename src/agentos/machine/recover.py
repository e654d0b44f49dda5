"""Recovery: from a journal to a state, and into a new epoch.

    newest snapshot with our tag ─> events after it, verified against the hash chain ─> fsck ─> Boot(epoch + 1)
    (none: from the first event)

Rule 1: a snapshot is disposable. It is used only if the code that made it is the code that reads it: the tag is the
        digest of kernel and records.
Rule 2: the events replayed here are verified; the whole journal is verified on request (`fsck`), since that reads it all.
Rule 3: a breach stops recovery with the event's number. Nothing is repaired by guessing.
Rule 4: a fresh journal gets its workspace's id and its first events in one batch.
"""

from collections.abc import Iterable
from hashlib import sha256
from importlib import resources
from pathlib import Path

from agentos.abi.budget import WORKSPACE_DEFAULT, Amounts
from agentos.kernel import process, schedule
from agentos.kernel.apply import apply
from agentos.kernel.fsck import faults
from agentos.kernel.state import Device, State, decode, encode
from agentos.machine import codec
from agentos.machine.journal import SALT_BYTES, Header, genesis, seal, verify
from agentos.machine.loop import Head, Salts
from agentos.ports.journal import Corrupt, Journal, Row, Snapshot

SNAPSHOT_EVERY = 20_000  # events: replaying that many takes about a quarter of a second


_tag: list[str] = []  # once it has been read: the code that runs does not change under it


def tag() -> str:
    """The digest of the code that folds events: kernel and records."""
    if not _tag:
        _tag.append(_digest())
    return _tag[0]


def _digest() -> str:
    digest = sha256()
    for package in ("agentos.abi", "agentos.kernel"):
        root = Path(str(resources.files(package)))
        for path in sorted(root.rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def recover(
    journal: Journal, *, workspace: str, now_ns: int, salts: Salts, budget: Amounts = WORKSPACE_DEFAULT
) -> tuple[State, Head]:
    """The state as of the last event, and where the journal ends. A fresh journal is founded. O(events since snapshot)."""
    last = journal.last()
    if last is None:
        return _found(journal, workspace, now_ns, salts, budget)
    known = journal.meta("workspace")
    if known is None:
        raise Corrupt("the journal has events but names no workspace; restore it from a backup")
    state, after, previous = _snapshot(journal, known)
    head = Head(after, previous)
    for rows in _chunks(journal, after):
        proof = verify(rows, known, previous=head.hash, after=head.seq)
        if proof.breach is not None:
            raise Corrupt(
                f"event {proof.breach.seq}: {proof.breach.fact}; nothing was changed: restore a backup, or look with: agentos sys fsck"
            )
        head = Head(proof.seq, proof.hash)
        for row in rows:
            replay(state, row)
    wrong = faults(state)
    if wrong:
        raise Corrupt(f"the state breaks its laws after event {head.seq}: {wrong[0]}")
    return state, head


def replay(state: State, row: Row) -> None:
    """Fold one row in."""
    if row.payload is None:
        raise Corrupt(f"event {row.seq} was erased and no snapshot covers it")
    apply(state, codec.decode(row.type, row.version, row.payload), row.at_ns)


def _chunks(journal: Journal, after: int) -> "list[list[Row]] | _Chunks":
    return _Chunks(journal, after)


class _Chunks:
    """The rows after a point, a thousand at a time: bounded memory on a long journal."""

    def __init__(self, journal: Journal, after: int) -> None:
        self._journal, self._after = journal, after

    def __iter__(self) -> "_Chunks":
        return self

    def __next__(self) -> list[Row]:
        rows = list(self._journal.read(self._after, count_max=1_000))
        if not rows:
            raise StopIteration
        self._after = rows[-1].seq
        return rows


def _snapshot(journal: Journal, workspace: str) -> tuple[State, int, bytes]:
    snapshot = journal.load_snapshot(tag())
    if snapshot is not None:
        at = next(iter(journal.read(snapshot.seq - 1, count_max=1)), None)
        if at is not None and at.seq == snapshot.seq:
            return decode(snapshot.body), snapshot.seq, at.hash
    return empty(workspace), 0, genesis(workspace)


def empty(workspace: str) -> State:
    """A state before its first event."""
    state = State(workspace)
    state.devices = {name: Device(slots) for name, slots in schedule.SLOTS.items()}
    return state


def _found(journal: Journal, workspace: str, now_ns: int, salts: Salts, budget: Amounts) -> tuple[State, Head]:
    """A fresh workspace: root account, init, and init's standing rights."""
    journal.set_meta("workspace", workspace)
    state, head, rows = empty(workspace), Head(0, genesis(workspace)), []
    for event in process.rooted(budget):
        apply(state, event, now_ns)
        header = Header(head.seq + 1, now_ns, 0, codec.tag(event), codec.version(event), "0.0", "kernel:found", "")
        row = seal(head.hash, workspace, header, salt=salts(SALT_BYTES), payload=codec.encode(event))
        rows.append(row)
        head = Head(row.seq, row.hash)
    journal.append(rows, is_durable=True)
    return state, head


def snapshot(journal: Journal, state: State, head: Head) -> None:
    """Keep the state, so that a restart replays only what comes after. Call between batches."""
    journal.save_snapshot(Snapshot(head.seq, tag(), encode(state)))


def fold(workspace: str, rows: Iterable[Row]) -> tuple[int, str, tuple[str, ...]]:
    """The state after these rows, from nothing and without a snapshot: the last event, its digest, the broken laws."""
    state, last = empty(workspace), 0
    for row in rows:
        replay(state, row)
        last = row.seq
    return last, sha256(encode(state)).hexdigest(), tuple(map(str, faults(state)))
