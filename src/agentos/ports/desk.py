"""The desk port: what a gate for people needs of the machine. The other half of the trap.

Rule 1: a gate says who is there; the desk finds or makes that person's process. What they may do is the kernel's word.
Rule 2: what is read here is on disk already.
"""

from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple, Protocol

from agentos.abi.calls import AnyCall
from agentos.abi.events.base import Event
from agentos.abi.ids import Digest, Pid
from agentos.abi.replies import Response


class Record(NamedTuple):
    """One event with its envelope, as readers get it."""

    seq: int
    at_ns: int
    epoch: int
    type: str
    caller: str
    cause: str
    order: str
    event: Event


class Desk(Protocol):
    async def enroll(self, principal: str, role: str) -> Pid: ...
    async def call(self, pid: Pid, call: AnyCall, blobs: Mapping[Digest, bytes]) -> Response: ...
    def follow(self, *, order: str, after: int, is_live: bool) -> AsyncIterator[Record]: ...
    def blob(self, digest: Digest) -> bytes | None: ...
    def status(self) -> dict[str, object]: ...
    def stop(self) -> None: ...
