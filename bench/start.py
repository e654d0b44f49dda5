"""What `agentos --help` costs in CPU, beside a Python that does nothing.

User and system time of the child processes, taken in turns; `python -c pass` with the same interpreter and flags.

Shows what every command pays before it does anything. Does not show what a command does.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from bench.record import Findings, Line

ROUNDS = 15
HELP = "import sys; from agentos.ui.cli.main import main; sys.argv = ['agentos', '--help']; main()"


def cpu_s(words: list[str]) -> float:
    """CPU seconds of a command."""
    before = os.times()
    asked = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    after = os.times()
    assert asked.returncode == 0, asked.stderr.decode()[-500:]
    return after.children_user + after.children_system - before.children_user - before.children_system


def has_cli() -> bool:
    try:
        return importlib.util.find_spec("agentos.ui.cli.main") is not None
    except ModuleNotFoundError:
        return False


def run(folder: Path, is_quick: bool) -> Findings:
    if not has_cli():
        return Findings(
            [Line("agentos --help over python -c pass", None, 3, "x", False, "this tree has no command line")]
        )
    series: dict[str, list[float]] = {"pass_s": [], "help_s": []}
    for _ in range(3 if is_quick else ROUNDS):
        series["pass_s"].append(cpu_s([sys.executable, "-c", "pass"]))
        series["help_s"].append(cpu_s([sys.executable, "-c", HELP]))
    bare, helped = median(series["pass_s"]), median(series["help_s"])
    lines = [
        Line("agentos --help over python -c pass", helped / bare, 3, "x", is_least=False),
        Line("agentos --help", helped * 1e3, None, "ms"),
        Line("python -c pass", bare * 1e3, None, "ms"),
    ]
    return Findings(lines, series)
