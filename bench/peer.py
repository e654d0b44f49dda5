"""The peers' environment: `.cache/bench-peers`, made from `requirements/bench.txt`, apart from ours.

Rule 1: nothing is installed but by a bench that compares; without a network such a bench says so, and others still run.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements/bench.txt"
HOME = ROOT / ".cache/bench-peers"
PYTHON = HOME / "bin/python"
PEER_WALL_S = 600  # the slowest takes a minute on an idle machine


class Absent(Exception):
    """The peers cannot be run here; the message says why."""


def ensure() -> None:
    """Make the environment, unless it is there and is what the lock names."""
    stamp, key = HOME / ".stamp", hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == key:
        return
    print(f"bench: installing the peers of {LOCK.relative_to(ROOT)} (a minute, the first time)", file=sys.stderr)
    words = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(HOME)],
        [str(PYTHON), "-m", "pip", "install", *words],
    ):
        made = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            last = (made.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise Absent(f"the peers could not be installed: {last}")
    stamp.write_text(key)


def run(name: str, *words: object) -> dict[str, Any]:
    """What a peer's program prints."""
    ensure()
    script = ROOT / "bench/peers" / f"{name}.py"
    try:
        asked = subprocess.run(
            [str(PYTHON), str(script), *map(str, words)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PEER_WALL_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Absent(f"{name} did not end within {PEER_WALL_S} s") from error
    if asked.returncode != 0:
        last = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Absent(f"{name} failed: {last}")
    said: dict[str, Any] = json.loads(asked.stdout.strip().splitlines()[-1])
    return said


def versions() -> str:
    """The peers compared with, from the lock."""
    names = ("langgraph==", "langgraph-checkpoint-sqlite==", "dbos==")
    lines = LOCK.read_text().splitlines()
    return ", ".join(line.split(" ")[0] for line in lines if line.startswith(names))
