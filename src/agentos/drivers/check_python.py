"""Which Python runs a repository's tests, and what has to be visible in the sandbox for it to start. Nothing is executed.

Order: the repository's own environment (.venv, venv, env), the active one (VIRTUAL_ENV), the PATH, agentos's own. Where
pytest is asked for, the first that has it. An environment is read, never run, on the host: its start-up files are code.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from agentos.ports.sandbox import Bind

HOPS_MAX = 40  # links on the way to an interpreter; as many as the kernel follows
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/nix/store")


class Python(NamedTuple):
    """An interpreter and the binds it needs."""

    path: str
    binds: tuple[Bind, ...]


def find(repository: Path, module: str | None) -> Python | None:
    """The Python for this repository; with `module`, the first that has it installed. None if there is none."""
    for candidate in candidates(repository):
        prefixes = list(_prefixes(candidate))
        if module is None or any(has(prefix, module) for prefix in prefixes):
            return Python(str(candidate), _binds(prefixes))
    return None


def candidates(repository: Path) -> Iterator[Path]:
    roots = [repository / name for name in (".venv", "venv", "env")]
    roots += [Path(active) for active in [os.environ.get("VIRTUAL_ENV", "")] if active]
    for root in roots:
        if (root / "pyvenv.cfg").is_file() and (root / "bin" / "python").exists():
            yield (root / "bin" / "python").absolute()
    folders = os.pathsep.join(f for f in os.get_exec_path() if Path(f).name != "shims")
    for name in ("python3", "python"):
        found = shutil.which(name, path=folders)
        if found:
            yield Path(found).absolute()
    yield Path(sys.executable).absolute()


def has(prefix: Path, module: str) -> bool:
    """Whether a module is installed under this prefix."""
    places = [*prefix.glob("lib/python3*/site-packages"), *prefix.glob("lib/python3/dist-packages")]
    return any((place / module).is_dir() or (place / f"{module}.py").is_file() for place in places)


def _prefixes(interpreter: Path) -> Iterator[Path]:
    """Every installation on the way from the name to the file: each link must exist inside."""
    place, seen = interpreter, 0
    while seen < HOPS_MAX:
        seen += 1
        yield place.parent.parent
        yield from _home_of(place.parent.parent)
        if not place.is_symlink():
            break
        place = Path(os.path.normpath(place.parent / os.readlink(place)))
    yield Path(os.path.realpath(interpreter)).parent.parent


def _home_of(prefix: Path) -> Iterator[Path]:
    """The installation a virtual environment was made from."""
    try:
        text = (prefix / "pyvenv.cfg").read_text(errors="replace")
    except OSError:
        return
    if found := re.search(r"^home\s*=\s*(.+?)\s*$", text, re.MULTILINE):
        yield Path(found[1]).parent


def _binds(prefixes: list[Path]) -> tuple[Bind, ...]:
    spots = {spot for spot in prefixes if spot.is_dir() and not _is_system(spot) and spot != Path("/")}
    kept = [spot for spot in spots if not any(spot != other and spot.is_relative_to(other) for other in spots)]
    return tuple(Bind(spot.resolve(), str(spot)) for spot in sorted(kept))


def _is_system(spot: Path) -> bool:
    return any(spot == Path(folder) or spot.is_relative_to(folder) for folder in _SYSTEM)
