"""Stories: orders driven through the real kernel in memory, told as the facts a journal would hold.

Rule 1: every event here was decided by the kernel. The world (models, checks, git) is played by `World.outcome`, and a
        story may put another outcome in for any effect.
Rule 2: time moves by fixed steps, so that a story is the same at every telling.
"""

import hashlib
import json
from collections.abc import Callable
from functools import cache
from typing import Any

from agentos.abi.budget import Amounts
from agentos.abi.calls.base import Call
from agentos.abi.calls.device import Ask, Infer, Invoke
from agentos.abi.calls.ipc import Attach, Find, Receive, Send
from agentos.abi.calls.kernel import Boot, Enroll, Settle
from agentos.abi.calls.process import Await, Checkpoint, Exit, Note, Spawn
from agentos.abi.calls.work import Attest, Begin, Cancel, Decide, Escalate, Present, Raise, Submit
from agentos.abi.effects import (
    Answered,
    AnyEffect,
    AnyOutcome,
    Checked,
    CheckedOut,
    Checkout,
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
)
from agentos.abi.events import AnyEvent
from agentos.abi.events.call import CallAnswered, CallRefused
from agentos.abi.ids import KERNEL, CallId, Digest, OrderId, Pid
from agentos.abi.inference import Usage
from agentos.abi.rights import Grant, Right
from agentos.abi.work import Approval, Change, Command, Contract, Finding, Reason, Scope, Unchanged, Verdict
from agentos.kernel import demand, process, schedule
from agentos.kernel.apply import apply
from agentos.kernel.decide import decide
from agentos.kernel.decision import Decision, Entry, name
from agentos.kernel.state import Device, State
from agentos.views.base import Fact

BEGIN_NS = 1_772_373_600_000_000_000  # 2026-03-01 14:00:00 UTC
SECOND_NS = 1_000_000_000
BASE = "b5e1" + "0" * 36
COMMIT = "4f2a91c0d7e5" + "a" * 28
TREE = Digest("0" * 24 + "7" * 40)
BASE_TREE = Digest("0" * 24 + "1" * 40)
TESTS = tuple(f"tests/test_calc.py::test_{what}" for what in ("adds", "carries", "borrows", "divides", "rounds"))
ROOM = Amounts(uusd=50_000_000, tokens=200_000_000, actions=1_000_000)
THINK_NS = 3 * SECOND_NS + 420_000_000

Outcomes = Callable[[AnyEffect], AnyOutcome | None]


class World:
    """A kernel in memory, its journal, its blobs, and a world that does as it is told."""

    def __init__(self, backend: str = "local") -> None:
        self.state = State("w")
        self.state.devices = {kind: Device(slots) for kind, slots in schedule.SLOTS.items()}
        self.facts: list[Fact] = []
        self.blobs: dict[Digest, bytes] = {}
        self.pending: list[Perform] = []
        self.now_ns = BEGIN_NS
        self.backend = backend
        self.change = change()
        self._numbers: dict[str, int] = {}
        for event in process.rooted(ROOM):
            self._write("", "", event)
        self.kernel(Boot(epoch=1))

    # --- the pump

    def kernel(self, call: Call) -> None:
        self._enter(CallId(KERNEL, 0, 0), call)

    def call(self, pid: str, call: Call) -> Any:
        """A process's next call; the reply or refusal, or None while it waits."""
        number = self._numbers[pid] = self._numbers.get(pid, 0) + 1
        id = CallId(Pid(pid), 0, number)
        self.wait(210_000_000)
        self._enter(id, call)
        return self.answer(id)

    def answer(self, id: CallId) -> Any:
        for fact in reversed(self.facts):
            if isinstance(fact.event, CallAnswered) and fact.event.id == id:
                return fact.event.reply
            if isinstance(fact.event, CallRefused) and fact.event.id == id:
                return fact.event.refusal
        return None

    def _enter(self, id: CallId, call: Call) -> None:
        queue: list[tuple[CallId, Call]] = [(id, call)]
        while queue:
            who, what = queue.pop(0)
            entry = Entry(who, self.now_ns, self.put(repr(what).encode()), name(what))
            decision = decide(self.state, entry, what)
            assert isinstance(decision, Decision), decision
            cause = f"kernel:{entry.name}" if who.pid == KERNEL else str(who)
            for event in decision.events:
                self._write(who.pid, cause, event)
                order = demand.stirred(event)
                step = demand.step(self.state, order) if order else None
                if step is not None:
                    queue.append((CallId(KERNEL, 0, 0), step))
            self.pending += [one for one in decision.instructions if isinstance(one, Perform)]
            due = demand.due(self.state, self.now_ns) if not queue else None
            if due is not None:
                queue.append((CallId(KERNEL, 0, 0), due))

    def _write(self, caller: str, cause: str, event: AnyEvent) -> None:
        caller_row = self.state.processes.get(Pid(caller))
        order = getattr(event, "order", None) or (caller_row.order if caller_row else None) or ""
        apply(self.state, event, self.now_ns)
        kind = str(type(event).__struct_config__.tag)
        self.facts.append(Fact(len(self.facts) + 1, self.now_ns, self.state.epoch, kind, caller, cause, order, event))

    # --- the world

    def wait(self, span_ns: int) -> None:
        self.now_ns += span_ns

    def put(self, content: bytes) -> Digest:
        digest = Digest(hashlib.sha256(content).hexdigest())
        self.blobs[digest] = content
        return digest

    def blob(self, digest: Digest) -> bytes | None:
        return self.blobs.get(digest)

    def perform(self, outcomes: Outcomes = lambda effect: None) -> None:
        """Do everything that waits to be done, and what follows from it."""
        for _ in range(200):
            if not self.pending:
                return
            one = self.pending.pop(0)
            self.wait(THINK_NS if isinstance(one.effect, Generate) else 640_000_000)
            result = outcomes(one.effect) or self.outcome(one.effect)
            self.kernel(Settle(effect=one.id, attempt=one.attempt, outcome=result))
        raise AssertionError("the story does not come to rest")

    def outcome(self, effect: AnyEffect) -> AnyOutcome:
        match effect:
            case Generate():
                usage = Usage(input_tokens=1_204, output_tokens=388, cache_read_tokens=9_216, reasoning_tokens=96)
                model = "scripted-1" if self.backend == "scripted" else "qwen3-coder-30b"
                uusd = 0 if self.backend == "scripted" else 20_617
                return Answered(answer=self.put(b"an answer"), usage=usage, uusd=uusd, model=model, price="2026-02")
            case RunTool(tool=tool):
                return ToolEnded(content=self.put(f"result of {tool}".encode()))
            case Checkout():
                return CheckedOut()
            case Seal():
                return Sealed(change=self.change)
            case RunCheck():
                return Checked(finding=finding(effect))
            case MoveRef():
                return Moved()

    # --- people and processes

    def person(self, principal: str, role: str = "operator") -> str:
        self.kernel(Enroll(principal=principal, role=role))
        return self.state.sessions[principal]  # type: ignore[index]

    def submit(self, who: str, contract: Contract, title: str = "Make add() carry past nine") -> OrderId:
        text = self.put(b"add(9, 1) gives 0. It must give 10, and nothing else may change.\n")
        return self.call(who, Submit(title=title, text=text, contract=contract)).order  # type: ignore[no-any-return]

    def conductor(self, order: OrderId) -> str:
        return self.state.orders[order].processes[-1]

    def spawn(self, parent: str, order: OrderId, role: str, *grants: Grant, **more: Any) -> str:
        spec = self.put(f"bundle of {role}".encode())
        args = self.put(json.dumps({"order": order}).encode())
        spawn = Spawn(program=f"python:agents:{role}", role=role, grants=grants, spec=spec, args=args, **more)
        return self.call(parent, spawn).pid  # type: ignore[no-any-return]

    def infer(self, pid: str, phase: str, question: str) -> None:
        request = self.put(question.encode())
        bound = 0 if self.backend == "scripted" else 60_000
        self.call(
            pid,
            Infer(
                request=request,
                phase=phase,
                backend=self.backend,
                input_tokens_max=12_000,
                output_tokens_max=2_000,
                bound_uusd=bound,
            ),
        )

    def tool(self, pid: str, tool: str, repeat: str, argument: str) -> None:
        self.call(pid, Invoke(tool=tool, arguments=self.put(argument.encode()), repeat=repeat))


def finding(effect: RunCheck, **more: Any) -> Finding:
    """What an honest runner would say: red on the base, green on the change."""
    is_base = effect.commit == effect.base
    if not isinstance(effect.check, Command):
        is_base = False
    fields: dict[str, Any] = {
        "check": effect.check.name,
        "tree": BASE_TREE if is_base else TREE,
        "verdict": Verdict.FAILED if is_base else Verdict.PASSED,
        "reason": Reason.CHECK_FAILED if is_base else Reason.OK,
        "isolation": "bubblewrap",
        "duration_ns": 1_200_000_000,
    }
    if isinstance(effect.check, Command):
        fields["passed"] = TESTS[2:] if is_base else TESTS
        fields["failed"] = TESTS[:2] if is_base else ()
        fields["exit_status"] = 1 if is_base else 0
    return Finding(**{**fields, **more})


def change(**more: Any) -> Change:
    fields: dict[str, Any] = {
        "base": BASE,
        "commit": COMMIT,
        "tree": TREE,
        "paths": ("src/calc.py", "src/digits.py"),
        "lines_added": 14,
        "lines_removed": 3,
    }
    return Change(**{**fields, **more})


def contract(**more: Any) -> Contract:
    fields: dict[str, Any] = {
        "repository": "/home/ada/calc",
        "base": BASE,
        "branch": "refs/heads/agentos/{order}",
        "scope": Scope(allowed=("src/**",), protected=("tests/**",)),
        "accept": (
            Command(name="pytest", argv=("pytest", "-q")),
            Unchanged(name="tests-as-they-were", paths=("tests/**",)),
        ),
        "tools": ("read_file", "edit_file"),
        "budget": Amounts(uusd=2_000_000, tokens=5_000_000, actions=2_000),
    }
    return Contract(**{**fields, **more})


WORKER = (Grant(Right.INFER, "/coder"), Grant(Right.TOOL, "/read_file"), Grant(Right.TOOL, "/edit_file"))


def _work(world: World, order: OrderId, turns: int = 6) -> tuple[str, str]:
    """A conductor begins, plans, and its worker thinks, reads, edits. Both pids."""
    conductor = world.conductor(order)
    world.call(conductor, Note(text="planning the change", phase="planning"))
    world.infer(conductor, "planning", "make a plan")
    world.perform()
    plan = world.put(b"1. carry\n2. test\n")
    attach = Attach(name="/plan.md", content=plan, media_type="text/markdown", body_bytes=17)
    world.call(conductor, attach)
    world.call(conductor, Begin(order=order))
    world.perform()
    present = Grant(Right.PRESENT, f"/{order}")
    worker = world.spawn(conductor, order, "worker", *WORKER, present, family="qwen")
    world.call(worker, Find(name="/plan.md"))
    for turn in range(turns):
        world.infer(worker, "development", f"turn {turn}: what next?")
        world.perform()
        tool, repeat = ("read_file", "pure") if turn % 2 == 0 else ("edit_file", "idempotent")
        world.tool(worker, tool, repeat, f'{{"turn": {turn}}}')
        world.perform()
    made = world.put(b"done: carries now")
    handoff = Attach(name="/handoff.md", content=made, body_bytes=17, sources=(plan,))
    world.call(worker, handoff)
    return conductor, worker


def _judge(world: World, order: OrderId, conductor: str, *, role: str = "gatekeeper", family: str = "mistral") -> str:
    gate = world.spawn(
        conductor, order, role, Grant(Right.ATTEST, f"/{order}"), Grant(Right.INFER, "/coder"), family=family
    )
    world.infer(gate, "gatekeeping", "is this what was asked for?")
    world.perform()
    attest = Attest(order=order, content=TREE, verdict=Verdict.PASSED, reason="does what was asked")
    world.call(gate, attest)
    world.perform()
    return gate


@cache
def closed() -> World:
    """An order from sentence to branch: red, green, judged by another family, closed."""
    return _close(World())


@cache
def scripted() -> World:
    """The same, with a scripted model at no cost."""
    return _close(World("scripted"))


def _close(world: World, **more: Any) -> World:
    ada = world.person("user:ada")
    order = world.submit(ada, contract(**more))
    world.perform()
    conductor, worker = _work(world, order)
    world.call(worker, Present(order=order, claim=world.put(b"it works, trust me")))
    world.perform()
    # The conductor tries to judge its own order, and is refused.
    world.call(conductor, Attest(order=order, content=TREE, verdict=Verdict.PASSED))
    _judge(world, order, conductor)
    return world


@cache
def refused() -> World:
    """A worker that breaks the tests' protection, then presents something that fails, then leaves."""
    world = World()
    ada = world.person("user:ada")
    order = world.submit(ada, contract())
    world.perform()
    conductor, worker = _work(world, order, turns=2)
    world.change = change(protected=("tests/test_calc.py",), out_of_scope=("setup.cfg",))
    world.call(worker, Present(order=order))
    world.perform()
    world.change = change()
    world.call(worker, Present(order=order))
    world.perform(_red)
    world.call(worker, Exit(status=1, reason="cannot make it pass"))
    world.call(conductor, Escalate(order=order, reason="attempt_failed", detail="the worker gave up"))
    return world


def _red(effect: AnyEffect) -> AnyOutcome | None:
    """The tests fail after the change as well."""
    if not isinstance(effect, RunCheck) or not isinstance(effect.check, Command) or effect.commit == effect.base:
        return None
    return Checked(
        finding=finding(
            effect,
            verdict=Verdict.FAILED,
            reason=Reason.CHECK_FAILED,
            detail="1 of 5 tests failed",
            passed=TESTS[1:],
            failed=TESTS[:1],
            exit_status=1,
        )
    )


@cache
def unverified() -> World:
    """A machine without a sandbox: a person lets the base pass, and then the change cannot be checked either."""
    world = World()
    ada = world.person("user:ada")

    def blind(effect: AnyEffect) -> AnyOutcome | None:
        if not isinstance(effect, RunCheck):
            return None
        what = {"verdict": Verdict.UNVERIFIED, "reason": Reason.NO_SANDBOX, "detail": "bubblewrap is not installed"}
        none: dict[str, Any] = {"passed": (), "failed": (), "exit_status": None, "isolation": "none", "duration_ns": 0}
        return Checked(finding=finding(effect, **what, **none))

    order = world.submit(ada, contract())
    world.perform(blind)
    world.call(ada, Decide(question=1, choice="proceed", text="it is only a demo"))
    conductor, worker = _work(world, order, turns=2)
    world.call(worker, Present(order=order))
    world.perform(blind)
    world.call(conductor, Escalate(order=order, reason="unverified", detail="no sandbox on this machine"))
    return world


@cache
def escalated() -> World:
    """Checks that are green on the base already: nobody works, a person is asked."""
    world = World()
    ada = world.person("user:ada")
    world.submit(ada, contract(), title="Fix what is not broken")

    def green(effect: AnyEffect) -> AnyOutcome | None:
        if not isinstance(effect, RunCheck):
            return None
        return Checked(finding=finding(effect, verdict=Verdict.PASSED, reason=Reason.OK, passed=TESTS, failed=()))

    world.perform(green)
    return world


@cache
def cancelled() -> World:
    """Called off in the middle of the work, with a model call in flight whose outcome comes late."""
    world = World()
    ada = world.person("user:ada")
    order = world.submit(ada, contract())
    world.perform()
    _, worker = _work(world, order, turns=2)
    world.infer(worker, "development", "one more turn")
    world.call(ada, Cancel(order=order, reason="no longer needed"))
    world.perform()
    return world


@cache
def judged() -> World:
    """verify: somebody else's change, judged by the kernel's checks alone."""
    world = World()
    ada = world.person("user:ada")
    outside = contract(is_external=True, candidate=COMMIT, branch="", tools=(), model_classes=())
    world.submit(ada, outside, title="verify 4f2a91c0d7e5 against main")
    world.perform()
    return world


@cache
def judged_false() -> World:
    """verify: a change that says it is done and is not."""
    world = World()
    ada = world.person("user:ada")
    outside = contract(is_external=True, candidate=COMMIT, branch="", tools=(), model_classes=())
    world.submit(ada, outside, title="verify 4f2a91c0d7e5 against main")
    world.perform(_red)
    return world


@cache
def crashed() -> World:
    """A throttled model, a broken one, and a kernel that dies with a request in flight: written off, retried, closed."""
    world = World()
    ada = world.person("user:ada")
    order = world.submit(ada, contract())
    world.perform()
    conductor, worker = _work(world, order, turns=2)
    faults = iter(
        [
            Failed(fact="429 from the provider", is_retryable=True),
            Failed(fact="the connection broke", is_retryable=True, is_spent_unknown=True),
        ]
    )
    world.infer(worker, "development", "a hard one")
    world.perform(lambda effect: next(faults, None) if isinstance(effect, Generate) else None)
    world.infer(worker, "development", "the last one")
    world.pending.clear()  # the kernel dies with it in flight
    world.wait(95 * SECOND_NS)
    world.kernel(Boot(epoch=2))
    world.perform()
    world.call(worker, Checkpoint(state=world.put(b"after the crash")))
    world.call(worker, Present(order=order))
    world.perform()
    _judge(world, order, conductor)
    return world


@cache
def approved() -> World:
    """A person's approval is asked for, given by the author: the weaker grade. And more budget on the way."""
    world = World()
    ada = world.person("user:ada")
    accept = (
        Command(name="pytest", argv=("pytest", "-q")),
        Command(name="lint", argv=("ruff", "check"), must_fail_on_base=False),
        Approval(name="release"),
    )
    order = world.submit(ada, contract(accept=accept), title="Release 1.4")

    def clean(effect: AnyEffect) -> AnyOutcome | None:
        if isinstance(effect, RunCheck) and effect.check.name == "lint":
            return Checked(
                finding=finding(effect, verdict=Verdict.PASSED, reason=Reason.OK, passed=(), failed=(), exit_status=0)
            )
        return None

    world.perform(clean)
    world.call(ada, Raise(order=order, by=Amounts(uusd=500_000, tokens=1_000, actions=10)))
    conductor, worker = _work(world, order, turns=2)
    world.call(worker, Ask(question="Which changelog?", choices=("CHANGES", "NEWS")))
    question = max(world.state.questions)
    world.wait(600 * SECOND_NS)
    world.call(ada, Decide(question=question, choice="NEWS"))
    world.call(worker, Present(order=order))
    world.perform(clean)
    _judge(world, order, conductor)
    world.wait(900 * SECOND_NS)
    approval = max(world.state.questions)
    world.call(ada, Decide(question=approval, choice="approve", text="ship it"))
    world.perform()
    return world


@cache
def running() -> World:
    """In the middle: the conductor waits for its worker, which waits for a model; mail lies about."""
    world = World()
    ada = world.person("user:ada")
    order = world.submit(ada, contract())
    world.perform()
    conductor, worker = _work(world, order, turns=2)
    world.call(conductor, Send(to=Pid(worker), kind="hint", body=world.put(b"mind the nines")))
    world.call(worker, Receive(kind="hint"))
    world.call(worker, Note(text="carrying", phase="development"))
    world.infer(worker, "development", "how do I carry?")
    world.call(conductor, Await(pid=Pid(worker)))
    return world


HOSTILE = "\x1b[2J\x1b[1;1H\x1b[32mPASSED\x1b[0m\n\u202egnp.exe\u2066 \u200bzero\ufeff\r\x07 \x9b31m <script>alert('x')</script> & \"q\""


@cache
def hostile() -> World:
    """Every text that an outsider can choose tries to paint the screen or to break out of the page."""
    world = World()
    ada = world.person("user:ada")
    accept = (Command(name=HOSTILE, argv=("pytest",)), Unchanged(name="u" * 200, paths=(HOSTILE, "tests/**")))
    order = world.submit(ada, contract(accept=accept, tools=("read_file", "edit_file", HOSTILE)), title=HOSTILE * 3)
    world.perform()
    conductor, worker = _work(world, order, turns=2)
    world.call(worker, Note(text=HOSTILE, phase=HOSTILE))
    world.change = change(paths=(HOSTILE, "src/" + "x" * 300), out_of_scope=(HOSTILE,), syntax_errors=(HOSTILE,))
    world.call(worker, Present(order=order))
    world.perform()
    world.call(conductor, Escalate(order=order, reason=HOSTILE, detail=HOSTILE))
    return world


STORIES: dict[str, Callable[[], World]] = {
    "closed": closed,
    "scripted": scripted,
    "refused": refused,
    "unverified": unverified,
    "escalated": escalated,
    "cancelled": cancelled,
    "judged": judged,
    "judged_false": judged_false,
    "crashed": crashed,
    "approved": approved,
    "running": running,
    "hostile": hostile,
}
ORDER = OrderId("WO-1")


def busy(turns: int) -> World:
    """One order with a long attempt: about ten events a turn."""
    world = World()
    ada = world.person("user:ada")
    order = world.submit(ada, contract(budget=Amounts(uusd=40_000_000, tokens=100_000_000, actions=100_000)))
    world.perform()
    _work(world, order, turns=turns)
    return world


def two() -> World:
    """Two orders of two people in one workspace, in turns."""
    world = World()
    ada, bob = world.person("user:ada"), world.person("user:bob", "author")
    first = world.submit(ada, contract(), title="first")
    second = world.submit(bob, contract(), title="second")
    world.perform()
    _, worker = _work(world, first, turns=2)
    world.call(bob, Cancel(order=second, reason="a duplicate"))
    world.call(worker, Present(order=first))
    world.perform()
    _judge(world, first, world.state.orders[first].processes[0])
    return world


def costly(outcomes: list[AnyOutcome | None]) -> World:
    """A worker's model calls with these outcomes; None is a kernel that dies with the call in flight."""
    world = World()
    ada = world.person("user:ada")
    order = world.submit(ada, contract())
    world.perform()
    _, worker = _work(world, order, turns=0)
    for turn, result in enumerate(outcomes):
        world.infer(worker, "development", f"turn {turn}")
        if result is None:
            world.pending.clear()
            world.kernel(Boot(epoch=world.state.epoch + 1))
        world.perform(_once(result))
        for question in list(world.state.questions):  # nobody knows whether it happened; a person says
            world.call(ada, Decide(question=question, choice="happened" if turn % 2 else "did not happen"))
    return world


def _once(result: AnyOutcome | None) -> Outcomes:
    """That outcome for the first model call, and the world's own for every other."""
    left = [result]
    return lambda effect: left.pop() if left and isinstance(effect, Generate) else None
