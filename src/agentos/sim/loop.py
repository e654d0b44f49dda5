"""An event loop whose time is virtual and whose order of callbacks is drawn from a seed.

    ready callbacks ─> shuffled ─> run ─> nothing ready? ─> the clock jumps to the next timer
                                                       └─> no timer either: Deadlock, and who waits

Rule 1: nothing here reads a clock, sleeps, or touches a socket: an hour passes in the time its callbacks take.
Rule 2: callbacks that are ready at once run in an order that the seed chooses; a program that needs one order is wrong.
Rule 3: the same seed and the same program give the same run, callback by callback.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

_RESOLUTION_S = 1e-9  # timers due within a nanosecond are due now; 2**53 ns, where floats lose it, are 104 days


WAITING_MAX = 12  # names in a message: more than anybody reads


STILL_MAX = 100_000  # turns of the loop without time going on; the busiest honest instant takes some hundreds


class Deadlock(Exception):
    """Nothing is ready and nothing ever will be, or nothing else ever; the message names the tasks and where they wait."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An asyncio loop for one thread, without input and output. It is its own selector, with nothing to select."""

    def __init__(self, random: Random, *, limit_s: float) -> None:
        super().__init__()
        self._random, self._limit_s = random, limit_s
        self._now_s = 0.0
        self._still = 0  # turns since time last went on
        self._ready: deque[asyncio.Handle]
        self._scheduled: list[asyncio.TimerHandle]
        self._clock_resolution = _RESOLUTION_S
        self._selector = self

    def time(self) -> float:
        return self._now_s

    def now_ns(self) -> int:
        return round(self._now_s * 1e9)

    def reseed(self, random: Random) -> None:
        """Go on with a fresh stream: what was dropped before cannot shift what comes."""
        self._random = random

    def select(self, timeout: float | None) -> list[Any]:
        """What the base class calls to wait: jump to the next timer instead."""
        if timeout is None:
            raise Deadlock(f"nothing will ever happen again; waiting: {waiting(self)}")
        if timeout > 0:
            self._now_s, self._still = max(self._now_s, self._scheduled[0].when()), 0
            if self._now_s > self._limit_s:
                raise Deadlock(f"not finished after {self._limit_s:.0f} virtual seconds; waiting: {waiting(self)}")
        return []

    def _run_once(self) -> None:
        self._still += 1
        if self._still > STILL_MAX:
            raise Deadlock(f"time stands still at {self._now_s:.9f} s; waiting: {waiting(self)}")
        if len(self._ready) > 1:
            mixed = list(self._ready)
            self._random.shuffle(mixed)
            self._ready.clear()
            self._ready.extend(mixed)
        super()._run_once()  # type: ignore[misc]

    def _process_events(self, events: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector here, so nobody has to be woken."""


def waiting(loop: asyncio.AbstractEventLoop) -> str:
    """The tasks that are not done, and the line each waits at."""
    found = sorted(_place(task) for task in asyncio.all_tasks(loop))
    return "; ".join(found[:WAITING_MAX]) or "nobody"


def _place(task: "asyncio.Task[Any]") -> str:
    """The coroutine a task runs, and the innermost one it waits in."""
    outer: Any = task.get_coro()
    inner = outer
    while hasattr(getattr(inner, "cr_await", None), "cr_frame"):
        inner = inner.cr_await
    frame = getattr(inner, "cr_frame", None)
    if frame is None:
        return f"{getattr(outer, '__qualname__', outer)} (ended)"
    return f"{getattr(outer, '__qualname__', outer)} in {frame.f_code.co_qualname}:{frame.f_lineno}"


def run(main: Coroutine[Any, Any, T], random: Random, *, limit_s: float) -> T:
    """Run a coroutine to its end in virtual time. What it leaves running is cancelled."""
    loop = VirtualLoop(random, limit_s=limit_s)
    try:
        return loop.run_until_complete(main)
    finally:
        _drain(loop)
        loop.close()


def _drain(loop: VirtualLoop) -> None:
    """Cancel what is left, so that nothing complains of having been forgotten."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))


class VirtualClock:
    """`agentos.ports.clock.Clock` over a virtual loop. Wall time may be set to jump; the machine must not care."""

    def __init__(self, loop: VirtualLoop, *, wall_origin_ns: int, booted_ns: int) -> None:
        self._loop, self._wall_origin_ns, self._booted_ns = loop, wall_origin_ns, booted_ns

    def wall_ns(self) -> int:
        return self._wall_origin_ns + self._loop.now_ns()

    def monotonic_ns(self) -> int:
        return self._loop.now_ns() - self._booted_ns

    async def sleep_until(self, monotonic_ns: int) -> None:
        woken = self._loop.create_future()
        handle = self._loop.call_at((monotonic_ns + self._booted_ns) / 1e9, _wake, woken)
        try:
            await woken
        finally:
            handle.cancel()


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
