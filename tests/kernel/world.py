"""A kernel in memory: the pump of the machine, without a machine, and with every law asserted after every call.

    ask(pid, call)      a process makes its next call; the reply, the refusal, or WAITING
    tell(call)          the machine says something: Boot, Settle, Fence ...
    settle(number, outcome)   the world has done, or not done, what was asked of it
    crash()             the kernel dies and another starts: what was in flight is lost

Rule 1: a decision changes nothing: the state's bytes are the same before and after.
Rule 2: fsck finds nothing after each settled pump.
Rule 3: what the state calls dispatched is what the world was told to do and has not answered.
Rule 4: a shadow state sees only events that went through their encoded form; it is the same, byte for byte.
"""

from collections.abc import Callable

import msgspec

from agentos.abi.budget import WORKSPACE_DEFAULT, Amounts
from agentos.abi.calls.base import Call
from agentos.abi.calls.device import Infer, Invoke
from agentos.abi.calls.kernel import Boot, Enroll, Settle
from agentos.abi.calls.process import Spawn
from agentos.abi.calls.work import Begin, Submit
from agentos.abi.effects import (
    AnyEffect,
    AnyOutcome,
    Checked,
    CheckedOut,
    Checkout,
    Halt,
    Instruction,
    Launch,
    Moved,
    MoveRef,
    Perform,
    RunCheck,
    Seal,
    Sealed,
)
from agentos.abi.events import AnyEvent, Event
from agentos.abi.events.call import CallAnswered, CallRefused
from agentos.abi.ids import KERNEL, CallId, Digest, OrderId, Pid, Principal
from agentos.abi.refusals import Refusal
from agentos.abi.replies import Ordered, Reply, Spawned
from agentos.abi.rights import Grant, Right
from agentos.abi.work import Change, Command, Contract, Finding, Reason, Verdict
from agentos.kernel import apply, decide, demand, fsck, process, schedule
from agentos.kernel.decision import Decision, Entry, name
from agentos.kernel.state import Device, State, decode, encode

WAITING = "waiting"  # the call is parked
SECOND = 1_000_000_000  # ns
STEPS_MAX = 2_000  # decisions that one call may lead to: twice the most children that can end at once
ROUNDS_MAX = 50  # outcomes that lead to new effects, one after the other; an order takes five
TREE = Digest("7" * 64)
_EVENT = msgspec.json.Decoder(AnyEvent)


def blank() -> State:
    """A workspace before its first event."""
    state = State("w")
    state.devices = {kind: Device(slots) for kind, slots in schedule.SLOTS.items()}
    return state


class World:
    """One workspace, its clock and its world."""

    def __init__(self, budget: Amounts = WORKSPACE_DEFAULT, *, is_checked: bool = True) -> None:
        self.is_checked = is_checked
        self.now_ns, self.steps = SECOND, 0
        self.state, self.shadow = blank(), blank()
        self.log: list[tuple[bytes, int]] = []
        self.events: list[Event] = []
        self.told: list[Instruction] = []
        self.flying: dict[int, Perform] = {}
        self.answers: dict[CallId, Reply | Refusal] = {}
        self.counts: dict[tuple[Pid, int], int] = {}
        for event in process.rooted(budget):
            self._record(event)
        self.tell(Boot(epoch=1))

    # the pump

    def enter(self, id: CallId, call: Call, args: str = "") -> list[Event] | Refusal:
        """A call through the gate, and everything the state demands because of it."""
        first, self.steps = len(self.events), 0
        refusal = self._decide(id, call, args)
        while refusal is None:
            wanted = demand.due(self.state, self.now_ns)
            if wanted is None:
                break
            assert self._decide(CallId(KERNEL, 0, 0), wanted, "") is None, "what the state demands is never refused"
        if self.is_checked:
            self.settled()
        return refusal if refusal is not None else self.events[first:]

    def _decide(self, id: CallId, call: Call, args: str) -> Refusal | None:
        self.steps += 1
        assert self.steps <= STEPS_MAX, "what the state demands has no end"
        before = encode(self.state) if self.is_checked else b""
        entry = Entry(id, self.now_ns, args or f"{name(call)}:{id}", name(call))
        ruling = decide.decide(self.state, entry, call)
        if self.is_checked:
            assert encode(self.state) == before, f"deciding {call} changed the state"
        if not isinstance(ruling, Decision):
            return ruling
        stirred: list[OrderId] = []
        for event in ruling.events:
            self._record(event)
            order = demand.stirred(event)
            if order is not None:
                stirred.append(order)
        for instruction in ruling.instructions:
            self.told.append(instruction)
            if isinstance(instruction, Perform):
                assert instruction.id not in self.flying, "an effect is performed once at a time"
                self.flying[instruction.id] = instruction
        for order in stirred:
            step = demand.step(self.state, order)
            if step is not None:
                assert self._decide(CallId(KERNEL, 0, 0), step, "") is None
        return None

    def _record(self, event: Event) -> None:
        body = msgspec.json.encode(event)
        self.events.append(event)
        if isinstance(event, CallAnswered | CallRefused):
            assert event.id not in self.answers, f"call {event.id} is answered twice"
            self.answers[event.id] = event.reply if isinstance(event, CallAnswered) else event.refusal
        self.log.append((body, self.now_ns))
        apply.apply(self.state, event, self.now_ns)
        if self.is_checked:
            apply.apply(self.shadow, _EVENT.decode(body), self.now_ns)

    def settled(self) -> None:
        """The laws hold, and the shadow is the same."""
        faults = fsck.faults(self.state)
        assert not faults, faults
        assert encode(self.state) == encode(self.shadow), "the replay differs from the live state"
        dispatched = [number for number, pending in self.state.effects.items() if pending.is_dispatched]
        assert sorted(dispatched) == sorted(self.flying), "what is dispatched is in the world's hands, and nothing else"

    def replayed(self, snapshot_at: int = 0) -> bytes:
        """The state's bytes after a replay from the start, through a snapshot after so many events."""
        state = blank()
        for number, (body, at_ns) in enumerate(self.log):
            if number == snapshot_at:
                state = decode(encode(state))
            apply.apply(state, _EVENT.decode(body), at_ns)
        return encode(state)

    # who says what

    def tell(self, call: Call) -> list[Event] | Refusal:
        """A kernel call."""
        if isinstance(call, Settle) and call.effect in self.flying and self.flying[call.effect].attempt == call.attempt:
            del self.flying[call.effect]
        return self.enter(CallId(KERNEL, 0, 0), call)

    def next_id(self, pid: Pid, strand: int = 0) -> CallId:
        """The id of the next call of a strand."""
        return CallId(pid, strand, self.counts.get((pid, strand), 0) + 1)

    def ask(self, pid: Pid, call: Call, strand: int = 0, args: str = "") -> Reply | Refusal | str:
        """A process's next call; what it is answered, or WAITING."""
        id = self.next_id(pid, strand)
        got = self.enter(id, call, args)
        if not isinstance(got, list):
            return got
        self.counts[pid, strand] = id.n
        return self.answer(id)

    def answer(self, id: CallId) -> Reply | Refusal | str:
        """What a call was answered, whenever that was."""
        return self.answers.get(id, WAITING)

    def refused(self, pid: Pid, call: Call, strand: int = 0, args: str = "") -> Refusal:
        """The refusal of a call, which is all that it leaves in the journal."""
        first = len(self.events)
        got = self.ask(pid, call, strand, args)
        assert not isinstance(got, Reply | str), f"{call} was not refused: {got}"
        made = self.events[first:]
        assert len(made) == 1 and isinstance(made[0], CallRefused), "a refusal changes nothing else"
        return got

    def settle(self, number: int, outcome: AnyOutcome) -> list[Event]:
        """The outcome of an effect in flight."""
        got = self.tell(Settle(effect=number, attempt=self.flying[number].attempt, outcome=outcome))
        assert isinstance(got, list)
        return got

    def perform(self, outcome_of: Callable[[AnyEffect], AnyOutcome | None] | None = None) -> None:
        """Let the world do what is in flight, until it has nothing that it can do."""
        fate = outcome_of or succeed
        for _ in range(ROUNDS_MAX):
            ready = [(number, fate(one.effect)) for number, one in self.flying.items()]
            ready = [(number, outcome) for number, outcome in ready if outcome is not None]
            if not ready:
                return
            for number, outcome in ready:
                if number in self.flying and outcome is not None:
                    self.settle(number, outcome)
        raise AssertionError("the world is asked without end")

    def tick(self, span_ns: int) -> list[Event]:
        """Time passes, and what is due happens."""
        self.now_ns += span_ns
        first, self.steps = len(self.events), 0
        while (wanted := demand.due(self.state, self.now_ns)) is not None:
            assert self._decide(CallId(KERNEL, 0, 0), wanted, "") is None
        if self.is_checked:
            self.settled()
        return self.events[first:]

    def crash(self) -> list[Event]:
        """The kernel dies; the next one knows nothing but the journal."""
        self.flying.clear()
        got = self.tell(Boot(epoch=self.state.epoch + 1))
        assert isinstance(got, list)
        return got

    # people and processes

    def person(self, principal: str = "user:ada", role: str = "operator") -> Pid:
        """A person's process."""
        self.tell(Enroll(principal=principal, role=role))
        return self.state.sessions[Principal(principal)]

    def spawn(self, parent: Pid, **spec: object) -> Pid:
        """A child that must come to be."""
        got = self.ask(parent, Spawn(**{"program": "p", **spec}))  # type: ignore[arg-type]
        assert isinstance(got, Spawned), got
        return got.pid

    def submit(self, author: Pid, **changes: object) -> OrderId:
        """An order that must come to be."""
        got = self.ask(author, Submit(title="t", text=Digest("d" * 64), contract=contract(**changes)))
        assert isinstance(got, Ordered), got
        return got.order

    def executing(self, author: Pid, **changes: object) -> tuple[OrderId, Pid]:
        """An order with its conductor and a working copy."""
        order = self.submit(author, **changes)
        self.perform()
        conductor = self.state.orders[order].processes[0]
        assert self.ask(conductor, Begin(order=order)) == WAITING
        self.perform()
        assert self.state.orders[order].state == "executing"
        return order, conductor

    def of(self, kind: type[Event]) -> list[Event]:
        """All events of a kind so far."""
        return [event for event in self.events if type(event) is kind]

    def halted(self, pid: Pid) -> bool:
        """Whether the machine was told to stop a program."""
        return Halt(pid) in self.told

    def launched(self, pid: Pid) -> int:
        """The newest incarnation that the machine was told to launch."""
        return max((one.incarnation for one in self.told if isinstance(one, Launch) and one.pid == pid), default=0)


def contract(**changes: object) -> Contract:
    """A contract of one command, changed as asked."""
    fields: dict[str, object] = {
        "repository": "/r",
        "base": "b" * 40,
        "branch": "refs/heads/agentos/{order}",
        "accept": (Command(name="tests", argv=("pytest",)),),
        "tools": ("shell",),
    }
    return Contract(**{**fields, **changes})  # type: ignore[arg-type]


def change(**changes: object) -> Change:
    """A change of one file."""
    fields: dict[str, object] = {"base": "b" * 40, "commit": "c" * 40, "tree": TREE, "paths": ("a.py",)}
    return Change(**{**fields, **changes})  # type: ignore[arg-type]


def finding(check: str, verdict: Verdict, tree: Digest = TREE) -> Checked:
    """What a check found."""
    reason = Reason.OK if verdict == Verdict.PASSED else Reason.CHECK_FAILED
    return Checked(finding=Finding(check=check, tree=tree, verdict=verdict, reason=reason))


def succeed(effect: AnyEffect) -> AnyOutcome | None:
    """A world where the forge works, checks are red on the base and green on the change; models and tools wait."""
    match effect:
        case Checkout():
            return CheckedOut()
        case Seal():
            return Sealed(change=change())
        case RunCheck():
            is_base = effect.commit == effect.base
            return finding(effect.check.name, Verdict.FAILED if is_base else Verdict.PASSED)
        case MoveRef():
            return Moved()
    return None


def ask_model(cost_uusd: int = 100, request: str = "a", **changes: object) -> Infer:
    """A request with its bound entered."""
    fields: dict[str, object] = {
        "request": Digest(request * 64),
        "input_tokens_max": 10,
        "output_tokens_max": 10,
        "bound_uusd": cost_uusd,
        "backend": "scripted",
    }
    return Infer(**{**fields, **changes})  # type: ignore[arg-type]


def use_tool(tool: str = "shell", repeat: str = "once", arguments: str = "e") -> Invoke:
    """A tool call with its manifest entered."""
    return Invoke(tool=tool, arguments=Digest(arguments * 64), repeat=repeat)


def grants(*rows: tuple[Right, str]) -> tuple[Grant, ...]:
    """Grants from pairs."""
    return tuple(Grant(right, selector) for right, selector in rows)
