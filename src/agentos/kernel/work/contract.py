"""The execution contract: what an order may touch, use and cost. It compiles to capabilities.

Rule 1: an order's authority is its contract and nothing else; the conductor gets exactly these grants, and derives.
Rule 2: a contract that cannot be enforced is refused at the door, with the field that is wrong.
"""

from agentos.abi.budget import NOTHING
from agentos.abi.ids import OrderId
from agentos.abi.limits import value
from agentos.abi.refusals import Exhausted, Invalid, Refusal
from agentos.abi.rights import Grant, Right
from agentos.abi.work import Approval, Command, Contract, Review
from agentos.kernel.process import RESIDENT
from agentos.kernel.state import Account

ATTEMPTS_MOST = 1_000  # nobody has seen a hundredth attempt help; a person's retry grants more


def fault(contract: Contract, room: Account) -> Refusal | None:
    """What is wrong with a contract, or None."""
    names = [check.name for check in contract.accept]
    if not contract.accept:
        return Invalid(thing="field accept", fact="is empty: nothing could close the order", remedy="give it a check")
    if len(names) != len(dict.fromkeys(names)) or "gate" in names:
        return Invalid(
            thing="field accept", fact="has two checks of one name, or one named 'gate'", remedy="rename one"
        )
    if any(isinstance(check, Command) and not check.argv for check in contract.accept):
        return Invalid(thing="field accept", fact="has a command without words")
    if not contract.scope.allowed:
        return Invalid(thing="field scope", fact="allows no path at all", remedy='allow some, or all of it: "**"')
    if contract.conductor.startswith(RESIDENT) or not contract.conductor:
        return Invalid(thing="field conductor", fact="is the kernel's or a person's", remedy="name a program")
    if contract.repository and not contract.base:
        return Invalid(thing="field base", fact="is empty", remedy="name the commit the work starts from")
    for name, number, most in (
        ("attempts_max", contract.attempts_max, ATTEMPTS_MOST),
        ("wall_ns_max", contract.wall_ns_max, value("timer_span_ns_max")),
        ("weight", contract.weight, value("weight_max")),
    ):
        if not 1 <= number <= most:
            return Invalid(thing=f"field {name}", fact=f"must be within 1 and {most}")
    if not NOTHING.fits(contract.budget):
        return Invalid(thing="field budget", fact="is negative")
    if contract.budget == NOTHING and not contract.is_external:
        return Invalid(thing="field budget", fact="is nothing at all", remedy="give it at least one action")
    if not contract.budget.fits(room.limit):
        return Exhausted(
            thing="field budget",
            fact=f"is more than the workspace's whole budget of {room.limit.uusd} uusd",
            remedy="ask for less",
            limit="budget.workspace",
        )
    return None


def grants(order: OrderId, contract: Contract) -> tuple[Grant, ...]:
    """What the order's conductor may do, and hand down."""
    return (
        Grant(Right.CONDUCT, f"/{order}"),
        Grant(Right.PRESENT, f"/{order}"),
        Grant(Right.ATTEST, f"/{order}"),
        Grant(Right.SPAWN, "/**"),
        Grant(Right.PUBLISH, f"/{order}/**"),
        Grant(Right.SUBSCRIBE, f"/{order}/**"),
        Grant(Right.LEASE, f"/{order}/**"),
        *(Grant(Right.INFER, f"/{name}") for name in contract.model_classes),
        *(Grant(Right.TOOL, f"/{name}") for name in contract.tools),
    )


def judged_by_people(contract: Contract) -> list[str]:
    """Names of the checks that somebody else than a program answers."""
    return [check.name for check in contract.accept if isinstance(check, Review | Approval)]
