"""Performing: what the kernel has decided, done in the world through ports. One task for each effect; the outcome comes
back as a call through the same gate.

Rule 1: an effect starts here only after the batch that dispatched it is durable.
Rule 2: whatever happens, exactly one outcome is told for each attempt: what a driver raises is a failed outcome too.
Rule 3: the key is the same for every attempt; a second attempt of a queryable effect looks before it does.
Rule 4: content goes to blobs here; the outcome names it by digest.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from agentos.abi.calls.kernel import Settle
from agentos.abi.effects import (
    Abort,
    Answered,
    AnyOutcome,
    Applied,
    ApplyChange,
    Cancelled,
    Checked,
    CheckedOut,
    Checkout,
    Effect,
    Failed,
    Generate,
    Moved,
    MoveRef,
    Perform,
    RunCheck,
    RunTool,
    Seal,
    Sealed,
    ToolEnded,
    Unknown,
)
from agentos.abi.ids import OrderId
from agentos.abi.inference import Answer, Request
from agentos.machine.backoff import backoff_ns
from agentos.machine.loop import Machine
from agentos.ports import forge as forges
from agentos.ports.blobs import Blobs
from agentos.ports.check import Checker
from agentos.ports.forge import Forge, Stamp
from agentos.ports.inference import Garbled, Inference, InferenceError, Unreachable
from agentos.ports.tool import Tool

GENERATE_WALL_S = 900  # a local model on two slow cores needs minutes for a long answer
WORKTREE = "worktree"  # an external order's candidate: the user's checkout as it is, edits included
AUTHOR = "agentos"
AUTHOR_EMAIL = "agentos@localhost"

Cost = Callable[[Answer], tuple[int, str]]  # micro-USD and the price table's version


class Devices(NamedTuple):
    """The ports a performer drives."""

    blobs: Blobs
    forge: Forge
    checker: Checker
    backends: Mapping[str, Inference]
    models: Mapping[str, str]  # model class -> the backend's name for the model
    tools: Mapping[str, Tool]
    cost: Cost
    copies: Path  # working copies: COPIES/ORDER/ATTEMPT


class Performer:
    """Runs instructions of kind Perform and Abort. Use as an async context; leaving it cancels what is in flight."""

    def __init__(self, machine: Machine, devices: Devices, *, jitter_milli: Callable[[], int]) -> None:
        self._machine, self._devices, self._jitter_milli = machine, devices, jitter_milli
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._begun: dict[int, None] = {}  # queryable effects that this kernel has tried itself
        self._begun_at_s = 0.0  # when this kernel began to act, by the loop's clock
        self._does: dict[type[Effect], Callable[[Any, Perform], Awaitable[AnyOutcome]]] = {
            Generate: self._generate,
            RunTool: self._run_tool,
            Checkout: self._checkout,
            Seal: self._seal,
            RunCheck: self._run_check,
            MoveRef: self._move_ref,
            ApplyChange: self._apply_change,
        }

    def begin(self, group: asyncio.TaskGroup) -> None:
        """Effects run in this group from now on."""
        self._group = group
        self._begun_at_s = asyncio.get_running_loop().time()

    def perform(self, instruction: Perform) -> None:
        assert self._group is not None, "begin first"
        task = self._group.create_task(self._do(instruction))
        self._tasks[instruction.id] = task
        task.add_done_callback(lambda task: self._ended(instruction, task))

    def _ended(self, instruction: Perform, task: "asyncio.Task[None]") -> None:
        """The task is over. One that was cancelled before its first step has told nothing, so it is told here."""
        self._tasks.pop(instruction.id, None)
        if task.cancelled():
            self._machine.tell(Settle(effect=instruction.id, attempt=instruction.attempt, outcome=Cancelled()))

    def abort(self, instruction: Abort) -> None:
        """Stop an effect in flight; its outcome says so. Nothing happens when it is over already."""
        task = self._tasks.get(instruction.effect)
        if task is not None:
            task.cancel()

    def close(self) -> None:
        """Cancel all, at shutdown."""
        for task in list(self._tasks.values()):
            task.cancel()

    def copy(self, order: OrderId | None, attempt: int) -> Path:
        """Where the working copy of an attempt lies."""
        return self._devices.copies / (order or "none") / str(attempt)

    async def _do(self, instruction: Perform) -> None:
        effect = instruction.effect
        try:
            outcome = await self._does[type(effect)](effect, instruction)
        except asyncio.CancelledError:
            outcome = Cancelled()
        except Exception as error:  # noqa: BLE001 a driver's fault is an outcome; the kernel goes on
            outcome = Failed(fact=f"{type(error).__name__}: {error}"[:500])
        self._machine.tell(Settle(effect=instruction.id, attempt=instruction.attempt, outcome=outcome))

    async def _generate(self, effect: Generate, instruction: Perform) -> AnyOutcome:
        backend = self._devices.backends.get(effect.backend)
        if backend is None:
            return Failed(fact=f"no model serves the class {effect.model_class!r}: see agentos models")
        try:
            request = msgspec.msgpack.decode(self._devices.blobs.get(effect.request), type=Request)
        except msgspec.DecodeError as error:
            return Failed(fact=f"the request cannot be read: {error}")
        model = request.model or self._devices.models.get(effect.model_class, "")
        try:
            async with asyncio.timeout(GENERATE_WALL_S):
                answer = await backend.generate(msgspec.structs.replace(request, model=model), key=instruction.key)
        except TimeoutError:
            return Failed(fact=f"no answer within {GENERATE_WALL_S} s", is_timeout=True, is_spent_unknown=True)
        except InferenceError as error:
            return self._inference_failed(error, instruction)
        uusd, price = self._devices.cost(answer)
        content = self._devices.blobs.put(msgspec.msgpack.encode(answer))
        return Answered(
            answer=content, usage=answer.usage, uusd=uusd, is_metered=answer.is_metered, model=answer.model, price=price
        )

    def _inference_failed(self, error: InferenceError, instruction: Perform) -> Failed:
        wait = backoff_ns(instruction.attempt, error.retry_after_ns, self._jitter_milli())
        return Failed(
            fact=f"{type(error).__name__.lower()}: {error}"[:500],
            is_retryable=error.is_retryable,
            retry_after_ns=wait if error.is_retryable else 0,
            is_spent_unknown=isinstance(error, Garbled) or isinstance(error, Unreachable) and error.is_sent,
        )

    async def _run_tool(self, effect: RunTool, instruction: Perform) -> AnyOutcome:
        tool = self._devices.tools.get(effect.tool)
        if tool is None:
            return Failed(fact=f"there is no tool {effect.tool!r}; there are: {', '.join(sorted(self._devices.tools))}")
        root = self.copy(effect.order, effect.attempt)
        if instruction.attempt > 1 and effect.repeat == "queryable":
            await self._outwait(instruction, tool.manifest.wall_s)
            earlier = await tool.query(root=root, key=instruction.key)
            if earlier is not None:
                return self._tool_ended(earlier.content, earlier.is_error)
        try:
            arguments = msgspec.json.decode(self._devices.blobs.get(effect.arguments), type=dict[str, object])
        except msgspec.DecodeError as error:
            return self._tool_ended(f"the arguments are not a JSON object: {error}", True)
        if effect.repeat == "queryable":
            self._begun[instruction.id] = None
        try:
            async with asyncio.timeout(tool.manifest.wall_s):
                result = await tool.run(arguments, root=root, key=instruction.key)
        except TimeoutError:
            fact = f"no result within {tool.manifest.wall_s} s"
            return Unknown(fact=fact) if effect.repeat == "once" else Failed(fact=fact, is_timeout=True)
        except ConnectionError as error:  # it may have happened: how it may be repeated decides
            return Unknown(fact=f"the line to it broke: {error}"[:500])
        return self._tool_ended(result.content, result.is_error)

    async def _outwait(self, instruction: Perform, wall_s: int) -> None:
        """Let a dead kernel's attempt arrive, or never: asked too early, the world says no and does it after all.

        An attempt that this kernel made itself has ended, so nothing of it is on its way.
        """
        if instruction.id not in self._begun:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(max(self._begun_at_s + wall_s - loop.time(), 0))

    def _tool_ended(self, content: str, is_error: bool) -> ToolEnded:
        return ToolEnded(content=self._devices.blobs.put(content.encode()), is_error=is_error)

    async def _checkout(self, effect: Checkout, instruction: Perform) -> AnyOutcome:
        if not effect.repository:
            self.copy(effect.order, effect.attempt).mkdir(parents=True, exist_ok=True)
            return CheckedOut()
        target = self.copy(effect.order, effect.attempt)
        await self._devices.forge.discard(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        if effect.commit == WORKTREE:
            await self._devices.forge.checkout_worktree(Path(effect.repository), target)
        else:
            await self._devices.forge.checkout(Path(effect.repository), effect.commit, target)
        return CheckedOut()

    async def _seal(self, effect: Seal, instruction: Perform) -> AnyOutcome:
        stamp = Stamp(AUTHOR, AUTHOR_EMAIL, effect.at_ns // 1_000_000_000)
        target = self.copy(effect.order, effect.attempt)
        message = f"{effect.title}\n\nWork-Order: {effect.order}\n"
        change = await self._devices.forge.seal(
            target, base=effect.base, scope=effect.scope, message=message, stamp=stamp
        )
        return Sealed(change=change)

    async def _run_check(self, effect: RunCheck, instruction: Perform) -> AnyOutcome:
        finding = await self._devices.checker.run(
            effect.check,
            repository=Path(effect.repository),
            commit=effect.commit,
            base=effect.base,
            scope=effect.scope,
            is_probed=effect.is_probed,
        )
        return Checked(finding=finding)

    async def _move_ref(self, effect: MoveRef, instruction: Perform) -> AnyOutcome:
        repository, forge = Path(effect.repository), self._devices.forge
        if await self._is_at(repository, effect.ref, effect.commit):
            return Moved()
        target = self.copy(effect.order, effect.attempt)
        await forge.fetch_into(repository, target, effect.commit)
        try:
            await forge.move_ref(
                repository, effect.ref, old=None, new=effect.commit, why=f"agentos: {effect.order} closed"
            )
        except forges.Moved as error:
            if not await self._is_at(repository, effect.ref, effect.commit):
                return Failed(fact=str(error))  # else a dead kernel's attempt was quicker, and did the same
        return Moved()

    async def _apply_change(self, effect: ApplyChange, instruction: Perform) -> AnyOutcome:
        repository, forge = Path(effect.repository), self._devices.forge
        if effect.undoes:
            delivered = await forge.undo(repository, effect.undoes)
        else:
            delivered = await forge.apply_to_checkout(repository, effect.commit, effect.base)
        return Applied(receipt=delivered.id, paths=delivered.paths)

    async def _is_at(self, repository: Path, ref: str, commit: str) -> bool:
        try:
            return await self._devices.forge.resolve(repository, ref) == commit
        except forges.NotARepository:  # no such ref yet
            return False
