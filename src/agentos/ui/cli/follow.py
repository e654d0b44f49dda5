"""An order watched to its end, in one line that tells where it stands.

Rule 1: watching changes nothing. Whoever stops watching stops nothing, and is told the way back.
Rule 2: the exit status is that of the order: 0 when it is closed or passed, and never otherwise.
"""

from collections.abc import Iterable
from typing import NamedTuple

from agentos.abi.events import work
from agentos.abi.events.call import EffectIntended
from agentos.abi.events.process import ProcessSpawned
from agentos.abi.ids import OrderId
from agentos.abi.work import Verdict
from agentos.ui.cli import table
from agentos.ui.cli.screen import Screen
from agentos.views import timeline
from agentos.views.base import Fact
from agentos.views.escape import clip
from agentos.views.orders import Orders
from agentos.views.words import money

# Reasons of an escalation or a cancellation that mean: there is no more money, time or room.
_USED_UP = ("budget", "exhausted", "overdue", "limit")
_VERDICTS = {Verdict.PASSED: table.OK, Verdict.FAILED: table.FAILED, Verdict.UNVERIFIED: table.UNVERIFIED}


class End(NamedTuple):
    """Where an order stood when we stopped watching."""

    state: str  # closed | judged | cancelled | escalated | asked | open
    exit: int
    reason: str = ""
    question: int = 0


class Watch:
    """The facts of one order as they come."""

    def __init__(self, order: str) -> None:
        self.order = order
        self._orders = Orders()
        self._names: list[Fact] = []  # what a line needs to know to name others
        self.line = ""
        self.is_news = False  # the last fact has a line of its own

    def take(self, fact: Fact) -> End | None:
        """Fold one fact in; the end, if this was it."""
        self._orders.take(fact)
        shown = timeline.lines([*self._names, fact])
        self.is_news = bool(shown) and shown[-1].seq == fact.seq
        if self.is_news:
            self.line = f"{shown[-1].who}: {shown[-1].text}"
        if not self._names or isinstance(fact.event, ProcessSpawned | EffectIntended):
            self._names.append(fact)
        return end_of(fact, self.order)

    def told(self, columns: int) -> str:
        """Where it stands, in one line."""
        row = self._orders.rows.get(self.order)
        if row is None:
            return clip(f"{self.order}  {self.line}", columns)
        spent = f"{money(row.cost.uusd)} of {money(row.budget.uusd)}" if row.budget.uusd else ""
        attempt = f"attempt {row.attempt}" if row.attempt > 1 else ""
        head = "  ".join(part for part in (self.order, row.state, attempt, spent) if part)
        return clip(f"{head}  {self.line}", columns)


def end_of(fact: Fact, order: str) -> End | None:
    """Whether this fact ends the watching of an order, and how."""
    event = fact.event
    if getattr(event, "order", None) != order:
        return None
    match event:
        case work.OrderClosed():
            return End("closed", table.OK)
        case work.OrderJudged(verdict=verdict, reason=reason):
            return End("judged", _VERDICTS[verdict], reason.value)
        case work.OrderCancelled(reason=reason):
            return End("cancelled", _stopped(reason, table.FAILED), reason)
        case work.OrderEscalated(reason=reason, question=question):
            return End("escalated", _stopped(reason, table.WAITING), reason, question)
        case work.QuestionAsked(question=question, kind=kind) if kind != "escalation":
            return End("asked", table.WAITING, kind, question)
    return None


def _stopped(reason: str, otherwise: int) -> int:
    return table.EXHAUSTED if any(word in reason.lower() for word in _USED_UP) else otherwise


def follow(facts: Iterable[Fact], order: OrderId, screen: Screen) -> End:
    """Watch until the order ends or waits for a person. KeyboardInterrupt goes through."""
    watch = Watch(order)
    try:
        for fact in facts:
            end = watch.take(fact)
            if screen.is_painting or watch.is_news:
                screen.progress(watch.told(screen.columns))
            if end is not None:
                return end
    finally:
        screen.clear()
    return End("open", table.UNREACHABLE)


def standing(facts: Iterable[Fact], order: str) -> End:
    """How an order stands by its facts: its last end, unless it went on after that."""
    end = End("open", table.OK)
    for fact in facts:
        if isinstance(fact.event, work.OrderResumed | work.QuestionDecided):
            end = End("open", table.OK)
        end = end_of(fact, order) or end
    return end
