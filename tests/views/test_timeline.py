"""The log, and what artifacts were made from."""

import pytest

from agentos.abi.events import EVENTS
from agentos.views import lineage, timeline
from tests.views import story
from tests.views.story import ORDER, STORIES


def test_every_event_has_its_words():
    assert set(timeline.WORDS) == set(EVENTS)


@pytest.mark.parametrize("name", ["closed", "refused", "crashed", "approved", "cancelled", "hostile"])
def test_the_log_reads_as_blessed(name, transcript):
    transcript(f"views/log_{name}", timeline.render(timeline.lines(STORIES[name]().facts, order=ORDER), columns=120))


@pytest.mark.parametrize("name", STORIES)
def test_every_event_can_be_told_in_one_printable_line(name):
    facts = STORIES[name]().facts
    rows = timeline.lines(facts, is_full=True)
    assert [row.seq for row in rows] == [fact.seq for fact in facts]
    assert all(row.text and row.text.isprintable() and row.who.isprintable() for row in rows)


def test_the_log_of_a_process_is_about_that_process():
    rows = timeline.lines(story.closed().facts, pid="5.1", is_full=True)
    assert {row.who for row in rows} >= {"gatekeeper 5.1"} and rows[0].since_ns == 0
    assert not any(row.who == "worker 4.1" for row in rows)


def test_red_on_the_base_is_good_news():
    rows = timeline.lines(story.closed().facts, order=ORDER)
    proved = next(row for row in rows if "on the base" in row.text)
    assert proved.tone == "good"
    escalated = timeline.lines(story.escalated().facts, order=ORDER)
    assert next(row for row in escalated if "on the base" in row.text).tone == "bad"


def test_lineage_names_sources_and_what_was_made_from_them():
    table = lineage.nodes(story.closed().facts, ORDER)
    plan, handoff = table.values()
    assert handoff.sources == [plan.content] and plan.uses == [handoff.content]
    assert [node.names for _, node in lineage.walk(table, handoff.content)] == [["/handoff.md"], ["/plan.md"]]
    assert [node.names for _, node in lineage.walk(table, plan.content, is_upward=False)] == [
        ["/plan.md"],
        ["/handoff.md"],
    ]
    assert lineage.render(table).split("\n")[1].startswith("  /plan.md")


def test_a_circle_of_sources_is_shown_once():
    table = {"a": lineage.Node("a", sources=["b"], uses=["b"]), "b": lineage.Node("b", sources=["a"], uses=["a"])}
    assert len(lineage.render(table).split("\n")) == 2
