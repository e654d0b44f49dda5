"""What changed: the sealed content of the last presentation, and where it went.

Rule 1: what was left out of the commit (out of scope, protected, links) is told, and told apart from what is in it.
"""

import msgspec

from agentos.abi.events.work import OrderClosed
from agentos.abi.work import Contract, Unchanged
from agentos.views.record import Record, seqs
from agentos.views.words import count, few


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    repository: str
    base: str
    commit: str  # sealed; "" when nothing was presented
    tree: str
    branch: str  # that holds the commit; "" when it is on none
    paths: tuple[str, ...]
    lines_added: int
    lines_removed: int
    protected: tuple[str, ...]  # patterns that were taken from the base
    protected_changed: tuple[str, ...]  # protected paths the worker changed; not in the commit
    out_of_scope: tuple[str, ...]  # left out of the commit
    links: tuple[str, ...]  # left out of the commit
    is_protected_untouched: bool
    artifacts: tuple[tuple[str, str], ...]  # name, digest
    summary: str
    rests_on: tuple[int, ...]


def answer(record: Record) -> Changed:
    contract, standing = record.contract, record.standing
    change = standing.change if standing is not None else None
    closed = isinstance(record.over, OrderClosed)
    patterns = protected(contract)
    artifacts = tuple((event.name, str(event.content)) for _, event in record.artifacts)
    if change is None:
        summary = "nothing was presented"
    elif not change.paths:
        summary = "nothing"
    else:
        lines = f"+{change.lines_added} -{change.lines_removed}"
        summary = f"{count(len(change.paths), 'file')} ({few(change.paths)}), {lines}"
        summary += f", on {record.ref}" if record.ref else ", sealed" if closed else ", not on any branch"
    return Changed(
        repository=contract.repository,
        base=contract.base,
        commit=change.commit if change else "",
        tree=change.tree if change else "",
        branch=record.ref,
        paths=change.paths if change else (),
        lines_added=change.lines_added if change else 0,
        lines_removed=change.lines_removed if change else 0,
        protected=patterns,
        protected_changed=change.protected if change else (),
        out_of_scope=change.out_of_scope if change else (),
        links=change.links if change else (),
        is_protected_untouched=bool(patterns) and change is not None and not change.protected,
        artifacts=artifacts,
        summary=summary,
        rests_on=seqs(
            [standing.change_seq] if standing else [],
            [record.ref_seq],
            [record.over_seq] if closed else [],
            (seq for seq, _ in record.artifacts),
        ),
    )


def protected(contract: Contract) -> tuple[str, ...]:
    """What had to stay as it was: the scope's protected patterns, and what `Unchanged` checks name."""
    checked = [pattern for check in contract.accept if isinstance(check, Unchanged) for pattern in check.paths]
    return tuple(dict.fromkeys([*contract.scope.protected, *checked]))
