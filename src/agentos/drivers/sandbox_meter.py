"""What a sandboxed tree of processes uses, read from outside: its processes, their memory, the disk they filled.

Used where the kernel cannot be told a bound: processes and memory without a control group, and the disk behind
writable binds, which has no quota. A reading is late by one tick; what was used inside the tick is the price.

Rule 1: reading never follows a link the tree has planted: folders are walked by descriptor.
Rule 2: a process that died between listing and reading counts nothing.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_BLOCK_BYTES = 512  # st_blocks is in these, whatever the filesystem's own block size
# A walk is for judging growth: a tree with more entries than this has been bounded by its inodes already.
ENTRIES_MAX = 200_000


def tree(root_pid: int) -> list[int]:
    """The process and all its descendants that live now, in no order."""
    found, open_pids = [], [root_pid]
    while open_pids:
        pid = open_pids.pop()
        found.append(pid)
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                children = Path(f"/proc/{pid}/task/{thread}/children").read_text()
                open_pids.extend(int(child) for child in children.split())
    return found


def memory_bytes(pids: list[int], *, enough: int) -> int:
    """Memory held by these processes. Below `enough` the cheap sum is returned, which counts shared pages twice."""
    cheap = sum(_resident_bytes(pid) for pid in pids)
    return cheap if cheap < enough else sum(_proportional_bytes(pid) for pid in pids)


def _resident_bytes(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    return 0


def _proportional_bytes(pid: int) -> int:
    """Shared pages divided by their sharers; the kernel walks page tables for it, so it is asked only when it matters."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        return 0
    return _resident_bytes(pid)


class Disk:
    """Growth behind writable binds since the command began.

    A full walk on each tick would cost more than many commands. So the filesystem's own count of free bytes is asked
    first: only when it has fallen by half the bound can the tree have grown by all of it, unless others freed as much.
    """

    def __init__(self, roots: tuple[Path, ...], *, bytes_max: int, since_ns: int) -> None:
        self._roots = roots
        self._bytes_max = bytes_max
        self._since_ns = since_ns
        self._free = {root: _free_bytes(root) for root in roots}

    def is_suspect(self) -> bool:
        return any(free - _free_bytes(root) > self._bytes_max // 2 for root, free in self._free.items())

    def written_bytes(self, pids: list[int]) -> int:
        """Bytes in files whose content or attributes changed since the start, deleted files still open included."""
        named = sum(_changed_bytes(root, self._since_ns) for root in self._roots)
        return named + _deleted_bytes(pids, {os.stat(root).st_dev for root in self._roots})

    def is_over(self, pids: list[int]) -> bool:
        return bool(self._roots) and self.is_suspect() and self.written_bytes(pids) > self._bytes_max


def _free_bytes(root: Path) -> int:
    state = os.statvfs(root)
    return state.f_bfree * state.f_frsize


def _changed_bytes(root: Path, since_ns: int) -> int:
    entries = (entry for entry in _entries(root) if entry.st_ctime_ns >= since_ns and stat.S_ISREG(entry.st_mode))
    return sum(entry.st_blocks * _BLOCK_BYTES for entry in entries)


def _entries(root: Path) -> Iterator[os.stat_result]:
    left = ENTRIES_MAX
    for _, _, names, folder in os.fwalk(root, follow_symlinks=False):
        for name in names:
            left -= 1
            if left < 0:
                return
            with contextlib.suppress(OSError):
                yield os.stat(name, dir_fd=folder, follow_symlinks=False)


def _deleted_bytes(pids: list[int], devices: set[int]) -> int:
    seen: dict[tuple[int, int], int] = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    entry = os.stat(f"/proc/{pid}/fd/{name}")
                    if entry.st_nlink == 0 and entry.st_dev in devices and stat.S_ISREG(entry.st_mode):
                        seen[entry.st_dev, entry.st_ino] = entry.st_blocks * _BLOCK_BYTES
    return sum(seen.values())
