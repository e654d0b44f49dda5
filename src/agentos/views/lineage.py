"""Artifacts and what they were made from.

Rule 1: an artifact is its content: the same digest under two names is one node with two names.
Rule 2: a source is a digest that its maker named; nothing is inferred from what a process read.
"""

from collections.abc import Iterable

import msgspec

from agentos.abi.events.ipc import ArtifactAttached
from agentos.abi.events.process import ProcessSpawned
from agentos.abi.ids import OrderId
from agentos.views.base import Fact, about
from agentos.views.escape import terminal
from agentos.views.words import short


class Node(msgspec.Struct):
    """One content."""

    content: str
    names: list[str] = []
    authors: list[str] = []  # pids
    roles: list[str] = []
    orders: list[str] = []
    media_type: str = ""
    body_bytes: int = 0
    sources: list[str] = []  # contents it was made from
    uses: list[str] = []  # contents made from it
    seqs: list[int] = []


def nodes(facts: Iterable[Fact], order: OrderId | None = None) -> dict[str, Node]:
    """All artifacts by content, oldest first; sources that no fact attaches are nodes without a name."""
    table: dict[str, Node] = {}
    roles: dict[str, str] = {}
    for fact in about(order, facts) if order is not None else facts:
        if isinstance(fact.event, ProcessSpawned):
            roles[fact.event.pid] = fact.event.spec.role
        if isinstance(fact.event, ArtifactAttached):
            _attach(table, fact, fact.event, roles)
    return table


def _attach(table: dict[str, Node], fact: Fact, event: ArtifactAttached, roles: dict[str, str]) -> None:
    node = table.setdefault(event.content, Node(event.content))
    node.media_type, node.body_bytes = event.media_type, event.body_bytes
    node.seqs.append(fact.seq)
    for kept, value in (
        (node.names, event.name),
        (node.authors, event.author),
        (node.roles, roles.get(event.author, "unknown")),
        (node.orders, event.order or ""),
    ):
        if value and value not in kept:
            kept.append(value)
    for source in event.sources:
        above = table.setdefault(source, Node(source))
        if source not in node.sources:
            node.sources.append(source)
            above.uses.append(event.content)


def walk(table: dict[str, Node], content: str, *, is_upward: bool = True) -> list[tuple[int, Node]]:
    """Everything a content was made from (or, downward, that was made from it), with depth; each content once."""
    out: list[tuple[int, Node]] = []
    seen: set[str] = set()
    stack = [(0, content)]
    while stack:
        depth, digest = stack.pop()
        if digest in seen or digest not in table:
            continue
        seen.add(digest)
        node = table[digest]
        out.append((depth, node))
        nearest = node.sources if is_upward else node.uses
        stack.extend((depth + 1, other) for other in reversed(nearest))
    return out


def render(table: dict[str, Node]) -> str:
    """Every artifact that nothing else was made from, and under it what it was made from."""
    lines: list[str] = []
    shown: set[str] = set()
    ends = [node for node in table.values() if not node.uses]
    # A circle has no end to start at; whatever is left over after the ends is shown from its oldest content.
    for start in [*ends, *table.values()]:
        if start.content in shown:
            continue
        for depth, node in walk(table, start.content):
            shown.add(node.content)
            lines.append("  " * depth + _line(node))
    return "\n".join(lines) or "No artifacts."


def _line(node: Node) -> str:
    name = terminal(", ".join(node.names)) or "(not attached here)"
    size = f", {node.body_bytes:,} bytes" if node.body_bytes else ""
    by = ", ".join(f"{role} {pid}" for role, pid in zip(node.roles, node.authors, strict=False))
    return f"{name}  {short(node.content)}{size}" + (f"  by {by}" if by else "")
