"""Delivery: a closed order's change goes into its author's checkout at a person's word, once, and out again."""

from agentos.abi.calls.process import Exit
from agentos.abi.calls.work import Apply, Undo
from agentos.abi.effects import Applied, ApplyChange, Failed
from agentos.abi.events.work import ChangeApplied, QuestionAsked
from agentos.abi.ids import OrderId, Pid
from agentos.abi.refusals import Broken, Busy, Forbidden, NotFound, NotYet
from agentos.abi.replies import Applied as Reply
from agentos.abi.work import Verdict
from tests.kernel.test_gate import gating, passed, rights
from tests.kernel.world import WAITING, World


def closed(world: World, author: Pid) -> OrderId:
    """An order that has come to its end."""
    order, conductor, _ = gating(world, author)
    world.ask(world.spawn(conductor, grants=rights(order)), passed(order, verdict=Verdict.PASSED))
    world.perform()
    assert world.state.closed[order].state == "closed"
    return order


def delivering(world: World) -> int:
    """The delivery in flight."""
    return next(number for number, one in world.flying.items() if isinstance(one.effect, ApplyChange))


def applied(world: World, author: Pid, order: OrderId) -> None:
    """The order's change is in the checkout, under receipt 1."""
    id = world.next_id(author)
    assert world.ask(author, Apply(order=order)) == WAITING
    world.settle(delivering(world), Applied(receipt="1", paths=("a.py",)))
    assert world.answer(id) == Reply(order=order, receipt="1", paths=("a.py",))


def test_a_closed_order_is_applied_and_undone_by_its_receipt() -> None:
    world = World()
    author = world.person()
    order = closed(world, author)
    applied(world, author, order)
    assert world.state.closed[order].receipt == "1"
    assert world.ask(author, Undo(order=order)) == WAITING
    effect = world.flying[delivering(world)].effect
    assert isinstance(effect, ApplyChange) and effect.undoes == "1"
    world.settle(delivering(world), Applied(receipt="1", paths=("a.py",)))
    assert world.state.closed[order].receipt == "" and len(world.of(ChangeApplied)) == 2


def test_only_what_is_closed_is_applied() -> None:
    world = World()
    author = world.person()
    order, _, _ = gating(world, author)
    assert isinstance(world.refused(author, Apply(order=order)), NotYet)
    assert isinstance(world.refused(author, Apply(order=OrderId("WO-9"))), NotFound)
    assert isinstance(world.refused(author, Undo(order=OrderId("WO-9"))), NotFound)


def test_a_change_is_in_the_checkout_once_or_not_at_all() -> None:
    world = World()
    author = world.person()
    order = closed(world, author)
    assert isinstance(world.refused(author, Undo(order=order)), NotYet)
    world.ask(author, Apply(order=order))
    assert isinstance(world.refused(author, Apply(order=order), strand=1), Busy)
    world.settle(delivering(world), Applied(receipt="1"))
    assert isinstance(world.refused(author, Apply(order=order)), Busy)


def test_an_onlooker_applies_nothing() -> None:
    world = World()
    order = closed(world, world.person())
    onlooker = world.person("user:eve", "observer")
    assert isinstance(world.refused(onlooker, Apply(order=order)), Forbidden)
    assert isinstance(world.refused(onlooker, Undo(order=order)), Forbidden)


def test_a_checkout_in_the_way_is_told_and_changes_nothing() -> None:
    world = World()
    author = world.person()
    order = closed(world, author)
    for call in (Apply(order=order),):
        id = world.next_id(author)
        world.ask(author, call)
        world.settle(delivering(world), Failed(fact="a.py was edited"))
        assert isinstance(world.answer(id), Broken) and world.state.closed[order].receipt == ""
    applied(world, author, order)
    id = world.next_id(author)
    world.ask(author, Undo(order=order))
    world.settle(delivering(world), Failed(fact="a.py was edited since"))
    assert isinstance(world.answer(id), Broken) and world.state.closed[order].receipt == "1"


def test_a_delivery_is_on_record_though_whoever_asked_has_ended() -> None:
    world = World()
    author = world.person()
    order = closed(world, author)
    world.ask(author, Apply(order=order))
    world.ask(author, Exit(), strand=1)
    world.settle(delivering(world), Applied(receipt="1"))
    assert world.state.closed[order].receipt == "1"


def test_a_delivery_lost_in_a_crash_asks_a_person() -> None:
    world = World()
    author = world.person()
    order = closed(world, author)
    id = world.next_id(author)
    world.ask(author, Apply(order=order))
    world.crash()
    asked = world.of(QuestionAsked)[-1]
    assert isinstance(asked, QuestionAsked) and asked.kind == "unknown" and world.answer(id) == WAITING
