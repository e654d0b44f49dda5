"""What a person sees at the end, held against reviewed transcripts: three unfamiliar repositories, six diffs.

Rule 1: everything is real but the model, which follows a script and is said to on every receipt that it had a hand in.
Rule 2: what changes from run to run (commits, spans, paths) is put out of the text before it is compared, nothing else.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentos.boot.client import Client
from agentos.boot.inspection import isolation

ROOT = Path(__file__).parents[2]
Hold = Callable[[str, str], None]
Files = dict[str, str]

pytestmark = pytest.mark.skipif(
    not isolation().is_usable and os.environ.get("CI") != "true", reason=f"no sandbox: {isolation().missing}"
)

HALF = "def half(n):\n    return n / 3\n"
HALVES = "def half(n):\n    return n / 2\n"
UNITTEST = """import unittest

from {module} import half


class Half(unittest.TestCase):
    def test_of_four(self):
        self.assertEqual(half(4), 2)

    def test_of_nine(self):
        self.assertEqual(half(9), 4.5)


if __name__ == "__main__":
    unittest.main()
"""
PYTEST = "from shop.prices import half\n\n\ndef test_of_four():\n    assert half(4) == 2\n\n\ndef test_of_nine():\n    assert half(9) == 4.5\n"
SCRIPT = """name: scripted
model: scripted-1
family: scripted
has_tools: false
lines:
  - when: {contains: "def half("}
    say: |
      ```python
      def half(n):
          return n / 2
      ```
"""

REPOSITORIES: dict[str, Files] = {
    "unittest": {"halves.py": HALF, "test_halves.py": UNITTEST.format(module="halves"), "README.md": "# halves\n"},
    "pytest": {
        "shop/__init__.py": "",
        "shop/prices.py": HALF,
        "tests/test_prices.py": PYTEST,
        "pyproject.toml": '[project]\nname = "shop"\nversion = "1"\n\n[tool.pytest.ini_options]\npythonpath = ["."]\n',
    },
    "makefile": {
        "src/halves.py": HALF,
        "checks/test_halves.py": UNITTEST.format(module="halves"),
        "Makefile": "test:\n\tPYTHONPATH=src python3 -m unittest discover -s checks\n",
    },
}


def git(root: Path, *words: str) -> None:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    subprocess.run(["git", *identity, *words], cwd=root, capture_output=True, timeout=60, check=True)


def lay(root: Path, files: Files) -> None:
    """Write files, making their folders."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def repository(root: Path, files: Files) -> Path:
    """A repository of one commit on `main`."""
    root.mkdir()
    lay(root, files)
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    return root


class Desk:
    """The command line with a workspace of its own and a scripted model."""

    def __init__(self, tmp_path: Path) -> None:
        script = tmp_path / "script.yaml"
        script.write_text(SCRIPT)
        self.home = tmp_path / "home"
        Client.open(self.home, script=script).close()

    def run(self, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("AOS_", "AGENTOS_"))}
        env = {**kept, "AGENTOS_HOME": str(self.home), "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "80"}
        command = [sys.executable, "-m", "agentos", *words]
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=110, check=False)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.run(tmp_path, "sys", "down")


def still(text: str) -> str:
    """A receipt without what differs from run to run."""
    text = re.sub(r"\b[0-9a-f]{40}\b", "COMMIT", text)
    text = re.sub(r"\b[0-9a-f]{12}\b", "COMMIT", text)
    text = re.sub(r"\b[\d.]+ (ms|s|min|h)( \d+ s)?\b", "SPAN", text)
    text = re.sub(r"user:\w+", "user:ADA", text)
    return re.sub(r"[\d,]+ tokens", "N tokens", text)


@pytest.mark.parametrize("name", REPOSITORIES)
def test_do_in_an_unfamiliar_repository_ends_with_this_receipt(
    name: str, desk: Desk, tmp_path: Path, transcript: Hold
) -> None:
    root = repository(tmp_path / name, REPOSITORIES[name])
    before = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, check=True).stdout
    ran = desk.run(root, "do", "Fix the failing test: half of a number is the number divided by two", "--yes")
    assert ran.returncode == 0, ran.stderr[-3000:]
    transcript(f"e2e/do-{name}", still(ran.stdout))
    after = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, check=True).stdout
    assert before == after == b"", "the user's checkout is untouched until it is applied"
    assert desk.run(root, "apply", "WO-1", "--quiet").returncode == 0
    assert any(path.read_text() == HALVES for path in root.rglob("*.py"))
    assert desk.run(root, "undo", "WO-1", "--quiet").returncode == 0
    assert not any(path.read_text() == HALVES for path in root.rglob("*.py"))


GOOD: Files = {"halves.py": HALVES}
DIFFS: dict[str, tuple[Files, tuple[str, ...], int]] = {
    "good": (GOOD, (), 0),
    "out-of-scope": ({**GOOD, "README.md": "# mine now\n"}, ("--scope", "halves.py"), 1),
    "weakened-test": ({"test_halves.py": "import unittest\n"}, (), 1),
    "empty": ({}, (), 1),
    "cannot-fail": (
        {
            "halves.py": "class Any:\n    def __eq__(self, other):\n        return True\n\n\ndef half(n):\n    return Any()\n"
        },
        (),
        1,
    ),
    "syntax-error": ({"halves.py": "def half(n):\n    return n /\n"}, (), 1),
}


@pytest.mark.parametrize("name", DIFFS)
def test_verify_of_a_diff_ends_with_this_receipt(name: str, desk: Desk, tmp_path: Path, transcript: Hold) -> None:
    files, words, status = DIFFS[name]
    root = repository(tmp_path / "halves", REPOSITORIES["unittest"])
    git(root, "checkout", "-q", "-b", "theirs")
    lay(root, files)
    git(root, "add", "-A")
    git(root, "commit", "-q", "--allow-empty", "-m", "theirs")
    ran = desk.run(root, "verify", "--base", "main", *words, "--", "python3", "-m", "unittest")
    assert ran.returncode == status, ran.stdout + ran.stderr[-3000:]
    transcript(f"e2e/verify-{name}", still(ran.stdout))
