"""The ordinary run: tests and artifact in one interpreter, as their author runs them.

Fooling this run is easy for the artifact, and known to be. It serves to say what fails honestly, and with spoiled
expectations to catch who passes regardless.
"""

# mypy: ignore-errors
# Untyped on purpose: it runs under Pythons of other ages, beside code of any shape, and mostly stands in for objects
# whose type it does not know.

import json
import os
import sys

sys.path.insert(0, "/agentos")
from check_inside import probe, records, runners


def main():
    asked = json.load(sys.stdin)
    recorder = records.Recorder()
    record = recorder.write  # bound now: replacing an attribute later changes nothing
    if asked["is_base"]:
        watch(set(asked["kept"]), record)
    sys.path[0] = "/copy"
    if os.path.isdir("/copy/src"):
        sys.path.insert(1, "/copy/src")
    os.chdir("/copy")
    watchdog = runners.Watchdog() if asked["is_base"] else None
    status = runners.run(asked["runner"], asked["arguments"], record, probe.each, watchdog)
    record({"end": status})
    sys.stdout.flush()
    os._exit(0)  # threads or exit hooks of the artifact have nothing more to say


def watch(kept, record):
    """Record which files of the tree are read, and whether by the tests' own code. An audit hook cannot be removed."""
    seen = set()

    def hook(event, arguments):
        if event != "open" or not isinstance(arguments[0], (str, bytes)):
            return
        path = os.path.normpath(os.path.join("/copy", os.fsdecode(arguments[0])))
        if not path.startswith("/copy/") or path.endswith((".py", ".pyc")):
            return
        frame = sys._getframe(1)
        while frame is not None:
            code = frame.f_code.co_filename
            if code.startswith("/copy/"):
                found = (path[len("/copy/") :], code[len("/copy/") :] in kept)
                if found not in seen:
                    seen.add(found)
                    record({"read": found[0], "is_by_tests": found[1]})
                return
            frame = frame.f_back

    sys.addaudithook(hook)


if __name__ == "__main__":
    main()
