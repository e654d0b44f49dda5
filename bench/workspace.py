"""A workspace of many realistic events, made through the machine in this process and kept under `.cache/bench`.

The events are those of agents at work: each spawned with a grant, three governed model calls with their outcomes, an
artifact, an exit, a reaping; some agents still wait at the end. Times are the clock's; the model's answers are constant.
It is made anew when the code that folds events has changed, since then no snapshot would be used.
"""

import asyncio
import shutil
import sys
import time
from pathlib import Path

from agentos.boot.workspace import Folder
from agentos.machine import recover
from bench.peer import ROOT
from bench.rig import Rig, running

AT_ONCE = 200
WAITING = 500  # agents that are parked when it ends
KEPT = ROOT / ".cache/bench"


def of(events: int) -> Path:
    """The home of a workspace with at least so many events; made if it is not there."""
    home = KEPT / f"workspace-{events}-{recover.tag()[:12]}"
    if not (home / "whole").exists():
        for old in KEPT.glob(f"workspace-{events}-*"):
            shutil.rmtree(old)
        print(f"bench: making a workspace of {events:,} events (once)", file=sys.stderr)
        asyncio.run(_make(home, events))
        (home / "whole").touch()
    return home


async def _make(home: Path, events: int) -> None:
    Folder(home).make()
    kept = 0
    async with running(home, is_inline=True) as rig:
        person = await rig.person()
        for _ in range(WAITING):
            await rig.spawn(person, "park")
        began = time.monotonic()

        async def some(first: int) -> None:
            nonlocal kept
            number = first
            while rig.machine.head.seq < events:
                await rig.wait_gone(await rig.spawn(person, "work", number))
                number += AT_ONCE
                kept = _snapshot(rig, kept)

        async with asyncio.TaskGroup() as group:
            for first in range(AT_ONCE):
                group.create_task(some(first))
        print(f"bench: {rig.machine.head.seq:,} events in {time.monotonic() - began:.0f} s", file=sys.stderr)


def _snapshot(rig: Rig, kept: int) -> int:
    """Keep a snapshot when the daemon would."""
    if rig.machine.head.seq - kept < recover.SNAPSHOT_EVERY:
        return kept
    recover.snapshot(rig.journal, rig.machine.state, rig.machine.head)
    return rig.machine.head.seq
