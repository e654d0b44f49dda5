"""The seven answers about an order, on a workspace of 100,000 events: `agentos why WO-n`, in wall seconds.

Not written: it needs the command line and a workspace whose orders were really worked on, and both are younger than this
bench. Until then it says so, and the target stands as not measured.
"""

from pathlib import Path

from bench.record import Findings, Line


def run(folder: Path, is_quick: bool) -> Findings:
    return Findings([Line("agentos why WO-n, 100,000 events", None, 1, "s", is_least=False, note="not written yet")])
