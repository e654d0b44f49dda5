"""The simulator's own promises, and forty seeds of the product's."""

import asyncio
from collections import Counter
from random import Random

import pytest

from agentos.sim import laws
from agentos.sim.__main__ import main
from agentos.sim.fate import BOUNDARIES, Doom, Fate
from agentos.sim.loop import Deadlock, VirtualClock, VirtualLoop, run
from agentos.sim.matrix import PAIRS, Matrix
from agentos.sim.scenario import Scenario, draw, target
from agentos.sim.simulation import Outcome, simulate
from agentos.sim.world import KINDS

SEEDS = 40


@pytest.mark.parametrize("first", range(0, SEEDS, 10))
def test_every_law_holds_on_forty_seeds(first: int) -> None:
    outcomes = [simulate(draw(seed)) for seed in range(first, first + 10)]
    assert [(outcome.seed, outcome.fault) for outcome in outcomes if outcome.fault] == []
    assert sum(outcome.lives for outcome in outcomes) > 10, "kernels died, or nothing was shown"


def test_a_journal_on_real_sqlite_files_survives_the_same_deaths() -> None:
    seeds = [seed for seed in range(400) if draw(seed).is_sqlite][:4]
    outcomes = [simulate(draw(seed)) for seed in seeds]
    assert [outcome.fault for outcome in outcomes] == [""] * 4


@pytest.mark.parametrize("seed", [3, 8, 17])
def test_the_same_seed_gives_the_same_journal_byte_for_byte(seed: int) -> None:
    first, second = simulate(draw(seed)), simulate(draw(seed))
    assert first.lives > 1, "a seed in which no kernel dies shows too little"
    assert first.journal == second.journal
    assert first == second


def test_another_seed_gives_another_journal() -> None:
    assert simulate(draw(3)).journal != simulate(draw(4)).journal


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_each_kind_of_effect_survives_a_death_at_each_boundary(boundary: str) -> None:
    held = Matrix(hits_min=1)
    for seed, kind in enumerate(KINDS):
        outcome = simulate(target(seed, [(boundary, kind)]))
        assert not outcome.fault, f"{boundary}, {kind}: {outcome.fault}"
        held.count(outcome)
    assert [kind for kind in KINDS if not held.hits[boundary, kind]] == []


def test_the_matrix_aims_at_what_is_short_and_says_what_is() -> None:
    held = Matrix(hits_min=2)
    assert held.short() == list(PAIRS)
    held.hits = Counter(dict.fromkeys(PAIRS[1:], 2))
    assert held.short() == [PAIRS[0]]
    point, about = BOUNDARIES[PAIRS[0][0]]
    assert {(doom.point, doom.about) for doom in held.next(1).dooms} == {(point, about + PAIRS[0][1])}
    assert "0!" in held.table()


def test_a_run_that_broke_a_law_counts_for_no_pair() -> None:
    held = Matrix()
    outcome = simulate(target(0, [PAIRS[0]]))
    held.count(outcome._replace(fault="replay: it did not"))
    assert not held.hits


def test_doom_comes_at_the_visit_it_names_and_one_after_the_other() -> None:
    fate = Fate((Doom("before append", "", 2, True), Doom("snapshot", "once", 1, False)))
    assert fate.is_due("snapshot", ("once",)) is None, "the first doom comes first"
    assert fate.is_due("before append", ()) is None
    assert fate.is_due("before append", ()) is not None
    assert fate.is_due("snapshot", ("pure",)) is None
    assert fate.is_due("snapshot", ("pure", "once")) is not None


# The loop


def in_virtual_time(main: object, *, seed: int = 1, limit_s: float = 1e6) -> object:
    return run(main, Random(seed), limit_s=limit_s)  # type: ignore[arg-type]


def test_an_hour_of_sleep_takes_no_time_and_ends_on_the_nanosecond() -> None:
    async def sleep() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        clock = VirtualClock(loop, wall_origin_ns=10**18, booted_ns=0)
        await clock.sleep_until(3_600_000_000_001)
        assert clock.wall_ns() == 10**18 + 3_600_000_000_001
        return clock.monotonic_ns()

    assert in_virtual_time(sleep()) == 3_600_000_000_001


def test_ready_callbacks_run_in_an_order_the_seed_chooses() -> None:
    async def order() -> tuple[int, ...]:
        seen: list[int] = []

        async def note(number: int) -> None:
            seen.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(note(number))
        return tuple(seen)

    orders = {in_virtual_time(order(), seed=seed) for seed in range(20)}
    assert len(orders) > 10
    assert in_virtual_time(order(), seed=7) == in_virtual_time(order(), seed=7)


def test_a_deadlock_is_an_error_that_names_who_waits() -> None:
    async def stuck_at_the_door() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match="stuck_at_the_door"):
        in_virtual_time(stuck_at_the_door())


def test_time_without_end_is_an_error_too() -> None:
    async def restless() -> None:
        while True:
            await asyncio.sleep(10)

    with pytest.raises(Deadlock, match=r"not finished after 60.*restless"):
        in_virtual_time(restless(), limit_s=60)


def test_running_on_the_spot_is_an_error_as_well() -> None:
    async def busy() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Deadlock, match=r"stands still.*busy"):
        in_virtual_time(busy())


# The command


def test_the_command_repeats_a_seed_and_shows_its_events(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "3", "--trace"]) == 0
    out = capsys.readouterr().out
    assert "KernelBooted(epoch=1" in out
    assert "written_off_uusd" in out


def test_a_broken_law_is_told_with_the_command_that_repeats_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lawless(self: laws.Laws, scenario: Scenario, *rest: object) -> None:
        raise laws.Breach("ledger", "one micro-USD is missing")

    monkeypatch.setattr(laws.Laws, "ended", lawless)
    assert main(["--seed", "5"]) == 1
    out = capsys.readouterr().out
    assert "seed 5: ledger: one micro-USD is missing" in out
    assert "python -m agentos.sim --seed 5 --trace" in out


def test_the_ledger_is_the_sum_of_what_was_metered_and_what_was_written_off() -> None:
    ledgers = [outcome.ledger for outcome in map(simulate, map(draw, range(3, 20))) if outcome.ledger is not None]
    assert all(ledger.books == ledger.metered + ledger.written_off for ledger in ledgers)
    assert any(ledger.written_off for ledger in ledgers), "no reservation was written off, so nothing was shown"
    assert isinstance(simulate(draw(3)), Outcome)
