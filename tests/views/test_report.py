"""The page: self-contained, well-formed, and nothing an outsider wrote becomes markup."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from agentos.views.report import report
from tests.views import story
from tests.views.story import ORDER, STORIES

SOURCES = Path(__file__).parents[2] / "src"


class Page(HTMLParser):
    """What a browser would make of it, and whether every element is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("meta", "br"):
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def of(name: str) -> str:
    world = STORIES[name]()
    return report(ORDER, world.facts, world.blob)


@pytest.mark.parametrize("name", STORIES)
def test_a_report_is_well_formed_and_leads_nowhere(name):
    text = of(name)
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "form", "a", "base"} & set(page.tags)
    assert not {"href", "src", "srcset", "action", "xlink:href"} & page.attributes
    assert not any(attribute.startswith("on") for attribute in page.attributes)
    assert not re.search(r"https?:|url\(|@import|//[a-z]", text)
    assert "default-src 'none'" in text


@pytest.mark.parametrize("name", STORIES)
def test_a_report_has_all_seven_answers(name):
    words = " ".join(Page(of(name)).words)
    for question in ("Who did it?", "Why was it allowed?", "What grounding did it get?", "What changed?"):
        assert question in words
    for question in ("What evidence is there?", "What did it cost?", "Can it be trusted?"):
        assert question in words


def test_a_hostile_title_stays_text():
    text = of("hostile")
    page = Page(text)
    assert "script" not in page.tags and "<script>" not in text and "\x1b" not in text and "\u202e" not in text
    assert any("<script>alert('x')</script>" in word for word in page.words)


def test_light_and_dark_have_the_same_colours_by_name():
    text = of("closed")
    light, dark = (set(re.findall(r"--([a-z-]+):", part)) for part in text.split("@media (prefers-color-scheme: dark)"))
    assert dark >= light
    used = set(re.findall(r"var\(--([a-z-]+)\)", text))
    assert used <= light


def test_a_long_order_makes_a_bounded_page():
    world = story.busy(turns=200)
    text = report(ORDER, world.facts, world.blob)
    Page(text)
    assert len(text) < 600_000


def test_the_same_facts_make_the_same_page():
    assert of("closed") == of("closed")


def test_views_load_nothing_but_msgspec_and_the_abi():
    code = (
        "import sys; import agentos.views.report, agentos.views.receipt, agentos.views.trace, agentos.views.inbox;"
        "print(*sorted(name for name in sys.modules if name.startswith('agentos')));"
        "print(*({'asyncio', 'click', 'rich', 'yaml', 'apsw', 'aiohttp', 'ssl', 'socket'} & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=SOURCES, capture_output=True, text=True, timeout=60, check=True
    )
    ours, heavy = shown.stdout.split("\n")[:2]
    assert {name.split(".")[1] for name in ours.split() if "." in name} == {"abi", "views"}
    assert heavy == ""
