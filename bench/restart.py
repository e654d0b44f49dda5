"""From process start to the daemon's answer, on a workspace of 1,000,000 events.

The workspace is made once (see bench/workspace.py), with snapshots as the daemon keeps them. `python -m
agentos.boot.daemon` is started on it, and asked for its status over its socket until it answers. Twice over: after a stop
in order, where the snapshot is the last event, and after the process was killed with as many events after the last
snapshot as the daemon lets there be.

Shows that a restart does not depend on how long the workspace has lived. Does not show a cold disk: the files are in the
host's memory.
"""

import asyncio
import contextlib
import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from agentos.boot.workspace import Folder
from agentos.gates.socket import SocketGate
from bench import workspace
from bench.record import Findings, Line
from bench.rig import running

EVENTS = 1_000_000
ROUNDS = 5
START_S = 120.0
SCRIPT = 'name: bench\nmodel: m\nlines: [{when: {}, say: "ok"}]\n'


async def serve(home: Path) -> None:
    """The parts of the daemon that a restart takes, in a tree whose daemon does not start."""
    async with running(home) as rig:
        await SocketGate(rig.desk, Folder(home).socket).serve()


def has_daemon() -> bool:
    try:
        return importlib.import_module("agentos.boot.daemon") is not None
    except ModuleNotFoundError:
        return False


def started_s(home: Path, script: Path, log: Path) -> tuple[float, subprocess.Popen[bytes]]:
    """Seconds from the start of the daemon's process to its first status."""
    words = [sys.executable, "-m", "agentos.boot.daemon", "--home", str(home), "--scripted", str(script)]
    if not has_daemon():
        words = [sys.executable, "-m", "bench.restart", str(home)]
    with open(log, "ab") as out:
        began = time.perf_counter()
        daemon = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    while time.perf_counter() - began < START_S:
        assert daemon.poll() is None, f"the daemon ended: {log.read_text()[-500:]}"
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.connect(str(Folder(home).socket))
            asking.sendall(b'{"op": "status", "id": 1}\n')
            assert b'"events"' in asking.makefile("rb").readline()
            return time.perf_counter() - began, daemon
        time.sleep(0.005)
    raise AssertionError("the daemon did not answer")


def run(folder: Path, is_quick: bool) -> Findings:
    events = 20_000 if is_quick else EVENTS
    kept = workspace.of(events)
    home, script, log = folder / "home", folder / "script.yaml", folder / "log"
    shutil.copytree(kept, home)
    script.write_text(SCRIPT)
    series: dict[str, list[float]] = {"after_kill_s": [], "after_stop_s": []}
    for _ in range(1 if is_quick else ROUNDS):
        for name in os.listdir(kept):
            if name.startswith("journal.db"):
                shutil.copy2(kept / name, home / name)
        span, daemon = started_s(home, script, log)
        series["after_kill_s"].append(span)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(60)
        span, daemon = started_s(home, script, log)
        series["after_stop_s"].append(span)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(60)
    at = Folder(home).journal.stat().st_size / (1 << 20)
    note = f"{events:,} events and more, a journal of {at:,.0f} MiB, {workspace.WAITING} agents waiting"
    if not has_daemon():
        note += "; machine and socket gate alone, this tree's daemon does not start"
    lines = [
        Line("start to status, after a stop", median(series["after_stop_s"]), 2, "s", is_least=False, note=note),
        Line("start to status, after a kill", median(series["after_kill_s"]), 2, "s", is_least=False),
    ]
    return Findings(lines, series)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
