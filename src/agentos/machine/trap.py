"""The trap: where a call leaves its maker's hands. The one way in, for every process and every person.

    caller ─> who is it? ─> which call is it? ─> content to blobs ─> what is not pure, asked now ─> the loop
                 Stale        recorded: the record answers            (prices, manifests, schemas)
                              other than recorded: diverged

Rule 1: a caller is the socket it holds. What a frame says about who sent it is not read.
Rule 2: a call that is on record is answered from the record, and its name and argument digest must be the record's; at
        the first difference the program is stopped, with both calls named.
Rule 3: content is stored, and durable, before the event that names it.
Rule 4: everything the decision depends on and that is not pure is entered here, with the call; replay never asks again.
"""

import asyncio
from collections.abc import Mapping
from hashlib import sha256

import msgspec

from agentos.abi.calls import AnyCall
from agentos.abi.calls.base import Call
from agentos.abi.calls.kernel import Diverge
from agentos.abi.events.call import CallAnswered, CallRefused
from agentos.abi.ids import CallId, Digest, Pid
from agentos.abi.limits import value
from agentos.abi.refusals import Closed, Exhausted, Invalid, Refusal, Stale
from agentos.abi.replies import Response
from agentos.kernel.decision import name
from agentos.kernel.state import Process
from agentos.machine import codec
from agentos.machine.loop import Machine
from agentos.machine.prepare import Preparer
from agentos.ports.blobs import Blobs

NUMBER_MAX = (1 << 31) - 1  # of a strand or a call: a program that makes a thousand calls a second needs 24 days

_ENCODER = msgspec.msgpack.Encoder()


def digest(call: Call) -> str:
    """The digest of a call as its maker wrote it: what a re-run must repeat. 128 bits against accident, not attack."""
    return sha256(_ENCODER.encode(call)).hexdigest()[:32]


def _unwritable(id: CallId, call: Call) -> Refusal | None:
    """What the journal could not hold: refused here, for the loop must not find out while it writes."""
    if not 0 <= id.strand <= NUMBER_MAX or not 0 < id.n <= NUMBER_MAX:
        return Invalid(thing="call number", fact=f"must be within 1 and {NUMBER_MAX}", remedy="number calls from 1")
    try:
        _ENCODER.encode(call)
    except (OverflowError, UnicodeEncodeError) as error:
        return Invalid(thing=f"call {name(call)}", fact=f"holds what cannot be written down: {error}")
    return None


class Recorded(msgspec.Struct, frozen=True):
    """A call's name, argument digest and response, from the journal."""

    name: str
    args: str
    response: Response


class Trap:
    """Takes calls to the loop and responses back."""

    def __init__(self, machine: Machine, blobs: Blobs, preparer: Preparer) -> None:
        self._machine, self._blobs, self._preparer = machine, blobs, preparer
        self._waiting: dict[CallId, asyncio.Future[Response]] = {}
        self._records: dict[Pid, dict[CallId, Recorded]] = {}
        self._stopped: dict[Pid, asyncio.Event] = {}

    async def call(
        self, pid: Pid, incarnation: int, strand: int, n: int, call: AnyCall, blobs: Mapping[Digest, bytes] = {}
    ) -> Response:
        """A call's response: from the record, or from the loop once it is durable. Never raises for the caller's faults."""
        id = CallId(pid, strand, n)
        process = self._machine.state.processes.get(pid)
        if process is None or process.state == "zombie":
            return Response(id=id, refusal=Closed(thing=f"process {pid}", fact="has ended"))
        if incarnation != process.incarnation:
            fact = f"is over: {pid} runs as incarnation {process.incarnation}"
            return Response(id=id, refusal=Stale(thing=f"incarnation {incarnation}", fact=fact, rule="law 10"))
        refusal = _unwritable(id, call) or self._store(blobs)
        if refusal is not None:
            return Response(id=id if max(strand, n) <= NUMBER_MAX else CallId(pid, 0, 0), refusal=refusal)
        args = digest(call)
        if n <= process.strands.get(strand, 0):
            return await self._again(process, id, call, args)
        return await self._submit(id, self._preparer.enter(call), args)

    async def _submit(self, id: CallId, call: Call, args: str) -> Response:
        future = self._future(id)
        self._machine.submit(id, call, args)
        return await self._released(id.pid, future)

    def _future(self, id: CallId) -> "asyncio.Future[Response]":
        return self._waiting.setdefault(id, asyncio.get_running_loop().create_future())

    async def _released(self, pid: Pid, future: "asyncio.Future[Response]") -> Response:
        """The response, once there is one and its process is not stopped."""
        response = await asyncio.shield(future)
        while (process := self._machine.state.processes.get(pid)) is not None and process.state == "stopped":
            await self._stopped.setdefault(pid, asyncio.Event()).wait()
        return response

    async def _again(self, process: Process, id: CallId, call: Call, args: str) -> Response:
        """A call that was made before: by this program's earlier run, or by this one whose response was lost."""
        waiting = process.parked.get(id.strand)
        if waiting is not None and waiting.id == id:
            if (waiting.name, waiting.args) != (name(call), args):
                return self._diverged(id, call, waiting.name)
            return await self._released(id.pid, self._future(id))
        recorded = self._record(id.pid).get(id)
        if recorded is None:  # answered since it was read, when the program had not come so far and nobody waited
            self.forget(id.pid)
            recorded = self._record(id.pid).get(id)
        if recorded is None:
            fact = "is not on record: it lies before the checkpoint, or was never made"
            return Response(id=id, refusal=Stale(thing=f"call {id}", fact=fact))
        if (recorded.name, recorded.args) != (name(call), args):
            return self._diverged(id, call, recorded.name)
        return recorded.response

    def _diverged(self, id: CallId, call: Call, was: str) -> Response:
        same = "the same call with other arguments" if was == name(call) else f"{name(call)} where the record has {was}"
        fact = f"call {id} is {same}"
        self._machine.tell(Diverge(pid=id.pid, fact=fact))
        remedy = "make it repeat itself: no clock, no chance, no order of its own between calls"
        return Response(
            id=id, refusal=Stale(thing=f"program of {id.pid}", fact=f"diverged from its record: {fact}", remedy=remedy)
        )

    def _record(self, pid: Pid) -> dict[CallId, Recorded]:
        """What a process was answered before this kernel, or this incarnation, began. Read once, kept until it caught up."""
        if pid not in self._records:
            record: dict[CallId, Recorded] = {}
            for kind in ("call.answered", "call.refused"):
                for row in self._machine.journal.read_caller(pid, kind):
                    if row.payload is not None:
                        event = codec.decode(row.type, row.version, row.payload)
                        assert isinstance(event, CallAnswered | CallRefused)
                        record[event.id] = Recorded(event.name, event.args, _response(event))
            self._records[pid] = record
        return self._records[pid]

    def forget(self, pid: Pid) -> None:
        """A new incarnation reads the record anew; a process that ended needs none."""
        self._records.pop(pid, None)

    def respond(self, response: Response) -> bool:
        """Hand a durable response to whoever waits for it. False: nobody does, in this kernel."""
        self._records.get(response.id.pid, {}).pop(response.id, None)
        future = self._waiting.pop(response.id, None)
        if future is None or future.done():
            return False
        future.set_result(response)
        return True

    def resumed(self, pid: Pid) -> None:
        """The process was sent CONT, or is gone: what was held for it goes out."""
        event = self._stopped.pop(pid, None)
        if event is not None:
            event.set()

    def _store(self, blobs: Mapping[Digest, bytes]) -> Refusal | None:
        for claimed, content in blobs.items():
            if len(content) > value("content_bytes_max"):
                fact = f"is {len(content)} bytes, more than {value('content_bytes_max')}"
                return Exhausted(
                    thing="content", fact=fact, remedy="send it in parts", limit="limits.content_bytes_max"
                )
            if self._blobs.put(content) != claimed:
                return Invalid(thing=f"content {claimed[:12]}", fact="does not hash to its name")
        return None


def _response(event: CallAnswered | CallRefused) -> Response:
    if isinstance(event, CallAnswered):
        return Response(id=event.id, reply=event.reply)
    return Response(id=event.id, refusal=event.refusal)
