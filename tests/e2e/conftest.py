"""A town for each test that wants one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.town import Town


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path)
    try:
        yield made
    finally:
        made.close()
