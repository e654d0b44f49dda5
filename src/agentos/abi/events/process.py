"""Processes: born, launched, ended."""

from agentos.abi.budget import Amounts
from agentos.abi.calls.process import Spawn
from agentos.abi.events.base import Event
from agentos.abi.ids import AccountId, Digest, OrderId, Pid, Principal
from agentos.abi.signals import Signal


class ProcessSpawned(Event, frozen=True, tag="process.spawned"):
    """A process exists; its program has not started. Grants and account come with events of their own."""

    pid: Pid
    parent: Pid
    principal: Principal
    spec: Spawn
    order: OrderId | None
    account: AccountId
    replaces: Pid | None = None  # the child it takes the place of, when a supervisor restarted it


class ProcessLaunched(Event, frozen=True, tag="process.launched"):
    """A program is to run; calls of earlier incarnations are stale."""

    pid: Pid
    incarnation: int
    reason: str = ""


class ProcessExited(Event, frozen=True, tag="process.exited"):
    """It makes no more calls. What it leaves behind is settled next."""

    pid: Pid
    status: int
    reason: str = ""
    result: Digest | None = None
    is_failure: bool = False  # for the supervisor: abnormal
    is_replaced: bool = False  # ended by its supervisor's strategy, to be started anew with a sibling


class ProcessReaped(Event, frozen=True, tag="process.reaped"):
    """Nothing of it is left but its exit record."""

    pid: Pid
    order: OrderId | None = None  # what it worked for
    is_vacant: bool = False  # its supervisor wants the place filled


class PlaceDropped(Event, frozen=True, tag="place.dropped"):
    """The place of this process is not filled after all: its supervisor or its order is gone."""

    pid: Pid


class ProcessSignalled(Event, frozen=True, tag="process.signalled"):
    """STOP and CONT; KILL is an exit, and the others are mail."""

    pid: Pid
    signal: Signal
    by: Pid


class ProcessCheckpointed(Event, frozen=True, tag="process.checkpointed"):
    """A later run starts from this state, and its calls are counted on from here."""

    pid: Pid
    state: Digest
    n: int  # calls of strand 0 up to and with the checkpoint


class ProcessBeaten(Event, frozen=True, tag="process.beaten"):
    """Heartbeats; not promised, may be lost."""

    pids: tuple[Pid, ...]


class ProcessNoted(Event, frozen=True, tag="process.noted"):
    """Progress, for people."""

    pid: Pid
    text: str
    phase: str = ""


class ProcessRestarted(Event, frozen=True, tag="process.restarted"):
    """A supervisor has restarted a child; counted against its intensity."""

    supervisor: Pid
    child: Pid


class AccountOpened(Event, frozen=True, tag="account.opened"):
    """A control group: what it may use at most, drawn from its parent's."""

    account: AccountId
    parent: AccountId
    limit: Amounts
    owner: str  # pid, order id, or "workspace"


class AccountRaised(Event, frozen=True, tag="account.raised"):
    account: AccountId
    by: Amounts


class AccountClosed(Event, frozen=True, tag="account.closed"):
    """Reserves nothing any more; what is in flight still settles."""

    account: AccountId
