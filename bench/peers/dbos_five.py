"""Five no-op steps, each persisted, as a DBOS workflow over its default SQLite database, one run at a time.

dbos_five FOLDER RUNS
"""

import json
import sys
import time
from pathlib import Path

from dbos import DBOS, DBOSConfig

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
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(runs):
        five()
    said = {"runs_per_s": runs / (time.perf_counter() - wall), "cpu_ms": (time.process_time() - cpu) / runs * 1e3}
    print(json.dumps({"one": said}))
    DBOS.destroy()


main(sys.argv[1], int(sys.argv[2]))
