"""The system, as a program sees it: one object, one awaitable for each call.

Rule 1: calls of one strand are made one after another; `fork` gives another strand, numbered in the order of forking,
        so that a re-run numbers them the same.
Rule 2: content goes in and comes out by value; digests stay underneath, except where a program wants them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any, Protocol, TypeVar

import msgspec

from agentos.abi.budget import Amounts
from agentos.abi.calls import AnyCall
from agentos.abi.calls.device import Ask, Infer, Invoke
from agentos.abi.calls.ipc import Attach, Find, Open, Publish, Receive, Send, Subscribe
from agentos.abi.calls.lease import Acquire, Derive, Release, Renew, Revoke, Sleep
from agentos.abi.calls.process import Await, Checkpoint, Kill, Note, Spawn, Whoami
from agentos.abi.calls.work import Attest, Begin, Cancel, Decide, Escalate, Look, Present, Submit
from agentos.abi.ids import CapabilityId, Digest, OrderId, Pid
from agentos.abi.inference import Answer, Request
from agentos.abi.replies import (
    Artifact,
    Begun,
    Capable,
    Chosen,
    Ended,
    Generated,
    Held,
    Judged,
    Mail,
    Ordered,
    Response,
    Result,
    Self,
    Spawned,
    Standing,
)
from agentos.abi.rights import Grant
from agentos.abi.signals import Signal
from agentos.abi.work import Contract, Verdict
from agentos.sdk.errors import raising

R = TypeVar("R")
T = TypeVar("T")


class Wire(Protocol):
    """How calls travel: over a worker's socket, or straight into a kernel in the simulator."""

    async def call(self, strand: int, n: int, call: AnyCall, blobs: Mapping[Digest, bytes]) -> Response: ...
    async def read(self, digest: Digest) -> bytes: ...


class System:
    """One strand's view. `order` and `role` are those of the process."""

    def __init__(self, wire: Wire, *, strand: int = 0, n: int = 0, forks: list[int] | None = None) -> None:
        self._wire, self._strand, self._n = wire, strand, n
        self._forks = forks if forks is not None else [0]

    async def call(self, call: AnyCall, kind: type[R], blobs: Mapping[Digest, bytes] = {}) -> R:
        """Make any call; the reply must be of that kind. Raises the refusal's exception."""
        self._n += 1
        response = await self._wire.call(self._strand, self._n, call, blobs)
        if response.refusal is not None:
            raise raising(response.refusal)
        assert isinstance(response.reply, kind), f"{type(call).__name__} answers with {kind.__name__}"
        return response.reply

    async def read(self, digest: Digest) -> bytes:
        """Content by its digest. Immutable, so it is not a call and not on record."""
        return await self._wire.read(digest)

    async def text(self, digest: Digest | None) -> str:
        """Content as text; "" for no content."""
        return (await self.read(digest)).decode("utf-8", "replace") if digest else ""

    def fork(self) -> "System":
        """Another strand of this process, for calls at the same time."""
        self._forks[0] += 1
        return System(self._wire, strand=self._forks[0], forks=self._forks)

    async def gather(self, *parts: Callable[["System"], Awaitable[T]]) -> list[T]:
        """Run parts at the same time, each on a strand of its own; results in the order of the parts."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_run(part, self.fork())) for part in parts]
        return [task.result() for task in tasks]

    # Processes.

    async def whoami(self) -> Self:
        return await self.call(Whoami(), Self)

    async def spawn(
        self,
        program: str,
        *,
        role: str = "worker",
        args: Any = None,
        grants: tuple[Grant, ...] = (),
        budget: Amounts | None = None,
        order: OrderId | None = None,
        **rest: Any,
    ) -> Pid:
        """Start a child; `args` is anything JSON can hold."""
        blobs, digest = _content(None if args is None else msgspec.json.encode(args))
        spec = Spawn(program=program, role=role, args=digest, grants=grants, budget=budget, order=order, **rest)
        return (await self.call(spec, Spawned, blobs)).pid

    async def wait(self, pid: Pid) -> Ended:
        """How a child ended, once it has."""
        return await self.call(Await(pid=pid), Ended)

    async def kill(self, pid: Pid, signal: Signal = Signal.TERM) -> None:
        await self.call(Kill(pid=pid, signal=signal), object)

    async def checkpoint(self, state: Any) -> None:
        """A later run starts from this state: `main` gets it as its second argument."""
        blobs, digest = _content(msgspec.json.encode(state))
        assert digest is not None
        await self.call(Checkpoint(state=digest), object, blobs)

    async def note(self, text: str, phase: str = "") -> None:
        """Tell people how it goes."""
        await self.call(Note(text=text[:2_000], phase=phase), object)

    # Messages, channels, artifacts.

    async def send(self, to: Pid, kind: str, body: Any = None) -> None:
        blobs, digest = _content(None if body is None else msgspec.json.encode(body))
        await self.call(Send(to=to, kind=kind, body=digest), object, blobs)

    async def receive(self, kind: str = "", timeout_ns: int = 0) -> tuple[Mail, Any]:
        """The next message of a kind, and its body."""
        mail = await self.call(Receive(kind=kind, timeout_ns=timeout_ns), Mail)
        return mail, msgspec.json.decode(await self.read(mail.body)) if mail.body else None

    async def open(self, channel: str, schema: Mapping[str, Any] | None = None) -> None:
        blobs, digest = _content(None if schema is None else msgspec.json.encode(schema))
        await self.call(Open(channel=channel, schema=digest), object, blobs)

    async def subscribe(self, channel: str, *, is_from_start: bool = False) -> None:
        await self.call(Subscribe(channel=channel, is_from_start=is_from_start), object)

    async def publish(self, channel: str, body: Any) -> None:
        blobs, digest = _content(msgspec.json.encode(body))
        assert digest is not None
        await self.call(Publish(channel=channel, body=digest), object, blobs)

    async def attach(
        self, name: str, content: str | bytes, *, media_type: str = "text/plain", sources: tuple[Digest, ...] = ()
    ) -> Digest:
        """Record content as an artifact of the order; returns its digest."""
        body = content.encode() if isinstance(content, str) else content
        blobs, digest = _content(body)
        assert digest is not None
        call = Attach(name=name, content=digest, media_type=media_type, body_bytes=len(body), sources=sources)
        await self.call(call, Artifact, blobs)
        return digest

    async def find(self, name: str) -> str:
        """The newest artifact of a name in the order, as text."""
        return await self.text((await self.call(Find(name=name), Artifact)).content)

    # Leases, capabilities, time.

    async def acquire(self, resource: str, ttl_ns: int, *, is_waiting: bool = False) -> Held:
        return await self.call(Acquire(resource=resource, ttl_ns=ttl_ns, is_waiting=is_waiting), Held)

    async def renew(self, resource: str, token: int, ttl_ns: int) -> Held:
        return await self.call(Renew(resource=resource, token=token, ttl_ns=ttl_ns), Held)

    async def release(self, resource: str, token: int) -> None:
        await self.call(Release(resource=resource, token=token), object)

    async def derive(self, capability: CapabilityId, to: Pid, grant: Grant) -> CapabilityId:
        return (await self.call(Derive(capability=capability, to=to, grant=grant), Capable)).capability

    async def revoke(self, capability: CapabilityId) -> None:
        await self.call(Revoke(capability=capability), object)

    async def sleep(self, span_ns: int) -> None:
        await self.call(Sleep(span_ns=span_ns), object)

    # The world.

    async def infer(self, request: Request, *, model_class: str = "coder", phase: str = "development") -> Answer:
        """Ask a model. What it costs is reserved before and settled after."""
        return (await self.generate(request, model_class=model_class, phase=phase))[0]

    async def generate(
        self, request: Request, *, model_class: str = "coder", phase: str = "development"
    ) -> tuple[Answer, Generated]:
        """Ask a model; the answer, and what it used and cost."""
        blobs, digest = _content(msgspec.msgpack.encode(request))
        assert digest is not None
        reply = await self.call(Infer(request=digest, model_class=model_class, phase=phase), Generated, blobs)
        return msgspec.msgpack.decode(await self.read(reply.answer), type=Answer), reply

    async def invoke(self, tool: str, *, phase: str = "development", **arguments: Any) -> tuple[str, bool]:
        """Use a tool: its result, and whether that is an error."""
        blobs, digest = _content(msgspec.json.encode(arguments))
        assert digest is not None
        reply = await self.call(Invoke(tool=tool, arguments=digest, phase=phase), Result, blobs)
        return await self.text(reply.content), reply.is_error

    async def ask(self, question: str, choices: tuple[str, ...] = ()) -> Chosen:
        """Ask a person, and wait; waiting costs nothing."""
        return await self.call(Ask(question=question, choices=choices), Chosen)

    # Work.

    async def submit(self, title: str, text: str, contract: Contract) -> OrderId:
        blobs, digest = _content(text.encode())
        assert digest is not None
        return (await self.call(Submit(title=title, text=digest, contract=contract), Ordered, blobs)).order

    async def look(self, order: OrderId) -> Standing:
        return await self.call(Look(order=order), Standing)

    async def begin(self, order: OrderId) -> Begun:
        return await self.call(Begin(order=order), Begun)

    async def present(self, order: OrderId, claim: Any = None) -> Judged:
        """Present the working copy; the kernel's verdict on it."""
        blobs, digest = _content(None if claim is None else msgspec.json.encode(claim))
        return await self.call(Present(order=order, claim=digest), Judged, blobs)

    async def attest(
        self, order: OrderId, content: Digest, verdict: Verdict, reason: str, *, check: str = "gate"
    ) -> None:
        await self.call(Attest(order=order, content=content, verdict=verdict, reason=reason, check=check), object)

    async def decide(self, question: int, choice: str, text: str = "") -> None:
        await self.call(Decide(question=question, choice=choice, text=text), object)

    async def escalate(self, order: OrderId, reason: str, detail: str = "") -> None:
        await self.call(Escalate(order=order, reason=reason, detail=detail), object)

    async def cancel(self, order: OrderId, reason: str = "") -> None:
        await self.call(Cancel(order=order, reason=reason), object)


async def _run(part: Callable[[System], Awaitable[T]], os: System) -> T:
    return await part(os)


def _content(body: bytes | None) -> tuple[dict[Digest, bytes], Digest | None]:
    """Content to go with a call, by its digest."""
    if body is None:
        return {}, None
    digest = Digest(sha256(body).hexdigest())
    return {digest: body}, digest
