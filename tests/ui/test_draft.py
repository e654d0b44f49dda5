"""From a sentence to a contract: pure, so everything is said in arguments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentos.abi.budget import ORDER_DEFAULT
from agentos.abi.work import Command, Scope
from agentos.ui.cli import draft
from agentos.ui.cli.draft import Ground, Wish
from agentos.ui.cli.trouble import Trouble
from agentos.userland.documents import order as documents
from tests.ui.seat import Hold

GROUND = Ground(
    repository="/home/ada/calc",
    base="b5e1" + "0" * 36,
    checks=(Command(name="pytest", argv=("pytest",)), Command(name="make test", argv=("make", "test"))),
    scope=Scope(forbidden=(".env",), protected=("tests/",)),
    uncommitted=3,
)
SENTENCE = "make div return None when the divisor is zero"


def test_a_sentence_becomes_an_order_with_the_repositorys_own_check() -> None:
    made = draft.draft(SENTENCE, GROUND)
    contract = made.contract
    assert (made.title, made.text) == (SENTENCE, SENTENCE)
    assert contract.accept == (Command(name="pytest", argv=("pytest",), must_fail_on_base=True),)
    assert contract.scope.protected == ("tests/",)
    assert ".env" in contract.scope.forbidden
    assert "/.github/workflows/**" in contract.scope.forbidden
    assert contract.budget == ORDER_DEFAULT
    assert contract.branch == "refs/heads/agentos/{order}"
    assert not contract.is_external


def test_what_is_said_wins_over_what_is_found() -> None:
    wish = Wish(
        checks=(("make", "check"), ("make", "lint")),
        scope=("src/**",),
        is_tests_allowed=True,
        is_green_allowed=True,
        budget_uusd=500_000,
        minutes=5,
        agent="writer",
        model="tiny",
    )
    contract = draft.draft(SENTENCE, GROUND, wish).contract
    assert [check.name for check in contract.accept] == ["make-1", "make-2"]
    assert not any(check.must_fail_on_base for check in contract.accept if isinstance(check, Command))
    assert contract.scope.allowed == ("src/**",)
    assert contract.scope.protected == ()
    assert contract.budget.uusd == 500_000
    assert contract.wall_ns_max == 5 * 60 * 10**9
    assert (contract.agent, contract.model_classes) == ("writer", ("tiny",))


def test_no_check_is_no_order() -> None:
    with pytest.raises(Trouble, match="no check was found"):
        draft.draft(SENTENCE, GROUND._replace(checks=()))


@pytest.mark.parametrize("sentence", ["", " \n ", "x" * (draft.GOAL_CHARS_MAX + 1)])
def test_what_is_no_sentence_is_no_order(sentence: str) -> None:
    with pytest.raises(Trouble):
        draft.draft(sentence, GROUND)


def test_a_file_says_what_the_sentence_leaves_open() -> None:
    written = documents.parse(
        "---\ntitle: Fix it\nbudget: {usd: 0.25, tokens: 9, minutes: 3}\nattempts: 2\n"
        "scope: {allowed: [src/**], protected: [golden/**]}\naccept:\n  - command: make check\n---\n# Goal\nIt works.\n"
    )
    contract = draft.from_document(written, GROUND).contract
    assert contract.accept == (Command(name="make check", argv=("make", "check")),) or len(contract.accept) == 1
    assert contract.scope.allowed == ("src/**",)
    assert contract.scope.protected == ("golden/**",)
    assert (contract.budget.uusd, contract.budget.tokens, contract.attempts_max) == (250_000, 9, 2)
    assert draft.from_document(written, GROUND, Wish(budget_uusd=1)).contract.budget.uusd == 1


def test_a_change_that_exists_is_judged_and_costs_nothing() -> None:
    contract = draft.external(GROUND, "worktree").contract
    assert contract.is_external
    assert contract.candidate == "worktree"
    assert contract.branch == ""
    assert contract.budget.uusd == 0
    assert contract.scope.forbidden == ()
    assert contract.scope.protected == ("tests/",)


@pytest.mark.parametrize(
    ("text", "uusd"), [("2", 2_000_000), ("$2.00", 2_000_000), ("0.000001", 1), ("0.1", 100_000), (" 0 ", 0)]
)
def test_dollars_are_read_exactly(text: str, uusd: int) -> None:
    assert draft.usd(text) == uusd


@pytest.mark.parametrize("text", ["", "-1", "1e3", "0.0000001", "2,50", "two", "1000001", "٣", "1.", "nan"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        draft.usd(text)


@given(st.integers(0, draft.USD_MAX * 1_000_000))
def test_every_amount_reads_back(uusd: int) -> None:
    assert draft.usd(f"{uusd // 1_000_000}.{uusd % 1_000_000:06d}") == uusd


@pytest.mark.parametrize("text", ["a | b", "a && b", "", "'open", "a > b"])
def test_what_only_a_shell_understands_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        draft.argv(text)


@given(st.text(min_size=1, max_size=300))
def test_no_title_is_longer_than_a_list_can_show(text: str) -> None:
    assert len(draft.title(text)) <= draft.TITLE_CHARS_MAX


def test_the_drafted_order_reads_as_it_is_kept(transcript: Hold) -> None:
    made = draft.draft(SENTENCE + "\n\nKeep the others.\nAnd be quick.", GROUND)
    transcript("cli/draft", draft.render(made, GROUND))


@given(st.text(max_size=500))
def test_whatever_is_written_the_draft_is_one_screen_of_printable_text(text: str) -> None:
    ground = GROUND._replace(repository="/tmp/\x1b[2J" + text[:50], named=text[:60], notes=(text,) * 9)
    try:
        made = draft.draft(text, ground, Wish(scope=(text or "a",) * 9, is_tests_allowed=True))
    except Trouble:
        return
    lines = draft.render(made, ground).split("\n")
    assert len(lines) <= 24
    assert all(line.isprintable() for line in lines)
