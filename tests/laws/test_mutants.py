"""The checkers are themselves checked: each mutant is the kernel with one small bug, and each is caught by a random play.

The table says what catches it: a law of fsck by its name in quotes, a witness of the court by its word, the harness, or
one of the kernel's own asserts by its text. A mutant that survives means that the laws have a hole.
"""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from agentos.abi.budget import Amounts
from agentos.abi.calls.base import Call
from agentos.abi.effects import Cancelled, Repeat, device
from agentos.abi.events.call import CallParked, EffectSettled, KernelBooted
from agentos.abi.events.ipc import LeaseEnded, MailTaken
from agentos.abi.events.process import ProcessNoted, ProcessReaped
from agentos.abi.events.work import AttemptEnded, ClosingBegun
from agentos.abi.rights import selects
from agentos.abi.work import Reason, Verdict
from agentos.kernel import (
    agenda,
    apply,
    budget,
    capability,
    decide,
    effects,
    ipc,
    lease,
    process,
    schedule,
    supervise,
)
from agentos.kernel.decision import Decision, deciding
from agentos.kernel.state import State
from agentos.kernel.work import evidence, gate, order
from tests.laws.play import dealt, play

PLAYS, MOVES = 200, 100  # at most: a bug that hides longer than this is not caught in practice

Patch = Callable[[pytest.MonkeyPatch], None]


class Mutant(NamedTuple):
    """One bug, and a part of what the catcher says."""

    what: str
    plant: Patch
    caught_by: str


def put(module: Any, name: str, made: Callable[[Any], Any]) -> Patch:
    """Replace a function by what is made of it."""
    return lambda patch: patch.setattr(module, name, made(getattr(module, name)))


def row(table: dict[Any, Any], key: Any, made: Callable[[Any], Any]) -> Patch:
    """Replace an entry of a table by what is made of it."""
    return lambda patch: patch.setitem(table, key, made(table[key]))


def nothing(_: Any) -> Any:
    return lambda *args, **kwargs: None


def none_of(_: Any) -> Any:
    return lambda *args, **kwargs: []


def settle_without_lifting(_: Any) -> Any:
    return lambda state, account, reserved, spent: budget.write_off(state, account, spent)


def old_token(grant: Any) -> Any:
    def mutant(state: State, resource: str, token: int, *rest: Any, **named: Any) -> Any:
        return grant(state, resource, max(token - 1, 1), *rest, **named)

    return mutant


def leaf_only(fault: Any) -> Any:
    def mutant(state: State, account: Any, amounts: Amounts) -> Any:
        leaf = state.accounts[account]
        return None if amounts.fits(budget.room(leaf)) and not leaf.is_closed else fault(state, account, amounts)

    return mutant


def from_the_end(_: Any) -> Any:
    def mutant(state: State, pending: Any) -> None:
        lanes = state.devices[device(pending.what)].lanes
        lanes[schedule.lane(pending)].pop()
        if not lanes[schedule.lane(pending)]:
            del lanes[schedule.lane(pending)]
        schedule.stir(state, device(pending.what))

    return mutant


def slot_kept(_: Any) -> Any:
    def mutant(state: State, pending: Any) -> None:
        pending.is_dispatched = False

    return mutant


def without_counterpart(applied: Any) -> Any:
    def mutant(state: State, event: CallParked, at_ns: int) -> None:
        applied(state, event, at_ns)
        if event.kind == "await":
            state.processes[event.target].awaited_by.clear()  # type: ignore[index]

    return mutant


def twice(made: Any) -> Any:
    return lambda *args, **kwargs: [*made(*args, **kwargs), *made(*args, **kwargs)]


def dangling(_: Any) -> Any:
    def mutant(state: State, dead: Any) -> None:
        for id in dead.capabilities:
            held = state.capabilities.pop(id)
            if held.parent in state.capabilities:
                state.capabilities[held.parent].children.remove(id)
        dead.capabilities = []

    return mutant


def only_itself(_: Any) -> Any:
    def mutant(state: State, held: Any) -> None:
        state.processes[held.holder].capabilities.remove(held.id)
        del state.capabilities[held.id]

    return mutant


def forgetful(applied: Any) -> Any:
    def mutant(state: State, event: KernelBooted, at_ns: int) -> None:
        applied(state, event, at_ns)
        state.adrift.clear()

    return mutant


def impatient(weigh: Any) -> Any:
    def mutant(state: State, row: Any) -> Any:
        passed = [one.check for one in row.attestations if one.verdict == Verdict.PASSED]
        if row.verdict == Verdict.PASSED and row.change is not None and "gate" in passed:
            void = order.withdrawing(state, row, "") if row.contract.branch else []
            return Decision([*void, *gate._close(state, row).events], gate._close(state, row).instructions)
        return weigh(state, row)

    return mutant


def lenient(_: Any) -> Any:
    return lambda state, row: evidence._verdict(state, row, Verdict.PASSED, Reason.OK, "")


def impure(send: Any) -> Any:
    def mutant(state: State, entry: Any, call: Any) -> Any:
        state.now_ns += 1
        return send(state, entry, call)

    return mutant


COUNTER = [0]


def ambient(applied: Any) -> Any:
    def mutant(state: State, event: ProcessNoted, at_ns: int) -> None:
        applied(state, event, at_ns)
        COUNTER[0] += 1
        state.processes[event.pid].beaten_at_ns = COUNTER[0]

    return mutant


def anybodys(_: Any) -> Any:
    def mutant(state: State, holder: Any, right: Any, target: str) -> Any:
        rows = state.capabilities.values()
        return next((one for one in rows if one.grant.right == right and selects(one.grant.selector, target)), None)

    return mutant


def adopted(supervised: Any) -> Any:
    def mutant(state: State, dead: Any, now_ns: int) -> Any:
        return supervised(state, msgspec.structs.replace(dead, is_adopted=False), now_ns)

    return mutant


def early(_: Any) -> Any:
    return lambda state, dead, now_ns: (True, [], [])


def keeps_lease(applied: Any) -> Any:
    def mutant(state: State, event: LeaseEnded, at_ns: int) -> None:
        row = state.leases[event.resource]
        holder = row.holder
        applied(state, event, at_ns)
        if holder in state.processes:
            state.processes[holder].leases.append(event.resource)

    return mutant


def unheard(settle: Any) -> Any:
    def mutant(state: State, entry: Any, call: Any) -> Any:
        ruling = settle(state, entry, call)
        kept = [event for event in ruling.events if not hasattr(event, "reply")]
        return Decision(kept, ruling.instructions)

    return mutant


def resettled(reap: Any) -> Any:
    """What is in flight is settled at once, and its outcome comes all the same."""

    def mutant(state: State, entry: Any, call: Any) -> Any:
        ruling = reap(state, entry, call)
        ends: list[Any] = [
            EffectSettled(effect=number, attempt=state.effects[number].attempt, outcome=Cancelled(), spent=Amounts())
            for number in state.processes[call.pid].effects
            if state.effects[number].is_dispatched
        ]
        return Decision([*ends, *ruling.events], ruling.instructions)

    return mutant


def refused_and_done(decided: Any) -> Any:
    """A refusal that still does something: an effect on record beside it."""

    def mutant(state: State, entry: Any, call: Call) -> Any:
        ruling = decided(state, entry, call)
        if (
            isinstance(ruling, Decision)
            and ruling.events
            and hasattr(ruling.events[0], "refusal")
            and entry.id.pid != "0.0"
        ):
            return Decision([*ruling.events, ProcessNoted(pid=entry.id.pid, text="x")], ruling.instructions)
        return ruling

    return mutant


def unbound(applied: Any) -> Any:
    """A reaped process's effects are not given up: their outcomes are still meant for it."""

    def mutant(state: State, event: ProcessReaped, at_ns: int) -> None:
        numbers = list(state.processes[event.pid].effects)
        applied(state, event, at_ns)
        for number in numbers:
            if number in state.effects:
                state.effects[number].is_abandoned = False

    return mutant


MUTANTS = [
    Mutant("settle does not lift the reservation", put(budget, "settle", settle_without_lifting), "'account sums'"),
    Mutant("a budget is checked on the leaf alone", put(budget, "fault", leaf_only), "reserve:"),
    Mutant("an account outlives everybody who drew on it", put(budget, "ending", none_of), "'account tree'"),
    Mutant("a lease's token is not incremented", put(lease, "_grant", old_token), "token"),
    Mutant("the end of a lease does not reach its holder", row(apply.APPLY, LeaseEnded, keeps_lease), "'leases'"),
    Mutant("a dead waiter stays in the queue", put(lease, "leave", nothing), "'answers owed'"),
    Mutant("derive does not check that it narrows", put(capability, "covers", lambda _: lambda *a: True), "mint:"),
    Mutant("anybody's capability will do", put(capability, "find", anybodys), "right:"),
    Mutant("uses are not counted", put(capability, "counted", lambda _: lambda held, ruling: ruling), "right:"),
    Mutant("revoking leaves what was derived", put(capability, "_remove", only_itself), "'capability tree'"),
    Mutant("the dead leave their derivations dangling", put(capability, "drop", dangling), "'capability tree'"),
    Mutant("exit does not end the linked and the order's", put(process, "killed", none_of), "Fault(law="),
    Mutant(
        "awaiting leaves no trace at the child", row(apply.APPLY, CallParked, without_counterpart), "'parked calls'"
    ),
    Mutant("a waiter is answered twice", put(supervise, "release", twice), "answered twice"),
    Mutant("an adopted child is restarted under init", put(supervise, "_supervise", adopted), "place:"),
    Mutant("every place is filled, whoever has died", put(supervise, "_supervise", early), ""),
    Mutant("a once effect is retried", put(effects, "repeat", lambda _: lambda what: Repeat.PURE), "once:"),
    Mutant("a boot forgets what was in flight", row(apply.APPLY, KernelBooted, forgetful), "world's hands"),
    Mutant(
        "what the dead had in flight is settled at once",
        row(
            decide.KERNEL_CALLS,
            supervise_reap := next(k for k, v in decide.KERNEL_CALLS.items() if v is supervise.reap),
            resettled,
        ),
        "world's hands",
    ),
    Mutant("the dead's effects are not given up", row(apply.APPLY, ProcessReaped, unbound), "'effects'"),
    Mutant("a late outcome is taken for a fresh one", put(effects, "_is_late", lambda _: lambda *a: False), ""),
    Mutant("an orphan's question stays in the inbox", put(effects, "_withdrawn", none_of), "'questions'"),
    Mutant("the wrong effect leaves the lane", put(schedule, "dequeue", from_the_end), ""),
    Mutant("a slot is never free again", put(schedule, "vacate", slot_kept), "'devices'"),
    Mutant("hungry is not kept true", put(schedule, "stir", nothing), "'devices'"),
    Mutant("a timer stays when its object goes", put(agenda, "strike", nothing), ""),
    Mutant("a letter is taken and stays", row(apply.APPLY, MailTaken, nothing), ""),
    Mutant("the dead go on reading channels", put(ipc, "leave", nothing), "'channels'"),
    Mutant("an order's channels outlive it", put(ipc, "close", nothing), "'closed orders'"),
    Mutant("authors judge their own work", put(gate, "_kinship", nothing), "judge:"),
    Mutant("an order closes on the gate alone", put(gate, "weigh", impatient), "close:"),
    Mutant("failed checks count as passed", put(evidence, "conclude", lenient), "verify:"),
    Mutant("an order that is over keeps its effects", put(order, "_abandon", nothing), "'effects'"),
    Mutant("the approvals of a rejected change stay", put(order, "withdrawing", none_of), "'questions'"),
    Mutant("a rejected attempt goes on", row(order.TRANSITIONS, AttemptEnded, lambda step: (step[0], "presented")), ""),
    Mutant(
        "closing starts from anywhere but the gate",
        row(order.TRANSITIONS, ClosingBegun, lambda _: (("ready",), "closing")),
        "ClosingBegun from gating",
    ),
    Mutant(
        "deciding changes the state",
        row(decide.CALLS, next(k for k, v in decide.CALLS.items() if v is ipc.send), impure),
        "changed the state",
    ),
    Mutant("apply remembers something of its own", row(apply.APPLY, ProcessNoted, ambient), "replay differs"),
    Mutant("a refusal still does something", put(decide, "decide", refused_and_done), "refuse:"),
    Mutant("strands are not counted", put(apply, "_count", nothing), ""),
    Mutant(
        "whoever waits for an effect is not answered",
        row(decide.KERNEL_CALLS, next(k for k, v in decide.KERNEL_CALLS.items() if v is effects.settle), unheard),
        "'parked calls'",
    ),
    Mutant(
        "advance takes no step",
        put(order, "step", lambda step: lambda state, id, event: state.orders[id]),
        "",
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what.replace(" ", "_"))
def test_a_mutant_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.plant(monkeypatch)
    said = caught()
    assert said is not None, f"nothing notices that {mutant.what}"
    assert mutant.caught_by in said, said


def caught(plays: int = PLAYS) -> str | None:
    """What the first play that fails says. Any failure is a catch: a kernel that dies does not write on."""
    for seed in range(plays):
        try:
            play(dealt(seed, MOVES))
        except Exception as fault:  # noqa: BLE001 any death is a catch
            place = traceback.extract_tb(fault.__traceback__)[-1]
            return f"{Path(place.filename).name}: {type(fault).__name__}: {fault}"
    return None


def test_the_kernel_as_it_is_survives_the_same_plays() -> None:
    assert deciding() == Decision([], []) and caught(15) is None
