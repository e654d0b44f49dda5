"""Effects through crashes, retries, and outcomes that come late, wrong or never."""

import pytest

from agentos.abi.budget import Amounts
from agentos.abi.calls.kernel import Settle
from agentos.abi.calls.process import Exit, Kill
from agentos.abi.calls.work import Decide
from agentos.abi.effects import (
    Answered,
    Cancelled,
    CheckedOut,
    Failed,
    Moved,
    MoveRef,
    RunCheck,
    ToolEnded,
    Unknown,
)
from agentos.abi.events.call import EffectDispatched, EffectOrphaned, EffectRetried, EffectSettled
from agentos.abi.events.work import QuestionWithdrawn
from agentos.abi.ids import Digest, Pid
from agentos.abi.inference import Usage
from agentos.abi.limits import value
from agentos.abi.refusals import Broken, Closed, TimedOut
from agentos.abi.replies import Done, Result
from agentos.abi.rights import Right
from agentos.abi.signals import Signal
from tests.kernel.world import SECOND, WAITING, World, ask_model, grants, succeed, use_tool

DONE = ToolEnded(content=Digest("f" * 64))
TOOLS = grants((Right.TOOL, "/**"), (Right.INFER, "/**"))


def agent(world: World) -> Pid:
    return world.spawn(world.person(), grants=TOOLS)


@pytest.mark.parametrize("repeat", ["pure", "idempotent", "queryable"])
def test_after_a_crash_what_may_be_repeated_is_and_the_caller_gets_one_answer(repeat: str) -> None:
    world = World()
    pid = agent(world)
    id = world.next_id(pid)
    world.ask(pid, use_tool(repeat=repeat))
    world.crash()
    assert world.flying[1].attempt == 2
    world.settle(1, DONE)
    assert world.answer(id) == Result(content=DONE.content)


def test_after_a_crash_inference_is_asked_again_and_the_lost_answer_paid() -> None:
    world = World()
    pid = agent(world)
    world.ask(pid, ask_model(100))
    world.crash()
    row = world.state.accounts[1]  # type: ignore[index]
    assert row.spent.uusd == 100 == row.reserved.uusd and row.overrun == Amounts()
    assert world.flying[1].attempt == 2


def test_after_a_crash_inference_that_cannot_be_paid_again_is_refused() -> None:
    world = World()
    pid = world.spawn(world.person(), grants=TOOLS, budget=Amounts(150, 1_000, 10))
    id = world.next_id(pid)
    world.ask(pid, ask_model(100))
    world.crash()
    assert world.answer(id) != WAITING and not world.state.effects
    assert world.state.accounts[1].spent.uusd == 100  # type: ignore[index]


@pytest.mark.parametrize("repeat", ["once", "nonsense"])
def test_after_a_crash_a_once_effect_is_never_done_again_and_a_person_says(repeat: str) -> None:
    world = World()
    ada = world.person()
    pid = agent(world)
    id = world.next_id(pid)
    world.ask(pid, use_tool(repeat=repeat))
    world.crash()
    assert not world.flying and len(world.of(EffectDispatched)) == 1
    (question,) = world.state.questions.values()
    assert question.kind == "unknown" and world.answer(id) == WAITING
    world.crash()
    assert len(world.of(EffectOrphaned)) == 1
    assert world.ask(ada, Decide(question=question.id, choice="happened")) == Done()
    assert isinstance(world.answer(id), Broken) and not world.state.effects
    assert world.state.accounts[1].spent.actions == 1  # type: ignore[index]
    assert isinstance(world.refused(ada, Decide(question=question.id, choice="happened")), Closed)


def test_what_a_person_says_did_not_happen_costs_nothing() -> None:
    world = World()
    pid = agent(world)
    world.ask(pid, use_tool())
    world.crash()
    (number,) = world.state.questions
    world.ask(world.person(), Decide(question=number, choice="did not happen"))
    assert world.state.accounts[1].spent == Amounts()  # type: ignore[index]


def test_the_outcome_of_a_lost_effect_takes_its_question_back() -> None:
    world = World()
    pid = agent(world)
    id = world.next_id(pid)
    world.ask(pid, use_tool())
    world.settle(1, Unknown(fact="line dropped"))
    assert len(world.state.questions) == 1
    world.tell(Settle(effect=1, attempt=1, outcome=Unknown(fact="still no line")))
    assert len(world.state.questions) == 1 and world.state.devices["tool"].busy == 0
    world.tell(Settle(effect=1, attempt=1, outcome=DONE))
    assert world.answer(id) == Result(content=DONE.content) and not world.state.questions


def test_an_orphan_whose_process_ends_leaves_and_is_charged() -> None:
    world = World()
    ada = world.person()
    pid = agent(world)
    world.ask(pid, use_tool())
    world.crash()
    world.ask(ada, Kill(pid=pid, signal=Signal.KILL))
    assert not world.state.questions and not world.state.effects
    assert world.state.accounts[1].spent.actions == 1  # type: ignore[index]
    assert len(world.of(QuestionWithdrawn)) == 1


def test_unknown_of_what_may_be_repeated_asks_nobody() -> None:
    world = World()
    world.submit(world.person())
    (number,) = world.flying
    world.settle(number, Unknown(fact="sandbox vanished"))
    assert not world.state.questions and world.flying[number].attempt == 2


def test_a_retryable_failure_rests_and_is_tried_again() -> None:
    world = World()
    pid = agent(world)
    id = world.next_id(pid)
    world.ask(pid, ask_model())
    world.settle(1, Failed(fact="overloaded", is_retryable=True, retry_after_ns=SECOND))
    assert not world.flying and world.state.timers
    world.tick(SECOND)
    assert world.flying[1].attempt == 2 and not world.state.timers
    world.settle(1, Failed(fact="overloaded", is_retryable=True))
    assert world.flying[1].attempt == 3
    world.settle(1, Failed(fact="gone"))
    assert isinstance(world.answer(id), Broken)


def test_attempts_are_bounded() -> None:
    world = World()
    pid = agent(world)
    id = world.next_id(pid)
    world.ask(pid, ask_model())
    for _ in range(value("attempts_max")):
        world.settle(1, Failed(fact="overloaded", is_retryable=True))
    refusal = world.answer(id)
    assert isinstance(refusal, Broken) and f"after {value('attempts_max')} attempts" in refusal.fact


def test_a_once_effect_is_not_retried() -> None:
    world = World()
    pid = agent(world)
    id = world.next_id(pid)
    world.ask(pid, use_tool())
    world.settle(1, Failed(fact="busy", is_retryable=True))
    assert isinstance(world.answer(id), Broken) and not world.of(EffectRetried)


def test_a_timeout_is_told_as_one() -> None:
    world = World()
    pid = agent(world)
    id = world.next_id(pid)
    world.ask(pid, ask_model())
    world.settle(1, Failed(fact="no answer in 60 s", is_timeout=True))
    assert isinstance(world.answer(id), TimedOut)


@pytest.mark.parametrize("attempt", [1, 9])
def test_an_outcome_of_an_attempt_given_up_is_recorded_and_changes_nothing(attempt: int) -> None:
    world = World()
    pid = agent(world)
    world.ask(pid, ask_model())
    world.crash()
    before = dict(world.state.effects), world.state.accounts[1].spent  # type: ignore[index]
    world.tell(Settle(effect=1, attempt=attempt, outcome=Answered(answer=Digest("a" * 64), usage=Usage(), uusd=7)))
    late = world.of(EffectSettled)[-1]
    assert isinstance(late, EffectSettled) and late.is_late
    assert (dict(world.state.effects), world.state.accounts[1].spent) == before  # type: ignore[index]


def test_an_outcome_that_comes_twice_is_charged_once() -> None:
    world = World()
    pid = agent(world)
    world.ask(pid, ask_model())
    outcome = Answered(answer=Digest("a" * 64), usage=Usage(), uusd=7)
    world.settle(1, outcome)
    world.tell(Settle(effect=1, attempt=1, outcome=outcome))
    assert world.state.accounts[1].spent.uusd == 7  # type: ignore[index]


def test_a_resting_effect_of_the_dead_is_settled_and_its_timer_gone() -> None:
    world = World()
    pid = agent(world)
    world.ask(pid, ask_model())
    world.settle(1, Failed(fact="overloaded", is_retryable=True, retry_after_ns=SECOND))
    world.ask(pid, Exit(), strand=1)
    assert not world.state.effects and not world.state.timers
    world.tick(SECOND)


def test_what_flew_when_both_process_and_kernel_died_is_only_charged() -> None:
    world = World()
    pid = agent(world)
    world.ask(pid, ask_model(100))
    world.ask(pid, use_tool(), strand=1)
    world.ask(pid, Exit(), strand=2)
    world.crash()
    assert not world.state.effects and not world.state.questions and not world.flying
    assert world.state.accounts[1].spent.uusd == 100  # type: ignore[index]


@pytest.mark.parametrize(
    "outcome", [Moved(), CheckedOut(), Cancelled(), Answered(answer=Digest("a" * 64), usage=Usage(), uusd=9)]
)
def test_a_check_with_a_foreign_outcome_is_unverified_and_costs_nothing(
    outcome: Moved | CheckedOut | Cancelled | Answered,
) -> None:
    world = World()
    order = world.submit(world.person())
    (number,) = world.flying
    world.settle(number, outcome)
    assert world.state.orders[order].state == "escalated"
    assert world.state.accounts[1].spent == Amounts()  # type: ignore[index]


def test_moving_a_branch_is_asked_again_after_a_crash() -> None:
    from agentos.abi.calls.work import Attest, Present
    from agentos.abi.work import Verdict
    from tests.kernel.world import TREE

    world = World()
    ada = world.person()
    order, conductor = world.executing(ada)
    worker = world.spawn(conductor, grants=grants((Right.PRESENT, f"/{order}")))
    world.ask(worker, Present(order=order))
    world.perform()
    judge = world.spawn(conductor, grants=grants((Right.ATTEST, f"/{order}")))
    world.ask(judge, Attest(order=order, content=TREE, verdict=Verdict.PASSED))
    world.crash()
    (one,) = world.flying.values()
    assert isinstance(one.effect, MoveRef) and one.attempt == 2
    world.perform(succeed)
    assert world.state.closed[order].state == "closed"


def test_checks_survive_as_many_crashes_as_attempts() -> None:
    world = World()
    order = world.submit(world.person())
    for _ in range(value("attempts_max") - 1):
        world.crash()
    assert all(isinstance(one.effect, RunCheck) for one in world.flying.values()) and world.flying
    world.crash()
    assert world.state.orders[order].state == "escalated"
