"""One order's record: its facts folded once, each part with the sequence numbers it rests on.

    facts ──fold──> Record ──> answers ──> receipt, report
                          └──> orders, timeline

Rule 1: nothing is judged here; the record only brings together what belongs together.
Rule 2: what stands is the last presentation: an attestation or a finding about an earlier one stays on record and
        speaks for nothing any more.
"""

from collections.abc import Iterable

import msgspec

from agentos.abi.budget import NOTHING, Amounts
from agentos.abi.effects import Checked, Moved, MoveRef, RunCheck
from agentos.abi.events import AnyEvent
from agentos.abi.events.call import CallAnswered, CallRefused, EffectSettled
from agentos.abi.events.ipc import ArtifactAttached, CapabilityMinted, CapabilityRevoked, MailSent, MailTaken
from agentos.abi.events.process import AccountOpened, AccountRaised, ProcessSpawned
from agentos.abi.events.work import (
    AttemptBegun,
    AttemptEnded,
    ClosingBegun,
    ContentAttested,
    ContentPresented,
    CopyMade,
    EvidenceFound,
    OrderCancelled,
    OrderClosed,
    OrderEscalated,
    OrderJudged,
    OrderProved,
    OrderReady,
    OrderResumed,
    OrderSubmitted,
    OrderVerified,
    PresentationAsked,
    ProvingBegun,
    QuestionAsked,
    QuestionDecided,
    VerifyingBegun,
)
from agentos.abi.ids import KERNEL, Digest, OrderId
from agentos.abi.replies import Artifact, Ordered
from agentos.abi.work import Change, Contract, Finding, Verdict
from agentos.views.base import Fact, about
from agentos.views.ledger import Ledger
from agentos.views.processes import Processes
from agentos.views.processes import Row as Process

# The state an order is in after an event; OrderVerified depends on its verdict and is told apart in `state_after`.
STATES: dict[type, str] = {
    OrderSubmitted: "submitted",
    ProvingBegun: "proving",
    OrderReady: "ready",
    AttemptBegun: "starting",
    CopyMade: "executing",
    AttemptEnded: "ready",
    PresentationAsked: "sealing",
    ContentPresented: "presented",
    VerifyingBegun: "verifying",
    ClosingBegun: "closing",
    OrderClosed: "closed",
    OrderJudged: "judged",
    OrderCancelled: "cancelled",
    OrderEscalated: "escalated",
    OrderResumed: "ready",
}
OVER = ("closed", "judged", "cancelled")


def state_after(event: AnyEvent, state: str) -> str:
    """An order's state after an event about it."""
    if isinstance(event, OrderVerified):
        return "gating" if event.verdict == Verdict.PASSED else "executing"
    return STATES.get(type(event), state)


class Held(msgspec.Struct):
    """A capability in the hands of one of the order's processes."""

    capability: int
    holder: str
    right: str
    selector: str
    uses_max: int
    parent: int
    giver: str  # pid of the holder it was derived from; "" when that is not among the facts
    seq: int
    revoked_seq: int = 0


class Found(msgspec.Struct):
    """A check's finding, and whether it was asked to show that it can fail."""

    finding: Finding
    is_probed: bool
    seq: int


class Asked(msgspec.Struct):
    """A question to a person."""

    question: int
    kind: str
    text: str
    choices: tuple[str, ...]
    pid: str
    content: str
    seq: int
    at_ns: int
    reason: str = ""  # of an escalation
    detail: str = ""
    choice: str = ""
    said: str = ""
    by: str = ""
    decided_seq: int = 0
    decided_at_ns: int = 0


class Attested(msgspec.Struct):
    event: ContentAttested
    seq: int


class Presentation(msgspec.Struct):
    """One thing presented, and what was said of it."""

    by: str
    seq: int
    at_ns: int
    claim: str = ""
    change: Change | None = None
    change_seq: int = 0
    findings: list[Found] = []
    verified: OrderVerified | None = None
    verified_seq: int = 0
    attestations: list[Attested] = []


class Denied(msgspec.Struct):
    """A call that was refused."""

    seq: int
    pid: str
    call: str
    name: str
    kind: str
    text: str
    rule: str


class Read(msgspec.Struct):
    """Content that reached one of the order's processes."""

    kind: str  # artifact | mail
    name: str
    content: str
    pid: str
    seq: int


class Record(msgspec.Struct):
    """Everything the facts say of one order."""

    order: str
    state: str = ""
    submitted: OrderSubmitted | None = None
    submitted_seq: int = 0
    submitted_by_seqs: list[int] = []
    began_at_ns: int = 0
    ended_at_ns: int = 0
    last_at_ns: int = 0
    last_seq: int = 0
    over: OrderClosed | OrderJudged | OrderCancelled | None = None
    over_seq: int = 0
    processes: Processes = msgspec.field(default_factory=Processes)
    people: dict[str, ProcessSpawned] = {}  # all processes, the order's or not: who a giver is
    ledger: Ledger = msgspec.field(default_factory=Ledger)
    limit: Amounts = NOTHING
    raises: list[tuple[int, Amounts, str]] = []  # sequence, amount, pid that raised
    held: dict[int, Held] = {}
    proofs: list[Found] = []
    attempts: list[tuple[int, int]] = []  # number, sequence
    failures: list[tuple[int, str]] = []  # sequence, why an attempt ended without a result
    presentations: list[Presentation] = []
    questions: dict[int, Asked] = {}
    artifacts: list[tuple[int, ArtifactAttached]] = []
    reads: list[Read] = []
    denials: list[Denied] = []
    ref: str = ""  # the branch that was moved
    ref_seq: int = 0
    resumed_seqs: list[int] = []
    events: int = 0
    probes: dict[tuple[str, str], bool] = {}  # check and tree: was the run probed
    mails: dict[int, MailSent] = {}

    @property
    def contract(self) -> Contract:
        return self.submitted.contract if self.submitted is not None else Contract()

    @property
    def standing(self) -> Presentation | None:
        """The presentation that counts: the last one that was sealed."""
        sealed = [row for row in self.presentations if row.change is not None]
        return sealed[-1] if sealed else None

    @property
    def open_questions(self) -> list[Asked]:
        """What waits for a person. An order that is over asks nothing any more."""
        return [] if self.state in OVER else [row for row in self.questions.values() if not row.decided_seq]

    @property
    def own(self) -> list[Process]:
        """The processes that worked for it, oldest first."""
        return [row for row in self.processes.rows.values() if row.order == self.order]

    def role(self, pid: str) -> str:
        spawned = self.people.get(pid)
        return spawned.spec.role if spawned is not None else "kernel" if pid == KERNEL else ""

    def principal(self, pid: str) -> str:
        spawned = self.people.get(pid)
        return spawned.principal if spawned is not None else pid

    def is_person(self, pid: str) -> bool:
        return pid in self.people and self.people[pid].spec.program.startswith("person:")


def fold(order: OrderId, facts: Iterable[Fact]) -> Record:
    """The record of one order, out of its own facts or a whole journal. O(facts)."""
    record = Record(order)
    holders: dict[int, str] = {}
    for fact in about(order, _watched(facts, record, holders)):
        record.events += 1
        record.last_at_ns, record.last_seq = fact.at_ns, fact.seq
        if not record.began_at_ns:
            record.began_at_ns = fact.at_ns
        if getattr(fact.event, "order", None) == order:
            record.state = state_after(fact.event, record.state)
        record.processes.take(fact)
        record.ledger.take(fact)
        _take(record, fact, holders)
    return record


def _watched(facts: Iterable[Fact], record: Record, holders: dict[int, str]) -> Iterable[Fact]:
    """The facts as they are; on the way, who holds what anywhere, since what is granted comes from outside the order."""
    for fact in facts:
        event = fact.event
        if isinstance(event, CapabilityMinted):
            holders[event.capability] = event.holder
        elif isinstance(event, ProcessSpawned):
            record.people[event.pid] = event
            record.ledger.roles[event.pid] = event.spec.role
        yield fact


def _take(record: Record, fact: Fact, holders: dict[int, str]) -> None:
    event = fact.event
    match event:
        case OrderSubmitted():
            record.submitted, record.submitted_seq, record.began_at_ns = event, fact.seq, fact.at_ns
            record.limit = event.contract.budget
        case AccountOpened(owner=owner) if owner == record.order:
            record.limit = event.limit
        case AccountRaised() if record.submitted is not None and event.account == record.submitted.account:
            record.limit = record.limit.plus(event.by)
            record.raises.append((fact.seq, event.by, fact.caller))
        case CapabilityMinted():
            record.held[event.capability] = Held(
                event.capability,
                event.holder,
                event.grant.right,
                event.grant.selector,
                event.grant.uses_max,
                event.parent,
                holders.get(event.parent, ""),
                fact.seq,
            )
        case CapabilityRevoked() if event.capability in record.held:
            record.held[event.capability].revoked_seq = fact.seq
        case CallAnswered() | CallRefused():
            _answered(record, fact, event)
        case EffectSettled():
            _settled(record, fact, event)
        case ArtifactAttached():
            record.artifacts.append((fact.seq, event))
        case MailSent():
            record.mails[event.mail] = event
        case MailTaken() if event.mail in record.mails and record.mails[event.mail].body is not None:
            mail = record.mails[event.mail]
            record.reads.append(Read("mail", mail.kind, mail.body or "", event.by, fact.seq))
        case OrderClosed() | OrderJudged() | OrderCancelled():
            record.over, record.over_seq, record.ended_at_ns = event, fact.seq, fact.at_ns
        case OrderResumed():
            record.resumed_seqs.append(fact.seq)
        case _:
            _judged(record, fact)


def _answered(record: Record, fact: Fact, event: CallAnswered | CallRefused) -> None:
    if isinstance(event, CallRefused):
        refusal = event.refusal
        record.denials.append(
            Denied(
                fact.seq,
                event.id.pid,
                str(event.id),
                event.name,
                type(refusal).__name__.lower(),
                str(refusal),
                refusal.rule,
            )
        )
    elif isinstance(event.reply, Artifact) and event.name == "find":  # attaching is answered with one, too
        reply = event.reply
        record.reads.append(Read("artifact", reply.name, reply.content, event.id.pid, fact.seq))
    elif isinstance(event.reply, Ordered):
        record.submitted_by_seqs.append(fact.seq)


def _settled(record: Record, fact: Fact, event: EffectSettled) -> None:
    entry = record.ledger.entries[event.effect]
    if event.is_late or entry.what is None:
        return
    if isinstance(entry.what, RunCheck) and isinstance(event.outcome, Checked):
        record.probes[entry.what.check.name, event.outcome.finding.tree] = entry.what.is_probed
    if isinstance(entry.what, MoveRef) and isinstance(event.outcome, Moved):
        record.ref, record.ref_seq = entry.what.ref, fact.seq


def _judged(record: Record, fact: Fact) -> None:
    """The events of proving, attempts, presentations, judgement and people's word."""
    event = fact.event
    last = record.presentations[-1] if record.presentations else None
    match event:
        case OrderProved(finding=finding):
            record.proofs.append(Found(finding, False, fact.seq))
        case AttemptBegun(attempt=number):
            record.attempts.append((number, fact.seq))
        case AttemptEnded(reason=reason):
            record.failures.append((fact.seq, reason))
        case PresentationAsked(by=by, claim=claim):
            record.presentations.append(Presentation(by, fact.seq, fact.at_ns, claim or ""))
        case ContentPresented(change=change) if last is not None:
            last.change, last.change_seq = change, fact.seq
        case EvidenceFound(finding=finding) if last is not None:
            probed = record.probes.get((finding.check, Digest(finding.tree)), False)
            last.findings.append(Found(finding, probed, fact.seq))
        case OrderVerified() if last is not None:
            last.verified, last.verified_seq = event, fact.seq
        case ContentAttested() if last is not None:
            last.attestations.append(Attested(event, fact.seq))
        case QuestionAsked():
            _asked(record, fact, event)
        case OrderEscalated(question=number):
            record.questions[number] = Asked(
                number, "escalation", "", (), "", "", fact.seq, fact.at_ns, event.reason, event.detail
            )
        case QuestionDecided(question=number) if number in record.questions:
            row = record.questions[number]
            row.choice, row.said, row.by = event.choice, event.text, event.by
            row.decided_seq, row.decided_at_ns = fact.seq, fact.at_ns


def _asked(record: Record, fact: Fact, event: QuestionAsked) -> None:
    """A question; an escalation's comes right after the event that says why."""
    before = record.questions.get(event.question)
    row = Asked(
        event.question,
        event.kind,
        event.text,
        event.choices,
        event.pid,
        event.content or "",
        fact.seq,
        fact.at_ns,
    )
    if before is not None:
        row.reason, row.detail = before.reason, before.detail
    record.questions[event.question] = row


def seqs(*sources: Iterable[int]) -> tuple[int, ...]:
    """Sequence numbers in order, each once; 0 stands for an event that is not there."""
    return tuple(sorted({seq for source in sources for seq in source if seq}))
