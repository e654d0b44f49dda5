"""The shipped programs on a real kernel, in one process: the real loop, trap, performer, worker code and file tools, over
a scripted model, a forge of folders and a checker that runs a repository's Python tests here.

What is not real: git (a commit is a table of files), the sandbox (tests run in this process), the operating-system
processes of workers (a program is a task). Everything a program sees is the boundary as it is.

`World(kill=Kill(at, when))` ends the program that makes the at-th call of the run, before the call is made, while it is
waited for, or after it was answered and before the answer is heard. Its next incarnation is answered from the record.
"""

import asyncio
import base64
import contextlib
import importlib.util
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from agentos.abi.budget import Amounts
from agentos.abi.calls import AnyCall
from agentos.abi.calls.kernel import Boot, Enroll, Fence
from agentos.abi.calls.work import Decide, Submit
from agentos.abi.effects import Abort, Halt, Instruction, Launch, Perform
from agentos.abi.events.base import Event
from agentos.abi.ids import Digest, OrderId, Pid
from agentos.abi.inference import Answer, Request
from agentos.abi.paths import Place, place
from agentos.abi.replies import Response
from agentos.abi.work import Change, Check, Command, Contract, Document, Finding, Reason, Scope, Verdict
from agentos.drivers.blobs_memory import MemoryBlobs
from agentos.drivers.check_document import find
from agentos.drivers.inference_scripted import Line, Scripted
from agentos.drivers.journal_memory import MemoryDisk, MemoryJournal
from agentos.drivers.tool_files import EditFile, ListFiles, ReadFile, WriteFile
from agentos.machine import recover
from agentos.machine.loop import Machine
from agentos.machine.perform import Devices, Performer
from agentos.machine.prepare import Preparer, Route
from agentos.machine.processes import Frame
from agentos.machine.trap import Trap
from agentos.machine.trap import digest as trap_digest
from agentos.ports.forge import NotARepository, Stamp
from agentos.ports.inference import Inference
from agentos.ports.tool import Manifest, Result
from agentos.sdk import worker
from agentos.sdk.worker import Incoming
from agentos.userland.agents.programs import BUILTIN

WAIT_S = 20  # for a whole order; the slowest takes one
OWNER = "user:ada"
NO_LIMIT = 10**8

_ENCODE = msgspec.json.Encoder().encode
_FRAMES = msgspec.json.Decoder(Frame)
_INCOMING = msgspec.json.Decoder(Incoming)

Script = Callable[[Request], Line]


class Kill(NamedTuple):
    at: int  # the call of the run, from 1
    when: str  # before | during | after


class Called(NamedTuple):
    """One call as a program made it, the first time."""

    pid: Pid
    strand: int
    n: int
    name: str
    call: AnyCall


class Clock:
    def wall_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


# ---- devices ---------------------------------------------------------------------------------------------------------


def digest_of(files: Mapping[str, bytes]) -> str:
    return sha256(b"\0".join(name.encode() + b"\0" + files[name] for name in sorted(files))).hexdigest()


class FolderForge:
    """Commits are tables of files, named by their digest."""

    name = "folder"

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, bytes]] = {}
        self.refs: dict[str, str] = {}

    def commit(self, files: Mapping[str, bytes]) -> str:
        name = digest_of(files)[:40]
        self.commits[name] = dict(files)
        return name

    async def resolve(self, repository: Path, ref: str) -> str:
        if ref not in self.refs:
            raise NotARepository(f"no {ref}")
        return self.refs[ref]

    async def discard(self, target: Path) -> None:
        for path in sorted(target.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()

    async def checkout(self, repository: Path, commit: str, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        for name, content in self.commits[commit].items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)

    async def seal(self, target: Path, *, base: str, scope: Scope, message: str, stamp: Stamp) -> Change:
        before = self.commits[base]
        now = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
        changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
        where = {name: place(scope, name) for name in changed}
        inside = [name for name in changed if where[name] is Place.ALLOWED]
        kept = {**before, **{name: now[name] for name in inside if name in now}}
        for name in inside:
            if name not in now:
                del kept[name]
        return Change(
            base=base,
            commit=self.commit(kept),
            tree=Digest(digest_of(kept)),
            paths=tuple(inside),
            out_of_scope=tuple(name for name in changed if where[name] in (Place.OUTSIDE, Place.FORBIDDEN)),
            protected=tuple(name for name in changed if where[name] is Place.PROTECTED),
            syntax_errors=tuple(name for name in inside if name.endswith(".py") and not _parses(kept.get(name, b""))),
        )

    async def fetch_into(self, repository: Path, target: Path, commit: str) -> None:
        assert commit in self.commits

    async def move_ref(self, repository: Path, ref: str, *, old: str | None, new: str | None, why: str) -> None:
        assert new is not None and self.refs.get(ref) == old
        self.refs[ref] = new


def _parses(content: bytes) -> bool:
    try:
        compile(content, "x", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


class HereChecker:
    """Runs the `test_*` functions of the tree in this process. Commands only by name: what they say is not run."""

    name = "here"

    def __init__(self, forge: FolderForge, blobs: MemoryBlobs, scratch: Path) -> None:
        self.forge, self.blobs, self.scratch = forge, blobs, scratch
        self.broken: Reason | None = None  # what every command finds instead, once set
        self.is_broken_on_base = False

    async def run(
        self, check: Check, *, repository: Path, commit: str, base: str, scope: Scope, is_probed: bool = False
    ) -> Finding:
        files = self.forge.commits[commit]
        tree = Digest(digest_of(files))
        if isinstance(check, Document):
            content = files.get(check.path)
            return find(check, None if content is None else content.decode(), tree)
        assert isinstance(check, Command)
        if self.broken is not None and (commit != base or self.is_broken_on_base):
            return Finding(
                check=check.name, tree=tree, verdict=Verdict.UNVERIFIED, reason=self.broken, detail="it cannot be run"
            )
        passed, failed, log = self._tests(files)
        is_green = bool(passed) and not failed
        return Finding(
            check=check.name,
            tree=tree,
            verdict=Verdict.PASSED if is_green else Verdict.FAILED,
            reason=Reason.OK if is_green else Reason.CHECK_FAILED,
            detail=f"{len(failed)} tests failed" if failed else f"{len(passed)} tests passed",
            passed=tuple(passed),
            failed=tuple(failed),
            log=self.blobs.put(log.encode()),
            isolation="here",
        )

    def _tests(self, files: Mapping[str, bytes]) -> tuple[list[str], list[str], str]:
        root = self.scratch / digest_of(files)
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        known, path, write = set(sys.modules), list(sys.path), sys.dont_write_bytecode
        sys.path.insert(0, str(root))
        sys.dont_write_bytecode = True
        try:
            return _run_tests(root, sorted(name for name in files if name.startswith("tests/test_")))
        finally:
            sys.path[:], sys.dont_write_bytecode = path, write
            for name in set(sys.modules) - known:
                file = getattr(sys.modules[name], "__file__", None) or ""
                if file.startswith(str(root)):
                    del sys.modules[name]
            importlib.invalidate_caches()


def _run_tests(root: Path, names: list[str]) -> tuple[list[str], list[str], str]:
    passed: list[str] = []
    failed: list[str] = []
    log: list[str] = []
    for name in names:
        space: dict[str, Any] = {"__name__": name}
        try:
            exec(compile((root / name).read_text(), name, "exec"), space)  # noqa: S102 the repository under test is one of ours
        except Exception:  # noqa: BLE001 whatever a test file raises is its failing
            failed.append(name)
            log.append(traceback.format_exc())
            continue
        for test in [key for key in space if key.startswith("test_")]:
            try:
                space[test]()
                passed.append(f"{name}::{test}")
            except Exception as error:  # noqa: BLE001 as above
                failed.append(f"{name}::{test}")
                where = "".join(traceback.format_tb(error.__traceback__)[1:]).replace(f"{root}/", "")
                log.append(f"{where}E   {type(error).__name__}: {error}")
    return passed, failed, "\n".join(log)


class PlainSearch:
    """Search without a sandbox: literal words only."""

    manifest = Manifest("search_files", "Search.", {"type": "object"}, "pure", "fs.read")

    async def run(self, arguments: dict[str, object], *, root: Path, key: str) -> Result:
        hits = []
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            for number, text in enumerate(path.read_text().split("\n"), 1):
                if str(arguments["pattern"]) in text:
                    hits.append(f"{path.relative_to(root)}:{number}: {text}")
        return Result("\n".join(hits) or "[no line matches]")

    async def query(self, *, root: Path, key: str) -> Result | None:
        return None


# ---- the world -------------------------------------------------------------------------------------------------------


class Loopback:
    """What a worker has instead of a socket: frames go to the trap and come back, through the wire's own encoding."""

    def __init__(self, world: "World", pid: Pid, incarnation: int) -> None:
        self._world, self._pid, self._incarnation = world, pid, incarnation

    async def ask(self, frame: dict[str, Any]) -> Incoming:
        got = _FRAMES.decode(_ENCODE(frame))
        if got.op == "read":
            content = base64.b64encode(self._world.blobs.get(got.digest)).decode()
            return Incoming(op="content", content=content)
        assert got.call is not None
        blobs = {Digest(name): base64.b64decode(content) for name, content in got.blobs.items()}
        response = await self._world.called(self._pid, self._incarnation, got.strand, got.n, got.call, blobs)
        return _INCOMING.decode(_ENCODE({"op": "response", "response": response}))


class World:
    """One workspace. Use `run`, or `async with` for more than one order."""

    def __init__(
        self,
        root: Path,
        script: Script | Mapping[str, Script],
        *,
        kill: Kill | None = None,
        provider: str = "",
        names: Mapping[str, str] = {},
        family: str = "",
    ) -> None:
        self.root, self.kill = root, kill
        self.blobs, self.journal = MemoryBlobs(), MemoryJournal(MemoryDisk())
        self.forge = FolderForge()
        self.checker = HereChecker(self.forge, self.blobs, root / "scratch")
        self.calls: list[Called] = []
        self.events: list[Event] = []
        self.requests: list[tuple[str, Request]] = []
        self.made: dict[tuple[Pid, int, int], str] = {}  # digest of each call, by its id
        self.differences: list[str] = []  # calls that a re-run made otherwise
        self.kills = 0
        scripts = script if isinstance(script, Mapping) else {"coder": script}
        self._names = {name: names.get(name, f"{name}-model") for name in scripts}
        self._backends: dict[str, Inference] = {
            name: _Named(Scripted(self._watched(name, one), name=name), provider) for name, one in scripts.items()
        }
        state, head = recover.recover(self.journal, workspace="w", now_ns=1, salts=lambda n: b"\0" * n)
        self.machine = Machine(
            state, self.journal, self.blobs, Clock(), head=head, salts=lambda n: b"\0" * n, crash=lambda name: None
        )
        devices = self._devices()
        routes = {name: Route(name, self._names[name], lambda i, o: i + o, "p1") for name in scripts}
        self.trap = Trap(self.machine, self.blobs, Preparer(self.blobs, routes, devices.tools))
        self.performer = Performer(self.machine, devices, jitter_milli=lambda: 0)
        self._running: dict[Pid, asyncio.Task[None]] = {}
        self._orphans: list[asyncio.Task[Response]] = []  # calls whose maker was killed while it waited
        self._person = 0
        self._count = 0
        self._seen: set[tuple[Pid, int, int]] = set()
        self._changed = asyncio.Event()

    def _devices(self) -> Devices:
        tools = {tool.manifest.name: tool for tool in (ReadFile(), WriteFile(), EditFile(), ListFiles(), PlainSearch())}
        return Devices(
            blobs=self.blobs,
            forge=self.forge,  # type: ignore[arg-type]
            checker=self.checker,
            backends=self._backends,
            models=self._names,
            tools=tools,
            cost=lambda answer: (answer.usage.tokens, "p1"),
            copies=self.root / "copies",
        )

    def _watched(self, name: str, script: Script) -> Script:
        def pick(request: Request) -> Line:
            self.requests.append((name, request))
            return script(request)

        return pick

    # Running.

    async def run(self, files: Mapping[str, str], contract: Contract, *, text: str) -> OrderId:
        """One order, until it is over or waits for a person."""
        async with self.started():
            order = await self.submit(files, contract, text=text)
            await self.settled(order)
        return order

    @contextlib.asynccontextmanager
    async def started(self) -> Any:
        self.machine.responded = self._respond
        self.machine.instructed = self._instruct
        self.machine.recorded = lambda row, event: self._recorded(event)
        async with asyncio.TaskGroup() as group:
            self._group = group
            self.performer.begin(group)
            running = group.create_task(self.machine.run())
            self.machine.tell(Boot(epoch=1))
            self.machine.tell(Enroll(principal=OWNER))
            try:
                yield self
            finally:
                self.machine.stop()
                await running
                for task in (*self._running.values(), *self._orphans):
                    task.cancel()
                self.performer.close()

    async def submit(self, files: Mapping[str, str], contract: Contract, *, text: str) -> OrderId:
        base = self.forge.commit({name: content.encode() for name, content in files.items()})
        contract = msgspec.structs.replace(contract, repository="/repo", base=base, branch="refs/heads/{order}")
        body = text.encode()
        call = Submit(title="Fix it", text=Digest(sha256(body).hexdigest()), contract=contract)
        response = await self.person(call, {call.text: body})
        assert response.reply is not None, response.refusal
        return OrderId(response.reply.order)  # type: ignore[union-attr]

    async def person(self, call: AnyCall, blobs: Mapping[Digest, bytes] = {}) -> Response:
        """A call of the person who owns the workspace."""
        while OWNER not in self.machine.state.sessions:
            await self._wait_change()
        self._person += 1
        return await self.trap.call(self.machine.state.sessions[OWNER], 0, 0, self._person, call, blobs)

    async def decide(self, choice: str, text: str = "") -> Response:
        question = next(iter(self.machine.state.questions))
        return await self.person(Decide(question=question, choice=choice, text=text))

    async def settled(self, order: OrderId) -> None:
        """Until the order is over or a question is open."""
        await self.until(lambda: order in self.machine.state.closed or bool(self.machine.state.questions))

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not is_so():
                await self._wait_change()

    async def _wait_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _recorded(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    # The machinery between kernel and programs.

    def _instruct(self, instruction: Instruction) -> None:
        match instruction:
            case Perform():
                self.performer.perform(instruction)
            case Abort():
                self.performer.abort(instruction)
            case Launch():
                self.trap.forget(instruction.pid)
                self._launch(instruction)
            case Halt():
                self.trap.resumed(instruction.pid)
                task = self._running.pop(instruction.pid, None)
                if task is not None:
                    task.cancel()

    def _launch(self, instruction: Launch) -> None:
        process = self.machine.state.processes.get(instruction.pid)
        if process is None or process.state == "zombie" or process.spec.program.startswith(("person:", "kernel:")):
            return
        program = BUILTIN.get(process.spec.program, process.spec.program)
        frame = Incoming(
            op="run",
            pid=instruction.pid,
            incarnation=instruction.incarnation,
            program=program,
            n=process.checkpoint_n,
            args=process.spec.args,
            state=process.checkpoint,
        )
        link = Loopback(self, instruction.pid, instruction.incarnation)
        self._running[instruction.pid] = self._group.create_task(worker.run(link, frame))  # type: ignore[arg-type]

    def _respond(self, response: Response) -> None:
        if not self.trap.respond(response):
            pid = response.id.pid
            process = self.machine.state.processes.get(pid)
            if process is not None and process.state != "zombie" and pid not in self._running and process.incarnation:
                self.machine.tell(Fence(pid=pid, incarnation=process.incarnation, reason="wakes"))

    async def called(
        self, pid: Pid, incarnation: int, strand: int, n: int, call: AnyCall, blobs: Mapping[Digest, bytes]
    ) -> Response:
        """A program's call, with the killing that this run is for."""
        process = self.machine.state.processes.get(pid)
        if process is None or process.incarnation != incarnation:  # fenced: what it still says is refused by the trap
            return await self.trap.call(pid, incarnation, strand, n, call, blobs)
        made = trap_digest(call)
        if self.made.setdefault((pid, strand, n), made) != made:
            self.differences.append(f"{pid}/{strand}/{n}: {call}")
        elif (pid, strand, n) not in self._seen:
            self._seen.add((pid, strand, n))
            self.calls.append(Called(pid, strand, n, str(type(call).__struct_config__.tag), call))
        self._count += 1
        when = self.kill.when if self.kill is not None and self._count == self.kill.at else ""
        if when == "before":
            await self._die(pid, incarnation)
        if when == "during":
            waiting = self._group.create_task(self.trap.call(pid, incarnation, strand, n, call, blobs))
            self._orphans.append(waiting)
            await self.until(lambda: waiting.done() or self._is_entered(pid, strand, n))
            await self._die(pid, incarnation)
        response = await self.trap.call(pid, incarnation, strand, n, call, blobs)
        if when == "after":
            await self._die(pid, incarnation)
        return response

    def _is_entered(self, pid: Pid, strand: int, n: int) -> bool:
        process = self.machine.state.processes.get(pid)
        return process is None or process.strands.get(strand, 0) >= n

    async def _die(self, pid: Pid, incarnation: int) -> None:
        """The worker is gone. What it would have done next is never heard of."""
        self.kills += 1
        self.machine.tell(Fence(pid=pid, incarnation=incarnation, reason="killed by the test"))
        await asyncio.Event().wait()

    # Looking.

    def events_of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def program(self, pid: Pid) -> str:
        """What a process ran."""
        for event in self.events:
            if getattr(event, "spec", None) is not None and getattr(event, "pid", "") == pid:
                return str(event.spec.program)  # type: ignore[attr-defined]
        return ""

    def artifact(self, name: str) -> str:
        """The newest artifact of a name, of orders that are over too."""
        found = [event for event in self.events if getattr(event, "media_type", None) and event.name == name]  # type: ignore[attr-defined]
        return self.blobs.get(found[-1].content).decode() if found else ""  # type: ignore[attr-defined]

    def result(self, ref: str) -> dict[str, str]:
        return {name: content.decode() for name, content in self.forge.commits[self.forge.refs[ref]].items()}


class _Named:
    """A scripted model that says it is another: which provider serves is part of what a judge is judged by."""

    def __init__(self, inner: Scripted, provider: str) -> None:
        self._inner, self._provider, self.name = inner, provider, inner.name

    def abilities(self) -> Any:
        return self._inner.abilities()

    async def generate(self, request: Request, *, key: str) -> Answer:
        answer = await self._inner.generate(request, key=key)
        return msgspec.structs.replace(answer, provider=self._provider or answer.provider)

    def stream(self, request: Request, *, key: str) -> Any:
        return self._inner.stream(request, key=key)

    async def close(self) -> None:
        await self._inner.close()


def words(request: Request) -> str:
    """All that was said to the model."""
    return "\n".join(
        getattr(block, "text", "") or getattr(block, "content", "")
        for message in request.messages
        for block in message.content
    )


def offers(request: Request, name: str) -> bool:
    return any(tool.name == name for tool in request.tools)


BUDGET = Amounts(uusd=5_000_000, tokens=NO_LIMIT, actions=1_000)
TOOLS = ("read_file", "write_file", "edit_file", "list_files", "search_files")
