"""The desk: where people's gates meet the machine. Persons are processes whose program is a human being.

Rule 1: a person's calls are numbered here, on the first strand of theirs that is free: people do not re-run.
Rule 2: readers get what is on record, in order, without a gap between history and what is live.
Rule 3: a reader that does not keep up is dropped with its last number; it can come back and go on from there.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

from agentos.abi.calls import AnyCall
from agentos.abi.calls.kernel import Enroll
from agentos.abi.events.base import Event
from agentos.abi.ids import CallId, Digest, Pid, Principal
from agentos.abi.limits import value
from agentos.abi.refusals import Exhausted
from agentos.abi.replies import Response
from agentos.machine import codec
from agentos.machine.loop import Machine
from agentos.machine.trap import Trap
from agentos.ports.blobs import Blobs, Missing
from agentos.ports.desk import Record
from agentos.ports.journal import Row

READER_BACKLOG_MAX = 10_000  # events a live reader may be behind: some seconds of the busiest workspace
PAGE = 500  # rows read from the journal at a time, so that a long history does not hold the loop


class FellBehind(Exception):
    """The reader was too slow; it goes on from the last event it had."""


class MachineDesk:
    """`agentos.ports.desk.Desk` over one machine."""

    def __init__(self, machine: Machine, trap: Trap, blobs: Blobs, *, status: Callable[[], dict[str, object]]) -> None:
        self._machine, self._trap, self._blobs, self._status = machine, trap, blobs, status
        self._free: dict[Pid, list[int]] = {}  # strands nobody here waits on; the next is the last
        self._enrolled: dict[str, asyncio.Lock] = {}
        self._readers: list[asyncio.Queue[Record | None]] = []
        self.stopped: Callable[[], None] = machine.stop

    async def enroll(self, principal: str, role: str) -> Pid:
        """The person's process; made, durably, when they come for the first time."""
        lock = self._enrolled.setdefault(principal, asyncio.Lock())
        async with lock:
            name = Principal(principal)
            if name not in self._machine.state.sessions:
                told = asyncio.get_running_loop().create_future()
                self._machine.tell(Enroll(principal=principal, role=role), told)
                await told
        return self._machine.state.sessions[name]

    async def call(self, pid: Pid, call: AnyCall, blobs: Mapping[Digest, bytes]) -> Response:
        process = self._machine.state.processes[pid]
        free = self._free.setdefault(pid, list(reversed(range(value("strands_max")))))
        aside = []  # strands on which something waits since before, or for somebody who went away
        while free and free[-1] in process.parked:
            aside.append(free.pop())
        strand = free.pop() if free else None
        free[:0] = aside
        if strand is None:
            full = Exhausted(thing=pid, fact="waits for too many answers already", limit="limits.strands_max")
            return Response(id=CallId(pid, 0, 0), refusal=full)
        try:
            n = process.strands.get(strand, 0) + 1
            return await self._trap.call(pid, process.incarnation, strand, n, call, blobs)
        finally:
            free.append(strand)

    async def follow(self, *, order: str, after: int, is_live: bool) -> AsyncIterator[Record]:
        queue: asyncio.Queue[Record | None] = asyncio.Queue(READER_BACKLOG_MAX)
        if is_live:
            self._readers.append(queue)  # before the history is read: nothing falls between the two
        try:
            async for record in self._history(order, after):
                after = record.seq
                yield record
            while is_live:
                fresh = await queue.get()
                if fresh is None:
                    raise FellBehind(f"reader was more than {READER_BACKLOG_MAX} events behind; go on after {after}")
                if fresh.seq > after and (not order or fresh.order == order):
                    after = fresh.seq
                    yield fresh
        finally:
            if is_live:
                self._readers.remove(queue)

    async def _history(self, order: str, after: int) -> AsyncIterator[Record]:
        rows = self._machine.journal.read_order(order) if order else self._machine.journal.read(after)
        for number, row in enumerate(rows):
            if row.seq > after and row.payload is not None:
                yield _record(row, codec.decode(row.type, row.version, row.payload))
            if number % PAGE == PAGE - 1:
                await asyncio.sleep(0)

    def recorded(self, row: Row, event: Event) -> None:
        """A durable event, to all who read live. Called by the machine after each flush."""
        for queue in self._readers:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(_record(row, event))

    def blob(self, digest: Digest) -> bytes | None:
        try:
            return self._blobs.get(digest)
        except Missing:
            return None

    def status(self) -> dict[str, object]:
        state = self._machine.state
        return {
            "workspace": state.workspace,
            "epoch": state.epoch,
            "events": self._machine.head.seq,
            "processes": len(state.processes),
            "orders_open": len(state.orders),
            "questions_open": len(state.questions),
            "effects_in_flight": len(state.effects),
            **self._status(),
        }

    def stop(self) -> None:
        self.stopped()


def _record(row: Row, event: Event) -> Record:
    return Record(row.seq, row.at_ns, row.epoch, row.type, row.caller, row.cause, row.order, event)
