"""A durable run of five steps: against the floor, against LangGraph and DBOS, and in syncs.

A run is a process that is spawned, makes five calls that are recorded and do nothing else, and exits: seven commits,
each durable before the next call. "Of the floor" is the time of as many floors as the run has syncs, over the time of
the run, both means, taken in turns: 1.0 would be a run that costs nothing but its syncs. The peers' runs are five no-op steps, each persisted.

In this process: the program is a task beside the kernel, as the peers' are, and as the target's prototype was. In a
worker: as the product runs it, in a process of its own, behind a socket; two process switches for each call.

Shows the cost of being recorded. Does not show what steps with content or models cost (see `steps`), nor what a peer
would reach in the hands of its makers. Syncs are counted by strace, as the difference of two runs of different length.
"""

import asyncio
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench import peer
from bench.floor import spans_s
from bench.peers.priority import raised
from bench.record import Findings, Line
from bench.rig import Rig, running

RUNS = 200  # one at a time, in each round
SLICE = 20  # runs between two looks at the floor; a fifth of a second at most
AT_ONCE = 32
ROUNDS = 5
PEER_RUNS = 40
WARM_UP = 60  # runs, after which the journal's log has been folded once and is written in place, as it is ever after
COMMITS = 7  # spawn, five calls, exit
SYNC_RUNS = (20, 60)  # the difference of the two counts has neither start nor stop in it
SYNC = re.compile(r"^\d+ +(?:fsync|fdatasync)\(", re.MULTILINE)


class Spent(NamedTuple):
    """What runs cost on average, and the floor between them."""

    wall_s: float
    cpu_s: float
    floor_s: float  # COMMITS of them, the mean


async def one_at_a_time(rig: Rig, program: str, runs: int, folder: Path | None = None) -> Spent:
    """Runs one after the other, in slices with as many floors between as the runs have commits."""
    person = await rig.person()
    for _ in range(WARM_UP):
        await rig.wait_gone(await rig.spawn(person, program))
    wall = cpu = floor = 0.0
    for first in range(0, runs, SLICE):
        with raised(*rig.workers()):
            if folder is not None:
                floor += sum(spans_s(folder, COMMITS * SLICE))
            cpu -= time.process_time() + rig.workers_cpu_s()
            wall -= time.perf_counter()
            for number in range(first, first + SLICE):
                args = number if program == "effects" else None  # no two runs ask the same: nothing is stored already
                await rig.wait_gone(await rig.spawn(person, program, args))
            wall += time.perf_counter()
            cpu += time.process_time() + rig.workers_cpu_s()
    return Spent(wall / runs, cpu / runs, floor / runs)


async def at_once(rig: Rig, program: str, runs: int, concurrent: int) -> float:
    """Seconds of each run, on average, with so many at a time."""
    person = await rig.person()
    await rig.wait_gone(await rig.spawn(person, program))

    async def some(first: int) -> None:
        for _ in range(first, runs, concurrent):
            await rig.wait_gone(await rig.spawn(person, program))

    with raised(*rig.workers()):
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for first in range(concurrent):
                group.create_task(some(first))
        span = time.perf_counter() - began
    return span / runs


async def ours(folder: Path, series: dict[str, list[float]], runs: int) -> None:
    """One round of ours, with the floor on both sides of each."""
    for place in ("inline", "worker"):
        async with running(folder / place, is_inline=place == "inline") as rig:
            spent = await one_at_a_time(rig, "five", runs, folder)
            series[f"{place}_of_floor"].append(spent.floor_s / spent.wall_s)
            series[f"{place}_runs_per_s"].append(1 / spent.wall_s)
            series[f"{place}_cpu_ms"].append(spent.cpu_s * 1e3)
            series[f"{place}_at_once_runs_per_s"].append(1 / await at_once(rig, "five", runs * 10, AT_ONCE))
        shutil.rmtree(folder / place)


def peers(folder: Path, series: dict[str, list[float]], runs: int) -> str:
    """One round of the peers; "" or why not."""
    try:
        place = folder / "peer"
        place.mkdir()
        graph = peer.run("langgraph_five", place, runs, AT_ONCE)
        series["langgraph_runs_per_s"].append(graph["one"]["runs_per_s"])
        series["langgraph_cpu_ms"].append(graph["one"]["cpu_ms"])
        series["langgraph_at_once_runs_per_s"].append(graph["many"]["runs_per_s"])
        series["dbos_runs_per_s"].append((dbos := peer.run("dbos_five", place, runs)["one"])["runs_per_s"])
        series["dbos_cpu_ms"].append(dbos["cpu_ms"])
    except peer.Absent as error:
        return str(error)
    finally:
        shutil.rmtree(folder / "peer", ignore_errors=True)
    return ""


def syncs(folder: Path, program: str) -> float | None:
    """Syncs of one run, counted by strace; None where there is no strace."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    counts = []
    for runs in SYNC_RUNS:
        trace, place = folder / f"trace-{runs}", folder / f"traced-{runs}"
        words = [strace, "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", str(trace)]
        words += [sys.executable, "-m", "bench.five", str(place), program, str(runs)]
        asked = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False)
        if asked.returncode != 0:
            return None
        counts.append(len(SYNC.findall(trace.read_text())))
    return (counts[1] - counts[0]) / (SYNC_RUNS[1] - SYNC_RUNS[0])


async def traced(folder: Path, program: str, runs: int) -> None:
    """What strace watches: runs one after the other, in this process."""
    async with running(folder, is_inline=True) as rig:
        await one_at_a_time(rig, program, runs)


def run(folder: Path, is_quick: bool) -> Findings:
    names = [f"{place}_{what}" for place in ("inline", "worker") for what in ("of_floor", "runs_per_s", "cpu_ms")]
    names += ["inline_at_once_runs_per_s", "worker_at_once_runs_per_s"]
    names += [
        "langgraph_runs_per_s",
        "langgraph_cpu_ms",
        "langgraph_at_once_runs_per_s",
        "dbos_runs_per_s",
        "dbos_cpu_ms",
    ]
    series: dict[str, list[float]] = {name: [] for name in names}
    absent = ""
    for _ in range(1 if is_quick else ROUNDS):
        asyncio.run(ours(folder, series, 20 if is_quick else RUNS))
        absent = absent or peers(folder, series, 5 if is_quick else PEER_RUNS)
    middle = {name: median(values) if values else None for name, values in series.items()}
    counted = {program: syncs(folder, program) for program in ("five", "effects")}
    return Findings([*_alone(middle), *_beside(middle, absent), *_syncs(counted)], series)


def _alone(middle: dict[str, float | None]) -> list[Line]:
    note = "7 floors over the time of a run; the target's prototype ran its steps in its own process"
    return [
        Line("of the floor, in this process", middle["inline_of_floor"], 0.8, "", note=note),
        Line("of the floor, in a worker", middle["worker_of_floor"], None, ""),
        Line("runs, one at a time, in this process", middle["inline_runs_per_s"], None, "/s"),
        Line("runs, one at a time, in a worker", middle["worker_runs_per_s"], None, "/s"),
        Line(f"runs, {AT_ONCE} at once, in a worker", middle["worker_at_once_runs_per_s"], None, "/s"),
        Line("CPU of a run, in this process", middle["inline_cpu_ms"], None, "ms"),
        Line("CPU of a run, in a worker", middle["worker_cpu_ms"], None, "ms"),
    ]


def _beside(middle: dict[str, float | None], absent: str) -> list[Line]:
    def times(mine: str, theirs: str) -> float | None:
        ours, other = middle[mine], middle[theirs]
        return ours / other if ours and other else None

    lines = []
    for place, where in (("inline", "in this process"), ("worker", "in a worker")):
        one, many = f"{place}_runs_per_s", f"{place}_at_once_runs_per_s"
        lines += [
            Line(
                f"times LangGraph sync, one at a time, {where}", times(one, "langgraph_runs_per_s"), 5, "x", note=absent
            ),
            Line(f"times DBOS SQLite, one at a time, {where}", times(one, "dbos_runs_per_s"), 8, "x", note=absent),
            Line(
                f"times LangGraph sync, {AT_ONCE} at once, {where}",
                times(many, "langgraph_at_once_runs_per_s"),
                50,
                "x",
            ),
        ]
    cpu = times("langgraph_cpu_ms", "worker_cpu_ms")
    return [*lines, Line("CPU of a LangGraph run over ours in a worker", cpu, None, "x", note=peer.versions())]


def _syncs(counted: dict[str, float | None]) -> list[Line]:
    absent = "" if shutil.which("strace") else "strace is not installed"
    folded = absent or "above 2n + 2: folding the journal's log into its file, three syncs for each 4 MiB"
    return [
        Line("syncs of a run of 5 recorded steps", counted["five"], 7, "", is_least=False, note=absent),
        Line("syncs of a run of 5 effects, 2n + 2", counted["effects"], 12, "", is_least=False, note=folded),
    ]


if __name__ == "__main__":
    asyncio.run(traced(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
