"""Four people's programs at the workspace's socket, all making durable calls at once, in real processes of their own.

The kernel is a process with the machine, the journal, the blobs and the socket gate as the daemon has them; each client
is a process that keeps CALLS_AT_ONCE calls in flight and counts its answers. A call is `attach`, which records an
artifact: two events, answered when they are on disk. The measure is durable events per second over floors per second.

Shows that group commit reaches through the socket. Does not show what one client alone gets: one call at a time is
bound by the floor and two process switches.
"""

import asyncio
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import msgspec

from agentos.abi.calls.ipc import Attach
from agentos.abi.ids import Digest
from agentos.gates.socket import SocketGate
from bench.floor import floor_s
from bench.peers.priority import raised
from bench.record import Findings, Line
from bench.rig import running

CLIENTS = 4
CALLS_AT_ONCE = 64  # each: together the most strands that one person has
CALLS = 2_000  # each
ROUNDS = 5
CONTENT = Digest("ab" * 32)


def client(path: str, calls: int, at_once: int) -> None:
    """Make calls, keep so many in flight, print the seconds it took. Waits for a line on its input to begin."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(path)
    call = Attach(name="/draft", content=CONTENT, media_type="text/plain", body_bytes=64)
    encoded = msgspec.json.encode({"op": "call", "id": 1, "call": call}) + b"\n"
    connection.sendall(encoded)
    assert _answers(connection) == 1
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    sent = answered = 0
    while answered < calls:
        more = min(at_once - (sent - answered), calls - sent)
        connection.sendall(encoded * more)
        sent += more
        answered += _answers(connection)
    print(time.perf_counter() - began, flush=True)


def _answers(connection: socket.socket) -> int:
    """How many answers came, at least one byte of one. Answers are one line each, and none may be a refusal."""
    chunk = connection.recv(1 << 20)
    assert chunk and b'"refusal":{' not in chunk, chunk[:300]
    return chunk.count(b"\n")


async def measure(folder: Path, clients: int, calls: int, at_once: int) -> tuple[float, float, float, float]:
    """Calls per second, times the floor, CPU us of the kernel per call, events per append."""
    async with running(folder / "home") as rig:
        gate = asyncio.create_task(SocketGate(rig.desk, folder / "socket").serve())
        await rig.wait_until((folder / "socket").exists)
        words = [sys.executable, "-m", "bench.sockets", str(folder / "socket"), str(calls), str(at_once)]
        made = [
            await asyncio.create_subprocess_exec(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for _ in range(clients)
        ]
        for each in made:
            assert each.stdout is not None
            await each.stdout.readline()
        with raised(*(each.pid for each in made)):
            before = floor_s(folder)
            events, began, cpu = rig.machine.head.seq, time.perf_counter(), time.process_time()
            for each in made:
                assert each.stdin is not None
                each.stdin.write(b"\n")
            for each in made:
                assert each.stdout is not None
                json.loads(await each.stdout.readline())
            span, spent = time.perf_counter() - began, time.process_time() - cpu
            floor = (before + floor_s(folder)) / 2
        assert rig.machine.head.seq - events >= 2 * clients * calls
        for each in made:
            await each.wait()
        gate.cancel()
        await asyncio.wait([gate])
    rate = clients * calls / span
    return rate, rate * floor, spent / (clients * calls) * 1e6, floor * 1e6


def run(folder: Path, is_quick: bool) -> Findings:
    names = ("calls_per_s", "times_floor", "kernel_cpu_us", "floor_us")
    series: dict[str, list[float]] = {name: [] for name in names}
    single: list[float] = []
    calls = 300 if is_quick else CALLS
    for number in range(1 if is_quick else ROUNDS):
        place = folder / str(number)
        place.mkdir()
        for name, figure in zip(names, asyncio.run(measure(place, CLIENTS, calls, CALLS_AT_ONCE)), strict=True):
            series[name].append(figure)
        place = folder / f"single{number}"
        place.mkdir()
        single.append(asyncio.run(measure(place, 1, max(calls // 8, 50), 1))[1])
    series["one_client_times_floor"] = single
    note = f"{CLIENTS} clients x {CALLS_AT_ONCE} calls in flight; floor {median(series['floor_us']):.0f} us; two events a call"
    lines = [
        Line("durable events over floors", 2 * median(series["times_floor"]), 7, "x", note=note),
        Line("durable calls over floors", median(series["times_floor"]), None, "x"),
        Line("durable calls", median(series["calls_per_s"]), None, "/s"),
        Line("CPU of the kernel per call", median(series["kernel_cpu_us"]), None, "us"),
        Line("one client, one call at a time, over floors", median(single), None, "x"),
    ]
    return Findings(lines, series)


if __name__ == "__main__":
    client(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
