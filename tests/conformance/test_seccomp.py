"""The filter, run step by step by an interpreter of classic BPF: for both machines, on whichever this is."""

import errno
import struct

import pytest

from agentos.drivers import sandbox_seccomp
from agentos.drivers.sandbox_seccomp import ALLOW, KILL, MACHINES, NUMBERS

MACHINE_NAMES = sorted(MACHINES)


def judged(machine: str, number: int, *args: int, audit: int | None = None) -> int:
    """What the kernel would answer to that call."""
    architecture = MACHINES[machine].audit if audit is None else audit
    call = struct.pack("<IIQ6Q", number, architecture, 0, *args, *[0] * (6 - len(args)))
    code = list(struct.iter_unpack("<HBBI", sandbox_seccomp.assemble(machine)))
    at, accumulator = 0, 0
    while True:
        opcode, if_true, if_false, k = code[at]
        at += 1
        if opcode == 0x20:
            (accumulator,) = struct.unpack_from("<I", call, k)
        elif opcode == 0x06:
            return int(k)
        else:
            is_so = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[opcode]
            at += if_true if is_so else if_false


def refusal(number: int) -> int:
    return 0x00050000 | number


@pytest.mark.parametrize("machine", MACHINE_NAMES)
def test_of_all_numbers_exactly_the_listed_are_refused(machine: str) -> None:
    column = MACHINES[machine].column
    listed = {number: name for name, numbers in NUMBERS.items() if (number := numbers[column]) is not None}
    refused = {number for number in range(600) if judged(machine, number) != ALLOW}
    # Judged by argument: with zeros, clone and ioctl are harmless; socket asks for family 0, which is none of ours.
    assert refused == listed.keys() - {NUMBERS["clone"][column], NUMBERS["ioctl"][column]}
    plain = refused - {NUMBERS["clone3"][column], NUMBERS["socket"][column]}
    assert {judged(machine, number) for number in plain} == {refusal(errno.EPERM)}


@pytest.mark.parametrize("machine", MACHINE_NAMES)
def test_arguments_decide_where_a_call_is_needed(machine: str) -> None:
    column = MACHINES[machine].column
    clone, clone3, sock, ioctl = (NUMBERS[name][column] or 0 for name in ("clone", "clone3", "socket", "ioctl"))
    thread, fork = 0x3D0F00, 0x1200011  # as glibc calls it for a thread and for fork
    assert judged(machine, clone, thread) == judged(machine, clone, fork) == ALLOW
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert judged(machine, clone, flag | 17) == refusal(errno.EPERM)
    assert judged(machine, clone3) == refusal(errno.ENOSYS)
    assert {family for family in range(64) if judged(machine, sock, family) == ALLOW} == {1, 2, 10}
    assert judged(machine, sock, 16) == refusal(errno.EAFNOSUPPORT)
    assert {op for op in range(0x5400, 0x5500) if judged(machine, ioctl, 0, op) != ALLOW} == {0x5412, 0x541C}
    assert judged(machine, ioctl, 0, 0x5412 | 1 << 32) == refusal(errno.EPERM)


@pytest.mark.parametrize("machine", MACHINE_NAMES)
def test_another_architecture_is_death(machine: str) -> None:
    for audit in {0x40000003, 0x40000028, *(found.audit for found in MACHINES.values())} - {MACHINES[machine].audit}:
        assert judged(machine, 0, audit=audit) == KILL


def test_x32_numbers_do_not_exist() -> None:
    assert judged("x86_64", 0x40000000 | 101) == refusal(errno.ENOSYS)
    assert judged("x86_64", 0xFFFFFFFF) == refusal(errno.ENOSYS)


def test_an_unknown_machine_has_no_filter() -> None:
    with pytest.raises(KeyError, match="riscv64"):
        sandbox_seccomp.assemble("riscv64")
