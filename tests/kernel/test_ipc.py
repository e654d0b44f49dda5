"""Mail, channels, artifacts."""

import pytest

from agentos.abi.calls.ipc import Attach, Find, Open, Publish, Receive, Send, Subscribe
from agentos.abi.calls.process import Exit
from agentos.abi.calls.work import Cancel
from agentos.abi.events.call import CallAnswered
from agentos.abi.ids import Digest, Pid
from agentos.abi.limits import value
from agentos.abi.refusals import Busy, Closed, Exhausted, Forbidden, Invalid, NotFound, TimedOut
from agentos.abi.replies import Artifact, Done, Mail
from agentos.abi.rights import Right
from tests.kernel.world import SECOND, WAITING, World, grants

BODY, OTHER = Digest("a" * 64), Digest("b" * 64)
CHANNELS = grants((Right.PUBLISH, "/c/**"), (Right.SUBSCRIBE, "/c/**"))


def test_mail_is_stamped_by_the_kernel_and_taken_once_oldest_first() -> None:
    world = World()
    ada = world.person()
    child = world.spawn(ada)
    for kind in ("x", "y", "x"):
        assert world.ask(ada, Send(to=child, kind=kind, body=BODY)) == Done()
    got = [world.ask(child, Receive(kind=kind)) for kind in ("y", "x", "")]
    assert [(mail.sender, mail.kind, mail.id) for mail in got] == [(ada, "y", 2), (ada, "x", 1), (ada, "x", 3)]  # type: ignore[union-attr]
    assert world.ask(child, Receive()) == WAITING


def test_a_receiver_who_waits_is_answered_by_mail_of_its_kind() -> None:
    world = World()
    ada = world.person()
    child = world.spawn(ada)
    id = world.next_id(child)
    assert world.ask(child, Receive(kind="x")) == WAITING
    world.ask(ada, Send(to=child, kind="y"))
    assert world.answer(id) == WAITING
    world.ask(ada, Send(to=child, kind="x"))
    assert isinstance(world.answer(id), Mail)
    assert [letter.kind for letter in world.state.processes[child].mailbox] == ["y"]


def test_a_bounded_receive_ends_in_time_and_its_timer_goes_with_an_earlier_answer() -> None:
    world = World()
    ada = world.person()
    child = world.spawn(ada)
    id = world.next_id(child)
    world.ask(child, Receive(timeout_ns=SECOND))
    world.tick(SECOND)
    assert isinstance(world.answer(id), TimedOut)
    world.ask(child, Receive(timeout_ns=SECOND))
    world.ask(ada, Send(to=child, kind="x"))
    assert not world.state.timers


def test_strangers_write_with_a_right_only() -> None:
    world = World()
    ada = world.person()
    target, poor = world.spawn(ada), world.spawn(ada)
    rich = world.spawn(ada, grants=grants((Right.SEND, f"/{target}")))
    assert isinstance(world.refused(poor, Send(to=target, kind="x")), Forbidden)
    assert world.ask(rich, Send(to=target, kind="x")) == Done()
    assert world.ask(target, Send(to=ada, kind="x")) == Done(), "a child writes to its parent"


@pytest.mark.parametrize("kind", ["signal:TERM", "channel:/c/a"])
def test_mail_cannot_pose_as_the_kernels(kind: str) -> None:
    world = World()
    ada = world.person()
    child = world.spawn(ada)
    assert isinstance(world.refused(ada, Send(to=child, kind=kind)), Invalid)


def test_mail_to_nobody_is_refused() -> None:
    world = World()
    ada = world.person()
    child = world.spawn(ada)
    world.ask(child, Exit())
    assert isinstance(world.refused(ada, Send(to=child, kind="x")), NotFound)
    assert isinstance(world.refused(ada, Send(to=Pid("99.1"), kind="x")), NotFound)


def test_a_full_mailbox_makes_the_sender_wait() -> None:
    world = World(is_checked=False)
    ada = world.person()
    child = world.spawn(ada)
    for _ in range(value("mailbox_max")):
        world.ask(ada, Send(to=child, kind="x"))
    refusal = world.refused(ada, Send(to=child, kind="x"))
    assert isinstance(refusal, Busy) and refusal.limit == "limits.mailbox_max"


def test_a_channel_is_opened_joined_and_heard() -> None:
    world = World()
    ada = world.person()
    a, b = world.spawn(ada, grants=CHANNELS), world.spawn(ada, grants=CHANNELS)
    assert world.ask(a, Open(channel="/c/x", schema=BODY)) == world.ask(b, Open(channel="/c/x", schema=BODY)) == Done()
    assert world.ask(b, Subscribe(channel="/c/x")) == world.ask(b, Subscribe(channel="/c/x")) == Done()
    assert world.ask(a, Publish(channel="/c/x", body=BODY)) == Done()
    mail = world.ask(b, Receive())
    assert isinstance(mail, Mail) and (mail.sender, mail.kind, mail.body) == (a, "channel:/c/x", BODY)
    assert world.ask(b, Receive()) == WAITING


def test_channel_calls_without_right_or_channel_are_refused() -> None:
    world = World()
    ada = world.person()
    poor, rich = world.spawn(ada), world.spawn(ada, grants=CHANNELS)
    for call in (Open(channel="/c/x"), Subscribe(channel="/c/x"), Publish(channel="/c/x", body=BODY)):
        assert isinstance(world.refused(poor, call), Forbidden)
    for call in (Subscribe(channel="/c/x"), Publish(channel="/c/x", body=BODY)):
        assert isinstance(world.refused(rich, call), NotFound)
    assert isinstance(world.refused(rich, Open(channel="c")), Invalid)
    world.ask(rich, Open(channel="/c/x", schema=BODY))
    assert isinstance(world.refused(rich, Open(channel="/c/x", schema=OTHER)), Busy)


def test_channels_and_subscriptions_are_bounded() -> None:
    world = World(is_checked=False)
    ada = world.person()
    for number in range(value("channels_max")):
        world.ask(ada, Open(channel=f"/c/{number}"))
    assert isinstance(world.refused(ada, Open(channel="/c/more")), Exhausted)
    for number in range(value("subscriptions_max")):
        world.ask(ada, Subscribe(channel=f"/c/{number}"))
    assert isinstance(world.refused(ada, Subscribe(channel="/c/1000")), Exhausted)
    assert world.ask(ada, Subscribe(channel="/c/0")) == Done(), "what one reads already costs no room"


def test_publishing_is_all_or_none() -> None:
    world = World(is_checked=False)
    ada = world.person()
    a, b = world.spawn(ada, grants=CHANNELS), world.spawn(ada, grants=CHANNELS)
    world.ask(ada, Open(channel="/c/x"))
    world.ask(a, Subscribe(channel="/c/x"))
    world.ask(b, Subscribe(channel="/c/x"))
    for _ in range(value("mailbox_max")):
        world.ask(ada, Send(to=b, kind="x"))
    assert isinstance(world.refused(ada, Publish(channel="/c/x", body=BODY)), Busy)
    assert world.state.processes[a].mailbox == []


def test_a_late_subscriber_gets_what_is_kept() -> None:
    world = World()
    ada = world.person()
    world.ask(ada, Open(channel="/c/x"))
    for body in (BODY, OTHER):
        world.ask(ada, Publish(channel="/c/x", body=body))
    late = world.spawn(ada, grants=CHANNELS)
    world.ask(late, Subscribe(channel="/c/x", is_from_start=True))
    assert [letter.body for letter in world.state.processes[late].mailbox] == [BODY, OTHER]


def test_a_strand_that_receives_gets_one_of_the_kept_messages_and_one_answer() -> None:
    world = World()
    ada = world.person()
    world.ask(ada, Open(channel="/c/x"))
    for body in (BODY, OTHER):
        world.ask(ada, Publish(channel="/c/x", body=body))
    late = world.spawn(ada, grants=CHANNELS)
    id = world.next_id(late, 1)
    world.ask(late, Receive(), strand=1)
    world.ask(late, Subscribe(channel="/c/x", is_from_start=True))
    assert sum(isinstance(event, CallAnswered) and event.id == id for event in world.events) == 1
    assert [letter.body for letter in world.state.processes[late].mailbox] == [OTHER]


def test_the_backlog_keeps_the_newest() -> None:
    world = World(is_checked=False)
    ada = world.person()
    world.ask(ada, Open(channel="/c/x"))
    for _ in range(value("backlog_max") + 1):
        world.ask(ada, Publish(channel="/c/x", body=BODY))
    assert len(world.state.channels["/c/x"].backlog) == value("backlog_max")


def test_a_dead_subscriber_hears_no_more() -> None:
    world = World()
    ada = world.person()
    child = world.spawn(ada, grants=CHANNELS)
    world.ask(ada, Open(channel="/c/x"))
    world.ask(child, Subscribe(channel="/c/x"))
    world.ask(child, Exit())
    assert world.ask(ada, Publish(channel="/c/x", body=BODY)) == Done()
    assert world.state.channels["/c/x"].subscribers == []


def test_an_orders_channels_and_artifacts_go_with_it() -> None:
    world = World()
    ada = world.person()
    order, conductor = world.executing(ada)
    world.ask(conductor, Open(channel=f"/{order}/x"))
    world.ask(ada, Subscribe(channel=f"/{order}/x"))
    world.ask(conductor, Attach(name="/plan", content=BODY))
    world.ask(ada, Cancel(order=order))
    assert not world.state.channels and not world.state.artifacts and not world.state.processes[ada].channels
    assert isinstance(world.refused(ada, Open(channel=f"/{order}/x")), Closed)


def test_an_artifact_is_found_by_name_the_newest_first() -> None:
    world = World()
    ada = world.person()
    world.ask(ada, Attach(name="/plan", content=BODY))
    assert world.ask(ada, Attach(name="/plan", content=OTHER, sources=(BODY,))) == Artifact(
        name="/plan", content=OTHER, author=ada
    )
    assert world.ask(ada, Find(name="/plan")) == Artifact(name="/plan", content=OTHER, author=ada)


def test_an_artifact_needs_a_name_and_known_sources() -> None:
    world = World()
    ada = world.person()
    assert isinstance(world.refused(ada, Attach(name="plan", content=BODY)), Invalid)
    assert isinstance(world.refused(ada, Attach(name="/plan", content=BODY, sources=(OTHER,))), NotFound)
    assert isinstance(world.refused(ada, Find(name="/plan")), NotFound)


def test_artifacts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    ada = world.person()
    monkeypatch.setattr("agentos.kernel.ipc.value", lambda name: 1)
    world.ask(ada, Attach(name="/a", content=BODY))
    assert isinstance(world.refused(ada, Attach(name="/b", content=BODY)), Exhausted)
    assert isinstance(world.ask(ada, Attach(name="/a", content=OTHER)), Artifact)


def test_a_message_that_is_not_of_the_channels_type_is_refused() -> None:
    world = World()
    ada = world.person()
    world.ask(ada, Open(channel="/c/x"))
    said = world.refused(ada, Publish(channel="/c/x", body=BODY, fault="n must be integer"))
    assert isinstance(said, Invalid) and "n must be integer" in said.fact
