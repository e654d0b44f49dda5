"""Short windows of real-time priority, for ours and the peers' alike, when BENCH_REALTIME is set.

On a loaded machine a process that waits for the disk then waits for a core, for up to a tick of the scheduler: forty times
what the disk takes, and the same for whoever is measured. With this priority it is woken at once. It takes the right to
set it, disturbs others for the length of a window, and is therefore never the default.
"""

import contextlib
import os
import time

PAUSE_S = 0.5  # after a window, so that others get their cores back


@contextlib.contextmanager
def raised(*pids):
    """Run the body, and these processes meanwhile, at real-time priority 1; all threads that are there now."""
    if not os.environ.get("BENCH_REALTIME"):
        yield
        return
    _set((os.getpid(), *pids), os.SCHED_FIFO, 1)
    try:
        yield
    finally:
        _set((os.getpid(), *pids), os.SCHED_OTHER, 0)
        time.sleep(PAUSE_S)


def _set(pids, policy, priority):
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            for task in os.listdir(f"/proc/{pid}/task"):
                os.sched_setscheduler(int(task), policy, os.sched_param(priority))
