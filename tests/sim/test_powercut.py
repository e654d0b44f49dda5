"""What is promised of the SQLite journal when the power goes, or the disk says no, at any moment.

Each test ends with a control where the promise is broken on purpose, so that a test that cannot fail would show.
"""

from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

from agentos.drivers import journal_sqlite
from agentos.drivers.journal_memory import MemoryDisk, MemoryJournal
from agentos.drivers.journal_sqlite import SqliteJournal
from agentos.ports.journal import Corrupt, Failed, Journal, Locked, Row, Snapshot
from agentos.sim.powercut import Image, SyncCounter, Tape

SIZES = (1, 3, 1, 12, 2, 30, 1, 1, 5)  # rows per append


class Promise(NamedTuple):
    """What a caller had been told at one moment."""

    rows: int  # appended
    durable: int  # of these, survive a power cut
    erased: int  # the row that has been erased, or 0
    epoch: str | None  # meta


class Work:
    """A scripted life of a journal that notes what was promised, also when the disk fails in the middle."""

    def __init__(self, told: Callable[[int], None] = lambda _moment: None) -> None:
        self.promises = [Promise(0, 0, 0, None)]
        self.sizes = {0}  # a prefix must end at one of these, for an append is all or nothing
        self._told = told

    def run(self, journal: Journal, *, appends: int) -> None:
        for n in range(appends):
            last = self.promises[-1]
            end = last.rows + SIZES[n % len(SIZES)]
            self.sizes.add(end)
            is_durable = n % 3 == 0
            journal.append([row(seq) for seq in range(last.rows + 1, end + 1)], is_durable=is_durable)
            self._promise(last._replace(rows=end, durable=end if is_durable else last.durable))
            match n % 20:
                case 7:
                    journal.save_snapshot(Snapshot(end, "t", b"folded up to %d" % end * 500))
                case 11:
                    journal.set_meta("epoch", str(n))
                    self._promise(self.promises[-1]._replace(durable=end, epoch=str(n)))
                case 13:
                    list(journal.read_order("WO-1"))  # sorts the rows into the lookup tables, which writes
                case 16:
                    journal.append([], is_durable=True)
                    self._promise(self.promises[-1]._replace(durable=end))
                case 18 if not last.erased:
                    journal.erase([2])
                    self._promise(self.promises[-1]._replace(durable=end, erased=2))

    def _promise(self, promise: Promise) -> None:
        self.promises.append(promise)
        self._told(len(self.promises) - 1)


def row(seq: int) -> Row:
    digest = sha256(b"%d" % seq).digest()
    payload = digest * (1 + digest[0] % 20) if digest[1] else digest * 1000
    order = f"WO-{digest[2] % 3}" if digest[3] % 2 else ""
    return Row(
        seq, seq * 10, 1, "Spoken", 1, f"{digest[4] % 5}.1", f"c{seq}", order, digest[:16], payload, digest, digest
    )


def inspect(found: Journal, told: Promise, sizes: set[int], *, least: int) -> None:
    """Assert that the journal holds what was promised and nothing that was never written."""
    rows = list(found.read())
    assert len(rows) >= least, f"{least} rows were promised, {len(rows)} are there"
    assert len(rows) in sizes, "half an append"
    for position, each in enumerate(rows, 1):
        is_erased = each.payload is None
        assert each == (row(position)._replace(payload=None, salt=b"") if is_erased else row(position))
        assert position == 2 or not is_erased
        assert is_erased or position != told.erased, "an erased payload came back"
    assert list(found.read_order("WO-1")) == [each for each in rows if each.order == "WO-1"]
    assert list(found.read_caller("3.1", "Spoken")) == [each for each in rows if each.caller == "3.1"]
    snapshot = found.load_snapshot("t")
    assert snapshot is None or (snapshot.seq <= len(rows) and snapshot.body == b"folded up to %d" % snapshot.seq * 500)
    if told.epoch is not None:
        epoch = found.meta("epoch")
        assert epoch is not None and int(epoch) >= int(told.epoch)
    found.verify_storage()
    found.append([row(len(rows) + 1)], is_durable=True)


@pytest.fixture(autouse=True)
def _small_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sort and checkpoint often, so that a short run passes through both many times."""
    monkeypatch.setattr(journal_sqlite, "INDEX_LAG", 40)
    monkeypatch.setattr(journal_sqlite, "LOG_PAGES", 12)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "live").mkdir()
    return tmp_path


def record(folder: Path, tape: Tape, *, appends: int, pragma: str = "") -> Work:
    work = Work(tape.mark)
    journal = SqliteJournal(folder / "live" / "journal.db", vfs=tape.vfs)
    if pragma:
        journal._db.execute(pragma)  # what no caller can ask for: a driver that does not sync
    work.run(journal, appends=appends)
    journal.close()
    tape.close()
    return work


def violations(folder: Path, images: Iterator[Image], work: Work) -> list[str]:
    """What is wrong with which image."""
    found = []
    for image in images:
        image.write(folder / "cut")
        told = work.promises[image.mark]
        try:
            journal = SqliteJournal(folder / "cut" / "journal.db")
            try:
                inspect(journal, told, work.sizes, least=told.durable)
            finally:
                journal.close()
        except (AssertionError, Corrupt, Failed) as error:
            found.append(f"cut at {image.cut}, mark {image.mark}: {error!r}")
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_a_power_cut_at_any_moment_leaves_a_gapless_prefix_with_all_that_was_durable(folder: Path, seed: int) -> None:
    tape = Tape(seed)
    work = record(folder, tape, appends=120)
    assert violations(folder, tape.images(100), work) == []


def test_a_power_cut_does_lose_rows_that_were_not_durable(folder: Path) -> None:
    tape = Tape(3)
    work = record(folder, tape, appends=60)
    lost = 0
    for image in tape.images(60):
        image.write(folder / "cut")
        journal = SqliteJournal(folder / "cut" / "journal.db")
        last = journal.last()
        lost += work.promises[image.mark].rows > (last.seq if last else 0)
        journal.close()
    assert lost, "the images are too kind to show anything"


def test_control_a_driver_that_never_syncs_is_caught(folder: Path) -> None:
    tape = Tape(4)
    journal = SqliteJournal(folder / "live" / "journal.db", vfs=tape.vfs)
    journal._db.pragma("synchronous", "OFF")
    for n in range(1, 80):
        journal.append([row(n)], is_durable=True)  # the class never changes, so the driver never turns syncs on again
        tape.mark(n)
    journal.close()
    work = Work()
    work.promises = [Promise(n, n, 0, None) for n in range(80)]
    work.sizes = set(range(80))
    assert len(violations(folder, tape.images(60), work)) > 20


@pytest.mark.parametrize(("lose_syncs", "least"), [(100, 20), (30, 1), (10, 1)])
def test_control_a_disk_that_loses_syncs_is_caught(folder: Path, lose_syncs: int, least: int) -> None:
    tape = Tape(5, lose_syncs=lose_syncs)
    work = record(folder, tape, appends=120)
    assert len(violations(folder, tape.images(80), work)) >= least


def test_the_same_seed_cuts_the_same_way(folder: Path) -> None:
    def cuts(seed: int, name: str) -> list[tuple[int, int, dict[str, int]]]:
        (folder / name / "live").mkdir(parents=True)
        tape = Tape(seed)
        record(folder / name, tape, appends=40)
        return [
            (cut, mark, {name: len(content) for name, content in files.items()}) for cut, mark, files in tape.images(50)
        ]

    assert cuts(6, "a") == cuts(6, "b")
    assert cuts(6, "c") != cuts(7, "d")


@pytest.mark.parametrize("error", [apsw.IOError, apsw.FullError])
@pytest.mark.parametrize("is_lasting", [True, False])
def test_a_disk_error_at_any_call_stops_the_journal_and_loses_nothing_promised(
    folder: Path, error: Callable[[str], Exception], is_lasting: bool
) -> None:
    fired = 0
    for n in range(1, 2000, 3):
        tape = Tape(n)
        tape.fail(n, error, is_lasting=is_lasting)
        work = Work(tape.mark)
        home = folder / f"{n}"
        home.mkdir()
        fired += _is_stopped_by_failure(home / "journal.db", tape, work)
        if tape.calls < n:
            break  # the whole life was shorter than that
        again = SqliteJournal(home / "journal.db")
        inspect(again, work.promises[-1], work.sizes, least=work.promises[-1].rows)
        again.close()
        assert violations(home, tape.images(3), work) == []
    assert fired > 30


def _is_stopped_by_failure(path: Path, tape: Tape, work: Work) -> bool:
    """Run until the disk fails; assert that the journal then refuses everything. False if it never had to."""
    try:
        journal = SqliteJournal(path, vfs=tape.vfs)
    except Failed:
        return True
    try:
        work.run(journal, appends=40)
    except Failed:
        for refused in (
            lambda: journal.append([row(work.promises[-1].rows + 1)], is_durable=True),
            lambda: journal.append([], is_durable=True),
            lambda: journal.set_meta("epoch", "99"),
            lambda: journal.erase([1]),
            lambda: journal.save_snapshot(Snapshot(0, "t", b"")),
            lambda: journal.read(),
            lambda: journal.last(),
        ):
            with pytest.raises(Failed):
                refused()
        journal.close()
        return True
    try:
        journal.close()
    except Failed:
        return True
    return False


def test_a_failure_keeps_the_lock_until_close(folder: Path) -> None:
    tape = Tape(1)
    journal = SqliteJournal(folder / "live" / "journal.db", vfs=tape.vfs)
    journal.append([row(1)], is_durable=True)
    tape.fail(1, apsw.FullError)
    with pytest.raises(Failed, match="FullError.*free or repair the disk"):
        journal.append([row(2)], is_durable=True)
    with pytest.raises(Locked):
        SqliteJournal(folder / "live" / "journal.db")
    journal.close()
    again = SqliteJournal(folder / "live" / "journal.db")
    assert list(again.read()) in ([row(1)], [row(1), row(2)])
    again.close()


def test_a_durable_append_costs_one_sync_and_another_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_sqlite, "LOG_PAGES", 10_000)
    counter = SyncCounter()
    journal = SqliteJournal(folder / "live" / "journal.db", vfs=counter.vfs)
    journal.append([row(1)], is_durable=True)
    before = (counter.log, counter.database)
    for n in range(2, 52):
        journal.append([row(n)], is_durable=True)
    assert (counter.log, counter.database) == (before[0] + 50, before[1])
    for n in range(52, 102):
        journal.append([row(n)], is_durable=False)
    assert (counter.log, counter.database) == (before[0] + 50, before[1])
    journal.append([], is_durable=True)
    assert (counter.log, counter.database) == (before[0] + 51, before[1])
    journal.close()
    counter.close()


def test_the_journal_in_memory_offers_every_prefix_a_power_cut_could_leave() -> None:
    disk = MemoryDisk()
    journal = MemoryJournal(disk)
    work = Work()
    for appends in range(1, 40):
        disk, work = MemoryDisk(), Work()
        journal = MemoryJournal(disk)
        work.run(journal, appends=appends)
        told = work.promises[-1]
        lengths = []
        for image in disk.images():
            found = MemoryJournal(image)
            lengths.append(len(image.rows))
            inspect(found, told, work.sizes, least=told.durable)
        assert lengths == sorted(lengths)
        assert lengths[0] == told.durable
        assert lengths[-1] == told.rows


def test_the_journal_in_memory_loses_nothing_when_only_its_owner_dies() -> None:
    disk = MemoryDisk()
    first = MemoryJournal(disk)
    first.append([row(1)], is_durable=True)
    first.append([row(2)], is_durable=False)
    disk.release()
    second = MemoryJournal(disk)
    assert list(second.read()) == [row(1), row(2)]
    with pytest.raises(Failed, match="another owner"):
        first.append([row(3)], is_durable=True)
    assert list(second.read()) == [row(1), row(2)]


@pytest.mark.parametrize("is_written", [True, False])
def test_the_journal_in_memory_fails_when_told_and_leaves_its_caller_in_doubt(is_written: bool) -> None:
    disk = MemoryDisk()
    journal = MemoryJournal(disk, fail_at=2, is_written=is_written)
    journal.append([row(1)], is_durable=True)
    with pytest.raises(Failed):
        journal.append([row(2)], is_durable=True)
    with pytest.raises(Failed):
        journal.append([row(2)], is_durable=True)
    journal.close()
    assert len(list(MemoryJournal(disk).read())) == (2 if is_written else 1)
