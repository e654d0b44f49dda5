"""Evidence: what the kernel finds of exactly what was presented; a claim decides nothing."""

import pytest

from agentos.abi.calls.work import Begin, Present
from agentos.abi.effects import AnyEffect, AnyOutcome, Failed, RunCheck, Seal, Sealed
from agentos.abi.ids import Digest, OrderId, Pid
from agentos.abi.limits import value
from agentos.abi.refusals import Broken, Exhausted, NotYet, Refusal, Stale
from agentos.abi.replies import Judged, Reply
from agentos.abi.rights import Right
from agentos.abi.work import Change, Command, Reason, Verdict
from agentos.kernel.work.evidence import change_fault
from tests.kernel.world import TREE, WAITING, World, ask_model, change, finding, grants, succeed, use_tool


def worker_of(world: World, order: OrderId, conductor: Pid) -> Pid:
    return world.spawn(
        conductor, grants=grants((Right.PRESENT, f"/{order}"), (Right.TOOL, "/shell"), (Right.INFER, "/coder"))
    )


def present(world: World, fate: object = succeed, **changes: object) -> tuple[OrderId, Reply | Refusal | str]:
    """An order, presented once, in a world with this fate; what the worker was told."""
    order, conductor = world.executing(world.person(), **changes)
    worker = worker_of(world, order, conductor)
    id = world.next_id(worker)
    assert world.ask(worker, Present(order=order, claim=Digest("9" * 64))) == WAITING
    world.perform(fate)  # type: ignore[arg-type]
    return order, world.answer(id)


def sealing(sealed: Change) -> object:
    """A world whose seal yields this."""
    return lambda effect: Sealed(change=sealed) if isinstance(effect, Seal) else succeed(effect)


def test_what_passes_every_check_is_verified() -> None:
    world = World()
    order, got = present(world)
    assert isinstance(got, Judged) and (got.verdict, got.content) == (Verdict.PASSED, TREE)
    assert world.state.orders[order].state == "gating"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"links": ("a",)}, Reason.SYMLINK),
        ({"protected": ("a",)}, Reason.PROTECTED_CHANGED),
        ({"out_of_scope": tuple("abcdef")}, Reason.OUT_OF_SCOPE),
        ({"paths": ()}, Reason.NO_CHANGE),
        ({"commit": "b" * 40}, Reason.NO_CHANGE),
        ({"syntax_errors": ("a.py:1: ?",)}, Reason.SYNTAX_ERROR),
    ],
)
def test_a_change_that_is_wrong_as_such_fails_before_any_check(wrong: dict[str, object], reason: Reason) -> None:
    world = World()
    order, got = present(world, sealing(change(**wrong)))
    assert isinstance(got, Judged) and (got.verdict, got.reason) == (Verdict.FAILED, reason)
    assert world.state.orders[order].state == "executing" and not world.state.orders[order].findings


def test_the_gravest_fault_of_a_change_is_the_one_told() -> None:
    fault = change_fault(change(links=("a",), protected=("b",), out_of_scope=("c",)))
    assert fault is not None and fault[0] == Reason.SYMLINK


@pytest.mark.parametrize("first", [Verdict.FAILED, Verdict.UNVERIFIED])
def test_one_check_that_does_not_pass_is_enough(first: Verdict) -> None:
    def fate(effect: AnyEffect) -> AnyOutcome | None:
        if isinstance(effect, RunCheck) and effect.commit != effect.base:
            return finding(effect.check.name, first if effect.check.name == "b" else Verdict.PASSED)
        return succeed(effect)

    world = World()
    checks = (Command(name="a", argv=("a",)), Command(name="b", argv=("b",)))
    order, got = present(world, fate, accept=checks)
    assert isinstance(got, Judged) and got.verdict == first
    assert world.state.orders[order].state == "executing"


def test_failed_weighs_more_than_unverified() -> None:
    def fate(effect: AnyEffect) -> AnyOutcome | None:
        if isinstance(effect, RunCheck) and effect.commit != effect.base:
            return finding(effect.check.name, Verdict.FAILED if effect.check.name == "b" else Verdict.UNVERIFIED)
        return succeed(effect)

    world = World()
    checks = (Command(name="a", argv=("a",)), Command(name="b", argv=("b",)))
    _, got = present(world, fate, accept=checks)
    assert isinstance(got, Judged) and got.verdict == Verdict.FAILED


def test_a_check_that_could_not_run_is_unverified() -> None:
    def fate(effect: AnyEffect) -> AnyOutcome | None:
        if isinstance(effect, RunCheck) and effect.commit != effect.base:
            return Failed(fact="no sandbox")
        return succeed(effect)

    world = World()
    _, got = present(world, fate)
    assert isinstance(got, Judged) and (got.verdict, got.reason) == (Verdict.UNVERIFIED, Reason.CHECK_BROKEN)


def test_a_check_that_ran_on_something_else_proves_nothing() -> None:
    def fate(effect: AnyEffect) -> AnyOutcome | None:
        if isinstance(effect, RunCheck) and effect.commit != effect.base:
            return finding(effect.check.name, Verdict.PASSED, Digest("8" * 64))
        return succeed(effect)

    world = World()
    _, got = present(world, fate)
    assert isinstance(got, Judged) and (got.verdict, got.reason) == (Verdict.FAILED, Reason.WRONG_CONTENT)


def test_a_copy_that_cannot_be_sealed_ends_the_attempt() -> None:
    world = World()
    order, got = present(world, lambda effect: Failed(fact="gone") if isinstance(effect, Seal) else succeed(effect))
    assert isinstance(got, Broken) and world.state.orders[order].state == "ready"


def test_presenting_waits_its_turn_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    order, conductor = world.executing(world.person())
    worker, other = worker_of(world, order, conductor), worker_of(world, order, conductor)
    world.ask(worker, Present(order=order))
    assert isinstance(world.refused(other, Present(order=order)), NotYet)
    fails = sealing(change(paths=()))
    world.perform(fails)  # type: ignore[arg-type]
    for _ in range(value("presentations_max") - 1):
        assert world.ask(other, Present(order=order)) == WAITING, "another worker may try"
        world.perform(fails)  # type: ignore[arg-type]
    assert isinstance(world.refused(worker, Present(order=order)), Exhausted)


def test_a_worker_of_an_earlier_attempt_presents_nothing() -> None:
    world = World()
    order, conductor = world.executing(world.person())
    old = worker_of(world, order, conductor)
    world.ask(conductor, Begin(order=order))
    world.perform()
    assert isinstance(world.refused(old, Present(order=order)), Stale)
    assert world.ask(worker_of(world, order, conductor), Present(order=order)) == WAITING


def test_whoever_makes_something_is_an_author_with_those_above_and_their_families() -> None:
    world = World()
    order, conductor = world.executing(world.person())
    lead = world.spawn(
        conductor, family="qwen", grants=grants((Right.TOOL, "/shell"), (Right.INFER, "/coder"), (Right.SPAWN, "/**"))
    )
    maker = world.spawn(lead, family="gpt", grants=grants((Right.TOOL, "/shell")))
    thinker = world.spawn(lead, grants=grants((Right.INFER, "/coder")))
    reader = world.spawn(lead, grants=grants((Right.TOOL, "/shell"), (Right.INFER, "/coder")))
    world.ask(maker, use_tool())
    world.ask(thinker, ask_model())
    world.ask(reader, use_tool(repeat="pure"))
    world.ask(reader, ask_model(phase="review"), strand=1)
    row = world.state.orders[order]
    assert set(row.workers) == {maker, thinker, lead, conductor}
    assert set(row.barred) == {maker, thinker, lead}
    assert set(row.families) == {"qwen", "gpt"}
