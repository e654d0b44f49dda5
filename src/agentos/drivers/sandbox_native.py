"""The native sandbox: one command in namespaces of its own, by bubblewrap, with a system-call filter and bounds.

    this process --spawn, empty environment--> bwrap (monitor) --> sh, pid 1 of its own pid namespace --> the command
         |                                                          |
         | <---------------- a line on stdout: set up ------------- |
         | limits on pid 1, control group                           |
         | ----------------- a line on stdin: go -----------------> | starts the command, waits, ends with its status

Pid 1 waits for the word, so bounds are in place before the command exists and no code of ours runs between fork and
exec. When pid 1 ends, by itself or killed, the kernel kills whatever else is in the namespace before it can be reaped.

Rule 1: what the command sees is named here: system folders read-only, a generated /etc, its own /proc, /dev, /tmp and
        home, and the binds of its caller. Nothing else of the host's files, no network but its own loopback.
Rule 2: bwrap itself starts with an empty environment and no descriptor but those listed, so neither can leak.
Rule 3: if this process dies at any moment, the command dies or never starts: the monitor dies with its parent, pid 1
        with the monitor, and a pid 1 that has not heard the word reads the end of its stdin.
Rule 4: `run` returns when pid 1's death has been seen, never on a signal having been sent.
Rule 5: run by root, the inside maps to root's uid without a capability: that is why /etc is generated and /proc is
        read-only, for root owns files there that the mode bits alone would open.
Source: namespaces(7), user_namespaces(7), pid_namespaces(7), bwrap(1).
"""

import asyncio
import contextlib
import fcntl
import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from agentos.drivers import sandbox_cgroup, sandbox_meter, sandbox_seccomp
from agentos.ports.sandbox import Bind, Command, Exit, Level, Limits, Unavailable

HOME = "/home/agent"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Inside, the command is an ordinary user; which one, matters to nobody but programs that refuse to run as root.
_UID = "1000"

# Private and in memory: /tmp holds a test suite's scratch, home and /dev/shm what tools keep on the side.
TMP_BYTES_MAX = 512 << 20
HOME_BYTES_MAX = 128 << 20
SHM_BYTES_MAX = 64 << 20
# Compilers and test runners stay below a thousand open files; the descriptor table itself is kernel memory.
FILES_MAX = 4096
# Building namespaces takes milliseconds; a loaded machine gets a thousand times that before we call it broken.
_SETUP_WAIT_S = 20.0
# Death by SIGKILL takes milliseconds; longer means a process in uninterruptible sleep, which nobody can end.
_DEATH_WAIT_S = 20.0
# A fork loop makes a few hundred processes in this time; reading a small tree takes well under one of it.
_METER_TICK_S = 0.05
_DISK_TICK_S = 0.25
# Once the bound is passed, output is read for the sole purpose of letting the command go on, at some 25 MB/s.
_DRAIN_PAUSE_S = 0.01
# File times come from the kernel's coarse clock, which is up to one timer tick (10 ms at 100 Hz) behind.
_FILE_CLOCK_SLACK_NS = 20_000_000

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
_ETC = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "mime.types", "protocols", "services",
    "ssl/certs", "ssl/openssl.cnf", "ca-certificates", "pki/tls/certs", "pki/ca-trust/extracted", "os-release",
    "debian_version",
)  # fmt: skip
_ETC_MADE = {
    "passwd": f"agent:x:{_UID}:{_UID}::{HOME}:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n",
    "group": f"agent:x:{_UID}:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
# Owned by root and readable by mode bits alone; see rule 5. What a kernel lacks is skipped.
_PROC_MASKED = (
    "kcore", "keys", "key-users", "kmsg", "kallsyms", "kpagecount", "kpageflags", "kpagecgroup", "latency_stats",
    "timer_list", "sched_debug", "vmallocinfo", "slabinfo", "pagetypeinfo", "sysrq-trigger",
)  # fmt: skip
_FORBIDDEN_INSIDE = ("/proc", "/dev", "/sys")
_STDIN_INSIDE = "/run/stdin"

# Pid 1. Its own stderr goes nowhere, because a shell comments on how its children died. `exec` inside parentheses
# runs a program and never a builtin of that name. Unquoted nothing: the command is positional parameters only.
_PID_1 = 'echo; read -r go || exit 125; exec 3>&2 2>/dev/null; (exec 2>&3 3>&- <"$0"; exec "$@"); exit $?'

_MISSING_BWRAP = "bubblewrap 0.7 or newer (Debian, Ubuntu: apt-get install bubblewrap; Fedora: dnf install bubblewrap)"
_SYSCTLS = (
    ("kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=10000"),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        (
            "an AppArmor profile that grants bwrap user namespaces (Ubuntu: the package apparmor-profiles has one), "
            "or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        ),
    ),
)
_HOLES = (
    "the kernel is the host's: a kernel exploit is an escape",
    "CPU time is bounded for each process; the sum only by wall time times cores",
    "disk behind writable binds has no quota: growth is watched every 250 ms, inodes are not counted",
    "a unix socket file lying inside a bind can be connected to",
)
_HOLES_UNGROUPED = (
    "control groups are not writable: memory and processes are counted every 50 ms, with a data bound per process",
    "memory in tmpfs, memfds and unattached shared segments is not counted towards memory_bytes_max",
)
_HOLE_ROOT = "run by root: inside, every root-owned file of the binds is readable, whatever its mode"


class NativeSandbox:
    """Commands under bubblewrap. `bwrap` names the program where it is not on the PATH."""

    name = "native"

    def __init__(self, *, bwrap: Path | None = None, is_grouped: bool = True) -> None:
        self._bwrap = str(bwrap) if bwrap else shutil.which("bwrap")
        self._is_grouped = is_grouped  # False: do without control groups, as a machine that refuses them must
        self._groups: tuple[tuple[Path, ...], bool] | None = None
        self._level: Level | None = None
        self._probing = threading.Lock()

    def probe(self) -> Level:
        """What this machine gives, found by running `true` once; remembered for the life of this object."""
        with self._probing:
            if self._level is None:
                self._level = self._try()
            return self._level

    async def run(self, command: Command) -> Exit:
        level = self._level if self._level is not None else await asyncio.to_thread(self.probe)
        if not level.is_usable:
            raise Unavailable(f"this machine cannot isolate commands; it needs: {'; '.join(level.missing)}")
        validate(command)
        return await self._run(command)

    def _try(self) -> Level:
        missing = _absent(self._bwrap)
        if missing:
            return Level("none", False, missing)
        if self._is_grouped:
            self._groups = sandbox_cgroup.parents()
        try:
            found = _run_elsewhere(self, Command(("true",), cwd="/"))
        except Unavailable as refusal:
            return Level("none", False, (*_closed_sysctls(), str(refusal)))
        if found.status != 0:
            return Level("none", False, (f"a sandbox in which `true` ends with 0; it ended with {found.status}",))
        holes = _HOLES if self._groups else _HOLES + _HOLES_UNGROUPED
        return Level("bubblewrap", True, (), (*holes, _HOLE_ROOT) if os.geteuid() == 0 else holes)

    async def _run(self, command: Command) -> Exit:
        assert self._bwrap is not None, "checked by probe"
        with contextlib.ExitStack() as stack:
            group = self._make_group(stack)
            cell = _Cell(self._bwrap, command, group)
            try:
                await cell.set_up()
                reason, limit = await cell.watch()
            finally:
                await cell.bury()
            return cell.result(reason, limit)

    def _make_group(self, stack: contextlib.ExitStack) -> sandbox_cgroup.Group | None:
        if self._groups is None:
            return None
        folders, is_unified = self._groups
        try:
            group = sandbox_cgroup.create(folders, is_unified=is_unified)
        except OSError as error:
            raise Unavailable(f"no control group could be made, though probing made one: {error}") from error
        stack.callback(group.remove)
        return group


def validate(command: Command) -> None:
    """ValueError if the command cannot be run as it is written: the caller's mistake, named."""
    if not command.argv or not command.argv[0]:
        raise ValueError("command is empty; name a program in argv")
    words = [*command.argv, command.cwd, *(word for pair in command.env for word in pair)]
    if any("\0" in word for word in words):
        raise ValueError("command holds a NUL byte; arguments, cwd and env are C strings")
    for key, _ in command.env:
        if not key or "=" in key:
            raise ValueError(f"env name {key!r} is not one; it must be non-empty and without '='")
    for bind in command.binds:
        _validate_bind(bind, command.binds)


def _validate_bind(bind: Bind, binds: tuple[Bind, ...]) -> None:
    inside = bind.inside
    if inside == "/" or not inside.startswith("/") or os.path.normpath(inside) != inside:
        raise ValueError(f"bind target {inside!r} is not a normal absolute path below /; write it as /a/b")
    if any(inside == taken or inside.startswith(taken + "/") for taken in _FORBIDDEN_INSIDE):
        raise ValueError(f"bind target {inside!r} is the sandbox's own; choose one outside {_FORBIDDEN_INSIDE}")
    if not bind.host.is_absolute() or not os.path.lexists(bind.host):
        raise ValueError(f"bind source '{bind.host}' is not an existing absolute path")
    if bind.host.is_symlink():
        raise ValueError(f"bind source '{bind.host}' is a symbolic link; resolve it where it can be trusted")
    # What a command could write before may be a link now: it would bind the link's target, anywhere on the host.
    for root in (other.host for other in binds if other.is_writable and bind.host.is_relative_to(other.host)):
        if bind.host.resolve() != root.resolve() / bind.host.relative_to(root):
            raise ValueError(f"bind source '{bind.host}' passes a symbolic link inside writable '{root}'")


# The tools a caller needs, and where they lie.


def toolchain_binds(*tools: str) -> tuple[Bind, ...]:
    """Read-only binds, at their own paths, for this Python and for these tools as the PATH finds them now.

    A tool in a system folder needs none. One in PREFIX/bin brings PREFIX, if that looks like an installation (has lib
    or pyvenv.cfg) and is no one's home; else its file alone. Shims of version managers are passed over: they run a
    manager that is not inside. A tool not found is left out: the command will say so better.
    """
    prefixes = {Path(sys.prefix), Path(sys.base_prefix)}
    for tool in tools:
        for place in _places(tool):
            prefixes.add(_installation(place))
    binds = {spot for prefix in prefixes for spot in (prefix, prefix.resolve()) if not _is_system(spot)}
    kept = [spot for spot in binds if not any(spot.is_relative_to(other) for other in binds if other != spot)]
    return tuple(Bind(spot.resolve(), str(spot)) for spot in sorted(kept))


def search_path(binds: tuple[Bind, ...]) -> str:
    """The PATH inside: programs of the read-only binds first, then the system's."""
    found = [f"{bind.inside}/bin" for bind in binds if not bind.is_writable and (bind.host / "bin").is_dir()]
    found += [
        os.path.dirname(bind.inside)
        for bind in binds
        if not bind.is_writable and bind.host.is_file() and os.access(bind.host, os.X_OK)
    ]
    return ":".join([*dict.fromkeys(found), SYSTEM_PATH])


def _places(tool: str) -> Iterator[Path]:
    """Every path on the way from the tool's name to its file: each link must exist inside."""
    folders = [f for f in os.get_exec_path() if Path(f).name != "shims"]
    found = shutil.which(tool, path=os.pathsep.join(folders))
    place = Path(found).absolute() if found else None
    for _ in range(40):  # as many links as the kernel follows (MAXSYMLINKS)
        if place is None:
            return
        yield place
        place = Path(os.path.normpath(place.parent / os.readlink(place))) if place.is_symlink() else None


def _installation(place: Path) -> Path:
    prefix = place.parent.parent
    is_home = prefix in (Path.home(), Path.home() / ".local", Path("/"), Path("/opt"))
    has_parts = (prefix / "lib").is_dir() or (prefix / "pyvenv.cfg").is_file()
    return prefix if place.parent.name == "bin" and has_parts and not is_home else place


def _is_system(spot: Path) -> bool:
    return any(spot == Path(folder) or spot.is_relative_to(folder) for folder in _SYSTEM)


# Bounds.

# The kernel says with these that a resource limit was passed.
_SIGNAL_LIMITS = {int(signal.SIGXCPU): "cpu_s", int(signal.SIGXFSZ): "file_bytes_max"}
# Between SIGXCPU, which a program may catch to write down what it has, and SIGKILL.
_CPU_GRACE_S = 5


def _set_limits(pid: int, limits: Limits, *, is_grouped: bool) -> None:
    """On another process and all it will start. A bound above our own hard limit becomes our own hard limit."""
    bounds = {
        resource.RLIMIT_CPU: (limits.cpu_s, limits.cpu_s + _CPU_GRACE_S),
        resource.RLIMIT_FSIZE: (limits.file_bytes_max, limits.file_bytes_max),
        resource.RLIMIT_NOFILE: (FILES_MAX, FILES_MAX),
        resource.RLIMIT_CORE: (0, 0),
        # Counted in the command's own user namespace, since Linux 5.14; pid 1 is ours. Root's is not enforced.
        resource.RLIMIT_NPROC: (limits.processes_max + 1, limits.processes_max + 1),
    }
    if not is_grouped:
        # Data and not address space: runtimes reserve terabytes they never touch.
        bounds[resource.RLIMIT_DATA] = (limits.memory_bytes_max, limits.memory_bytes_max)
    for kind, (soft, hard) in bounds.items():
        _, ceiling = resource.prlimit(pid, kind)
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        resource.prlimit(pid, kind, (soft, hard))


# What the machine lacks.


def _absent(bwrap: str | None) -> tuple[str, ...]:
    if sys.platform != "linux":
        return (f"Linux: {platform.system()} has no namespaces; run agentos in a Linux virtual machine",)
    missing = []
    if platform.machine() not in sandbox_seccomp.MACHINES:
        missing.append(f"x86_64 or aarch64: there is no system-call filter for {platform.machine()}")
    if bwrap is None or not os.access(bwrap, os.X_OK):
        missing.append(_MISSING_BWRAP)
    if not os.access("/bin/sh", os.X_OK):
        missing.append("/bin/sh")
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        missing.append("Linux 5.3 or newer, with pidfd_open not filtered away")
    return tuple(missing)


def _closed_sysctls() -> tuple[str, ...]:
    def is_closed(name: str, value: str) -> bool:
        path = Path("/proc/sys") / name
        return path.exists() and path.read_text().strip() == value

    return tuple(f"user namespaces allowed: {remedy}" for name, value, remedy in _SYSCTLS if is_closed(name, value))


def _run_elsewhere(sandbox: NativeSandbox, command: Command) -> Exit:
    """Run on a loop of its own in a thread of its own: the caller may already be inside a loop."""
    with ThreadPoolExecutor(1, "sandbox-probe") as pool:
        return pool.submit(lambda: asyncio.run(sandbox._run(command))).result()


# The arguments of bwrap.


class _Plan(NamedTuple):
    """What bwrap is started with."""

    argv: list[str]
    fds: list[int]  # inherited; ours to close after the spawn


def _plan(bwrap: str, command: Command, told: int) -> _Plan:
    fds: list[int] = []

    def share(content: bytes) -> str:
        fds.append(_sealed(content))
        return str(fds[-1])

    try:
        options = [
            "--unshare-all", "--unshare-user", "--uid", _UID, "--gid", _UID, "--hostname", "sandbox",
            "--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL",
            "--info-fd", str(told), "--seccomp", share(sandbox_seccomp.assemble()),
            "--proc", "/proc", *_masks(), "--remount-ro", "/proc",
            "--dev", "/dev", *_tmpfs("/dev/shm", SHM_BYTES_MAX), "--remount-ro", "/dev",
            *_tmpfs("/tmp", TMP_BYTES_MAX), *_tmpfs(HOME, HOME_BYTES_MAX), "--dir", command.cwd,
            "--dir", "/etc", *_system(),
        ]  # fmt: skip
        for name, text in _ETC_MADE.items():
            options += ["--perms", "0644", "--file", share(text.encode()), f"/etc/{name}"]
        if command.stdin:
            options += ["--perms", "0444", "--file", share(command.stdin), _STDIN_INSIDE]
        for bind in sorted(command.binds, key=lambda bind: bind.inside.count("/")):
            options += ["--bind" if bind.is_writable else "--ro-bind", str(bind.host), bind.inside]
        for key, value in _environment(command).items():
            options += ["--setenv", key, value]
        options += ["--chdir", command.cwd, "--remount-ro", "/"]
        # By descriptor, so that the environment cannot be read in the host's list of processes.
        argued = share(b"\0".join(os.fsencode(option) for option in options) + b"\0")
    except BaseException:
        _close(fds)
        raise
    stdin = _STDIN_INSIDE if command.stdin else "/dev/null"
    return _Plan([bwrap, "--args", argued, "--", "/bin/sh", "-c", _PID_1, stdin, *command.argv], fds)


def _environment(command: Command) -> dict[str, str]:
    made = {"PATH": search_path(command.binds), "HOME": HOME, "TMPDIR": "/tmp", "LANG": "C.UTF-8"}
    return made | dict(command.env)


def _system() -> list[str]:
    options = []
    for folder in _SYSTEM:
        if os.path.islink(folder):
            options += ["--symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder):
            options += ["--ro-bind", folder, folder]
    for name in _ETC:
        options += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return options


def _masks() -> list[str]:
    there = [f"/proc/{name}" for name in _PROC_MASKED if os.path.exists(f"/proc/{name}")]
    return [option for path in there for option in ("--ro-bind", "/dev/null", path)]


def _tmpfs(inside: str, bytes_max: int) -> list[str]:
    return ["--perms", "1777", "--size", str(bytes_max), "--tmpfs", inside]


def _sealed(content: bytes) -> int:
    """A descriptor to read this content from, which nobody can change any more."""
    fd = os.memfd_create("sandbox", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(fd, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return fd


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


# One run.


class _Drain(asyncio.Protocol):
    """The reading end of a pipe: keeps the beginning and the end of what passes, and lets all of it pass."""

    def __init__(self, bytes_max: int, *, is_marked: bool = False) -> None:
        self._bytes_max = bytes_max
        self._kept = bytearray()  # all of it, or its first and last halves of the bound, never over twice the bound
        self._whole = 0
        self._transport: asyncio.ReadTransport | None = None
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.marked: asyncio.Future[bool] = loop.create_future()  # True: the first line came; False: it never will
        if not is_marked:
            self.marked.set_result(True)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.ReadTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self.marked.done():
            self.marked.set_result(True)
            data = data[1:]
        self._kept += data
        self._whole += len(data)
        if self.is_cut:
            self._forget_middle()
            self._rest_a_while()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.marked.done():
            self.marked.set_result(False)
        if not self.closed.done():
            self.closed.set_result(None)

    @property
    def is_cut(self) -> bool:
        return self._whole > self._bytes_max

    def content(self) -> bytes:
        """All of it, or beginning and end around a line that says how much is missing, within the bound."""
        if not self.is_cut:
            return bytes(self._kept)
        room = max(self._bytes_max - len(_cut_note(self._whole, self._whole)), 0)
        head, tail = room // 2, room - room // 2
        note = _cut_note(self._whole - room, self._whole)
        return bytes(self._kept[:head] + note + self._kept[len(self._kept) - tail :])[: self._bytes_max]

    def _forget_middle(self) -> None:
        half = self._bytes_max // 2 + 1
        if len(self._kept) > 2 * self._bytes_max + 2:
            del self._kept[half : len(self._kept) - half]

    def _rest_a_while(self) -> None:
        transport = self._transport
        assert transport is not None, "bytes come after connection_made"
        transport.pause_reading()
        asyncio.get_running_loop().call_later(_DRAIN_PAUSE_S, _resume, transport)


def _cut_note(missing: int, whole: int) -> bytes:
    return b"\n[... %d of %d bytes left out ...]\n" % (missing, whole)


def _resume(transport: asyncio.ReadTransport) -> None:
    if not transport.is_closing():
        transport.resume_reading()


class _Cell:
    """One sandboxed command from spawn to burial. Not reusable."""

    def __init__(self, bwrap: str, command: Command, group: sandbox_cgroup.Group | None) -> None:
        self._bwrap = bwrap
        self._command = command
        self._limits = command.limits
        self._group = group
        self._monitor: subprocess.Popen[bytes] | None = None
        self._theirs: list[int] = []  # descriptors for bwrap alone, closed here once it runs
        self._ends: list[asyncio.Future[None]] = []  # all done means: nothing of it is left
        self._pid_1 = 0
        self._pid_1_fd = -1
        self._go = -1  # our end of pid 1's stdin
        self._status = 0
        self._cpu_ns = self._began_ns = self._ended_ns = 0
        self._stdout = _Drain(self._limits.output_bytes_max, is_marked=True)
        self._stderr = _Drain(self._limits.output_bytes_max)
        self._told = _Drain(4096)  # a JSON object of a few numbers
        self._exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        roots = tuple(bind.host for bind in command.binds if bind.is_writable)
        since_ns = time.time_ns() - _FILE_CLOCK_SLACK_NS
        self._disk = sandbox_meter.Disk(roots, bytes_max=self._limits.disk_bytes_max, since_ns=since_ns)

    async def set_up(self) -> None:
        """Namespaces built, bounds in place, the word given. Unavailable if bubblewrap could not build them."""
        try:
            async with asyncio.timeout(_SETUP_WAIT_S):
                outlets = [await self._open(drain) for drain in (self._stdout, self._stderr, self._told)]
                self._spawn(*outlets)
                await self._told.closed
                self._adopt_pid_1()
                if not await self._stdout.marked:
                    await self._stderr.closed
                    raise Unavailable(self._complaint())
        except TimeoutError:
            raise Unavailable(f"bubblewrap did not build the sandbox within {_SETUP_WAIT_S:.0f} s") from None
        self._bound()
        self._began_ns = time.monotonic_ns()
        os.write(self._go, b"go\n")
        os.close(self._go)
        self._go = -1

    async def _open(self, drain: _Drain) -> int:
        """A pipe of which this end is being read; answers the other, which bwrap gets."""
        read_fd, write_fd = os.pipe()
        self._theirs.append(write_fd)
        await asyncio.get_running_loop().connect_read_pipe(lambda: drain, os.fdopen(read_fd, "rb", 0))
        self._ends.append(drain.closed)
        return write_fd

    def _spawn(self, stdout: int, stderr: int, told: int) -> None:
        """bwrap runs. Nothing is awaited in here, so a cancellation finds it either not begun or complete."""
        try:
            stdin, self._go = os.pipe()
            self._theirs.append(stdin)
            plan = _plan(self._bwrap, self._command, told)
            self._theirs += plan.fds
            self._monitor = subprocess.Popen(
                plan.argv, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=[told, *plan.fds], env={}, cwd="/"
            )
            self._watch_death(os.pidfd_open(self._monitor.pid), self._reap)
        except OSError as error:
            raise Unavailable(f"bubblewrap at '{self._bwrap}' could not be started: {error}") from error
        finally:
            self._close_theirs()

    def _close_theirs(self) -> None:
        _close(self._theirs)
        self._theirs = []

    def _watch_death(self, pidfd: int, then: Callable[[], object]) -> None:
        """When the process of this descriptor has died, `then` runs, once, and one of the ends is done."""
        loop = asyncio.get_running_loop()
        end: asyncio.Future[None] = loop.create_future()
        self._ends.append(end)

        def seen() -> None:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            then()
            end.set_result(None)

        loop.add_reader(pidfd, seen)

    def _reap(self) -> None:
        assert self._monitor is not None
        _, status, usage = os.wait4(self._monitor.pid, 0)
        self._ended_ns = time.monotonic_ns()
        self._status = os.waitstatus_to_exitcode(status)
        self._monitor.returncode = self._status  # reaped here, for the sake of usage; Popen must not try again
        self._cpu_ns = int((usage.ru_utime + usage.ru_stime) * 1e9)
        self._exited.set_result(None)

    def _adopt_pid_1(self) -> None:
        assert self._monitor is not None
        try:
            self._pid_1 = int(json.loads(self._told.content())["child-pid"])
            self._pid_1_fd = os.pidfd_open(self._pid_1)
            # A pid is only a number: it is ours if its parent is the monitor, which we have not reaped.
            stat = Path(f"/proc/{self._pid_1}/stat").read_text()
            if int(stat.rpartition(")")[2].split()[1]) != self._monitor.pid:
                raise ProcessLookupError(self._pid_1)
        except (ValueError, KeyError, OSError):
            return  # bwrap ended at once; the missing first line will say so, and stderr why
        self._watch_death(os.dup(self._pid_1_fd), lambda: None)

    def _bound(self) -> None:
        try:
            _set_limits(self._pid_1, self._limits, is_grouped=self._group is not None)
            if self._group is not None:
                processes_max = self._limits.processes_max + 1  # pid 1 is ours and not the command's
                self._group.limit(memory_bytes_max=self._limits.memory_bytes_max, processes_max=processes_max)
                self._group.add(self._pid_1)
        except OSError as error:
            raise Unavailable(f"the bounds could not be set: {error}") from error

    async def watch(self) -> tuple[str, str]:
        """Until the command ends or passes a bound: why it is over, and the limit that was reached, or ""."""
        deadline_ns = self._began_ns + self._limits.wall_ns
        disk_at_ns = 0
        tick_s = _DISK_TICK_S if self._group is not None else _METER_TICK_S
        while not self._exited.done():
            left_s = (deadline_ns - time.monotonic_ns()) / 1e9
            if left_s <= 0:
                return "timed_out", "wall_ns"
            await asyncio.wait([self._exited], timeout=min(left_s, tick_s))
            if self._exited.done():
                break
            limit = self._over() if self._group is None else ""
            if not limit and time.monotonic_ns() >= disk_at_ns:
                limit, disk_at_ns = await self._over_disk()
            if limit:
                return "exhausted", limit
        limit, _ = await self._over_disk()
        return ("exhausted", limit) if limit else self._ending()

    def _over(self) -> str:
        pids = sandbox_meter.tree(self._pid_1)
        if len(pids) > self._limits.processes_max + 1:
            return "processes_max"
        bound = self._limits.memory_bytes_max
        return "memory_bytes_max" if sandbox_meter.memory_bytes(pids, enough=bound) > bound else ""

    async def _over_disk(self) -> tuple[str, int]:
        """The limit's name if it was passed, and when to look again: a walk may take a tenth of the time at most."""
        began_ns = time.monotonic_ns()
        limit = ""
        if self._disk.is_suspect():
            pids = [] if self._exited.done() else sandbox_meter.tree(self._pid_1)
            is_over = await asyncio.to_thread(self._disk.is_over, pids)
            limit = "disk_bytes_max" if is_over else ""
        now_ns = time.monotonic_ns()
        return limit, now_ns + max(int(_DISK_TICK_S * 1e9), 10 * (now_ns - began_ns))

    def _ending(self) -> tuple[str, str]:
        """A shell says 128 + signal for a child that a signal ended; a program may say it too, and reads the same."""
        limit = _SIGNAL_LIMITS.get(self._status - 128)
        if limit:
            return "exhausted", limit
        is_signalled = 128 < self._status <= 128 + signal.NSIG or self._status < 0
        if is_signalled and self._group is not None and self._group.out_of_memory():
            return "exhausted", "memory_bytes_max"
        return ("signalled" if is_signalled else "exited"), ""

    async def bury(self) -> None:
        """Nothing of it lives. Not to be interrupted: a cancellation is raised when that is so."""
        self._kill()
        deadline = time.monotonic() + _DEATH_WAIT_S
        is_cancelled = False
        while pending := [end for end in self._ends if not end.done()]:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise RuntimeError(f"sandbox of pid {self._pid_1} is not dead {_DEATH_WAIT_S:.0f} s after SIGKILL")
            try:
                await asyncio.wait(pending, timeout=left_s)
            except asyncio.CancelledError:
                is_cancelled = True
        if self._pid_1_fd >= 0:
            os.close(self._pid_1_fd)
        if is_cancelled:
            raise asyncio.CancelledError

    def _kill(self) -> None:
        self._close_theirs()
        if self._go >= 0:
            os.close(self._go)  # a pid 1 that has not heard the word ends itself
            self._go = -1
        if self._pid_1_fd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pid_1_fd, signal.SIGKILL)
        if self._monitor is not None and not self._exited.done() and self._pid_1_fd < 0:
            self._monitor.kill()

    def _complaint(self) -> str:
        said = self._stderr.content().decode(errors="replace").strip()
        return f"bubblewrap could not build the sandbox: {said or 'it ended without a word'}"

    def result(self, reason: str, limit: str) -> Exit:
        assert self._exited.done(), "buried"
        is_ours = reason == "timed_out" or (reason == "exhausted" and self._status < 0)
        return Exit(
            status=128 + signal.SIGKILL if is_ours else self._status if self._status >= 0 else 128 - self._status,
            reason=reason,
            limit=limit,
            stdout=self._stdout.content(),
            stderr=self._stderr.content(),
            is_cut=self._stdout.is_cut or self._stderr.is_cut,
            wall_ns=self._ended_ns - self._began_ns,
            cpu_ns=self._cpu_ns,
            level="bubblewrap",
        )
