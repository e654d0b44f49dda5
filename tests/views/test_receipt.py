"""The one screen."""

import pytest

from agentos.abi.work import Command
from agentos.views.answers import answers
from agentos.views.escape import width
from agentos.views.receipt import COLUMNS_MAX, LINES_MAX, receipt
from tests.views import story
from tests.views.story import ORDER, STORIES


def of(name: str) -> str:
    world = STORIES[name]()
    return receipt(answers(ORDER, world.facts, world.blob))


@pytest.mark.parametrize("name", STORIES)
def test_the_receipt_reads_as_blessed(name, transcript):
    transcript(f"views/receipt_{name}", of(name))


@pytest.mark.parametrize("name", STORIES)
def test_every_prefix_of_a_story_fits_one_screen(name):
    world = STORIES[name]()
    for end in range(1, len(world.facts) + 1):
        part = world.facts[:end]
        if not any(fact.type == "order.submitted" for fact in part):
            continue
        lines = receipt(answers(ORDER, part, world.blob)).split("\n")
        assert len(lines) <= LINES_MAX
        assert all(width(line) <= COLUMNS_MAX for line in lines)
        assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("name", STORIES)
def test_there_is_one_next_command(name):
    lines = of(name).split("\n")
    assert lines[-1].startswith("next         agentos ")
    assert sum(line.startswith("next") for line in lines) == 1


def test_many_checks_are_counted_and_the_failed_ones_shown():
    checks = tuple(Command(name=f"check-{number}", argv=("true",)) for number in range(40))
    world = story.World()
    ada = world.person("user:ada")
    world.submit(ada, story.contract(accept=checks, is_external=True, candidate=story.COMMIT, branch=""))
    world.perform(lambda effect: story._red(effect) if getattr(effect, "check", checks[0]).name == "check-33" else None)
    text = receipt(answers(ORDER, world.facts, world.blob))
    assert len(text.split("\n")) <= LINES_MAX
    assert "✗ check-33  red, 1 failed, 4 passed" in text
    assert "39 of 40 green" in text


def test_colour_changes_nothing_but_colour():
    world = story.closed()
    given = answers(ORDER, world.facts, world.blob)
    kinds = set()

    def mark(kind: str, text: str) -> str:
        kinds.add(kind)
        return f"\x1b[1m{text}\x1b[0m"

    coloured = receipt(given, mark)
    assert coloured.replace("\x1b[1m", "").replace("\x1b[0m", "") == receipt(given)
    assert kinds <= {"", "good", "bad", "doubtful", "strong", "faint"} and "good" in kinds


def test_a_terminal_without_unicode_gets_ascii():
    world = story.refused()
    assert receipt(answers(ORDER, world.facts, world.blob), is_ascii=True).isascii()


def test_a_scripted_model_is_named_on_the_receipt():
    assert "scripted model: not real inference" in of("scripted")
    assert "scripted" not in of("closed")


def test_the_verdict_is_big_and_the_cost_is_exact():
    text = of("closed")
    assert "C L O S E D" in text
    assert "$0.16 of $2.00 ($0.164936)" in text
    assert "agentos apply WO-1" in text


def test_a_hostile_title_paints_nothing():
    text = of("hostile")
    assert "\x1b" not in text and "\u202e" not in text and "\\x1b[2J" in text
    assert "✓ P A S S E D" not in text
