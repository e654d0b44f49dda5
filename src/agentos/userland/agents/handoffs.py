"""Hand-offs as artifacts of the order: `/handoff/ROLE-ATTEMPT.json`.

Rule 1: whoever stops leaves one, before anything else that may be refused.
Rule 2: a hand-off that cannot be read is told to the next worker as none: it is a claim, and work goes on without it.
"""

import msgspec

from agentos.abi.handoff import HandOff
from agentos.sdk import System
from agentos.sdk.errors import NotFound


def name(role: str, attempt: int) -> str:
    """The artifact's name."""
    return f"/handoff/{role}-{attempt}.json"


async def leave(os: System, left: HandOff, *, role: str, attempt: int, models: tuple[str, ...] = ()) -> HandOff:
    """Record it with the order, and the models that worked beside it; gives it back."""
    if models:
        await os.attach(_models(role, attempt), msgspec.json.encode(models), media_type="application/json")
    body = msgspec.json.format(msgspec.json.encode(left), indent=2)
    await os.attach(name(role, attempt), body, media_type="application/json")
    return left


async def last(os: System, role: str, attempt: int) -> HandOff | None:
    """What an attempt left, if it left anything."""
    try:
        return msgspec.json.decode(await os.find(name(role, attempt)), type=HandOff)
    except (NotFound, msgspec.DecodeError):
        return None


async def models(os: System, role: str, attempt: int) -> tuple[str, ...]:
    """The models that worked in an attempt, as their providers name them; none where nobody can tell."""
    try:
        return msgspec.json.decode(await os.find(_models(role, attempt)), type=tuple[str, ...])
    except (NotFound, msgspec.DecodeError):
        return ()


def _models(role: str, attempt: int) -> str:
    return f"/models/{role}-{attempt}.json"
