"""What all tests share: golden transcripts, and a sandbox for real commands.

Rule 1: a transcript is what a person would see. It changes only by `pytest --bless`, and is reviewed as a diff.
Rule 2: the sandbox is skipped by its own word alone, and never in CI on Linux.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentos.drivers.sandbox_native import NativeSandbox

TRANSCRIPTS = Path(__file__).parent / "transcripts"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="write the transcripts anew; review the diff")


@pytest.fixture
def transcript(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Hold a text against its transcript, `tests/transcripts/NAME.txt`, or write it when blessing."""

    def hold(name: str, text: str) -> None:
        path = TRANSCRIPTS / f"{name}.txt"
        if request.config.getoption("--bless"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        assert path.exists(), f"{path.name} was never blessed; look at the text and run: pytest --bless"
        assert text + "\n" == path.read_text()

    return hold


@pytest.fixture(scope="session", params=["grouped", "ungrouped"])
def sandbox(request: pytest.FixtureRequest) -> NativeSandbox:
    """Real commands. With control groups where they are writable, and without, as on machines where they are not. Skipped by its own word, never in CI."""
    made = NativeSandbox(is_grouped=request.param == "grouped")
    level = made.probe()
    if not level.is_usable:
        why = f"no sandbox on this machine: {'; '.join(level.missing)}"
        if sys.platform == "linux" and os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return made
