"""What a bench says: lines with a target, the series behind them, and the machine they were measured on.

Rule 1: a line is met or missed by its measured figure alone; the note explains and never excuses.
Rule 2: every series is kept whole, in the order measured, beside its median, least and most.
Rule 3: no host name, user or path of this machine is written down.
"""

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import apsw
import msgspec


class Line(NamedTuple):
    """One figure, and what it should be."""

    what: str
    measured: float | None  # None: could not be measured here; the note says why
    target: float | None  # None: said for comparison only
    unit: str
    is_least: bool = True  # the target is the least that is right, else the most
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How far from the target: 1.0 and more is met."""
        if self.measured is None or self.target is None:
            return None
        if self.is_least:
            return self.measured / self.target
        return self.target / self.measured if self.measured > 0 else float("inf")

    @property
    def state(self) -> str:
        if self.measured is None:
            return "not measured"
        if self.ratio is None:
            return ""
        return "met" if self.ratio >= 1 else "MISSED"


class Findings(NamedTuple):
    """All that one bench found."""

    lines: list[Line]
    series: dict[str, list[float]] = {}  # noqa: RUF012 nobody writes to it


def summed(series: Sequence[float]) -> dict[str, Any]:
    """A series with its length, median, least and most."""
    if not series:
        return {"n": 0, "values": []}
    return {"n": len(series), "median": median(series), "min": min(series), "max": max(series), "values": list(series)}


def machine() -> dict[str, Any]:
    """What the figures depend on, without saying whose machine it is."""
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _first("/proc/cpuinfo", "model name"),
        "cpus": os.cpu_count(),
        "memory": _first("/proc/meminfo", "MemTotal"),
        "load": [round(each, 2) for each in os.getloadavg()],
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
    }


def _first(path: str, key: str) -> str:
    """The value of the first line that begins with a key; "" where there is no such file."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def save(folder: Path, name: str, command: str, findings: Findings) -> Path:
    """Write `NAME.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    body = told(name, command, findings)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(body), indent=1) + b"\n")
    return path


def told(name: str, command: str, findings: Findings) -> dict[str, Any]:
    """One bench's findings as plain data."""
    lines = [{**line._asdict(), "ratio": line.ratio, "state": line.state} for line in findings.lines]
    series = {key: summed(values) for key, values in findings.series.items()}
    return {"bench": name, "command": command, "machine": machine(), "lines": lines, "series": series}


def table(lines: Sequence[Line]) -> str:
    """The lines for a person."""
    rows = [("", "measured", "target", "ratio", "")]
    for line in lines:
        unit = f" {line.unit}" if line.unit else ""
        bound = "" if line.target is None else f"{'>=' if line.is_least else '<='} {_short(line.target)}{unit}"
        rows.append(
            (
                line.what,
                "-" if line.measured is None else f"{_short(line.measured)}{unit}",
                bound,
                "" if line.ratio is None else f"{line.ratio:.2f}",
                line.state,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    out = []
    for number, row in enumerate(rows):
        out.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if number and lines[number - 1].note:
            out.append(f"    {lines[number - 1].note}")
    return "\n".join(out)


def _short(figure: float) -> str:
    return f"{figure:,.0f}" if abs(figure) >= 1000 else f"{figure:.3g}"
