"""Agents of three model calls each, the model answering at once, as LangGraph graphs over AsyncSqliteSaver.

    langgraph_agents FOLDER AGENTS CONCURRENT DURABILITY

All in one process; CPU is of the whole process, the saver's thread included. Building the graph is not counted.
"""

import asyncio
import json
import operator
import os
import sys
import time
from pathlib import Path
from typing import Annotated, TypedDict

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph

STEPS = 3
WARM_UP = 10


class Talk(TypedDict):
    messages: Annotated[list[dict[str, str]], operator.add]
    turns: int


async def model(messages: list[dict[str, str]]) -> dict[str, str]:
    return {"role": "assistant", "content": "ok"}


async def turn(state: Talk) -> dict[str, object]:
    said = await model(state["messages"])
    return {"messages": [said], "turns": state["turns"] + 1}


def graph(saver):
    built = StateGraph(Talk)
    built.add_node("turn", turn)
    built.add_edge(START, "turn")
    built.add_conditional_edges("turn", lambda state: END if state["turns"] == STEPS else "turn")
    return built.compile(checkpointer=saver)


async def main(folder: str, agents: int, concurrent: int, durability: str) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(Path(folder) / "agents.db")) as saver:
        compiled = graph(saver)

        async def run(name: str) -> None:
            begun: Talk = {"messages": [{"role": "user", "content": f"do {name}"}], "turns": 0}
            ended = await compiled.ainvoke(begun, {"configurable": {"thread_id": name}}, durability=durability)
            assert ended["turns"] == STEPS

        async def some(first: int) -> None:
            for number in range(first, agents, concurrent):
                await run(f"agent{number}")

        for number in range(WARM_UP):
            await run(f"warm{number}")
        wall, cpu = time.perf_counter(), sum(os.times()[:2])
        await asyncio.gather(*(some(first) for first in range(concurrent)))
        steps = agents * STEPS
        spent = sum(os.times()[:2]) - cpu
        print(json.dumps({"cpu_us": spent / steps * 1e6, "steps_per_s": steps / (time.perf_counter() - wall)}))


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
