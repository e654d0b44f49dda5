"""The crash matrix: the kernel dies at each boundary, for each kind of effect, until every pair has been hit enough.

Rule 1: a pair counts only where a death came to pass there and the run then held every law.
Rule 2: seeds go on until no pair is short, or the bound is reached; what is short then is a failure.
"""

from collections import Counter
from random import Random

from agentos.sim.fate import BOUNDARIES, boundaries_hit
from agentos.sim.scenario import Scenario, target
from agentos.sim.simulation import Outcome
from agentos.sim.world import KINDS

HITS_MIN = 20  # per pair: enough for each to have been hit with power cuts and with mere deaths, first and second visit
SEEDS_MAX = 1_200  # a run that needs more has lost the way to some boundary
TARGETS_EACH = 3  # deaths aimed at in one run

PAIRS: tuple[tuple[str, str], ...] = tuple((boundary, kind) for boundary in BOUNDARIES for kind in KINDS)


class Matrix:
    """Hits so far, and what to aim at next."""

    def __init__(self, *, hits_min: int = HITS_MIN) -> None:
        self.hits: Counter[tuple[str, str]] = Counter()
        self.hits_min = hits_min

    def short(self) -> list[tuple[str, str]]:
        """The pairs that were not hit enough yet."""
        return [pair for pair in PAIRS if self.hits[pair] < self.hits_min]

    def next(self, seed: int) -> Scenario:
        """A scenario that aims at pairs that are short."""
        random = Random(f"aim {seed}")
        wanted = self.short() or list(PAIRS)
        return target(seed, random.sample(wanted, min(TARGETS_EACH, len(wanted))))

    def count(self, outcome: Outcome) -> None:
        if not outcome.fault:
            self.hits += boundaries_hit(list(outcome.hits))

    def table(self) -> str:
        """Boundaries down, kinds across."""
        width = max(map(len, BOUNDARIES))
        lines = [" " * width + "".join(f"{kind:>12}" for kind in KINDS)]
        for boundary in BOUNDARIES:
            cells = "".join(
                f"{self.hits[boundary, kind]:>11}{' ' if self.hits[boundary, kind] >= self.hits_min else '!'}"
                for kind in KINDS
            )
            lines.append(f"{boundary:<{width}}{cells}")
        return "\n".join(lines)
