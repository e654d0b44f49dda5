"""Names of things. Every id is a counter of the state or a digest of content; none is random, none is a time.

Rule 1: an id is never reused: a process slot is, so a pid carries its generation.
Rule 2: an id means something only inside its workspace; qualified with the workspace's uuid it is unique everywhere.
"""

from typing import NewType

import msgspec

Pid = NewType("Pid", str)  # "3.1": slot 3, first process to hold it
OrderId = NewType("OrderId", str)  # "WO-12"
Digest = NewType("Digest", str)  # SHA-256 of content, 64 lower-case hex digits
Principal = NewType("Principal", str)  # who answers for an act: "user:ada", "kernel", "agent:worker"
CapabilityId = NewType("CapabilityId", int)  # counter; means something only to its holder
AccountId = NewType("AccountId", int)  # a control group's account in the budget tree

KERNEL = Pid("0.0")  # the caller of calls that the state itself demands
INIT = Pid("1.1")  # the first process, parent of all others


class CallId(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Which call: the n-th call of one strand of one process. The idempotency key of its effect derives from it."""

    pid: Pid
    strand: int  # concurrent line of calls inside the process, from 0
    n: int  # position in the strand, from 1; a program run again makes the same call under the same n

    def __str__(self) -> str:
        return f"{self.pid}/{self.strand}/{self.n}"


def parse_call_id(text: str) -> CallId:
    """The id written as "PID/STRAND/N"; ValueError if it is not one."""
    pid, strand, n = text.split("/")
    return CallId(Pid(pid), int(strand), int(n))
