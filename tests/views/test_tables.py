"""Processes, orders and inbox are the kernel's own tables, folded a second time and compared after every event."""

import pytest

from agentos.kernel import schedule
from agentos.kernel.apply import apply
from agentos.kernel.state import Device, State
from agentos.views import inbox, orders, processes
from agentos.views.orders import Orders
from agentos.views.processes import Processes
from tests.views import story
from tests.views.story import STORIES


def replayed(name):
    """The kernel's state after each event, beside the facts up to it."""
    facts = (story.two if name == "two" else STORIES[name])().facts
    state = State("w")
    state.devices = {kind: Device(slots) for kind, slots in schedule.SLOTS.items()}
    for end, fact in enumerate(facts, start=1):
        apply(state, fact.event, fact.at_ns)
        yield state, facts[:end]


@pytest.mark.parametrize("name", [*STORIES, "two"])
def test_processes_are_the_kernels(name):
    table = Processes()
    for state, facts in replayed(name):
        table.take(facts[-1])
        assert {row.pid: (row.state, row.incarnation) for row in table.alive()} == {
            pid: (row.state, row.incarnation) for pid, row in state.processes.items()
        }
        for row in table.alive():
            assert row.effects_open == len(state.processes[row.pid].effects)
            assert sorted(row.waits) == sorted(state.processes[row.pid].parked)


@pytest.mark.parametrize("name", [*STORIES, "two"])
def test_orders_are_the_kernels(name):
    table = Orders()
    for state, facts in replayed(name):
        table.take(facts[-1])
        kernels = {id: row.state for id, row in [*state.orders.items(), *state.closed.items()]}
        assert {row.order: row.state for row in table.rows.values()} == kernels
        for row in table.rows.values():
            account = state.accounts.get(row.account)
            if account is not None:
                assert (row.cost, row.reserved, row.budget) == (account.spent, account.reserved, account.limit)


@pytest.mark.parametrize("name", [*STORIES, "two"])
def test_the_inbox_is_the_kernels(name):
    for state, facts in replayed(name):
        if facts[-1].type not in ("question.asked", "question.decided", "order.closed", "order.cancelled"):
            continue
        assert [row.question for row in inbox.rows(facts)] == list(state.questions)


def test_every_state_has_a_next_step():
    from agentos.kernel.work.order import OPEN, OVER

    for state in (*OPEN, "escalated", *OVER):
        step = orders.next_step("WO-7", state)
        assert step.why and "{" not in step.command
    assert orders.next_step("WO-7", "closed").command == "agentos apply WO-7"
    assert orders.next_step("WO-7", "gating", questions=1).command == "agentos inbox"


def test_an_approval_names_the_commit_it_is_about():
    world = story.approved()
    until = [fact.seq for fact in world.facts if fact.type == "question.asked"][-1]
    row = inbox.rows(world.facts[:until])[-1]
    assert row.kind == "approval" and row.commit == story.COMMIT and row.content == story.TREE
    assert row.command() == f"agentos inbox {row.question} approve"


def test_the_tables_read_as_blessed(transcript):
    parts = []
    for name in ("running", "refused", "approved", "hostile"):
        world = STORIES[name]()
        table = processes.rows(world.facts, is_ended_shown=True)
        parts += [
            f"--- {name}",
            processes.render(table, world.now_ns),
            orders.render(orders.rows(world.facts), world.now_ns),
            inbox.render(inbox.rows(world.facts), world.now_ns),
        ]
    text = "\n".join(parts)
    assert all(line.isprintable() for line in text.split("\n"))
    transcript("views/tables", text)


def test_a_process_that_waits_says_what_for():
    rows = {row.role: row for row in processes.rows(story.running().facts)}
    assert processes.doing(rows["conductor"]) == "waits for 4.1 to end"
    assert processes.doing(rows["worker"]).startswith("waits for effect ")
    assert rows["worker"].effects_open == 1 and rows["worker"].note == "carrying"
    assert rows["worker"].cost.uusd == 2 * 20_617
