"""A scenario, drawn from a seed: work orders of mixed shape, a person, how bad the world is, and how the kernel dies.

Rule 1: everything about a run is drawn here, before it starts, or from the streams that are seeded here.
Rule 2: each order says how it should end; what ends otherwise is a finding.
"""

from random import Random
from typing import Any, NamedTuple

from agentos.abi.budget import Amounts
from agentos.abi.work import Approval, Check, Command, Contract
from agentos.sim.fate import Doom, aimed, drawn
from agentos.sim.programs import HERE, SECOND_NS
from agentos.sim.world import BASE, KINDS, REPOSITORY, Faults

TOOLS = ("pure", "idempotent", "queryable", "costly", "once", "write", "guarded")
ORDERS_MAX = 3  # enough that they contend, few enough that a run takes a third of a second
WORKSPACE_UUSD = 40_000_000


class Plan(NamedTuple):
    """One work order, and what is to become of it."""

    title: str
    script: dict[str, Any]
    contract: Contract
    ending: str  # closed | cancelled; "any" where the world may be too bad for it
    after_s: float  # submitted so long after the kernel's first start
    cancel_after_s: float = 0.0  # from its submission; 0: never
    is_applied: bool = False  # its change is brought into the checkout, and out again


class Scenario(NamedTuple):
    seed: int
    plans: tuple[Plan, ...]
    faults: Faults
    dooms: tuple[Doom, ...]
    fails: tuple[tuple[int, int], ...]  # per life: the append and the sync that fail
    is_sqlite: bool
    gremlin_s: float  # mean span between two misfortunes of workers; 0: none
    snapshot_s: float
    duplicates_milli: int  # outcomes that come twice


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    random = Random(f"scenario {seed}")
    is_harsh = random.random() < 0.6
    faults = (
        Faults(
            lost=random.choice((0, 20, 80)),
            retryable=random.choice((0, 100, 300)),
            hung=random.choice((0, 0, 10)),
            overrun=random.choice((0, 0, 30)),
            broken=random.choice((0, 0, 30)),
        )
        if is_harsh
        else Faults()
    )
    plans = tuple(_plan(random, number, faults) for number in range(random.randint(1, ORDERS_MAX)))
    fails = tuple(
        (random.randint(2, 60), 0) if random.random() < 0.5 else (0, random.randint(2, 60))
        for _ in range(random.choice((0, 0, 0, 1)))
    )
    return Scenario(
        seed=seed,
        plans=plans,
        faults=faults,
        dooms=drawn(random),
        fails=fails,
        is_sqlite=random.random() < 0.06,
        gremlin_s=random.choice((0.0, 0.0, 3.0, 15.0)),
        snapshot_s=random.choice((1.0, 10.0, 100.0)),
        duplicates_milli=random.choice((0, 0, 400)),
    )


def target(seed: int, targets: list[tuple[str, str]]) -> Scenario:
    """A scenario in which each kind of effect occurs, and the kernel dies at these boundaries."""
    random = Random(f"matrix {seed}")
    steps: list[list[Any]] = [["tool", kind, f"0/{kind}/{number}"] for number in range(2) for kind in KINDS]
    steps += [["infer", "0/infer", 100]]
    random.shuffle(steps)
    plan = Plan("order 0", {"steps": steps, "tries": 1}, _contract(0), "closed", 0.0, is_applied=True)
    return Scenario(
        seed=seed,
        plans=(plan,),
        faults=Faults(),
        dooms=aimed(random, targets),
        fails=(),
        is_sqlite=False,
        gremlin_s=0.0,
        snapshot_s=0.5,
        duplicates_milli=0,
    )


def _plan(random: Random, number: int, faults: Faults) -> Plan:
    script: dict[str, Any] = {
        "steps": _steps(random, f"{number}/main", random.randint(1, 6)),
        "sides": [
            _steps(random, f"{number}/side{side}", random.randint(1, 3)) for side in range(random.choice((0, 0, 1, 2)))
        ],
        "tries": random.choice((1, 1, 2)),
    }
    if random.random() < 0.3:
        script["budget"] = [random.choice((3_000, 100_000)), 1_000_000, 100]
    if random.random() < 0.3:
        script["restart"] = "transient"
    if random.random() < 0.15:
        script["cheats"] = True
    is_cancelled = random.random() < 0.2
    is_tight = random.random() < 0.2
    is_bad = faults.broken or faults.hung
    return Plan(
        title=f"order {number}",
        script=script,
        contract=_contract(number, random.random() < 0.3, random.choice((1, 1, 4)), is_tight=is_tight),
        ending="cancelled" if is_cancelled else "any" if is_bad or is_tight else "closed",
        after_s=random.choice((0.0, 0.0, random.uniform(0, 20))),
        cancel_after_s=random.choice((0.01, random.uniform(0, 3), random.uniform(0, 60))) if is_cancelled else 0.0,
        is_applied=random.random() < 0.3,
    )


def _contract(number: int, is_approved: bool = False, weight: int = 1, *, is_tight: bool = False) -> Contract:
    checks: tuple[Check, ...] = (Command(name="tests", argv=("pytest",)),)
    if number % 2:
        checks += (Command(name="lint", argv=("ruff",), must_fail_on_base=False),)
    if is_approved:
        checks += (Approval(name="boss"),)
    return Contract(
        repository=REPOSITORY,
        base=BASE,
        branch="refs/heads/agentos/{order}",
        accept=checks,
        budget=Amounts(uusd=8_000, tokens=100_000, actions=25) if is_tight else Amounts(5_000_000, 10_000_000, 500),
        wall_ns_max=8 * 3600 * SECOND_NS,
        attempts_max=8,
        tools=TOOLS,
        conductor=f"{HERE}:conductor",
        weight=weight,
    )


def _steps(random: Random, prefix: str, wanted: int) -> list[list[Any]]:
    return [_step(random, f"{prefix}/{place}") for place in range(wanted)]


def _step(random: Random, op: str) -> list[Any]:
    """One step of a worker; the kinds of tools as often as all else together."""
    name = random.choices(
        ("tool", "infer", "lease", "echo", "deaf", "crew", "both", "news", "record", "sleep", "note", "ask", "greedy",
         "doomed", "fickle", "again", "checkpoint"),
        (40, 12, 10, 5, 2, 4, 5, 3, 3, 4, 2, 3, 1, 5, 2, 1, 6),
    )[0]  # fmt: skip
    match name:
        case "tool":
            return [name, random.choice(KINDS), op]
        case "infer":
            return [name, op, random.choice((50, 200))]
        case "lease":
            hold_ns = random.choice((0, 1, SECOND_NS // 2, 3 * SECOND_NS + 1, 40 * SECOND_NS))
            return [name, op, hold_ns, random.choice((2, 30)) * SECOND_NS]
        case "crew":
            return [name, op, random.choice(("one_for_one", "one_for_all", "rest_for_one"))]
        case "sleep":
            return [name, random.choice((0, SECOND_NS, 90 * SECOND_NS))]
        case "note":
            return [name, f"at {op}"]
        case "deaf" | "greedy" | "checkpoint":
            return [name]
    return [name, op]
