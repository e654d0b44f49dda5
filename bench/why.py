"""The seven answers about an order, on a workspace of 100,000 events, the daemon dead: `agentos why WO-n`.

Wall time of the whole command, from process start to its last line, reading the journal from disk.

Shows that asking does not read all. Does not show a workspace whose one order has all the events.
"""

from pathlib import Path

from bench.record import Findings, Line
from bench.start import has_cli

EVENTS = 100_000


def run(folder: Path, is_quick: bool) -> Findings:
    note = "" if has_cli() else "this tree has no command line"
    return Findings([Line("agentos why WO-n", None, 1, "s", False, note or "not written yet")])
