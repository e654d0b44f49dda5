"""Processes as `ps` and `top` show them: born, running, waiting for what, ended how, and what each has used.

Rule 1: a process's state here is the kernel's, event for event; a test compares the two after every one.
Rule 2: progress is what a process was answered, not that its heart beats.
"""

from collections.abc import Iterable

import msgspec

from agentos.abi.budget import NOTHING, Amounts
from agentos.abi.events.call import CallAnswered, CallParked, CallRefused, EffectIntended, EffectRetried, EffectSettled
from agentos.abi.events.process import (
    ProcessBeaten,
    ProcessCheckpointed,
    ProcessExited,
    ProcessLaunched,
    ProcessNoted,
    ProcessReaped,
    ProcessSignalled,
    ProcessSpawned,
)
from agentos.abi.signals import Signal
from agentos.views.base import Fact
from agentos.views.escape import clip
from agentos.views.words import money, span


class Row(msgspec.Struct):
    """One process."""

    pid: str
    parent: str
    principal: str
    role: str
    name: str
    program: str
    family: str
    order: str
    account: int
    born_seq: int
    born_at_ns: int
    spec: str = ""  # digest of the bundle it is bound to
    args: str = ""  # digest of what its program got
    replaces: str = ""
    state: str = "ready"  # ready | running | waiting | stopped | zombie | ended
    waits: dict[int, str] = {}  # per strand, what it is parked for: "effect 12", "question 3"
    incarnation: int = 0
    calls: int = 0
    refusals: int = 0
    effects_open: int = 0
    cost: Amounts = NOTHING  # settled and written off
    note: str = ""  # its last word on how it goes
    phase: str = ""
    progress_at_ns: int = 0
    beaten_at_ns: int = 0
    ended_seq: int = 0
    ended_at_ns: int = 0
    status: int | None = None
    reason: str = ""
    result: str = ""


class Processes:
    """The process table of the facts it has taken, the ended ones too, in the order they were born."""

    def __init__(self, facts: Iterable[Fact] = ()) -> None:
        self.rows: dict[str, Row] = {}
        self._effects: dict[int, str] = {}
        for fact in facts:
            self.take(fact)

    def take(self, fact: Fact) -> None:
        """Fold one fact in."""
        event = fact.event
        if isinstance(event, ProcessSpawned):
            self.rows[event.pid] = _born(fact, event)
        elif isinstance(event, CallAnswered | CallRefused | CallParked):
            row = self.rows.get(event.id.pid)
            if row is not None:
                _called(row, fact, event)
        elif isinstance(event, EffectIntended | EffectSettled | EffectRetried):
            self._effect(event)
        elif isinstance(event, ProcessBeaten):
            for pid in event.pids:
                if pid in self.rows:
                    self.rows[pid].beaten_at_ns = fact.at_ns
        else:
            row = self.rows.get(getattr(event, "pid", ""))
            if row is not None:
                _lived(row, fact)

    def _effect(self, event: EffectIntended | EffectSettled | EffectRetried) -> None:
        if isinstance(event, EffectIntended):
            self._effects[event.effect] = event.pid
        row = self.rows.get(self._effects.get(event.effect, ""))
        if row is None:
            return
        match event:
            case EffectIntended():
                row.effects_open += 1
            case EffectRetried(written_off=written_off):
                row.cost = row.cost.plus(written_off)
            case EffectSettled(spent=spent, is_late=is_late):
                row.cost = row.cost.plus(spent)
                row.effects_open -= not is_late

    def alive(self) -> list[Row]:
        return [row for row in self.rows.values() if row.state != "ended"]


def _born(fact: Fact, event: ProcessSpawned) -> Row:
    spec = event.spec
    return Row(
        pid=event.pid,
        parent=event.parent,
        principal=event.principal,
        role=spec.role,
        name=spec.name,
        program=spec.program,
        family=spec.family,
        order=event.order or "",
        account=event.account,
        born_seq=fact.seq,
        born_at_ns=fact.at_ns,
        spec=spec.spec or "",
        args=spec.args or "",
        replaces=event.replaces or "",
        progress_at_ns=fact.at_ns,
        beaten_at_ns=fact.at_ns,
    )


def _called(row: Row, fact: Fact, event: CallAnswered | CallRefused | CallParked) -> None:
    if isinstance(event, CallParked):
        row.waits[event.id.strand] = f"{event.kind} {event.target}".strip()
        if row.state == "running":
            row.state = "waiting"
        return
    row.waits.pop(event.id.strand, None)
    row.calls += 1
    row.refusals += isinstance(event, CallRefused)
    row.progress_at_ns = fact.at_ns
    if row.state == "waiting":
        row.state = "running"


def _lived(row: Row, fact: Fact) -> None:
    match fact.event:
        case ProcessLaunched(incarnation=incarnation):
            row.incarnation, row.beaten_at_ns = incarnation, fact.at_ns
            if row.state != "stopped":
                row.state = "waiting" if row.waits else "running"
        case ProcessSignalled(signal=signal):
            if signal == Signal.STOP:
                row.state = "stopped"
            elif row.state == "stopped":
                row.state = "waiting" if row.waits else "running"
        case ProcessNoted(text=text, phase=phase):
            row.note, row.phase, row.progress_at_ns = text, phase or row.phase, fact.at_ns
        case ProcessCheckpointed():
            row.progress_at_ns = fact.at_ns
        case ProcessExited(status=status, reason=reason, result=result):
            row.state, row.status, row.reason, row.result = "zombie", status, reason, result or ""
            row.ended_seq, row.ended_at_ns = fact.seq, fact.at_ns
        case ProcessReaped():
            row.state = "ended"


def rows(facts: Iterable[Fact], order: str = "", *, is_ended_shown: bool = False) -> list[Row]:
    """The table, oldest first: of one order or of all, the living or all."""
    table = Processes(facts)
    return [
        row
        for row in table.rows.values()
        if (not order or row.order == order) and (is_ended_shown or row.state != "ended")
    ]


def doing(row: Row) -> str:
    """What a process does, in a few words."""
    if row.state in ("zombie", "ended"):
        return f"exit {row.status}" + (f": {row.reason}" if row.reason else "")
    if row.waits:
        return "waits for " + ", ".join(map(_waited, row.waits.values()))
    return row.note or row.state


def _waited(wait: str) -> str:
    """What a call is parked for, as a person says it. What is named by its kind alone keeps the kind."""
    kind, _, target = wait.partition(" ")
    said = {"await": f"{target} to end", "receive": f"mail {target}", "order": target}
    return said.get(kind, wait).strip()


def render(table: list[Row], now_ns: int, columns: int = 110) -> str:
    """The table as text, children under their parents."""
    lines = [f"{'PID':<8}{'ROLE':<18}{'STATE':<9}{'AGE':>12}  {'IDLE':>11}  {'COST':>9}  {'CALLS':>5}  DOING"]
    for row, depth in _tree(table):
        end_ns = row.ended_at_ns or now_ns
        name = clip("  " * min(depth, 3) + row.role, 17)
        idle = "-" if row.ended_at_ns else span(now_ns - row.progress_at_ns)
        head = (
            f"{row.pid:<8}{name:<18}{row.state:<9}{span(end_ns - row.born_at_ns):>12}  {idle:>11}  "
            f"{money(row.cost.uusd):>9}  {row.calls:>5}  "
        )
        lines.append(head + clip(doing(row), max(columns - len(head), 10)))
    return "\n".join(lines)


def _tree(table: list[Row]) -> list[tuple[Row, int]]:
    """Rows with their depth, each under its parent; those whose parent is not shown stand at the left."""
    shown = {row.pid for row in table}
    children: dict[str, list[Row]] = {}
    for row in table:
        children.setdefault(row.parent if row.parent in shown else "", []).append(row)
    out: list[tuple[Row, int]] = []
    stack = [(row, 0) for row in reversed(children.get("", []))]
    while stack:
        row, depth = stack.pop()
        out.append((row, depth))
        stack.extend((child, depth + 1) for child in reversed(children.get(row.pid, [])))
    return out


__all__ = ["Processes", "Row", "doing", "render", "rows"]
