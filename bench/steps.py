"""A governed step: 1,000 agents of three model calls each, the model answering at once, all that it costs in CPU.

Each step is checked, reserved, journaled, durable before it is answered, settled and charged; its request and its answer
are stored. Ours is CPU of kernel and workers together, from the first spawn to the last exit, spawning and ending
included, over 3,000 steps; agents run in a real worker process. The peer's is one process, from the first call to the
last, the graph built before. AGENTS_AT_ONCE are in flight on both sides.

Shows the price of a step when there are many. Does not show latency, and the model's own time is nought.
"""

import asyncio
import shutil
import time
from pathlib import Path
from statistics import median

from bench import peer
from bench.programs import CHATS
from bench.record import Findings, Line
from bench.rig import running

AGENTS = 1_000
AGENTS_AT_ONCE = 100  # of them; the peer does best with as many
ROUNDS = 5
PEER_ROUNDS = 3


async def ours(folder: Path, agents: int) -> tuple[float, float, float]:
    """CPU us per step of kernel and of worker, and steps per second."""
    async with running(folder) as rig:
        person = await rig.person()
        await rig.wait_gone(await rig.spawn(person, "ready"))
        began, kernel, worker = time.perf_counter(), time.process_time(), rig.workers_cpu_s()

        async def some(first: int) -> None:
            for number in range(first, agents, AGENTS_AT_ONCE):
                await rig.spawn(person, "chat", number)

        async with asyncio.TaskGroup() as group:
            for first in range(AGENTS_AT_ONCE):
                group.create_task(some(first))
        await rig.wait_until(lambda: len(rig.machine.state.processes) == 2)
        steps = agents * CHATS
        kernel, worker = time.process_time() - kernel, rig.workers_cpu_s() - worker
        return kernel / steps * 1e6, worker / steps * 1e6, steps / (time.perf_counter() - began)


def run(folder: Path, is_quick: bool) -> Findings:
    names = ("kernel_us", "worker_us", "total_us", "steps_per_s", "langgraph_us", "langgraph_exit_us")
    series: dict[str, list[float]] = {name: [] for name in names}
    absent = ""
    agents = 100 if is_quick else AGENTS
    for number in range(1 if is_quick else ROUNDS):
        kernel, worker, rate = asyncio.run(ours(folder / "ours", agents))
        for name, figure in zip(names, (kernel, worker, kernel + worker, rate), strict=False):
            series[name].append(figure)
        shutil.rmtree(folder / "ours")
        if number < PEER_ROUNDS and not absent:
            absent = _peer(folder, series, agents)
    middle = {name: median(values) if values else None for name, values in series.items()}
    total, other, exit = middle["total_us"], middle["langgraph_us"], middle["langgraph_exit_us"]
    return Findings(
        [
            Line("CPU of a governed step, kernel and worker", total, 400, "us", is_least=False),
            Line("of which the kernel's", middle["kernel_us"], None, "us"),
            Line("of which the worker's", middle["worker_us"], None, "us"),
            Line(
                "over LangGraph, sync", total / other if total and other else None, 0.2, "", is_least=False, note=absent
            ),
            Line("LangGraph AsyncSqliteSaver, sync", other, None, "us", note=peer.versions()),
            Line("LangGraph, checkpoint at exit only", exit, None, "us", note="survives no crash in the middle"),
            Line("governed steps", middle["steps_per_s"], None, "/s"),
        ],
        series,
    )


def _peer(folder: Path, series: dict[str, list[float]], agents: int) -> str:
    """One round of the peer; "" or why not."""
    try:
        for name, durability in (("langgraph_us", "sync"), ("langgraph_exit_us", "exit")):
            place = folder / durability
            place.mkdir()
            series[name].append(peer.run("langgraph_agents", place, agents, AGENTS_AT_ONCE, durability)["cpu_us"])
            shutil.rmtree(place)
    except peer.Absent as error:
        return str(error)
    return ""
