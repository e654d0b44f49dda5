"""CPU of one event through the loop, in batches: decide, apply, seal, append, respond.

Calls are put into the loop's inbox as the trap puts them there, and the loop's turns are timed; user and system time of
the whole process, SQLite's and the disk's included, no sockets and no programs. Two mixes: calls that are only recorded
(whoami, attach, find), and governed model calls with their outcomes (parked, intended, dispatched, settled, answered).

Shows what the kernel itself costs. Does not show the way in and out: `steps` has the whole.
"""

import asyncio
import time
from pathlib import Path
from statistics import median

from agentos.abi.calls.base import Call
from agentos.abi.calls.device import Infer
from agentos.abi.calls.ipc import Attach, Find
from agentos.abi.calls.kernel import Settle
from agentos.abi.calls.process import Whoami
from agentos.abi.effects import Answered, Generate, Perform
from agentos.abi.ids import CallId, Digest, Pid
from agentos.abi.inference import Usage
from agentos.machine.trap import digest
from bench.record import Findings, Line
from bench.rig import Rig, running

CALLERS = 256
ROUNDS = 7
BATCHES = 20  # of one call from each caller
STRAND = 1  # the program itself waits on strand 0
CONTENT = Digest("ab" * 32)


class Callers:
    """Processes that nobody runs, and the number of each one's next call."""

    def __init__(self, rig: Rig, pids: list[Pid]) -> None:
        self.machine, self.pids, self.n = rig.machine, pids, 0
        self.performed: list[Perform] = []
        rig.machine.instructed = lambda instruction: (
            self.performed.append(instruction) if isinstance(instruction, Perform) else None
        )
        rig.machine.responded = lambda response: None

    def all_make(self, call: Call) -> None:
        self.n += 1
        args = digest(call)
        for pid in self.pids:
            self.machine.submit(CallId(pid, STRAND, self.n), call, args)
        self.drain()

    def drain(self) -> None:
        while self.machine.turn():
            continue

    def settle_all(self) -> None:
        """Every model call in flight has its answer, and those that queued for a slot get one, until none is left."""
        outcome = Answered(
            answer=CONTENT,
            usage=Usage(input_tokens=5, output_tokens=1),
            uusd=0,
            is_metered=True,
            model="m",
            price="free",
        )
        while self.performed:
            started, self.performed = self.performed, []
            for each in started:
                assert isinstance(each.effect, Generate)
                self.machine.tell(Settle(effect=each.id, attempt=each.attempt, outcome=outcome))
            self.drain()


def recorded(callers: Callers) -> None:
    callers.all_make(Whoami())
    callers.all_make(Attach(name="/draft", content=CONTENT, media_type="text/plain", body_bytes=64))
    callers.all_make(Find(name="/draft"))


def governed(callers: Callers) -> None:
    call = Infer(
        request=CONTENT,
        model_class="coder",
        phase=f"round {callers.n}",  # another call each time, for the loop detector
        backend="prompt",
        input_tokens_max=500,
        output_tokens_max=16,
        bound_uusd=0,
        price="",
    )
    callers.all_make(call)
    callers.settle_all()


async def measure(folder: Path, rounds: int, batches: int) -> dict[str, list[float]]:
    series: dict[str, list[float]] = {"recorded": [], "governed": []}
    async with running(folder, is_inline=True) as rig:
        person = await rig.person()
        pids = [await rig.spawn(person, "park") for _ in range(CALLERS)]
        await rig.wait_until(
            lambda: sum(row.state == "waiting" for row in rig.machine.state.processes.values()) >= CALLERS
        )
        callers = Callers(rig, pids)
        for _ in range(rounds):
            for name, mix in (("recorded", recorded), ("governed", governed)):
                events, began = rig.machine.head.seq, time.process_time()
                for _ in range(batches):
                    mix(callers)
                spent = time.process_time() - began
                series[name].append(spent / (rig.machine.head.seq - events) * 1e6)
    return series


def run(folder: Path, is_quick: bool) -> Findings:
    series = asyncio.run(measure(folder, 2 if is_quick else ROUNDS, 4 if is_quick else BATCHES))
    lines = [
        Line("CPU of an event, calls that are recorded", median(series["recorded"]), 15, "us", is_least=False),
        Line("CPU of an event, governed model calls", median(series["governed"]), 15, "us", is_least=False),
    ]
    return Findings(lines, series)
