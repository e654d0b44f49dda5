"""Run the benches and say which targets are met.

    python -m bench [--only NAME]... [--quick] [--realtime] [--json] [--folder DIR]

Each bench is a module whose docstring says what it shows and what it does not. Findings go to bench/results/NAME.json,
unless they are quick ones, which are for seeing that a bench still runs. Believe CPU and syncs before wall time: the
machine is shared with whatever else runs on it, and its load stands in each result. Where waiting for a core drowns
what is measured, --realtime measures ours and the peers' alike in short windows of real-time priority.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from bench import events, five, floor, parked, record, restart, sockets, start, steps, why
from bench.record import Findings

BENCHES: dict[str, ModuleType] = {
    "floor": floor,
    "five": five,
    "socket": sockets,
    "events": events,
    "steps": steps,
    "restart": restart,
    "parked": parked,
    "start": start,
    "why": why,
}
RESULTS = Path(__file__).parent / "results"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", action="append", choices=BENCHES, help="run this one; may be given again")
    parser.add_argument("--quick", action="store_true", help="small counts, no results kept: does it still run?")
    parser.add_argument("--realtime", action="store_true", help="measure in short windows of real-time priority")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each bench")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="a folder on the disk to measure")
    chosen = parser.parse_args(argv)
    if chosen.realtime:
        os.environ["BENCH_REALTIME"] = "1"
    names = chosen.only or list(BENCHES)
    if not chosen.json:
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, shared with whatever else runs: compare ratios,")
        print("CPU and syncs; rates are this hour's. Columns: measured, target, how far (1.00 and more is met).")
    for name in names:
        with tempfile.TemporaryDirectory(dir=chosen.folder, prefix=".bench-") as folder:
            findings: Findings = BENCHES[name].run(Path(folder), chosen.quick)
        command = f"python -m bench --only {name}{' --realtime' if chosen.realtime else ''}"
        if not chosen.quick:
            record.save(RESULTS, f"{name}-realtime" if chosen.realtime else name, command, findings)
        if chosen.json:
            print(json.dumps(record.told(name, command, findings)), flush=True)
        else:
            about = (BENCHES[name].__doc__ or "").partition("\n")[0]
            print(f"\n{name}: {about}\n{record.table(findings.lines)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
