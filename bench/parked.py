"""What 10,000 agents cost that wait for a message, their programs released from the workers: the kernel's memory.

Agents are spawned, run in a real worker until they wait, and are released from it; then the kernel's resident memory is
compared with what it was before the first, after a collection on both sides, and the state is encoded as a snapshot is.

Shows that waiting agents are rows and not programs. Does not show how long waking them takes.
"""

import asyncio
import gc
import os
from pathlib import Path

from agentos.kernel.state import encode
from bench.record import Findings, Line
from bench.rig import Rig, running

AGENTS = 10_000
PER_PERSON = 1_000  # under children_max
RESIDENTS_MAX = 50  # programs that may stay; the rest is released as soon as it waits
SPAWNS_AT_ONCE = 100
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """This process's resident memory now, which ru_maxrss is not."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def waiting(rig: Rig) -> int:
    return sum(bool(process.parked) for process in rig.machine.state.processes.values())


async def measure(folder: Path, agents: int) -> tuple[float, float, int]:
    """Resident and state bytes per agent, and how many programs stayed resident."""
    async with running(folder, residents_max=RESIDENTS_MAX) as rig:
        people = [await rig.person(f"user:{number}") for number in range(-(-agents // PER_PERSON))]
        await rig.wait_gone(await rig.spawn(people[0], "ready"))
        before, before_state = resident_bytes(), len(encode(rig.machine.state))
        for first in range(0, agents, SPAWNS_AT_ONCE):
            batch = range(first, min(first + SPAWNS_AT_ONCE, agents))
            await asyncio.gather(*(rig.spawn(people[number // PER_PERSON], "park") for number in batch))
            await rig.wait_until(lambda due=batch.stop: waiting(rig) == due)  # type: ignore[misc]
        await rig.wait_gone(await rig.spawn(people[0], "ready"))
        state = len(encode(rig.machine.state)) - before_state
        return (resident_bytes() - before) / agents, state / agents, len(rig.programs._resident)


def run(folder: Path, is_quick: bool) -> Findings:
    agents = 500 if is_quick else AGENTS
    resident, state, stayed = asyncio.run(measure(folder, agents))
    note = f"{agents:,} agents, {stayed} programs left in the worker"
    lines = [
        Line("kernel memory of a parked agent", resident / 1024, 20, "KiB", is_least=False, note=note),
        Line("of which state, encoded", state / 1024, None, "KiB"),
    ]
    return Findings(lines, {"resident_kib": [resident / 1024], "state_kib": [state / 1024]})
