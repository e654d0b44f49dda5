"""A control group for one sandboxed command, where this process may make one: hard bounds on memory and processes.

Without it, memory and processes are counted from outside (sandbox_meter), which is slower than what it counts.
Two layouts are known, cgroup v2 and the older v1; which of them is writable, is found by making a group.

    v1   <controller mount>/<our own group>/agentos-N     one directory per controller
    v2   the nearest ancestor of our own group whose children have the controllers, /agentos-N

Rule 1: no process but the sandbox's is moved, and no existing group is changed.
Rule 2: a group is removed when the command is dead; one left by a crash is empty, and costs a directory.
"""

import contextlib
import itertools
import os
import time
from pathlib import Path

_NEEDED = frozenset({"memory", "pids"})
_MOUNTS = Path("/proc/self/mounts")
_OWN = Path("/proc/self/cgroup")
# A group is busy until its last process is gone, which its caller has seen; what remains is the kernel's own tidying.
_REMOVE_WAIT_NS = 100_000_000
_REMOVE_TICK_S = 0.002

_counter = itertools.count(1)


class Group:
    """The directories of one group, one for each controller in v1, a single one in v2."""

    def __init__(self, folders: tuple[Path, ...], *, is_unified: bool) -> None:
        self._folders = folders
        self._is_unified = is_unified

    def limit(self, *, memory_bytes_max: int, processes_max: int) -> None:
        """From here on the group cannot exceed these. OSError when a bound cannot be set."""
        for folder in self._folders:
            if (folder / "pids.max").exists():
                (folder / "pids.max").write_text(str(processes_max))
            if self._is_unified:
                (folder / "memory.max").write_text(str(memory_bytes_max))
                _write_if_there(folder / "memory.swap.max", "0")
            elif (folder / "memory.limit_in_bytes").exists():
                (folder / "memory.limit_in_bytes").write_text(str(memory_bytes_max))
                _write_if_there(folder / "memory.memsw.limit_in_bytes", str(memory_bytes_max))

    def add(self, pid: int) -> None:
        for folder in self._folders:
            (folder / "cgroup.procs").write_text(str(pid))

    def out_of_memory(self) -> bool:
        """The kernel killed something in here for lack of memory."""
        return self._count("memory.events" if self._is_unified else "memory.oom_control", "oom_kill") > 0

    def out_of_processes(self) -> bool:
        """The kernel refused a fork in here."""
        return self._count("pids.events", "max") > 0

    def remove(self) -> None:
        """The directories are gone, or, when the kernel still holds them after a wait, left empty."""
        deadline = time.monotonic_ns() + _REMOVE_WAIT_NS
        for folder in self._folders:
            while not _is_removed(folder) and time.monotonic_ns() < deadline:
                time.sleep(_REMOVE_TICK_S)

    def _count(self, name: str, key: str) -> int:
        for folder in self._folders:
            with contextlib.suppress(FileNotFoundError):
                for line in (folder / name).read_text().splitlines():
                    words = line.split()
                    if len(words) == 2 and words[0] == key:
                        return int(words[1])
        return 0


def parents() -> tuple[tuple[Path, ...], bool] | None:
    """Where a group can be made: the parent directories, and whether they are v2. None: nowhere here."""
    unified, old = _parents_unified(), _parents_old()
    for found, is_unified in ((old, False), (unified, True)):
        if found and _can_limit(found, is_unified):
            return found, is_unified
    return None


def create(found: tuple[Path, ...], *, is_unified: bool) -> Group:
    """A new empty group. OSError when it cannot be made."""
    name = f"agentos-{os.getpid()}-{next(_counter)}"
    made: list[Path] = []
    try:
        for parent in found:
            (parent / name).mkdir()
            made.append(parent / name)
    except OSError:
        Group(tuple(made), is_unified=is_unified).remove()
        raise
    return Group(tuple(made), is_unified=is_unified)


def _can_limit(found: tuple[Path, ...], is_unified: bool) -> bool:
    """Tried for real: permissions, read-only mounts and delegation are all asked in one."""
    try:
        group = create(found, is_unified=is_unified)
    except OSError:
        return False
    try:
        group.limit(memory_bytes_max=1 << 30, processes_max=64)
        return _may_move(found, is_unified)
    except OSError:
        return False
    finally:
        group.remove()


def _may_move(found: tuple[Path, ...], is_unified: bool) -> bool:
    """v2 lets a process be moved only by whoever may write the common ancestor's list of processes."""
    return not is_unified or os.access(found[0] / "cgroup.procs", os.W_OK)


def _parents_old() -> tuple[Path, ...]:
    own = {
        controller: path
        for _, controllers, path in _own_groups()
        for controller in controllers.split(",")
        if controller in _NEEDED
    }
    folders = {}
    for mount, kind, options in _mounts():
        if kind == "cgroup":
            for controller in _NEEDED & set(options):
                folders[controller] = mount / own.get(controller, "/").lstrip("/")
    if set(folders) != _NEEDED:
        return ()
    return tuple(sorted(set(folders.values())))


def _parents_unified() -> tuple[Path, ...]:
    mount = next((mount for mount, kind, _ in _mounts() if kind == "cgroup2"), None)
    own = next((path for number, controllers, path in _own_groups() if number == "0" and not controllers), None)
    if mount is None or own is None:
        return ()
    folder = mount / own.lstrip("/")
    for ancestor in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            granted = set((ancestor / "cgroup.subtree_control").read_text().split())
            if granted >= _NEEDED and os.access(ancestor, os.W_OK):
                return (ancestor,)
        if ancestor == mount:
            break
    return ()


def _own_groups() -> list[tuple[str, str, str]]:
    lines = _OWN.read_text().splitlines() if _OWN.exists() else []
    return [(number, controllers, path) for number, controllers, path in (line.split(":", 2) for line in lines)]


def _mounts() -> list[tuple[Path, str, list[str]]]:
    lines = _MOUNTS.read_text().splitlines() if _MOUNTS.exists() else []
    return [(Path(words[1]), words[2], words[3].split(",")) for words in (line.split() for line in lines)]


def _is_removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _write_if_there(path: Path, text: str) -> None:
    """Swap accounting is a kernel option; without it there is no such file, and swap stays the host's affair."""
    with contextlib.suppress(OSError):
        path.write_text(text)
