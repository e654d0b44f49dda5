"""What several commands show: the receipt, and the one command that comes next.

Rule 1: a page is made from facts. What is shown after an order ended is what anybody can show again later.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from agentos.abi.ids import OrderId
from agentos.ui.cli.session import Session
from agentos.views import answers as seven
from agentos.views import receipt as receipts
from agentos.views.base import Fact


def receipt(session: Session, order: OrderId, facts: Sequence[Fact], **fields: Any) -> None:
    """Show an order's receipt. `fields` go into its record beside the answers."""
    answers = seven.answers(order, facts, session.blob)
    screen = session.screen
    screen.result(receipts.receipt(answers, screen.style, is_ascii=screen.is_ascii))
    screen.record({"record": "receipt", **fields, **plain(answers)})


def plain(value: Any) -> Any:
    """A record as the plain values that JSON has."""
    return msgspec.json.decode(msgspec.json.encode(value))


def facts_plain(fact: Fact) -> dict[str, Any]:
    """One fact as plain values."""
    return {**fact._asdict(), "event": plain(fact.event)}
