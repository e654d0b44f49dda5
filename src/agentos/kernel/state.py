"""The state: owned, mutable tables. What the journal says, folded.

    processes ──slots──> pid            accounts: a tree of control groups
        │ parked calls                  effects: intended ─> dispatched ─> settled
        │ mailbox                       orders: submitted ... closed
        │ capabilities (holder-bound)   leases, channels, artifacts, timers, questions

Rule 1: `apply` is the only writer. `decide` reads; a test compares the state's bytes before and after.
Rule 2: the state is data all the way down: it encodes to the same bytes after a replay, so tables are dicts in
        the order events made them, and nothing depends on a set's order.
Rule 3: what has ended leaves: a reaped process leaves an exit record, a closed order a summary.
Rule 4: the fields after "demand" say what the state itself wants next; `demand.due` reads them, in a fixed order.
"""

import msgspec

from agentos.abi.budget import NOTHING, Amounts
from agentos.abi.calls.process import Spawn
from agentos.abi.effects import AnyEffect
from agentos.abi.ids import AccountId, CallId, CapabilityId, Digest, OrderId, Pid, Principal
from agentos.abi.rights import Capability, Grant
from agentos.abi.work import Change, Contract, Finding, Reason, Verdict


class Parked(msgspec.Struct, omit_defaults=True):
    """A call that waits, and what for."""

    id: CallId
    name: str
    args: str
    kind: str  # await | receive | lease | timer | effect | question | order
    target: str
    timer: int = 0  # ends the waiting, of a sleep or a bounded receive; goes with it


class Letter(msgspec.Struct, array_like=True):
    """A message in a mailbox."""

    id: int
    sender: Pid
    kind: str
    body: Digest | None


class Ending(msgspec.Struct, array_like=True):
    """A child's exit record, kept for a late waiter."""

    pid: Pid
    status: int
    reason: str
    result: Digest | None


class Process(msgspec.Struct, omit_defaults=True):
    """One entry of the process table."""

    pid: Pid
    parent: Pid
    principal: Principal
    spec: Spawn
    order: OrderId | None
    account: AccountId
    depth: int
    state: str = "ready"  # ready | running | waiting | stopped | zombie
    incarnation: int = 0  # calls of an earlier one are stale
    strands: dict[int, int] = {}  # last call entered, per strand; guard: calls arrive in order
    parked: dict[int, Parked] = {}  # at most one per strand
    children: list[Pid] = []
    mailbox: list[Letter] = []
    capabilities: list[CapabilityId] = []
    channels: list[str] = []
    leases: list[str] = []
    effects: list[int] = []  # not settled yet
    awaited_by: list[CallId] = []
    ended: list[Ending] = []  # children that ended, newest last, at most ended_max
    restarts_at_ns: list[int] = []  # restarts of children within the period
    checkpoint: Digest | None = None
    checkpoint_n: int = 0
    repeated: str = ""  # args of the last costly call, for the loop detector
    repeats: int = 0
    relaunches: int = 0  # since its last new call
    beaten_at_ns: int = 0
    ending: Ending | None = None  # set by exit, until reaped
    is_failed: bool = False
    is_replaced: bool = False  # ended by its supervisor's strategy, to be started anew with a sibling
    is_adopted: bool = False  # its parent has ended; nobody restarts it
    forebears: list[Pid] = []  # those above it that work, or worked, for the same order, nearest last
    attempt: int = 0  # of its order, that it may write for: a later one has another working copy
    born: int = 0  # event of its spawn: the order among siblings


class Account(msgspec.Struct, omit_defaults=True):
    """A control group in the budget tree. Guard: spent + reserved within limit, unless an outcome overran its bound."""

    id: AccountId
    parent: AccountId  # 0: the root
    owner: str
    limit: Amounts
    reserved: Amounts = NOTHING
    spent: Amounts = NOTHING
    overrun: Amounts = NOTHING  # how far outcomes went over what was reserved for them
    users: int = 0  # processes that draw on it, and open accounts below it; the row stays as long as there are any
    is_closed: bool = False


class Pending(msgspec.Struct, omit_defaults=True):
    """An effect that has no final outcome yet."""

    id: int
    pid: Pid
    what: AnyEffect
    account: AccountId
    reserved: Amounts
    order: OrderId | None
    phase: str
    priority: int
    queued_at_ns: int
    attempt: int = 0  # 0: never dispatched
    epoch: int = 0  # of the last dispatch
    is_dispatched: bool = False
    is_orphaned: bool = False  # waits for a person
    question: int = 0  # asked about it, while it is orphaned
    timer: int = 0  # queues it again, while it rests between attempts
    is_abandoned: bool = False  # its process or order is gone; the outcome is only charged
    call: CallId | None = None


class Device(msgspec.Struct, omit_defaults=True):
    """A kind of device: its slots, and the effects that want one."""

    slots: int
    busy: int = 0
    lanes: dict[str, list[int]] = {}  # "PRIORITY:ORDER" -> effects, oldest first
    turns: dict[str, int] = {}  # order -> virtual time already used; the least goes first
    clock: int = 0  # virtual time of the last one served; a newcomer starts here


class Lease(msgspec.Struct, omit_defaults=True):
    """A resource's lease, while somebody holds it. Tokens come from one counter, so the row can go and they still grow."""

    resource: str
    token: int = 0
    holder: Pid | None = None
    deadline_at_ns: int = 0
    timer: int = 0
    queue: list[CallId] = []
    waits: dict[str, int] = {}  # call -> ttl asked for


class Channel(msgspec.Struct, omit_defaults=True):
    schema: Digest | None
    subscribers: list[Pid] = []
    backlog: list[Letter] = []


class Artifact(msgspec.Struct, omit_defaults=True):
    name: str
    content: Digest
    author: Pid
    order: OrderId | None
    media_type: str
    body_bytes: int
    sources: tuple[Digest, ...] = ()


class Timer(msgspec.Struct, array_like=True):
    id: int
    at_ns: int
    pid: Pid
    kind: str
    target: str


class Question(msgspec.Struct, omit_defaults=True):
    """Something only a person can say."""

    id: int
    kind: str  # ask | approval | escalation | unknown
    text: str
    choices: tuple[str, ...]
    pid: Pid
    order: OrderId | None
    content: Digest | None = None
    effect: int = 0
    call: CallId | None = None


class Attestation(msgspec.Struct, omit_defaults=True):
    content: Digest
    check: str
    verdict: Verdict
    by: Pid
    principal: Principal
    family: str
    grade: str


class Tally(msgspec.Struct, array_like=True):
    """What the kernel found of one kind of worker's presentations."""

    passed: int = 0
    failed: int = 0
    unverified: int = 0


class Order(msgspec.Struct, omit_defaults=True):
    """A work order on its way. Guard for each step: `work/order.py`, table TRANSITIONS."""

    id: OrderId
    title: str
    text: Digest
    contract: Contract
    author: Principal
    by: Pid
    account: AccountId
    state: str = "submitted"
    attempt: int = 0
    presentations: int = 0  # since the last person's word
    attempts_granted: int = 0  # attempts before a person's retry, not counted against attempts_max
    presenter: Pid | None = None  # who presented last
    workers: list[Pid] = []  # whoever presented or worked, and those above them: none of them may judge
    barred: list[Pid] = []  # none of whose descendants may judge: the workers but for a conductor that only conducts
    families: list[str] = []  # model families that had a hand in it
    proofs: list[Finding] = []  # of the base
    findings: list[Finding] = []  # of the content presented last
    waiting_checks: int = 0  # checks in flight
    change: Change | None = None
    claim: Digest | None = None
    verdict: Verdict | None = None
    reason: Reason | None = None
    attestations: list[Attestation] = []
    call: CallId | None = None  # the Begin or Present that waits for an answer
    questions: list[int] = []
    processes: list[Pid] = []  # alive, working for it
    commit: str = ""
    opened_at_ns: int = 0
    timer: int = 0  # its wall time; set anew by a person's word that it goes on
    is_conducted: bool = False  # its conductor was started
    proved_by: str = ""  # "waived" when a person let it go on although its checks were not red


class Vacancy(msgspec.Struct, array_like=True):
    """A place that a supervisor's strategy wants filled again."""

    supervisor: Pid
    dead: Pid
    spec: Spawn
    grants: tuple[Grant, ...]
    order: OrderId | None
    above: AccountId
    born: int


class Summary(msgspec.Struct, array_like=True):
    """What is left in the state of an order that is over; its events hold the rest."""

    id: OrderId
    state: str
    title: str
    commit: str
    spent: Amounts
    at_ns: int
    account: AccountId
    author: Principal = Principal("")
    repository: str = ""
    base: str = ""
    receipt: str = ""  # of the change in the author's checkout, while it is there


class State(msgspec.Struct):
    """A workspace, as of its last event."""

    workspace: str
    now_ns: int = 0
    events: int = 0
    epoch: int = 0
    next_mail: int = 1
    next_capability: int = 1
    next_account: int = 1
    next_effect: int = 1
    next_timer: int = 1
    next_order: int = 1
    next_question: int = 1
    next_token: int = 1
    generations: list[int] = []  # per slot, the last one used
    free_slots: list[int] = []  # a stack
    processes: dict[Pid, Process] = {}
    sessions: dict[Principal, Pid] = {}
    capabilities: dict[CapabilityId, Capability] = {}
    accounts: dict[AccountId, Account] = {}
    effects: dict[int, Pending] = {}
    devices: dict[str, Device] = {}
    leases: dict[str, Lease] = {}
    channels: dict[str, Channel] = {}
    artifacts: dict[str, dict[str, Artifact]] = {}  # order or "" -> name -> newest
    timers: dict[int, Timer] = {}
    schedule: list[tuple[int, int]] = []  # heap of (at_ns, timer)
    orders: dict[OrderId, Order] = {}
    closed: dict[OrderId, Summary] = {}
    questions: dict[int, Question] = {}
    trust: dict[str, Tally] = {}
    # demand: what the state itself wants next
    dying: list[Pid] = []  # exited, to be reaped, in order of exit
    adrift: list[int] = []  # effects in flight when the last kernel died
    vacant: list[Vacancy] = []  # places to fill
    hungry: list[str] = []  # devices with a free slot and a queue


def encode(state: State) -> bytes:
    """The state as bytes; two states are the same exactly when these are."""
    return _ENCODER.encode(state)


def decode(body: bytes) -> State:
    """The state a snapshot holds."""
    return _DECODER.decode(body)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(State)
