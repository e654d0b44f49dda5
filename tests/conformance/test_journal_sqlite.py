"""What only the SQLite journal promises: about its file, its folder, and those it shares the machine with."""

import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from hashlib import sha256
from itertools import islice
from pathlib import Path

import apsw
import pytest

from agentos.drivers.journal_sqlite import (
    APPLICATION_ID,
    FORMAT,
    INDEX_LAG,
    PAGE_BYTES,
    READ_ROWS,
    SqliteJournal,
    filesystem,
    refuse_network,
    refuse_old_sqlite,
)
from agentos.ports.journal import Corrupt, Failed, Locked, Row, Snapshot, Unsuitable

MOUNTS = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /home rw - nfs4 server:/home rw,vers=4.2
31 30 254:1 / /home/ada/local rw - xfs /dev/vdb rw
32 22 0:41 / /mnt/with\040blank rw master:1 - fuse.sshfs host: rw
33 22 0:42 / /mnt/Größe rw - cifs //host/share rw
34 22 0:43 / /twice rw - nfs host:/x rw
35 22 0:44 / /twice rw - tmpfs tmpfs rw
"""


def row(seq: int, payload: bytes = b"words") -> Row:
    digest = sha256(b"%d" % seq).digest()
    return Row(seq, seq, 1, "Spoken", 1, "1.1", f"1.1/0/{seq}", "WO-1", digest[:16], payload, digest, digest)


def snapshot_of(folder: Path) -> dict[str, bytes]:
    """All files but the lock, whose content is the owner's pid."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".lock"}


def test_the_lock_names_its_owner_and_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    script = (
        "import sys; from pathlib import Path; from agentos.drivers.journal_sqlite import SqliteJournal\n"
        "journal = SqliteJournal(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "open\n"
        before = snapshot_of(tmp_path)
        with pytest.raises(Locked, match=rf"{path} is owned by os pid {owner.pid}; use that one, or stop it"):
            SqliteJournal(path)
        assert snapshot_of(tmp_path) == before
    finally:
        owner.kill()
        owner.communicate()
    SqliteJournal(path).close()


def test_a_program_started_by_the_owner_does_not_keep_the_lock(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    try:
        journal.close()
        SqliteJournal(tmp_path / "journal.db").close()
    finally:
        child.kill()
        child.communicate()


def test_a_database_shell_is_kept_out_while_the_journal_is_open(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    journal.append([row(1)], is_durable=True)
    script = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('DELETE FROM events')"
    shell = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=False)
    assert "database is locked" in shell.stderr
    assert list(journal.read()) == [row(1)]
    journal.close()


def test_a_journal_open_in_a_database_shell_is_refused_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    SqliteJournal(path).close()
    script = (
        "import sqlite3, sys; shell = sqlite3.connect(sys.argv[1]); shell.execute('BEGIN')\n"
        "shell.execute('SELECT * FROM events').fetchall(); print('open', flush=True); sys.stdin.read()"
    )
    shell = subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert shell.stdout is not None
        assert shell.stdout.readline() == "open\n"
        with pytest.raises(Locked, match="open in another program"):
            SqliteJournal(path)
    finally:
        shell.kill()
        shell.communicate()
    SqliteJournal(path).close()


@pytest.mark.parametrize("version", ["3.40.1", "3.51.2", "3.7.0"])
def test_an_sqlite_that_can_corrupt_its_log_is_refused(version: str) -> None:
    with pytest.raises(Unsuitable, match=rf"SQLite {version} can corrupt.*>= 3\.51\.3"):
        refuse_old_sqlite(version)


def test_a_sound_sqlite_is_accepted() -> None:
    for version in ("3.51.3", "3.54.1", "4.0", apsw.sqlite_lib_version()):
        refuse_old_sqlite(version)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/work/journal.db", "ext4"),
        ("/home/ada/work/journal.db", "nfs4"),
        ("/home/ada/local/journal.db", "xfs"),
        ("/homestead/journal.db", "ext4"),
        ("/mnt/with blank/x/journal.db", "fuse.sshfs"),
        ("/mnt/Größe/journal.db", "cifs"),
        ("/twice/journal.db", "tmpfs"),
    ],
)
def test_the_filesystem_of_a_path_is_that_of_the_nearest_mount_above(path: str, kind: str) -> None:
    assert filesystem(Path(path), MOUNTS) == kind


def test_a_network_filesystem_is_refused_and_a_local_one_is_not() -> None:
    with pytest.raises(Unsuitable, match=r"network.*\(nfs4\).*local disk"):
        refuse_network(Path("/home/ada/journal.db"), MOUNTS)
    refuse_network(Path("/var/journal.db"), MOUNTS)
    refuse_network(Path("/var/journal.db"), "")


def test_a_missing_folder_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(Unsuitable, match="does not exist; create the workspace first"):
        SqliteJournal(tmp_path / "none" / "journal.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(Unsuitable, match="cannot be written"):
            SqliteJournal(tmp_path / "journal.db")
    finally:
        tmp_path.chmod(0o700)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_files_is_refused() -> None:
    folder = Path("/proc/self/fdinfo")  # not even root may create a file there
    if not folder.is_dir():
        pytest.skip("needs /proc")
    with pytest.raises(Unsuitable):
        SqliteJournal(folder / "journal.db")


def test_a_journal_of_a_newer_format_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    SqliteJournal(path).close()
    with closing(apsw.Connection(str(path))) as shell:
        shell.pragma("user_version", FORMAT + 1)
        shell.execute("ALTER TABLE events ADD COLUMN colour TEXT")
    before = snapshot_of(tmp_path)
    with pytest.raises(Corrupt, match=rf"newer agentos.*format {FORMAT + 1}.*up to {FORMAT}.*upgrade agentos"):
        SqliteJournal(path)
    assert snapshot_of(tmp_path) == before


def test_a_database_of_another_program_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE bookmarks(url TEXT)")
        other.commit()
    before = snapshot_of(tmp_path)
    with pytest.raises(Corrupt, match="another program"):
        SqliteJournal(path)
    assert snapshot_of(tmp_path) == before


def test_a_file_that_is_no_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"dear diary " * 1000)
    before = snapshot_of(tmp_path)
    with pytest.raises(Corrupt, match="not a readable journal.*backup"):
        SqliteJournal(path)
    assert snapshot_of(tmp_path) == before


def test_a_refused_journal_is_not_left_locked(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"dear diary " * 1000)
    for _ in range(2):
        with pytest.raises(Corrupt):
            SqliteJournal(path)
    path.unlink()
    SqliteJournal(path).close()


def test_an_empty_file_left_by_a_crash_at_creation_becomes_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.touch()
    journal = SqliteJournal(path)
    journal.append([row(1)], is_durable=True)
    journal.close()
    with closing(apsw.Connection(str(path))) as shell:
        assert shell.pragma("application_id") == APPLICATION_ID


def test_nobody_else_can_read_the_files(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        journal = SqliteJournal(tmp_path / "journal.db")
        journal.append([row(1)], is_durable=True)
        assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}
        journal.close()
    finally:
        os.umask(old)


@pytest.mark.parametrize("is_reopened", [True, False])
@pytest.mark.parametrize("size", [40, 5_000, 100_000])
def test_erased_bytes_are_in_no_file_any_more(tmp_path: Path, size: int, is_reopened: bool) -> None:
    path = tmp_path / "journal.db"
    secret = b"the launch code is 0000. " * (size // 25 + 1)
    journal = SqliteJournal(path)
    journal.append([row(1), row(2, secret), row(3)], is_durable=True)
    journal.save_snapshot(Snapshot(2, "t", secret))
    journal.save_snapshot(Snapshot(3, "t", secret))
    journal.save_snapshot(Snapshot(3, "t", secret))  # the first has been dropped by now
    if is_reopened:
        journal.close()
        journal = SqliteJournal(path)
    assert any(b"launch code" in content for content in snapshot_of(tmp_path).values())
    journal.erase([2])
    assert not any(b"launch code" in content for content in snapshot_of(tmp_path).values())
    assert list(journal.read()) == [row(1), row(2)._replace(payload=None, salt=b""), row(3)]
    journal.close()


def test_storage_that_lost_a_row_does_not_verify(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    journal.append([row(seq) for seq in range(1, 10)], is_durable=True)
    journal.close()
    with closing(apsw.Connection(str(path))) as shell:
        shell.execute("DELETE FROM events WHERE seq = 4")
    journal = SqliteJournal(path)
    with pytest.raises(Corrupt, match="holds 8 events but the last is 9"):
        journal.verify_storage()
    journal.close()


def test_storage_with_a_wrong_lookup_table_does_not_verify(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    journal.append([row(seq) for seq in range(1, INDEX_LAG + 1)], is_durable=True)
    journal.close()
    with closing(apsw.Connection(str(path))) as shell:
        shell.execute("DELETE FROM by_order WHERE seq = 4")
    journal = SqliteJournal(path)
    with pytest.raises(Corrupt, match="lookup tables"):
        journal.verify_storage()
    journal.close()


def test_the_log_is_folded_before_it_grows_without_bound(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    sizes = []
    for first in range(1, 40_001, 100):
        journal.append([row(seq, b"x" * 300) for seq in range(first, first + 100)], is_durable=False)
        sizes.append((tmp_path / "journal.db-wal").stat().st_size)
    journal.close()
    assert max(sizes) < 12 << 20, "one log: 512 pages of 8 KiB, and what the last append and sorting add to it"
    assert not (tmp_path / "journal.db-wal").exists()


def test_a_disk_that_takes_no_more_stops_the_journal_and_a_new_one_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))  # stands in for a full disk: writes beyond fail
    try:
        kept = 0
        with pytest.raises(Failed, match="free or repair the disk"):
            for seq in range(1, 1000):
                journal.append([row(seq, b"x" * 3000)], is_durable=seq % 2 == 0)
                kept = seq
        with pytest.raises(Failed, match="free or repair the disk"):
            journal.append([row(kept + 1)], is_durable=True)
        with pytest.raises(Failed):
            journal.last()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert kept > 10
    with pytest.raises(Failed):
        journal.append([row(kept + 1)], is_durable=True)  # room again, but what is on the disk is not known here
    journal.close()
    again = SqliteJournal(path)
    last = again.last()
    assert last is not None
    assert last.seq in (kept, kept + 1)
    again.append([row(last.seq + 1)], is_durable=True)
    again.verify_storage()
    again.close()


def renumber(path: Path, seq: int, to: int) -> None:
    """Give a stored row another number, in place, as damage does; both from 128 to 16383, or `to` 0.

    https://sqlite.org/fileformat2.html, section 1.6: a cell of a table leaf is payload size, row number, payload.
    """
    content = bytearray(path.read_bytes())
    number = bytes([0x80 | seq >> 7, seq & 0x7F])
    for page in range(PAGE_BYTES, len(content), PAGE_BYTES):
        if content[page] != 0x0D:
            continue
        for cell in range(int.from_bytes(content[page + 3 : page + 5], "big")):
            pointer = page + 8 + 2 * cell
            at = page + int.from_bytes(content[pointer : pointer + 2], "big")
            at += 2 if content[at] & 0x80 else 1
            if content[at : at + 2] == number:
                content[at : at + 2] = bytes([0x80 | to >> 7, to & 0x7F])
                path.write_bytes(content)
                return
    raise AssertionError(f"no row {seq}")


@pytest.mark.parametrize("to", [0, READ_ROWS - 200, READ_ROWS + 200, 5000])
def test_reading_a_damaged_tree_stops_at_the_damage_and_never_goes_round(tmp_path: Path, to: int) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    journal.append([row(seq) for seq in range(1, 2001)], is_durable=True)
    journal.close()
    renumber(path, READ_ROWS, to)
    journal = SqliteJournal(path)
    read: list[Row] = []
    with pytest.raises(Corrupt, match=rf"damaged: (\d+|nothing) follows event {READ_ROWS - 1}; .*restore"):
        read.extend(islice(journal.read(), 10_000))  # bounded, should it go round after all
    assert read == [row(seq) for seq in range(1, READ_ROWS)]
    with pytest.raises(Failed, match="damaged"):
        journal.last()
    journal.close()


def test_reading_a_journal_that_lost_rows_says_so(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    journal.append([row(seq) for seq in range(1, 11)], is_durable=True)
    journal.close()
    with closing(apsw.Connection(str(path))) as shell:
        shell.execute("DELETE FROM events WHERE seq BETWEEN 4 AND 6")
    journal = SqliteJournal(path)
    with pytest.raises(Corrupt, match="7 follows event 3"):
        list(journal.read())
    journal.close()
