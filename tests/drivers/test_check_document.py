"""The check of a written document: the same answer always, a reason for each, and never a pass that could not fail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentos.abi.ids import Digest
from agentos.abi.work import Document, Reason, Verdict
from agentos.drivers.check_document import find

TREE = Digest("0" * 64)
PAGE = Document(
    name="page", path="page.md", headings=("Leave", "Pay"), contains=("3 days | three days",), excludes=("5 days",)
)
GOOD = "# Leave\nEveryone has **three\ndays**.\n# Pay\nMonthly.\n"


def test_a_document_that_holds_all_passes_on_exactly_its_tree() -> None:
    finding = find(PAGE, GOOD, TREE)
    assert (finding.verdict, finding.reason, finding.tree) == (Verdict.PASSED, Reason.OK, TREE)
    assert finding.check == "page"
    assert finding.isolation


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "file page.md is not there; write it"),
        ("", "the text is empty"),
        (GOOD.replace("# Pay", "Pay"), "the heading 'Pay' is missing"),
        (GOOD.replace("three", "13"), "it does not say: 3 days | three days"),
        (GOOD + "Or 5 days.", "it must not say: 5 days"),
        ("```\n# Pay\n```\n" + GOOD.replace("# Pay", ""), "the heading 'Pay' is missing"),
        ("# Pay\n# Leave\n3 days", "the headings are not in the order Leave, Pay"),
    ],
)
def test_a_document_that_lacks_something_fails_with_what_it_lacks(text: str | None, said: str) -> None:
    finding = find(PAGE, text, TREE)
    assert (finding.verdict, finding.reason) == (Verdict.FAILED, Reason.CHECK_FAILED)
    assert said in finding.detail


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"title": "a", "n": 1.5, "ok": true, "tags": ["x"], "more": {"a": 1}}', ""),
        ('Here it is:\n```json\n{"title": "a", "n": 1, "ok": false, "tags": [1], "more": {"a": 1}}\n```', ""),
        ('{"title": "", "n": 1, "ok": true, "tags": ["x"], "more": {"a": 1}}', "'title' is empty"),
        ('{"title": "a", "n": true, "ok": true, "tags": ["x"], "more": {"a": 1}}', "'n' is no number"),
        ('{"title": "a", "n": null, "ok": true, "tags": ["x"], "more": {"a": 1}}', "'n' is no number"),
        ('{"title": "a", "n": 1, "ok": 1, "tags": ["x"], "more": {"a": 1}}', "'ok' is no flag"),
        ('{"n": 1, "ok": true, "tags": ["x"], "more": {"a": 1}}', "'title' is missing"),
        ("no json", "it is no JSON object"),
        ("[" * 100_000, "it is no JSON object"),
    ],
)
def test_fields_are_told_apart_by_kind(text: str, said: str) -> None:
    fields = {"title": "text", "n": "number", "ok": "flag", "tags": "list", "more": "mapping"}
    finding = find(Document(name="d", path="d.json", fields=fields), text, TREE)
    assert (finding.verdict == Verdict.PASSED) == (said == "")
    assert said in finding.detail


@given(st.text())
def test_any_text_gets_one_answer(text: str) -> None:
    assert find(PAGE, text, TREE) == find(PAGE, text, TREE)
    assert "\n" not in find(PAGE, text, TREE).detail


@given(st.text(alphabet=" \n\t\r"))
def test_blank_never_passes(text: str) -> None:
    assert find(Document(name="d", path="d"), text, TREE).verdict == Verdict.FAILED
