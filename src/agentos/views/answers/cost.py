"""What it cost: the cost table of the order, against its limit.

Rule 1: to the micro-dollar, write-offs included; the rounded figures are in the summary only.
"""

import msgspec

from agentos.abi.budget import NOTHING, Amounts
from agentos.views.cost import Row as CostRow
from agentos.views.cost import Table, is_inference, tabulate
from agentos.views.record import Record, seqs
from agentos.views.words import count, money


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    table: Table  # phase x role x backend
    by_model: tuple[CostRow, ...]
    total: Amounts
    spent: Amounts
    written_off: Amounts
    reserved: Amounts  # upper bounds, all together
    open: Amounts  # of these, in flight
    limit: Amounts
    model_calls: int
    unmetered: int
    summary: str
    rests_on: tuple[int, ...]


def answer(record: Record) -> Cost:
    entries = list(record.ledger.entries.values())
    table = tabulate(entries)
    asked = [entry for entry in entries if is_inference(entry)]
    total = table.total.cost
    summary = f"{money(total.uusd)} of {money(record.limit.uusd)}, {count(len(asked), 'model call')}"
    summary += f", {count(total.tokens, 'token')}"
    if table.total.written_off.uusd:
        summary += f", {money(table.total.written_off.uusd)} of it written off"
    return Cost(
        table=table,
        by_model=tabulate(asked, ("backend", "model")).rows,
        total=total,
        spent=table.total.spent,
        written_off=table.total.written_off,
        reserved=table.total.reserved,
        open=table.total.open,
        limit=record.limit,
        model_calls=len(asked),
        unmetered=table.total.unmetered,
        summary=summary,
        rests_on=seqs(
            (entry.settled_seq for entry in entries if entry.cost != NOTHING),
            (seq for entry in entries if entry.written_off != NOTHING for seq in entry.seqs),
        ),
    )
