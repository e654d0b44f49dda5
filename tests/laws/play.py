"""Random plays over the whole call surface. A move is four numbers; what they mean depends on what is there.

    play(moves) -> Court       every move made, every law asserted after each
    dealt(seed, count)         moves from a seed, for suites that must not shrink

Moves choose among what exists and, now and then, what does not: dead pids, spent tokens, orders that are over.
"""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from agentos.abi.budget import Amounts
from agentos.abi.calls.base import Call
from agentos.abi.calls.device import Ask, Infer, Invoke
from agentos.abi.calls.ipc import Attach, Find, Open, Publish, Receive, Send, Subscribe
from agentos.abi.calls.kernel import Beat, Diverge, Enroll, Fence, Settle
from agentos.abi.calls.lease import Acquire, Derive, Release, Renew, Revoke, Sleep
from agentos.abi.calls.process import Await, Checkpoint, Exit, Kill, Note, Spawn, Whoami
from agentos.abi.calls.work import Apply, Attest, Begin, Cancel, Decide, Escalate, Look, Present, Raise, Submit, Undo
from agentos.abi.effects import (
    Answered,
    AnyEffect,
    AnyOutcome,
    Applied,
    ApplyChange,
    Cancelled,
    Failed,
    Generate,
    RunCheck,
    RunTool,
    ToolEnded,
    Unknown,
)
from agentos.abi.ids import CapabilityId, Digest, OrderId, Pid, Principal
from agentos.abi.inference import Usage
from agentos.abi.replies import Spawned
from agentos.abi.rights import Grant, Right
from agentos.abi.signals import Signal
from agentos.abi.work import Approval, Command, Review, Verdict
from tests.kernel.world import SECOND, TREE, WAITING, contract, finding, succeed
from tests.laws.court import Court

Move = tuple[int, int, int, int]
BUDGET = Amounts(uusd=3_000, tokens=4_000, actions=200)  # so little that a play meets its end
BODY = (Digest("a" * 64), Digest("b" * 64))
SELECTORS = ("/a", "/a/**", "/a/b", "/**", "/coder", "/shell")
ACCEPTS = (
    (Command(name="tests", argv=("t",)),),
    (Command(name="tests", argv=("t",)), Command(name="lint", argv=("l",), must_fail_on_base=False)),
    (Command(name="tests", argv=("t",)), Review(name="review"), Approval(name="owner")),
    (Approval(name="owner"), Approval(name="legal", who="user:bob")),
)


Choice = TypeVar("Choice")


class Pick:
    """Choices drawn from the numbers of one move."""

    def __init__(self, *numbers: int) -> None:
        self.state: int = sum(number * 1_009**place for place, number in enumerate(numbers))

    def below(self, bound: int) -> int:
        self.state, got = divmod(self.state, bound)
        self.state = self.state * 31 + got * 7 + 11
        return got

    def of(self, rows: Sequence[Choice]) -> Choice:
        return rows[self.below(len(rows))]


def pid(court: Court, pick: Pick) -> Pid:
    """Mostly somebody alive."""
    return Pid("9.9") if pick.below(16) == 0 else pick.of(list(court.state.processes))


def order(court: Court, pick: Pick) -> OrderId:
    """Mostly an open one, now and then one that is over or never was."""
    known = [*court.state.orders, *court.state.orders, *list(court.state.closed)[-1:], OrderId("WO-99")]
    return pick.of(known)


def grant(pick: Pick) -> Grant:
    return Grant(pick.of(tuple(Right)), pick.of(SELECTORS), pick.of((0, 0, 0, 1, 2)))


def _spawn(court: Court, caller: Pid, pick: Pick) -> Call:
    """Grants are mostly narrower copies of what the caller holds, so that trees grow deep."""
    held = [court.state.capabilities[id].grant for id in court.state.processes[caller].capabilities]
    asked = tuple(pick.of(held) for _ in range(pick.below(5))) if held else ()
    if pick.below(3) == 0:
        asked = tuple(Grant(one.right, one.selector, one.uses_max or 2) for one in asked)
    if pick.below(6) == 0:
        asked = (*asked, grant(pick))
    return Spawn(
        program=pick.of(("p", "p", "conductor")),
        grants=asked,
        budget=pick.of((None, None, Amounts(500, 500, 20), Amounts(50, 50, 2))),
        order=pick.of((None, None, order(court, pick))),
        family=pick.of(("", "qwen", "gpt")),
        priority=pick.of((0, 0, 1, -1)),
        restart=pick.of(("temporary", "permanent", "transient")),
        strategy=pick.of(("one_for_one", "one_for_all", "rest_for_one")),
        intensity=pick.below(3),
        is_linked=pick.below(4) > 0,
    )


def _lease(court: Court, caller: Pid, pick: Pick) -> Call:
    resource = pick.of(("/a", "/a/b"))
    row = court.state.leases.get(resource)
    token = row.token if row and pick.below(4) else pick.below(5)
    return pick.of(
        (
            Acquire(resource=resource, ttl_ns=pick.of((1, SECOND, 40 * SECOND)), is_waiting=pick.below(2) == 0),
            Renew(resource=resource, token=token, ttl_ns=SECOND),
            Release(resource=resource, token=token),
        )
    )


def _derive(court: Court, caller: Pid, pick: Pick) -> Call:
    held = court.state.processes[caller].capabilities
    id = pick.of(held) if held and pick.below(5) else CapabilityId(1 + pick.below(60))
    if pick.below(3) == 0:
        return Revoke(capability=id)
    row = court.state.capabilities.get(id)
    narrower = row.grant if row is not None and pick.below(4) else grant(pick)
    return Derive(capability=id, to=pid(court, pick), grant=narrower)


def _channel(court: Court, caller: Pid, pick: Pick) -> Call:
    name = pick.of(("/a", "/a", "/a", f"/{order(court, pick)}/x"))
    if name not in court.state.channels and pick.below(4):
        return Open(channel=name)
    return pick.of(
        (
            Open(channel=name, schema=pick.of((None, None, BODY[0]))),
            Subscribe(channel=name, is_from_start=pick.below(2) == 0),
            Publish(channel=name, body=pick.of(BODY)),
            Publish(channel=name, body=pick.of(BODY)),
        )
    )


def _mail(court: Court, caller: Pid, pick: Pick) -> Call:
    row = court.state.processes[caller]
    kin = [one for one in (row.parent, *row.children) if one in court.state.processes]
    to = pick.of(kin) if kin and pick.below(4) else pid(court, pick)
    return pick.of(
        (
            Send(to=to, kind=pick.of(("x", "y"))),
            Send(to=to, kind=pick.of(("x", "y"))),
            Receive(kind=pick.of(("", "x"))),
            Receive(kind=pick.of(("", "y")), timeout_ns=SECOND),
        )
    )


def _device(court: Court, caller: Pid, pick: Pick) -> Call:
    cost = pick.of((1, 10, 100, 900))
    return pick.of(
        (
            Infer(
                request=pick.of(BODY), input_tokens_max=cost, bound_uusd=cost, phase=pick.of(("development", "review"))
            ),
            Invoke(tool="shell", arguments=pick.of(BODY), repeat=pick.of(("once", "pure", "idempotent", "queryable"))),
            Ask(question="?", choices=pick.of(((), ("yes", "no")))),
        )
    )


def _work(court: Court, caller: Pid, pick: Pick) -> Call:
    id = order(court, pick)
    row = court.state.orders.get(id)
    tree = row.change.tree if row and row.change and pick.below(8) else BODY[0]
    check = pick.of(("gate", "gate", "review", "owner"))
    verdict = pick.of((Verdict.PASSED, Verdict.PASSED, Verdict.PASSED, Verdict.FAILED))
    return pick.of(
        (
            Begin(order=id),
            Present(order=id),
            Attest(order=id, content=tree, check=check, verdict=verdict),
            Attest(order=id, content=tree, check=check, verdict=verdict),
            Escalate(order=id, reason="r"),
            Cancel(order=id),
            Look(order=id),
            Raise(order=id, by=Amounts(uusd=pick.below(20))),
        )
    )


def _submit(court: Court, caller: Pid, pick: Pick) -> Call:
    changes: dict[str, object] = {
        "accept": pick.of(ACCEPTS),
        "budget": pick.of((Amounts(800, 800, 40), Amounts(100, 100, 5))),
        "weight": 1 + pick.below(3),
        "wall_ns_max": pick.of((SECOND, 100 * SECOND)),
        "attempts_max": 1 + pick.below(3),
        "branch": pick.of(("", "refs/heads/{order}")),
        "is_external": pick.below(8) == 0,
        "is_gate_other_family": pick.below(6) == 0,
    }
    return Submit(title="t", text=BODY[0], contract=contract(**changes))


def _decide(court: Court, caller: Pid, pick: Pick) -> Call:
    numbers = list(court.state.questions)
    number = pick.of(numbers) if numbers and pick.below(8) else pick.below(20)
    row = court.state.questions.get(number)
    return Decide(question=number, choice=pick.of(row.choices) if row and row.choices else "yes")


def _kin(court: Court, caller: Pid, pick: Pick) -> Call:
    children = court.state.processes[caller].children
    whom = pick.of(children) if children and pick.below(4) else pid(court, pick)
    return pick.of((Await(pid=whom), Await(pid=whom), Kill(pid=whom, signal=pick.of(tuple(Signal)))))


def _alone(court: Court, caller: Pid, pick: Pick) -> Call:
    return pick.of(
        (
            Exit(status=pick.below(2)),
            Checkpoint(state=BODY[0]),
            Note(text="n"),
            Whoami(),
            Sleep(span_ns=pick.of((0, SECOND, 50 * SECOND))),
            Attach(name="/a", content=pick.of(BODY), sources=pick.of(((), BODY[:1]))),
            Find(name="/a"),
        )
    )


CALLS: tuple[Callable[[Court, Pid, Pick], Call], ...] = (
    _spawn,
    _spawn,
    _lease,
    _derive,
    _channel,
    _mail,
    _device,
    _device,
    _work,
    _work,
    _submit,
    _decide,
    _kin,
    _alone,
)


def call(court: Court, pick: Pick) -> None:
    """Somebody, on some strand, makes some call. People call more often, for they hold the rights."""
    people = list(court.state.sessions.values())
    caller = pick.of(people) if people and pick.below(3) == 0 else pick.of(list(court.state.processes))
    if caller == "1.1":  # init makes no calls
        return
    made = pick.of(CALLS)(court, caller, pick)
    parked = court.state.processes[caller].parked
    free = [strand for strand in range(5) if strand not in parked]
    strand = pick.of(free) if free and pick.below(16) else pick.below(5)
    court.ask(caller, made, strand=strand, args=pick.of(("", "", "same")))


def outcome(effect: AnyEffect, pick: Pick) -> AnyOutcome:
    """Mostly what was asked for; else a failure of some kind, or something that makes no sense."""
    match pick.below(10):
        case 0:
            return Failed(
                fact="f", is_retryable=True, retry_after_ns=pick.of((0, SECOND)), is_spent_unknown=pick.below(2) == 0
            )
        case 1:
            return Failed(fact="f", is_timeout=pick.below(2) == 0)
        case 2:
            strange: tuple[AnyOutcome, ...] = (Unknown(fact="u"), Cancelled(), ToolEnded(content=BODY[0]))
            return pick.of(strange)
    match effect:
        case Generate():
            return Answered(
                answer=BODY[0],
                usage=Usage(input_tokens=pick.of((1, 5, 2_000))),
                uusd=pick.of((1, 5, 2_000)),
                is_metered=pick.below(4) > 0,
            )
        case RunTool():
            return ToolEnded(content=BODY[0])
        case ApplyChange():
            return Applied(receipt="1")
        case RunCheck() if effect.commit != effect.base and pick.below(3) == 0:
            return finding(effect.check.name, pick.of(tuple(Verdict)), pick.of((TREE, BODY[0])))
    good = succeed(effect)
    assert good is not None
    return good


def settle(court: Court, pick: Pick) -> None:
    """One effect in flight gets an outcome."""
    if court.flying:
        number = pick.of(list(court.flying))
        court.settle(number, outcome(court.flying[number].effect, pick))


def stray(court: Court, pick: Pick) -> None:
    """An outcome of nothing in particular, or of something, twice."""
    number, attempt = 1 + pick.below(court.state.next_effect), 1 + pick.below(3)
    pending = court.state.effects.get(number)
    if pending is not None and pending.is_dispatched and attempt == pending.attempt:
        return
    court.enter(court.next_id(Pid("0.0")), Settle(effect=number, attempt=attempt, outcome=Cancelled()))


def machine(court: Court, pick: Pick) -> None:
    """What the machine brings in besides outcomes."""
    whom = pid(court, pick)
    row = court.state.processes.get(whom)
    incarnation = row.incarnation if row and pick.below(3) else pick.below(3)
    if whom == "1.1":
        return
    court.tell(
        pick.of(
            (
                Fence(pid=whom, incarnation=incarnation, reason="frozen"),
                Beat(pids=(whom,)),
                Diverge(pid=whom, fact="f") if pick.below(3) == 0 else Beat(pids=()),
                Enroll(principal=pick.of(("user:ada", "user:bob"))),
            )
        )
    )


def gossip(court: Court, pick: Pick) -> None:
    """A channel, a reader who may die, and somebody who says something."""
    ada = court.state.sessions.get(Principal("user:ada"))
    if ada is None:
        return
    if "/a" not in court.state.channels:
        court.ask(ada, Open(channel="/a"), strand=8)
        return
    readers = [one for one in court.state.processes[ada].children if one not in court.state.channels["/a"].subscribers]
    if readers and pick.below(2):
        court.ask(pick.of(readers), Subscribe(channel="/a", is_from_start=pick.below(2) == 0), strand=8)
    elif pick.below(2):
        court.ask(ada, Publish(channel="/a", body=BODY[0]), strand=8)
    else:
        grants = (Grant(Right.SUBSCRIBE, "/a"), Grant(Right.LEASE, "/a"))
        court.ask(ada, Spawn(program="p", grants=grants), strand=8)


def rival(court: Court, pick: Pick) -> None:
    """Two children with as much budget each as their parent has, who both want most of it."""
    ada = court.state.sessions.get(Principal("user:ada"))
    if ada is None:
        return
    grants, budget = (Grant(Right.INFER, "/**"), Grant(Right.SPAWN, "/**")), Amounts(100, 100, 10)
    parent = court.ask(ada, Spawn(program="p", grants=grants, budget=budget), strand=9)
    for number in range(2):
        if not isinstance(parent, Spawned):
            return
        call = Spawn(program="p", grants=grants[:1], budget=budget, is_linked=pick.below(2) == 0)
        child = court.ask(parent.pid, call, strand=number)
        if isinstance(child, Spawned):
            court.ask(child.pid, Infer(request=BODY[0], input_tokens_max=1, bound_uusd=40 + pick.below(50)))


def post(court: Court, pick: Pick) -> None:
    """Mail between a parent and a child that reads it, sometimes before it is there."""
    ada = court.state.sessions.get(Principal("user:ada"))
    children = (
        [one for one in court.state.processes[ada].children if 15 not in court.state.processes[one].parked]
        if ada
        else []
    )
    if ada is None or not children:
        return
    child = pick.of(children)
    for _ in range(1 + pick.below(2)):
        court.ask(ada, Send(to=child, kind=pick.of(("x", "y"))), strand=15)
    for _ in range(2):
        court.ask(child, Receive(kind=pick.of(("", "x"))), strand=15)


def contest(court: Court, pick: Pick) -> None:
    """Two who want one lease, and somebody who ends one of them."""
    ada = court.state.sessions.get(Principal("user:ada"))
    if ada is None:
        return
    for _ in range(2):
        made = court.ask(ada, Spawn(program="p", grants=(Grant(Right.LEASE, "/a"),)), strand=10)
        if not isinstance(made, Spawned):
            return
        court.ask(made.pid, Acquire(resource="/a", ttl_ns=40 * SECOND, is_waiting=True))
    waiting = list(court.state.leases["/a"].queue) if "/a" in court.state.leases else []
    if waiting:
        court.ask(ada, Kill(pid=pick.of(waiting).pid, signal=Signal.KILL), strand=10)


def blackout(court: Court, pick: Pick) -> None:
    """A tool that may run once, and whose outcome is lost; then the truth comes, or the process ends, or neither."""
    ada = court.state.sessions.get(Principal("user:ada"))
    made = court.ask(ada, Spawn(program="p", grants=(Grant(Right.TOOL, "/shell"),)), strand=11) if ada else None
    if ada is None or not isinstance(made, Spawned):
        return
    number = court.state.next_effect
    court.ask(made.pid, Invoke(tool="shell", arguments=BODY[0]))
    if number not in court.flying:
        return
    court.settle(number, Unknown(fact="u"))
    if pick.below(3) == 0:
        court.ask(ada, Kill(pid=made.pid, signal=Signal.KILL), strand=11)
    elif pick.below(2):
        court.tell(Settle(effect=number, attempt=1, outcome=ToolEnded(content=BODY[0])))


def deliver(court: Court, pick: Pick) -> None:
    """A closed order's change goes into a checkout, or out of it; now and then whoever asked is gone by then."""
    ada = court.state.sessions.get(Principal("user:ada"))
    over = [id for id, row in court.state.closed.items() if row.state == "closed"]
    if ada is None or not over:
        return
    id = pick.of(over)
    court.ask(ada, pick.of((Apply(order=id), Apply(order=id), Undo(order=id))), strand=12 + pick.below(2))
    if pick.below(8) == 0:
        court.ask(ada, Exit(), strand=14)


def push(court: Court, pick: Pick) -> None:
    """One order is helped a step on its way, so that plays get to its end."""
    if not court.state.orders:
        return
    id = pick.of(list(court.state.orders))
    row = court.state.orders[id]
    if not row.processes:
        court.perform()
        return
    conductor, strand = row.processes[0], 4 + pick.below(3)
    held = court.state.processes[conductor].capabilities
    rights = tuple(court.state.capabilities[one].grant for one in held)
    match row.state:
        case "ready":
            court.ask(conductor, Begin(order=id), strand=strand)
        case "executing":
            made = court.ask(conductor, Spawn(program="p", grants=rights, family="qwen"), strand=strand)
            if made != WAITING and hasattr(made, "pid"):
                court.ask(made.pid, Present(order=id))
        case "gating":
            made = court.ask(conductor, Spawn(program="p", grants=rights, family="claude"), strand=strand)
            if made != WAITING and hasattr(made, "pid") and row.change is not None:
                for number, check in enumerate(("gate", "review")):
                    court.ask(
                        made.pid, Attest(order=id, content=row.change.tree, check=check, verdict=Verdict.PASSED), number
                    )
        case _:
            court.perform()


def tick(court: Court, pick: Pick) -> None:
    court.tick(pick.of((1, SECOND, SECOND, 31 * SECOND, 200 * SECOND)))


def crash(court: Court, pick: Pick) -> None:
    court.crash()


MOVES: tuple[Callable[[Court, Pick], None], ...] = (
    *(call,) * 12,
    gossip,
    rival,
    post,
    contest,
    blackout,
    deliver,
    *(settle,) * 4,
    *(push,) * 8,
    stray,
    machine,
    tick,
    crash,
)


def play(moves: Sequence[Move], *, is_checked: bool = True) -> Court:
    """Every move, in a world with two people; then the witnesses rise."""
    court = Court(BUDGET, is_checked=is_checked)
    court.person("user:ada")
    court.person("user:bob")
    for kind, *numbers in moves:
        MOVES[kind % len(MOVES)](court, Pick(*numbers))
    court.rise()
    return court


def dealt(seed: int, count: int) -> list[Move]:
    """Moves from a seed."""
    chance = random.Random(seed)
    return [
        (chance.randrange(len(MOVES)), chance.randrange(10**6), chance.randrange(10**6), chance.randrange(10**6))
        for _ in range(count)
    ]
