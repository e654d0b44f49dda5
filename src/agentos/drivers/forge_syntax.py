"""Whether a changed Python file parses at all, asked in a child: hostile source can crash or stall a parser.

Rule 1: a file that did not parse on the base either (a fixture, another language level) is nobody's error.
Rule 2: a file is wrong only if no Python at hand parses it: agentos may be older than the language of the repository.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable

from agentos.drivers.forge_store import Edit

PARSE_TIMEOUT_S = 30  # ten thousand files of usual size parse in that; a bomb does not
ERRORS_MAX = 50  # a receipt lists this many; the rest would say the same
NEWER = ("python3.15", "python3.14", "python3.13", "python3.12")

_CHILD = """
import ast, json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
out = []
for source in json.load(sys.stdin):
    try:
        ast.parse(source.encode("latin-1"))
        out.append(None)
    except SyntaxError as e:
        out.append([e.lineno or 1, e.msg or "does not parse"])
    except (ValueError, MemoryError, RecursionError) as e:
        out.append([1, str(e) or type(e).__name__])
json.dump(out, sys.stdout)
"""

Wrong = tuple[int, str] | None


def errors(edits: Iterable[Edit], base: Callable[[str], bytes | None]) -> tuple[str, ...]:
    """`path:line: message` for each changed .py file that no Python at hand parses, while the base's version did."""
    changed = [(edit.path, edit.content) for edit in edits if edit.path.endswith(".py") and edit.content is not None]
    wrong = [(path, why) for (path, _), why in zip(changed, parse([c for _, c in changed]), strict=True) if why]
    if not wrong:
        return ()
    before = [base(path) for path, _ in wrong]
    was_wrong = parse([content if content is not None else b"" for content in before])
    fresh = [(path, why) for (path, why), old in zip(wrong, was_wrong, strict=True) if not old]
    return tuple(f"{path}:{why[0]}: {why[1]}" for path, why in fresh[:ERRORS_MAX])


def parse(sources: list[bytes]) -> list[Wrong]:
    """For each source None, or the line and message of the first error; newer Pythons are asked about what this one rejects."""
    found = _parse_with(sys.executable, sources) or []
    for name in NEWER:
        at = [i for i, why in enumerate(found) if why]
        if not at:
            break
        again = _parse_with(name, [sources[i] for i in at]) if shutil.which(name) else None
        for i, why in zip(at, again or [], strict=False):
            found[i] = why
    return found


def _parse_with(python: str, sources: list[bytes]) -> list[Wrong] | None:
    """None where that Python cannot be started. A file that takes its parser down is wrong, and asked alone."""
    if not sources:
        return []
    try:
        done = subprocess.run(
            [python, "-I", "-S", "-c", _CHILD],
            input=json.dumps([source.decode("latin-1") for source in sources]).encode(),
            capture_output=True,
            timeout=PARSE_TIMEOUT_S,
            cwd="/",
            check=False,
        )
        if done.returncode == 0:
            return [(why[0], why[1]) if why else None for why in json.loads(done.stdout)]
    except (subprocess.TimeoutExpired, OSError):
        pass
    if python != sys.executable:
        return None
    if len(sources) == 1:
        return [(1, "the parser gave up on this file")]
    return [(_parse_with(python, [source]) or [None])[0] for source in sources]
