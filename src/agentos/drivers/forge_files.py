"""Files beneath a root that somebody hostile may be writing to: opened component by component, never through a link.

A worker can swap a directory for a link between our look and our read. So nothing here takes a path and opens it: each
component is opened from the descriptor of the one above it, with O_NOFOLLOW, and only regular files are read.

Rule 1: what is not a plain file or a plain directory is named (`Kind.OTHER`), never opened. A FIFO would hang us.
Rule 2: no read is unbounded. A file over its bound raises `TooLarge`.
Rule 3: writes are beside and then renamed into place, so a reader sees the old content or the new.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from agentos.ports.forge import TooLarge

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # non-blocking: a FIFO put there in between returns
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
DEPTH_MAX = 64  # directories above a file; source trees have under 20, and a worker can nest without end


class Kind(StrEnum):
    FILE = "file"
    LINK = "link"
    OTHER = "other"  # device, socket, FIFO, or a repository inside the copy


class Seen(NamedTuple):
    """One entry found beneath the root."""

    path: str
    kind: Kind
    is_executable: bool
    size_bytes: int


@contextmanager
def opened(root: Path) -> Iterator[int]:
    """The descriptor of a root directory that is itself not a link."""
    descriptor = os.open(root, _DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def parent_of(root: int, path: str, *, is_made: bool = False, made: list[str] | None = None) -> Iterator[int]:
    """The descriptor of the directory that holds `path`; OSError where a component is a link or no directory."""
    at = os.dup(root)
    walked: list[str] = []
    try:
        for part in path.split("/")[:-1]:
            walked.append(part)
            if is_made:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o777, dir_fd=at)
                    if made is not None:
                        made.append("/".join(walked))
            below = os.open(part, _DIRECTORY, dir_fd=at)
            os.close(at)
            at = below
        yield at
    finally:
        os.close(at)


def read(root: int, path: str, *, bytes_max: int) -> bytes:
    """The content of a regular file beneath `root`; OSError if it is anything else."""
    with parent_of(root, path) as directory:
        descriptor = os.open(path.rsplit("/", 1)[-1], _READ, dir_fd=directory)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file")
        content = file.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise TooLarge(f"file {path} has over {bytes_max} bytes; raise forge.file_bytes_max, or leave it out")
    return content


def read_link(root: int, path: str) -> str:
    with parent_of(root, path) as directory:
        return os.readlink(path.rsplit("/", 1)[-1], dir_fd=directory)


def mode(root: int, path: str) -> int | None:
    """The mode of what lies there, links not followed; None if there is nothing, or something else in the way."""
    try:
        with parent_of(root, path) as directory:
            return os.stat(path.rsplit("/", 1)[-1], dir_fd=directory, follow_symlinks=False).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_beside(root: int, path: str, beside: str, content: bytes, *, permissions: int, made: list[str]) -> None:
    """Write `content` durably to `beside`, a sibling of `path` that `put_in_place` will rename; notes directories it made."""
    with parent_of(root, path, is_made=True, made=made) as directory:
        name = beside.rsplit("/", 1)[-1]
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)  # left over from an apply that was cut off
        descriptor = os.open(name, _WRITE, permissions, dir_fd=directory)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)


def put_in_place(root: int, beside: str, path: str) -> None:
    with parent_of(root, path) as directory:
        source, target = beside.rsplit("/", 1)[-1], path.rsplit("/", 1)[-1]
        os.rename(source, target, src_dir_fd=directory, dst_dir_fd=directory)


def write_new(root: int, path: str, content: bytes, *, is_executable: bool) -> None:
    """Write a file that is not there yet."""
    with parent_of(root, path, is_made=True) as directory:
        descriptor = os.open(path.rsplit("/", 1)[-1], _WRITE, 0o777 if is_executable else 0o666, dir_fd=directory)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)


def link_new(root: int, path: str, target: str) -> None:
    with parent_of(root, path, is_made=True) as directory:
        os.symlink(target, path.rsplit("/", 1)[-1], dir_fd=directory)


def remove(root: int, path: str) -> None:
    with suppress(FileNotFoundError), parent_of(root, path) as directory:
        os.unlink(path.rsplit("/", 1)[-1], dir_fd=directory)


def remove_directory(root: int, path: str) -> None:
    """Remove a directory if it is there and empty."""
    with suppress(OSError), parent_of(root, path) as directory:
        os.rmdir(path.rsplit("/", 1)[-1], dir_fd=directory)


def walk(root: int, *, is_skipped: Callable[[str], bool], files_max: int) -> Iterator[Seen]:
    """Every entry beneath `root`, sorted by name within a directory; `is_skipped` prunes directories by path."""
    for count, seen in enumerate(_walk(root, "", 0, is_skipped), start=1):
        if count > files_max:
            raise TooLarge(f"the working copy has over {files_max} files; raise forge.files_max, or ignore some")
        yield seen


def _walk(directory: int, prefix: str, depth: int, is_skipped: Callable[[str], bool]) -> Iterator[Seen]:
    if depth > DEPTH_MAX:
        raise TooLarge(f"directory {prefix} is over {DEPTH_MAX} levels deep; flatten it, or ignore it")
    with os.scandir(directory) as entries:
        names = sorted(os.fsencode(entry.name) for entry in entries)
    for raw in names:
        name = os.fsdecode(raw)
        path = f"{prefix}{name}"
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            continue  # gone since the listing: a worker that still runs, or a swap
        if stat.S_ISDIR(status.st_mode):
            if is_skipped(f"{path}/"):
                continue
            yield from _descend(directory, name, path, depth, is_skipped)
        elif stat.S_ISREG(status.st_mode):
            yield Seen(path, Kind.FILE, bool(status.st_mode & 0o100), status.st_size)
        else:
            kind = Kind.LINK if stat.S_ISLNK(status.st_mode) else Kind.OTHER
            yield Seen(path, kind, False, 0)


def _descend(above: int, name: str, path: str, depth: int, is_skipped: Callable[[str], bool]) -> Iterator[Seen]:
    try:
        below = os.open(name, _DIRECTORY, dir_fd=above)
    except OSError:
        yield Seen(path, Kind.OTHER, False, 0)  # it became a link under our eyes, or may not be read
        return
    try:
        yield from _walk(below, f"{path}/", depth + 1, is_skipped)
    finally:
        os.close(below)
