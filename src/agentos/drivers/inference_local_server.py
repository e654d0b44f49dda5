"""The process that holds a local model: llama.cpp's own server, on the loopback, inside bounds it sets for itself.

Run by the local driver and by nobody else. It imports nothing of agentos, so that it starts fast and holds little.

    stdin   one line of JSON with the settings (the API key among them: a command line can be read by every user),
            then nothing; end of file means that the parent is gone, and ends this process
    stdout  one line of JSON, {"url": "http://127.0.0.1:PORT"}, when the model is loaded
    stderr  the engine's log, up to a bound

Rule 1: it does not outlive its parent: end of file on stdin, and on Linux the kernel's own signal as well.
Rule 2: its bounds are set before the model is read.
"""

import contextlib
import ctypes
import importlib
import json
import os
import resource
import signal
import sys
import threading
from pathlib import Path
from typing import Any

REFUSED_STATUS = 3  # exit status: the engine would not load the model
_SETTINGS_BYTES_MAX = 64 << 10
_LOG_BYTES_MAX = 1 << 20  # the engine's log; what is over is lost, and the engine goes on
_PR_SET_PDEATHSIG = 1
_OOM_SCORE = 800  # of 1000: when memory runs out, the model goes before the kernel that can start it again
_HTTP_THREADS = 4  # one request is computed at a time; the others only wait, and health checks must get through
_PROMPT_CACHE_MIB = 128  # the engine's default is 8 GiB of old prompts in memory


def main() -> None:
    settings = json.loads(sys.stdin.buffer.readline(_SETTINGS_BYTES_MAX))
    _end_with_parent(settings["parent_pid"])
    _set_bounds(settings["memory_bytes_max"])
    try:
        server = _serve(settings)
    except Exception as error:  # noqa: BLE001 - whatever the engine throws: this file, in these bounds, will not do
        print(error, file=sys.stderr, flush=True)
        raise SystemExit(REFUSED_STATUS) from None  # in order, so that the engine's log is whole
    print(json.dumps({"url": server.listening_address}), flush=True)
    os.dup2(2, 1)  # the engine prints; a pipe that nobody reads would stop it
    threading.Event().wait()


def _serve(settings: dict[str, Any]) -> Any:
    xllamacpp = importlib.import_module("xllamacpp")  # has no types, and need not be installed to check this file
    params = xllamacpp.CommonParams()
    params.model.path = settings["model_path"]
    params.model_alias = {settings["model"]}
    params.n_ctx = settings["context_tokens_max"]
    params.n_parallel = 1
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    params.n_threads_http = _HTTP_THREADS
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.hostnames = ["127.0.0.1"]
    params.api_keys = [settings["api_key"]]
    params.cors_origins = "http://127.0.0.1"
    params.ui = False
    params.endpoint_slots = False
    params.offline = True
    params.warmup = False
    return xllamacpp.Server(params)


def _end_with_parent(parent_pid: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError):  # a container may forbid it; the order of dying is a courtesy
            Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))
    if os.getppid() != parent_pid:  # it died before the signal was asked for
        os._exit(0)
    threading.Thread(target=_exit_at_end_of_stdin, daemon=True).start()


def _exit_at_end_of_stdin() -> None:
    while os.read(0, 4096):  # the file itself: a buffer would be locked when the interpreter ends
        pass
    os._exit(0)  # not sys.exit: the engine's threads would keep the process, and there is nothing to save


def _set_bounds(memory_bytes_max: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LOG_BYTES_MAX, _LOG_BYTES_MAX))
    if sys.platform == "linux":  # elsewhere the address space is not what it counts
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes_max, memory_bytes_max))


if __name__ == "__main__":
    main()
