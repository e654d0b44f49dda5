"""The closed worlds are closed: every event applied, every call decided, every refusal proved, no illegal step taken."""

import importlib
import re
from typing import get_args

import pytest

from agentos.abi import refusals
from agentos.abi.budget import Amounts
from agentos.abi.calls import AnyCall, KernelCall
from agentos.abi.calls.base import Call
from agentos.abi.calls.work import Attest, Begin, Cancel, Escalate, Look, Present, Raise
from agentos.abi.events import DURABLE_LATER, EVENTS
from agentos.abi.events.base import Event
from agentos.abi.events.work import (
    AttemptBegun,
    AttemptEnded,
    ClosingBegun,
    ContentPresented,
    CopyMade,
    OrderCancelled,
    OrderClosed,
    OrderEscalated,
    OrderJudged,
    OrderReady,
    OrderResumed,
    OrderVerified,
    PresentationAsked,
    ProvingBegun,
    VerifyingBegun,
)
from agentos.abi.ids import KERNEL, OrderId, Pid
from agentos.abi.limits import LIMITS, value
from agentos.abi.work import Reason, Verdict
from agentos.kernel import apply, decide, demand, fsck
from agentos.kernel.state import encode
from agentos.kernel.work.order import OPEN, TRANSITIONS, step
from tests.kernel.test_order import bring
from tests.kernel.world import TREE, World, change

# What each call's docstring names under "Refusals:", and the test that provokes it. MACHINE: judged before it enters.
MACHINE = "machine"
PROVED: dict[str, dict[str, str]] = {
    "Spawn": {
        "Forbidden": "process.a_worker_cannot_spend_another_orders_money",
        "Exhausted": "process.children_depth_and_count_are_bounded",
        "Invalid": "process.a_spawn_that_is_wrong_or_too_much_is_refused",
        "NotFound": "process.a_spawn_that_is_wrong_or_too_much_is_refused",
        "Closed": "process.work_for_an_order_that_is_over_is_refused",
        "NotYet": "process.an_escalated_order_takes_no_new_process",
    },
    "Await": {"NotFound": "process.only_a_parent_awaits"},
    "Kill": {
        "Forbidden": "process.a_stranger_is_signalled_with_a_right_only",
        "NotFound": "process.a_stranger_is_signalled_with_a_right_only",
        "Busy": "process.other_signals_arrive_as_mail_until_the_mailbox_is_full",
    },
    "Checkpoint": {
        "Busy": "process.a_checkpoint_is_taken_from_the_main_strand_and_between_calls",
        "Invalid": "process.a_checkpoint_is_taken_from_the_main_strand_and_between_calls",
    },
    "Note": {"Exhausted": "process.a_note_is_bounded"},
    "Send": {
        "Forbidden": "ipc.strangers_write_with_a_right_only",
        "NotFound": "ipc.mail_to_nobody_is_refused",
        "Closed": "tables.mail_to_one_that_ended_in_the_same_batch_is_refused",
        "Busy": "ipc.a_full_mailbox_makes_the_sender_wait",
        "Invalid": "ipc.mail_cannot_pose_as_the_kernels",
    },
    "Receive": {
        "TimedOut": "ipc.a_bounded_receive_ends_in_time_and_its_timer_goes_with_an_earlier_answer",
        "Exhausted": "process.strands_are_bounded",
    },
    "Open": {
        "Forbidden": "ipc.channel_calls_without_right_or_channel_are_refused",
        "Busy": "ipc.channel_calls_without_right_or_channel_are_refused",
        "Invalid": "ipc.channel_calls_without_right_or_channel_are_refused",
        "Exhausted": "ipc.channels_and_subscriptions_are_bounded",
        "Closed": "ipc.an_orders_channels_and_artifacts_go_with_it",
    },
    "Subscribe": {
        "Forbidden": "ipc.channel_calls_without_right_or_channel_are_refused",
        "NotFound": "ipc.channel_calls_without_right_or_channel_are_refused",
        "Exhausted": "ipc.channels_and_subscriptions_are_bounded",
    },
    "Publish": {
        "Forbidden": "ipc.channel_calls_without_right_or_channel_are_refused",
        "NotFound": "ipc.channel_calls_without_right_or_channel_are_refused",
        "Busy": "ipc.publishing_is_all_or_none",
        "Invalid": "ipc.a_message_that_is_not_of_the_channels_type_is_refused",
    },
    "Attach": {
        "Invalid": "ipc.an_artifact_needs_a_name_and_known_sources",
        "NotFound": "ipc.an_artifact_needs_a_name_and_known_sources",
        "Exhausted": "ipc.artifacts_are_bounded",
    },
    "Find": {"NotFound": "ipc.an_artifact_needs_a_name_and_known_sources"},
    "Acquire": {
        "Forbidden": "lease.a_lease_call_that_cannot_be_is_refused",
        "Busy": "lease.one_holds_and_the_other_is_told_who",
        "Exhausted": "lease.leases_are_bounded",
        "Invalid": "lease.a_lease_call_that_cannot_be_is_refused",
    },
    "Renew": {
        "Stale": "lease.a_stalled_holder_is_outranked_by_its_successor",
        "NotFound": "lease.a_lease_call_that_cannot_be_is_refused",
        "Exhausted": "lease.a_renewal_moves_the_deadline_and_leaves_one_timer",
    },
    "Release": {
        "Stale": "lease.a_stalled_holder_is_outranked_by_its_successor",
        "NotFound": "lease.a_lease_call_that_cannot_be_is_refused",
    },
    "Derive": {
        "Forbidden": "capability.derived_is_never_wider",
        "NotFound": "capability.nothing_is_derived_for_nobody",
        "Exhausted": "capability.how_many_a_process_holds_is_bounded",
    },
    "Revoke": {
        "Forbidden": "capability.an_id_means_nothing_in_other_hands",
        "NotFound": "capability.revoking_takes_back_everything_derived",
    },
    "Sleep": {"Exhausted": "timer.a_sleep_is_bounded"},
    "Infer": {
        "Forbidden": "inference.a_model_class_or_a_tool_that_was_not_granted_is_forbidden",
        "Exhausted": "inference.the_same_request_too_often_in_a_row_is_a_loop",
        "Invalid": MACHINE,
        "Closed": "budget.an_order_that_is_over_spends_nothing_and_pays_for_what_flew",
        "Broken": "effects.attempts_are_bounded",
        "TimedOut": "effects.a_timeout_is_told_as_one",
    },
    "Invoke": {
        "Forbidden": "inference.a_model_class_or_a_tool_that_was_not_granted_is_forbidden",
        "NotFound": MACHINE,
        "NotYet": "inference.tools_need_a_working_copy_once_there_is_an_order",
        "Exhausted": "budget.every_unit_binds",
        "Stale": "inference.a_worker_of_an_earlier_attempt_may_look_and_not_write",
        "Closed": "budget.an_order_that_is_over_spends_nothing_and_pays_for_what_flew",
        "Broken": "effects.a_once_effect_is_not_retried",
        "TimedOut": "effects.a_timeout_is_told_as_one",
    },
    "Ask": {"Exhausted": "inference.questions_are_bounded_per_order"},
    "Submit": {
        "Forbidden": "order.only_an_author_submits",
        "Invalid": "order.a_contract_that_cannot_be_kept_is_refused_at_the_door",
        "Exhausted": "order.open_orders_are_bounded",
    },
    "Look": {
        "NotFound": "order.of_an_order_that_is_over_or_never_was_nothing_is_done",
        "Closed": "order.of_an_order_that_is_over_or_never_was_nothing_is_done",
    },
    "Begin": {
        "Forbidden": "order.a_stranger_conducts_nothing",
        "NotYet": "order.begin_answers_when_the_working_copy_is_there",
        "Exhausted": "order.attempts_are_bounded_and_a_persons_retry_grants_more",
        "Closed": "order.of_an_order_that_is_over_or_never_was_nothing_is_done",
        "NotFound": "order.of_an_order_that_is_over_or_never_was_nothing_is_done",
    },
    "Present": {
        "Forbidden": "order.a_stranger_conducts_nothing",
        "NotYet": "evidence.presenting_waits_its_turn_and_is_bounded",
        "Stale": "evidence.a_worker_of_an_earlier_attempt_presents_nothing",
        "Exhausted": "evidence.presenting_waits_its_turn_and_is_bounded",
        "Closed": "order.of_an_order_that_is_over_or_never_was_nothing_is_done",
    },
    "Attest": {
        "Forbidden": "gate.nobody_with_a_hand_in_it_judges",
        "Stale": "gate.only_what_is_presented_and_verified_is_judged",
        "NotYet": "gate.only_what_is_presented_and_verified_is_judged",
        "NotFound": "gate.only_what_is_presented_and_verified_is_judged",
        "Closed": "gate.only_what_is_presented_and_verified_is_judged",
    },
    "Decide": {
        "Forbidden": "gate.an_approval_is_given_by_whom_it_names",
        "NotFound": "inference.a_question_waits_for_a_person_and_takes_one_of_its_choices",
        "Closed": "gate.a_rejection_withdraws_what_else_was_asked",
        "Invalid": "inference.a_question_waits_for_a_person_and_takes_one_of_its_choices",
    },
    "Escalate": {
        "Forbidden": "order.a_stranger_conducts_nothing",
        "Closed": "order.of_an_order_that_is_over_or_never_was_nothing_is_done",
        "NotFound": "order.of_an_order_that_is_over_or_never_was_nothing_is_done",
        "NotYet": "order.escalating_is_refused_while_the_kernel_itself_is_at_work",
    },
    "Cancel": {
        "Forbidden": "order.a_stranger_conducts_nothing",
        "Closed": "order.of_an_order_that_is_over_or_never_was_nothing_is_done",
        "NotFound": "order.of_an_order_that_is_over_or_never_was_nothing_is_done",
    },
    "Raise": {
        "Forbidden": "budget.an_author_raises_an_orders_budget_within_the_workspaces",
        "Closed": "budget.an_author_raises_an_orders_budget_within_the_workspaces",
        "NotFound": "budget.an_author_raises_an_orders_budget_within_the_workspaces",
        "Invalid": "budget.an_author_raises_an_orders_budget_within_the_workspaces",
        "Exhausted": "budget.an_author_raises_an_orders_budget_within_the_workspaces",
    },
    "Apply": {
        "Forbidden": "delivery.an_onlooker_applies_nothing",
        "NotFound": "delivery.only_what_is_closed_is_applied",
        "NotYet": "delivery.only_what_is_closed_is_applied",
        "Busy": "delivery.a_change_is_in_the_checkout_once_or_not_at_all",
        "Broken": "delivery.a_checkout_in_the_way_is_told_and_changes_nothing",
    },
    "Undo": {
        "Forbidden": "delivery.an_onlooker_applies_nothing",
        "NotFound": "delivery.only_what_is_closed_is_applied",
        "NotYet": "delivery.a_change_is_in_the_checkout_once_or_not_at_all",
        "Broken": "delivery.a_checkout_in_the_way_is_told_and_changes_nothing",
    },
    "Enroll": {
        "Exhausted": "process.nobody_is_enrolled_into_a_full_table",
        "Invalid": "process.nobody_is_enrolled_in_a_role_that_is_not_there",
    },
    "Fence": {
        "NotFound": "process.a_fence_ends_one_incarnation_and_starts_the_next",
        "Stale": "process.a_fence_ends_one_incarnation_and_starts_the_next",
    },
    "Finish": {"NotFound": "process.a_program_with_a_worker_to_itself_ends_by_its_exit_status"},
    "Diverge": {"NotFound": "process.a_program_that_does_not_repeat_itself_is_stopped"},
}
KINDS = [kind.__name__ for kind in get_args(refusals.Refusal)]


def test_every_event_has_its_apply_and_every_call_its_decision() -> None:
    assert set(apply.APPLY) == set(EVENTS) and set(EVENTS) >= DURABLE_LATER
    assert set(decide.CALLS) == set(get_args(AnyCall))
    assert set(decide.KERNEL_CALLS) == set(get_args(KernelCall))


def documented(call: type[Call]) -> set[str]:
    """The refusals a call's docstring names, outside of the reasons in brackets."""
    text = " ".join((call.__doc__ or "").split())
    _, _, after = text.partition("Refusals:")
    bare = re.sub(r"\([^()]*\)", "", after)
    return {kind for kind in KINDS if re.search(rf"\b{kind}\b", bare)}


@pytest.mark.parametrize("call", [*get_args(AnyCall), *get_args(KernelCall)], ids=lambda call: call.__name__)
def test_every_documented_refusal_is_proved_by_a_test_that_is_there(call: type[Call]) -> None:
    proved = PROVED.get(call.__name__, {})
    assert documented(call) == set(proved)
    for where in proved.values():
        if where != MACHINE:
            module, name = where.split(".")
            assert hasattr(importlib.import_module(f"tests.kernel.test_{module}"), f"test_{name}"), where


def test_mail_to_one_that_ended_in_the_same_batch_is_refused() -> None:
    """Between its exit and its reaping, both in one batch, a process is there and has ended."""
    from agentos.abi.calls.ipc import Send
    from agentos.abi.events.process import ProcessExited
    from agentos.kernel.decision import Entry

    world = World(is_checked=False)
    ada = world.person()
    child = world.spawn(ada)
    apply.apply(world.state, ProcessExited(pid=child, status=0), world.now_ns)
    ruling = decide.decide(world.state, Entry(world.next_id(ada), world.now_ns), Send(to=child, kind="x"))
    assert isinstance(ruling, tuple) and isinstance(ruling.events[0].refusal, refusals.Closed)  # type: ignore[attr-defined]


ORDER = OrderId("WO-1")
STEPS: tuple[Event, ...] = (
    ProvingBegun(order=ORDER, checks=1),
    OrderReady(order=ORDER),
    AttemptBegun(order=ORDER, attempt=1, by=KERNEL),
    CopyMade(order=ORDER, attempt=1),
    AttemptEnded(order=ORDER, attempt=1, reason=""),
    PresentationAsked(order=ORDER, by=KERNEL),
    ContentPresented(order=ORDER, attempt=1, by=KERNEL, change=change()),
    VerifyingBegun(order=ORDER, checks=1),
    OrderVerified(order=ORDER, content=TREE, verdict=Verdict.PASSED, reason=Reason.OK),
    ClosingBegun(order=ORDER),
    OrderClosed(order=ORDER, commit="c" * 40, content=TREE, spent=Amounts()),
    OrderJudged(order=ORDER, verdict=Verdict.PASSED, reason=Reason.OK, spent=Amounts()),
    OrderEscalated(order=ORDER, question=1, reason=""),
    OrderResumed(order=ORDER, state="ready"),
    OrderCancelled(order=ORDER, reason="", spent=Amounts()),
)


@pytest.mark.parametrize("state", [*OPEN, "escalated"])
@pytest.mark.parametrize("event", STEPS, ids=lambda event: type(event).__name__)
def test_a_step_is_taken_from_its_states_and_dies_from_all_others(event: Event, state: str) -> None:
    world = World(is_checked=False)
    order = world.submit(world.person())
    world.state.orders[order].state = state
    before = encode(world.state)
    sources, target = TRANSITIONS[type(event)]
    if state in sources:
        assert step(world.state, order, event).state == target
    else:
        with pytest.raises(AssertionError):
            step(world.state, order, event)
        assert encode(world.state) == before


def test_the_steps_are_all_there() -> None:
    assert {type(event) for event in STEPS} == set(TRANSITIONS)


STATES = ["proving", "ready", "starting", "executing", "sealing", "verifying", "gating", "escalated"]


@pytest.mark.parametrize("state", STATES)
def test_no_call_about_an_order_takes_an_illegal_step(state: str) -> None:
    """Whoever calls what in whichever state: an answer, a refusal or a wait, and the laws hold after it."""
    for number, call in enumerate(about(ORDER)):
        world = World()
        ada = world.person()
        bring(world, ada, state)
        callers = [ada, *world.state.orders[ORDER].processes]
        world.ask(callers[number % len(callers)], call, strand=7)
        world.ask(ada, call, strand=8)


def about(order: OrderId) -> list[Call]:
    return [
        Begin(order=order),
        Present(order=order),
        Attest(order=order, content=TREE, verdict=Verdict.PASSED),
        Attest(order=order, content=TREE, verdict=Verdict.FAILED),
        Escalate(order=order, reason="r"),
        Cancel(order=order),
        Raise(order=order, by=Amounts(uusd=1)),
        Look(order=order),
    ]


def test_what_stirs_an_order_names_it() -> None:
    assert all("order" in event.__struct_fields__ for event in demand.STIRRING)


def test_every_limit_has_a_unit_a_reason_and_a_key() -> None:
    for name, row in LIMITS.items():
        assert row.unit and row.reason and row.key == f"limits.{name}" and value(name) > 0


def test_a_fresh_workspace_breaks_no_law() -> None:
    assert fsck.faults(World().state) == [] and Pid("1.1") in World().state.processes
