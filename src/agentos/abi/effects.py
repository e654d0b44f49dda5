"""Effects: what the kernel asks the machine to do in the world, and how each may be repeated.

    pure         do it again
    idempotent   again, with the same key
    queryable    ask the world whether it happened
    costly       again, under a new reservation; the old one counts as spent at its bound
    once         never again by itself: the outcome is unknown, and a person decides

Rule 1: every effect has a repeat kind; a tool says its own in its manifest, and an undeclared one is `once`.
Rule 2: an effect's key is derived from its id, which is a counter of the state: a retry after a crash has the same.
"""

from enum import StrEnum

import msgspec

from agentos.abi.ids import Digest, OrderId, Pid
from agentos.abi.inference import Usage
from agentos.abi.work import Change, Check, Finding, Scope


class Repeat(StrEnum):
    PURE = "pure"
    IDEMPOTENT = "idempotent"
    QUERYABLE = "queryable"
    COSTLY = "costly"
    ONCE = "once"


class Effect(msgspec.Struct, frozen=True, tag_field="effect", omit_defaults=True, kw_only=True):
    pass


class Generate(Effect, frozen=True, tag="generate"):
    """Ask a model."""

    request: Digest
    backend: str
    model_class: str


class RunTool(Effect, frozen=True, tag="run_tool"):
    """Run a tool in an order's working copy."""

    tool: str
    arguments: Digest
    order: OrderId | None
    attempt: int
    repeat: Repeat


class Checkout(Effect, frozen=True, tag="checkout"):
    """Make a working copy for an attempt."""

    order: OrderId
    attempt: int
    repository: str
    commit: str  # what to fill it with; "worktree": the user's checkout with its edits


class Seal(Effect, frozen=True, tag="seal"):
    """Turn a working copy into one commit: base plus in-scope files."""

    order: OrderId
    attempt: int
    repository: str
    base: str
    scope: Scope
    title: str
    at_ns: int  # the commit's date; given, so that sealing is a pure function


class RunCheck(Effect, frozen=True, tag="run_check"):
    """Run one acceptance check on one exact commit."""

    order: OrderId
    attempt: int
    repository: str
    check: Check
    commit: str
    base: str
    scope: Scope
    is_probed: bool  # also show that it can fail on this content


class MoveRef(Effect, frozen=True, tag="move_ref"):
    """Give the order's branch the gated commit, by compare-and-swap."""

    order: OrderId
    attempt: int
    repository: str
    ref: str
    commit: str


class ApplyChange(Effect, frozen=True, tag="apply_change"):
    """Bring a commit into the files of a checkout, or take it out again by its receipt."""

    order: OrderId
    repository: str
    commit: str
    base: str
    undoes: str = ""  # the receipt to reverse; "" applies


AnyEffect = ApplyChange | Generate | RunTool | Checkout | Seal | RunCheck | MoveRef

REPEAT: dict[type[Effect], Repeat] = {
    Generate: Repeat.COSTLY,
    Checkout: Repeat.IDEMPOTENT,
    Seal: Repeat.IDEMPOTENT,
    RunCheck: Repeat.PURE,
    MoveRef: Repeat.QUERYABLE,
    ApplyChange: Repeat.ONCE,
}

DEVICE: dict[type[Effect], str] = {
    Generate: "inference",
    RunTool: "tool",
    Checkout: "forge",
    Seal: "forge",
    RunCheck: "check",
    MoveRef: "forge",
    ApplyChange: "forge",
}


def repeat(effect: AnyEffect) -> Repeat:
    """How an effect may be repeated."""
    return effect.repeat if isinstance(effect, RunTool) else REPEAT[type(effect)]


def device(effect: AnyEffect) -> str:
    """Which device's slots an effect takes."""
    return DEVICE[type(effect)]


class Outcome(msgspec.Struct, frozen=True, tag_field="outcome", omit_defaults=True, kw_only=True):
    pass


class Answered(Outcome, frozen=True, tag="answered"):
    """A model answered."""

    answer: Digest
    usage: Usage
    uusd: int
    is_metered: bool = True
    model: str = ""
    price: str = ""


class ToolEnded(Outcome, frozen=True, tag="tool_ended"):
    content: Digest
    is_error: bool = False


class CheckedOut(Outcome, frozen=True, tag="checked_out"):
    pass


class Sealed(Outcome, frozen=True, tag="sealed"):
    change: Change


class Checked(Outcome, frozen=True, tag="checked"):
    finding: Finding


class Applied(Outcome, frozen=True, tag="applied"):
    """The checkout is changed; the receipt reverses it."""

    receipt: str
    paths: tuple[str, ...] = ()


class Moved(Outcome, frozen=True, tag="moved"):
    pass


class Failed(Outcome, frozen=True, tag="failed"):
    """The device failed. `is_retryable`: the same again may work, not before `retry_after_ns` from now."""

    fact: str
    is_retryable: bool = False
    is_timeout: bool = False
    retry_after_ns: int = 0
    is_spent_unknown: bool = False  # the provider may have charged; the reservation counts as spent


class Cancelled(Outcome, frozen=True, tag="cancelled"):
    """It was stopped at the kernel's word before it had an outcome."""


class Unknown(Outcome, frozen=True, tag="unknown"):
    """Nobody can say whether it happened."""

    fact: str = ""


AnyOutcome = Answered | ToolEnded | CheckedOut | Sealed | Checked | Moved | Applied | Failed | Cancelled | Unknown


class Launch(msgspec.Struct, frozen=True, tag="launch", tag_field="order"):
    """Run a process's program, in this incarnation; the calls of earlier ones are refused from now on."""

    pid: Pid
    incarnation: int


class Halt(msgspec.Struct, frozen=True, tag="halt", tag_field="order"):
    """Stop a process's program; its calls are not answered any more."""

    pid: Pid


class Abort(msgspec.Struct, frozen=True, tag="abort", tag_field="order"):
    """Stop an effect in flight, as far as the device can; its outcome still comes in as a fact."""

    effect: int


class Perform(msgspec.Struct, frozen=True, tag="perform", tag_field="order"):
    """Do an effect now, as this attempt."""

    id: int
    attempt: int
    effect: AnyEffect
    key: str


Instruction = Launch | Halt | Abort | Perform  # what a decision tells the machine to do once it is durable
