"""The blob port's promises, asked of every driver; and the order of syncs and renames of the one that writes files."""

import errno
import os
import resource
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentos.abi.ids import Digest
from agentos.drivers.blobs_files import FileBlobs
from agentos.drivers.blobs_memory import MemoryBlobs
from agentos.drivers.blobs_near import NearBlobs
from agentos.drivers.journal_sqlite import SqliteJournal
from agentos.ports.blobs import Blobs, Corrupt, Failed, Missing

CONTENTS = [b"", b"x", b"words", bytes(range(256)) * 1000]
ABSENT = Digest(sha256(b"never put").hexdigest())
NO_NAMES = [
    "",
    "abc",
    "../../../etc/passwd",
    ABSENT.upper(),
    ABSENT[:-1] + "g",
    ABSENT + "0",
    "/etc/passwd",
    ABSENT[:-1] + "\n",
]


def spoil(blobs: Blobs, digest: Digest) -> None:
    """Damage a stored blob below the driver."""
    if isinstance(blobs, MemoryBlobs):
        blobs.spoil(digest)
        return
    if isinstance(blobs, NearBlobs):
        assert isinstance(blobs, Beside)
        blobs.spoil(digest)
        return
    assert isinstance(blobs, FileBlobs)
    path = blobs._objects / digest[:2] / digest
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


class Beside(NearBlobs):
    """Near blobs with the append that follows each sync, as the machine makes it."""

    def __init__(self, folder: Path) -> None:
        self.journal = SqliteJournal(folder / "journal.db")
        super().__init__(self.journal, FileBlobs(folder / "blobs"))

    def sync(self) -> None:
        super().sync()
        self.journal.append([], is_durable=True)

    def spoil(self, digest: Digest) -> None:
        changed = self.journal._db.execute(
            "UPDATE shelf SET content = ? WHERE name = ? RETURNING id", (b"changed", bytes.fromhex(digest))
        )
        assert len(changed.fetchall()) == 1


@pytest.fixture(params=["files", "memory", "near"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blobs]:
    if request.param == "near":
        beside = Beside(tmp_path)
        yield beside
        beside.journal.close()
    else:
        yield FileBlobs(tmp_path / "blobs") if request.param == "files" else MemoryBlobs()


@pytest.mark.parametrize("content", CONTENTS, ids=len)
def test_content_comes_back_before_and_after_a_sync(blobs: Blobs, content: bytes) -> None:
    digest = blobs.put(content)
    assert digest == sha256(content).hexdigest()
    assert blobs.has(digest)
    assert blobs.get(digest) == content
    blobs.sync()
    assert blobs.has(digest)
    assert blobs.get(digest) == content


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=40))
def test_any_contents_in_any_number_come_back(blobs: Blobs, contents: list[bytes]) -> None:
    digests = [blobs.put(content) for content in contents]
    blobs.sync()
    assert [blobs.get(digest) for digest in digests] == contents


def test_the_same_content_is_one_blob(blobs: Blobs) -> None:
    digests = {blobs.put(b"words"), blobs.put(b"words")}
    blobs.sync()
    digests.add(blobs.put(b"words"))
    blobs.sync()
    assert len(digests) == 1
    digest = digests.pop()
    blobs.delete(digest)
    assert not blobs.has(digest)


@pytest.mark.parametrize("name", [ABSENT, *NO_NAMES])
def test_what_was_never_put_is_missing_and_deleting_it_does_nothing(blobs: Blobs, name: str) -> None:
    kept = blobs.put(b"words")
    assert not blobs.has(Digest(name))
    with pytest.raises(Missing):
        blobs.get(Digest(name))
    blobs.delete(Digest(name))
    blobs.sync()
    assert blobs.get(kept) == b"words"


@pytest.mark.parametrize("is_synced", [True, False])
def test_a_deleted_blob_is_missing_and_can_be_put_again(blobs: Blobs, is_synced: bool) -> None:
    digest = blobs.put(b"words")
    if is_synced:
        blobs.sync()
    blobs.delete(digest)
    assert not blobs.has(digest)
    with pytest.raises(Missing):
        blobs.get(digest)
    blobs.sync()
    assert not blobs.has(digest)
    assert blobs.put(b"words") == digest
    blobs.sync()
    assert blobs.get(digest) == b"words"


def test_changed_bytes_are_noticed_when_they_are_read(blobs: Blobs) -> None:
    digest, other = blobs.put(b"words"), blobs.put(b"other")
    blobs.sync()
    spoil(blobs, digest)
    with pytest.raises(Corrupt, match=digest):
        blobs.get(digest)
    assert blobs.get(other) == b"other"


def test_synced_blobs_survive_and_unsynced_ones_are_wholly_gone(tmp_path: Path) -> None:
    first = FileBlobs(tmp_path / "blobs")
    kept = first.put(b"kept")
    first.sync()
    lost = first.put(b"lost")
    second = FileBlobs(tmp_path / "blobs")  # as after a crash
    assert second.get(kept) == b"kept"
    assert not second.has(lost)
    assert second.sweep() == 1
    assert second.sweep() == 0
    assert second.get(kept) == b"kept"
    memory = MemoryBlobs()
    kept = memory.put(b"kept")
    memory.sync()
    lost = memory.put(b"lost")
    image = memory.image()
    assert (image.has(kept), image.has(lost), memory.has(lost)) == (True, False, True)


def test_a_sweep_spares_what_is_pending(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path / "blobs")
    digest = blobs.put(b"words")
    assert blobs.sweep() == 0
    blobs.sync()
    assert blobs.get(digest) == b"words"


class Spy:
    """Notes syncs and renames while the real ones happen."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[tuple[str, str, str]] = []
        real_fsync, real_rename = os.fsync, Path.rename

        def fsync(file: int) -> None:
            self.steps.append(("sync", os.readlink(f"/proc/self/fd/{file}"), ""))
            real_fsync(file)

        def rename(source: Path, target: Path) -> Path:
            self.steps.append(("rename", str(source), str(target)))
            return real_rename(source, target)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(Path, "rename", rename)

    def at(self, verb: str, path: str) -> list[int]:
        return [n for n, step in enumerate(self.steps) if step[:2] == (verb, path)]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to name open files")
@pytest.mark.parametrize("count", [1, 3, 60])
def test_content_is_synced_before_it_gets_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    folder = tmp_path / "blobs"
    blobs = FileBlobs(folder)
    spy = Spy(monkeypatch)
    for n in range(count):
        blobs.put(b"words %d" % n)
    assert spy.steps == [], "putting costs no sync"
    blobs.sync()
    renames = [step for step in spy.steps if step[0] == "rename"]
    assert len(renames) == count
    for _, source, target in renames:
        renamed = spy.at("rename", source)[0]
        shard = str(Path(target).parent)
        assert spy.at("sync", source)[0] < renamed < spy.at("sync", shard)[0]
    assert spy.at("sync", str(folder / "objects"))[0] < spy.at("rename", renames[0][1])[0], (
        "new folders have durable names"
    )
    assert len(spy.steps) <= 3 * count + 1
    spy.steps.clear()
    blobs.sync()
    blobs.put(b"words 0")
    blobs.sync()
    assert spy.steps == [], "nothing pending costs nothing, and nor does content that is known to be durable"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to name open files")
def test_content_found_from_an_earlier_life_gets_a_durable_name_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FileBlobs(tmp_path / "blobs").put(b"words")
    first = FileBlobs(tmp_path / "blobs")
    digest = first.put(b"words")
    first.sync()
    again = FileBlobs(tmp_path / "blobs")
    spy = Spy(monkeypatch)
    assert again.put(b"words") == digest
    again.sync()
    assert [step[:2] for step in spy.steps] == [("sync", str(tmp_path / "blobs" / "objects" / digest[:2]))]


@pytest.mark.parametrize("count", [1, 40])
def test_a_failed_sync_names_nothing_and_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    blobs = FileBlobs(tmp_path / "blobs")
    kept = blobs.put(b"kept")
    blobs.sync()
    digests = [blobs.put(b"words %d" % n) for n in range(count)]

    def fail(_file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(Failed, match=r"Input/output error; repair the disk"):
            blobs.sync()
    for refused in (blobs.sync, lambda: blobs.put(b"more"), lambda: blobs.delete(kept)):
        with pytest.raises(Failed, match="repair the disk"):
            refused()
    after = FileBlobs(tmp_path / "blobs")
    assert after.get(kept) == b"kept"
    assert not any(after.has(digest) for digest in digests)


def test_a_failed_sync_in_memory_is_not_tried_again() -> None:
    blobs = MemoryBlobs(fail_at=2)
    kept = blobs.put(b"kept")
    blobs.sync()
    lost = blobs.put(b"lost")
    for refused in (blobs.sync, blobs.sync, lambda: blobs.put(b"more"), lambda: blobs.delete(kept)):
        with pytest.raises(Failed):
            refused()
    assert (blobs.image().has(kept), blobs.image().has(lost)) == (True, False)


def test_a_put_that_does_not_fit_leaves_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path / "blobs")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # stands in for a full disk: writes beyond fail
    try:
        with pytest.raises(Failed, match="free the disk"):
            blobs.put(b"x" * 5000)
        digest = blobs.put(b"x" * 500)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not blobs.has(Digest(sha256(b"x" * 5000).hexdigest()))
    assert len(list((tmp_path / "blobs" / "temporary").iterdir())) == 1
    blobs.sync()
    assert blobs.get(digest) == b"x" * 500


def test_a_folder_that_takes_no_files_is_refused() -> None:
    with pytest.raises(Failed, match="cannot be kept"):
        FileBlobs(Path("/proc/self/fdinfo/blobs"))


def test_nobody_else_can_read_the_files(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        blobs = FileBlobs(tmp_path / "blobs")
        blobs.put(b"words")
        blobs.sync()
        assert {path.stat().st_mode & 0o077 for path in (tmp_path / "blobs").rglob("*")} == {0}
    finally:
        os.umask(old)
