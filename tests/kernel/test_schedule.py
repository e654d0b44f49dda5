"""The scheduler: slots are not idle, orders share by weight, nobody starves."""

from agentos.abi.effects import Answered, Perform, RunCheck
from agentos.abi.events.call import EffectDispatched, EffectIntended
from agentos.abi.ids import Digest, OrderId, Pid
from agentos.abi.inference import Usage
from agentos.abi.limits import value
from agentos.abi.rights import Right
from agentos.kernel.schedule import AGE_STEP_NS
from tests.kernel.world import WAITING, World, ask_model, grants

SLOTS = value("inference_slots")
DONE = Answered(answer=Digest("a" * 64), usage=Usage(), uusd=1)


def order_of(world: World, number: int) -> OrderId | None:
    """For which order an effect was dispatched."""
    made = (event for event in world.events if isinstance(event, EffectIntended) and event.effect == number)
    return next(made).order


def crowd(world: World, weights: tuple[int, ...], each: int) -> list[OrderId]:
    """Orders of these weights, each with so many model requests, on a device that was full before them."""
    ada = world.person()
    filler = world.spawn(ada, grants=grants((Right.INFER, "/**")))
    for strand in range(SLOTS):
        assert world.ask(filler, ask_model(), strand=strand) == WAITING
    made = []
    for weight in weights:
        order, conductor = world.executing(ada, weight=weight)
        for strand in range(1, each + 1):
            assert world.ask(conductor, ask_model(), strand=strand) == WAITING
        made.append(order)
    return made


def serve(world: World, count: int) -> list[OrderId | None]:
    """Settle one effect after another; for which orders the freed slots were used."""
    first = len(world.events)
    for _ in range(count):
        world.settle(next(iter(world.flying)), DONE)
    return [order_of(world, event.effect) for event in world.events[first:] if isinstance(event, EffectDispatched)]


def test_a_free_slot_is_taken_at_once_and_a_full_device_queues() -> None:
    world = World()
    filler = world.spawn(world.person(), grants=grants((Right.INFER, "/**")))
    for strand in range(SLOTS + 1):
        world.ask(filler, ask_model(), strand=strand)
    assert len(world.flying) == SLOTS == world.state.devices["inference"].busy
    assert sum(len(lane) for lane in world.state.devices["inference"].lanes.values()) == 1
    world.settle(1, DONE)
    assert len(world.flying) == SLOTS and SLOTS + 1 in world.flying


def test_orders_share_a_device_by_their_weights() -> None:
    world = World(is_checked=False)
    one, three = crowd(world, (1, 3), each=40)
    got = serve(world, 40)
    assert 9 <= got.count(one) <= 11 and 29 <= got.count(three) <= 31


def test_a_newcomer_earns_nothing_by_having_been_idle() -> None:
    world = World(is_checked=False)
    (old,) = crowd(world, (1,), each=60)
    serve(world, 20)
    order, conductor = world.executing(world.person())
    for strand in range(1, 31):
        world.ask(conductor, ask_model(), strand=strand)
    got = serve(world, 20)
    assert 9 <= got.count(order) <= 11 and got.count(old) == 20 - got.count(order)


def test_higher_priority_goes_first_and_waiting_raises_it() -> None:
    world = World()
    ada = world.person()
    filler = world.spawn(ada, grants=grants((Right.INFER, "/**")))
    for strand in range(SLOTS):
        world.ask(filler, ask_model(), strand=strand)
    low = world.spawn(ada, grants=grants((Right.INFER, "/**")), priority=0)
    high = world.spawn(ada, grants=grants((Right.INFER, "/**")), priority=2)

    def wants(pid: Pid) -> int:
        strand = len(world.state.processes[pid].strands)
        assert world.ask(pid, ask_model(), strand=strand) == WAITING
        return world.state.next_effect - 1

    first_low, first_high = wants(low), wants(high)
    world.settle(next(iter(world.flying)), DONE)
    assert first_high in world.flying and first_low not in world.flying
    world.tick(3 * AGE_STEP_NS)
    second_high = wants(high)
    world.settle(next(iter(world.flying)), DONE)
    assert first_low in world.flying and second_high not in world.flying


def test_a_closed_orders_share_is_forgotten() -> None:
    from agentos.abi.calls.work import Cancel

    world = World()
    ada = world.person()
    order = world.submit(ada)
    assert order in world.state.devices["check"].turns
    world.ask(ada, Cancel(order=order))
    assert order not in world.state.devices["check"].turns


def test_a_retry_carries_the_same_key() -> None:
    world = World()
    world.submit(world.person())
    first = next(one for one in world.told if isinstance(one, Perform) and isinstance(one.effect, RunCheck))
    world.crash()
    second = world.flying[first.id]
    assert second.key == first.key and second.attempt == first.attempt + 1
