"""Process calls: spawn, exit, await, signal, checkpoint, note."""

from agentos.abi.budget import Amounts
from agentos.abi.calls.base import Call
from agentos.abi.ids import Digest, OrderId, Pid
from agentos.abi.rights import Grant
from agentos.abi.signals import Signal


class Spawn(Call, frozen=True, tag="spawn"):
    """Start a child process. It holds at most what its parent holds: grants are derived, the budget is within.

    The child is `ready` when this returns; its program starts when a worker is free.

    Refusals: Forbidden (no spawn right for the role; a grant the parent does not hold; another order, without the
    right to conduct it), Exhausted (children, depth, processes, capabilities, budget), Invalid (a name or selector that
    is not canonical; a resident program; an unknown restart or strategy; a priority or amount out of bounds), NotFound
    (no such order), Closed (the order is over), NotYet (the order waits for a person).
    """

    program: str  # "python:module:function", "command:..." or a built-in name
    role: str = "worker"
    name: str = ""
    spec: Digest | None = None  # the bundle it is bound to: program, prompt and tools, content-addressed
    args: Digest | None = None  # what the program gets
    grants: tuple[Grant, ...] = ()
    budget: Amounts | None = None  # None: draws on the parent's account
    order: OrderId | None = None  # None: the parent's order
    domain: str = ""  # trust domain; processes of one domain may share a worker. "": the parent's
    family: str = ""  # model family it works with, for separation of duties
    priority: int = 0  # 0 normal, higher first; ageing keeps the low ones alive
    restart: str = "temporary"  # permanent | transient | temporary
    strategy: str = "one_for_one"  # for its own children: one_for_one | one_for_all | rest_for_one
    intensity: int = 3  # restarts of children allowed within the period, then it ends itself
    period_ns: int = 5_000_000_000
    is_linked: bool = True  # ends when its parent ends


class Exit(Call, frozen=True, tag="exit"):
    """End the calling process. Its children end, its leases are released, its capabilities are revoked.

    Refusals: none.
    """

    status: int = 0  # 0: done; others are the program's own
    result: Digest | None = None
    reason: str = ""


class Await(Call, frozen=True, tag="await"):
    """Wait until a child has ended, and get how. Answers at once when it already has.

    Refusals: NotFound (no such child, or its record was dropped).
    """

    pid: Pid


class Kill(Call, frozen=True, tag="kill"):
    """Signal a process: one's own descendant, or any that a signal right covers.

    A stopped process is not heard until CONT: its calls are refused NotYet, unrecorded, and count for nothing.

    Refusals: Forbidden, NotFound, Busy (the mailbox of the target is full).
    """

    pid: Pid
    signal: Signal = Signal.TERM


class Checkpoint(Call, frozen=True, tag="checkpoint"):
    """Record explicit state. After a crash the program starts from it and only later calls are answered again.

    Refusals: Busy (another strand of the process is inside a call), Invalid (called on a side strand).
    """

    state: Digest


class Note(Call, frozen=True, tag="note"):
    """Tell people how it goes. One line, shown by `show` and `log`; counts as progress.

    Refusals: Exhausted (longer than note_bytes_max).
    """

    text: str
    phase: str = ""  # planning | development | qa | review | gatekeeping | orchestration


class Whoami(Call, frozen=True, tag="whoami"):
    """The caller's own pid, order, account and arguments.

    Refusals: none.
    """
