"""Text from outside, on a terminal and on a page."""

from hypothesis import given
from hypothesis import strategies as st

from agentos.views.escape import clip, page, page_lines, terminal, width

ANYTHING = st.text(max_size=300)
TRICKS = st.text(
    alphabet="a\x1b\x9b\n\r\t\x00\u202e\u2066\u200b\ufeff\u0301\u3164\ufe0f漢\\<>&\"'\U000e0041 ", max_size=60
)


@given(ANYTHING | TRICKS, st.integers(1, 120))
def test_a_terminal_gets_one_printable_bounded_line(text, chars_max):
    shown = terminal(text, chars_max)
    assert shown.isprintable() and len(shown) <= chars_max


@given(ANYTHING | TRICKS)
def test_escaping_twice_is_escaping_once(text):
    once = terminal(text, 4_000)
    assert terminal(once, 4_000) == once


@given(ANYTHING | TRICKS, st.integers(1, 80))
def test_a_clipped_text_keeps_its_columns(text, columns):
    assert width(clip(text, columns)) <= columns


@given(ANYTHING | TRICKS)
def test_a_page_gets_no_markup(text):
    assert not set(page(text)) & set("<>\"'")
    assert page(text).replace("&amp;", "").replace("&lt;", "").replace("&gt;", "").count("&") == page(text).count(
        "&quot;"
    ) + page(text).count("&#39;")


def test_what_cannot_be_seen_is_spelt_out():
    assert terminal("a\x1b[31mb\u202ec\u200bd\n\U000e0041") == "a\\x1b[31mb\\u202ec\\u200bd\\n\\U000e0041"
    assert terminal("\u3164\u115f\u2800\ufe0f") == "\\u3164\\u115f\\u2800\\ufe0f"


def test_words_of_other_scripts_stay_as_they_are():
    for text in ("Größe naïve", "漢字かな", "ภาษาที่", "עִבְרִית", "हिन्दी"):
        assert terminal(text) == text


def test_a_tower_of_marks_is_cut_down():
    assert terminal("e" + "\u0301" * 40).count("\u0301") == 2


def test_wide_letters_count_two_columns():
    assert width("漢字") == 4 and width(clip("漢字漢字", 5)) <= 5


def test_lines_of_a_page_are_bounded_and_the_rest_is_counted():
    shown = page_lines("\n".join("<b>" for _ in range(30)), lines_max=10)
    assert shown.count("&lt;b&gt;") == 10 and "20 more lines" in shown
