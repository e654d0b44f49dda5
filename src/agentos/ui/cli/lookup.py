"""Names as people type them, turned into the ids that are on record.

Rule 1: what is left out means the last one, and only where reading is meant; what ends something is always named.
"""

import re
from collections.abc import Iterable

from agentos.abi.events.work import OrderSubmitted
from agentos.abi.ids import OrderId, Pid
from agentos.ui.cli import table
from agentos.ui.cli.trouble import Trouble
from agentos.views.base import Fact


def spelled(text: str) -> OrderId:
    """An order as it is spelled on record: "12", "wo-12" and "WO-12" are the same."""
    match = re.fullmatch(r"(?:wo-?)?(\d{1,9})", text.strip(), re.IGNORECASE)
    if match is None:
        raise Trouble(f"'{text}' is no order", why="an order is called WO-1", next="agentos work ls", exit=table.USAGE)
    return OrderId(f"WO-{int(match[1])}")


def order(text: str | None, facts: Iterable[Fact]) -> OrderId:
    """The order of this name, which must be on record; the last one for no name."""
    known = [fact.event.order for fact in facts if isinstance(fact.event, OrderSubmitted)]
    if not known:
        raise Trouble("there is no order yet", next='agentos do "what you want"', exit=table.NOT_FOUND)
    if text is None:
        return known[-1]
    wanted = spelled(text)
    if wanted not in known:
        raise Trouble(
            f"there is no order {wanted}",
            why=f"this workspace has {known[0]} to {known[-1]}" if len(known) > 1 else f"this workspace has {known[0]}",
            next="agentos work ls",
            exit=table.NOT_FOUND,
        )
    return wanted


def is_pid(text: str) -> bool:
    """Whether a word is a process id, such as 3.1."""
    return re.fullmatch(r"\d{1,6}\.\d{1,9}", text) is not None


def pid(text: str) -> Pid:
    """A process id as typed."""
    if not is_pid(text):
        raise Trouble(f"'{text}' is no process", why="a pid looks like 3.1", next="agentos ps", exit=table.USAGE)
    return Pid(text)
