"""python -m agentos.sim: run seeds and say which law broke, if one did.

    --seeds N --from S     that many seeds, from S on (1,000 from 0)
    --seed S [--trace]     one seed again, with every event
    --matrix               die at each boundary for each kind of effect
    --mutants [WORD ...]   plant bugs, and see them caught

Exit status: 0 when every law held (and every pair was hit, every mutant caught), 1 when not, 2 for a wrong command.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor

from agentos.sim.laws import Ledger
from agentos.sim.matrix import SEEDS_MAX, Matrix
from agentos.sim.mutants import MUTANTS, Catch, Mutant, hunt
from agentos.sim.scenario import Scenario, draw
from agentos.sim.simulation import Outcome, simulate

SEEDS = 1_000  # a minute and a half of processor time
JOBS = 2  # the smallest machine this must pass on has two cores
CHUNK = 8  # runs handed to a process at a time: half a second of work
WAVE = 64  # matrix runs between two looks at what is short


def run_seed(seed: int) -> Outcome:
    return run_scenario(draw(seed))


def run_scenario(scenario: Scenario) -> Outcome:
    """A run without its rows, which nobody reads and which are dear to send from process to process."""
    return simulate(scenario)._replace(journal=())


def run_mutant(name: str) -> Catch:
    return hunt(next(mutant for mutant in MUTANTS if mutant.name == name))


class Progress:
    """A line on stderr, where that is a terminal."""

    def __init__(self, total: int, *, is_shown: bool) -> None:
        self._total, self._is_shown, self._done = total, is_shown and sys.stderr.isatty(), 0

    def step(self, word: str = "") -> None:
        self._done += 1
        if self._is_shown:
            print(f"\r{self._done}/{self._total} {word}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._is_shown:
            print(file=sys.stderr)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="agentos.sim", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--from", dest="start", type=int, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--matrix", action="store_true")
    parser.add_argument("--mutants", nargs="*", metavar="WORD")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--jobs", type=int, default=JOBS)
    told = parser.parse_args(argv)
    if told.seeds < 1 or told.jobs < 1 or told.trace and told.seed is None:
        parser.error("--seeds and --jobs are at least 1, and --trace goes with --seed")
    if told.seed is not None:
        return one(told.seed, is_traced=told.trace, is_json=told.json)
    with ProcessPoolExecutor(told.jobs) as pool:
        if told.matrix:
            return matrix(pool, is_json=told.json)
        if told.mutants is not None:
            return mutants(pool, told.mutants, is_json=told.json)
        return many(pool, range(told.start, told.start + told.seeds), is_json=told.json)


def one(seed: int, *, is_traced: bool, is_json: bool) -> int:
    """One seed again."""
    outcome = simulate(draw(seed), trace=print if is_traced else None)
    report([outcome], 0.0, is_json=is_json)
    return 1 if outcome.fault else 0


def many(pool: ProcessPoolExecutor, seeds: range, *, is_json: bool) -> int:
    """Seed after seed, and what they came to."""
    begun = time.monotonic()
    progress = Progress(len(seeds), is_shown=not is_json)
    outcomes = []
    for outcome in pool.map(run_seed, seeds, chunksize=CHUNK):
        outcomes.append(outcome)
        progress.step(f"seed {outcome.seed}")
    progress.end()
    report(outcomes, time.monotonic() - begun, is_json=is_json)
    return 1 if any(outcome.fault for outcome in outcomes) else 0


def report(outcomes: list[Outcome], wall_s: float, *, is_json: bool) -> None:
    """The table at the end, and each failure with the command that repeats it."""
    broken = [outcome for outcome in outcomes if outcome.fault]
    deaths = Counter(hit.point for outcome in outcomes for hit in outcome.hits)
    ledgers = [outcome.ledger for outcome in outcomes if outcome.ledger is not None]
    total = Ledger(*(sum(column) for column in zip(*ledgers, strict=True))) if ledgers else Ledger(0, 0, 0, 0)
    figures = {
        "seeds": len(outcomes),
        "failed": len(broken),
        "kernels": sum(outcome.lives for outcome in outcomes),
        "deaths": sum(outcome.lives - 1 for outcome in outcomes),
        "events": sum(outcome.events for outcome in outcomes),
        "virtual_hours": round(sum(outcome.virtual_s for outcome in outcomes) / 3600, 1),
        "wall_s": round(wall_s, 1),
        "books_uusd": total.books,
        "metered_uusd": total.metered,
        "written_off_uusd": total.written_off,
        "billed_uusd": total.billed,
    }
    if is_json:
        failures = [{"seed": outcome.seed, "fault": outcome.fault} for outcome in broken]
        print(json.dumps({**figures, "deaths_at": dict(deaths), "failures": failures}))
        return
    for name, figure in figures.items():
        print(f"{name:20}{figure:>16,}")
    print("money: books = metered + written off; metered equals the server's bill for the same attempts")
    print("deaths at: " + ", ".join(f"{point} {count}" for point, count in sorted(deaths.items())))
    for outcome in broken:
        print(f"\nseed {outcome.seed}: {outcome.fault}\n  repeat: python -m agentos.sim --seed {outcome.seed} --trace")


def matrix(pool: ProcessPoolExecutor, *, is_json: bool) -> int:
    """Waves of runs that aim at what is short."""
    held, faults, seed = Matrix(), list[Outcome](), 0
    progress = Progress(SEEDS_MAX, is_shown=not is_json)
    while held.short() and seed < SEEDS_MAX:
        wave = [held.next(number) for number in range(seed, seed + WAVE)]
        seed += WAVE
        for outcome in pool.map(run_scenario, wave, chunksize=CHUNK):
            held.count(outcome)
            faults += [outcome] if outcome.fault else []
            progress.step(f"{len(held.short())} pairs short")
    progress.end()
    if is_json:
        pairs = [{"boundary": boundary, "kind": kind, "hits": hits} for (boundary, kind), hits in held.hits.items()]
        print(
            json.dumps(
                {"runs": seed, "short": held.short(), "pairs": pairs, "failures": [list(row[:2]) for row in faults]}
            )
        )
    else:
        print(held.table())
        print(f"{seed} runs; {len(held.short())} pairs short of {held.hits_min}; {len(faults)} runs broke a law")
        for outcome in faults:
            print(f"matrix seed {outcome.seed}: {outcome.fault}")
    return 1 if held.short() or faults else 0


def mutants(pool: ProcessPoolExecutor, words: Iterable[str], *, is_json: bool) -> int:
    """Each planted bug, and what caught it."""
    chosen = [mutant for mutant in MUTANTS if not list(words) or any(word in mutant.name for word in words)]
    if not chosen:
        print(f"no mutant is named so; there are: {', '.join(mutant.name for mutant in MUTANTS)}", file=sys.stderr)
        return 2
    catches = list(_caught(pool, chosen))
    if is_json:
        print(json.dumps([catch._asdict() for catch in catches]))
    else:
        for catch in catches:
            found = f"seed {catch.seed:<4}" if catch.seed >= 0 else "NOT CAUGHT"
            print(f"{catch.name:38}{catch.breaks:38}{found:11}{catch.by[:120]}")
        print(f"{sum(catch.seed >= 0 for catch in catches)} of {len(catches)} caught")
    return 0 if all(catch.seed >= 0 for catch in catches) else 1


def _caught(pool: ProcessPoolExecutor, chosen: list[Mutant]) -> Iterator[Catch]:
    return pool.map(run_mutant, [mutant.name for mutant in chosen])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
