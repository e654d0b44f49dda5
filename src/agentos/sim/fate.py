"""Where a kernel dies: named points at every boundary, and what decides that this time it is here.

Rule 1: a point is visited by name, with the kinds of effect it is about; a doom names a point, maybe a kind, and which
        visit of it is the last.
Rule 2: dying is one step: nothing of the dead kernel acts after it, and the disk is what it was at that instant.
"""

from collections import Counter
from random import Random
from typing import NamedTuple

START, SETTLE, CLOSE = "start ", "settle ", "close "

# Boundary of the matrix -> the point, and what the batch at that point must hold of the kind.
BOUNDARIES: dict[str, tuple[str, str]] = {
    "decided, not flushed": ("before append", START),
    "while it is flushed": ("during append", START),
    "flushed, not told": ("after append", START),
    "told, not begun": ("before effect", ""),
    "on its way": ("during effect", ""),
    "done, outcome not in": ("before outcome", ""),
    "outcome in, not flushed": ("before append", SETTLE),
    "outcome flushed, not told": ("after append", SETTLE),
    "snapshot while in flight": ("snapshot", ""),
    "closing, not flushed": ("before append", CLOSE),
    "closed, not told": ("after append", CLOSE),
}
POINTS = (
    "before sync",
    "before append",
    "during append",
    "after append",
    "amid telling",
    "before effect",
    "during effect",
    "before outcome",
    "snapshot",
    "recovering",
    "close",
)


class Doom(NamedTuple):
    """How one life ends."""

    point: str
    about: str  # "" or what the visit must be about: "once", "settle once", "close once"
    nth: int
    is_power_cut: bool  # else the process alone dies, and the disk is whole


class Hit(NamedTuple):
    """A death that came to pass."""

    point: str
    abouts: tuple[str, ...]


class Fate:
    """Counts visits, and says when it is time."""

    def __init__(self, dooms: tuple[Doom, ...]) -> None:
        self._dooms = list(dooms)
        self._visits: Counter[tuple[str, str]] = Counter()
        self.hits: list[Hit] = []

    def is_due(self, point: str, abouts: tuple[str, ...]) -> Doom | None:
        """The doom that this visit fulfils, if it does. One life dies of one doom, in the order they were given."""
        if not self._dooms:
            return None
        doom = self._dooms[0]
        if doom.point != point or doom.about and doom.about not in abouts:
            return None
        self._visits[point, doom.about] += 1
        if self._visits[point, doom.about] < doom.nth:
            return None
        self._dooms.pop(0)
        self._visits.clear()
        self.hits.append(Hit(point, abouts))
        return doom

    def give_up(self) -> None:
        """The first doom cannot come to pass any more."""
        if self._dooms:
            self._dooms.pop(0)


def drawn(random: Random) -> tuple[Doom, ...]:
    """Up to four deaths, at any point."""
    return tuple(
        Doom(
            random.choice(POINTS),
            "",
            1 if (nth := random.randrange(4)) == 0 else random.randint(1, 6 * nth * nth),
            random.random() < 0.6,
        )
        for _ in range(random.choice((0, 1, 1, 2, 2, 3, 4)))
    )


def aimed(random: Random, targets: list[tuple[str, str]]) -> tuple[Doom, ...]:
    """Deaths at these boundaries of the matrix, for these kinds."""
    dooms = []
    for boundary, kind in targets:
        point, about = BOUNDARIES[boundary]
        dooms.append(Doom(point, about + kind, random.choice((1, 1, 2)), random.random() < 0.6))
    return tuple(dooms)


def boundaries_hit(hits: list[Hit]) -> Counter[tuple[str, str]]:
    """The pairs of the matrix that these deaths count for."""
    found: Counter[tuple[str, str]] = Counter()
    for hit in hits:
        for boundary, (point, about) in BOUNDARIES.items():
            if point == hit.point:
                for kind in hit.abouts:
                    if kind.startswith(about) and " " not in kind.removeprefix(about):
                        found[boundary, kind.removeprefix(about)] += 1
    return found
