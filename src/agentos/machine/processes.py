"""Programs in workers: launched, listened to, kept alive, released while they wait, fenced when they freeze.

    Launch(pid, incarnation) ─> worker of its trust domain ─> "run" frame ─> the program's calls come back as frames
    no pong within two heartbeats, or the socket closed ─> Fence ─> a new incarnation on a new worker
    nothing on it for WORKER_IDLE_S ─> the worker is ended; it costs 30 MB to keep and a third of a second to start
    waiting, and more residents than RESIDENTS_MAX ─> released; its next response wakes it as a new incarnation

Rule 1: who a frame is from is decided by the socket it came through and the incarnations launched on it. A pid that
        was not launched there is nobody, whoever it belongs to: people and init have no incarnation to guess.
Rule 2: a worker that is fenced is not believed any more, and killed after a grace in which its late calls are refused
        by name. Frozen ones die too: KILL needs no consent.
Rule 3: losing a worker loses no work: programs are run again and answered from the record.
Rule 4: what a worker sends, or a program asks for, ends at most that program. Nothing of theirs ends the kernel.
"""

import asyncio
import base64
import contextlib
import socket
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from agentos.abi.calls import AnyCall
from agentos.abi.calls.kernel import Beat, Fence, Finish
from agentos.abi.effects import Halt, Launch
from agentos.abi.ids import CallId, Digest, Pid
from agentos.abi.refusals import Broken, Invalid, NotFound, Stale
from agentos.abi.replies import Response
from agentos.kernel.process import RESIDENT
from agentos.kernel.state import Process
from agentos.machine.loop import Machine
from agentos.machine.trap import Trap
from agentos.ports.blobs import Blobs, Corrupt, Missing
from agentos.ports.executor import Executor, Worker
from agentos.ports.executor import Launch as WorkerLaunch

HEARTBEAT_S = (
    1.0  # a ping each second: a frozen agent is noticed within two, and a thousand workers cost one core's percent
)
PINGS_PER_HEARTBEAT = 2
UNANSWERED_MAX = 3  # pings: the third is half a heartbeat old when two heartbeats are over
WORKER_START_S = 30.0  # until its first word a worker imports, which a loaded machine does not do within a heartbeat
WORKER_IDLE_S = (
    30.0  # an order's next program comes within seconds of the last; a worker after that is kept for nothing
)
CANNOT_START = 127  # exit status of a program that could not be started, as a shell has it
FENCED_GRACE_S = 2.0  # how long a fenced worker may still be told that it is stale before it is killed
RESIDENTS_MAX = 2_000  # programs kept in memory while they wait; more are released, the longest idle first
FRAME_BYTES_MAX = 32 << 20  # content_bytes_max in base64, and room
HYDRATE_BYTES_MAX = 256 << 10  # content that travels with a response; larger is fetched with a read frame
_DIGESTS = ("body", "answer", "content", "args", "result", "text", "state")


class Frame(msgspec.Struct, omit_defaults=True):
    """What a worker sends, one JSON object per line. A program with a socket of its own may leave pid and n out."""

    op: str = "call"  # call | read | pong | ended
    pid: Pid = Pid("")
    incarnation: int = 0
    strand: int = 0
    n: int = 0
    call: AnyCall | None = None
    blobs: dict[str, str] = {}  # digest -> base64
    digest: Digest = Digest("")
    id: int = 0


_FRAMES = msgspec.json.Decoder(Frame)
_ENCODE = msgspec.json.Encoder().encode


class Line:
    """One worker and the programs on it."""

    def __init__(self, worker: Worker, domain: str, writer: asyncio.StreamWriter) -> None:
        self.worker, self.domain, self.writer = worker, domain, writer
        self.running: dict[Pid, int] = {}  # pid -> incarnation
        self.outrun: dict[Pid, int] = {}  # what ran on it when it was fenced
        self.pinged = self.ponged = 0
        self.since_s = time.monotonic()  # started, or emptied
        self.is_heard = False  # until then it imports, and answers nothing
        self.is_fenced = False
        self.only: Pid | None = None  # the one process of a worker that is not the SDK's

        self._out: list[bytes] = []

    def send(self, frame: Mapping[str, Any]) -> None:
        """Put a frame on the line; all of one turn of the event loop travel in one write."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(_ENCODE(frame) + b"\n")

    def _flush(self) -> None:
        self.writer.write(b"".join(self._out))
        self._out.clear()


class Programs:
    """All workers of a workspace."""

    def __init__(
        self,
        machine: Machine,
        trap: Trap,
        executor: Executor,
        blobs: Blobs,
        *,
        builtin: Mapping[str, str],
        heartbeat_s: float = HEARTBEAT_S,
        residents_max: int = RESIDENTS_MAX,
    ) -> None:
        self._machine, self._trap, self._executor, self._blobs = machine, trap, executor, blobs
        self._builtin, self._heartbeat_s, self._residents_max = builtin, heartbeat_s, residents_max
        self._lines: dict[str, Line] = {}  # trust domain -> worker
        self._resident: dict[Pid, Line] = {}  # in the order of last use
        self._starting: dict[str, asyncio.Lock] = {}
        self._launching: dict[Pid, int] = {}  # incarnations that are being started; the record wakes them
        self._group: asyncio.TaskGroup | None = None
        self._tasks: list[asyncio.Task[None]] = []  # that run until the end: the heartbeat, and one listener per worker

    def begin(self, group: asyncio.TaskGroup) -> None:
        """Workers are listened to in this group from now on."""
        self._group = group
        self._tasks = [group.create_task(self._beat())]

    def close(self) -> None:
        """Stop listening, at shutdown; the executor ends the workers."""
        for task in self._tasks:
            task.cancel()
        for line in self._lines.values():
            line.writer.close()

    def launch(self, instruction: Launch) -> None:
        """Run a process's program, once a worker of its domain is there."""
        process = self._machine.state.processes.get(instruction.pid)
        if process is None or process.spec.program.startswith(RESIDENT):
            return
        assert self._group is not None, "begin first"
        self._trap.forget(instruction.pid)
        self._launching[instruction.pid] = instruction.incarnation
        self._group.create_task(self._begin(process, instruction.incarnation))

    def halt(self, instruction: Halt) -> None:
        """Its program is dropped; nothing it sends is read any more."""
        line = self._resident.pop(instruction.pid, None)
        self._trap.resumed(instruction.pid)
        if line is None:
            return
        line.running.pop(instruction.pid, None)
        line.since_s = time.monotonic()
        line.send({"op": "halt", "pid": instruction.pid})
        if not line.running and line.only is not None:
            self._retire(line)

    def respond(self, response: Response) -> None:
        """A durable response: to whoever waits, and wake the program it belongs to if it is not in memory.

        That somebody waits does not say that it is: a call outlives the release of the program that made it.
        """
        self._trap.respond(response)
        pid = response.id.pid
        process = self._machine.state.processes.get(pid)
        if process is None or process.state == "zombie" or pid in self._resident or pid in self._launching:
            return
        if not process.spec.program.startswith(RESIDENT) and process.incarnation:
            self._machine.tell(Fence(pid=pid, incarnation=process.incarnation, reason="wakes"))

    async def _begin(self, process: Process, incarnation: int) -> None:
        """Start it; a program that cannot be started has ended, and says why in the log."""
        try:
            await self._start(process, incarnation)
        except (OSError, ValueError, Missing, Corrupt) as error:
            print(f"process {process.pid} cannot be started: {error}", file=sys.stderr, flush=True)
            self._machine.tell(Finish(pid=process.pid, incarnation=incarnation, status=CANNOT_START))
        finally:
            if self._launching.get(process.pid) == incarnation:
                del self._launching[process.pid]

    async def _start(self, process: Process, incarnation: int) -> None:
        domain = self._domain(process)
        lock = self._starting.setdefault(domain, asyncio.Lock())
        async with lock:
            line = self._lines.get(domain)
            if line is None or line.is_fenced:
                line = await self._connect(process, domain)
        current = self._machine.state.processes.get(process.pid)
        if current is None or current.incarnation != incarnation or current.state == "zombie":
            return
        frame = self._run_frame(current)
        line.running[process.pid] = incarnation
        self._resident[process.pid] = line
        line.send(frame)
        self._release_some()

    def _domain(self, process: Process) -> str:
        if process.spec.program.startswith("command:"):
            return f"command:{process.pid}"
        return process.principal  # which a domain of its own gave it, or its parent

    def _run_frame(self, process: Process) -> dict[str, Any]:
        program = self._builtin.get(process.spec.program, process.spec.program)
        frame: dict[str, Any] = {
            "op": "run",
            "pid": process.pid,
            "incarnation": process.incarnation,
            "program": program,
            "role": process.spec.role,
            "order": process.order,
            "n": process.checkpoint_n,
        }
        for field, digest in (("args", process.spec.args), ("state", process.checkpoint)):
            if digest is not None:
                frame[field] = digest
                frame.setdefault("blobs", {})[digest] = base64.b64encode(self._blobs.get(digest)).decode()
        return frame

    async def _connect(self, process: Process, domain: str) -> Line:
        command = process.spec.program.removeprefix("command:")
        is_own = process.spec.program.startswith("command:")
        argv = msgspec.json.decode(command, type=tuple[str, ...]) if is_own else ()
        worker = await self._executor.start(WorkerLaunch(domain=domain, argv=argv))
        ours = socket.socket(fileno=worker.socket)
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=FRAME_BYTES_MAX)
        line = Line(worker, domain, writer)
        line.only = process.pid if is_own else None
        self._lines[domain] = line
        assert self._group is not None
        self._tasks.append(self._group.create_task(self._listen(line, reader)))
        return line

    async def _listen(self, line: Line, reader: asyncio.StreamReader) -> None:
        assert self._group is not None
        with contextlib.suppress(ConnectionError, ValueError, asyncio.LimitOverrunError):
            while raw := await reader.readline():
                if not line.is_heard:
                    line.is_heard, line.ponged = True, line.pinged
                try:
                    frame = _FRAMES.decode(raw)
                except msgspec.DecodeError as error:
                    line.send({"op": "refused", "refusal": Invalid(thing="frame", fact=str(error)[:300])})
                    continue
                if frame.op == "pong":
                    line.ponged = max(line.ponged, frame.id)
                elif frame.op == "read":
                    self._read(line, frame)
                elif frame.op == "call":
                    self._call(line, frame)
        self._lost(line, "its worker has ended")

    def _call(self, line: Line, frame: Frame) -> None:
        pid = line.only or frame.pid
        if frame.call is None:
            line.send({"op": "refused", "refusal": Invalid(thing="frame", fact="holds no call")})
            return
        if pid in line.outrun:
            fact = "is over: its worker did not answer, and it runs anew elsewhere"
            stale = Stale(thing=f"incarnation {line.outrun[pid]} of {pid}", fact=fact, rule="law 10")
            line.send(self._response_frame(Response(id=CallId(pid, frame.strand, frame.n), refusal=stale), frame.id))
            return
        incarnation = frame.incarnation or line.running.get(pid, 0)
        if pid not in line.running or line.running[pid] != incarnation:
            return  # halted meanwhile and being dropped, or a pid that was never launched here: nobody's call
        n = frame.n or self._next(pid, frame.strand)
        try:
            blobs = {Digest(name): base64.b64decode(content) for name, content in frame.blobs.items()}
        except ValueError as error:
            line.send({"op": "refused", "refusal": Invalid(thing="frame", fact=f"content is no base64: {error}")})
            return
        deliver = partial(self._answer, line, incarnation, frame.id)
        self._trap.take(CallId(pid, frame.strand, n), incarnation, frame.call, blobs, deliver)

    def _answer(self, line: Line, incarnation: int, id: int, response: Response) -> None:
        """A response to the worker, if it still runs the program that asked."""
        pid = response.id.pid
        if line.running.get(pid) == incarnation:
            line.send(self._response_frame(response, id))
            self._resident[pid] = self._resident.pop(pid, line)

    def _next(self, pid: Pid, strand: int) -> int:
        process = self._machine.state.processes.get(pid)
        return process.strands.get(strand, 0) + 1 if process else 1

    def _response_frame(self, response: Response, id: int) -> dict[str, Any]:
        frame: dict[str, Any] = {"op": "response", "id": id, "response": response}
        blobs = {}
        for field in _DIGESTS:
            digest = getattr(response.reply, field, None)
            if isinstance(digest, str) and len(digest) == 64:
                with contextlib.suppress(Missing, Corrupt):  # whoever reads it is told
                    content = self._blobs.get(Digest(digest))
                    if len(content) <= HYDRATE_BYTES_MAX:
                        blobs[digest] = base64.b64encode(content).decode()
        if blobs:
            frame["blobs"] = blobs
        return frame

    def _read(self, line: Line, frame: Frame) -> None:
        """Content by digest. Immutable, so reading it is no call; the digest had to be told to the process."""
        try:
            content = base64.b64encode(self._blobs.get(frame.digest)).decode()
            line.send({"op": "content", "id": frame.id, "digest": frame.digest, "content": content})
        except (Missing, Corrupt) as error:
            gone = isinstance(error, Missing)
            thing = f"content {frame.digest[:12]}"
            refusal = NotFound(thing=thing, fact="is not here") if gone else Broken(thing=thing, fact=str(error))
            line.send({"op": "content", "id": frame.id, "digest": frame.digest, "refusal": refusal})

    def _lost(self, line: Line, reason: str) -> None:
        """A worker is gone: its programs are run again elsewhere."""
        if self._lines.get(line.domain) is line:
            del self._lines[line.domain]
        for pid, incarnation in list(line.running.items()):
            if self._resident.get(pid) is line:
                del self._resident[pid]
            if line.only is not None:
                assert self._group is not None
                self._tasks.append(self._group.create_task(self._finish(line, pid, incarnation)))
            else:
                self._machine.tell(Fence(pid=pid, incarnation=incarnation, reason=reason))
        line.running.clear()
        line.writer.close()

    async def _finish(self, line: Line, pid: Pid, incarnation: int) -> None:
        """A program with a worker to itself is over when that is; its exit status is the process's."""
        status = await self._executor.reap(line.worker)
        self._machine.tell(Finish(pid=pid, incarnation=incarnation, status=status))

    async def _beat(self) -> None:
        """Ping every worker, twice a heartbeat; fence those that are silent, end those that have nothing to do."""
        beats = 0
        while True:
            await asyncio.sleep(self._heartbeat_s / PINGS_PER_HEARTBEAT)
            beats += 1
            alive: list[Pid] = []
            for line in list(self._lines.values()):
                if line.only is not None:
                    continue
                if self._is_silent(line):
                    self._fence(line)
                    continue
                if not line.running and time.monotonic() - line.since_s > WORKER_IDLE_S:
                    self._retire(line)
                    continue
                line.pinged += 1
                line.send({"op": "ping", "id": line.pinged})
                alive += line.running
            if alive and beats % PINGS_PER_HEARTBEAT == 0:
                self._machine.tell(Beat(pids=tuple(alive)))

    def _is_silent(self, line: Line) -> bool:
        """Whether it has left too many pings unanswered. Counted in pings and not in time, so that a pause of our own
        is nobody else's fault."""
        if not line.is_heard:
            return time.monotonic() - line.since_s > WORKER_START_S
        return line.pinged - line.ponged >= UNANSWERED_MAX

    def _fence(self, line: Line) -> None:
        """A worker does not answer: its programs go elsewhere, and it is killed after a grace."""
        assert self._group is not None
        line.is_fenced = True
        del self._lines[line.domain]
        line.outrun = dict(line.running)
        for pid, incarnation in list(line.running.items()):
            if self._resident.get(pid) is line:
                del self._resident[pid]
            self._machine.tell(Fence(pid=pid, incarnation=incarnation, reason="its worker does not answer"))
        line.running.clear()
        self._group.create_task(self._kill_later(line))

    async def _kill_later(self, line: Line) -> None:
        await asyncio.sleep(FENCED_GRACE_S)
        await self._executor.kill(line.worker)

    def _retire(self, line: Line) -> None:
        assert self._group is not None
        self._lines.pop(line.domain, None)
        line.is_fenced = True
        self._group.create_task(self._executor.kill(line.worker))

    def _release_some(self) -> None:
        """Programs that have waited longest leave memory; the record brings them back."""
        over = len(self._resident) - self._residents_max
        if over <= 0:
            return
        for pid in list(self._resident):
            process = self._machine.state.processes.get(pid)
            if process is None or process.state != "waiting":
                continue
            line = self._resident.pop(pid)
            line.running.pop(pid, None)
            self._trap.release(process)
            line.send({"op": "halt", "pid": pid})
            over -= 1
            if over <= 0:
                return


Responder = Callable[[Response], None]
