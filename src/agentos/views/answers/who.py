"""Who did it: the author, every process with its principal and program, and every model that answered.

Rule 1: a model is on the list because an answer of it was settled, not because it was configured.
"""

import msgspec

from agentos.abi.budget import Amounts
from agentos.abi.effects import Answered
from agentos.views.cost import is_inference
from agentos.views.ledger import Entry, unreal
from agentos.views.processes import Row as Process
from agentos.views.record import Record, seqs
from agentos.views.words import count, few


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """One process that worked for the order."""

    pid: str
    role: str
    name: str
    program: str
    principal: str
    family: str
    parent: str
    spec: str  # digest of program, prompt and tools
    fate: str  # how it ended, or its state
    incarnations: int
    cost: Amounts
    seq: int


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A model that answered."""

    backend: str
    model: str
    roles: tuple[str, ...]
    calls: int
    warning: str  # why it is no live model; "" when nothing says so


class Who(msgspec.Struct, frozen=True, kw_only=True):
    author: str
    principals: tuple[str, ...]
    workers: tuple[Worker, ...]
    served: tuple[Served, ...]
    presenter: str  # pid that presented what stands
    summary: str
    rests_on: tuple[int, ...]


def answer(record: Record) -> Who:
    assert record.submitted is not None
    own = record.own
    workers = tuple(_worker(row) for row in own)
    served = _served(record)
    principals = dict.fromkeys([record.submitted.author, *(row.principal for row in own), *_people(record)])
    presentation = record.standing
    models = few([f"{row.model or 'unnamed model'} on {row.backend}" for row in served])
    done = f"{count(len(workers), 'process', 'processes')} for {record.submitted.author}"
    return Who(
        author=record.submitted.author,
        principals=tuple(principals),
        workers=workers,
        served=served,
        presenter=presentation.by if presentation else "",
        summary=f"{done}, with {models}" if served else f"{done}, with no model",
        rests_on=seqs(
            [record.submitted_seq],
            record.submitted_by_seqs,
            (row.born_seq for row in own),
            (row.ended_seq for row in own),
            (entry.settled_seq for entry in asked_models(record)),
        ),
    )


def _people(record: Record) -> list[str]:
    return [row.by for row in record.questions.values() if row.by]


def _worker(row: Process) -> Worker:
    fate = row.state if row.status is None else f"exit {row.status}" + (f": {row.reason}" if row.reason else "")
    return Worker(
        pid=row.pid,
        role=row.role,
        name=row.name,
        program=row.program,
        principal=row.principal,
        family=row.family,
        parent=row.parent,
        spec=row.spec,
        fate=fate,
        incarnations=row.incarnation,
        cost=row.cost,
        seq=row.born_seq,
    )


def asked_models(record: Record) -> list[Entry]:
    return [entry for entry in record.ledger.entries.values() if is_inference(entry)]


def _served(record: Record) -> tuple[Served, ...]:
    table: dict[tuple[str, str], list[Entry]] = {}
    for entry in asked_models(record):
        if isinstance(entry.outcome, Answered):
            table.setdefault((entry.backend, entry.model), []).append(entry)
    families = {row.pid: row.family for row in record.own}
    return tuple(
        Served(
            backend=backend,
            model=model,
            roles=tuple(dict.fromkeys(entry.role for entry in entries)),
            calls=len(entries),
            warning=unreal(backend, model, *(families.get(entry.pid, "") for entry in entries)),
        )
        for (backend, model), entries in table.items()
    )
