"""What every test may use: golden transcripts.

Rule 1: a transcript is what a person would see. It changes only by `pytest --bless`, and is reviewed as a diff.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

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
