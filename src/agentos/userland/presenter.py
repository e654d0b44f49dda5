"""The presenter: has the kernel judge the working copy, for a parent that is not to be known as its author alone.

Rule 1: it presents what is there and tells the verdict; it changes nothing and claims what it was given to claim.
"""

from typing import Any

import msgspec

from agentos.abi.handoff import HandOff
from agentos.abi.ids import OrderId
from agentos.abi.replies import Judged
from agentos.sdk import System


class Presentation(msgspec.Struct, frozen=True, kw_only=True):
    """What to present, and the claim that goes with it."""

    order: OrderId
    claim: HandOff


async def main(os: System, args: Any, state: Any = None) -> Judged:
    """Present, and answer with the verdict."""
    given = msgspec.convert(args, Presentation)
    return await os.present(given.order, given.claim)
