"""strace and why."""

import pytest

from agentos.abi.calls import KernelCall
from agentos.views import trace
from tests.views import story
from tests.views.story import STORIES


@pytest.mark.parametrize("name", [*STORIES, "two"])
def test_every_event_goes_back_to_a_person_or_to_the_start(name):
    facts = (story.two if name == "two" else STORIES[name])().facts
    causes = trace.Causes(facts)
    for fact in facts:
        steps = causes.why(fact.seq)
        assert steps[-1].kind in ("person", "start"), (fact, steps)


@pytest.mark.parametrize("name", STORIES)
def test_a_part_of_a_journal_says_where_it_ends(name):
    facts = STORIES[name]().facts
    part = facts[len(facts) // 2 :]
    causes = trace.Causes(part)
    for fact in part:
        assert causes.why(fact.seq)[-1].kind in ("person", "start", "end")


def test_every_demanded_call_has_a_cause():
    tags = {str(call.__struct_config__.tag) for call in KernelCall.__args__}
    assert set(trace._DEMANDED) == tags


def test_a_moved_branch_goes_back_to_whoever_asked_for_the_work(transcript):
    facts = story.closed().facts
    moved = next(fact for fact in facts if fact.type == "order.closed")
    steps = trace.why(facts, moved.seq)
    kinds = [step.kind for step in steps]
    assert kinds.index("effect") < kinds.index("call") < kinds.index("process") < kinds.index("person")
    assert steps[-1].name == "user:ada"
    transcript("views/why_closed", trace.render_why(steps))


def test_an_effect_goes_back_to_the_call_that_intended_it():
    world = story.crashed()
    effect = next(fact.event.effect for fact in world.facts if fact.type == "effect.retried")
    steps = trace.why_effect(world.facts, effect)
    call = next(step for step in steps if step.kind == "call")
    assert call.name.startswith("call 4.1/0/") and call.text.startswith("infer, answered")


def test_a_call_can_be_asked_about_by_its_id():
    steps = trace.why(story.closed().facts, "4.1/0/1")
    assert steps[0].name == "call 4.1/0/1" and steps[-1].name == "user:ada"


def test_what_is_not_there_is_said_to_be_not_there():
    facts = story.closed().facts
    assert trace.why(facts, 99_999)[0].text == trace.why(facts, "9.9/0/1")[0].text == "is not in these facts"


def test_a_call_has_its_outcome_its_time_and_its_cost(transcript):
    rows = trace.calls(story.crashed().facts, "4.1")
    assert [row.id for row in rows] == [f"4.1/0/{n}" for n in range(1, len(rows) + 1)]
    written_off = [row for row in rows if row.cost.uusd > 20_617]
    assert [row.cost.uusd for row in written_off] == [80_617, 80_617]
    transcript("views/trace_crashed", trace.render(rows))


def test_a_refused_call_shows_its_refusal():
    rows = trace.calls(story.closed().facts, "3.1")
    refused = [row for row in rows if row.refusal]
    assert refused[0].name == "attest" and refused[0].refusal == "Forbidden"
    assert "-FORBIDDEN" in trace.render(rows)


def test_a_call_that_waits_says_so():
    last = trace.calls(story.running().facts, "3.1")[-1]
    assert last.outcome == "waits for await 4.1" and not last.took_ns
