"""The wait before another attempt."""

from hypothesis import given
from hypothesis import strategies as st

from agentos.machine.backoff import backoff_ns

SECOND_NS = 1_000_000_000
attempts = st.integers(1, 10_000)
jitters = st.integers(0, 1000)


@given(attempts, jitters)
def test_a_wait_is_never_nothing_and_never_over_a_minute(attempt: int, jitter: int) -> None:
    assert SECOND_NS // 4 <= backoff_ns(attempt, None, jitter) <= 60 * SECOND_NS


@given(attempts, jitters)
def test_waits_grow_with_the_attempts(attempt: int, jitter: int) -> None:
    assert backoff_ns(attempt, None, jitter) <= backoff_ns(attempt + 1, None, jitter)


@given(attempts, st.integers(0, 86_400 * SECOND_NS), jitters)
def test_what_the_provider_asked_for_is_never_cut_short(attempt: int, asked: int, jitter: int) -> None:
    wait = backoff_ns(attempt, asked, jitter)
    assert wait >= asked
    assert wait <= max(backoff_ns(attempt, None, jitter), asked + asked // 10)


def test_jitter_spreads_clients_apart() -> None:
    assert backoff_ns(3, None, 0) == SECOND_NS
    assert backoff_ns(3, None, 1000) == 2 * SECOND_NS
    assert backoff_ns(1, 10 * SECOND_NS, 0) < backoff_ns(1, 10 * SECOND_NS, 1000)
