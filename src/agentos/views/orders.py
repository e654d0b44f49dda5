"""Work orders in a list: what each is, how it stands, what it has used, and the one thing to do next.

Rule 1: an order's state here is the kernel's, event for event; a test compares the two after every one.
Rule 2: every state has a next step, and it names a command or whom to wait for.
"""

from collections.abc import Iterable

import msgspec

from agentos.abi.budget import NOTHING, Amounts
from agentos.abi.events.call import EffectIntended, EffectRetried, EffectSettled
from agentos.abi.events.process import AccountRaised
from agentos.abi.events.work import (
    AttemptBegun,
    OrderCancelled,
    OrderClosed,
    OrderEscalated,
    OrderJudged,
    OrderSubmitted,
    OrderVerified,
    QuestionAsked,
    QuestionDecided,
)
from agentos.views.base import Fact
from agentos.views.escape import clip, terminal, width
from agentos.views.record import OVER, state_after
from agentos.views.words import money, span


class Step(msgspec.Struct, frozen=True):
    """What comes next: a command for a person to run, or "" when nobody has to do anything, and why."""

    command: str
    why: str


# State to (command, why). "{order}" is put in. `next_step` says when another row is taken.
_NEXT = {
    "submitted": ("", "its checks are about to be run on the base"),
    "proving": ("", "its checks are being run on the base: they must be red"),
    "ready": ("", "it waits for its worker"),
    "starting": ("", "a working copy is being made"),
    "executing": ("", "a worker is at it"),
    "sealing": ("", "what was presented is being sealed"),
    "presented": ("", "what was presented is about to be checked"),
    "verifying": ("", "its checks are being run on exactly what was presented"),
    "gating": ("", "it waits for its gatekeeper"),
    "closing": ("", "its branch is being moved"),
    "escalated": ("agentos inbox", "it waits for your word"),
    "closed": ("agentos apply {order}", "take the commit over"),
    "judged": ("agentos show {order}", "see what was found"),
    "cancelled": ("agentos show {order}", "see how far it came"),
}
_ASKED = ("agentos inbox", "it has a question for you")
_NO_BRANCH = ("agentos show {order}", "see the sealed commit")


def next_step(order: str, state: str, *, questions: int = 0, has_repository: bool = True) -> Step:
    """The one thing to do next about an order."""
    command, why = _NEXT.get(state, ("agentos show {order}", "see its record"))
    if questions and state not in OVER and state != "escalated":
        command, why = _ASKED
    if state == "closed" and not has_repository:
        command, why = _NO_BRANCH
    return Step(command.replace("{order}", order), why)


class Row(msgspec.Struct):
    """One order."""

    order: str
    title: str
    author: str
    state: str
    account: int
    has_repository: bool
    opened_at_ns: int
    changed_at_ns: int
    attempt: int = 0
    attempts_max: int = 0
    verdict: str = ""
    reason: str = ""
    budget: Amounts = NOTHING
    reserved: Amounts = NOTHING  # in flight now
    cost: Amounts = NOTHING  # settled and written off
    questions: list[int] = []  # that wait for a person
    commit: str = ""
    seq: int = 0  # of its last change of state

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    @property
    def next(self) -> Step:
        return next_step(self.order, self.state, questions=len(self.questions), has_repository=self.has_repository)


class Orders:
    """The orders of the facts it has taken, oldest first."""

    def __init__(self, facts: Iterable[Fact] = ()) -> None:
        self.rows: dict[str, Row] = {}
        self._accounts: dict[int, Row] = {}
        self._effects: dict[int, tuple[Row, Amounts]] = {}
        self._questions: dict[int, Row] = {}
        for fact in facts:
            self.take(fact)

    def take(self, fact: Fact) -> None:
        """Fold one fact in."""
        event = fact.event
        match event:
            case OrderSubmitted():
                self._submitted(fact, event)
            case EffectIntended() | EffectSettled() | EffectRetried():
                self._effect(event)
            case AccountRaised(account=account, by=by) if account in self._accounts:
                self._accounts[account].budget = self._accounts[account].budget.plus(by)
            case QuestionDecided(question=number) if number in self._questions:
                self._questions.pop(number).questions.remove(number)
            case _:
                row = self.rows.get(getattr(event, "order", None) or "")
                if row is not None:
                    self._moved(row, fact)

    def _submitted(self, fact: Fact, event: OrderSubmitted) -> None:
        row = Row(
            order=event.order,
            title=event.title,
            author=event.author,
            state="submitted",
            account=event.account,
            has_repository=bool(event.contract.repository),
            opened_at_ns=fact.at_ns,
            changed_at_ns=fact.at_ns,
            attempts_max=event.contract.attempts_max,
            budget=event.contract.budget,
            seq=fact.seq,
        )
        self.rows[event.order] = self._accounts[event.account] = row

    def _effect(self, event: EffectIntended | EffectSettled | EffectRetried) -> None:
        if isinstance(event, EffectIntended):
            row = self.rows.get(event.order or "")
            if row is not None:
                self._effects[event.effect] = (row, event.reserved)
                row.reserved = row.reserved.plus(event.reserved)
            return
        row, reserved = self._effects.get(event.effect, (None, NOTHING))
        if row is None:
            return
        if isinstance(event, EffectRetried):
            row.cost = row.cost.plus(event.written_off)
            return
        row.cost = row.cost.plus(event.spent)
        if not event.is_late:
            row.reserved = row.reserved.minus(reserved)
            self._effects[event.effect] = (row, NOTHING)

    def _moved(self, row: Row, fact: Fact) -> None:
        event = fact.event
        state = state_after(event, row.state)
        if state != row.state:
            row.state, row.changed_at_ns, row.seq = state, fact.at_ns, fact.seq
        match event:
            case AttemptBegun(attempt=number):
                row.attempt = number
            case OrderVerified(verdict=verdict, reason=reason):
                row.verdict, row.reason = verdict.value, reason.value
            case OrderJudged(verdict=verdict, reason=reason):
                row.verdict, row.reason = verdict.value, reason.value
            case OrderEscalated(reason=why):
                row.reason = why
            case OrderClosed(commit=commit):
                row.commit = commit
            case QuestionAsked(question=number):
                row.questions.append(number)
                self._questions[number] = row
        if isinstance(event, OrderClosed | OrderJudged | OrderCancelled):
            for number in row.questions:
                self._questions.pop(number, None)
            row.questions = []


def rows(facts: Iterable[Fact], *, is_over_shown: bool = True) -> list[Row]:
    """The orders, oldest first."""
    return [row for row in Orders(facts).rows.values() if is_over_shown or not row.is_over]


def render(table: list[Row], now_ns: int, columns: int = 110) -> str:
    """The list as text. The title gives way to the rest."""
    steps = [terminal(row.next.command or row.next.why, 60) for row in table]
    room = max(columns - 53 - max(map(len, steps), default=4), 16)
    lines = [f"{'ORDER':<8}{'STATE':<11}{'AGE':>13}  {'COST':>7} {'OF':>7}  {'TITLE':<{room}}  NEXT"]
    for row, step in zip(table, steps, strict=True):
        title = clip(row.title, room)
        lines.append(
            f"{row.order:<8}{row.state:<11}{span(now_ns - row.opened_at_ns):>13}  "
            f"{money(row.cost.uusd):>7} {money(row.budget.uusd):>7}  {title}{' ' * (room - width(title))}  {step}"
        )
    return "\n".join(lines)
