"""The record line: what happened to one test, authenticated, on a descriptor that the artifact was not given.

A process that shares an interpreter with hostile code cannot keep a secret from it for ever. The key stops what prints
records; code that reaches into the runner is caught by the spoiled runs, and by the run apart.
"""

# mypy: ignore-errors
# Untyped on purpose: it runs under Pythons of other ages, beside code of any shape, and mostly stands in for objects
# whose type it does not know.

import hashlib
import hmac
import json
import os
import sys

KEY_PIPE = "/agentos-io/key"
KEY_BYTES = 32


class Recorder:
    """Writes records. Made before anything of the artifact is loaded."""

    def __init__(self):
        with open(KEY_PIPE, "rb") as pipe:
            key = pipe.read(KEY_BYTES)
        out = os.dup(1)  # not inheritable: a child of the artifact does not have it
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(2, 1)  # what tests print is for the log
        os.close(quiet)
        sys.stdout = os.fdopen(os.dup(1), "w", buffering=1, errors="backslashreplace")
        sys.__stdout__ = sys.stdout
        self.count = 0

        def write(record):
            self.count += 1
            body = json.dumps([self.count, record], ensure_ascii=True).encode()
            seal = hmac.new(key, body, hashlib.sha256).hexdigest().encode()
            os.write(out, seal + b" " + body + b"\n")

        self.write = write
