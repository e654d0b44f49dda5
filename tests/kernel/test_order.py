"""The work order's life: each step guarded, nobody stuck, nothing left when it is over."""

import pytest

from agentos.abi.budget import Amounts
from agentos.abi.calls.base import Call
from agentos.abi.calls.process import Exit, Kill
from agentos.abi.calls.work import Begin, Cancel, Decide, Escalate, Look, Present, Submit
from agentos.abi.effects import CheckedOut, Checkout, Failed, RunCheck, Seal
from agentos.abi.events.work import AttemptEnded, OrderCancelled
from agentos.abi.ids import Digest, OrderId, Pid
from agentos.abi.limits import value
from agentos.abi.refusals import Broken, Closed, Exhausted, Forbidden, Invalid, NotFound, NotYet
from agentos.abi.replies import Begun, Done, Standing
from agentos.abi.rights import Right
from agentos.abi.signals import Signal
from agentos.abi.work import Approval, Command, Scope, Verdict
from agentos.kernel.work.order import OPEN, OVER, TRANSITIONS
from tests.kernel.world import SECOND, WAITING, World, contract, finding, grants, succeed

TEXT = Digest("d" * 64)


def green_on_base(effect: object) -> object:
    """A world where the checks pass before any work."""
    if isinstance(effect, RunCheck):
        return finding(effect.check.name, Verdict.PASSED)
    return succeed(effect)  # type: ignore[arg-type]


def question_of(world: World, order: OrderId) -> int:
    (number,) = world.state.orders[order].questions
    return number


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"accept": ()}, Invalid),
        ({"accept": (Command(name="a", argv=("x",)), Command(name="a", argv=("y",)))}, Invalid),
        ({"accept": (Command(name="gate", argv=("x",)),)}, Invalid),
        ({"accept": (Command(name="a", argv=()),)}, Invalid),
        ({"scope": Scope(allowed=())}, Invalid),
        ({"base": ""}, Invalid),
        ({"conductor": "person:user:ada"}, Invalid),
        ({"conductor": ""}, Invalid),
        ({"attempts_max": 0}, Invalid),
        ({"wall_ns_max": 0}, Invalid),
        ({"wall_ns_max": value("timer_span_ns_max") + 1}, Invalid),
        ({"weight": 0}, Invalid),
        ({"weight": value("weight_max") + 1}, Invalid),
        ({"budget": Amounts()}, Invalid),
        ({"budget": Amounts(uusd=-1, actions=1)}, Invalid),
        ({"budget": Amounts(uusd=10**12)}, Exhausted),
    ],
)
def test_a_contract_that_cannot_be_kept_is_refused_at_the_door(changes: dict[str, object], kind: type) -> None:
    world = World()
    call = Submit(title="t", text=TEXT, contract=contract(**changes))
    assert isinstance(world.refused(world.person(), call), kind)


def test_only_an_author_submits() -> None:
    world = World()
    eve = world.person("user:eve", "observer")
    assert isinstance(world.refused(eve, Submit(title="t", text=TEXT, contract=contract())), Forbidden)


def test_open_orders_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    ada = world.person()
    world.submit(ada)
    monkeypatch.setattr("agentos.kernel.work.order.value", lambda name: 1)
    assert isinstance(world.refused(ada, Submit(title="t", text=TEXT, contract=contract())), Exhausted)


def test_checks_are_red_on_the_base_before_anyone_works() -> None:
    world = World()
    order = world.submit(world.person())
    assert world.state.orders[order].state == "proving" and not world.state.orders[order].processes
    world.perform()
    row = world.state.orders[order]
    assert row.state == "ready" and len(row.processes) == 1 and row.proofs[0].verdict == Verdict.FAILED


def test_a_check_that_is_green_on_the_base_is_a_persons_to_waive() -> None:
    world = World()
    ada = world.person()
    order = world.submit(ada)
    world.perform(green_on_base)  # type: ignore[arg-type]
    assert world.state.orders[order].state == "escalated"
    assert world.ask(ada, Decide(question=question_of(world, order), choice="proceed")) == Done()
    row = world.state.orders[order]
    assert row.state == "ready" and row.proved_by == "waived" and len(row.processes) == 1


def test_a_check_that_need_not_fail_on_the_base_may_be_green() -> None:
    world = World()
    order = world.submit(world.person(), accept=(Command(name="lint", argv=("l",), must_fail_on_base=False),))
    world.perform(green_on_base)  # type: ignore[arg-type]
    assert world.state.orders[order].state == "ready"


def test_an_order_that_only_people_judge_needs_no_proof() -> None:
    world = World()
    order = world.submit(world.person(), accept=(Approval(name="ok"),))
    assert world.state.orders[order].state == "ready"


def test_begin_answers_when_the_working_copy_is_there() -> None:
    world = World()
    order = world.submit(world.person())
    world.perform()
    conductor = world.state.orders[order].processes[0]
    id = world.next_id(conductor)
    assert world.ask(conductor, Begin(order=order)) == WAITING
    assert isinstance(world.refused(conductor, Begin(order=order), strand=1), NotYet)
    world.perform()
    assert world.answer(id) == Begun(order=order, attempt=1)


def test_a_copy_that_cannot_be_made_ends_the_attempt_and_tells_why() -> None:
    world = World()
    order = world.submit(world.person())
    world.perform()
    conductor = world.state.orders[order].processes[0]
    id = world.next_id(conductor)
    world.ask(conductor, Begin(order=order))
    world.perform(lambda effect: Failed(fact="disk full") if isinstance(effect, Checkout) else succeed(effect))
    refusal = world.answer(id)
    assert isinstance(refusal, Broken) and "disk full" in refusal.fact
    assert world.state.orders[order].state == "ready" and len(world.of(AttemptEnded)) == 1


def test_attempts_are_bounded_and_a_persons_retry_grants_more() -> None:
    world = World()
    ada = world.person()
    order, conductor = world.executing(ada, attempts_max=1)
    assert isinstance(world.refused(conductor, Begin(order=order)), Exhausted)
    assert world.ask(conductor, Escalate(order=order, reason="stuck")) == Done()
    world.ask(ada, Decide(question=question_of(world, order), choice="retry"))
    (again,) = world.state.orders[order].processes
    assert again != conductor and world.ask(again, Begin(order=order)) == WAITING


def calls_about(order: OrderId) -> list[Call]:
    return [Begin(order=order), Present(order=order), Escalate(order=order, reason="r"), Cancel(order=order)]


def test_a_stranger_conducts_nothing() -> None:
    world = World()
    ada = world.person()
    order, _ = world.executing(ada)
    eve = world.spawn(world.person("user:eve"))
    for call in calls_about(order):
        assert isinstance(world.refused(eve, call), Forbidden)
    outside = world.spawn(ada, grants=grants((Right.PRESENT, f"/{order}")))
    assert isinstance(world.refused(outside, Present(order=order)), Forbidden), "works for no order"


def test_of_an_order_that_is_over_or_never_was_nothing_is_done() -> None:
    world = World()
    ada = world.person()
    order, _ = world.executing(ada)
    world.ask(ada, Cancel(order=order))
    for call in (*calls_about(order), Look(order=order)):
        assert isinstance(world.refused(ada, call), Closed)
    for call in (*calls_about(OrderId("WO-9")), Look(order=OrderId("WO-9"))):
        assert isinstance(world.refused(ada, call), NotFound)


def test_looking_tells_how_it_stands() -> None:
    world = World()
    ada = world.person()
    order, _ = world.executing(ada)
    got = world.ask(ada, Look(order=order))
    assert isinstance(got, Standing) and (got.state, got.attempt) == ("executing", 1)


def test_its_author_cancels_without_a_right_and_all_of_it_ends() -> None:
    world = World()
    ada = world.person("user:ada", "author")
    order, conductor = world.executing(ada)
    worker = world.spawn(conductor, is_linked=False)
    assert world.ask(ada, Cancel(order=order)) == Done()
    assert not {conductor, worker} & set(world.state.processes) and order not in world.state.orders
    assert not world.state.timers and len(world.state.accounts) == 1


def test_a_conductor_that_cancels_its_own_order_is_answered_first() -> None:
    world = World()
    order, conductor = world.executing(world.person())
    assert world.ask(conductor, Cancel(order=order)) == Done()
    assert conductor not in world.state.processes


@pytest.mark.parametrize(
    "state", ["proving", "ready", "starting", "executing", "sealing", "verifying", "gating", "escalated"]
)
def test_an_order_can_be_cancelled_in_every_state_with_its_effects_in_flight(state: str) -> None:
    world = World()
    ada = world.person()
    order = bring(world, ada, state)
    assert world.state.orders[order].state == state
    flying = list(world.flying)
    assert world.ask(ada, Cancel(order=order)) == Done()
    assert world.state.closed[order].state == "cancelled" and not world.state.questions
    for number in flying:
        world.settle(number, Failed(fact="aborted"))
    assert not world.state.effects and len(world.state.accounts) == 1
    assert isinstance(world.of(OrderCancelled)[0], OrderCancelled)


@pytest.mark.parametrize("state", ["proving", "ready", "starting", "executing", "sealing", "verifying", "gating"])
def test_an_order_that_is_overdue_waits_for_a_person_and_costs_nothing(state: str) -> None:
    world = World()
    ada = world.person()
    order = bring(world, ada, state, wall_ns_max=SECOND)
    flying = list(world.flying)
    world.tick(SECOND)
    assert world.state.orders[order].state == "escalated" and not world.state.orders[order].processes
    for number in flying:
        world.settle(number, Failed(fact="aborted", is_retryable=True))
    assert not world.state.effects
    world.ask(ada, Decide(question=question_of(world, order), choice="retry"))
    assert len(world.state.orders[order].processes) == 1
    world.tick(SECOND)
    assert world.state.orders[order].state == "escalated", "the second try has a limit too"


@pytest.mark.parametrize("state", ["proving", "starting", "sealing", "verifying", "gating"])
def test_a_crash_in_every_state_is_survived(state: str) -> None:
    world = World()
    order = bring(world, world.person(), state)
    world.crash()
    world.perform()
    assert world.state.orders[order].state == {"proving": "ready", "starting": "executing"}.get(state, "gating")


def bring(world: World, author: Pid, state: str, **changes: object) -> OrderId:
    """An order in a state, by the calls that lead there."""
    order = world.submit(author, **changes)
    if state == "proving":
        return order
    world.perform()
    conductor = world.state.orders[order].processes[0]
    if state == "escalated":
        world.ask(conductor, Escalate(order=order, reason="r"))
    if state in ("ready", "escalated"):
        return order
    world.ask(conductor, Begin(order=order))
    if state == "starting":
        return order
    world.settle(next(iter(world.flying)), CheckedOut())
    if state == "executing":
        return order
    worker = world.spawn(conductor, grants=grants((Right.PRESENT, f"/{order}")))
    world.ask(worker, Present(order=order))
    if state == "sealing":
        return order
    if state == "verifying":
        world.perform(lambda effect: succeed(effect) if isinstance(effect, Seal) else None)
        return order
    world.perform()
    return order


@pytest.mark.parametrize("state", ["ready", "starting", "executing", "sealing", "verifying", "gating"])
def test_an_order_whose_people_are_gone_asks_a_person_and_is_never_just_stuck(state: str) -> None:
    world = World()
    ada = world.person()
    order = bring(world, ada, state)
    for pid in list(world.state.orders[order].processes):
        if pid in world.state.processes:
            world.ask(ada, Kill(pid=pid, signal=Signal.KILL))
    world.perform()
    assert world.state.orders[order].state == "escalated"


def test_a_persons_word_may_also_end_it() -> None:
    world = World()
    ada = world.person()
    order = bring(world, ada, "escalated")
    world.ask(ada, Decide(question=question_of(world, order), choice="cancel"))
    assert world.state.closed[order].state == "cancelled"


def test_escalating_is_refused_while_the_kernel_itself_is_at_work() -> None:
    world = World()
    ada = world.person()
    order = bring(world, ada, "verifying")
    assert isinstance(world.refused(ada, Escalate(order=order, reason="r")), NotYet)


def test_an_external_order_is_judged_without_anyone_working() -> None:
    world = World()
    order = world.submit(world.person(), is_external=True, candidate="e" * 40)
    assert world.state.orders[order].state == "proving"
    world.perform()
    assert world.state.closed[order].state == "judged"


def test_an_external_change_that_cannot_be_read_goes_to_a_person() -> None:
    world = World()
    order = world.submit(world.person(), is_external=True, candidate="e" * 40)
    world.perform(lambda effect: Failed(fact="no such commit") if isinstance(effect, Checkout) else succeed(effect))
    assert world.state.orders[order].state == "escalated"


def test_every_transition_starts_from_open_states_and_reaches_a_known_one() -> None:
    known = {*OPEN, *OVER, "escalated"}
    for sources, target in TRANSITIONS.values():
        assert set(sources) <= known and target in known and not set(sources) & set(OVER)
    assert {target for _, target in TRANSITIONS.values()} == known - {"submitted"}


def test_a_conductor_that_exits_ends_what_is_linked_to_it() -> None:
    world = World()
    order, conductor = world.executing(world.person())
    worker = world.spawn(conductor)
    world.ask(conductor, Exit())
    assert worker not in world.state.processes and world.state.orders[order].state == "escalated"


def test_the_contract_compiles_to_the_conductors_grants() -> None:
    world = World()
    _, conductor = world.executing(world.person(), tools=("shell",), model_classes=("coder",))
    held = {world.state.capabilities[id].grant for id in world.state.processes[conductor].capabilities}
    rights = {(grant.right, grant.selector) for grant in held}
    assert (Right.TOOL, "/shell") in rights and (Right.INFER, "/coder") in rights
    assert not {right for right, _ in rights} & {Right.AUTHOR, Right.APPROVE, Right.SIGNAL, Right.SEND}
