"""Work orders: each transition a fact."""

from agentos.abi.budget import Amounts
from agentos.abi.events.base import Event
from agentos.abi.ids import AccountId, CallId, Digest, OrderId, Pid, Principal
from agentos.abi.work import Change, Contract, Finding, Reason, Verdict


class OrderSubmitted(Event, frozen=True, tag="order.submitted"):
    order: OrderId
    title: str
    text: Digest
    contract: Contract
    author: Principal
    by: Pid
    account: AccountId


class OrderProved(Event, frozen=True, tag="order.proved"):
    """What a check says of the base, before any work."""

    order: OrderId
    finding: Finding


class ProvingBegun(Event, frozen=True, tag="proving.begun"):
    """The checks are being run on the base: red first."""

    order: OrderId
    checks: int


class OrderReady(Event, frozen=True, tag="order.ready"):
    """Its checks are red where they must be; work may begin."""

    order: OrderId


class AttemptBegun(Event, frozen=True, tag="attempt.begun"):
    order: OrderId
    attempt: int
    by: Pid
    call: CallId | None = None  # waits for the working copy


class CopyMade(Event, frozen=True, tag="copy.made"):
    """The attempt has its working copy."""

    order: OrderId
    attempt: int


class AttemptEnded(Event, frozen=True, tag="attempt.ended"):
    """No result from this attempt; the order is ready for another."""

    order: OrderId
    attempt: int
    reason: str


class ContentPresented(Event, frozen=True, tag="content.presented"):
    """What the worker presented, as the kernel sealed it."""

    order: OrderId
    attempt: int
    by: Pid
    change: Change


class PresentationAsked(Event, frozen=True, tag="presentation.asked"):
    """The working copy is being sealed. The claim is on record and decides nothing."""

    order: OrderId
    by: Pid
    claim: Digest | None = None
    call: CallId | None = None  # waits for the verdict


class VerifyingBegun(Event, frozen=True, tag="verifying.begun"):
    """The kernel's own checks are running on exactly what was presented."""

    order: OrderId
    checks: int


class EvidenceFound(Event, frozen=True, tag="evidence.found"):
    """What a check says of the content presented."""

    order: OrderId
    finding: Finding


class OrderVerified(Event, frozen=True, tag="order.verified"):
    """All checks have spoken."""

    order: OrderId
    content: Digest
    verdict: Verdict
    reason: Reason
    detail: str = ""


class ContentAttested(Event, frozen=True, tag="content.attested"):
    """Somebody who had no hand in it has judged exactly this content."""

    order: OrderId
    content: Digest
    check: str
    verdict: Verdict
    reason: str
    by: Pid
    principal: Principal
    family: str = ""
    grade: str = "independent"  # independent | self-accepted


class OrderEscalated(Event, frozen=True, tag="order.escalated"):
    """A person decides; the question has the choices."""

    order: OrderId
    question: int
    reason: str
    detail: str = ""


class OrderResumed(Event, frozen=True, tag="order.resumed"):
    """A person has decided that it goes on."""

    order: OrderId
    state: str


class ClosingBegun(Event, frozen=True, tag="closing.begun"):
    """Every judgement is in; the branch is being moved."""

    order: OrderId


class OrderClosed(Event, frozen=True, tag="order.closed"):
    """Completed: verified, attested, and on its branch."""

    order: OrderId
    commit: str
    content: Digest
    spent: Amounts


class ChangeApplied(Event, frozen=True, tag="change.applied"):
    """A closed order's change is in its author's checkout, or out of it again."""

    order: OrderId
    receipt: str  # reverses it; "" once it is undone
    paths: tuple[str, ...]
    by: Pid


class OrderJudged(Event, frozen=True, tag="order.judged"):
    """An external change has its verdict, and a verdict was all that was asked for."""

    order: OrderId
    verdict: Verdict
    reason: Reason
    spent: Amounts


class OrderCancelled(Event, frozen=True, tag="order.cancelled"):
    """Ended without a result."""

    order: OrderId
    reason: str
    spent: Amounts


class QuestionAsked(Event, frozen=True, tag="question.asked"):
    """In a person's inbox."""

    question: int
    kind: str  # ask | approval | escalation | unknown
    text: str
    choices: tuple[str, ...]
    pid: Pid
    order: OrderId | None
    content: Digest | None = None  # the exact content an approval is about
    effect: int = 0  # the effect whose outcome is unknown
    call: CallId | None = None  # the call that waits for the answer


class QuestionWithdrawn(Event, frozen=True, tag="question.withdrawn"):
    """Out of the inbox, unanswered: who asked has ended, or what it was about is no longer what is presented."""

    question: int
    reason: str


class QuestionDecided(Event, frozen=True, tag="question.decided"):
    question: int
    choice: str
    text: str
    by: Principal
