"""What it cost: one table, by order, phase, role, backend and model, exact to the micro-dollar.

Rule 1: the rows add up: their cost is the sum of every settlement and every write-off in the facts, and nothing else.
Rule 2: tokens are what providers counted. Where one counted nothing the charge is the reservation, and the row says
        how many such calls it has.
"""

from collections.abc import Iterable

import msgspec

from agentos.abi.budget import NOTHING, Amounts
from agentos.abi.effects import Answered, Generate
from agentos.abi.ids import OrderId
from agentos.views.base import Fact, about
from agentos.views.escape import clip
from agentos.views.ledger import Entry, Ledger
from agentos.views.words import exact_money

KEYS = ("order", "phase", "role", "backend", "model")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of effect cost. A key that was grouped away is "" """

    order: str = ""
    phase: str = ""
    role: str = ""
    backend: str = ""
    model: str = ""
    calls: int = 0  # effects, whatever became of them
    input_tokens: int = 0  # without cache reads and writes
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0  # inside output
    reserved: Amounts = NOTHING  # upper bounds that were set aside
    open: Amounts = NOTHING  # of these, what still is
    spent: Amounts = NOTHING  # settled
    written_off: Amounts = NOTHING  # attempts whose outcome was lost, at their bound
    unmetered: int = 0  # answers charged at their reservation, since the provider counted nothing

    @property
    def cost(self) -> Amounts:
        return self.spent.plus(self.written_off)

    def plus(self, other: "Row") -> "Row":
        """Both together, under this one's keys."""
        return Row(
            order=self.order,
            phase=self.phase,
            role=self.role,
            backend=self.backend,
            model=self.model,
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            reserved=self.reserved.plus(other.reserved),
            open=self.open.plus(other.open),
            spent=self.spent.plus(other.spent),
            written_off=self.written_off.plus(other.written_off),
            unmetered=self.unmetered + other.unmetered,
        )


class Table(msgspec.Struct, frozen=True):
    """Rows, dearest first, and their sum."""

    keys: tuple[str, ...]
    rows: tuple[Row, ...]
    total: Row


def table(facts: Iterable[Fact], order: OrderId | None = None, keys: tuple[str, ...] = KEYS[1:4]) -> Table:
    """The cost table of an order, or of all facts, grouped by some of KEYS."""
    chosen = about(order, facts) if order is not None else facts
    return tabulate(Ledger(chosen).entries.values(), keys)


def tabulate(entries: Iterable[Entry], keys: tuple[str, ...] = KEYS[1:4]) -> Table:
    """The cost table of a ledger's entries."""
    assert all(key in KEYS for key in keys), f"keys are some of {KEYS}"
    rows: dict[tuple[str, ...], Row] = {}
    total = Row()
    for entry in entries:
        row = _row(entry)
        key = tuple(getattr(row, name) for name in keys)
        rows[key] = rows.get(key, Row(**dict(zip(keys, key, strict=True)))).plus(row)
        total = total.plus(row)
    dearest = sorted(rows.items(), key=lambda item: (-item[1].cost.uusd, -item[1].cost.tokens, item[0]))
    return Table(keys, tuple(row for _, row in dearest), total)


def _row(entry: Entry) -> Row:
    usage = entry.usage
    outcome = entry.outcome
    return Row(
        order=entry.order,
        phase=entry.phase,
        role=entry.role,
        backend=entry.backend,
        model=entry.model,
        calls=1,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        reserved=entry.reserved,
        open=entry.reserved if entry.is_open else NOTHING,
        spent=entry.spent,
        written_off=entry.written_off,
        unmetered=int(isinstance(outcome, Answered) and not outcome.is_metered),
    )


def frontier_share(table: Table, zones: dict[str, str]) -> tuple[int, int]:
    """Tokens served outside the building, and all model tokens; `zones` names each backend's zone."""
    outside = everything = 0
    for row in table.rows:
        tokens = row.input_tokens + row.output_tokens + row.cache_read_tokens + row.cache_write_tokens
        everything += tokens
        outside += tokens if zones.get(row.backend) == "external" else 0
    return outside, everything


def render(table: Table) -> str:
    """The table as text, at most 100 columns wide for three keys."""
    heads = (*table.keys, "calls", "in", "cached", "out", "spent", "written off")
    body = [_cells(table.keys, row) for row in table.rows]
    last = _cells(table.keys, table.total)
    last[0] = "total"
    lines = [list(heads), *body, last]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]
    names = len(table.keys)
    shown = [
        "  ".join(
            cell.ljust(size) if at < names else cell.rjust(size)
            for at, (cell, size) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    rule = "-" * max(map(len, shown))
    return "\n".join([shown[0], rule, *shown[1:-1], rule, shown[-1]])


def _cells(keys: tuple[str, ...], row: Row) -> list[str]:
    names = [clip(getattr(row, key), 20) or "-" for key in keys]
    cached = row.cache_read_tokens + row.cache_write_tokens
    counts = (row.calls, row.input_tokens, cached, row.output_tokens)
    return [
        *names,
        *(f"{number:,}" for number in counts),
        exact_money(row.spent.uusd),
        exact_money(row.written_off.uusd) if row.written_off.uusd else "-",
    ]


def is_inference(entry: Entry) -> bool:
    """Whether an entry is a question to a model."""
    return isinstance(entry.what, Generate)
