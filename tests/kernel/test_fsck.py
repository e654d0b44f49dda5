"""fsck itself: a healthy state breaks no law, and each law sees what it is for."""

from collections.abc import Callable

import pytest

from agentos.abi.budget import Amounts
from agentos.abi.calls.device import Ask
from agentos.abi.calls.ipc import Open, Receive, Send, Subscribe
from agentos.abi.calls.lease import Acquire, Sleep
from agentos.abi.calls.process import Await
from agentos.abi.ids import AccountId, CallId, CapabilityId, OrderId, Pid, Principal
from agentos.abi.rights import Grant, Right
from agentos.abi.work import Verdict
from agentos.kernel import fsck
from agentos.kernel.state import Attestation, Device, Letter, State, Summary
from tests.kernel.world import SECOND, TREE, WAITING, World, ask_model, grants, use_tool

ADA, LEAD, CHILD = Pid("2.1"), Pid("4.1"), Pid("5.1")
ORDER = OrderId("WO-1")
ROOT = AccountId(1)


def busy() -> State:
    """A state with something in every table."""
    world = World()
    ada = world.person()
    order, _ = world.executing(ada)
    every = grants((Right.SPAWN, "/**"), (Right.INFER, "/**"), (Right.LEASE, "/**"), (Right.TOOL, "/**"))
    lead = world.spawn(ada, grants=every, budget=Amounts(10_000, 10_000, 100))
    child = world.spawn(lead, grants=(Grant(Right.INFER, "/coder", 9),), is_linked=False)
    assert (ada, lead, child, order) == (ADA, LEAD, CHILD, ORDER)
    world.ask(ada, Open(channel="/c"))
    world.ask(ada, Subscribe(channel="/c"))
    world.ask(lead, Send(to=child, kind="x"))
    world.ask(ada, Acquire(resource="/r", ttl_ns=SECOND))
    calls = (
        Await(pid=child),
        Receive(timeout_ns=SECOND),
        Acquire(resource="/r", ttl_ns=SECOND, is_waiting=True),
        Sleep(span_ns=SECOND),
        ask_model(10),
        Ask(question="?"),
        use_tool(),
    )
    for strand, call in enumerate(calls, start=1):
        assert world.ask(lead, call, strand=strand) == WAITING
    return world.state


def _escalate(state: State) -> None:
    state.orders[ORDER].state = "escalated"


def _orphan(state: State) -> None:
    pending = state.effects[max(state.effects)]
    pending.is_dispatched, pending.is_orphaned = False, True
    state.devices["tool"].busy -= 1


def _attest(state: State) -> None:
    order = state.orders[ORDER]
    order.state = "gating"
    order.attestations.append(Attestation(TREE, "gate", Verdict.PASSED, ADA, Principal("x"), "", ""))


Plant = Callable[[State], object]
PLANTS: list[tuple[str, Plant]] = [
    ("settled", lambda state: state.dying.append(LEAD)),
    ("settled", lambda state: state.adrift.append(3)),
    ("numbers", lambda state: setattr(state, "next_effect", 1)),
    ("numbers", lambda state: setattr(state, "next_token", 1)),
    ("numbers", lambda state: setattr(state, "next_order", 1)),
    ("account sums", lambda state: setattr(state.accounts[ROOT], "reserved", Amounts())),
    ("account sums", lambda state: setattr(state.effects[max(state.effects)], "account", AccountId(99))),
    ("account bounds", lambda state: setattr(state.accounts[ROOT], "limit", Amounts())),
    ("account bounds", lambda state: setattr(state.accounts[ROOT], "spent", Amounts(-1))),
    ("account tree", lambda state: setattr(state.accounts[ROOT], "users", 0)),
    ("account tree", lambda state: setattr(state.accounts[AccountId(3)], "spent", Amounts(1))),
    ("account tree", lambda state: state.accounts.pop(AccountId(3))),
    ("capability holders", lambda state: state.processes[CHILD].capabilities.clear()),
    ("capability holders", lambda state: state.processes[ADA].capabilities.append(CapabilityId(99))),
    (
        "capability tree",
        lambda state: state.capabilities[state.processes[CHILD].capabilities[0]].__setattr__("uses", 10),
    ),
    (
        "capability tree",
        lambda state: setattr(
            state.capabilities[state.processes[CHILD].capabilities[0]], "grant", Grant(Right.TOOL, "/**")
        ),
    ),
    ("capability tree", lambda state: setattr(state.capabilities[CapabilityId(20)], "parent", CapabilityId(1))),
    ("process tree", lambda state: setattr(state.processes[CHILD], "parent", ADA)),
    ("process tree", lambda state: setattr(state.processes[LEAD], "parent", CHILD)),
    ("process tree", lambda state: state.processes[ADA].children.append(LEAD)),
    ("slots", lambda state: state.free_slots.append(1)),
    ("slots", lambda state: state.generations.__setitem__(0, 7)),
    ("process states", lambda state: setattr(state.processes[CHILD], "state", "zombie")),
    ("process states", lambda state: setattr(state.processes[CHILD], "state", "waiting")),
    ("process states", lambda state: state.orders.pop(ORDER)),
    ("sessions", lambda state: state.sessions.__setitem__(Principal("user:bob"), LEAD)),
    ("parked calls", lambda state: state.processes[CHILD].awaited_by.clear()),
    ("parked calls", lambda state: state.processes[LEAD].mailbox.append(Letter(1, ADA, "x", None))),
    ("parked calls", lambda state: state.questions.clear()),
    ("parked calls", lambda state: state.processes[LEAD].strands.__setitem__(1, 9)),
    ("answers owed", lambda state: state.processes[LEAD].parked.clear()),
    ("answers owed", lambda state: setattr(state.orders[ORDER], "call", CallId(ADA, 9, 1))),
    ("devices", lambda state: setattr(state.devices["tool"], "busy", 0)),
    ("devices", lambda state: state.devices["tool"].lanes.__setitem__("0:", [1])),
    ("devices", lambda state: state.devices["tool"].turns.__setitem__("WO-9", 1)),
    ("devices", lambda state: state.devices.__setitem__("tool", Device(0, 1))),
    ("effects", lambda state: setattr(state.effects[max(state.effects)], "is_abandoned", True)),
    ("effects", lambda state: setattr(state.effects[max(state.effects)], "attempt", 9)),
    ("effects", lambda state: state.processes[LEAD].effects.append(99)),
    ("leases", lambda state: setattr(state.leases["/r"], "holder", None)),
    ("leases", lambda state: setattr(state.leases["/r"], "deadline_at_ns", 1)),
    ("leases", lambda state: state.leases["/r"].waits.clear()),
    ("leases", lambda state: state.processes[CHILD].leases.append("/r")),
    ("timers", lambda state: state.schedule.pop()),
    ("timers", lambda state: state.schedule.reverse()),
    ("timers", lambda state: setattr(state.leases["/r"], "timer", 0)),
    ("orders", lambda state: setattr(state.orders[ORDER], "waiting_checks", 1)),
    ("orders", lambda state: setattr(state.orders[ORDER], "state", "presented")),
    ("orders", lambda state: state.orders[ORDER].processes.clear()),
    ("orders", lambda state: setattr(state.accounts[AccountId(2)], "is_closed", True)),
    ("orders", _escalate),
    ("orders", _attest),
    (
        "closed orders",
        lambda state: state.closed.__setitem__(ORDER, Summary(ORDER, "closed", "", "", Amounts(), 0, AccountId(2))),
    ),
    ("mailboxes", lambda state: state.processes[CHILD].mailbox.append(Letter(1, ADA, "x", None))),
    ("channels", lambda state: state.channels["/c"].subscribers.clear()),
    ("channels", lambda state: state.processes[ADA].channels.clear()),
    ("questions", lambda state: setattr(next(iter(state.questions.values())), "order", ORDER)),
    ("questions", lambda state: state.orders[ORDER].questions.append(99)),
    ("questions", _escalate),
    ("questions", _orphan),
]


def test_a_busy_healthy_state_breaks_no_law() -> None:
    assert fsck.faults(busy()) == []


@pytest.mark.parametrize(("law", "plant"), PLANTS, ids=[f"{number}-{law}" for number, (law, _) in enumerate(PLANTS)])
def test_a_breach_is_seen_by_its_law(law: str, plant: Plant) -> None:
    state = busy()
    plant(state)
    assert law in {fault.law for fault in fsck.faults(state)}


def test_every_law_is_tried() -> None:
    assert {law for law, _ in PLANTS} == set(fsck.LAWS)


def test_a_fault_names_the_thing_and_the_fact() -> None:
    state = busy()
    state.devices["tool"].busy = 0
    fault = fsck.faults(state)[0]
    assert fault.thing == "device tool" and "1 are dispatched" in fault.fact
