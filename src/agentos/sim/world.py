"""The world outside the kernel: model, tools, repository and checker as servers with logs of their own.

    stub (a driver of one kernel's life) ──request──> server ──> log ──answer──> stub
         dies with its kernel                 outlives every kernel, and is what exactly-once is judged from

Rule 1: a server writes its log when it acts, whoever hears of it. Nothing here reads the journal.
Rule 2: what goes wrong on the way (slow, lost before, lost after, late, garbled, hung) follows from the seed.
Rule 3: a stub of a dead kernel reaches nobody. Its requests on the way arrive, arrive late, or never.
Rule 4: only the idempotent server remembers keys. The queryable one tells whether it has done a key and would do it
        again; `once` cannot even be asked.
"""

import asyncio
import contextlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Protocol

import msgspec

from agentos.abi.ids import Digest
from agentos.abi.inference import Abilities, Answer, Request, Text, Usage
from agentos.abi.work import Change, Check, Finding, Reason, Scope, Verdict
from agentos.ports.forge import Conflict, Moved, NotARepository, Stamp
from agentos.ports.inference import Garbled, InferenceError, Refused, Throttled, Unreachable
from agentos.ports.tool import Manifest, Result
from agentos.sim.loop import VirtualLoop

REPOSITORY = "/sim/repository"
BASE = "b" * 40  # the commit that everything starts from
IN_USD_PER_M, OUT_USD_PER_M = 3, 15  # micro-USD per token: what a middling model costs
LINGER_S = 240  # how long a request of a dead kernel may still be on its way; under any tool's wall
KINDS = ("pure", "idempotent", "queryable", "costly", "once")


class Died(BaseException):
    """The kernel of this life is gone; whatever of it still runs must stop at once."""


class Done(NamedTuple):
    """A server did something."""

    kind: str
    key: str
    op: str  # what was wanted, as the program named it: unique per wish, so it also sees through changing keys
    attempt: int
    at_ns: int


class Billed(NamedTuple):
    """The model server answered, and charges for it."""

    key: str
    attempt: int
    uusd: int
    tokens: int


class Ran(NamedTuple):
    """The checker ran a check."""

    check: str
    commit: str
    verdict: Verdict


class Receipt(NamedTuple):
    """A change in the checkout, or out of it again. `agentos.ports.forge.Delivered`."""

    id: str
    paths: tuple[str, ...]


class Living(Protocol):
    """What a stub knows of the kernel it serves."""

    def check(self) -> None: ...  # raises Died
    def visit(self, point: str, kind: str = "") -> None: ...  # a named point; may be where the kernel dies


class Faults(NamedTuple):
    """How bad this world is, in thousandths."""

    lost: int = 0  # an answer that never comes back, or a request that never arrives
    retryable: int = 0  # a model that asks to wait
    hung: int = 0
    overrun: int = 0  # a model that uses more than it was allowed
    broken: int = 0  # a checker or a forge that fails
    late: int = 500  # of the requests on the way when a kernel dies, those that arrive after all


class World:
    """Everything that outlives a kernel, but for its disk."""

    def __init__(self, loop: VirtualLoop, random: Random, faults: Faults) -> None:
        self.loop, self.random, self.faults = loop, random, faults
        self.done: list[Done] = []
        self.billed: list[Billed] = []
        self.ran: list[Ran] = []
        self.writes: list[tuple[str, int, str]] = []  # the guarded resource's log: resource, token, op
        self.keys: dict[str, Result] = {}  # what the idempotent server remembers
        self.copies: dict[Path, dict[str, str]] = {}
        self.commits: dict[str, dict[str, str]] = {BASE: {"README": "hello"}}
        self.refs: dict[str, str] = {}
        self.moved: list[tuple[str, str]] = []  # every successful move of a ref
        self.applied: list[str] = []  # receipts of changes that are in the user's checkout
        self.broken: list[str] = []  # keys of requests whose line broke, so that their callers cannot know
        self.attempts: dict[str, int] = {}  # key -> the attempt that was instructed last
        self._on_the_way: dict[int, Callable[[], Any]] = {}
        self._last = 0

    def chance(self, milli: int) -> bool:
        return self.random.randrange(1000) < milli

    def die(self) -> None:
        """The kernel died: its requests on the way are lost, arrive now, or linger."""
        for act in self._on_the_way.values():
            if self.chance(self.faults.late):
                self.loop.call_later(self.random.uniform(0, LINGER_S), _late, act)
        self._on_the_way.clear()

    async def request(self, life: Living, kind: str, act: Callable[[], Any], *, is_local: bool = False) -> Any:
        """Have a server act, with the world in between: none of it for what runs on the kernel's own machine."""
        life.check()
        self._last += 1
        number, done = self._last, [False]

        def once() -> Any:
            done[0] = True
            return act()

        self._on_the_way[number] = once
        try:
            await asyncio.sleep(self._latency_s())
            life.check()
            if not is_local and self.chance(self.faults.lost):
                raise ConnectionError("the request was lost on its way")
            life.visit("during effect", kind)
            del self._on_the_way[number]
            answer = once()
            life.visit("during effect", kind)
            if not is_local and self.chance(self.faults.hung):
                await asyncio.sleep(1e6)
            await asyncio.sleep(self._latency_s())
            life.check()
            if not is_local and self.chance(self.faults.lost):
                raise ConnectionError("the answer was lost on its way")
            return answer
        finally:
            if not done[0]:
                self._on_the_way.pop(number, None)

    def _latency_s(self) -> float:
        """Mostly quick, sometimes slow: both sides of every race must come to pass."""
        return self.random.uniform(0.001, 0.05) if self.random.randrange(4) else self.random.uniform(0.05, 4.0)

    def act(self, kind: str, key: str, op: str) -> Result:
        """What a tool server does with a request that has arrived."""
        if kind == "idempotent" and key in self.keys:
            return self.keys[key]
        self.done.append(Done(kind, key, op, self.attempts.get(key, 0), self.loop.now_ns()))
        result = Result(f"{kind} {op} done")
        if kind == "idempotent":
            self.keys[key] = result
        return result

    def has_done(self, key: str) -> bool:
        return any(row.key == key for row in self.done)


def _late(act: Callable[[], Any]) -> None:
    """A request of a dead kernel arrives. Nobody is there to hear that it was refused."""
    with contextlib.suppress(Moved, Conflict):
        act()


class SimTool:
    """A tool of one repeat kind, served from outside. `agentos.ports.tool.Tool`."""

    def __init__(self, world: World, life: Living, kind: str) -> None:
        self.manifest = Manifest(kind, f"a tool that is {kind}", {}, kind, "tool")
        self._world, self._life, self._kind = world, life, kind

    async def run(self, arguments: dict[str, object], *, root: Path, key: str) -> Result:
        op = str(arguments.get("op", ""))
        try:
            result: Result = await self._world.request(
                self._life, self._kind, lambda: self._world.act(self._kind, key, op)
            )
        except ConnectionError:
            self._world.broken.append(key)
            raise
        return result

    async def query(self, *, root: Path, key: str) -> Result | None:
        """Asked over a line that works: a question that is lost is asked again by whoever asks."""
        self._life.check()
        await asyncio.sleep(0.01)
        self._life.check()
        return Result("it had happened") if self._world.has_done(key) else None


class WriteTool(SimTool):
    """Write a file into the working copy. Idempotent by nature."""

    def __init__(self, world: World, life: Living) -> None:
        super().__init__(world, life, "idempotent")
        self.manifest = self.manifest._replace(name="write")

    async def run(self, arguments: dict[str, object], *, root: Path, key: str) -> Result:
        await asyncio.sleep(0.01)
        self._life.check()
        self._world.copies[root][str(arguments["path"])] = str(arguments["content"])
        return Result("written")


class GuardedTool(SimTool):
    """Write to a resource that checks fencing tokens: an older one than it has seen is refused."""

    def __init__(self, world: World, life: Living) -> None:
        super().__init__(world, life, "idempotent")
        self.manifest = self.manifest._replace(name="guarded")

    async def run(self, arguments: dict[str, object], *, root: Path, key: str) -> Result:
        resource, token, op = str(arguments["resource"]), int(str(arguments["token"])), str(arguments["op"])

        def write() -> Result:
            newest = max((seen for name, seen, _ in self._world.writes if name == resource), default=0)
            if token < newest:
                return Result(f"token {token} is outranked by {newest}", is_error=True)
            result = self._world.act("idempotent", key, op)
            self._world.writes.append((resource, token, op))
            return result

        result: Result = await self._world.request(self._life, "idempotent", write)
        return result


class SimModel:
    """A model behind a wire, with a meter. `agentos.ports.inference.Inference`."""

    name = "sim"

    def __init__(self, world: World, life: Living) -> None:
        self._world, self._life = world, life

    def abilities(self) -> Abilities:
        return Abilities(has_tools=False, has_streaming=False, has_json_mode=False, context_tokens_max=100_000)

    async def generate(self, request: Request, *, key: str) -> Answer:
        """An answer, or one of the port's errors: some before the meter ran, some after."""
        world = self._world
        trouble = self._trouble()
        if isinstance(trouble, Throttled | Refused):
            await asyncio.sleep(0.05)
            self._life.check()
            raise trouble
        attempt = world.attempts.get(key, 0)
        try:
            answer: Answer = await world.request(self._life, "costly", lambda: self._serve(request, key, attempt))
        except ConnectionError as error:
            raise Unreachable(str(error)) from error
        if trouble is not None:
            raise trouble
        return answer

    def _trouble(self) -> InferenceError | None:
        if not self._world.chance(self._world.faults.retryable):
            return None
        trouble = self._world.random.choice((Throttled, Throttled, Unreachable, Garbled, Refused))("as scripted")
        if isinstance(trouble, Throttled):
            trouble.retry_after_ns = self._world.random.randrange(30_000_000_000)
        return trouble

    def _serve(self, request: Request, key: str, attempt: int) -> Answer:
        world = self._world
        inputs = len(msgspec.msgpack.encode(request)) // 4
        outputs = world.random.randrange(1, request.output_tokens_max + 1)
        if world.chance(world.faults.overrun):
            outputs = request.output_tokens_max * 50
        usage = Usage(input_tokens=inputs, output_tokens=outputs)
        world.billed.append(Billed(key, attempt, price_uusd(inputs, outputs), usage.tokens))
        words = request.messages[-1].content[0]
        text = words.text if isinstance(words, Text) else ""
        return Answer(content=(Text(f"re: {text}"),), stop="end", usage=usage, model="sim-1", provider="sim")

    def stream(self, request: Request, *, key: str) -> Any:
        raise NotImplementedError("nothing in the machine streams yet")

    async def close(self) -> None: ...


def price_uusd(inputs: int, outputs: int) -> int:
    """What the model server charges; the kernel's route gives the same bound."""
    return inputs * IN_USD_PER_M + outputs * OUT_USD_PER_M


def cost(answer: Answer) -> tuple[int, str]:
    return price_uusd(answer.usage.input_tokens, answer.usage.output_tokens), "sim-prices"


def _digest(files: dict[str, str]) -> str:
    return sha256(msgspec.json.encode(sorted(files.items()))).hexdigest()


class SimForge:
    """A repository that is a table of commits. `agentos.ports.forge.Forge`."""

    name = "sim"

    def __init__(self, world: World, life: Living) -> None:
        self._world, self._life = world, life

    async def _reach(self) -> None:
        self._life.check()
        await asyncio.sleep(self._world.random.uniform(0.001, 0.2))
        self._life.check()
        if self._world.chance(self._world.faults.broken):
            raise OSError("git: fatal: unable to write new index file")

    async def resolve(self, repository: Path, ref: str) -> str:
        self._life.check()
        await asyncio.sleep(0.001)
        self._life.check()
        if ref not in self._world.refs:
            raise NotARepository(f"there is no {ref} yet")
        return self._world.refs[ref]

    async def tree(self, repository: Path, commit: str) -> Digest:
        await self._reach()
        return Digest(_digest(self._world.commits[commit]))

    async def checkout(self, repository: Path, commit: str, target: Path) -> None:
        await self._reach()
        self._life.visit("during effect", "idempotent")
        self._world.copies[target] = dict(self._world.commits[commit])

    async def discard(self, target: Path) -> None:
        self._life.check()
        self._world.copies.pop(target, None)

    async def seal(self, target: Path, *, base: str, scope: Scope, message: str, stamp: Stamp) -> Change:
        await self._reach()
        files = self._world.copies[target]
        tree = Digest(_digest(files))
        commit = sha256(f"{tree}{base}{message}{stamp}".encode()).hexdigest()[:40]
        self._world.commits[commit] = dict(files)
        before = self._world.commits[base]
        paths = tuple(sorted(path for path in files if files[path] != before.get(path)))
        return Change(base=base, commit=commit if paths else base, tree=tree, paths=paths)

    async def export(self, repository: Path, commit: str, target: Path) -> None:
        await self._reach()

    async def fetch_into(self, repository: Path, target: Path, commit: str) -> None:
        await self._reach()

    async def move_ref(self, repository: Path, ref: str, *, old: str | None, new: str | None, why: str) -> None:
        def move() -> None:
            if self._world.refs.get(ref) != old:
                raise Moved(f"{ref} is at {self._world.refs.get(ref)}")
            self._world.moved.append((ref, str(new)))
            self._world.refs[ref] = str(new)

        await self._world.request(self._life, "queryable", move, is_local=True)

    async def diff(self, repository: Path, base: str, commit: str) -> str:
        await self._reach()
        return ""

    async def apply_to_checkout(self, repository: Path, commit: str, base: str) -> Receipt:
        receipt = f"receipt-{commit[:12]}"

        def bring() -> Receipt:
            if receipt in self._world.applied:
                raise Conflict("it is there already")
            self._world.applied.append(receipt)
            return Receipt(receipt, ("result",))

        delivered: Receipt = await self._world.request(self._life, "once", bring, is_local=True)
        return delivered

    async def undo(self, repository: Path, receipt: str) -> Receipt:
        def take() -> Receipt:
            if receipt not in self._world.applied:
                raise Conflict("it is not there")
            self._world.applied.remove(receipt)
            return Receipt(receipt, ("result",))

        delivered: Receipt = await self._world.request(self._life, "once", take, is_local=True)
        return delivered

    async def checkout_worktree(self, repository: Path, target: Path) -> None:
        await self.checkout(repository, BASE, target)


class SimChecker:
    """Looks whether the content says what it should. `agentos.ports.check.Checker`."""

    name = "sim"

    def __init__(self, world: World, life: Living) -> None:
        self._world, self._life = world, life

    async def run(
        self, check: Check, *, repository: Path, commit: str, base: str, scope: Scope, is_probed: bool = False
    ) -> Finding:
        self._life.check()
        await asyncio.sleep(self._world.random.uniform(0.01, 3.0))
        self._life.visit("during effect", "pure")
        if self._world.chance(self._world.faults.broken):
            raise OSError("the sandbox could not be set up")
        files = self._world.commits[commit]
        is_good = files.get("result", "").startswith("good")
        verdict = Verdict.PASSED if is_good else Verdict.FAILED
        self._world.ran.append(Ran(check.name, commit, verdict))
        reason = Reason.OK if is_good else Reason.CHECK_FAILED
        tree = Digest(_digest(files))
        return Finding(check=check.name, tree=tree, verdict=verdict, reason=reason, passed=("t1",) if is_good else ())
