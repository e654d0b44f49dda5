"""The physical floor: an append of 300 bytes and an `fdatasync`, the least that makes one event durable.

Shows what this disk and this hour allow anybody; all that is compared with "the floor" is compared with a floor measured
in the same process, right before and after. Does not show what the disk does under other loads, nor that it keeps what
it says it keeps: on a virtual machine a sync may end in the host's memory.
"""

import os
import tempfile
import time
from pathlib import Path
from statistics import mean, median

from bench.record import Findings, Line

BYTES = 300  # about one event
WRITES = 300  # enough for a median, 30 ms on a fast disk
ROUNDS = 9


def spans_s(folder: Path, writes: int = WRITES) -> list[float]:
    """Seconds of each small append and its `fdatasync`."""
    spans = []
    with tempfile.NamedTemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(writes):
            start = time.perf_counter()
            file.write(bytes(BYTES))
            os.fdatasync(file.fileno())
            spans.append(time.perf_counter() - start)
    return spans


def floor_s(folder: Path, writes: int = WRITES) -> float:
    """Mean seconds of one small append and its `fdatasync`: to be compared with means, which have the same tail."""
    return mean(spans_s(folder, writes))


def run(folder: Path, is_quick: bool) -> Findings:
    rounds = [spans_s(folder) for _ in range(2 if is_quick else ROUNDS)]
    middles = [median(spans) * 1e6 for spans in rounds]
    tails = [sorted(spans)[len(spans) * 99 // 100] * 1e6 for spans in rounds]
    lines = [
        Line("one append and fdatasync, median", median(middles), None, "us"),
        Line("the same, 99th percentile", median(tails), None, "us"),
        Line("so at most, one at a time", 1e6 / median(middles), None, "/s"),
    ]
    return Findings(lines, {"median_us": middles, "p99_us": tails})
