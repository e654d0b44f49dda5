"""What a hostile command tries, and how each try ends. Every command is real; every test is bounded by `ran`."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentos.drivers import sandbox_native, sandbox_seccomp
from agentos.drivers.sandbox_native import NativeSandbox, toolchain_binds
from agentos.ports.sandbox import Bind, Command, Exit, Limits, Unavailable

TEST_S_MAX = 60  # no command here needs a tenth of it
LIMITS = Limits(wall_ns=20_000_000_000, cpu_s=20, memory_bytes_max=256 << 20, processes_max=32)
BINDS = toolchain_binds()
EPERM, ENOSPC, EROFS, ENOSYS, EAFNOSUPPORT, ENETUNREACH, ECONNREFUSED = 1, 28, 30, 38, 97, 101, 111


def ran(sandbox: NativeSandbox, command: Command) -> Exit:
    async def bounded() -> Exit:
        async with asyncio.timeout(TEST_S_MAX):
            return await sandbox.run(command)

    return asyncio.run(bounded())


def sh(line: str, *binds: Bind, limits: Limits = LIMITS, **more: object) -> Command:
    return Command(("/bin/sh", "-c", line), binds=binds, limits=limits, **{"cwd": "/", **more})  # type: ignore[arg-type]


def py(script: str, *binds: Bind, limits: Limits = LIMITS, args: tuple[str, ...] = ()) -> Command:
    return Command((sys.executable, "-I", "-S", "-c", script, *args), binds=(*BINDS, *binds), cwd="/", limits=limits)


def told(ended: Exit) -> dict[str, object]:
    """What a script inside printed as JSON. Its stderr is shown if it did not."""
    assert (ended.status, ended.reason) == (0, "exited"), ended
    found = json.loads(ended.stdout)
    assert isinstance(found, dict)
    return found


def living(marker: str) -> list[int]:
    """Processes of the host that carry the marker in their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if marker.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
    return [pid for pid in found if pid != os.getpid()]


def wait_until(is_so: Callable[[], bool], *, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_so():
            return True
        time.sleep(0.01)
    return False


# What a command is and sees.


def test_a_command_is_an_ordinary_user_without_a_capability_behind_a_filter(sandbox: NativeSandbox) -> None:
    ended = ran(sandbox, sh("id -u; grep -E '^(CapEff|CapPrm|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status"))
    none = "0000000000000000"
    lines = dict(line.split(":\t") for line in ended.stdout.decode().splitlines()[1:])
    assert ended.stdout.startswith(b"1000\n")
    assert lines == {"CapPrm": none, "CapEff": none, "CapBnd": none, "NoNewPrivs": "1", "Seccomp": "2"}


def test_the_root_holds_the_system_and_nothing_of_the_host_besides(sandbox: NativeSandbox) -> None:
    system = {"bin", "lib", "lib32", "lib64", "libx32", "nix", "sbin", "usr"}
    assert set(ran(sandbox, sh("ls -A /")).stdout.decode().split()) - system == {"dev", "etc", "home", "proc", "tmp"}
    assert ran(sandbox, sh("ls -A /home /home/agent")).stdout == b"/home:\nagent\n\n/home/agent:\n"
    assert set(ran(sandbox, sh("ls -A /etc/ssl")).stdout.decode().split()) <= {"certs", "openssl.cnf"}
    ended = ran(sandbox, sh("cat /etc/shadow /root/.profile /var/log/syslog /run/docker.sock"))
    assert ended.stdout == b"" and ended.stderr.count(b"No such file") == 4


def test_only_its_own_processes_are_in_proc(sandbox: NativeSandbox) -> None:
    ended = ran(sandbox, sh("ls -d /proc/[0-9]* | wc -l"))
    assert int(ended.stdout) <= 4  # pid 1, the shell, ls, wc


def test_a_scrubbed_environment_is_all_there_is(sandbox: NativeSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = f"secret-{uuid.uuid4()}"
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    ended = ran(sandbox, sh("env; cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n'", env=(("GIVEN", "yes"),)))
    assert ended.status == 0
    assert secret.encode() not in ended.stdout + ended.stderr
    names = {line.split("=")[0] for line in ended.stdout.decode().split("\n\n")[0].splitlines()[:7] if "=" in line}
    assert names <= {"GIVEN", "HOME", "LANG", "PATH", "PWD", "TMPDIR", "OLDPWD"}
    assert b"GIVEN=yes" in ended.stdout


def test_the_monitor_outside_carries_neither_our_environment_nor_the_commands(
    sandbox: NativeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = f"m{uuid.uuid4().hex}"
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    found: list[bytes] = []

    async def look() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(sandbox.run(sh(f"sleep 30; : {marker}", env=(("LD_PRELOAD", "/copy/evil.so"),))))
            while not (pids := [p for p in living(marker) if Path(f"/proc/{p}/comm").read_text() == "bwrap\n"]):
                await asyncio.sleep(0.01)
            found.extend(Path(f"/proc/{pid}/environ").read_bytes() for pid in pids)
            task.cancel()

    asyncio.run(asyncio.wait_for(look(), TEST_S_MAX))
    assert found and all(environ == b"" for environ in found)


def test_an_inheritable_descriptor_is_not_inherited(sandbox: NativeSandbox, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret")
    with open(tmp_path / "key") as file:
        os.set_inheritable(file.fileno(), True)
        ended = ran(sandbox, sh("for fd in /proc/self/fd/* /proc/1/fd/*; do readlink $fd; done"))
    assert ended.status == 0
    assert b"key" not in ended.stdout
    kinds = {line.split(":")[0] for line in ended.stdout.decode().split()}
    assert kinds <= {"pipe", "/dev/null"} | {line for line in kinds if line.startswith("/proc/")}


def test_argv_env_cwd_and_stdin_arrive_as_given(sandbox: NativeSandbox) -> None:
    stdin = bytes(range(256)) * 20_000
    ended = ran(sandbox, sh("cat; printf %s \"$A\" >&2; pwd >&2", stdin=stdin, env=(("A", "a'\"$(b)"),), cwd="/tmp",
                            limits=LIMITS._replace(output_bytes_max=6 << 20)))  # fmt: skip
    assert (ended.stdout, ended.stderr, ended.is_cut) == (stdin, b"a'\"$(b)/tmp\n", False)


def test_argv_names_a_program_and_never_a_builtin_of_the_shell_that_starts_it(sandbox: NativeSandbox) -> None:
    assert ran(sandbox, Command(("exit", "3"), cwd="/")).status == 127
    assert ran(sandbox, Command(("echo", "-n", "$(id);`id`"), cwd="/")).stdout == b"$(id);`id`"


@pytest.mark.parametrize(("line", "status", "reason"), [("exit 7", 7, "exited"), ("kill -SEGV $$", 139, "signalled")])
def test_an_ending_is_told_as_it_was(sandbox: NativeSandbox, line: str, status: int, reason: str) -> None:
    ended = ran(sandbox, sh(line))
    assert (ended.status, ended.reason, ended.limit, ended.level) == (status, reason, "", "bubblewrap")
    assert ended.stderr == b""


def test_cpu_time_counts_the_whole_tree(sandbox: NativeSandbox) -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    script = f"import subprocess, sys\nfor _ in range(2): subprocess.run([sys.executable, '-S', '-c', {burn!r}])"
    ended = ran(sandbox, py(script))
    assert 600_000_000 <= ended.cpu_ns < 3_000_000_000


# The way out by the network.


@pytest.fixture
def host_ears() -> Iterator[tuple[dict[str, object], list[socket.socket]]]:
    """A TCP, a UDP and an abstract unix socket of the host, and their addresses."""
    tcp = socket.create_server(("127.0.0.1", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    name = f"\0agentos-{uuid.uuid4()}"
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(name)
    abstract.listen()
    ears = [tcp, udp, abstract]
    for ear in ears:
        ear.setblocking(False)
    yield {"tcp": tcp.getsockname()[1], "udp": udp.getsockname()[1], "abstract": name}, ears
    for ear in ears:
        ear.close()


NETWORK = """
import errno, json, socket, sys
at = json.loads(sys.argv[1])
def tried(work):
    try:
        work()
        return 0
    except OSError as error:
        return error.errno
def tcp(host, port):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s:
        s.settimeout(5); s.connect((host, port))
def udp(host, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s: s.sendto(b"out", (host, port))
def abstract():
    with socket.socket(socket.AF_UNIX) as s: s.connect(at["abstract"])
def dns():
    try: socket.getaddrinfo("example.com", 80)
    except socket.gaierror as error: raise OSError(error.errno, "")
print(json.dumps({
    "tcp_host": tried(lambda: tcp("127.0.0.1", at["tcp"])), "tcp_out": tried(lambda: tcp("192.0.2.1", 80)),
    "tcp6_out": tried(lambda: tcp("2001:db8::1", 80)), "metadata": tried(lambda: tcp("169.254.169.254", 80)),
    "udp_host": tried(lambda: udp("127.0.0.1", at["udp"])), "udp_out": tried(lambda: udp("192.0.2.1", 53)),
    "abstract": tried(abstract), "is_resolved": tried(dns) == 0,
    "families": {n: tried(lambda: socket.socket(n, socket.SOCK_RAW).close()) for n in (16, 17, 31, 38, 40)},
}))
"""


def test_no_packet_leaves(sandbox: NativeSandbox, host_ears: tuple[dict[str, object], list[socket.socket]]) -> None:
    at, (tcp, udp, abstract) = host_ears
    found = told(ran(sandbox, py(NETWORK, args=(json.dumps(at),))))
    assert found["tcp_host"] == ECONNREFUSED
    assert [found[out] for out in ("tcp_out", "tcp6_out", "metadata", "udp_out")] == [ENETUNREACH] * 4
    assert found["abstract"] == ECONNREFUSED
    assert found["is_resolved"] is False
    # Netlink, packet, bluetooth, crypto, vsock.
    assert set(found["families"].values()) == {EAFNOSUPPORT}  # type: ignore[attr-defined]
    for ear in (tcp, abstract):
        with pytest.raises(BlockingIOError):
            ear.accept()
    with pytest.raises(BlockingIOError):
        udp.recv(10)


def test_a_test_suite_may_talk_to_its_own_server(sandbox: NativeSandbox) -> None:
    script = (
        "import socket\nserver = socket.create_server(('127.0.0.1', 0))\n"
        "client = socket.create_connection(server.getsockname())\nclient.sendall(b'hello')\n"
        "print(server.accept()[0].recv(5))\na, b = socket.socketpair()\na.send(b'x')\nprint(b.recv(1))"
    )
    assert ran(sandbox, py(script)).stdout == b"b'hello'\nb'x'\n"


# The way out by the kernel.

CALLS = """
import ctypes, json, sys
libc = ctypes.CDLL(None, use_errno=True)
def tried(number, *args):
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *(ctypes.c_ulong(arg) for arg in args))
    return ctypes.get_errno() if answer == -1 else 0
print(json.dumps({name: tried(*call) for name, call in json.loads(sys.argv[1]).items()}))
"""


def _number(name: str) -> int | None:
    return sandbox_seccomp.NUMBERS[name][sandbox_seccomp.MACHINES[os.uname().machine].column]


def tried_calls(sandbox: NativeSandbox, calls: dict[str, list[int]]) -> dict[str, object]:
    return told(ran(sandbox, py(CALLS, args=(json.dumps(calls),))))


def test_every_call_of_the_deny_list_is_refused(sandbox: NativeSandbox) -> None:
    by_argument = ("clone", "clone3", "socket", "ioctl")
    denied = {name: number for name in sandbox_seccomp.NUMBERS if (number := _number(name)) and name not in by_argument}
    found = tried_calls(sandbox, {name: [number, 0, 0, 0, 0, 0] for name, number in denied.items()})
    assert found == dict.fromkeys(denied, EPERM)
    assert {"ptrace", "io_uring_setup", "bpf", "unshare", "mount", "userfaultfd", "keyctl"} <= set(denied)


def test_new_namespaces_are_refused_by_every_road(sandbox: NativeSandbox) -> None:
    clone, clone3, unshare = _number("clone"), _number("clone3"), _number("unshare")
    assert clone and clone3 and unshare
    flags = {"ns": 0x00020000, "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000}
    calls = {f"clone_{name}": [clone, flag | signal.SIGCHLD, 0, 0, 0, 0] for name, flag in flags.items()}
    calls |= {f"unshare_{name}": [unshare, flag] for name, flag in flags.items()} | {"clone3": [clone3, 0, 0]}
    found = tried_calls(sandbox, calls)
    assert found.pop("clone3") == ENOSYS
    assert set(found.values()) == {EPERM}


def test_no_one_types_on_our_terminal(sandbox: NativeSandbox) -> None:
    ioctl = _number("ioctl")
    assert ioctl
    hidden = 1 << 40  # the kernel reads 32 bits; a filter that compared 64 would be passed by
    found = tried_calls(sandbox, {"tiocsti": [ioctl, 0, 0x5412, 0], "hidden": [ioctl, 0, 0x5412 | hidden, 0]})
    assert found == {"tiocsti": EPERM, "hidden": EPERM}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="only x86_64 has other call tables under the same processor")
def test_calls_by_another_table_do_not_pass_the_filter(sandbox: NativeSandbox) -> None:
    ptrace, x32 = _number("ptrace"), 0x40000000
    assert ptrace
    assert tried_calls(sandbox, {"getpid": [x32 | 39], "ptrace": [x32 | ptrace]}) == {
        "getpid": ENOSYS,
        "ptrace": ENOSYS,
    }
    script = (
        "import ctypes, mmap\ncode = mmap.mmap(-1, 4096, prot=7)\n"
        "code.write(bytes.fromhex('b814000000cd80c3'))\n"  # mov eax, 20; int 0x80; ret: getpid of the 32-bit table
        "address = ctypes.addressof(ctypes.c_char.from_buffer(code))\nctypes.CFUNCTYPE(ctypes.c_int)(address)()\n"
        "print('passed')"
    )
    ended = ran(sandbox, py(script))
    assert (ended.status, ended.reason, ended.stdout) == (128 + signal.SIGSYS, "signalled", b"")


def test_a_process_of_the_host_cannot_be_named(sandbox: NativeSandbox) -> None:
    with subprocess.Popen(["sleep", "60"]) as victim:
        try:
            ended = ran(sandbox, sh(f"kill -9 {victim.pid} {os.getpid()}; kill -9 -1; echo survived"))
            assert victim.poll() is None
        finally:
            victim.kill()
    assert b"No such process" in ended.stderr


# The way out by the file system.


def test_nothing_but_the_writable_bind_can_be_written(sandbox: NativeSandbox, tmp_path: Path) -> None:
    (tmp_path / "ro").mkdir()
    (tmp_path / "rw").mkdir()
    script = """
import json, os
def tried(path):
    try:
        with open(path, "w") as file: file.write("x")
        return 0
    except OSError as error:
        return error.errno
paths = ["/x", "/usr/x", "/etc/passwd", "/etc/x", "/dev/x", "/proc/sys/kernel/core_pattern",
         "/proc/self/oom_score_adj", "/ro/x", "/rw/x", "/tmp/x", "/home/agent/x", "/dev/shm/x", "/dev/null"]
print(json.dumps({path: tried(path) for path in paths}))
"""
    binds = (Bind(tmp_path / "ro", "/ro"), Bind(tmp_path / "rw", "/rw", is_writable=True))
    found = told(ran(sandbox, py(script, *binds)))
    written = {path for path, number in found.items() if number == 0}
    assert written == {"/rw/x", "/tmp/x", "/home/agent/x", "/dev/shm/x", "/dev/null"}
    assert {found[path] for path in found.keys() - written} == {EROFS}
    assert list((tmp_path / "ro").iterdir()) == []
    owner = (tmp_path / "rw" / "x").stat()
    assert (owner.st_uid, owner.st_gid) == (os.geteuid(), os.getegid())


def test_what_a_command_leaves_in_tmp_is_gone_for_the_next(sandbox: NativeSandbox) -> None:
    assert ran(sandbox, sh("touch /tmp/left /home/agent/left")).status == 0
    assert ran(sandbox, sh("ls -A /tmp /home/agent")).stdout == b"/home/agent:\n\n/tmp:\n"


def test_a_read_only_bind_holds_inside_a_writable_one(sandbox: NativeSandbox, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("ours")
    binds = (Bind(tmp_path / ".git", "/copy/.git"), Bind(tmp_path, "/copy", is_writable=True))
    ended = ran(sandbox, sh("echo theirs > .git/config; mv .git x; rm -rf .git; touch y", *binds, cwd="/copy"))
    assert b"Read-only file system" in ended.stderr
    assert (tmp_path / ".git" / "config").read_text() == "ours"
    assert (tmp_path / "y").exists()


def test_a_link_planted_by_one_command_is_not_bound_by_the_next(sandbox: NativeSandbox, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "key").mkdir()
    (tmp_path / "key" / "id").write_text("secret")
    root = Bind(tmp_path / "work", "/copy", is_writable=True)
    assert ran(sandbox, sh(f"mkdir a; ln -s {tmp_path}/key a/b; ln -s {tmp_path}/key c", root, cwd="/copy")).status == 0
    for planted in (tmp_path / "work/c", tmp_path / "work/a/b/id"):
        with pytest.raises(ValueError, match="symbolic link"):
            ran(sandbox, sh("cat /got", root, Bind(planted, "/got")))


# Bounds.

FORKS = """
import os, signal, time
made = 0
for _ in range(400):  # were there no bound, this would be all
    try: pid = os.fork()
    except OSError as error:
        print(made, error.errno, flush=True); os._exit(0)
    if pid == 0: time.sleep(60); os._exit(0)
    made += 1
    time.sleep(0.005)
print(made, 0, flush=True)
"""


def test_a_fork_bomb_is_bounded(sandbox: NativeSandbox) -> None:
    ended = ran(sandbox, py(FORKS, limits=LIMITS._replace(processes_max=20)))
    if ended.reason == "exhausted":  # root's processes without a control group: counted, and ended
        assert (ended.limit, ended.stdout) == ("processes_max", b"")
    else:
        assert ended.stdout == b"19 11\n"  # EAGAIN; the twentieth is the one that forks


def test_a_memory_bomb_is_bounded(sandbox: NativeSandbox) -> None:
    script = "kept = []\nfor _ in range(1024): kept.append(b'x' * (1 << 20))\nprint('held it all')"
    ended = ran(sandbox, py(script, limits=LIMITS._replace(memory_bytes_max=128 << 20)))
    assert ended.stdout == b""
    assert (ended.reason, ended.limit) == ("exhausted", "memory_bytes_max") or b"MemoryError" in ended.stderr


def test_memory_is_counted_over_the_whole_tree(sandbox: NativeSandbox) -> None:
    script = (
        "import os, time\nfor _ in range(4):\n    if os.fork() == 0:\n"
        "        kept = bytearray(60 << 20)\n        kept[::4096] = b'x' * (60 << 8)\n        time.sleep(60)\n"
        "for _ in range(4): print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True); os._exit(137)\n"
    )
    ended = ran(sandbox, py(script, limits=LIMITS._replace(memory_bytes_max=128 << 20)))
    assert (ended.reason, ended.limit) == ("exhausted", "memory_bytes_max")
    assert ended.wall_ns < 10_000_000_000


def test_a_flood_is_cut_and_the_command_goes_on(sandbox: NativeSandbox) -> None:
    limits = LIMITS._replace(output_bytes_max=10_000)
    ended = ran(sandbox, sh("echo START; seq 1 100000; echo END; seq 1 9000 >&2; exit 4", limits=limits))
    assert (ended.status, ended.reason, ended.is_cut) == (4, "exited", True)
    assert len(ended.stdout) <= 10_000 and len(ended.stderr) <= 10_000
    assert ended.stdout.startswith(b"START\n1\n") and ended.stdout.endswith(b"100000\nEND\n")
    assert b"[... " in ended.stdout and b" of 588905 bytes left out ...]" in ended.stdout
    assert ended.stderr.endswith(b"9000\n")


def test_output_at_its_bound_is_whole_and_one_byte_more_is_cut(sandbox: NativeSandbox) -> None:
    limits = LIMITS._replace(output_bytes_max=1000)
    whole = ran(sandbox, sh("head -c 1000 /dev/zero", limits=limits))
    assert (whole.stdout, whole.is_cut) == (bytes(1000), False)
    cut = ran(sandbox, sh("head -c 1001 /dev/zero", limits=limits))
    assert cut.is_cut and 990 < len(cut.stdout) <= 1000
    assert b"left out" in cut.stdout


def test_an_endless_flood_ends_with_the_time(sandbox: NativeSandbox) -> None:
    ended = ran(sandbox, sh("yes", limits=LIMITS._replace(output_bytes_max=65_536, wall_ns=700_000_000)))
    assert (ended.status, ended.reason, ended.limit) == (137, "timed_out", "wall_ns")
    assert ended.is_cut and len(ended.stdout) == 65_536
    assert ended.wall_ns < 5_000_000_000


def test_a_busy_loop_is_ended_by_its_cpu_time(sandbox: NativeSandbox) -> None:
    ended = ran(sandbox, sh("while :; do :; done", limits=LIMITS._replace(cpu_s=1)))
    assert (ended.reason, ended.limit) == ("exhausted", "cpu_s")


def test_one_file_is_bounded(sandbox: NativeSandbox, tmp_path: Path) -> None:
    root = Bind(tmp_path, "/copy", is_writable=True)
    limits = LIMITS._replace(file_bytes_max=1 << 20)
    ended = ran(sandbox, sh("exec head -c 2097152 /dev/zero > big", root, cwd="/copy", limits=limits))
    assert (ended.reason, ended.limit) == ("exhausted", "file_bytes_max")
    assert (tmp_path / "big").stat().st_size == 1 << 20


@pytest.mark.parametrize("is_deleted", [False, True])
def test_many_files_are_bounded_even_when_deleted_and_held_open(
    sandbox: NativeSandbox, tmp_path: Path, is_deleted: bool
) -> None:
    script = """
import os, sys, time
held = []
for n in range(60):  # 240 MB in all
    held.append(open(f"/copy/{n}", "wb"))
    held[-1].write(os.urandom(1 << 20) * 4); held[-1].flush()
    if sys.argv[1] == "True": os.unlink(f"/copy/{n}")
    time.sleep(0.05)
print("filled")
"""
    limits = LIMITS._replace(disk_bytes_max=16 << 20)
    ended = ran(sandbox, py(script, Bind(tmp_path, "/copy", is_writable=True), limits=limits, args=(str(is_deleted),)))
    assert (ended.status, ended.reason, ended.limit, ended.stdout) == (137, "exhausted", "disk_bytes_max", b"")


def test_a_quick_writer_is_caught_after_the_fact(sandbox: NativeSandbox, tmp_path: Path) -> None:
    root = Bind(tmp_path, "/copy", is_writable=True)
    line = "head -c 12000000 /dev/urandom > a; cp a b; cp a c; sync a b c"
    ended = ran(sandbox, sh(line, root, cwd="/copy", limits=LIMITS._replace(disk_bytes_max=8 << 20)))
    assert (ended.reason, ended.limit) == ("exhausted", "disk_bytes_max")


def test_private_folders_are_bounded(sandbox: NativeSandbox) -> None:
    line = (
        "head -c 100000000 /dev/zero > /dev/shm/x; head -c 200000000 /dev/zero > /home/agent/x; stat -c %s /dev/shm/x"
    )
    ended = ran(sandbox, sh(line, limits=LIMITS._replace(memory_bytes_max=1 << 30)))
    assert ended.stderr.count(b"No space left on device") == 2
    assert int(ended.stdout) == sandbox_native.SHM_BYTES_MAX


# Nothing survives.

DAEMON = """
import os, signal, sys, time
for number in range(1, 32):
    if number not in (9, 17, 19): signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 64)
        time.sleep(300)
    os._exit(0)
os.wait()
print("daemon left behind", flush=True)
if sys.argv[1] == "stay": time.sleep(300)
"""


@pytest.mark.parametrize("stay", ["leave", "stay"])
def test_a_daemon_that_ignores_every_signal_does_not_survive(sandbox: NativeSandbox, stay: str) -> None:
    marker = f"m{uuid.uuid4().hex}"
    ended = ran(sandbox, py(DAEMON, args=(stay, marker), limits=LIMITS._replace(wall_ns=1_000_000_000)))
    assert living(marker) == []
    assert ended.stdout == b"daemon left behind\n"
    assert ended.reason == ("exited" if stay == "leave" else "timed_out")
    assert ended.wall_ns < 5_000_000_000


def test_cancelling_kills_the_tree_before_it_returns(sandbox: NativeSandbox) -> None:
    marker = f"m{uuid.uuid4().hex}"

    async def cancel() -> list[int]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(sandbox.run(py(DAEMON, args=("stay", marker))))
            while len(living(marker)) < 4:  # bwrap, pid 1, the command and its daemon
                await asyncio.sleep(0.01)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert task.cancelled()
            return living(marker)

    assert asyncio.run(asyncio.wait_for(cancel(), TEST_S_MAX)) == []


def test_cancelling_at_any_moment_of_the_start_leaves_nothing(sandbox: NativeSandbox) -> None:
    marker = f"m{uuid.uuid4().hex}"
    sandbox.probe()

    async def cancel_each() -> None:
        before = len(os.listdir("/proc/self/fd"))
        for step in range(40):
            task = asyncio.ensure_future(sandbox.run(py(DAEMON, args=("stay", marker))))
            for _ in range(step):
                await asyncio.sleep(0)
            if step >= 20:
                await asyncio.sleep((step - 20) / 2000)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert living(marker) == [], f"cancelled at step {step}"
        assert len(os.listdir("/proc/self/fd")) <= before + 2

    asyncio.run(asyncio.wait_for(cancel_each(), TEST_S_MAX))


def test_when_its_host_process_is_killed_the_command_dies(sandbox: NativeSandbox) -> None:
    marker = f"m{uuid.uuid4().hex}"
    host = (
        "import asyncio, sys\nfrom agentos.drivers.sandbox_native import NativeSandbox\n"
        "from agentos.ports.sandbox import Command\n"
        f"asyncio.run(NativeSandbox().run(Command(('/bin/sh', '-c', 'sleep 300; : {marker}'), cwd='/')))"
    )
    source = str(Path(sandbox_native.__file__).parents[2])
    with subprocess.Popen([sys.executable, "-c", host], env={**os.environ, "PYTHONPATH": source}) as process:
        try:
            inside = f"sleep 300; : {marker}"
            assert wait_until(lambda: any(_is_running(pid, inside) for pid in living(marker)))
        finally:
            process.kill()
    assert wait_until(lambda: not living(marker))


def _is_running(pid: int, line: str) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes() == b"/bin/sh\0-c\0" + line.encode() + b"\0"
    return False


def test_many_at_once_do_not_mix(sandbox: NativeSandbox) -> None:
    async def many() -> list[Exit]:
        async with asyncio.timeout(TEST_S_MAX), asyncio.TaskGroup() as group:
            tasks = [group.create_task(sandbox.run(sh(f"echo {n}; exit {n}"))) for n in range(12)]
        return [task.result() for task in tasks]

    found = asyncio.run(many())
    assert [(ended.status, ended.stdout) for ended in found] == [(n, b"%d\n" % n) for n in range(12)]


# Where it cannot run, and what it cannot run.


def test_a_machine_without_bubblewrap_says_what_to_install(tmp_path: Path) -> None:
    lacking = NativeSandbox(bwrap=tmp_path / "bwrap")
    level = lacking.probe()
    assert (level.name, level.is_usable) == ("none", False)
    assert any("apt-get install bubblewrap" in missing for missing in level.missing)
    with pytest.raises(Unavailable, match="apt-get install bubblewrap"):
        asyncio.run(lacking.run(sh(f"touch {tmp_path}/ran")))
    assert not (tmp_path / "ran").exists()


def test_a_bubblewrap_that_is_refused_is_quoted(tmp_path: Path) -> None:
    refused = tmp_path / "bwrap"
    refused.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    refused.chmod(0o755)
    level = NativeSandbox(bwrap=refused).probe()
    assert not level.is_usable
    assert any("No permissions to create new namespace" in missing for missing in level.missing)


def test_a_machine_that_refuses_namespaces_is_told_apart(sandbox: NativeSandbox) -> None:
    """Inside the sandbox no other can be made, as in a container with the usual filter: said, and nothing is run."""
    source = Path(sandbox_native.__file__).parents[2]
    script = (
        "import sys, json; sys.path.insert(0, '/src')\n"
        "from agentos.drivers.sandbox_native import NativeSandbox\n"
        "level = NativeSandbox().probe()\nprint(json.dumps([level.name, level.is_usable, *level.missing]))"
    )
    ended = ran(sandbox, py(script, Bind(source, "/src")))
    name, is_usable, *missing = json.loads(ended.stdout)
    assert (name, is_usable) == ("none", False)
    assert any("bubblewrap could not build the sandbox: bwrap: " in why for why in missing), missing


@pytest.mark.parametrize(
    ("release", "is_so"), [("5.10.0-28-amd64", False), ("5.14.0", True), ("6.18.44-x", True), ("?", False)]
)
def test_a_kernel_that_counts_a_users_processes_over_the_host_is_not_asked_to(release: str, is_so: bool) -> None:
    assert sandbox_native._counts_by_namespace(release) is is_so


def test_the_holes_are_told(sandbox: NativeSandbox) -> None:
    level = sandbox.probe()
    assert (level.name, level.missing) == ("bubblewrap", ())
    assert any("quota" in hole for hole in level.holes)
    assert any("root-owned" in hole for hole in level.holes) == (os.geteuid() == 0)


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (Command(()), "empty"),
        (Command(("a\0b",)), "NUL"),
        (Command(("a",), env=(("A=B", "c"),)), "env name"),
        (Command(("a",), binds=(Bind(Path("/nonexistent"), "/copy"),)), "not an existing"),
        (Command(("a",), binds=(Bind(Path("/usr"), "/copy/../etc"),)), "normal absolute"),
        (Command(("a",), binds=(Bind(Path("/usr"), "/proc/x"),)), "sandbox's own"),
        (Command(("a",), binds=(Bind(Path("/usr"), "/"),)), "below /"),
    ],
)
def test_a_malformed_command_is_refused_by_name(sandbox: NativeSandbox, command: Command, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        ran(sandbox, command)


def test_toolchain_binds_make_this_python_run_and_show_no_home(sandbox: NativeSandbox) -> None:
    ended = ran(sandbox, Command((sys.executable, "-c", "import sys, ssl, sqlite3; print(sys.prefix)"), BINDS, cwd="/"))
    assert ended.stdout.decode().strip() == sys.prefix, ended.stderr
    assert Path.home() not in {bind.host for bind in toolchain_binds("git", "pytest", "node", "no-such-tool")}


def test_tools_of_a_bound_toolchain_are_found_first(sandbox: NativeSandbox) -> None:
    ended = ran(sandbox, sh("command -v python3", *BINDS))
    assert ended.stdout.decode().strip() in {f"{sys.prefix}/bin/python3", f"{sys.base_prefix}/bin/python3"} or not BINDS
