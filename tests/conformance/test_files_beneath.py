"""Files below a root, by openat2 and component by component: the same answers to everything a guest can plant."""

import ctypes
import errno
import os
import shutil
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from agentos.drivers import files_beneath
from agentos.drivers.files_beneath import Absent, Unsafe


@pytest.fixture(params=["openat2", "by_parts"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working copy beside a folder with a secret, for each way of opening."""
    if request.param == "by_parts":
        monkeypatch.setattr(files_beneath, "_openat2", lambda top, path, flags: None)
    elif sys.platform != "linux":
        pytest.skip("openat2 is Linux's")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "key").write_text("secret")
    (tmp_path / "root" / "src").mkdir(parents=True)
    (tmp_path / "root" / "src" / "main.py").write_text("print()\n")
    (tmp_path / "root" / ".git").mkdir()
    (tmp_path / "root" / ".git" / "config").write_text("[core]\n")
    return tmp_path / "root"


def everything(folder: Path) -> dict[str, tuple[int, str]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        is_file = path.is_file() and not path.is_symlink()
        found[str(path)] = (path.lstat().st_mode, path.read_text() if is_file else "")
    return found


def plant(root: Path) -> None:
    (root / "link").symlink_to(root.parent / "outside" / "key")
    (root / "folder_link").symlink_to(root.parent / "outside")
    (root / "up_link").symlink_to("../outside")
    (root / "inside_link").symlink_to("src/main.py")
    (root / "dangling").symlink_to("/nonexistent/x")
    (root / "proc_link").symlink_to("/proc/self/root/etc/passwd")
    os.mkfifo(root / "fifo")


HOSTILE = [
    ("../outside/key", "goes up"),
    ("src/../../outside/key", "goes up"),
    ("/etc/passwd", "absolute"),
    ("a\0b", "NUL"),
    (".git/config", r"\.git"),
    (".GIT/config", r"\.git"),
    ("src/.git/hooks/pre-commit", r"\.git"),
    (".git./config", r"\.git"),
    ("git~1/config", r"\.git"),
    (".g\u200cit/config", r"\.git"),
    (".git::$INDEX_ALLOCATION/config", r"\.git"),
    ("link", "symbolic link"),
    ("folder_link/key", "symbolic link"),
    ("up_link/key", "symbolic link"),
    ("inside_link", "symbolic link"),
    ("dangling", "symbolic link"),
    ("proc_link", "symbolic link"),
    ("fifo", "FIFO"),
    ("socket", "FIFO"),
    ("src", "folder"),
    ("src/main.py/x", "not a folder"),
    ("x/" * 200 + "y", "components"),
    ("n" * 300, "shorten"),
    ("half\ud800", "surrogate"),
]


@pytest.mark.parametrize(("path", "why"), HOSTILE)
def test_what_is_planted_is_neither_read_nor_written(root: Path, path: str, why: str) -> None:
    plant(root)
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(".", os.O_RDONLY)
        os.chdir(root)  # a unix socket's path is short; the temporary folder's need not be
        server.bind("socket")
        os.fchdir(here)
        os.close(here)
        before = everything(root.parent)
        with pytest.raises(Unsafe, match=why):
            files_beneath.read(root, path, 100)
        with pytest.raises(Unsafe, match=why):
            files_beneath.write(root, path, b"mine")
        assert everything(root.parent) == before


def test_a_device_is_not_read() -> None:
    with pytest.raises(Unsafe, match="device"):
        files_beneath.read(Path("/dev"), "zero", 10)


def test_reading_is_bounded_and_says_how_much_there_is(root: Path) -> None:
    (root / "big").write_bytes(b"0123456789")
    assert files_beneath.read(root, "big", 4) == (b"0123", 10)
    assert files_beneath.read(root, "./big", 4, offset_bytes=8) == (b"89", 10)
    assert files_beneath.read(root, "big", 10).is_cut is False
    assert files_beneath.read(root, "big", 9).is_cut is True


def test_what_is_not_there_is_absent(root: Path) -> None:
    with pytest.raises(Absent, match="'no' does not exist"):
        files_beneath.read(root, "no", 1)
    with pytest.raises(Absent, match="'no' does not exist"):
        files_beneath.list(root, "no")
    for path in ("src/no", "no/no"):
        with pytest.raises(Absent, match="does not exist"):
            files_beneath.stat(root, path)


def test_writing_makes_folders_and_keeps_the_mode(root: Path) -> None:
    files_beneath.write(root, "a/b/c.txt", b"new")
    assert (root / "a/b/c.txt").read_bytes() == b"new"
    (root / "run.sh").write_text("old")
    (root / "run.sh").chmod(0o755)
    files_beneath.write(root, "run.sh", b"new")
    assert ((root / "run.sh").read_bytes(), (root / "run.sh").stat().st_mode & 0o777) == (b"new", 0o755)


def test_writing_replaces_a_hard_link_and_not_what_it_shares(root: Path) -> None:
    os.link(root.parent / "outside" / "key", root / "shared")
    files_beneath.write(root, "shared", b"mine")
    assert (root.parent / "outside" / "key").read_text() == "secret"
    assert (root / "shared").read_text() == "mine"


def test_a_write_that_fails_leaves_the_file_and_no_trace(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(root)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="No space"):
        files_beneath.write(root, "src/main.py", b"half")
    assert everything(root) == before


def test_listing_is_by_name_without_git_and_links_are_links(root: Path) -> None:
    plant(root)
    kinds = {entry.name: entry.kind for entry in files_beneath.list(root)}
    assert list(kinds) == sorted(kinds)
    assert ".git" not in kinds
    assert (kinds["src"], kinds["link"], kinds["fifo"]) == ("folder", "link", "other")
    assert [entry.name for entry in files_beneath.list(root, "src")] == ["main.py"]
    with pytest.raises(Unsafe, match="symbolic link"):
        files_beneath.list(root, "folder_link")
    assert files_beneath.stat(root, "link").kind == "link"
    assert files_beneath.stat(root, ".").kind == "folder"
    assert len(files_beneath.list(root, entries_max=2)) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges two names in one step")
def test_a_folder_swapped_for_a_link_while_it_is_used_never_shows_what_is_behind(root: Path) -> None:
    """The race that a check before use loses: one thread swaps, this one reads and writes."""
    (root / "spot").mkdir()
    (root / "spot" / "key").write_text("mine")
    (root / "decoy").symlink_to(root.parent / "outside")
    libc = ctypes.CDLL(None, use_errno=True)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    is_over = threading.Event()

    def swap() -> None:
        while not is_over.is_set():
            libc.renameat2(here, os.fsencode(root / "spot"), here, os.fsencode(root / "decoy"), exchange)

    swapper = threading.Thread(target=swap)
    swapper.start()
    answers = {"read": 0, "refused": 0}
    try:
        deadline = time.monotonic() + 20
        while min(answers.values()) < 50 and time.monotonic() < deadline:
            try:
                assert files_beneath.read(root, "spot/key", 10).content == b"mine"
                files_beneath.write(root, "spot/key", b"mine")
                answers["read"] += 1
            except Unsafe:
                answers["refused"] += 1
    finally:
        is_over.set()
        swapper.join()
    assert min(answers.values()) >= 50, answers
    assert (root.parent / "outside" / "key").read_text() == "secret"
    assert os.listdir(root.parent / "outside") == ["key"]


def test_a_root_that_is_gone_is_an_error_of_the_host(root: Path) -> None:
    shutil.rmtree(root)
    with pytest.raises(FileNotFoundError):
        files_beneath.read(root, "src/main.py", 10)
