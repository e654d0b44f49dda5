"""Killed at any call, in any of three ways, and run again: every program makes the calls it made, and the order ends as
it would have ended.

Rule 1: the whole run is taken, call by call, of every program that ships: workers, judges and conductors.
Rule 2: what is compared is each call as it was made, by its id: another argument at the same place is a failure, also
        where the kernel would have stopped the program for it.
"""

import asyncio
from pathlib import Path
from typing import NamedTuple

import pytest

from agentos.abi.events.process import ProcessExited
from agentos.abi.inference import Request
from agentos.abi.work import Approval, Contract, Document, Review
from agentos.drivers.inference_scripted import Line
from agentos.userland.agents import judgement
from agentos.userland.agents.programs import BUILTIN
from tests.userland import test_workflow_run
from tests.userland.test_conductor import (
    EDIT,
    FILES,
    HANDOFF,
    PYTEST,
    ROUNDS,
    TEXT,
    WRONG,
    block,
    calls,
    contract,
    fixes,
    says,
    turns,
)
from tests.userland.world import Kill, Script, World, words

LATE_MAX = 3  # await, look, exit: what a conductor or a judge has left to say when the last judgement is in
WAYS = ("before", "during", "after")


class Run(NamedTuple):
    """One way through the programs."""

    scripts: dict[str, Script]
    order: Contract
    files: dict[str, str]
    names: tuple[tuple[str, str], ...] = ()  # model class to the model's name
    is_side_by_side: bool = False  # which step gets which pid is a matter of speed, in every run


def judging(request: Request) -> Line:
    if "must not be merged" in words(request):
        return Line(json={"verdict": "failed"})
    if "missed" in str(request.schema):
        return Line(json={"missed": "the sign", "next": "replace it"})
    return Line(json={"verdict": "passed", "findings": []})


def mending(request: Request) -> Line:
    return fixes(request) if "replace it" in words(request) else block(WRONG)


TOOLING = turns(
    calls("read_file", path="calc.py"), calls("spawn_agent", agent="planner", task="plan it"), EDIT, HANDOFF
)


def tooling(request: Request) -> Line:
    is_plan = "You plan a change to a repository" in words(request)
    return Line(say="1. calc.py: the sign, and the tests pass") if is_plan else TOOLING(request)


RUNS = {
    "one file, mended by the second class, reviewed by another family": Run(
        {"tiny": says(block(WRONG)), "coder": mending, "judge": judging},
        contract(
            accept=(PYTEST, Review(name="look"), Review(name="other", is_other_family=True)),
            model_classes=("tiny", "coder", "judge"),
        ),
        FILES,
        (("tiny", "qwen3-30b"), ("coder", "qwen3-30b"), ("judge", "claude-opus")),
    ),
    "rounds with tools and a planner": Run({"coder": tooling}, contract(**ROUNDS), FILES),
    "a dead model, and nobody else": Run(
        {"coder": says(Line(fault="refuse", say="gone"))}, contract(attempts_max=1), FILES
    ),
    "a workflow of three steps": Run(
        {"tiny": test_workflow_run.writes},
        test_workflow_run.CONTRACT,
        test_workflow_run.FILES,
        is_side_by_side=True,
    ),
    "a workflow with a verdict in it": Run(
        {"tiny": lambda request: judging(request) if request.schema else Line(say="30 days")},
        test_workflow_run.contract(accept=(Document(name="page", path="page.md"),)),
        {
            ".agentos-workflow.yaml": """name: page
steps:
  - {id: draft, agent: writer, with: {task: Leave, notes: 30 days}, output: page.md}
  - id: look
    agent: reviewer
    with: {goal: g, success_criteria: c, constraints: none, change: "${{ steps.draft.output }}"}
"""
        },
    ),
    "garbage, then a person": Run({"coder": says(Line(say="?"))}, contract(attempts_max=1), FILES),
}


def go(root: Path, run: Run, kill: Kill | None = None) -> World:
    world = World(root, run.scripts, kill=kill, names=dict(run.names))
    asyncio.run(world.run(run.files, run.order, text=TEXT))
    return world


def outcome(world: World) -> tuple[object, ...]:
    """How it ended: what is on the branch, what a person is asked, how each process ended."""
    state = world.machine.state
    ended = world.events_of(ProcessExited)
    endings = sorted((world.program(event.pid), *_ending(event)) for event in ended)
    questions = [(row.kind, row.text) for row in state.questions.values()]
    return dict(world.forge.refs), [row.state for row in state.closed.values()], questions, endings


def _ending(event: ProcessExited) -> tuple[int, str]:
    """How it ended; the end of its order and its own good end are one, for which is quicker is a matter of speed."""
    return (0, "") if event.reason.endswith("is over") else (event.status, event.reason)


def strays(one: World, other: World) -> list[str]:
    """Calls that only one of two runs made, or that differ. Passed over is what speed alone decides: a timer on a strand
    of its own, set or not set any more, and what a program may still ask when the kernel is about to end it."""
    timers = {(call.pid, call.strand) for world in (one, other) for call in world.calls if call.name == "sleep"}
    names = {(call.pid, call.strand, call.n): call.name for world in (one, other) for call in world.calls}
    shared = one.made.keys() & other.made.keys()
    found = []
    for key in sorted(one.made.keys() | other.made.keys()):
        ahead = key[2] - max((n for pid, strand, n in shared if (pid, strand) == key[:2]), default=0)
        is_late = 0 < ahead <= LATE_MAX and names[key] in ("await", "look", "exit")
        is_timer = key[1] != 0 and key[:2] in timers
        if one.made.get(key) != other.made.get(key) and not is_late and not is_timer:
            found.append(f"{key} {names[key]}")
    return found


@pytest.mark.timeout(300)  # up to 80 whole orders, each a fraction of a second on a machine with nothing else to do
@pytest.mark.parametrize("name", RUNS)
def test_killed_at_any_call_a_run_makes_the_same_calls_and_ends_the_same(tmp_path: Path, name: str) -> None:
    run = RUNS[name]
    whole = go(tmp_path / "whole", run)
    count = len(whole.made)
    assert count > 8
    assert not whole.differences
    kills = 0
    for at in range(1, count + 1):
        kill = Kill(at, WAYS[at % len(WAYS)])
        again = go(tmp_path / f"{at}", run, kill)
        kills += again.kills  # none where the call is its process's last: nobody hears an answer
        assert not again.differences, f"{kill}: {again.differences}"
        assert run.is_side_by_side or strays(again, whole) == [], kill
        assert outcome(again) == outcome(whole), kill
    assert kills > count // 2


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", RUNS)
def test_killed_at_any_call_in_every_way(tmp_path: Path, name: str, way: str) -> None:
    run = RUNS[name]
    whole = go(tmp_path / "whole", run)
    for at in range(1, len(whole.made) + 1):
        again = go(tmp_path / f"{at}", run, Kill(at, way))
        assert not again.differences, f"{at}: {again.differences}"
        assert run.is_side_by_side or strays(again, whole) == [], at
        assert outcome(again) == outcome(whole), at


def test_the_runs_above_are_of_every_program_that_ships(tmp_path: Path) -> None:
    seen: set[str] = set()
    for number, run in enumerate(RUNS.values()):
        world = go(tmp_path / str(number), run)
        seen |= {event.spec.program for event in world.events if hasattr(event, "spec")}
    assert seen & set(BUILTIN) == set(BUILTIN)


def test_waiting_for_a_person_survives_being_killed_each_time_it_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judgement, "POLL_NS", 1_000_000)
    order = contract(accept=(PYTEST, Approval(name="ok")), attempts_max=1)

    async def both(world: World) -> None:
        async with world.started():
            order_id = await world.submit(FILES, order, text=TEXT)
            await world.until(lambda: sum(one.name == "sleep" and one.strand == 0 for one in world.calls) >= 3)
            await world.decide("approve")
            await world.until(lambda: order_id in world.machine.state.closed)

    killed = 0
    for at in range(28, 40):
        world = World(tmp_path / str(at), fixes, kill=Kill(at, WAYS[at % 3]))
        asyncio.run(both(world))
        killed += world.kills
        assert not world.differences
        assert [row.state for row in world.machine.state.closed.values()] == ["closed"]
    assert killed > 5
