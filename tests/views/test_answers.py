"""The seven answers, out of what the kernel decided."""

from time import process_time

import msgspec
import pytest

from agentos.abi.ids import OrderId
from agentos.views.answers import QUESTIONS, Answers, UnknownOrder, answers
from agentos.views.base import about
from agentos.views.words import few
from tests.views import story
from tests.views.story import ORDER, STORIES


def told(given: Answers) -> str:
    """The answers as a transcript has them."""
    lines = [f"{given.order} {given.state}: {given.title!r}", f"next: {given.next.command or '-'} ({given.next.why})"]
    for name, question in QUESTIONS.items():
        answer = getattr(given, name)
        lines += [question, f"    {answer.summary!r}", f"    rests on {', '.join(map(str, answer.rests_on))}"]
    for kind in ("holes", "waivers", "unchecked"):
        lines += [f"{kind}: {row!r}" for row in getattr(given.trust, kind)]
    lines += [f"refused {row.call} {row.name}: {row.text!r} ({row.rule})" for row in given.allowed.refused]
    lines += [f"asks: {few(row.choices)} {row.text!r}" for row in given.questions]
    return "\n".join(lines)


def of(name: str) -> Answers:
    world = STORIES[name]()
    return answers(ORDER, world.facts, world.blob)


@pytest.mark.parametrize("name", STORIES)
def test_the_answers_read_as_blessed(name, transcript):
    transcript(f"views/answers_{name}", told(of(name)))


@pytest.mark.parametrize("name", STORIES)
def test_every_answer_rests_on_events_of_its_order(name):
    world, given = STORIES[name](), of(name)
    own = {fact.seq for fact in about(ORDER, world.facts)}
    for question in QUESTIONS:
        rests_on = getattr(given, question).rests_on
        assert set(rests_on) <= own, question
        assert list(rests_on) == sorted(rests_on)
    assert given.who.rests_on and given.allowed.rests_on and given.grounding.rests_on


@pytest.mark.parametrize("name", STORIES)
def test_answers_are_the_same_from_json(name):
    given = of(name)
    assert msgspec.json.decode(msgspec.json.encode(given), type=Answers) == given


@pytest.mark.parametrize("name", STORIES)
def test_membership_is_found_without_the_envelope(name):
    world = STORIES[name]()
    bare = [fact._replace(order="") for fact in world.facts]
    assert answers(ORDER, bare, world.blob) == of(name)


@pytest.mark.parametrize("name", STORIES)
def test_an_orders_own_facts_are_enough(name):
    world, given = STORIES[name](), of(name)
    alone = answers(ORDER, list(about(ORDER, world.facts)), world.blob)
    for question in ("grounding", "changed", "cost"):
        assert getattr(alone, question) == getattr(given, question)
    assert alone.trust.verdict == given.trust.verdict


def test_two_orders_are_not_mixed_up():
    world = story.two()
    first, second = (answers(OrderId(name), world.facts, world.blob) for name in ("WO-1", "WO-2"))
    assert (first.state, second.state) == ("closed", "cancelled")
    assert not set(first.cost.rests_on) & set(second.cost.rests_on)
    assert first.who.author == "user:ada" and second.who.author == "user:bob"
    assert second.who.workers[0].role == "conductor" and not second.cost.total.uusd


def test_an_order_that_is_not_there_is_an_error_that_says_so():
    with pytest.raises(UnknownOrder, match="WO-99"):
        answers(OrderId("WO-99"), story.closed().facts)


def test_two_thousand_events_take_less_than_a_tenth_of_a_second():
    world = story.busy(turns=200)
    assert len(world.facts) >= 2_000
    spent = []
    for _ in range(3):
        began = process_time()
        answers(ORDER, world.facts, world.blob)
        spent.append(process_time() - began)
    assert min(spent) < 0.1


def test_a_closed_order_was_red_then_green_and_judged_by_another_party():
    given = of("closed")
    pytest_check = given.evidence.proofs[0]
    assert pytest_check.is_red_before and pytest_check.is_green_after and pytest_check.probe == "can fail"
    assert given.changed.is_protected_untouched and given.changed.branch == "refs/heads/agentos/WO-1"
    assert [row.role for row in given.evidence.judgements] == ["gatekeeper"]
    assert given.trust.word == "yes" and given.trust.grade == "independent" and not given.trust.holes


def test_a_conductor_that_tried_to_judge_its_own_order_is_on_record():
    refused = [row for row in of("closed").allowed.refused if row.name == "attest"]
    assert refused[0].rule == "law 6: no one judges their own work"


def test_rights_name_who_handed_them_down():
    given = of("closed")
    gate = [row for row in given.allowed.grants if row.role == "gatekeeper" and row.right == "attest"]
    assert gate[0].giver_role == "conductor"
    conductor = [row for row in given.allowed.grants if row.role == "conductor"]
    assert {row.giver_role for row in conductor} == {"init"}


def test_grounding_has_what_was_found_and_what_reading_tools_gave_but_not_what_was_attached():
    reads = of("closed").grounding.reads
    assert [row.name for row in reads if row.kind == "artifact"] == ["/plan.md"]
    assert {row.name for row in reads if row.kind == "tool"} == {"read_file"}
    assert "mail" in {row.kind for row in of("running").grounding.reads}


def test_a_lost_text_is_missing_and_not_empty():
    given = answers(ORDER, story.closed().facts)
    assert not given.grounding.is_goal_here and given.grounding.goal == ""
    assert of("closed").grounding.goal.startswith("add(9, 1) gives 0.")


def test_an_author_who_approves_their_own_order_weakens_the_grade():
    given = of("approved")
    assert given.trust.grade == "self-accepted" and given.trust.word == "with care"
    assert [row.choice for row in given.allowed.approvals] == ["approve"]
    assert given.allowed.budget.uusd == 2_500_000 and given.allowed.raised[0][1] == "user:ada"


def test_a_waiver_is_a_hole_that_names_who_made_it():
    given = of("unverified")
    assert [row.by for row in given.allowed.waivers] == ["user:ada"]
    assert "user:ada let it pass: no_sandbox" in given.trust.waivers[0]
    assert given.trust.word == "not yet" and given.trust.verdict == "unverified"


def test_what_was_not_checked_is_said_of_a_good_order_too():
    assert "no reviewer was asked to read the change" in of("closed").trust.unchecked
    assert any("came from outside" in row for row in of("judged").trust.unchecked)


def test_a_refused_change_keeps_every_presentation():
    given = of("refused")
    assert [reason for reason, _ in given.evidence.refused] == ["protected_changed", "check_failed"]
    assert given.trust.verdict == "failed" and given.trust.word == "no" and not given.changed.branch


def test_a_scripted_model_is_named_as_that():
    assert [row.warning for row in of("scripted").who.served] == ["scripted model: not real inference"]
    assert of("closed").who.served[0].warning == ""


def test_a_late_answer_is_charged_to_an_order_that_is_over():
    given = of("cancelled")
    closing = next(fact.event for fact in story.cancelled().facts if fact.type == "order.cancelled")
    assert given.cost.total.uusd == closing.spent.uusd + 20_617
    assert given.state == "cancelled" and given.trust.word == "no"
