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
from collections.abc import Callable, Mapping
from functools import partial
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


Deliver = Callable[[Response], None]  # called once, with the response


class Trap:
    """Takes calls to the loop and responses back."""

    def __init__(self, machine: Machine, blobs: Blobs, preparer: Preparer) -> None:
        self._machine, self._blobs, self._preparer = machine, blobs, preparer
        self._waiting: dict[CallId, list[Deliver]] = {}
        self._records: dict[Pid, dict[CallId, Recorded]] = {}
        self._held: dict[Pid, list[Callable[[], None]]] = {}  # calls and responses of processes that are stopped

    async def call(
        self, pid: Pid, incarnation: int, strand: int, n: int, call: AnyCall, blobs: Mapping[Digest, bytes] = {}
    ) -> Response:
        """A call's response: from the record, or from the loop once it is durable. Never raises for the caller's faults."""
        told: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.take(CallId(pid, strand, n), incarnation, call, blobs, partial(_tell, told))
        return await told

    def take(
        self, id: CallId, incarnation: int, call: AnyCall, blobs: Mapping[Digest, bytes], deliver: Deliver
    ) -> None:
        """Take a call in; `deliver` gets its response, now or when it is durable. A parked call costs no task."""
        process = self._machine.state.processes.get(id.pid)
        if process is None or process.state == "zombie":
            return deliver(Response(id=id, refusal=Closed(thing=f"process {id.pid}", fact="has ended")))
        if incarnation != process.incarnation:
            fact = f"is over: {id.pid} runs as incarnation {process.incarnation}"
            return deliver(Response(id=id, refusal=Stale(thing=f"incarnation {incarnation}", fact=fact, rule="law 10")))
        refusal = _unwritable(id, call) or (self._store(blobs) if blobs else None)
        if refusal is not None:
            known = id if max(id.strand, id.n) <= NUMBER_MAX else CallId(id.pid, 0, 0)
            return deliver(Response(id=known, refusal=refusal))
        if process.state == "stopped":
            self._held.setdefault(id.pid, []).append(partial(self.take, id, incarnation, call, {}, deliver))
            return None
        args = digest(call)
        if id.n <= process.strands.get(id.strand, 0):
            return self._again(process, id, call, args, deliver)
        entered = self._preparer.enter(call)
        self._waiting.setdefault(id, []).append(deliver)
        self._machine.submit(id, entered, args)

    def _again(self, process: Process, id: CallId, call: Call, args: str, deliver: Deliver) -> None:
        """A call that was made before: by this program's earlier run, or by this one whose response was lost."""
        waiting = process.parked.get(id.strand)
        if waiting is not None and waiting.id == id:
            if (waiting.name, waiting.args) != (name(call), args):
                return deliver(self._diverged(id, call, waiting.name))
            self._waiting.setdefault(id, []).append(deliver)
            return None
        recorded = self._record(id.pid).get(id)
        if recorded is None:  # answered since it was read, when the program had not come so far and nobody waited
            self.forget(id.pid)
            recorded = self._record(id.pid).get(id)
        if recorded is None:
            fact = "is not on record: it lies before the checkpoint, or was never made"
            return deliver(Response(id=id, refusal=Stale(thing=f"call {id}", fact=fact)))
        if (recorded.name, recorded.args) != (name(call), args):
            return deliver(self._diverged(id, call, recorded.name))
        return deliver(recorded.response)

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
        pid = response.id.pid
        if pid in self._records:
            self._records[pid].pop(response.id, None)
        waiting = self._waiting.pop(response.id, ())
        process = self._machine.state.processes.get(pid)
        for deliver in waiting:
            if process is not None and process.state == "stopped":
                self._held.setdefault(pid, []).append(partial(deliver, response))
            else:
                deliver(response)
        for held in list(self._held):
            process = self._machine.state.processes.get(held)
            if process is None or process.state != "stopped":  # the response just told may be that of a CONT
                self.resumed(held)
        return bool(waiting)

    def resumed(self, pid: Pid) -> None:
        """The process goes on, or is gone: what was held for it goes out."""
        for go_on in self._held.pop(pid, ()):
            go_on()

    def release(self, process: Process) -> None:
        """Its program has left memory: nobody listens to the calls it waits in."""
        for parked in process.parked.values():
            self._waiting.pop(parked.id, None)

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


def _tell(told: "asyncio.Future[Response]", response: Response) -> None:
    if not told.done():
        told.set_result(response)


def _response(event: CallAnswered | CallRefused) -> Response:
    if isinstance(event, CallAnswered):
        return Response(id=event.id, reply=event.reply)
    return Response(id=event.id, refusal=event.refusal)
