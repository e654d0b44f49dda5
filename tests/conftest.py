"""What all tests share: the property suites' profiles, and the sandbox for tests that run real commands."""

import os
import sys

import pytest
from hypothesis import HealthCheck, settings

from agentos.drivers.sandbox_native import NativeSandbox

# The default is for every change, `deep` for a night.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "deep",
    deadline=None,
    max_examples=2_000,
    stateful_step_count=200,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("default")


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
