"""The presenter: puts finished texts into the working copy and has the kernel judge it, for a parent that conducts.

Whoever writes to the copy is an author, and no descendant of an author may judge. A conductor that has judges among its
children must therefore not write; it has this done.

Rule 1: it writes what it was given, presents, and tells the verdict; it makes nothing up and decides nothing.
"""

from typing import Any

import msgspec

from agentos.abi.handoff import HandOff
from agentos.abi.ids import OrderId
from agentos.abi.replies import Judged
from agentos.sdk import System
from agentos.userland.agents import files


class Presentation(msgspec.Struct, frozen=True, kw_only=True):
    """What to present, and the claim that goes with it."""

    order: OrderId
    claim: HandOff
    files: dict[str, str] = {}  # path to text


async def main(os: System, args: Any, state: Any = None) -> Judged:
    """Write, present, and answer with the verdict. Fails where a file cannot be written."""
    given = msgspec.convert(args, Presentation)
    for path, text in given.files.items():
        wrong = await files.write(os, path, text)
        if wrong:
            raise files.Unwritable(wrong)
    return await os.present(given.order, given.claim)
