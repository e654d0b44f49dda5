"""What happened, line by line, for people: of an order, of a process, or of everything.

Rule 1: every event has its words in `WORDS`, and a test says so. Which of them a person wants to read unasked is in the
        same table; `is_full` shows all.
Rule 2: times are relative to the first fact shown, for that is what a reader compares.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from agentos.abi.budget import Amounts
from agentos.abi.effects import (
    Answered,
    AnyEffect,
    AnyOutcome,
    Applied,
    ApplyChange,
    Cancelled,
    Checked,
    CheckedOut,
    Checkout,
    Failed,
    Generate,
    Moved,
    MoveRef,
    RunCheck,
    RunTool,
    Seal,
    Sealed,
    ToolEnded,
    Unknown,
)
from agentos.abi.events import call as calls
from agentos.abi.events import ipc, process, work
from agentos.abi.ids import OrderId
from agentos.views.base import Fact, about
from agentos.views.escape import clip, terminal
from agentos.views.words import count, few, money, short, span

DETAIL_CHARS_MAX = 160  # two terminal lines of somebody's words


class Line(NamedTuple):
    seq: int
    at_ns: int
    since_ns: int  # since the first fact
    who: str  # role and pid, a principal, or "kernel"
    tone: str  # "" | good | bad | doubtful | faint
    text: str  # escaped


class _Names:
    """Who is who, as far as the facts have told by now."""

    def __init__(self) -> None:
        self.roles: dict[str, str] = {}
        self.people: dict[str, str] = {}
        self.effects: dict[int, AnyEffect] = {}

    def take(self, fact: Fact) -> None:
        event = fact.event
        if isinstance(event, process.ProcessSpawned):
            self.roles[event.pid] = event.spec.role
            if event.spec.program.startswith("person:"):
                self.people[event.pid] = event.principal
        elif isinstance(event, calls.EffectIntended):
            self.effects[event.effect] = event.what

    def of(self, pid: str) -> str:
        if pid == "0.0":
            return "kernel"
        return terminal(self.people.get(pid) or f"{self.roles.get(pid, 'process')} {pid}", 40)

    def effect(self, number: int) -> str:
        what = self.effects.get(number)
        return f"{_effect(what)} (effect {number})" if what is not None else f"effect {number}"


def _applied(event: work.ChangeApplied, names: "_Names") -> str:
    did = "applied" if event.receipt else "took back"
    return f"{did} {event.order}: {terminal(few(event.paths), DETAIL_CHARS_MAX) or 'nothing was changed by it'}"


class Words(NamedTuple):
    """How an event is told."""

    text: Callable[[Any, _Names], str]
    tone: str = ""
    is_brief: bool = True  # told unasked
    who: str = ""  # field that holds the pid the line is about; "": whoever called


def _effect(what: AnyEffect) -> str:
    match what:
        case Generate(backend=backend):
            return f"ask {terminal(backend, 40) or 'a model'}"
        case RunTool(tool=tool):
            return f"tool {terminal(tool, 40)}"
        case Checkout(commit=commit):
            return f"check out {short(commit)}"
        case Seal():
            return "seal the working copy"
        case RunCheck(check=check, commit=commit):
            return f"check {terminal(check.name, 40)} on {short(commit)}"
        case MoveRef(ref=ref, commit=commit):
            return f"move {terminal(ref, 60)} to {short(commit)}"
        case ApplyChange(commit=commit, undoes=undoes):
            return f"take {short(commit)} out of the checkout" if undoes else f"bring {short(commit)} into the checkout"


def outcome(result: AnyOutcome) -> str:
    """An outcome in a few words."""
    match result:
        case Answered(usage=usage, model=model):
            return f"{terminal(model, 40) or 'the model'} answered, {usage.tokens:,} tokens"
        case ToolEnded(is_error=is_error):
            return "ended with an error" if is_error else "done"
        case CheckedOut():
            return "checked out"
        case Applied(paths=paths):
            return f"{len(paths)} {'file' if len(paths) == 1 else 'files'} changed in the checkout"
        case Sealed(change=change):
            return f"sealed as {short(change.commit)}, {count(len(change.paths), 'file')}"
        case Checked(finding=finding):
            return f"{finding.verdict.value} ({finding.reason.value})"
        case Moved():
            return "moved"
        case Failed(fact=fact):
            return f"failed: {terminal(fact, DETAIL_CHARS_MAX)}"
        case Cancelled():
            return "cancelled"
        case Unknown(fact=fact):
            return f"nobody knows: {terminal(fact, DETAIL_CHARS_MAX)}"


def _cost(spent: Amounts) -> str:
    return f", {money(spent.uusd)}" if spent.uusd else ""


def _said(text: str) -> str:
    return f": {terminal(text, DETAIL_CHARS_MAX)}" if text else ""


def _finding(event: Any, names: _Names) -> str:
    finding = event.finding
    where = "on the base" if isinstance(event, work.OrderProved) else "on what was presented"
    tests = (
        f", {len(finding.failed)} failed and {len(finding.passed)} passed" if finding.failed or finding.passed else ""
    )
    return f"check {terminal(finding.check, 40)} {where}: {finding.verdict.value} ({finding.reason.value}){tests}"


def _presented(event: Any, names: _Names) -> str:
    change = event.change
    lines = f"+{change.lines_added} -{change.lines_removed}"
    paths = few([terminal(path, 60) for path in change.paths])
    return f"presented {short(change.commit)}: {count(len(change.paths), 'file')} {lines} {paths}".strip()


def _spawned(event: Any, names: _Names) -> str:
    place = f" in place of {event.replaces}" if event.replaces else ""
    return f"started {terminal(event.spec.role, 40)} {event.pid} ({terminal(event.spec.program, 60)}){place}"


def _parked(event: Any, names: _Names) -> str:
    return f"{event.name} waits for {event.kind} {terminal(event.target, 60)}"


def _attested(event: Any, names: _Names) -> str:
    return (
        f"judged {short(event.content)} as {terminal(event.check, 40)}: {event.verdict.value}, {event.grade}"
        + _said(event.reason)
    )


def _mail(event: Any, names: _Names) -> str:
    return f"sent mail {event.mail} ({terminal(event.kind, 40)}) to {names.of(event.to)}"


def _settled(event: Any, names: _Names) -> str:
    late = "late, " if event.is_late else ""
    return f"{names.effect(event.effect)}: {late}{outcome(event.outcome)}{_cost(event.spent)}"


def _asked(event: Any, names: _Names) -> str:
    choices = f" [{' / '.join(terminal(choice, 30) for choice in event.choices[:6])}]" if event.choices else ""
    return f"question {event.question}, {event.kind}{_said(event.text)}{choices}"


def _retried(event: Any, names: _Names) -> str:
    lost = f", {money(event.written_off.uusd)} written off" if event.written_off.uusd else ""
    return f"{names.effect(event.effect)} is tried again after attempt {event.attempt}{_said(event.reason)}{lost}"


def _lease(event: Any, names: _Names) -> str:
    return f"holds {terminal(event.resource, 60)} with token {event.token}"


WORDS: dict[type, Words] = {
    work.OrderSubmitted: Words(
        lambda e, n: f"submitted {e.order}{_said(e.title)}, {money(e.contract.budget.uusd)} at most", who="by"
    ),
    work.ProvingBegun: Words(lambda e, n: f"{count(e.checks, 'check')} on the base: must be red", "faint", False),
    work.OrderProved: Words(_finding),
    work.OrderReady: Words(lambda e, n: f"{e.order} is ready for work"),
    work.AttemptBegun: Words(lambda e, n: f"attempt {e.attempt} begins", who="by"),
    work.CopyMade: Words(lambda e, n: f"attempt {e.attempt} has its working copy", "faint", False),
    work.AttemptEnded: Words(lambda e, n: f"attempt {e.attempt} ended without a result{_said(e.reason)}", "bad"),
    work.PresentationAsked: Words(lambda e, n: "presents its working copy", "faint", False, "by"),
    work.ContentPresented: Words(_presented, who="by"),
    work.VerifyingBegun: Words(lambda e, n: f"{count(e.checks, 'check')} on what was presented", "faint", False),
    work.EvidenceFound: Words(_finding),
    work.OrderVerified: Words(lambda e, n: f"verdict: {e.verdict.value} ({e.reason.value}){_said(e.detail)}"),
    work.ContentAttested: Words(_attested, who="by"),
    work.OrderEscalated: Words(lambda e, n: f"escalated: {terminal(e.reason, 60)}{_said(e.detail)}", "doubtful"),
    work.OrderResumed: Words(lambda e, n: f"{e.order} goes on"),
    work.ClosingBegun: Words(lambda e, n: "every judgement is in", "faint", False),
    work.OrderClosed: Words(lambda e, n: f"closed {e.order} with commit {short(e.commit)}{_cost(e.spent)}", "good"),
    work.ChangeApplied: Words(_applied),
    work.OrderJudged: Words(lambda e, n: f"judged {e.order}: {e.verdict.value} ({e.reason.value}){_cost(e.spent)}"),
    work.OrderCancelled: Words(lambda e, n: f"cancelled {e.order}{_said(e.reason)}{_cost(e.spent)}", "bad"),
    work.QuestionAsked: Words(_asked, "doubtful", who="pid"),
    work.QuestionWithdrawn: Words(lambda e, n: f"question {e.question} needs no answer any more{_said(e.reason)}"),
    work.QuestionDecided: Words(
        lambda e, n: f"{terminal(e.by, 40)} decided question {e.question}: {terminal(e.choice, 60)}{_said(e.text)}"
    ),
    process.ProcessSpawned: Words(_spawned, who="parent"),
    process.ProcessLaunched: Words(
        lambda e, n: f"runs, incarnation {e.incarnation}{_said(e.reason)}", "faint", False, "pid"
    ),
    process.ProcessExited: Words(lambda e, n: f"ended with status {e.status}{_said(e.reason)}", "faint", True, "pid"),
    process.ProcessReaped: Words(lambda e, n: "is gone", "faint", False, "pid"),
    process.PlaceDropped: Words(lambda e, n: f"the place of {e.pid} is not filled", "faint", False),
    process.ProcessSignalled: Words(lambda e, n: f"got {e.signal.value} from {n.of(e.by)}", "doubtful", True, "pid"),
    process.ProcessCheckpointed: Words(lambda e, n: f"checkpoint at call {e.n}", "faint", False, "pid"),
    process.ProcessBeaten: Words(lambda e, n: f"{count(len(e.pids), 'heartbeat')}", "faint", False),
    process.ProcessNoted: Words(
        lambda e, n: terminal(e.text, DETAIL_CHARS_MAX) + (f" [{terminal(e.phase, 20)}]" if e.phase else ""), who="pid"
    ),
    process.ProcessRestarted: Words(lambda e, n: f"restarts its child {n.of(e.child)}", "doubtful", True, "supervisor"),
    process.AccountOpened: Words(
        lambda e, n: f"account {e.account} of {terminal(e.owner, 40)}, {money(e.limit.uusd)} at most", "faint", False
    ),
    process.AccountRaised: Words(lambda e, n: f"account {e.account} raised by {money(e.by.uusd)}", "doubtful"),
    process.AccountClosed: Words(lambda e, n: f"account {e.account} closed", "faint", False),
    calls.CallAnswered: Words(lambda e, n: f"{e.name} answered", "faint", False, "id"),
    calls.CallRefused: Words(
        lambda e, n: f"{e.name} refused, {type(e.refusal).__name__.lower()}{_said(str(e.refusal))}", "bad", True, "id"
    ),
    calls.CallParked: Words(_parked, "faint", False, "id"),
    calls.EffectIntended: Words(
        lambda e, n: f"wants to {_effect(e.what)} (effect {e.effect}){_cost(e.reserved)}", "faint", False, "pid"
    ),
    calls.EffectDispatched: Words(lambda e, n: f"{n.effect(e.effect)} begins, attempt {e.attempt}", "faint", False),
    calls.EffectSettled: Words(_settled, "", False),
    calls.EffectRetried: Words(_retried, "doubtful"),
    calls.EffectOrphaned: Words(lambda e, n: f"{n.effect(e.effect)}: nobody knows whether it happened", "bad"),
    calls.KernelBooted: Words(lambda e, n: f"the kernel started, epoch {e.epoch}", "doubtful"),
    calls.TimerSet: Words(lambda e, n: f"timer {e.timer} for {e.kind}", "faint", False),
    calls.TimerFired: Words(lambda e, n: f"timer {e.timer} is due", "faint", False),
    ipc.MailSent: Words(_mail, "faint", False, "sender"),
    ipc.MailTaken: Words(lambda e, n: f"took mail {e.mail}", "faint", False, "by"),
    ipc.ChannelOpened: Words(lambda e, n: f"opened channel {terminal(e.channel, 60)}", "faint", False, "by"),
    ipc.ChannelJoined: Words(lambda e, n: f"subscribed to {terminal(e.channel, 60)}", "faint", False, "pid"),
    ipc.ChannelPublished: Words(lambda e, n: f"published on {terminal(e.channel, 60)}", "faint", False, "sender"),
    ipc.ArtifactAttached: Words(
        lambda e, n: f"attached {terminal(e.name, 60)} ({short(e.content)}, {e.body_bytes:,} bytes)", who="author"
    ),
    ipc.LeaseGranted: Words(_lease, "faint", False, "holder"),
    ipc.LeaseQueued: Words(lambda e, n: f"waits for {terminal(e.resource, 60)}", "faint", False, "pid"),
    ipc.LeaseEnded: Words(
        lambda e, n: f"lease {terminal(e.resource, 60)} token {e.token} ended{_said(e.reason)}", "faint", False
    ),
    ipc.CapabilityMinted: Words(
        lambda e, n: f"holds the right to {e.grant.right.value} {terminal(e.grant.selector, 60)}",
        "faint",
        False,
        "holder",
    ),
    ipc.CapabilityUsed: Words(lambda e, n: f"capability {e.capability} used", "faint", False),
    ipc.CapabilityRevoked: Words(lambda e, n: f"capability {e.capability} revoked", "doubtful", True, "by"),
}

_VERDICT_TONES = {"passed": "good", "failed": "bad", "unverified": "doubtful"}


def lines(facts: Iterable[Fact], *, order: OrderId | None = None, pid: str = "", is_full: bool = False) -> list[Line]:
    """The lines of an order, of a process (its calls, and what happened to it), or of all facts."""
    names = _Names()
    chosen = about(order, _named(facts, names)) if order is not None else _named(facts, names)
    shown: list[Line] = []
    began_at_ns: int | None = None
    for fact in chosen:
        words = WORDS[type(fact.event)]
        about_pid = _who(fact, words)
        if pid and pid not in (about_pid, fact.caller):
            continue
        if began_at_ns is None:
            began_at_ns = fact.at_ns
        if words.is_brief or is_full:
            text = words.text(fact.event, names)
            since_ns = fact.at_ns - began_at_ns
            shown.append(Line(fact.seq, fact.at_ns, since_ns, names.of(about_pid), _tone(fact.event, words), text))
    return shown


def _named(facts: Iterable[Fact], names: _Names) -> Iterable[Fact]:
    for fact in facts:
        names.take(fact)
        yield fact


def _who(fact: Fact, words: Words) -> str:
    """The process a line is about."""
    if words.who == "id":
        return str(fact.event.id.pid)  # type: ignore[union-attr]
    if words.who:
        return str(getattr(fact.event, words.who))
    return fact.caller or "0.0"


def _tone(event: Any, words: Words) -> str:
    """An event that carries a verdict takes its tone from that. Red on the base is good news."""
    if isinstance(event, work.OrderProved):
        return {"failed": "good", "passed": "bad"}.get(event.finding.verdict.value, "doubtful")
    verdict = getattr(event, "verdict", None) or getattr(getattr(event, "finding", None), "verdict", None)
    return _VERDICT_TONES[verdict.value] if verdict is not None else words.tone


def render(rows: list[Line], *, columns: int = 100, style: Callable[[str, str], str] | None = None) -> str:
    """The lines as text."""
    out = []
    for row in rows:
        head = f"{'+' + span(row.since_ns):>13}  {clip(row.who, 16):<16}  "
        text = clip(row.text, max(columns - len(head), 20))
        out.append(head + (style(row.tone, text) if style is not None and row.tone else text))
    return "\n".join(out)
