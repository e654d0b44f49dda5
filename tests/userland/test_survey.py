"""The survey, over little repositories written down as tables."""

import pytest

from agentos.abi import paths
from agentos.abi.work import Scope
from agentos.userland.delivery.survey import Survey, survey


def look(files: dict[str, str]) -> Survey:
    return survey(files, lambda path: files[path].encode() if path in files else None)


def argv(files: dict[str, str]) -> list[str]:
    return [" ".join(check.argv) for check in look(files).checks]


PYTEST = "def test_a():\n    assert 1\n"
UNITTEST = "import unittest\nclass TestA(unittest.TestCase):\n    def test_a(self): pass\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a.py": "", "tests/test_a.py": PYTEST}, ["pytest"]),
        ({"a.py": "", "test_a.py": UNITTEST}, ["python -m unittest discover"]),
        ({"tests/test_a.py": UNITTEST}, ["python -m unittest discover -s tests"]),
        (
            {"tests/__init__.py": "", "tests/test_a.py": UNITTEST},
            ["python -m unittest discover -s tests -t ."],
        ),
        ({"tests/test_a.py": UNITTEST, "tests/conftest.py": ""}, ["pytest"]),
        ({"tests/test_a.py": UNITTEST, "pyproject.toml": "[tool.pytest.ini_options]\n"}, ["pytest"]),
        ({"tests/test_a.py": UNITTEST, "setup.cfg": "[tool:pytest]\n"}, ["pytest"]),
        ({"tests/test_a.py": UNITTEST, "pyproject.toml": "[broken"}, ["python -m unittest discover -s tests"]),
        ({"Makefile": "all:\n\ntest: all\n\tpytest\n", "test_a.py": PYTEST}, ["make test", "pytest"]),
        ({"Makefile": "test := no\n", "test_a.py": PYTEST}, ["pytest"]),
        ({"package.json": '{"scripts": {"test": "node --test"}}', "a.test.js": ""}, ["npm test"]),
        ({"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\""}}'}, []),
        ({"package.json": "{", "lib/a.test.mjs": ""}, ["node --test"]),
        ({"go.mod": "module x\n", "a.go": "", "a_test.go": ""}, ["go test ./..."]),
        ({"go.mod": "module x\n", "a.go": ""}, []),
        ({"Cargo.toml": "", "src/lib.rs": ""}, ["cargo test --offline"]),
        ({"README.md": ""}, []),
        ({}, []),
    ],
)
def test_the_checks_of_a_repository_are_those_it_would_run_itself(files: dict[str, str], expected: list[str]) -> None:
    assert argv(files) == expected


def test_every_test_file_is_protected_and_no_source_is() -> None:
    files = dict.fromkeys(
        ["src/a.py", "src/deep/test_b.py", "tests/data/x.txt", "tests/test_a.py", "web/a.test.ts", "web/a.ts"], ""
    )
    found = look(files)
    assert found.tests == ("src/deep/test_b.py", "tests/test_a.py", "web/a.test.ts")
    standing = {path: paths.place(found.scope, path) for path in files}
    assert [p for p, at in standing.items() if at is paths.Place.ALLOWED] == ["src/a.py", "web/a.ts"]
    assert all(at is paths.Place.PROTECTED for p, at in standing.items() if p not in ("src/a.py", "web/a.ts"))


def test_data_that_only_a_test_names_is_protected_and_other_data_is_not() -> None:
    files = {
        "tests/test_a.py": 'CASES = open("cases/title.json")\n',
        "cases/title.json": "[]",
        "config/settings.json": "{}",
        "a.py": "",
    }
    scope = look(files).scope
    assert paths.place(scope, "cases/title.json") is paths.Place.PROTECTED
    assert paths.place(scope, "config/settings.json") is paths.Place.ALLOWED


def test_helpers_in_a_folder_of_tests_and_the_folder_of_their_cases_are_protected() -> None:
    files = {
        "python_testcases/test_a.py": "import load\n",
        "python_testcases/test_b.py": "import load\n",
        "python_testcases/load.py": 'path = f"json_testcases/{name}.json"\n',
        "json_testcases/a.json": "[]",
        "json_testcases/b.json": "[]",
        "programs/a.py": "",
        "programs/test_a.py": "",
        "programs/b.py": "",
    }
    scope = look(files).scope
    allowed = [path for path in files if paths.place(scope, path) is paths.Place.ALLOWED]
    assert allowed == ["programs/a.py", "programs/b.py"]


def test_the_makefile_is_protected_where_it_is_the_check() -> None:
    files = {"Makefile": "test:\n\tpytest\n", "test_a.py": PYTEST, "a.py": ""}
    assert paths.place(look(files).scope, "Makefile") is paths.Place.PROTECTED
    assert paths.place(look({**files, "Makefile": "all:\n"}).scope, "Makefile") is paths.Place.ALLOWED


def test_secrets_and_what_is_built_are_never_in_scope() -> None:
    scope = look({"a.py": ""}).scope
    for path in (".env", "conf/.ENV", "keys/server.pem", "node_modules/x/a.js", ".git/config", "x/.GIT/config"):
        assert paths.place(scope, path) is paths.Place.FORBIDDEN


def test_a_repository_without_tests_says_what_to_do() -> None:
    found = look({"a.py": "", "b.js": "", "c.py": ""})
    assert found.checks == ()
    assert found.languages == ("python", "javascript")
    assert "add one, or name a command" in found.notes[0]


@pytest.mark.parametrize(
    ("patterns", "inside", "outside"),
    [
        (("*.py",), ["a.py", "x/a.py"], ["a.pyc", "a.py.txt"]),
        (("/a.py",), ["a.py"], ["x/a.py"]),
        (("docs/",), ["docs/a", "x/docs/b/c"], ["docs", "mydocs/a"]),
        (("src/**/gen",), ["src/gen", "src/a/b/gen", "src/gen/x"], ["gen", "src/regen"]),
        (("src/**",), ["src/a", "src/a/b"], ["src", "asrc/a"]),
        (("**",), ["a", "a/b"], []),
        (("a?[0-9].txt",), ["ab1.txt"], ["a/1.txt", "abx.txt"]),
        (("[!a]b",), ["xb"], ["ab", "/b"]),
        (("*.log", "!keep.log"), ["a.log"], ["keep.log", "x/keep.log"]),
        (("# no", "", r"\#yes"), ["#yes"], ["# no", "no"]),
        (("src/*.py",), ["src/a.py"], ["src/x/a.py", "lib/src/a.py"]),
        (("a+b(c)",), ["a+b(c)"], ["aab(c)"]),
    ],
)
def test_patterns_mean_what_gitignore_says(patterns: tuple[str, ...], inside: list[str], outside: list[str]) -> None:
    match = paths.compile_patterns(patterns)
    assert [path for path in inside if not match(path)] == []
    assert [path for path in outside if match(path)] == []


def test_forbidden_wins_over_protected_and_protected_over_allowed() -> None:
    scope = Scope(allowed=("a/**", "conftest.py"), forbidden=("a/x/",), protected=("a/x/", "a/t/"))
    expected = {
        "a/x/1": paths.Place.FORBIDDEN,
        "a/t/1": paths.Place.PROTECTED,
        "A/T/1": paths.Place.PROTECTED,
        "a/1": paths.Place.ALLOWED,
        "A/1": paths.Place.OUTSIDE,
        "b": paths.Place.OUTSIDE,
        "conftest.py": paths.Place.ALLOWED,
        "a/sitecustomize.py": paths.Place.PROTECTED,
        ".github/workflows/ci.yml": paths.Place.PROTECTED,
    }
    assert {path: paths.place(scope, path) for path in expected} == expected
