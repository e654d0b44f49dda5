"""The journal in one SQLite file, for one process.

What makes a write durable is one `fdatasync` of the write-ahead log, so the figure to keep small is syncs per append;
everything else here keeps the work between two syncs small.

    append   begin, rows, commit      one sequential write to the log; one sync if the append is durable
    index    every INDEX_LAG rows     rows sorted into `by_order` and `by_caller` at once; also before a lookup
    shelf    small content beside the rows, in the append's transaction: no sync of its own
    checkpoint  every LOG_PAGES pages the log is folded into the database file and starts over; three syncs

Rule 1: the lock file is locked before the database is opened; it names the owner's os pid. The lock dies with its owner.
Rule 2: SQLite's own exclusive mode is on as well, so no shell or backup program can write or checkpoint beside us
        (two connections doing that corrupted logs in SQLite 3.7.0 to 3.51.2), and no shared memory file is needed.
        It holds between processes only: a second SQLite library in this one (Python's sqlite3) must not open the file.
Rule 3: after any error while writing, the connection is closed without a checkpoint and every call raises `Failed`.
        After a failed sync the kernel may have dropped the dirty pages and report success the next time, so a retry
        would lie; only what a new process reads back is known.
Rule 4: a checkpoint is ours to run. SQLite's automatic one swallows I/O errors, which Rule 3 does not allow.
Rule 5: no memory map: an I/O error would be a SIGBUS, and a stray pointer could write into the file.

Rejected: ordinary SQL indexes (7.7 to 10 us of CPU per row in appends of 100, and growing with the table, for each append
dirties a page per distinct key; sorted in lots: 4.8), and an index per read of the tail (a lookup would scan).
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

import apsw

from agentos.ports.journal import Corrupt, Failed, Locked, Row, Snapshot, Unsuitable

FORMAT = 1  # PRAGMA user_version. A program reads formats up to its own.
APPLICATION_ID = 0x61676F73  # "agos": tells our file from other SQLite files
SQLITE_MIN = (3, 51, 3)  # first release without the log-reset bug; https://sqlite.org/wal.html

PAGE_BYTES = 8192  # 0.3 us per row less than 4096 in appends of 100, no more in appends of one
LOG_PAGES = 512  # 4 MiB: CPU per row is flat from 4 to 64 MiB, while the pause and the recovery at start grow with it
LOG_BYTES_KEPT = 16 << 20  # a log that one huge append blew up is cut back to this at the next checkpoint
CACHE_KIB = 16_384  # the hot ends of the three tables fit many times over; many kernels share a host
INDEX_LAG = 4096  # rows; 1024 costs 2.7 us per row, 4096 1.5, 16384 1.4 but pauses 28 ms instead of 8
READ_ROWS = 512  # rows fetched at a time; an iteration holds no cursor, so that the log can be reset meanwhile
SNAPSHOTS_MAX = 2  # the newest, and the one before it in case an older program is started again

NETWORK_FILESYSTEMS = """
  9p afs beegfs ceph cifs davfs fuse.ceph fuse.davfs fuse.davfs2 fuse.gcsfuse fuse.glusterfs fuse.grpcfuse fuse.juicefs
  fuse.rclone fuse.s3fs fuse.sshfs fuse.vmhgfs-fuse gfs2 glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 osxfs prl_fs smb3
  smbfs vboxsf
"""

SCHEMA = """
CREATE TABLE events(
  seq INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, epoch INTEGER NOT NULL, type TEXT NOT NULL, version INTEGER NOT NULL,
  caller TEXT NOT NULL, cause TEXT NOT NULL, "order" TEXT NOT NULL, salt BLOB NOT NULL, payload BLOB,
  commitment BLOB NOT NULL, hash BLOB NOT NULL);
CREATE TABLE by_order("order" TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY("order", seq)) WITHOUT ROWID;
CREATE TABLE by_caller(caller TEXT NOT NULL, type TEXT NOT NULL, seq INTEGER NOT NULL,
  PRIMARY KEY(caller, type, seq)) WITHOUT ROWID;
CREATE TABLE shelf(id INTEGER PRIMARY KEY, name BLOB NOT NULL, content BLOB NOT NULL);
CREATE TABLE by_name(name BLOB PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE progress(indexed INTEGER NOT NULL, flushes INTEGER NOT NULL, shelved INTEGER NOT NULL);
CREATE TABLE snapshots(id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, tag TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO progress VALUES(0, 0, 0);
"""
INSERT = f"INSERT INTO events VALUES({', '.join('?' * len(Row._fields))})"  # columns stand in the order of Row's fields
INDEX = (
    """INSERT INTO by_order SELECT "order", seq FROM events WHERE seq > ? AND "order" <> '' ORDER BY 1, 2""",
    "INSERT INTO by_caller SELECT caller, type, seq FROM events WHERE seq > ? ORDER BY 1, 2, 3",
)
SHELVE = "INSERT INTO shelf VALUES(?, ?, ?)"
INDEX_SHELF = "INSERT OR REPLACE INTO by_name SELECT name, id FROM shelf WHERE id > ? ORDER BY 1"
ALL = "SELECT * FROM events WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
OF_ORDER = """SELECT events.* FROM by_order JOIN events USING(seq)
  WHERE by_order."order" = ? AND by_order.seq > ? AND by_order.seq <= ? ORDER BY by_order.seq LIMIT ?"""
OF_CALLER = """SELECT events.* FROM by_caller JOIN events USING(seq) WHERE by_caller.caller = ? AND by_caller.type = ?
  AND by_caller.seq > ? AND by_caller.seq <= ? ORDER BY by_caller.seq LIMIT ?"""


class SqliteJournal:
    """The journal port over the SQLite file at `path`, which is created if it is missing; its folder is not.

    `vfs` names a registered SQLite VFS, for tests that cut the power or count syncs.
    """

    def __init__(self, path: Path, *, vfs: str = "") -> None:
        refuse_old_sqlite(apsw.sqlite_lib_version())
        refuse_network(path, _mounts())
        self._path = path
        self._fault = ""
        self._is_full = True  # PRAGMA synchronous is FULL, else NORMAL
        self._is_unsynced = True  # so may be what an earlier process left behind when it died
        self._log_pages = 0
        self._last = 0
        self._indexed = 0  # the lookup tables hold the rows up to here
        self._shelf: dict[bytes, bytes] = {}  # kept, not yet written
        self._shelved_last = 0  # the id of the newest that is written
        self._shelved: dict[bytes, int] = {}  # written, not yet in `by_name`
        self._shelf_indexed = 0  # `by_name` holds the ids up to here
        self._lock = _lock(path)
        try:
            self._db = self._open(vfs)
        except BaseException:
            os.close(self._lock)
            raise

    def append(self, rows: Sequence[Row], *, is_durable: bool) -> None:
        self._ready()
        if not rows and not self._shelf and not (is_durable and self._is_unsynced):
            return
        end = self._last + len(rows)
        assert [row.seq for row in rows] == list(range(self._last + 1, end + 1)), f"rows must go on from {self._last}"
        with self._device("append to") as db:
            self._set_full(is_durable)
            db.execute("BEGIN")
            if rows:
                db.executemany(INSERT, rows)
            elif not self._shelf:
                self._flush()
            if self._shelf:
                self._shelve()
            if end - self._indexed >= INDEX_LAG:
                self._index(end)
            db.execute("COMMIT")
            self._last = end
            self._committed()

    def keep(self, name: bytes, content: bytes) -> None:
        """Put small content on the shelf under its name, which is its digest; written with the next append."""
        self._ready()
        if name not in self._shelf and self._shelf_id(name) is None:
            self._shelf[name] = content

    def kept(self, name: bytes) -> bytes | None:
        """What the shelf holds under a name, whether it is written yet or not."""
        self._ready()
        content = self._shelf.get(name)
        if content is not None:
            return content
        id = self._shelf_id(name)
        if id is None:
            return None
        with self._device("read") as db:
            found: bytes | None = db.execute("SELECT content FROM shelf WHERE id = ?", (id,)).get
        return found

    def drop(self, name: bytes) -> None:
        """Take content off the shelf; durable with the next durable append."""
        self._shelf.pop(name, None)
        id = self._shelf_id(name)
        if id is None:
            return
        with self._device("write") as db:
            db.execute("BEGIN")
            db.execute("DELETE FROM shelf WHERE id = ?", (id,))
            db.execute("DELETE FROM by_name WHERE name = ?", (name,))
            db.execute("COMMIT")
            self._shelved.pop(name, None)
            self._committed()

    def last(self) -> Row | None:
        self._ready()
        return next(self.read(self._last - 1), None) if self._last else None

    def read(self, after: int = 0, *, count_max: int | None = None) -> Iterator[Row]:
        self._ready()
        assert after >= 0, "events are numbered from 1"
        end = self._last if count_max is None else min(self._last, after + count_max)
        return self._rows(ALL, (), after, end)

    def read_order(self, order: str) -> Iterator[Row]:
        self._index_tail()
        return self._rows(OF_ORDER, (order,), 0, self._last)

    def read_caller(self, caller: str, type: str) -> Iterator[Row]:
        self._index_tail()
        return self._rows(OF_CALLER, (caller, type), 0, self._last)

    def erase(self, seqs: Sequence[int]) -> None:
        """Overwrite payload and salt with zeros in the database, and drop the log and the snapshots that held them.

        What the file system or the medium keeps of overwritten blocks is out of reach here.
        """
        self._ready()
        assert all(1 <= seq <= self._last for seq in seqs), "only stored rows can be erased"
        with self._device("erase in") as db:
            self._set_full(True)
            db.execute("BEGIN")
            db.executemany("UPDATE events SET payload = NULL, salt = x'' WHERE seq = ?", [(seq,) for seq in seqs])
            db.execute("DELETE FROM snapshots")
            db.execute("COMMIT")
            db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._log_pages = 0
            self._is_unsynced = False

    def save_snapshot(self, snapshot: Snapshot) -> None:
        self._ready()
        assert snapshot.seq <= self._last, "a snapshot folds stored rows only"
        with self._device("save a snapshot in") as db:
            self._set_full(False)
            db.execute("BEGIN")
            db.execute("INSERT INTO snapshots(seq, tag, body) VALUES(?, ?, ?)", snapshot)
            keep = "SELECT id FROM snapshots ORDER BY id DESC LIMIT ?"
            db.execute(f"DELETE FROM snapshots WHERE id NOT IN ({keep})", (SNAPSHOTS_MAX,))
            db.execute("COMMIT")
            self._committed()

    def load_snapshot(self, tag: str) -> Snapshot | None:
        with self._device("read") as db:
            found = db.execute(
                "SELECT seq, tag, body FROM snapshots WHERE tag = ? AND seq <= ? ORDER BY seq DESC, id DESC LIMIT 1",
                (tag, self._last),
            ).fetchone()
        return Snapshot(*found) if found else None

    def meta(self, key: str) -> str | None:
        with self._device("read") as db:
            value: str | None = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).get
        return value

    def set_meta(self, key: str, value: str) -> None:
        with self._device("write") as db:
            self._set_full(True)
            db.execute("INSERT INTO meta VALUES(?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (key, value))
            self._committed()

    def verify_storage(self) -> None:
        """Read every page. `Corrupt` if the file's structure, its sequence or its lookup tables contradict themselves.

        A changed byte inside a stored value is not seen here: that is what the hash chain is for. O(rows): minutes
        for a very long journal, so it runs when asked and never at start.
        """
        with self._device("read") as db:
            findings = [str(row[0]) for row in db.execute("PRAGMA integrity_check(5)")]
            count, last = db.execute("SELECT count(*), coalesce(max(seq), 0) FROM events").fetchall()[0]
            found = db.execute("SELECT (SELECT count(*) FROM by_caller), (SELECT count(*) FROM by_order)").fetchone()
            due = db.execute(
                """SELECT count(*), count(nullif("order", '')) FROM events WHERE seq <= ?""", (self._indexed,)
            ).fetchone()
            sorted_in = db.execute("SELECT count(*) FROM by_name").get
            shelved = db.execute("SELECT count(*) FROM shelf WHERE id <= ?", (self._shelf_indexed,)).get
        if findings != ["ok"]:
            raise Corrupt(f"journal {self._path} is damaged: {'; '.join(findings)}; {RESTORE}")
        if count != last or last != self._last:
            raise Corrupt(f"journal {self._path} holds {count} events but the last is {last}; {RESTORE}")
        if found != due or sorted_in != shelved:
            raise Corrupt(f"journal {self._path} has lookup tables that do not match its events; {RESTORE}")

    def close(self) -> None:
        """Fold the log into the database file and release the lock. Closing twice is closing once."""
        if self._lock < 0:
            return
        try:
            if not self._fault:
                with self._device("close") as db:
                    db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
                    db.close(True)
        finally:
            self._fault = self._fault or f"journal {self._path} is closed; open it again"
            os.close(self._lock)
            self._lock = -1

    # Opening

    def _open(self, vfs: str) -> apsw.Connection:
        try:  # Created here, for SQLite would make it readable by all.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise Unsuitable(
                f"journal {self._path} cannot be written: {error.strerror}; see to its permissions"
            ) from error
        try:
            db = apsw.Connection(str(self._path), vfs=vfs or None)
            try:
                self._prepare(db)
            except BaseException:
                db.close(True)
                raise
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise Corrupt(f"{self._path} is not a readable journal: {_say(error)}; {RESTORE}") from error
        except apsw.BusyError as error:
            raise Locked(
                f"journal {self._path} is open in another program (a database shell?); close it there"
            ) from error
        except apsw.Error as error:
            raise Failed(f"journal {self._path} could not be opened: {_say(error)}; look at the disk") from error
        return db

    def _prepare(self, db: apsw.Connection) -> None:
        """Set the connection up, create the tables in an empty file, and learn where the journal ends."""
        db.pragma("locking_mode", "EXCLUSIVE")  # before the first read, so that the log's index is in our memory
        db.pragma("page_size", PAGE_BYTES)
        is_new = self._refuse_foreign(db)
        if db.pragma("journal_mode", "WAL") != "wal":
            raise Unsuitable(f"journal {self._path} cannot use a write-ahead log there; move it to a local disk")
        db.pragma("synchronous", "FULL")
        db.pragma("fullfsync", "ON")  # macOS: without it a sync stops at the drive's cache; elsewhere without effect
        db.pragma("checkpoint_fullfsync", "ON")
        db.pragma("mmap_size", 0)
        db.pragma("cache_size", -CACHE_KIB)
        db.pragma("journal_size_limit", LOG_BYTES_KEPT)
        db.pragma("secure_delete", "ON")  # what `erase` and dropped snapshots leave is overwritten, not just unlinked
        db.pragma("temp_store", "MEMORY")  # sorting for the index never spills beside the journal
        db.set_wal_hook(self._note_log)
        if is_new:
            self._create(db)
        self._last = db.execute("SELECT coalesce(max(seq), 0) FROM events").get
        self._indexed = db.execute("SELECT indexed FROM progress").get
        self._shelf_indexed = db.execute("SELECT shelved FROM progress").get
        tail = db.execute("SELECT name, id FROM shelf WHERE id > ?", (self._shelf_indexed,))
        for name, id in tail:
            self._shelved[bytes(name)] = int(id)
        self._shelved_last = max(self._shelf_indexed, *self._shelved.values(), 0)

    def _refuse_foreign(self, db: apsw.Connection) -> bool:
        """True for an empty file; raise unless it is empty or a journal of a format this program reads."""
        if db.execute("SELECT count(*) FROM sqlite_schema").get == 0:
            return True
        if db.pragma("application_id") != APPLICATION_ID:
            raise Corrupt(f"{self._path} is a database of another program; name another path, or move that file away")
        found = db.pragma("user_version")
        if found > FORMAT:
            raise Corrupt(
                f"the workspace of {self._path} was written by a newer agentos (journal format {found}, this one reads up to"
                f" {FORMAT}); upgrade agentos, or restore a copy from before the upgrade"
            )
        return False

    def _create(self, db: apsw.Connection) -> None:
        """All or nothing: a power cut leaves an empty file, which the next start fills."""
        with db:
            db.execute(SCHEMA).fetchall()
            db.pragma("application_id", APPLICATION_ID)
            db.pragma("user_version", FORMAT)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)  # SQLite syncs the folder for its logs, not for the database file itself
        finally:
            os.close(folder)

    # Writing

    def _set_full(self, is_full: bool) -> None:
        if is_full != self._is_full:
            self._db.pragma("synchronous", "FULL" if is_full else "NORMAL")
            self._is_full = is_full

    def _flush(self) -> None:
        """Change a page, that a commit has something to sync, and with it all that the log already holds.

        The value must change: SQLite leaves a page alone that is written with what it holds.
        """
        self._db.execute("UPDATE progress SET flushes = flushes + 1")

    def _shelve(self) -> None:
        """Write what was kept, inside the open transaction; sort names into their table when there are many."""
        first = self._shelved_last + 1
        self._db.executemany(
            SHELVE, [(id, name, content) for id, (name, content) in enumerate(self._shelf.items(), first)]
        )
        self._shelved.update((name, id) for id, name in enumerate(self._shelf, first))
        self._shelved_last += len(self._shelf)
        self._shelf.clear()
        if len(self._shelved) >= INDEX_LAG:
            self._db.execute(INDEX_SHELF, (self._shelf_indexed,))
            self._db.execute("UPDATE progress SET shelved = ?", (self._shelved_last,))
            self._shelf_indexed = self._shelved_last
            self._shelved.clear()

    def _shelf_id(self, name: bytes) -> int | None:
        id: int | None = self._shelved.get(name)
        if id is None and self._shelf_indexed:
            with self._device("read") as db:
                id = db.execute("SELECT id FROM by_name WHERE name = ?", (name,)).get
        return id

    def _index(self, end: int) -> None:
        """Sort the rows not yet in the lookup tables into them, inside the open transaction."""
        for statement in INDEX:
            self._db.execute(statement, (self._indexed,))
        self._db.execute("UPDATE progress SET indexed = ?", (end,))
        self._indexed = end

    def _index_tail(self) -> None:
        if self._indexed == self._last:
            self._ready()
            return
        with self._device("index") as db:
            self._set_full(False)
            db.execute("BEGIN")
            self._index(self._last)
            db.execute("COMMIT")
            self._committed()

    def _note_log(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _committed(self) -> None:
        """Note what the commit left unsynced, and fold the log if it has grown."""
        self._is_unsynced = not self._is_full
        if self._log_pages >= LOG_PAGES:
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._log_pages = 0

    # Reading

    def _rows(self, query: str, keys: tuple[str, ...], after: int, end: int) -> Iterator[Row]:
        """Rows after one and up to another. In a damaged tree SQLite may go back or skip, so each step is checked here:
        unchecked, a row with a wrong number would send the loop round for ever."""
        while after < end:
            with self._device("read") as db:
                rows = [Row._make(row) for row in db.execute(query, (*keys, after, end, READ_ROWS))]
            for row in rows:
                if not after < row.seq <= end or (query is ALL and row.seq != after + 1):
                    raise self._out_of_order(after, row.seq)
                after = row.seq
                yield row
            if len(rows) < READ_ROWS:
                if query is ALL and after < end:
                    raise self._out_of_order(after, None)
                return

    def _out_of_order(self, after: int, found: int | None) -> Corrupt:
        fact = "nothing follows" if found is None else f"{found} follows"
        self._stop(f"journal {self._path} is damaged: {fact} event {after}; {RESTORE}")
        return Corrupt(self._fault)

    # Failing

    def _ready(self) -> apsw.Connection:
        if self._fault:
            raise Failed(self._fault)
        return self._db

    @contextmanager
    def _device(self, verb: str) -> Iterator[apsw.Connection]:
        """The connection; whatever goes wrong while it is used is the end of this journal object (Rule 3)."""
        db = self._ready()
        try:
            yield db
        except (apsw.CorruptError, apsw.NotADBError, apsw.ConstraintError) as error:
            # A constraint can only break if what is stored contradicts what was read from it before.
            self._stop(f"journal {self._path} is damaged: {_say(error)}; {RESTORE}")
            raise Corrupt(self._fault) from error
        except apsw.Error as error:
            self._stop(
                f"could not {verb} journal {self._path}: {_say(error)}; free or repair the disk, then start again"
            )
            raise Failed(self._fault) from error
        except BaseException as error:
            self._stop(f"could not {verb} journal {self._path}: {error!r}; start again")
            raise

    def _stop(self, fault: str) -> None:
        """Close the connection at once, with no last checkpoint; the lock stays until `close`."""
        self._fault = fault
        with suppress(apsw.Error):  # The disk already failed; that it fails again at closing adds nothing.
            self._db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self._db.close(True)


RESTORE = "keep the file as it is and restore the workspace from a backup"


def _say(error: apsw.Error) -> str:
    return f"{type(error).__name__}: {error}"


def refuse_old_sqlite(version: str) -> None:
    """Raise `Unsuitable` for an SQLite that can corrupt its log."""
    if tuple(int(part) for part in version.split(".")) < SQLITE_MIN:
        least = ".".join(map(str, SQLITE_MIN))
        raise Unsuitable(f"SQLite {version} can corrupt a write-ahead log; upgrade apsw to one with SQLite >= {least}")


def refuse_network(path: Path, mounts: str) -> None:
    """Raise `Unsuitable` if `path` lies on a network filesystem, where locks and syncs do not hold what they promise.

    `mounts` is the text of /proc/self/mountinfo; where there is none (not Linux), nothing is known and nothing refused.
    """
    kind = filesystem(path, mounts)
    if kind in NETWORK_FILESYSTEMS.split():
        raise Unsuitable(
            f"journal {path} would lie on a network or host-shared filesystem ({kind}), which keeps neither locks nor"
            " syncs reliably; put the workspace on a local disk"
        )


def filesystem(path: Path, mounts: str) -> str:
    """The type of the filesystem that holds `path`, "" if unknown; proc_pid_mountinfo(5)."""
    real = path.resolve()
    best, kind = -1, ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        point = Path(_unescape(left.split(" ")[4]))
        if (
            real.is_relative_to(point) and len(point.parts) >= best
        ):  # the later of two mounts on one point hides the first
            best, kind = len(point.parts), right.split(" ")[0]
    return kind


def _unescape(point: str) -> str:
    """The kernel writes blanks in a mount point as octal escapes, and all else as the bytes they are."""
    return os.fsdecode(os.fsencode(point).decode("unicode_escape").encode("latin-1"))


def _mounts() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    except FileNotFoundError:
        return ""


def _lock(path: Path) -> int:
    """The file descriptor that holds the lock; it is inherited by forks, and released when the last copy is closed."""
    name = path.with_name(path.name + ".lock")
    try:
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError as error:
        raise Unsuitable(f"folder {path.parent} does not exist; create the workspace first") from error
    except OSError as error:
        raise Unsuitable(
            f"folder {path.parent} cannot be written: {error.strerror}; give this user write access"
        ) from error
    try:
        flock(lock, LOCK_EX | LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    except BlockingIOError as error:
        owner = os.pread(lock, 32, 0).decode() or "unknown"  # it may hold the lock and not have written its pid yet
        os.close(lock)
        raise Locked(f"journal {path} is owned by os pid {owner}; use that one, or stop it") from error
    except OSError as error:
        os.close(lock)
        raise Unsuitable(f"journal {path} cannot be locked: {error.strerror}; free the disk or move it") from error
    return lock
