"""Effects as a ledger: what was reserved, what was done, what it cost. Cost, orders, answers and traces read it.

Rule 1: every micro-dollar of the journal is in exactly one entry: what settled plus what was written off. An effect
        whose intention is not among the facts still has its entry, of an unknown role and phase.
Rule 2: a late outcome is charged to the entry and changes nothing else of it.
"""

from collections.abc import Iterable

import msgspec

from agentos.abi.budget import NOTHING, Amounts
from agentos.abi.effects import Answered, AnyEffect, AnyOutcome, Generate, RunTool, device
from agentos.abi.events.call import EffectDispatched, EffectIntended, EffectOrphaned, EffectRetried, EffectSettled
from agentos.abi.events.process import ProcessSpawned
from agentos.abi.ids import KERNEL
from agentos.abi.inference import Usage
from agentos.views.base import Fact

UNKNOWN = "unknown"


class Entry(msgspec.Struct):
    """One effect, from intention to outcome."""

    effect: int
    pid: str
    role: str
    phase: str
    order: str
    what: AnyEffect | None  # None: its intention is not among the facts
    call: str = ""  # id of the call that waits for it
    reserved: Amounts = NOTHING
    seq: int = 0
    at_ns: int = 0
    dispatched_at_ns: int = 0
    dispatches: int = 0
    outcome: AnyOutcome | None = None
    settled_seq: int = 0
    settled_at_ns: int = 0
    spent: Amounts = NOTHING
    written_off: Amounts = NOTHING  # reservations of attempts nobody can account for, counted as spent
    late: int = 0  # outcomes that came after the attempt was given up
    is_orphaned: bool = False
    seqs: list[int] = []

    @property
    def backend(self) -> str:
        """What did it: the model backend, "tool:NAME", or the kernel's own device."""
        if isinstance(self.what, Generate):
            return self.what.backend or "default"
        if isinstance(self.what, RunTool):
            return f"tool:{self.what.tool}"
        return device(self.what) if self.what is not None else UNKNOWN

    @property
    def model(self) -> str:
        """The model that served, as its provider names it; "" for what was no model or gave no answer."""
        return self.outcome.model if isinstance(self.outcome, Answered) else ""

    @property
    def usage(self) -> Usage:
        return self.outcome.usage if isinstance(self.outcome, Answered) else Usage()

    @property
    def is_open(self) -> bool:
        return self.outcome is None

    @property
    def cost(self) -> Amounts:
        """What it has cost by now: settled and written off."""
        return self.spent.plus(self.written_off)


class Ledger:
    """All effects of the facts it has taken."""

    def __init__(self, facts: Iterable[Fact] = ()) -> None:
        self.entries: dict[int, Entry] = {}
        self.roles: dict[str, str] = {KERNEL: "kernel"}
        for fact in facts:
            self.take(fact)

    def take(self, fact: Fact) -> None:
        """Fold one fact in."""
        match fact.event:
            case ProcessSpawned(pid=pid, spec=spec):
                self.roles[pid] = spec.role
            case EffectIntended():
                self.entries[fact.event.effect] = self._intended(fact, fact.event)
            case EffectDispatched(effect=number):
                entry = self._entry(number, fact)
                entry.dispatches += 1
                entry.dispatched_at_ns = fact.at_ns
            case EffectRetried(effect=number, written_off=written_off):
                entry = self._entry(number, fact)
                entry.written_off = entry.written_off.plus(written_off)
            case EffectOrphaned(effect=number):
                self._entry(number, fact).is_orphaned = True
            case EffectSettled():
                _settle(self._entry(fact.event.effect, fact), fact, fact.event)

    def _intended(self, fact: Fact, event: EffectIntended) -> Entry:
        return Entry(
            effect=event.effect,
            pid=event.pid,
            role=self.roles.get(event.pid, UNKNOWN),
            phase=event.phase or "unnamed",
            order=event.order or "",
            what=event.what,
            call=str(event.call) if event.call is not None else "",
            reserved=event.reserved,
            seq=fact.seq,
            at_ns=fact.at_ns,
            seqs=[fact.seq],
        )

    def _entry(self, number: int, fact: Fact) -> Entry:
        entry = self.entries.get(number)
        if entry is None:
            entry = Entry(effect=number, pid="", role=UNKNOWN, phase=UNKNOWN, order=fact.order, what=None)
            self.entries[number] = entry
        entry.seqs.append(fact.seq)
        return entry


def _settle(entry: Entry, fact: Fact, event: EffectSettled) -> None:
    entry.spent = entry.spent.plus(event.spent)
    if event.is_late:
        entry.late += 1
        return
    entry.outcome = event.outcome
    entry.settled_seq, entry.settled_at_ns = fact.seq, fact.at_ns


# Names that backends and models of no inference carry, and what to call them.
_UNREAL = {
    "scripted": "scripted model: not real inference",
    "replay": "replayed answers: not live inference",
}


def unreal(*names: str) -> str:
    """What to say of a backend, model or family that is no live model; "" when nothing in its names says so."""
    for name in names:
        for mark, warning in _UNREAL.items():
            if name.lower().startswith(mark):
                return warning
    return ""
