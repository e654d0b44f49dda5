"""Calls that touch the world: inference, tools, a question to a person. Each is reserved, journaled, then done.

The fields marked "entered" are filled in by the machine before the kernel decides, never by the caller.
"""

from agentos.abi.calls.base import Call
from agentos.abi.ids import Digest


class Infer(Call, frozen=True, tag="infer"):
    """Ask a model. Reserves the upper bound, settles from the provider's own count.

    Refusals: Forbidden (class not granted), Exhausted (budget, or the same request too often), Invalid, Closed (the
    order is over), Broken (the backend failed for good), TimedOut.
    """

    request: Digest  # an inference Request as a blob
    model_class: str = "coder"
    phase: str = "development"
    backend: str = ""  # entered: the backend that will serve
    input_tokens_max: int = 0  # entered: upper bound
    output_tokens_max: int = 0  # entered
    bound_uusd: int = 0  # entered: what it can cost at most
    price: str = ""  # entered: version of the price table


class Invoke(Call, frozen=True, tag="invoke"):
    """Use a tool in the working copy of one's order.

    Refusals: Forbidden (tool not granted), NotFound (no such tool), NotYet (the order has no working copy),
    Exhausted (actions, or the same call too often), Stale (it is of an earlier attempt, and the tool may change
    something), Closed, Broken, TimedOut.
    """

    tool: str
    arguments: Digest  # a JSON object as a blob
    phase: str = "development"
    repeat: str = "once"  # entered: from the tool's manifest


class Ask(Call, frozen=True, tag="ask"):
    """Put a question to a person and wait for the answer; waiting costs nothing.

    Refusals: Exhausted (questions).
    """

    question: str
    choices: tuple[str, ...] = ()
