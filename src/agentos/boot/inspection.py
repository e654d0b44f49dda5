"""A workspace looked over while nothing runs: is the journal whole, does it fold, do the laws hold?

Rule 1: nothing is changed and nothing is repaired; a breach is told with the event's number.
Rule 2: everything is read again from the first event; no snapshot is believed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from agentos.boot.client import NoWorkspace
from agentos.boot.workspace import Folder
from agentos.drivers.journal_sqlite import SqliteJournal
from agentos.drivers.sandbox_native import NativeSandbox
from agentos.machine import recover
from agentos.machine.journal import genesis, verify
from agentos.ports.journal import Corrupt, Row
from agentos.ports.sandbox import Level

CHUNK_ROWS = 1_000  # bounded memory on a long journal


class Finding(NamedTuple):
    """One thing looked at."""

    name: str  # storage | chain | fold | laws
    fact: str
    is_whole: bool


class Fold(NamedTuple):
    """The state that a journal folds to."""

    events: int
    digest: str  # SHA-256 of the encoded state: equal digests are equal states, byte for byte
    faults: tuple[str, ...]  # laws that do not hold


def check(home: Path) -> list[Finding]:
    """Everything that can be found wrong with a workspace's journal, in the order in which it is built up."""
    with _opened(home) as journal:
        found = [_storage(journal), _chain(journal)]
        if all(row.is_whole for row in found):
            found += _laws(journal)
    return found


def replay(home: Path, until: int | None = None) -> Fold:
    """Fold the journal anew from its first event, up to and with `until`. Corrupt where it cannot be."""
    with _opened(home) as journal:
        return _folded(journal, until)


@contextmanager
def _opened(home: Path) -> Iterator[SqliteJournal]:
    folder = Folder(home)
    if not folder.journal.exists():
        raise NoWorkspace(f'there is no workspace in {home} yet; the first order makes one: agentos do "..."')
    journal = SqliteJournal(folder.journal)
    try:
        yield journal
    finally:
        journal.close()


def _storage(journal: SqliteJournal) -> Finding:
    try:
        journal.verify_storage()
    except Corrupt as error:
        return Finding("storage", str(error), False)
    return Finding("storage", "every page reads back as it was written", True)


def _chain(journal: SqliteJournal) -> Finding:
    workspace = journal.meta("workspace")
    if workspace is None:
        return Finding("chain", "the journal names no workspace", journal.last() is None)
    previous, after = genesis(workspace), 0
    while rows := list(journal.read(after, count_max=CHUNK_ROWS)):
        proof = verify(rows, workspace, previous=previous, after=after)
        if proof.breach is not None:
            return Finding("chain", f"event {proof.breach.seq}: {proof.breach.fact}", False)
        previous, after = proof.hash, proof.seq
    return Finding("chain", f"{after:,} events, each linked to the one before", True)


def _laws(journal: SqliteJournal) -> list[Finding]:
    try:
        fold = _folded(journal, None)
    except Corrupt as error:
        return [Finding("fold", str(error), False)]
    whole = Finding("fold", f"{fold.events:,} events fold to state {fold.digest[:12]}", True)
    broken = [Finding("laws", fault, False) for fault in fold.faults]
    return [whole, *(broken or [Finding("laws", "every law holds", True)])]


def _folded(journal: SqliteJournal, until: int | None) -> Fold:
    folded = recover.fold(journal.meta("workspace") or "", _rows(journal, until))
    return Fold(*folded)


def _rows(journal: SqliteJournal, until: int | None) -> Iterator[Row]:
    after = 0
    while rows := list(journal.read(after, count_max=CHUNK_ROWS)):
        for row in rows:
            if until is not None and row.seq > until:
                return
            yield row
        after = rows[-1].seq


def exists(home: Path) -> bool:
    """Whether there is a workspace."""
    return Folder(home).journal.exists()


def isolation() -> Level:
    """What this machine gives to isolate what it runs."""
    return NativeSandbox().probe()
