"""What deciding takes and gives. Small words that every subsystem uses.

Rule 1: a decision is events and instructions. Refusing is returning a `Refusal`; the gate makes the event of it.
Rule 2: whoever parks a call is owed exactly one answer; `release` is how it gets it.
"""

from typing import NamedTuple

from agentos.abi.calls.base import Call
from agentos.abi.effects import Instruction
from agentos.abi.events.base import Event
from agentos.abi.events.call import CallAnswered, CallParked, CallRefused
from agentos.abi.ids import CallId, Pid
from agentos.abi.refusals import Refusal
from agentos.abi.replies import Reply
from agentos.kernel.state import Parked, State


class Entry(NamedTuple):
    """How a call came in."""

    id: CallId
    now_ns: int  # the larger of the last and the clock
    args: str = ""  # digest of the call as its maker wrote it
    name: str = ""


class Decision(NamedTuple):
    events: list[Event]
    instructions: list[Instruction]


Ruling = Decision | Refusal


def deciding(*events: Event, then: list[Instruction] | None = None) -> Decision:
    """A decision of these events."""
    return Decision(list(events), then or [])


def answer(entry: Entry, reply: Reply) -> CallAnswered:
    """The caller's answer, now."""
    return CallAnswered(id=entry.id, name=entry.name, args=entry.args, reply=reply)  # type: ignore[arg-type]


def park(entry: Entry, kind: str, target: str) -> CallParked:
    """The caller waits for something of that kind."""
    return CallParked(id=entry.id, name=entry.name, args=entry.args, kind=kind, target=target)


def parked(state: State, call: CallId) -> Parked | None:
    """The parked call of that id, if it still waits; the dead wait for nothing."""
    process = state.processes.get(call.pid)
    if process is None or process.state == "zombie":
        return None
    waiting = process.parked.get(call.strand)
    return waiting if waiting is not None and waiting.id == call else None


def release(state: State, call: CallId, reply: Reply) -> list[Event]:
    """The answer of a parked call; nothing when nobody waits any more."""
    waiting = parked(state, call)
    if waiting is None:
        return []
    return [CallAnswered(id=call, name=waiting.name, args=waiting.args, reply=reply)]  # type: ignore[arg-type]


def deny(state: State, call: CallId, refusal: Refusal) -> list[Event]:
    """The refusal of a parked call; nothing when nobody waits any more."""
    waiting = parked(state, call)
    if waiting is None:
        return []
    return [CallRefused(id=call, name=waiting.name, args=waiting.args, refusal=refusal)]


def name(call: Call) -> str:
    """A call's name as users see it."""
    return str(type(call).__struct_config__.tag)


def is_descendant(state: State, pid: Pid, of: Pid) -> bool:
    """Whether a process is a child of another, at any depth. O(depth)."""
    process = state.processes.get(pid)
    while process is not None:
        if process.parent == of:
            return True
        process = state.processes.get(process.parent)
    return False
