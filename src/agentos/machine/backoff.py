"""How long to wait before an attempt is made again. A policy of the machine: drivers try nothing twice.

Rule 1: the wait is at least what the provider asked for, and is never cut short of it; who cannot wait so long gives up.
Rule 2: pure; the jitter comes in as an argument, so that a run can be replayed.

Exponential with jitter over the upper half: spread enough that many clients do not come back at once, and never so
short that the second attempt meets the same trouble (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
"""

_FIRST_NS = 500_000_000  # half a second: a blip is over by then, and nobody watching has lost patience
_MOST_NS = 60_000_000_000  # a minute: rate limits are counted by the minute
_DOUBLINGS_MAX = 7  # 0.5 s doubled seven times is past the minute
_SPREAD_MILLI_MAX = (
    100  # what is added to a provider's own figure, in thousandths, so that its clients do not all wake at it
)


def backoff_ns(attempt: int, retry_after_ns: int | None, jitter_milli: int) -> int:
    """The wait before attempt `attempt` + 1, after attempt 1, 2, ... failed. `jitter_milli` is in 0..1000."""
    assert attempt >= 1, "attempts count from 1"
    assert 0 <= jitter_milli <= 1000, "jitter is in thousandths"
    ceiling = min(_MOST_NS, _FIRST_NS << min(attempt - 1, _DOUBLINGS_MAX))
    wait = ceiling // 2 + ceiling * jitter_milli // 2000
    if retry_after_ns is None:
        return wait
    asked = retry_after_ns + retry_after_ns * jitter_milli * _SPREAD_MILLI_MAX // 1_000_000
    return max(wait, asked)
