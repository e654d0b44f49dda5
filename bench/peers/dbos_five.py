"""Five no-op steps, each persisted, as a DBOS workflow over its default SQLite database, one run at a time.

dbos_five FOLDER RUNS
"""

import json
import sys
import time
from pathlib import Path

from dbos import DBOS, DBOSConfig
from priority import raised

STEPS = 5
WARM_UP = 3


@DBOS.step()
def step(number: int) -> int:
    return number


@DBOS.workflow()
def five() -> int:
    return sum(step(number) for number in range(STEPS))


def main(folder: str, runs: int) -> None:
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": f"sqlite:///{Path(folder) / 'dbos.db'}",
        "run_admin_server": False,
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()
    for _ in range(WARM_UP):
        five()
    with raised():
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(runs):
            five()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    said = {"runs_per_s": runs / wall, "cpu_ms": cpu / runs * 1e3}
    print(json.dumps({"one": said}))
    DBOS.destroy()


main(sys.argv[1], int(sys.argv[2]))
