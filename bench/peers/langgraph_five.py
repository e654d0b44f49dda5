"""Five no-op steps, each persisted, as a LangGraph graph over SQLite with durability="sync".

    langgraph_five FOLDER RUNS CONCURRENT

One at a time through SqliteSaver, CONCURRENT at once through AsyncSqliteSaver: the saver that each way of calling is
documented with. Warm-up runs are not counted.
"""

import asyncio
import json
import operator
import sys
import time
from pathlib import Path
from typing import Annotated, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from priority import raised

STEPS = 5
WARM_UP = 3


class Steps(TypedDict):
    done: Annotated[list[str], operator.add]


def graph(saver, is_async):
    """A chain of nodes that each say that they were there."""
    built = StateGraph(Steps)
    names = [f"step{number}" for number in range(STEPS)]
    for name in names:
        built.add_node(name, step_async(name) if is_async else step(name))
    for before, after in zip([START, *names], [*names, END], strict=True):
        built.add_edge(before, after)
    return built.compile(checkpointer=saver)


def step(name):
    return lambda state: {"done": [name]}


def step_async(name):
    async def run(state):
        return {"done": [name]}

    return run


def of_thread(name):
    return {"configurable": {"thread_id": name}}


def one_at_a_time(path, runs):
    with SqliteSaver.from_conn_string(str(path)) as saver:
        compiled = graph(saver, False)
        for number in range(WARM_UP):
            compiled.invoke({"done": []}, of_thread(f"warm{number}"), durability="sync")
        with raised():
            wall, cpu = time.perf_counter(), time.process_time()
            for number in range(runs):
                compiled.invoke({"done": []}, of_thread(f"run{number}"), durability="sync")
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return {"runs_per_s": runs / wall, "cpu_ms": cpu / runs * 1e3}


async def at_once(path, runs, concurrent):
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        compiled = graph(saver, True)
        for number in range(WARM_UP):
            await compiled.ainvoke({"done": []}, of_thread(f"warm{number}"), durability="sync")

        async def some(first):
            for number in range(first, runs, concurrent):
                await compiled.ainvoke({"done": []}, of_thread(f"run{number}"), durability="sync")

        with raised():
            wall, cpu = time.perf_counter(), time.process_time()
            await asyncio.gather(*(some(first) for first in range(concurrent)))
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return {"runs_per_s": runs / wall, "cpu_ms": cpu / runs * 1e3}


def main(folder, runs, concurrent):
    said = {}
    if runs:
        said["one"] = one_at_a_time(Path(folder) / "one.db", runs)
    if concurrent:
        said["many"] = asyncio.run(at_once(Path(folder) / "many.db", concurrent * 3, concurrent))
    print(json.dumps(said))


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
