"""Processes: spawned, signalled, ended; pids, incarnations, strands."""

import pytest

from agentos.abi.budget import Amounts
from agentos.abi.calls.base import Call
from agentos.abi.calls.ipc import Receive
from agentos.abi.calls.kernel import Diverge, Enroll, Fence, Finish
from agentos.abi.calls.lease import Sleep
from agentos.abi.calls.process import Await, Checkpoint, Exit, Kill, Note, Spawn, Whoami
from agentos.abi.ids import INIT, CallId, Digest, OrderId, Pid, Principal
from agentos.abi.limits import value
from agentos.abi.refusals import Busy, Closed, Exhausted, Forbidden, Invalid, NotFound, NotYet, Stale
from agentos.abi.replies import Done, Ended, Self, Spawned
from agentos.abi.rights import Grant, Right
from agentos.abi.signals import Signal
from agentos.kernel.state import encode
from tests.kernel.world import SECOND, WAITING, World, ask_model, grants

CONTENT = Digest("a" * 64)


def test_a_child_holds_what_it_was_granted_and_no_more() -> None:
    world = World()
    ada = world.person()
    child = world.spawn(ada, grants=grants((Right.INFER, "/coder")))
    me = world.ask(child, Whoami())
    assert isinstance(me, Self) and [(right, path) for _, right, path in me.capabilities] == [("infer", "/coder")]
    assert world.launched(child) == 1


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        (Spawn(program=""), Invalid),
        (Spawn(program="person:user:ada"), Invalid),
        (Spawn(program="kernel:init"), Invalid),
        (Spawn(program="p", role=""), Invalid),
        (Spawn(program="p", role="a/../b"), Invalid),
        (Spawn(program="p", role="**"), Invalid),
        (Spawn(program="p", grants=(Grant(Right.INFER, "coder"),)), Invalid),
        (Spawn(program="p", grants=(Grant(Right.INFER, "/coder", -1),)), Invalid),
        (Spawn(program="p", budget=Amounts(uusd=-1)), Invalid),
        (Spawn(program="p", restart="always"), Invalid),
        (Spawn(program="p", strategy="all"), Invalid),
        (Spawn(program="p", priority=value("priority_max") + 1), Invalid),
        (Spawn(program="p", role="boss"), Forbidden),
        (Spawn(program="p", grants=(Grant(Right.TOOL, "/shell"),)), Forbidden),
        (Spawn(program="p", order=OrderId("WO-9")), NotFound),
        (Spawn(program="p", budget=Amounts(uusd=10**12)), Exhausted),
        (Spawn(program="p", grants=(Grant(Right.INFER, "/coder"),) * (value("capabilities_max") + 1)), Exhausted),
    ],
)
def test_a_spawn_that_is_wrong_or_too_much_is_refused(spec: Spawn, kind: type) -> None:
    world = World()
    parent = world.spawn(world.person(), grants=grants((Right.SPAWN, "/worker"), (Right.INFER, "/coder")))
    assert isinstance(world.refused(parent, spec), kind)


def test_work_for_an_order_that_is_over_is_refused() -> None:
    world = World()
    ada = world.person()
    order = world.submit(ada)
    world.perform()
    from agentos.abi.calls.work import Cancel

    world.ask(ada, Cancel(order=order))
    assert isinstance(world.refused(ada, Spawn(program="p", order=order)), Closed)


def test_a_worker_cannot_spend_another_orders_money() -> None:
    world = World()
    ada = world.person()
    one, conductor = world.executing(ada)
    other = world.submit(ada)
    refusal = world.refused(conductor, Spawn(program="p", order=other))
    assert isinstance(refusal, Forbidden) and "conduct" in refusal.fact
    mine = world.ask(conductor, Spawn(program="p", order=one))
    assert isinstance(mine, Spawned)


def test_an_escalated_order_takes_no_new_process() -> None:
    from agentos.abi.calls.work import Escalate

    world = World()
    ada = world.person()
    order, _ = world.executing(ada)
    world.ask(ada, Escalate(order=order, reason="stuck"))
    assert isinstance(world.refused(ada, Spawn(program="p", order=order)), NotYet)


def test_children_depth_and_count_are_bounded() -> None:
    world = World(is_checked=False)
    pid = world.person()
    for _ in range(value("depth_max")):
        pid = world.spawn(pid, grants=grants((Right.SPAWN, "/**")))
    deep = world.refused(pid, Spawn(program="p"))
    assert isinstance(deep, Exhausted) and deep.limit == "limits.depth_max"
    bob = world.person("user:bob")
    for _ in range(value("children_max")):
        world.spawn(bob)
    wide = world.refused(bob, Spawn(program="p"))
    assert isinstance(wide, Exhausted) and wide.limit == "limits.children_max"


def test_a_slot_is_used_again_and_a_pid_never() -> None:
    world = World()
    ada = world.person()
    first = world.spawn(ada)
    world.ask(first, Exit())
    second = world.spawn(ada)
    assert first.split(".")[0] == second.split(".")[0] and first != second


def test_await_answers_once_the_child_has_ended_and_at_once_when_it_has() -> None:
    world = World()
    ada = world.person()
    child = world.spawn(ada)
    early, second = world.next_id(ada), world.next_id(ada, 1)
    assert world.ask(ada, Await(pid=child)) == WAITING
    assert world.ask(ada, Await(pid=child), strand=1) == WAITING
    world.ask(child, Exit(status=3, result=CONTENT, reason="r"))
    end = Ended(pid=child, status=3, reason="r", result=CONTENT)
    assert world.answer(early) == world.answer(second) == world.ask(ada, Await(pid=child)) == end


def test_only_a_parent_awaits() -> None:
    world = World()
    ada, bob = world.person(), world.person("user:bob")
    child = world.spawn(ada)
    assert isinstance(world.refused(bob, Await(pid=child)), NotFound)
    assert isinstance(world.refused(bob, Await(pid=Pid("99.1"))), NotFound)


def test_exit_records_are_kept_for_the_newest_children_only() -> None:
    world = World(is_checked=False)
    ada = world.person()
    first = world.spawn(ada)
    world.ask(first, Exit())
    for _ in range(value("ended_max")):
        world.ask(world.spawn(ada), Exit())
    assert isinstance(world.refused(ada, Await(pid=first)), NotFound)
    assert len(world.state.processes[ada].ended) == value("ended_max")


def test_linked_children_end_with_their_parent_and_others_are_adopted() -> None:
    world = World()
    ada = world.person()
    parent = world.spawn(ada, grants=grants((Right.SPAWN, "/**")))
    linked, free = world.spawn(parent), world.spawn(parent, is_linked=False)
    grandchild = world.spawn(parent, grants=grants((Right.SPAWN, "/**")))
    below = world.spawn(grandchild)
    world.ask(parent, Exit())
    assert not {linked, grandchild, below} & set(world.state.processes)
    assert world.halted(linked) and world.halted(below)
    assert world.state.processes[free].parent == INIT


def test_a_dead_process_makes_no_call() -> None:
    world = World()
    child = world.spawn(world.person())
    world.ask(child, Exit())
    before = encode(world.state)
    assert isinstance(world.ask(child, Whoami()), Closed)
    assert encode(world.state) == before


@pytest.mark.parametrize("n", [0, 2, 5])
def test_a_call_out_of_turn_is_stale_and_leaves_no_trace(n: int) -> None:
    world = World()
    ada = world.person()
    before = encode(world.state)
    assert isinstance(world.enter(CallId(ada, 0, n), Whoami()), Stale)
    assert encode(world.state) == before


def test_a_strand_inside_a_call_makes_no_other() -> None:
    world = World()
    ada = world.person()
    world.ask(ada, Receive())
    before = encode(world.state)
    assert isinstance(world.enter(CallId(ada, 0, 2), Whoami()), Stale)
    assert encode(world.state) == before


def test_strands_are_bounded() -> None:
    world = World(is_checked=False)
    ada = world.person()
    for strand in range(value("strands_max")):
        assert world.ask(ada, Receive(), strand=strand) == WAITING
    before = encode(world.state)
    refusal = world.enter(CallId(ada, value("strands_max"), 1), Receive())
    assert isinstance(refusal, Exhausted) and refusal.limit == "limits.strands_max"
    assert encode(world.state) == before


def test_kill_ends_a_descendant_with_all_it_waited_for() -> None:
    world = World()
    ada = world.person()
    parent = world.spawn(ada, grants=grants((Right.SPAWN, "/**"), (Right.INFER, "/coder")))
    child = world.spawn(parent, is_linked=False)
    calls = (Await(pid=child), Receive(timeout_ns=SECOND), Sleep(span_ns=SECOND), ask_model())
    ids = [world.next_id(parent, strand) for strand in range(len(calls))]
    for id, call in zip(ids, calls, strict=True):
        assert world.ask(parent, call, strand=id.strand) == WAITING
    assert world.ask(ada, Kill(pid=parent, signal=Signal.KILL)) == Done()
    assert parent not in world.state.processes and not world.state.timers
    assert world.state.processes[child].awaited_by == []
    world.ask(child, Exit())
    assert [world.answer(id) for id in ids] == [WAITING] * 4, "the dead are not answered"


def test_a_stranger_is_signalled_with_a_right_only() -> None:
    world = World()
    ada = world.person()
    stranger = world.spawn(ada)
    one = world.spawn(ada)
    other = world.spawn(ada, grants=grants((Right.SIGNAL, f"/{stranger}")))
    assert isinstance(world.refused(one, Kill(pid=stranger, signal=Signal.KILL)), Forbidden)
    assert world.ask(other, Kill(pid=stranger, signal=Signal.KILL)) == Done()
    assert isinstance(world.refused(other, Kill(pid=stranger)), NotFound)


@pytest.mark.parametrize("signal", [Signal.KILL, Signal.TERM, Signal.STOP])
def test_init_is_not_signalled(signal: Signal) -> None:
    world = World()
    ada = world.person()
    assert isinstance(world.refused(ada, Kill(pid=INIT, signal=signal)), Forbidden)


def test_a_person_is_not_stopped() -> None:
    world = World()
    ada, bob = world.person(), world.person("user:bob")
    assert isinstance(world.refused(ada, Kill(pid=bob, signal=Signal.STOP)), Forbidden)


def test_a_person_whose_process_ended_gets_another() -> None:
    world = World()
    ada, bob = world.person(), world.person("user:bob")
    world.ask(ada, Kill(pid=bob, signal=Signal.KILL))
    assert Principal("user:bob") not in world.state.sessions
    again = world.person("user:bob")
    assert again != bob and again in world.state.processes


def test_enrolling_twice_finds_the_same_process() -> None:
    world = World()
    assert world.person() == world.person()


def test_nobody_is_enrolled_in_a_role_that_is_not_there() -> None:
    world = World()
    before = encode(world.state)
    assert isinstance(world.tell(Enroll(principal="user:eve", role="root")), Invalid)
    assert encode(world.state) == before


def test_nobody_is_enrolled_into_a_full_table(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    monkeypatch.setattr("agentos.kernel.process.value", lambda name: 1)
    assert isinstance(world.tell(Enroll(principal="user:eve")), Exhausted)


def test_other_signals_arrive_as_mail_until_the_mailbox_is_full() -> None:
    world = World(is_checked=False)
    ada = world.person()
    child = world.spawn(ada)
    for _ in range(value("mailbox_max")):
        assert world.ask(ada, Kill(pid=child)) == Done()
    assert world.state.processes[child].mailbox[0].kind == "signal:TERM"
    assert isinstance(world.refused(ada, Kill(pid=child)), Busy)


def test_a_stopped_process_is_not_heard_until_it_continues() -> None:
    world = World()
    ada = world.person()
    child = world.spawn(ada)
    world.ask(ada, Kill(pid=child, signal=Signal.STOP))
    before = encode(world.state)
    assert isinstance(world.enter(world.next_id(child), Whoami()), NotYet)
    assert encode(world.state) == before
    world.ask(ada, Kill(pid=child, signal=Signal.CONT))
    assert isinstance(world.ask(child, Whoami()), Self)


def test_a_process_stopped_inside_a_call_waits_on_when_it_continues() -> None:
    world = World()
    ada = world.person()
    child = world.spawn(ada)
    id = world.next_id(child)
    assert world.ask(child, Sleep(span_ns=SECOND)) == WAITING
    world.ask(ada, Kill(pid=child, signal=Signal.STOP))
    world.ask(ada, Kill(pid=child, signal=Signal.CONT))
    assert world.state.processes[child].state == "waiting"
    world.tick(SECOND)
    assert world.answer(id) == Done() and world.state.processes[child].state == "running"


def test_stop_outlasts_an_answer_and_a_new_incarnation() -> None:
    world = World()
    ada = world.person()
    child = world.spawn(ada)
    world.ask(child, Sleep(span_ns=SECOND))
    world.ask(ada, Kill(pid=child, signal=Signal.STOP))
    world.tick(SECOND)
    world.tell(Fence(pid=child, incarnation=1, reason="frozen"))
    assert world.state.processes[child].state == "stopped"


def test_a_checkpoint_is_taken_from_the_main_strand_and_between_calls() -> None:
    world = World()
    child = world.spawn(world.person())
    assert isinstance(world.refused(child, Checkpoint(state=CONTENT), strand=1), Invalid)
    world.ask(child, Receive(), strand=2)
    assert isinstance(world.refused(child, Checkpoint(state=CONTENT)), Busy)
    other = world.spawn(world.person())
    assert world.ask(other, Checkpoint(state=CONTENT)) == Done()
    row = world.state.processes[other]
    assert (row.checkpoint, row.checkpoint_n) == (CONTENT, 1)


def test_a_note_is_bounded() -> None:
    world = World()
    child = world.spawn(world.person())
    assert world.ask(child, Note(text="x" * value("note_bytes_max"))) == Done()
    assert isinstance(world.refused(child, Note(text="ä" * (value("note_bytes_max") // 2 + 1))), Exhausted)


def test_a_fence_ends_one_incarnation_and_starts_the_next() -> None:
    world = World()
    child = world.spawn(world.person())
    id = world.next_id(child)
    world.ask(child, Sleep(span_ns=SECOND))
    assert isinstance(world.tell(Fence(pid=child, incarnation=1, reason="frozen")), list)
    assert world.launched(child) == 2 and world.halted(child)
    before = encode(world.state)
    assert isinstance(world.tell(Fence(pid=child, incarnation=1, reason="late")), Stale)
    assert isinstance(world.tell(Fence(pid=Pid("99.1"), incarnation=1, reason="?")), NotFound)
    assert encode(world.state) == before
    world.tick(SECOND)
    assert world.answer(id) == Done()


def test_a_program_that_does_not_repeat_itself_is_stopped() -> None:
    world = World()
    ada = world.person()
    child = world.spawn(ada)
    world.tell(Diverge(pid=child, fact="send, not receive"))
    end = world.ask(ada, Await(pid=child))
    assert isinstance(end, Ended) and end.status == 70 and "diverged" in end.reason
    assert isinstance(world.tell(Diverge(pid=child, fact="again")), NotFound)


def test_after_a_crash_whoever_was_at_work_runs_again_and_whoever_waits_is_left() -> None:
    world = World()
    ada = world.person()
    busy, waiting, both = world.spawn(ada), world.spawn(ada), world.spawn(ada)
    world.ask(waiting, Receive())
    world.ask(both, Whoami(), strand=1)
    world.ask(both, Receive())
    world.crash()
    assert world.launched(busy) == 2 and world.launched(both) == 2
    assert world.launched(waiting) == 1 and world.launched(ada) == 0


def test_a_refusal_is_recorded_and_counts_as_the_call() -> None:
    world = World()
    ada = world.person()
    world.refused(ada, Await(pid=Pid("99.1")))
    assert world.state.processes[ada].strands == {0: 1}


@pytest.mark.parametrize("call", [Exit(), Whoami(), Receive(kind="x")])
def test_a_call_is_recorded_under_its_own_id(call: Call) -> None:
    world = World()
    child = world.spawn(world.person())
    id = world.next_id(child)
    world.ask(child, call)
    assert any(getattr(event, "id", None) == id for event in world.events)


def test_a_program_with_a_worker_to_itself_ends_by_its_exit_status() -> None:
    world = World()
    parent = world.person()
    for status in (0, 3):
        pid = world.spawn(parent)
        id = world.next_id(parent)
        assert world.ask(parent, Await(pid=pid)) == WAITING
        world.tell(Finish(pid=pid, incarnation=1, status=status))
        ended = world.answer(id)
        assert isinstance(ended, Ended) and ended.status == status
        assert isinstance(world.tell(Finish(pid=pid, incarnation=1, status=status)), NotFound)


def test_a_program_that_only_ends_its_worker_is_not_run_for_ever() -> None:
    world = World()
    pid = world.spawn(world.person())
    for incarnation in range(1, value("relaunches_max") + 1):
        assert pid in world.state.processes
        world.tell(Fence(pid=pid, incarnation=incarnation, reason="its worker has ended"))
    assert pid not in world.state.processes


def test_a_program_that_gets_on_is_run_again_as_often_as_it_takes() -> None:
    world = World()
    pid = world.spawn(world.person())
    for incarnation in range(1, 3 * value("relaunches_max")):
        world.ask(pid, Whoami())
        world.tell(Fence(pid=pid, incarnation=incarnation, reason="its worker has ended"))
    assert world.state.processes[pid].state == "running"
