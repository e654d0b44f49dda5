"""How close the SQLite journal comes to what the disk allows, and what a row costs in CPU.

    python -m bench.journal_raw [--json] [--rows N] [--folder DIR]

The floor is an append of 300 bytes and an `fdatasync`, in the same process, before and after each measurement; a ratio
is rows per second over floors per second, so 1.0 at one row per append means that nothing is lost to the journal.
CPU is of the whole process, kernel included. Syncs are counted in a run of their own, since counting costs.
On a shared machine believe CPU, syncs and ratios; rows per second only on an idle one.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import NamedTuple

import apsw

from agentos.drivers.journal_sqlite import SqliteJournal
from agentos.ports.journal import Row
from agentos.sim.powercut import SyncCounter

FLOOR_BYTES = 300  # about one row
FLOOR_WRITES = 300  # enough for a median, 30 ms on a fast disk
ROUNDS = 3  # the middle one is reported
BATCHES = ((1, True), (10, True), (100, True), (1000, True), (1, False), (100, False))  # rows per append, is_durable


class Line(NamedTuple):
    batch: int
    is_durable: bool
    rows_per_s: float
    ratio: float  # rows per second over the floor's writes per second
    cpu_us_per_row: float
    log_syncs_per_append: float
    floor_us: float


def floor_s(folder: Path) -> float:
    """Median seconds of one small append and its `fdatasync`."""
    spans = []
    with tempfile.NamedTemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(FLOOR_WRITES):
            start = time.perf_counter()
            file.write(bytes(FLOOR_BYTES))
            os.fdatasync(file.fileno())
            spans.append(time.perf_counter() - start)
    return median(spans)


def rows_like_real_ones(count: int) -> list[Row]:
    """Rows of about 300 bytes, of 50 processes, 10 orders and 8 types."""
    made = []
    for seq in range(1, count + 1):
        digest = sha256(b"%d" % seq).digest()
        caller = f"{digest[0] % 50}.1"
        order = f"WO-{digest[1] % 10}" if seq % 3 else ""
        kind = ("Answered", "Spawned", "Granted", "Reserved", "Settled", "Sent", "Received", "Called")[digest[2] % 8]
        cause = f"{caller}/0/{seq}"
        made.append(Row(seq, seq, 1, kind, 1, caller, cause, order, digest[:16], digest * 5, digest, digest))
    return made


def append_all(path: Path, rows: list[Row], batch: int, *, is_durable: bool, vfs: str = "") -> tuple[float, float]:
    """Wall and CPU seconds of appending the rows to a new journal."""
    batches = [rows[first : first + batch] for first in range(0, len(rows), batch)]
    journal = SqliteJournal(path, vfs=vfs)
    wall, cpu = time.perf_counter(), time.process_time()
    for each in batches:
        journal.append(each, is_durable=is_durable)
    spent = time.perf_counter() - wall, time.process_time() - cpu
    journal.close()
    path.unlink()
    return spent


def measure(folder: Path, batch: int, is_durable: bool, rows_max: int) -> Line:
    """One line of the table: the median round, with the floor on both sides of it."""
    rows = rows_like_real_ones(min(rows_max, batch * 2000))
    rounds = []
    for _ in range(ROUNDS):
        before = floor_s(folder)
        wall, cpu = append_all(folder / "bench.db", rows, batch, is_durable=is_durable)
        floor = (before + floor_s(folder)) / 2
        rounds.append((wall / floor, wall, cpu, floor))
    _, wall, cpu, floor = sorted(rounds)[ROUNDS // 2]
    counter = SyncCounter()
    append_all(folder / "bench.db", rows, batch, is_durable=is_durable, vfs=counter.vfs)
    counter.close()
    rate = len(rows) / wall
    appends = -(-len(rows) // batch)
    return Line(batch, is_durable, rate, rate * floor, cpu / len(rows) * 1e6, counter.log / appends, floor * 1e6)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.journal_raw", description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--rows", type=int, default=100_000, help="most rows per measurement")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="a folder on the disk to measure")
    chosen = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        lines = [measure(Path(folder), batch, is_durable, chosen.rows) for batch, is_durable in BATCHES]
    if chosen.json:
        machine = {"sqlite": apsw.sqlite_lib_version(), "python": platform.python_version(), "cpus": os.cpu_count()}
        print(json.dumps({**machine, "load": os.getloadavg()[0], "lines": [line._asdict() for line in lines]}))
        return 0
    print(
        f"{'rows/append':>11} {'durable':>7} {'rows/s':>9} {'x floor':>8} {'CPU us/row':>10} {'syncs':>6} {'floor us':>8}"
    )
    for line in lines:
        print(
            f"{line.batch:>11} {'yes' if line.is_durable else 'no':>7} {line.rows_per_s:>9,.0f} {line.ratio:>8.2f}"
            f" {line.cpu_us_per_row:>10.1f} {line.log_syncs_per_append:>6.2f} {line.floor_us:>8.0f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
