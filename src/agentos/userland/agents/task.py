"""What a program is started with, and what it may do: the arguments of every program that works for an order.

Rule 1: a task grants nothing. Authority is in the capabilities of the process, and `Holdings` only reads them.
Rule 2: the agent travels in the task, whole: a program run again reads the prompt it had, not the one of today.
"""

from typing import Any

import msgspec

from agentos.abi.handoff import HandOff
from agentos.abi.ids import Digest, OrderId
from agentos.abi.replies import Self
from agentos.abi.rights import Grant, Right, selects
from agentos.userland.documents.agent import Agent


class Task(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is asked of one process."""

    agent: Agent
    order: OrderId = OrderId("")
    attempt: int = 1
    tries: int = 1  # of the same task: a later one is asked with some chance
    model_class: str = "coder"
    previous: HandOff | None = None  # what the last attempt left
    values: dict[str, str] = {}  # for the placeholders of the agent's prompt, before what the order supplies
    artifact: str = ""  # name its output is kept under: "/steps/plan.md"
    sources: tuple[Digest, ...] = ()  # what the output is made from; each an artifact already
    phase: str = "development"
    check: str = ""  # a reviewer: the review that it answers
    models: tuple[str, ...] = ()  # a reviewer: the models that worked, whose family it must not be of


def read(args: Any) -> Task:
    """The task a program was started with; msgspec.ValidationError if it is none."""
    return msgspec.convert(args, Task)


class Holdings:
    """What the process may do, as the kernel told it."""

    def __init__(self, me: Self) -> None:
        self._rows = [(right, selector) for _, right, selector in me.capabilities]

    def may(self, right: Right, target: str) -> bool:
        """Whether some capability covers it."""
        return any(held == right and selects(selector, target) for held, selector in self._rows)

    def grants(self, right: Right, names: tuple[str, ...]) -> tuple[Grant, ...]:
        """Grants for those names that may be handed down, each once, in the order asked for."""
        return tuple(Grant(right, f"/{name}") for name in dict.fromkeys(names) if self.may(right, f"/{name}"))

    def names(self, right: Right) -> tuple[str, ...]:
        """The single names held under a right: tools, model classes."""
        found = (selector.removeprefix("/") for held, selector in self._rows if held == right)
        return tuple(dict.fromkeys(name for name in found if name and "*" not in name))
