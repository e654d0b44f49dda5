"""Control groups: money and other amounts, reserved before they are spent, settled from what was really used.

    reserve    walks leaf to root at once; one account without room refuses the whole
    settle     lifts the reservation and charges what was used, on the same walk
    write off  an outcome that will never be known counts as spent at its bound

Rule 1: spent + reserved stays within the limit, except where an outcome used more than was reserved for it; that is a
        fact, recorded as overrun, and nothing more is granted until there is room again.
Rule 2: a closed account reserves nothing; what was in flight still settles through it. One that nobody draws on and
        nothing is reserved on leaves; until then its row stays, for the walk of those below it.
Rule 3: amounts are integers, and every walk ends at the root: the tree has no cycle, since a parent is older.
"""

from collections.abc import Iterator

from agentos.abi.budget import NOTHING, Amounts
from agentos.abi.events.base import Event
from agentos.abi.events.process import AccountClosed, AccountOpened, AccountRaised
from agentos.abi.ids import AccountId
from agentos.abi.refusals import Closed, Exhausted, Refusal
from agentos.kernel.state import Account, Process, State


def path(state: State, account: AccountId) -> Iterator[Account]:
    """The account and those above it, leaf first."""
    while account:
        row = state.accounts[account]
        assert row.parent < account, "an account is younger than its parent"
        yield row
        account = row.parent


def room(row: Account) -> Amounts:
    """What one account still has."""
    return row.limit.minus(row.reserved).minus(row.spent)


def fault(state: State, account: AccountId, amounts: Amounts) -> Refusal | None:
    """Why an amount cannot be reserved, or None if it can."""
    for row in path(state, account):
        if row.is_closed:
            return Closed(thing=f"budget of {row.owner}", fact="is closed", remedy="open a new order", rule="law 5")
        if not amounts.fits(room(row)):
            return _shortage(row, amounts)
    return None


def _shortage(row: Account, amounts: Amounts) -> Exhausted:
    left = room(row)
    for unit in ("uusd", "tokens", "actions"):
        wanted, has = getattr(amounts, unit), getattr(left, unit)
        if wanted > has:
            return Exhausted(
                thing=f"budget of {row.owner}",
                fact=f"has {max(has, 0)} {unit} left of {getattr(row.limit, unit)}, and {wanted} are needed",
                remedy=_way_out(row, unit, wanted - has),
                rule="law 5",
                limit=f"budget.{unit}",
            )
    raise AssertionError("an amount that does not fit lacks some unit")


def _way_out(row: Account, unit: str, missing: int) -> str:
    """What its reader can do about a budget that is used up: an order's is raised, the others end with what has them."""
    if row.owner == "workspace":
        return "wait for what is reserved to settle, or cancel an order that holds it: agentos stop WO-n"
    if not row.owner.startswith("WO-"):
        return "end with what there is; whoever started this process gave it no more"
    usd = f"{missing // 1_000_000}.{missing % 1_000_000:06d}"
    return f"raise it with: agentos work raise {row.owner} " + (
        f"--usd {usd}" if unit == "uusd" else f"--{unit} {missing}"
    )


def ending(state: State, dead: Process) -> list[Event]:
    """Part of reaping: the accounts that close because nobody draws on them after this process, leaf first.

    A process's account outlives it while a child that is not linked still draws on it: the money was given to both.
    """
    events: list[Event] = []
    row = state.accounts[dead.account]
    while row.users == 1 and not row.is_closed and _is_ended(state, row, dead):
        events.append(AccountClosed(account=row.id))
        row = state.accounts[row.parent]
    return events


def _is_ended(state: State, row: Account, dead: Process) -> bool:
    """Whether the process that an account was opened for has ended."""
    if row.owner in state.orders or not row.parent:
        return False
    return row.owner == dead.pid or row.owner not in state.processes


def apply_opened(state: State, event: AccountOpened, at_ns: int) -> None:
    assert event.account == state.next_account, "accounts are numbered as they are opened"
    state.next_account = AccountId(event.account + 1)
    state.accounts[event.account] = Account(event.account, event.parent, event.owner, event.limit)
    if event.parent:
        join(state, event.parent)


def apply_raised(state: State, event: AccountRaised, at_ns: int) -> None:
    row = state.accounts[event.account]
    row.limit = row.limit.plus(event.by)


def apply_closed(state: State, event: AccountClosed, at_ns: int) -> None:
    row = state.accounts[event.account]
    row.is_closed = True
    if row.parent:
        state.accounts[row.parent].users -= 1
    _forget(state, event.account)


def reserve(state: State, account: AccountId, amounts: Amounts) -> None:
    """Part of an event's apply: set the amount aside, on the whole path."""
    for row in path(state, account):
        row.reserved = row.reserved.plus(amounts)


def settle(state: State, account: AccountId, reserved: Amounts, spent: Amounts) -> None:
    """Part of an event's apply: lift what was set aside, charge what was used."""
    if account not in state.accounts:
        assert reserved == spent == NOTHING, "an account with something in flight is not forgotten"
        return
    over = Amounts(
        max(spent.uusd - reserved.uusd, 0),
        max(spent.tokens - reserved.tokens, 0),
        max(spent.actions - reserved.actions, 0),
    )
    for row in path(state, account):
        row.reserved = row.reserved.minus(reserved)
        row.spent = row.spent.plus(spent)
        if over != NOTHING:
            row.overrun = row.overrun.plus(over)
        assert row.reserved.uusd >= 0 and row.reserved.tokens >= 0 and row.reserved.actions >= 0
    _forget(state, account)


def write_off(state: State, account: AccountId, amounts: Amounts) -> None:
    """Part of an event's apply: an attempt that was given up counts as spent; the reservation stands for the next."""
    for row in path(state, account):
        row.spent = row.spent.plus(amounts)


def join(state: State, account: AccountId) -> None:
    """Part of an event's apply: one more draws on it."""
    state.accounts[account].users += 1


def leave(state: State, account: AccountId) -> None:
    """Part of an event's apply: one less draws on it."""
    state.accounts[account].users -= 1
    assert state.accounts[account].users >= 0
    _forget(state, account)


def _forget(state: State, account: AccountId) -> None:
    """A closed account with nothing in flight leaves; what it spent is in its parents' sums and in the events."""
    row = state.accounts[account]
    if row.is_closed and not row.users and row.reserved == NOTHING:
        del state.accounts[account]
        if row.parent:
            _forget(state, row.parent)
