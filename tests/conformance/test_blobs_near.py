"""Small blobs on the journal's shelf: there exactly when the events that name them are."""

from hashlib import sha256
from pathlib import Path

import pytest

from agentos.abi.ids import Digest
from agentos.drivers import journal_sqlite
from agentos.drivers.blobs_files import FileBlobs
from agentos.drivers.blobs_memory import MemoryBlobs
from agentos.drivers.blobs_near import NEAR_BYTES_MAX, NearBlobs
from agentos.drivers.journal_sqlite import SqliteJournal
from agentos.ports.blobs import Blobs, Failed, Missing
from agentos.ports.journal import Corrupt, Row
from agentos.sim.powercut import SyncCounter, Tape

LARGE = b"x" * (NEAR_BYTES_MAX + 1)


@pytest.fixture(autouse=True)
def _small_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sort and checkpoint often, so that a short run passes through both many times."""
    monkeypatch.setattr(journal_sqlite, "INDEX_LAG", 20)
    monkeypatch.setattr(journal_sqlite, "LOG_PAGES", 12)


def content(seq: int) -> bytes:
    return b"content %d " % seq * (1 + seq % 30)


def row(seq: int) -> Row:
    digest = sha256(content(seq)).digest()
    return Row(seq, seq, 1, "Spoken", 1, "1.1", "", "", digest[:16], digest, digest, digest)


def opened(folder: Path, vfs: str = "", far: Blobs | None = None) -> tuple[SqliteJournal, NearBlobs]:
    journal = SqliteJournal(folder / "journal.db", vfs=vfs)
    return journal, NearBlobs(journal, far or FileBlobs(folder / "blobs"))


def spoken(journal: SqliteJournal, blobs: NearBlobs, first: int, count: int) -> None:
    """Append events, each naming a content of its own, as one batch."""
    for seq in range(first, first + count):
        blobs.put(content(seq))
    blobs.sync()
    journal.append([row(seq) for seq in range(first, first + count)], is_durable=True)


def test_an_event_is_never_there_without_its_content(tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()
    tape = Tape(7)
    journal, blobs = opened(live, tape.vfs, MemoryBlobs())
    for batch in range(30):
        spoken(journal, blobs, journal._last + 1, 1 + batch % 5)
        tape.mark(journal._last)
    journal.close()
    tape.close()
    appended = set()
    for image in tape.images(150):
        image.write(tmp_path / "cut")
        found, kept = opened(tmp_path / "cut", far=MemoryBlobs())
        rows = list(found.read())
        assert len(rows) >= image.mark
        assert [kept.get(Digest(each.commitment.hex())) for each in rows] == [content(each.seq) for each in rows]
        assert not kept.has(Digest(sha256(content(len(rows) + 1)).hexdigest())), "content of an event that is not there"
        found.verify_storage()
        appended.add(len(rows))
        found.close()
    assert len(appended) > 10, "the cuts fell into few places"


def test_small_content_costs_no_sync_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_sqlite, "LOG_PAGES", 512)
    counter = SyncCounter()
    journal, blobs = opened(tmp_path, counter.vfs)
    spoken(journal, blobs, 1, 1)
    before = counter.log
    spoken(journal, blobs, 2, 10)
    assert counter.log - before == 1
    assert not list((tmp_path / "blobs").rglob("*/??/*")), "a small blob became a file"
    journal.close()
    counter.close()


def test_content_is_found_after_its_name_was_sorted_in_and_after_a_restart(tmp_path: Path) -> None:
    journal, blobs = opened(tmp_path)
    spoken(journal, blobs, 1, 50)
    spoken(journal, blobs, 51, 7)
    digests = [Digest(sha256(content(seq)).hexdigest()) for seq in range(1, 58)]
    assert [blobs.get(digest) for digest in digests] == [content(seq) for seq in range(1, 58)]
    journal.close()
    again, kept = opened(tmp_path)
    assert [kept.get(digest) for digest in digests] == [content(seq) for seq in range(1, 58)]
    spoken(again, kept, 58, 30)
    assert kept.get(digests[52]) == content(53)
    again.verify_storage()
    again.close()


def test_what_is_deleted_stays_so_and_takes_no_other_with_it(tmp_path: Path) -> None:
    journal, blobs = opened(tmp_path)
    spoken(journal, blobs, 1, 30)
    spoken(journal, blobs, 31, 10)
    gone = [Digest(sha256(content(seq)).hexdigest()) for seq in (3, 35, 40)]
    for digest in gone:
        blobs.delete(digest)
    spoken(journal, blobs, 41, 30)
    journal.close()
    again, kept = opened(tmp_path)
    for digest in gone:
        with pytest.raises(Missing):
            kept.get(digest)
    for seq in set(range(1, 71)) - {3, 35, 40}:
        assert kept.get(Digest(sha256(content(seq)).hexdigest())) == content(seq)
    again.verify_storage()
    again.close()


def test_large_content_is_a_file_and_durable_before_the_event(tmp_path: Path) -> None:
    journal, blobs = opened(tmp_path)
    digest = blobs.put(LARGE)
    blobs.sync()
    assert FileBlobs(tmp_path / "blobs").get(digest) == LARGE
    assert blobs.get(digest) == LARGE
    journal.close()


def test_a_failed_journal_takes_no_more_content(tmp_path: Path) -> None:
    journal, blobs = opened(tmp_path)
    journal.close()
    with pytest.raises(Failed, match="closed"):
        blobs.put(b"late")


def test_a_name_that_leads_nowhere_is_seen_by_the_check(tmp_path: Path) -> None:
    journal, blobs = opened(tmp_path)
    spoken(journal, blobs, 1, 30)
    journal._db.execute("DELETE FROM by_name WHERE id = 5")
    with pytest.raises(Corrupt, match="lookup tables"):
        journal.verify_storage()
    journal.close()
