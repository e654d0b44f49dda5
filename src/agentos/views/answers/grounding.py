"""What grounding it got: what it started from, what reached its processes on the way, and every prompt.

Rule 1: a reading is on record or it is not in here: artifacts found, mail taken, what tools that only read gave back.
"""

import msgspec

from agentos.abi.effects import Generate, Repeat, RunTool, ToolEnded
from agentos.abi.ids import Digest
from agentos.views.answers.who import asked_models
from agentos.views.base import Blob
from agentos.views.record import Record, seqs
from agentos.views.words import count

GOAL_CHARS_MAX = 2_000  # of the order's own text: what fits a page; the whole is a blob


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """Something a process could know from the record."""

    kind: str  # order | base | args | bundle | artifact | mail | tool | prompt
    name: str
    digest: str
    pid: str
    size_bytes: int | None  # None: the content is not here
    seq: int


class Grounding(msgspec.Struct, frozen=True, kw_only=True):
    goal: str  # the order's text as its author wrote it, cut; "" when it is not here
    is_goal_here: bool
    inputs: tuple[Material, ...]  # what it started from
    reads: tuple[Material, ...]  # what reached its processes on the way
    prompts: tuple[Material, ...]  # every request that went to a model
    summary: str
    rests_on: tuple[int, ...]


def answer(record: Record, blob: Blob) -> Grounding:
    assert record.submitted is not None
    text = blob(record.submitted.text)
    inputs = _inputs(record, blob)
    reads = _reads(record, blob)
    prompts = [
        _material("prompt", f"{entry.phase} by {entry.role}", entry.what.request, entry.pid, entry.seq, blob)
        for entry in asked_models(record)
        if isinstance(entry.what, Generate)
    ]
    parts = [count(len(inputs), "input"), f"{count(len(reads), 'item')} read", count(len(prompts), "prompt")]
    return Grounding(
        goal=text.decode("utf-8", "replace")[:GOAL_CHARS_MAX] if text is not None else "",
        is_goal_here=text is not None,
        inputs=tuple(inputs),
        reads=tuple(reads),
        prompts=tuple(prompts),
        summary=", ".join(parts),
        rests_on=seqs(row.seq for row in [*inputs, *reads, *prompts]),
    )


def _inputs(record: Record, blob: Blob) -> list[Material]:
    assert record.submitted is not None
    rows = [_material("order", "the order as written", record.submitted.text, "", record.submitted_seq, blob)]
    contract = record.contract
    if contract.base:
        name = f"commit of {contract.repository or 'no repository'}"
        rows.append(
            Material(kind="base", name=name, digest=contract.base, pid="", size_bytes=None, seq=record.submitted_seq)
        )
    for process in record.own:
        if process.args:
            rows.append(
                _material("args", f"arguments of {process.role}", process.args, process.pid, process.born_seq, blob)
            )
        if process.spec:
            rows.append(
                _material("bundle", f"bundle of {process.role}", process.spec, process.pid, process.born_seq, blob)
            )
    return rows


def _reads(record: Record, blob: Blob) -> list[Material]:
    """Artifacts found, mail taken, and what tools that only read gave back."""
    rows = [_material(row.kind, row.name, row.content, row.pid, row.seq, blob) for row in record.reads]
    for entry in record.ledger.entries.values():
        what, outcome = entry.what, entry.outcome
        if isinstance(what, RunTool) and what.repeat == Repeat.PURE and isinstance(outcome, ToolEnded):
            rows.append(_material("tool", what.tool, outcome.content, entry.pid, entry.settled_seq, blob))
    return sorted(rows, key=lambda row: row.seq)


def _material(kind: str, name: str, digest: str, pid: str, seq: int, blob: Blob) -> Material:
    content = blob(Digest(digest))
    size = len(content) if content is not None else None
    return Material(kind=kind, name=name, digest=digest, pid=pid, size_bytes=size, seq=seq)
