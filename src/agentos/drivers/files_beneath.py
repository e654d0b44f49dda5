"""Files below a root, for a host that must touch what a guest may have arranged.

A tree that an agent can write is hostile ground: `report.md` may be a link to /etc/passwd, a folder may become a link
between check and use, a name may be a FIFO that blocks whoever opens it. So every path is opened from the root's
descriptor in one step that follows no link (openat2), or component by component where the kernel has no such call.

Rule 1: no symbolic link is followed, not even one that stays inside: what a path means must not depend on the guest.
Rule 2: only regular files are read and written, only folders listed; the kind is asked of the open descriptor.
Rule 3: nothing in a `.git` is touched, under any spelling a filesystem may take for it: host git trusts what is there.
Rule 4: a written file appears whole, by rename; a hard link to something else is replaced and never written through.
Source: openat2(2), path_resolution(7), CVE-2014-9390 for the spellings.
"""

import builtins
import contextlib
import ctypes
import errno
import functools
import os
import secrets
import stat as modes
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# More entries than this in one folder are of no use to a reader; sorting them is bounded with it.
ENTRIES_MAX = 100_000
# A path has at most 4096 bytes in Linux; deeper than this is an attempt at something.
DEPTH_MAX = 128
NAME_BYTES_MAX = 255  # of every filesystem in use

_OPENAT2 = 437  # the same number on every architecture
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x02, 0x04, 0x08
_TRIES = 8  # EAGAIN: a rename raced with the resolution; a guest that renames in a loop gets an error, not our time
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO opened without waiting, a terminal without becoming ours.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Unsafe(Exception):
    """The path is not one to touch: it leaves the root, passes a link, or is not what it must be."""


class Absent(Exception):
    """There is nothing at that path."""


class Piece(NamedTuple):
    """The beginning of a file, and how long all of it is."""

    content: bytes
    size_bytes: int

    @property
    def is_cut(self) -> bool:
        return len(self.content) < self.size_bytes


class Entry(NamedTuple):
    name: str
    kind: str  # file | folder | link | other
    size_bytes: int
    mtime_ns: int


def read(root: Path, path: str, bytes_max: int, *, offset_bytes: int = 0) -> Piece:
    """At most that many bytes of a regular file, from the offset on."""
    with _opened(root, _parts(path), _READ) as fd:
        found = os.fstat(fd)
        _must_be_file(path, found.st_mode)
        content = bytearray()
        os.lseek(fd, offset_bytes, os.SEEK_SET)
        while len(content) < bytes_max and (more := os.read(fd, min(bytes_max - len(content), 1 << 20))):
            content += more
        return Piece(bytes(content), max(found.st_size, offset_bytes + len(content)))


def write(root: Path, path: str, content: bytes) -> None:
    """The file is this content, whole or as before; folders on the way are made, its mode is kept."""
    parts = _parts(path)
    if not parts:
        raise Unsafe(f"path {path!r} names the root itself; name a file below it")
    _make_folders(root, parts[:-1])
    with _opened(root, parts[:-1], _FOLDER) as folder:
        mode = _mode_to_keep(folder, parts[-1], path)
        made = f".agentos-{secrets.token_hex(8)}"
        try:
            fd = os.open(
                made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=folder
            )
            with open(fd, "wb") as file:
                file.write(content)
                if mode is not None:
                    os.fchmod(fd, mode)
            os.rename(made, parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(made, dir_fd=folder)
            raise


def stat(root: Path, path: str) -> Entry:
    """What is there. A link is a link and not what it points to."""
    parts = _parts(path)
    if not parts:
        with _opened(root, parts, _FOLDER) as folder:
            return _entry(".", os.fstat(folder))
    with _opened(root, parts[:-1], _FOLDER) as folder:
        try:
            return _entry(parts[-1], os.stat(parts[-1], dir_fd=folder, follow_symlinks=False))
        except FileNotFoundError:
            raise Absent(f"path {path!r} does not exist") from None


def list(root: Path, path: str = ".", *, entries_max: int = ENTRIES_MAX) -> tuple[Entry, ...]:
    """What a folder holds, by name, `.git` left out. Links are listed and never followed."""
    with _opened(root, _parts(path), _FOLDER) as folder:
        found: builtins.list[Entry] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if len(found) >= entries_max:
                    break
                with contextlib.suppress(FileNotFoundError):
                    if not _is_git(entry.name):
                        found.append(_entry(entry.name, entry.stat(follow_symlinks=False)))
        return tuple(sorted(found))


def _parts(path: str) -> tuple[str, ...]:
    """The components below the root; Unsafe for what can only be an attempt to leave it, or must not be touched."""
    if "\0" in path:
        raise Unsafe(f"path {path!r} holds a NUL byte; no file has such a name")
    if path.startswith("/"):
        raise Unsafe(f"path {path!r} is absolute; give it relative to the working copy")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts:
        raise Unsafe(f"path {path!r} goes up; name it from the working copy's root, without '..'")
    if any(_is_git(part) for part in parts):
        raise Unsafe(f"path {path!r} is inside .git, which is not for tools; change files, and the change is committed")
    if any(len(_encoded(part)) > NAME_BYTES_MAX for part in parts):
        raise Unsafe(f"path {path[:80]!r}... has a name of over {NAME_BYTES_MAX} bytes; shorten it")
    if len(parts) > DEPTH_MAX:
        raise Unsafe(f"path has {len(parts)} components; at most {DEPTH_MAX} are taken")
    return parts


def _encoded(part: str) -> bytes:
    try:
        return os.fsencode(part)
    except UnicodeEncodeError:
        raise Unsafe(f"path component {part!r} holds half of a surrogate pair; no file has such a name") from None


def _is_git(name: str) -> bool:
    """`.git` as case-folding, NTFS and HFS+ filesystems would read it too."""
    visible = "".join(char for char in name if unicodedata.category(char) != "Cf")
    plain = visible.split(":")[0].rstrip(". ").lower()
    return plain in (".git", "git~1")


@contextlib.contextmanager
def _opened(root: Path, parts: tuple[str, ...], flags: int) -> Iterator[int]:
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = _open_beneath(top, parts, flags)
    except OSError as error:
        raise _explained(error, "/".join(parts) or ".") from error
    finally:
        os.close(top)
    try:
        yield fd
    finally:
        os.close(fd)


def _explained(error: OSError, path: str) -> Exception:
    if error.errno == errno.ENOENT:
        return Absent(f"path {path!r} does not exist")
    if error.errno in (errno.ELOOP, errno.EMLINK):
        return Unsafe(f"path {path!r} passes a symbolic link, which tools do not follow; name the file itself")
    if error.errno == errno.EXDEV:
        return Unsafe(f"path {path!r} leaves the working copy")
    if error.errno == errno.ENAMETOOLONG:
        return Unsafe(f"path of {len(path)} characters is longer than the filesystem takes; shorten it")
    if error.errno == errno.EISDIR:
        return Unsafe(f"path {path!r} is a folder; name a file")
    if error.errno == errno.ENOTDIR:
        return Unsafe(f"path {path!r} passes or ends at something that is not a folder, or at a symbolic link")
    if error.errno in (errno.ENXIO, errno.ENODEV):
        return Unsafe(f"path {path!r} is a device, socket or FIFO; only regular files are read and written")
    return error


def _open_beneath(top: int, parts: tuple[str, ...], flags: int) -> int:
    if sys.platform == "linux" and parts:
        fd = _openat2(top, "/".join(parts), flags)
        if fd is not None:
            return fd
    return _open_by_parts(top, parts, flags)


class _How(ctypes.Structure):
    """struct open_how of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _openat2(top: int, path: str, flags: int) -> int | None:
    """A descriptor; None where the kernel has no such call or a filter refuses it unseen (old container runtimes)."""
    how = _How(flags, 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)
    number = errno.EAGAIN
    for _ in range(_TRIES):
        fd = _libc().syscall(_OPENAT2, top, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
        if fd >= 0:
            return int(fd)
        number = ctypes.get_errno()
        if number != errno.EAGAIN:
            break
    if number in (errno.ENOSYS, errno.EPERM):
        return None
    raise OSError(number, os.strerror(number), path)


def _open_by_parts(top: int, parts: tuple[str, ...], flags: int) -> int:
    """The same without openat2: each component is opened from the folder before it, none through a link."""
    here = os.dup(top)
    try:
        for part in parts[:-1]:
            beyond = os.open(part, _FOLDER, dir_fd=here)
            os.close(here)
            here = beyond
        return os.open(parts[-1] if parts else ".", flags, dir_fd=here)
    finally:
        os.close(here)


def _make_folders(root: Path, parts: tuple[str, ...]) -> None:
    for depth, part in enumerate(parts):
        with _opened(root, parts[:depth], _FOLDER) as folder, contextlib.suppress(FileExistsError):
            os.mkdir(part, dir_fd=folder)


def _mode_to_keep(folder: int, name: str, path: str) -> int | None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    _must_be_file(path, found.st_mode)
    return modes.S_IMODE(found.st_mode) & 0o777


def _must_be_file(path: str, mode: int) -> None:
    if modes.S_ISREG(mode):
        return
    kind = _kind(mode)
    if kind == "folder":
        raise Unsafe(f"path {path!r} is a folder; name a file")
    if kind == "link":
        raise Unsafe(f"path {path!r} is a symbolic link, which tools do not follow; name the file itself")
    raise Unsafe(f"path {path!r} is a device, socket or FIFO; only regular files are read and written")


def _entry(name: str, found: os.stat_result) -> Entry:
    return Entry(name, _kind(found.st_mode), found.st_size, found.st_mtime_ns)


def _kind(mode: int) -> str:
    if modes.S_ISREG(mode):
        return "file"
    if modes.S_ISDIR(mode):
        return "folder"
    return "link" if modes.S_ISLNK(mode) else "other"
