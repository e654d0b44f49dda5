"""The system-call filter of the native sandbox, assembled by hand as classic BPF; no libseccomp is needed.

A deny list, and not an allow list: compilers, test runners and language runtimes of any kind must work inside, and
an allow list breaks them at each new libc. What is denied is what has been the way out of other people's sandboxes:
new namespaces, mounts, kernel keyrings, tracing, BPF, io_uring, handles that bypass paths, module loading, clocks.

    architecture not ours      the process is killed: numbers would mean other calls
    number of the x32 ABI      ENOSYS: the same calls under other numbers
    clone3                     ENOSYS: its flags lie behind a pointer BPF cannot follow; libc falls back to clone
    clone with CLONE_NEW*      EPERM
    socket of another family   EAFNOSUPPORT: unix and IP only; there is no network behind IP but the own loopback
    ioctl TIOCSTI, TIOCLINUX   EPERM: they type on the invoker's terminal
    the deny list              EPERM

Rule 1: an argument is compared by its low 32 bits where the kernel reads an int, so high bits cannot hide it.
Rule 2: a number missing on an architecture is left out, never replaced by a neighbour.
Source: seccomp(2), linux/bpf_common.h, the kernel's system-call tables.
"""

import errno
import platform
import struct
from typing import NamedTuple

ALLOW = 0x7FFF0000  # SECCOMP_RET_ALLOW
KILL = 0x80000000  # SECCOMP_RET_KILL_PROCESS
_ERRNO = 0x00050000  # SECCOMP_RET_ERRNO

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # classic BPF opcodes
_AT_NUMBER, _AT_ARCHITECTURE, _AT_ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. NEWTIME has no bit in clone(2).
_CLONE_NEW = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6
_X32_BIT = 0x40000000


class Machine(NamedTuple):
    """What differs between architectures."""

    audit: int  # AUDIT_ARCH_*
    has_x32: bool
    column: int  # in the table below


MACHINES = {"x86_64": Machine(0xC000003E, True, 0), "aarch64": Machine(0xC00000B7, False, 1)}

# name: (x86_64, aarch64); None where the architecture has no such call.
NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "clone": (56, 220),
    "clone3": (435, 435),
    "socket": (41, 198),
    "ioctl": (16, 29),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "fanotify_init": (300, 262),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "syslog": (103, 116),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "vhangup": (153, 58),
    "lookup_dcookie": (212, 18),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "ustat": (136, None),
    "sysfs": (139, None),
}
_BY_ARGUMENT = ("clone", "clone3", "socket", "ioctl")  # judged by what they are given, not refused as such


def assemble(machine: str | None = None) -> bytes:
    """The filter for that machine (this one by default), ready for bwrap --seccomp. KeyError for an unknown machine."""
    target = MACHINES[machine or platform.machine()]
    code = [
        *_load(_AT_ARCHITECTURE),
        *_unless_equal(target.audit, KILL),
        *_load(_AT_NUMBER),
    ]
    if target.has_x32:
        code += [_step(_JUMP_AT_LEAST, _X32_BIT, 0, 1), _answer(_refuse(errno.ENOSYS))]
    for name, numbers in NUMBERS.items():
        number = numbers[target.column]
        if number is not None:
            code += _judge(name, number)
    code.append(_answer(ALLOW))
    return b"".join(code)


def _judge(name: str, number: int) -> list[bytes]:
    """The steps for one call: skipped whole when the number is another one."""
    body = _BODIES[name]() if name in _BY_ARGUMENT else [_answer(_refuse(errno.EPERM))]
    return [_step(_JUMP_EQUAL, number, 0, len(body)), *body]


def _judge_clone() -> list[bytes]:
    return [
        *_load(_AT_ARGUMENTS),
        _step(_JUMP_ANY_BIT, _CLONE_NEW, 0, 1),
        _answer(_refuse(errno.EPERM)),
        _answer(ALLOW),
    ]


def _judge_clone3() -> list[bytes]:
    return [_answer(_refuse(errno.ENOSYS))]


def _judge_socket() -> list[bytes]:
    allowed = [step for family in _FAMILIES for step in (_step(_JUMP_EQUAL, family, 0, 1), _answer(ALLOW))]
    return [*_load(_AT_ARGUMENTS), *allowed, _answer(_refuse(errno.EAFNOSUPPORT))]


def _judge_ioctl() -> list[bytes]:
    refused = (_TIOCSTI, _TIOCLINUX)
    steps = [step for op in refused for step in (_step(_JUMP_EQUAL, op, 0, 1), _answer(_refuse(errno.EPERM)))]
    return [*_load(_AT_ARGUMENTS + 8), *steps, _answer(ALLOW)]


_BODIES = {"clone": _judge_clone, "clone3": _judge_clone3, "socket": _judge_socket, "ioctl": _judge_ioctl}


def _load(offset: int) -> list[bytes]:
    """Load 32 bits of struct seccomp_data; both machines are little-endian, so the low half comes first."""
    return [_step(_LOAD, offset)]


def _unless_equal(value: int, answer: int) -> list[bytes]:
    return [_step(_JUMP_EQUAL, value, 1, 0), _answer(answer)]


def _refuse(number: int) -> int:
    return _ERRNO | number


def _answer(value: int) -> bytes:
    return _step(_RETURN, value)


def _step(code: int, k: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, k)
