"""Which file a small worker goes for: by what failed, and never a test."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentos.abi.work import Scope
from agentos.userland.agents import target
from agentos.userland.agents.target import candidates, imported, is_eligible, names

PATHS = ("README.md", "src/shop/__init__.py", "src/shop/cart.py", "src/shop/tax.py", "tests/test_cart.py")
SCOPE = Scope(protected=("tests/**",))
TRACE = (
    'Traceback\n  File "/tmp/x/tests/test_cart.py", line 4, in test\n  File "/tmp/x/src/shop/tax.py", line 9, in rate\n'
)


def best(
    goal: str = "", output: str = "", tests: dict[str, str] | None = None, paths: tuple[str, ...] = PATHS
) -> tuple[str, ...]:
    return candidates(paths, SCOPE, goal=goal, output=output, tests=tests or {})


def test_a_path_in_the_goal_is_its_authors_word() -> None:
    assert best("Fix `src/shop/cart.py`, please.", TRACE) == ("src/shop/cart.py",)


def test_a_traceback_names_the_file_though_it_is_another_machines_path() -> None:
    assert best("Fix it.", TRACE) == ("src/shop/tax.py",)
    assert best("Fix it.", "src/shop/cart.py:3: AssertionError") == ("src/shop/cart.py",)


def test_what_the_failing_test_imports_is_what_it_tests() -> None:
    assert best("Fix it.", tests={"tests/test_cart.py": "from shop.cart import Cart\n"}) == ("src/shop/cart.py",)


def test_a_word_of_the_goal_is_the_weakest_hint() -> None:
    assert best("The tax is wrong.") == ("src/shop/tax.py",)
    assert best("The tax is wrong.", "src/shop/cart.py:3: x") == ("src/shop/cart.py",)


def test_a_module_that_is_not_there_yet_is_proposed() -> None:
    assert best("Fix it.", "ModuleNotFoundError: No module named 'shop.vat'") == ("shop/vat.py",)
    assert best("Write `docs/guide.md`.") == ("docs/guide.md",)


def test_several_that_are_equally_likely_are_all_proposed() -> None:
    text = "from shop import cart, tax\n"
    assert set(best("Fix it.", tests={"tests/test_cart.py": text})) == {
        "src/shop/cart.py",
        "src/shop/tax.py",
        "src/shop/__init__.py",
    }


def test_nothing_to_go_by_is_said_as_nothing() -> None:
    assert best("Make it better.") == ()


def test_a_test_is_never_proposed_by_what_failed() -> None:
    assert "tests/test_cart.py" not in best("Fix it.", "tests/test_cart.py:3: AssertionError")
    assert not is_eligible("src/shop/conftest.py", SCOPE)


def test_failing_tests_are_found_by_their_ids_and_in_the_output() -> None:
    assert target.test_files(("tests/test_cart.py::test_sum",), PATHS, "") == ("tests/test_cart.py",)
    assert target.test_files((), PATHS, TRACE) == ("tests/test_cart.py",)
    assert target.test_files(("elsewhere.py::t",), PATHS, "") == ()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import shop.tax as t, os\n", ("src/shop/tax.py",)),
        ("from shop.cart import (Cart)\n", ("src/shop/cart.py",)),
        ("from . import tax\n", ("src/shop/tax.py",)),
        ("    from shop import tax\n", ("src/shop/tax.py", "src/shop/__init__.py")),
    ],
)
def test_imports_are_resolved_to_files(text: str, found: tuple[str, ...]) -> None:
    assert imported(text, PATHS) == found


def test_names_in_backticks_are_what_is_searched_for() -> None:
    assert names("`shop.cart.Cart` and `total()` and plain words") == ("Cart", "total")


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=200))
def test_whatever_is_said_only_eligible_paths_come_out(goal: str, output: str, test: str) -> None:
    for path in best(goal, output, {"tests/test_cart.py": test}):
        assert path in PATHS or is_eligible(path, SCOPE)
        assert not path.startswith(("/", "tests/"))
        assert ".." not in path.split("/")
