"""Infer, Invoke, Ask: what is refused before anything is spent."""

import pytest

from agentos.abi.calls.device import Ask
from agentos.abi.calls.process import Exit
from agentos.abi.calls.work import Begin, Decide
from agentos.abi.effects import Failed, ToolEnded
from agentos.abi.ids import Digest
from agentos.abi.limits import value
from agentos.abi.refusals import Closed, Exhausted, Forbidden, Invalid, NotFound, NotYet, Stale
from agentos.abi.replies import Chosen, Done, Result
from agentos.abi.rights import Right
from tests.kernel.world import WAITING, World, ask_model, grants, use_tool

TOOLS = grants((Right.TOOL, "/**"), (Right.INFER, "/coder"))


def test_a_model_class_or_a_tool_that_was_not_granted_is_forbidden() -> None:
    world = World()
    pid = world.spawn(world.person(), grants=grants((Right.INFER, "/coder"), (Right.TOOL, "/read")))
    assert isinstance(world.refused(pid, ask_model(model_class="reasoner")), Forbidden)
    assert isinstance(world.refused(pid, use_tool("shell")), Forbidden)


def test_the_same_request_too_often_in_a_row_is_a_loop() -> None:
    world = World()
    pid = world.spawn(world.person(), grants=TOOLS)
    for _ in range(value("repeats_max")):
        world.ask(pid, ask_model(), args="same")
        world.settle(next(iter(world.flying)), Failed(fact="no"))
    refusal = world.refused(pid, ask_model(), args="same")
    assert isinstance(refusal, Exhausted) and refusal.limit == "limits.repeats_max"
    assert world.ask(pid, ask_model(), args="other") == WAITING
    world.settle(next(iter(world.flying)), Failed(fact="no"))
    assert world.ask(pid, ask_model(), args="same") == WAITING, "something else in between is no loop"


def test_tools_need_a_working_copy_once_there_is_an_order() -> None:
    world = World()
    ada = world.person()
    order = world.submit(ada)
    world.perform()
    conductor = world.state.orders[order].processes[0]
    assert isinstance(world.refused(conductor, use_tool()), NotYet)
    world.ask(conductor, Begin(order=order))
    assert isinstance(world.refused(conductor, use_tool(), strand=1), NotYet)
    world.perform()
    id = world.next_id(conductor)
    assert world.ask(conductor, use_tool()) == WAITING
    world.settle(next(iter(world.flying)), ToolEnded(content=Digest("f" * 64)))
    assert world.answer(id) == Result(content=Digest("f" * 64))


def test_a_worker_of_an_earlier_attempt_may_look_and_not_write() -> None:
    world = World()
    ada = world.person()
    order, conductor = world.executing(ada)
    old = world.spawn(conductor, grants=grants((Right.TOOL, "/shell")))
    assert world.ask(conductor, Begin(order=order)) == WAITING
    world.perform()
    assert isinstance(world.refused(old, use_tool()), Stale)
    assert world.ask(old, use_tool(repeat="pure")) == WAITING
    assert world.ask(conductor, use_tool(), strand=1) == WAITING, "who began it writes for it"
    new = world.spawn(conductor, grants=grants((Right.TOOL, "/shell")))
    assert world.ask(new, use_tool()) == WAITING


def test_a_question_waits_for_a_person_and_takes_one_of_its_choices() -> None:
    world = World()
    ada = world.person()
    pid = world.spawn(ada)
    id = world.next_id(pid)
    assert world.ask(pid, Ask(question="which?", choices=("a", "b"))) == WAITING
    (number,) = world.state.questions
    assert isinstance(world.refused(ada, Decide(question=number, choice="c")), Invalid)
    assert isinstance(world.refused(ada, Decide(question=99, choice="a")), NotFound)
    eve = world.person("user:eve", "observer")
    assert isinstance(world.refused(eve, Decide(question=number, choice="a")), Forbidden)
    world.crash()
    assert world.ask(ada, Decide(question=number, choice="a", text="because")) == Done()
    assert world.answer(id) == Chosen(choice="a", text="because")
    assert isinstance(world.refused(ada, Decide(question=number, choice="b")), Closed)


def test_questions_are_bounded_per_order() -> None:
    world = World(is_checked=False)
    _, conductor = world.executing(world.person())
    other = world.spawn(conductor)
    for strand in range(value("questions_max")):
        assert world.ask((conductor, other)[strand % 2], Ask(question="?"), strand=strand + 1) == WAITING
    assert isinstance(world.refused(other, Ask(question="?")), Exhausted)
    stranger = world.spawn(world.person())
    assert world.ask(stranger, Ask(question="?")) == WAITING


def test_a_request_of_an_order_that_ended_in_flight_is_charged_and_answered_to_nobody() -> None:
    from agentos.abi.calls.work import Cancel

    world = World()
    ada = world.person()
    order, conductor = world.executing(ada)
    id = world.next_id(conductor)
    world.ask(conductor, ask_model())
    world.ask(ada, Cancel(order=order))
    assert isinstance(world.ask(conductor, Exit(), strand=1), Closed)
    world.settle(next(iter(world.flying)), Failed(fact="aborted", is_spent_unknown=True))
    assert world.answer(id) == WAITING and world.state.accounts[1].spent.uusd == 100  # type: ignore[index]


def test_a_negative_bound_is_our_own_mistake() -> None:
    world = World()
    pid = world.spawn(world.person(), grants=TOOLS)
    with pytest.raises(AssertionError):
        world.ask(pid, ask_model(-1))
