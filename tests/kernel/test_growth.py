"""What has ended leaves: the state after a thousand orders is that of an empty workspace, and a summary of each."""

from agentos.abi.calls.ipc import Attach, Open, Receive, Send, Subscribe
from agentos.abi.calls.lease import Acquire
from agentos.abi.calls.work import Attest, Begin, Cancel, Present
from agentos.abi.effects import Answered
from agentos.abi.ids import Digest, OrderId, Pid
from agentos.abi.inference import Usage
from agentos.abi.rights import Right
from agentos.abi.work import Verdict
from agentos.kernel import fsck
from agentos.kernel.state import encode
from tests.kernel.world import SECOND, TREE, World, ask_model, grants

SUMMARY_BYTES = 250  # of one closed order: its id, title, commit and sums


def work(world: World, ada: Pid, *, is_cancelled: bool) -> OrderId:
    """One order from submission to its end, with mail, a channel, a lease, an artifact and a model on the way."""
    order = world.submit(ada)
    world.perform()
    conductor = world.state.orders[order].processes[0]
    world.ask(conductor, Begin(order=order))
    world.perform()
    worker = world.spawn(
        conductor,
        grants=grants((Right.PRESENT, f"/{order}"), (Right.INFER, "/coder"), (Right.LEASE, f"/{order}/**")),
    )
    world.ask(conductor, Open(channel=f"/{order}/x"))
    world.ask(conductor, Subscribe(channel=f"/{order}/x"))
    world.ask(worker, Acquire(resource=f"/{order}/tree", ttl_ns=SECOND))
    world.ask(worker, Attach(name="/plan", content=TREE))
    world.ask(worker, Receive(timeout_ns=3600 * SECOND), strand=1)
    world.ask(conductor, Send(to=worker, kind="x"))
    world.ask(worker, ask_model(10))
    world.settle(next(iter(world.flying)), Answered(answer=Digest("a" * 64), usage=Usage(), uusd=1))
    if is_cancelled:
        world.ask(ada, Cancel(order=order))
        return order
    world.ask(worker, Present(order=order))
    world.perform()
    judge = world.spawn(conductor, grants=grants((Right.ATTEST, f"/{order}")))
    world.ask(judge, Attest(order=order, content=TREE, verdict=Verdict.PASSED))
    world.perform()
    return order


def test_a_thousand_orders_leave_a_summary_each_and_nothing_else() -> None:
    world = World(is_checked=False)
    ada = world.person()
    for number in range(1_000):
        order = work(world, ada, is_cancelled=number % 3 == 0)
        assert order in world.state.closed
        if number == 9:
            early = bare(world)
    assert fsck.faults(world.state) == []
    assert bare(world) - early < 512, "counters have a few more digits, and that is all"
    assert len(encode(world.state)) < bare(world) + 1_000 * SUMMARY_BYTES
    assert not (world.state.timers or world.state.leases or world.state.channels or world.state.effects)


def bare(world: World) -> int:
    """Bytes of the state without the summaries of what is closed and the exit records, which have bounds of their own."""
    from agentos.kernel.state import decode

    copy = decode(encode(world.state))
    copy.closed.clear()
    for process in copy.processes.values():
        process.ended.clear()
    return len(encode(copy))


def test_agents_that_come_and_go_leave_no_trace() -> None:
    world = World(is_checked=False)
    ada = world.person()

    def visit() -> None:
        from agentos.abi.calls.process import Exit

        child = world.spawn(ada, grants=grants((Right.INFER, "/coder"), (Right.LEASE, "/r")))
        world.ask(child, Acquire(resource="/r", ttl_ns=SECOND))
        world.ask(child, Receive(timeout_ns=SECOND), strand=1)
        world.ask(child, ask_model(10), strand=2)
        world.settle(next(iter(world.flying)), Answered(answer=Digest("a" * 64), usage=Usage(), uusd=1))
        world.ask(child, Exit(), strand=3)

    for _ in range(10):
        visit()
    early = bare(world)
    for _ in range(500):
        visit()
    assert bare(world) - early < 256 and fsck.faults(world.state) == []
