"""The journal port's promises, asked of every driver.

A medium is what outlives a journal: a file, or a disk in memory. A driver joins by adding its medium to `MEDIA`.
"""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import pytest

from agentos.drivers.journal_memory import MemoryDisk, MemoryJournal
from agentos.drivers.journal_sqlite import SqliteJournal
from agentos.ports.journal import Failed, Journal, Locked, Row, Snapshot


class Medium(Protocol):
    def open(self) -> Journal: ...


class File:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.db"

    def open(self) -> Journal:
        return SqliteJournal(self.path)


class Memory:
    def __init__(self, _folder: Path) -> None:
        self.disk = MemoryDisk()

    def open(self) -> Journal:
        return MemoryJournal(self.disk)


MEDIA = [File, Memory]


@pytest.fixture(params=MEDIA, ids=lambda medium: str(medium.__name__).lower())
def medium(request: pytest.FixtureRequest, tmp_path: Path) -> Medium:
    made: Medium = request.param(tmp_path)
    return made


@pytest.fixture
def journal(medium: Medium) -> Iterator[Journal]:
    opened = medium.open()
    yield opened
    opened.close()


def row(seq: int, *, caller: str = "1.1", type: str = "Spoken", order: str = "", payload: bytes = b"words") -> Row:
    return Row(
        seq=seq,
        at_ns=1_700_000_000_000_000_000 + seq,
        epoch=1,
        type=type,
        version=1,
        caller=caller,
        cause=f"{caller}/0/{seq}",
        order=order,
        salt=sha256(b"%d" % seq).digest()[:16],
        payload=payload,
        commitment=sha256(b"c%d" % seq).digest(),
        hash=sha256(b"h%d" % seq).digest(),
    )


def rows(first: int, last: int) -> list[Row]:
    return [row(seq) for seq in range(first, last + 1)]


def test_an_empty_journal_has_no_last_row(journal: Journal) -> None:
    assert journal.last() is None
    assert list(journal.read()) == []
    assert list(journal.read_order("WO-1")) == []
    assert list(journal.read_caller("1.1", "Spoken")) == []


def test_rows_come_back_as_they_went_in(journal: Journal) -> None:
    odd = row(1, caller="7.2", type="Größe", order="WO-12", payload=b"")._replace(at_ns=2**63 - 1, epoch=2**40)
    large = row(2, payload=bytes(range(256)) * 4000)
    journal.append([odd, large], is_durable=True)
    assert list(journal.read()) == [odd, large]
    assert journal.last() == large


@pytest.mark.parametrize("is_durable", [True, False])
def test_rows_are_there_when_the_journal_is_opened_again(medium: Medium, is_durable: bool) -> None:
    first = medium.open()
    first.append(rows(1, 3), is_durable=is_durable)
    first.append(rows(4, 4), is_durable=False)
    first.close()
    second = medium.open()
    assert list(second.read()) == rows(1, 4)
    second.append(rows(5, 5), is_durable=True)
    assert second.last() == row(5)
    second.close()


def test_reading_starts_after_and_stops_at_the_count(journal: Journal) -> None:
    journal.append(rows(1, 1200), is_durable=False)
    assert list(journal.read(after=1195)) == rows(1196, 1200)
    assert list(journal.read(after=3, count_max=700)) == rows(4, 703)
    assert list(journal.read(count_max=0)) == []
    assert list(journal.read(after=1200)) == []
    assert list(journal.read(after=5000)) == []


def test_an_iteration_ends_at_the_row_that_was_last_when_it_began(journal: Journal) -> None:
    journal.append(rows(1, 1000), is_durable=False)
    seen = []
    for each in journal.read():
        seen.append(each.seq)
        if each.seq % 250 == 0:
            last = journal.last()
            assert last is not None
            journal.append([row(last.seq + 1)], is_durable=True)
    assert seen == list(range(1, 1001))
    assert journal.last() == row(1004)


@pytest.mark.parametrize(
    "seqs", [(1, 2), (5,), (4, 4), (4, 6), (5, 4), (4, 7, 6), (0,)], ids=lambda seqs: "-".join(map(str, seqs))
)
def test_a_gap_or_an_overlap_is_refused_and_nothing_is_written(journal: Journal, seqs: tuple[int, ...]) -> None:
    journal.append(rows(1, 3), is_durable=True)
    with pytest.raises(AssertionError, match="must go on from"):
        journal.append([row(seq) for seq in seqs], is_durable=True)
    assert list(journal.read()) == rows(1, 3)
    journal.append([row(4)], is_durable=True)
    assert journal.last() == row(4)


def test_an_append_of_nothing_changes_nothing(journal: Journal) -> None:
    journal.append([], is_durable=False)
    journal.append([], is_durable=True)
    assert journal.last() is None
    journal.append(rows(1, 2), is_durable=False)
    journal.append([], is_durable=True)
    assert list(journal.read()) == rows(1, 2)


def test_an_order_finds_its_rows_in_order(journal: Journal) -> None:
    mixed = [row(seq, order=["", "WO-1", "WO-2"][seq % 3]) for seq in range(1, 10_001)]
    for first in range(0, 9000, 90):
        journal.append(mixed[first : first + 90], is_durable=False)
        if first % 1800 == 0:  # lookups between appends: nothing is found twice, nothing is lost
            assert list(journal.read_order("WO-1")) == [each for each in mixed[: first + 90] if each.order == "WO-1"]
    journal.append(mixed[9000:], is_durable=True)
    assert list(journal.read_order("WO-2")) == [each for each in mixed if each.order == "WO-2"]
    assert list(journal.read_order("WO-3")) == []
    assert list(journal.read_order("")) == []


def test_a_caller_finds_its_rows_of_one_type_after_a_restart_too(medium: Medium) -> None:
    mixed = [row(seq, caller=f"{seq % 7}.1", type=["Asked", "Answered"][seq % 2]) for seq in range(1, 6001)]
    expected = [each for each in mixed if each.caller == "3.1" and each.type == "Answered"]
    journal = medium.open()
    journal.append(mixed[:5000], is_durable=True)
    assert list(journal.read_caller("3.1", "Answered")) == [each for each in expected if each.seq <= 5000]
    journal.append(mixed[5000:], is_durable=False)
    journal.close()
    again = medium.open()
    assert list(again.read_caller("3.1", "Answered")) == expected
    assert list(again.read_caller("3.1", "Spoken")) == []
    assert list(again.read_caller("9.1", "Answered")) == []
    again.close()


def test_erasing_takes_payload_and_salt_and_leaves_the_rest(medium: Medium) -> None:
    journal = medium.open()
    journal.append(rows(1, 5), is_durable=True)
    journal.save_snapshot(Snapshot(5, "t", b"folded words"))
    journal.erase([2, 4])
    journal.erase([4])
    journal.close()
    again = medium.open()
    expected = [each._replace(payload=None, salt=b"") if each.seq in (2, 4) else each for each in rows(1, 5)]
    assert list(again.read()) == expected
    assert again.load_snapshot("t") is None, "a snapshot may hold what was erased"
    again.close()


def test_erasing_what_is_not_there_is_refused_and_changes_nothing(journal: Journal) -> None:
    journal.append(rows(1, 2), is_durable=True)
    with pytest.raises(AssertionError):
        journal.erase([1, 3])
    assert list(journal.read()) == rows(1, 2)


def test_the_newest_snapshot_of_a_tag_is_loaded(medium: Medium) -> None:
    journal = medium.open()
    journal.append(rows(1, 9), is_durable=False)
    assert journal.load_snapshot("a") is None
    journal.save_snapshot(Snapshot(5, "a", b"five"))
    journal.save_snapshot(Snapshot(9, "a", b"nine" * 100_000))
    assert journal.load_snapshot("a") == Snapshot(9, "a", b"nine" * 100_000)
    journal.save_snapshot(Snapshot(9, "b", b"other code"))
    journal.close()
    again = medium.open()
    assert again.load_snapshot("a") == Snapshot(9, "a", b"nine" * 100_000)
    assert again.load_snapshot("b") == Snapshot(9, "b", b"other code")
    assert again.load_snapshot("c") is None
    again.close()


def test_a_snapshot_of_rows_that_are_not_there_is_refused(journal: Journal) -> None:
    journal.append(rows(1, 2), is_durable=True)
    with pytest.raises(AssertionError):
        journal.save_snapshot(Snapshot(3, "a", b"future"))
    assert journal.load_snapshot("a") is None


def test_meta_is_kept_and_replaced(medium: Medium) -> None:
    journal = medium.open()
    assert journal.meta("workspace") is None
    journal.set_meta("workspace", "3f0e")
    journal.set_meta("epoch", "1")
    journal.set_meta("epoch", "2")
    journal.close()
    again = medium.open()
    assert (again.meta("workspace"), again.meta("epoch")) == ("3f0e", "2")
    again.close()


def test_a_second_owner_is_refused_until_the_first_lets_go(medium: Medium) -> None:
    first = medium.open()
    first.append(rows(1, 1), is_durable=True)
    with pytest.raises(Locked, match="owned by"):
        medium.open()
    first.append(rows(2, 2), is_durable=True)
    first.close()
    second = medium.open()
    assert list(second.read()) == rows(1, 2)
    second.close()


def test_a_closed_journal_refuses_everything_and_closes_twice(medium: Medium) -> None:
    journal = medium.open()
    journal.append(rows(1, 1), is_durable=True)
    journal.close()
    journal.close()
    with pytest.raises(Failed, match="closed"):
        journal.append(rows(2, 2), is_durable=True)
    with pytest.raises(Failed, match="closed"):
        journal.append([], is_durable=False)
    with pytest.raises(Failed, match="closed"):
        journal.last()
    with pytest.raises(Failed, match="closed"):
        list(journal.read())
    with pytest.raises(Failed, match="closed"):
        list(journal.read_order("WO-1"))
    with pytest.raises(Failed, match="closed"):
        journal.set_meta("a", "b")
    with pytest.raises(Failed, match="closed"):
        journal.verify_storage()
    again = medium.open()
    assert list(again.read()) == rows(1, 1)
    again.close()


def test_sound_storage_verifies(journal: Journal) -> None:
    journal.verify_storage()
    journal.append([row(seq, order="WO-1") for seq in range(1, 5000)], is_durable=True)
    journal.erase([7])
    journal.verify_storage()
