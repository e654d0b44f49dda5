"""The sandbox for tests that run real commands. It is skipped by its own word alone, and never in CI on Linux."""

import os
import sys

import pytest

from agentos.drivers.sandbox_native import NativeSandbox


@pytest.fixture(scope="session", params=["grouped", "ungrouped"])
def sandbox(request: pytest.FixtureRequest) -> NativeSandbox:
    """With control groups where they are writable, and without, as on machines where they are not."""
    made = NativeSandbox(is_grouped=request.param == "grouped")
    level = made.probe()
    if not level.is_usable:
        why = f"no sandbox on this machine: {'; '.join(level.missing)}"
        if sys.platform == "linux" and os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return made
