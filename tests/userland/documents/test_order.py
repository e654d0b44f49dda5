"""Orders: what a person writes, what it means, and what is said when it means nothing."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentos.abi.work import Approval, Check, Command, Document, FileSchema, Metric, Review, Scope, Unchanged
from agentos.userland.documents.fault import Malformed
from agentos.userland.documents.order import Budget, Note, OrderDraft, dollars, parse, render
from agentos.userland.documents.shape import uusd

CASES = Path(__file__).parent / "cases"

WHOLE = """---
title: Fix the date parser
repository: ../dates
base: main
scope: {allowed: [src/**], forbidden: src/vendor/**, protected: [tests/**]}
budget: {usd: $2, tokens: 200000, minutes: 20}
attempts: 2
agent: worker
model: coder
inputs: [notes/report.md]
accept:
  - command: pytest -q "tests/test dates.py"
  - command: [sh, -c, "a | b"]
    name: pipe
    must_fail_on_base: false
    timeout_s: 60
    tests: [t::one]
  - unchanged: tests/**
  - schema: out/report.json
    matches: {type: object, required: [n]}
  - metric: python bench.py
    at_most: 200
  - review: reviewer
    other_family: true
  - review
  - approval
  - approval: user:ada
---
Seen on Monday.

# Goal
`parse("2024-02-30")` must refuse.

## Detail
Leap years too.

# Success criteria:
- a
- b

## CONSTRAINTS ##
No new dependency.

# Background
Old code.
"""


def test_an_order_says_what_its_author_wrote() -> None:
    assert parse(WHOLE) == OrderDraft(
        title="Fix the date parser",
        goal='`parse("2024-02-30")` must refuse.\n\n## Detail\nLeap years too.',
        success_criteria="- a\n- b",
        constraints="No new dependency.",
        context=(Note("", "Seen on Monday."), Note("Background", "Old code.")),
        repository="../dates",
        base="main",
        scope=Scope(allowed=("src/**",), forbidden=("src/vendor/**",), protected=("tests/**",)),
        budget=Budget(spend_uusd=2_000_000, tokens_max=200_000, minutes_max=20),
        attempts=2,
        agent="worker",
        model="coder",
        inputs=("notes/report.md",),
        accept=(
            Command(name="command-1", argv=("pytest", "-q", "tests/test dates.py")),
            Command(name="pipe", argv=("sh", "-c", "a | b"), must_fail_on_base=False, timeout_s=60, tests=("t::one",)),
            Unchanged(name="unchanged-3", paths=("tests/**",)),
            FileSchema(name="schema-4", path="out/report.json", schema={"type": "object", "required": ["n"]}),
            Metric(name="metric-5", argv=("python", "bench.py"), at_most=200),
            Review(name="review-6", is_other_family=True),
            Review(name="review-7"),
            Approval(name="approval-8"),
            Approval(name="approval-9", who="user:ada"),
        ),
    )


def test_the_shortest_order_is_a_title_and_a_goal() -> None:
    draft = parse("---\ntitle: x\n---\nMake it so.\n")
    assert draft == OrderDraft(title="x", goal="Make it so.")
    assert (draft.attempts, draft.scope.allowed, draft.accept) == (3, ("**",), ())


def test_bytes_with_mark_and_carriage_returns_mean_the_same() -> None:
    assert parse(b"\xef\xbb\xbf" + WHOLE.replace("\n", "\r\n").encode()) == parse(WHOLE)


@pytest.mark.parametrize(
    ("text", "micro"),
    [("$2", 2_000_000), ("2", 2_000_000), ("2.00", 2_000_000), ("0.005", 5_000), ('"0.1"', 100_000), ("0.000001", 1),
     ("0", 0), ("9999999.999999", 9_999_999_999_999), ("0.07", 70_000), ("1.1", 1_100_000)],
)  # fmt: skip
def test_dollars_become_exact_micro_dollars(text: str, micro: int) -> None:
    assert parse(f"---\ntitle: x\nbudget: {{usd: {text}}}\n---\ng").budget.spend_uusd == micro


@given(st.integers(0, 10**13 - 1))
def test_micro_dollars_are_written_and_read_without_loss(micro: int) -> None:
    assert uusd(dollars(micro)) == micro


def front(lines: str, body: str = "# Goal\ng\n") -> str:
    return f"---\ntitle: x\n{lines}\n---\n{body}"


MALFORMED = {  # what is wrong, the file, the whole of what is said
    "unknown field": (front("budgt_usd: 2\nbudget: {usd: 1}"), "order.md:3: field 'budgt_usd': no such field"),
    "unknown field, nearest": (front("budgte: {usd: 2}"), "order.md:3: field 'budgte': no such field; did you mean 'budget'?"),
    "unknown field, nested": (
        front("budget:\n  usd: 1\n  token: 5"),
        "order.md:5: field 'budget.token': no such field; did you mean 'tokens'?",
    ),
    "missing key": ("---\nbase: main\n---\ngoal", "order.md:1: field 'title': expected text, found nothing"),
    "empty front matter": ("---\n---\ngoal", "order.md:1: field 'title': expected text, found nothing"),
    "key without value": ("---\ntitle:\n---\ngoal", "order.md:2: field 'title': expected text, found nothing"),
    "blank title": ('---\ntitle: " "\n---\ngoal', "order.md:2: field 'title': expected text, found the text ' '"),
    "number as text": (
        "---\ntitle: 2024\n---\ngoal",
        "order.md:2: field 'title': expected text, found the number 2024; put it in quotes",
    ),
    "text as number": (
        front('attempts: "3"'),
        "order.md:3: field 'attempts': expected a whole number from 1 to 20, found the text '3'",
    ),
    "number out of bounds": (
        front("attempts: 0"),
        "order.md:3: field 'attempts': expected a whole number from 1 to 20, found the number 0",
    ),
    "fraction as count": (
        front("attempts: 1.5"),
        "order.md:3: field 'attempts': expected a whole number from 1 to 20, found the number 1.5",
    ),
    "yes as truth": (
        front("accept:\n  - command: a\n    must_fail_on_base: yes"),
        "order.md:5: field 'accept[1].must_fail_on_base': expected true or false, found the text 'yes'",
    ),
    "list as mapping": (
        front("scope: [src/**]"),
        "order.md:3: field 'scope': expected a mapping with allowed, forbidden, protected, found a list",
    ),
    "seven decimals": (
        front("budget: {usd: 0.0000001}"),
        "order.md:3: field 'budget.usd': expected at most 6 decimals of a dollar, found the number 0.0000001",
    ),
    "negative budget": (
        front("budget: {usd: -1}"),
        "order.md:3: field 'budget.usd': expected dollars such as 2, 0.50 or $2, below 10000000, found the number -1",
    ),
    "budget in words": (
        front("budget: {usd: 2 dollars}"),
        "order.md:3: field 'budget.usd': expected dollars such as 2, 0.50 or $2, below 10000000, found the text '2 dollars'",
    ),
    "grouped digits": (
        front("budget: {usd: '1,000'}"),
        "order.md:3: field 'budget.usd': expected dollars such as 2, 0.50 or $2, below 10000000, found the text '1,000'",
    ),
    "ten million": (
        front("budget: {usd: 10000000}"),
        "order.md:3: field 'budget.usd': expected dollars such as 2, 0.50 or $2, below 10000000, found the number 10000000",
    ),
    "path upwards": (
        front("scope:\n  allowed:\n    - src/**\n    - ../other"),
        "order.md:6: field 'scope.allowed[2]': expected a path pattern without '..', '!' or '\\', found the text '../other'",
    ),
    "negated pattern": (
        front("scope: {protected: '!tests/**'}"),
        "order.md:3: field 'scope.protected': expected a path pattern without '..', '!' or '\\', found the text '!tests/**'",
    ),
    "absolute input": (
        front("inputs: [/etc/passwd]"),
        "order.md:3: field 'inputs[1]': expected a relative path, found the text '/etc/passwd'",
    ),
    "option as base": (
        front("base: --upload-pack=x"),
        "order.md:3: field 'base': expected a branch, tag or commit, found the text '--upload-pack=x'",
    ),
    "misspelt check": (
        front("accept:\n  - comand: pytest"),
        ("order.md:4: field 'accept[1]': expected one of command, unchanged, schema, document, metric, review, approval, "
        "found 'comand'; did you mean 'command'?"),
    ),
    "two checks in one": (
        front("accept:\n  - command: a\n    unchanged: b"),
        ("order.md:4: field 'accept[1]': expected one of command, unchanged, schema, document, metric, review, approval, "
        "found 'command' and 'unchanged'; write two items"),
    ),
    "check as word": (
        front("accept: [revew]"),
        "order.md:3: field 'accept[1]': expected one of review, approval, found the text 'revew'; did you mean 'review'?",
    ),
    "option of another check": (
        front("accept:\n  - unchanged: tests/**\n    timeout_s: 3"),
        "order.md:5: field 'accept[1].timeout_s': no such field",
    ),
    "shell line": (
        front("accept:\n  - command: cd a && pytest"),
        "order.md:4: field 'accept[1].command': expected one command, found '&&', which needs a shell; write [sh, -c, '...']",
    ),
    "substitution": (
        front("accept:\n  - command: echo $HOME"),
        ("order.md:4: field 'accept[1].command': expected one command, found '$ or `', which needs a shell; "
        "write [sh, -c, '...']"),
    ),
    "open quote in command": (
        front("accept:\n  - command: pytest -k 'a"),
        "order.md:4: field 'accept[1].command': expected a command, found a quote that is never closed in 'pytest -k 'a'",
    ),
    "empty command": (
        front("accept:\n  - command: []"),
        "order.md:4: field 'accept[1].command': expected 1 to 100 items, found 0 items",
    ),
    "metric without bound": (
        front("accept:\n  - metric: a"),
        "order.md:4: field 'accept[1].metric': expected at_most or at_least, found a metric without a bound",
    ),
    "metric that cannot pass": (
        front("accept:\n  - metric: a\n    at_least: 5\n    at_most: 4"),
        "order.md:4: field 'accept[1].metric': at_least 5 above at_most 4: nothing can pass",
    ),
    "two checks of one name": (
        front("accept:\n  - command: a\n    name: t\n  - command: b\n    name: t"),
        "order.md:6: field 'accept[2].name': the name 't', which the check on line 4 has",
    ),
    "approval by nobody": (
        front("accept:\n  - approval: ada"),
        "order.md:4: field 'accept[1].approval': expected a principal such as user:ada, found the text 'ada'",
    ),
    "no goal": (
        front("base: main", "# Background\nx\n"),
        "order.md:5: field 'Goal': expected a section '# Goal' that says what is wanted, found nothing",
    ),
    "empty goal": (
        front("base: main", "\n# Goal\n\n# Constraints\nx\n"),
        "order.md:6: field 'Goal': expected a section '# Goal' that says what is wanted, found nothing",
    ),
    "goal twice": (
        front("base: main", "# Goal\nx\n# goal\ny\n"),
        "order.md:7: field 'goal': a second time; the first is on line 5",
    ),
    "misspelt section": (
        front("base: main", "# Goal\nx\n# Constrains\ny\n"),
        "order.md:7: field 'Constrains': no such section; did you mean 'Constraints'?",
    ),
    "open fence": (
        front("base: main", "# Goal\n```\nx\n# Constraints\ny\n"),
        "order.md:6: a code fence that is never closed",
    ),
    "key twice": (front("title: y"), "order.md:3: 'title' a second time; the first is on line 2"),
    "tab": (front("budget:\n\tusd: 2"), "order.md:4: expected YAML, found a tab; indent with spaces"),
    "colon in title": (
        "---\ntitle: Fix: the parser\n---\ngoal",
        "order.md:2: expected YAML, found a second ': ' in the line; put the text in quotes",
    ),
    "front matter as list": (
        "---\n- a\n---\ngoal",
        "order.md:1: expected a mapping with title, repository, base, scope, found a list",
    ),
    "no front matter": ("# Goal\n", "order.md:1: expected '---', which opens the front matter, found '# Goal'"),
    "long title": (
        f"---\ntitle: {'x' * 201}\n---\ngoal",
        "order.md:2: field 'title': expected at most 200 characters, found 201 characters",
    ),
    "escape in the body": (
        front("base: main", "# Goal\n\x1b]0;owned\x07\n"),
        "order.md:6: expected visible text, found the invisible character U+001B",
    ),
}  # fmt: skip


def test_a_document_check_asks_for_what_a_workflow_step_can_ask_for() -> None:
    draft = parse(
        front("accept:\n  - document: page.md\n    headings: [Leave]\n    words: {at_most: 9}\n    contains: 3 days")
    )
    wanted = Document(name="document-1", path="page.md", headings=("Leave",), contains=("3 days",), words_max=9)
    assert draft.accept == (wanted,)


def test_a_document_check_that_any_text_or_none_would_meet_is_a_fault() -> None:
    with pytest.raises(Malformed, match=r"field 'accept\[1\].document.contains': expected words, found '\*\*'"):
        parse(front('accept:\n  - document: a.md\n    contains: "**"'))
    with pytest.raises(Malformed, match="nothing can pass"):
        parse(front("accept:\n  - document: a.md\n    words: {at_least: 3, at_most: 2}"))


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_order_is_refused_with_line_and_reason(name: str) -> None:
    text, said = MALFORMED[name]
    with pytest.raises(Malformed) as caught:
        parse(text)
    assert str(caught.value) == said


def test_binary_is_refused_at_its_first_odd_byte() -> None:
    with pytest.raises(Malformed, match=r"^order.md:1: expected text in UTF-8, found the byte 0x89$"):
        parse(b"\x89PNG\r\n\x1a\n\x00\x00")


def test_a_megabyte_is_refused_by_the_name_of_its_limit() -> None:
    with pytest.raises(Malformed, match=r"limit documents.file_bytes_max\), found 1048576 bytes"):
        parse(b"x" * (1 << 20))


@pytest.mark.parametrize("case", sorted(CASES.glob("*.md")), ids=lambda path: path.stem)
def test_all_faults_of_a_file_are_said_at_once(case: Path) -> None:
    with pytest.raises(Malformed) as caught:
        parse(case.read_bytes(), case.name)
    assert str(caught.value) + "\n" == case.with_suffix(".txt").read_text(encoding="utf-8")


# ---- round trip --------------------------------------------------------------------------------------------------

WORDS = st.text(alphabet="aZ9 .,'\"`:#{}[]-$äß😀\\", min_size=1, max_size=30).filter(lambda text: text.strip() == text)
TITLES = WORDS.filter(lambda text: bool(text))
PROSE = st.text(alphabet="ab #:\n-*é>|", min_size=1, max_size=60)
PATHS = st.lists(st.from_regex(r"[a-z*]{1,6}(/[a-z*]{1,6}){0,2}", fullmatch=True), min_size=1, max_size=3).map(tuple)
ARGV = st.lists(WORDS, min_size=1, max_size=4).map(tuple)
SPANS = st.integers(1, 1000)
CHECKS = st.one_of(
    st.builds(Command, name=st.just(""), argv=ARGV, must_fail_on_base=st.booleans(), timeout_s=SPANS),
    st.builds(Unchanged, name=st.just(""), paths=PATHS),
    st.builds(
        FileSchema,
        name=st.just(""),
        path=st.just("out.json"),
        schema=st.sampled_from([None, {"type": "object"}, {"enum": ["no", 1, 0.5, None, True, [], {"a b": "1"}]}]),
    ),
    st.builds(
        Document,
        name=st.just(""),
        path=st.just("page.md"),
        headings=st.sampled_from([(), ("Leave", "Who pays")]),
        contains=st.sampled_from([(), ("30 days | thirty days",)]),
        excludes=st.sampled_from([(), ("14 days",)]),
        starts=st.sampled_from(["", "# Leave"]),
        words_min=st.integers(0, 9),
        words_max=st.sampled_from([9, 300, 100_000]),
        fields=st.sampled_from([{}, {"title": "text"}]),
    ),
    st.builds(Metric, name=st.just(""), argv=ARGV, at_most=st.integers(-9, 9), timeout_s=SPANS),
    st.builds(Review, name=st.just(""), is_other_family=st.booleans()),
    st.builds(Approval, name=st.just(""), who=st.sampled_from(["", "user:ada"])),
)


def named(checks: list[Check]) -> tuple[Check, ...]:
    return tuple(msgspec.structs.replace(check, name=f"check {n}") for n, check in enumerate(checks))


def drafts(prose: st.SearchStrategy[str]) -> st.SearchStrategy[OrderDraft]:
    return st.builds(
        OrderDraft,
        title=TITLES,
        goal=prose,
        success_criteria=st.just("") | prose,
        constraints=st.just("") | prose,
        context=st.lists(
            st.builds(Note, st.sampled_from(["Background", "See also", "C# notes"]), prose), max_size=2
        ).map(tuple),
        repository=st.sampled_from(["", "/srv/a b", "../x", "~"]),
        base=st.sampled_from(["HEAD", "main", "v1.0", "feature/x"]),
        scope=st.builds(Scope, allowed=PATHS, forbidden=st.just(()) | PATHS, protected=st.just(()) | PATHS),
        budget=st.builds(
            Budget,
            spend_uusd=st.none() | st.integers(0, 10**13 - 1),
            tokens_max=st.none() | SPANS,
            minutes_max=st.none() | SPANS,
        ),
        attempts=st.integers(1, 20),
        agent=st.sampled_from(["", "worker", "no", "null"]),
        model=st.sampled_from(["", "coder", "qwen2.5:1.5b", "123", "1.5", "true"]),
        inputs=st.just(()) | PATHS.filter(lambda paths: not any(path.startswith("/") for path in paths)),
        accept=st.lists(CHECKS, max_size=4).map(named),
    )


@given(drafts(st.from_regex(r"[a-z]{1,8}( [a-zé:.]{1,8}){0,4}(\n- [a-z ]{0,8}[a-z])?", fullmatch=True)))
def test_what_is_written_reads_back_the_same(order: OrderDraft) -> None:
    assert parse(render(order)) == order


@given(drafts(PROSE))
def test_an_order_that_no_file_can_hold_is_not_written(order: OrderDraft) -> None:
    try:
        text = render(order)
    except ValueError:
        return
    assert parse(text) == order


def test_a_goal_that_would_grow_a_section_is_not_written() -> None:
    with pytest.raises(ValueError, match="order 'x' cannot be written as a file"):
        render(OrderDraft(title="x", goal="a\n# Constraints\nnone"))


def test_a_rendered_order_is_a_fixed_point() -> None:
    text = render(parse(WHOLE))
    assert render(parse(text)) == text
