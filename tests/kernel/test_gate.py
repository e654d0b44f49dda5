"""The gate: nobody judges their own work, and only everybody's yes closes an order."""

import pytest

from agentos.abi.calls.process import Exit
from agentos.abi.calls.work import Attest, Begin, Decide, Escalate, Present
from agentos.abi.effects import Failed, MoveRef
from agentos.abi.events.work import ContentAttested, OrderClosed, QuestionAsked, QuestionWithdrawn
from agentos.abi.ids import Digest, OrderId, Pid
from agentos.abi.refusals import Closed, Forbidden, NotFound, NotYet, Stale
from agentos.abi.replies import Done
from agentos.abi.rights import Grant, Right
from agentos.abi.work import Approval, Command, Review, Verdict
from tests.kernel.world import TREE, World, ask_model, grants, succeed, use_tool

TESTS = Command(name="tests", argv=("pytest",))


def rights(order: OrderId) -> tuple[Grant, ...]:
    return grants(
        (Right.PRESENT, f"/{order}"),
        (Right.ATTEST, f"/{order}"),
        (Right.SPAWN, "/**"),
        (Right.TOOL, "/shell"),
        (Right.INFER, "/coder"),
    )


def gating(world: World, author: Pid, **changes: object) -> tuple[OrderId, Pid, Pid]:
    """An order whose work has passed every check: it, its conductor, its worker."""
    order, conductor = world.executing(author, **changes)
    worker = world.spawn(conductor, grants=rights(order))
    world.ask(worker, Present(order=order))
    world.perform()
    assert world.state.orders[order].state == "gating"
    return order, conductor, worker


def passed(order: OrderId, check: str = "gate", verdict: Verdict = Verdict.PASSED) -> Attest:
    return Attest(order=order, content=TREE, check=check, verdict=verdict)


def test_an_independent_gatekeeper_closes_it_on_its_branch() -> None:
    world = World()
    order, conductor, _ = gating(world, world.person())
    judge = world.spawn(conductor, grants=rights(order))
    assert world.ask(judge, passed(order)) == Done()
    assert world.state.orders[order].state == "closing"
    world.perform()
    assert world.state.closed[order].state == "closed" and len(world.of(OrderClosed)) == 1


def test_without_a_branch_it_closes_as_a_sealed_commit() -> None:
    world = World()
    order, conductor, _ = gating(world, world.person(), branch="")
    world.ask(world.spawn(conductor, grants=rights(order)), passed(order))
    assert world.state.closed[order].commit == "c" * 40


def test_nobody_with_a_hand_in_it_judges() -> None:
    world = World()
    order, conductor, worker = gating(world, world.person())
    below = world.spawn(worker, grants=rights(order))
    for pid in (worker, conductor, below):
        refusal = world.refused(pid, passed(order))
        assert isinstance(refusal, Forbidden) and "law 6" in refusal.rule


def test_descent_from_an_author_outlives_the_author() -> None:
    world = World()
    order, _, worker = gating(world, world.person())
    below = world.spawn(worker, grants=rights(order), is_linked=False)
    world.ask(worker, Exit())
    assert isinstance(world.refused(below, passed(order)), Forbidden)


def test_a_conductor_that_works_itself_is_an_author_like_any() -> None:
    world = World()
    order, conductor = world.executing(world.person())
    world.ask(conductor, use_tool())
    world.ask(conductor, Present(order=order), strand=1)
    world.perform()
    assert conductor in world.state.orders[order].barred


def test_the_judge_below_a_conductor_that_worked_is_refused() -> None:
    world = World()
    order, conductor = world.executing(world.person())
    judge = world.spawn(conductor, grants=rights(order))
    world.ask(conductor, Present(order=order))
    world.perform()
    assert isinstance(world.refused(judge, passed(order)), Forbidden)


def test_calling_oneself_conductor_is_no_excuse() -> None:
    world = World()
    order, conductor = world.executing(world.person())
    fake = world.spawn(conductor, program="conductor", grants=rights(order))
    judge = world.spawn(fake, grants=rights(order))
    world.ask(fake, Present(order=order))
    world.perform()
    assert isinstance(world.refused(judge, passed(order)), Forbidden)


@pytest.mark.parametrize("family", ["", "qwen"])
def test_another_family_judges_where_the_contract_says_so(family: str) -> None:
    world = World()
    order, conductor = world.executing(world.person(), is_gate_other_family=True)
    worker = world.spawn(conductor, family="qwen", grants=rights(order))
    world.ask(worker, ask_model())
    world.ask(worker, Present(order=order), strand=1)
    world.perform()
    same = world.spawn(conductor, family=family, grants=rights(order))
    assert isinstance(world.refused(same, passed(order)), Forbidden)
    other = world.spawn(conductor, family="claude", grants=rights(order))
    assert world.ask(other, passed(order)) == Done()


def test_only_what_is_presented_and_verified_is_judged() -> None:
    world = World()
    ada = world.person()
    order, conductor = world.executing(ada)
    judge = world.spawn(conductor, grants=rights(order))
    assert isinstance(world.refused(judge, passed(order)), NotYet)
    world.ask(world.spawn(conductor, grants=rights(order)), Present(order=order))
    world.perform()
    stale = Attest(order=order, content=Digest("1" * 64), verdict=Verdict.PASSED)
    assert isinstance(world.refused(judge, stale), Stale)
    assert isinstance(world.refused(judge, passed(order, "no such review")), NotFound)
    assert isinstance(world.refused(world.spawn(conductor), passed(order)), Forbidden)
    assert isinstance(world.refused(judge, passed(OrderId("WO-9"))), NotFound)
    world.ask(judge, passed(order))
    world.perform()
    assert isinstance(world.refused(ada, passed(order)), Closed)


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.UNVERIFIED])
def test_a_judge_who_does_not_say_yes_ends_the_attempt(verdict: Verdict) -> None:
    world = World()
    order, conductor, _ = gating(world, world.person())
    world.ask(world.spawn(conductor, grants=rights(order)), passed(order, verdict=verdict))
    assert world.state.orders[order].state == "ready"
    world.ask(conductor, Begin(order=order))
    world.perform()
    world.ask(world.spawn(conductor, grants=rights(order)), Present(order=order))
    world.perform()
    assert world.state.orders[order].attestations == [], "presenting anew voids what was said of the old"


def test_every_review_is_needed_besides_the_gate() -> None:
    world = World()
    order, conductor, _ = gating(world, world.person(), accept=(TESTS, Review(name="security")))
    judge = world.spawn(conductor, grants=rights(order))
    world.ask(judge, passed(order))
    assert world.state.orders[order].state == "gating"
    world.ask(judge, passed(order, "security"))
    assert world.state.orders[order].state == "closing"


def test_an_approval_is_a_persons_and_not_to_be_had_by_attesting() -> None:
    world = World()
    ada = world.person()
    order, conductor, _ = gating(world, ada, accept=(TESTS, Approval(name="owner")))
    judge = world.spawn(conductor, grants=rights(order))
    assert isinstance(world.refused(judge, passed(order, "owner")), NotFound)
    world.ask(judge, passed(order))
    assert world.state.orders[order].state == "gating"
    (number,) = world.state.orders[order].questions
    world.ask(ada, Decide(question=number, choice="approve"))
    assert world.state.orders[order].state == "closing"
    grade = [event.grade for event in world.of(ContentAttested) if event.check == "owner"]  # type: ignore[attr-defined]
    assert grade == ["self-accepted"]


def test_an_approval_is_given_by_whom_it_names() -> None:
    world = World()
    ada, bob = world.person(), world.person("user:bob")
    order, _, _ = gating(world, ada, accept=(TESTS, Approval(name="owner", who="user:bob")))
    (number,) = world.state.orders[order].questions
    assert isinstance(world.refused(ada, Decide(question=number, choice="approve")), Forbidden)
    assert world.ask(bob, Decide(question=number, choice="approve")) == Done()
    assert [event.grade for event in world.of(ContentAttested)] == ["independent"]  # type: ignore[attr-defined]


def test_an_author_approves_nothing_though_it_was_given_the_right() -> None:
    from agentos.abi.calls.lease import Derive

    world = World()
    ada = world.person()
    order, _, worker = gating(world, ada, accept=(TESTS, Approval(name="owner")))
    right = next(
        id
        for id in world.state.processes[ada].capabilities
        if world.state.capabilities[id].grant.right == Right.APPROVE
    )
    world.ask(ada, Derive(capability=right, to=worker, grant=Grant(Right.APPROVE, f"/{order}")))
    (number,) = world.state.orders[order].questions
    assert isinstance(world.refused(worker, Decide(question=number, choice="approve")), Forbidden)


def test_a_rejection_withdraws_what_else_was_asked() -> None:
    world = World()
    ada = world.person()
    order, _, _ = gating(world, ada, accept=(TESTS, Approval(name="a"), Approval(name="b")))
    first, second = world.state.orders[order].questions
    world.ask(ada, Decide(question=first, choice="reject", text="no"))
    assert world.state.orders[order].state == "ready" and not world.state.questions
    assert [event.question for event in world.of(QuestionWithdrawn)] == [second]  # type: ignore[attr-defined]
    assert isinstance(world.refused(ada, Decide(question=second, choice="approve")), Closed)


def test_an_escalation_withdraws_approvals() -> None:
    world = World()
    ada = world.person()
    order, conductor, _ = gating(world, ada, accept=(TESTS, Approval(name="a")))
    world.ask(conductor, Escalate(order=order, reason="r"))
    assert [row.kind for row in world.state.questions.values()] == ["escalation"]


def test_a_person_is_asked_once_for_one_content() -> None:
    world = World()
    ada = world.person()
    order, conductor, _ = gating(world, ada, accept=(TESTS, Review(name="r"), Approval(name="a")))
    judge = world.spawn(conductor, grants=rights(order))
    world.ask(judge, passed(order))
    world.ask(judge, passed(order, "r"))
    assert len(world.of(QuestionAsked)) == 1


def test_a_branch_that_cannot_be_moved_goes_to_a_person() -> None:
    world = World()
    ada = world.person()
    order, conductor, _ = gating(world, ada)
    world.ask(world.spawn(conductor, grants=rights(order)), passed(order))
    world.perform(lambda effect: Failed(fact="moved meanwhile") if isinstance(effect, MoveRef) else succeed(effect))
    assert world.state.orders[order].state == "escalated"
    (number,) = world.state.orders[order].questions
    world.ask(ada, Decide(question=number, choice="retry"))
    assert world.state.orders[order].state == "ready"
