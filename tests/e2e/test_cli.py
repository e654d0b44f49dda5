"""The command line from outside: real processes, a real daemon, a real repository, no model.

Rule 1: every command has a bound, and the daemon is stopped whatever happens.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentos.boot.inspection import isolation

ROOT = Path(__file__).parents[2]
# No model is asked anything here; this one is opened, and nobody answers at its address.
NO_MODEL = {"AOS_LLM_BACKEND": "openai", "AOS_LLM_BASE_URL": "http://127.0.0.1:9/v1", "AOS_LLM_MODEL": "nobody"}
Shell = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.skipif(
    not isolation().is_usable and os.environ.get("CI") != "true", reason=f"no sandbox: {isolation().missing}"
)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """`main` with a failing test, and `fix` that mends it, one commit ahead."""
    root = tmp_path / "calc"
    (root / "tests").mkdir(parents=True)
    (root / "calc.py").write_text("def div(a, b):\n    return a / b\n")
    test = "import unittest\n\nfrom calc import div\n\n\nclass Div(unittest.TestCase):\n"
    test += "    def test_by_zero(self):\n        self.assertIsNone(div(1, 0))\n"
    (root / "tests/test_calc.py").write_text(test)
    (root / "tests/__init__.py").write_text("")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    git(root, "checkout", "-q", "-b", "fix")
    (root / "calc.py").write_text("def div(a, b):\n    return a / b if b else None\n")
    git(root, "commit", "-q", "-a", "-m", "fix")
    return root


def git(root: Path, *words: str) -> None:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    subprocess.run(["git", *identity, *words], cwd=root, capture_output=True, timeout=60, check=True)


@pytest.fixture
def agentos(repository: Path, tmp_path: Path) -> Iterator[Shell]:
    """The command, run in the repository with a workspace of its own."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("AOS_", "AGENTOS_"))}
    env = {**kept, **NO_MODEL, "AGENTOS_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT / "src")}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "agentos", *words]
        return subprocess.run(
            command, cwd=repository, env=env, capture_output=True, text=True, timeout=100, check=False
        )

    yield run
    run("sys", "down")


def test_a_change_is_verified_with_no_setup_and_read_again_with_the_daemon_dead(agentos: Shell) -> None:
    verified = agentos("verify", "--base", "main")
    assert verified.returncode == 0, verified
    assert "P A S S E D" in verified.stdout
    assert "red before" in verified.stdout
    alive = agentos("show", "WO-1").stdout
    assert agentos("sys", "down").returncode == 0
    assert agentos("status").returncode == 7
    assert agentos("show", "WO-1").stdout == alive
    assert agentos("sys", "fsck").returncode == 0


def test_a_change_that_mends_nothing_is_not_passed(agentos: Shell, repository: Path) -> None:
    (repository / "calc.py").write_text("def div(a, b):\n    return 0 if b == 0 else a / b\n")
    ran = agentos("verify", "--base", "main", "--worktree", "--json")
    assert ran.returncode == 1, ran
    records = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [record["record"] for record in records] == ["submitted", "receipt"]
    assert records[-1]["trust"]["verdict"] == "failed"


def test_a_change_to_the_tests_is_not_passed(agentos: Shell, repository: Path) -> None:
    (repository / "calc.py").write_text("def div(a, b):\n    return a / b\n")
    (repository / "tests/test_calc.py").write_text("")
    ran = agentos("verify", "--base", "main", "--worktree")
    assert ran.returncode == 1, ran
    assert "protected_changed" in ran.stdout
