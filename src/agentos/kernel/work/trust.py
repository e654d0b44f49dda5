"""Trust: a fold over the journal, keyed by who worked, with what, and what the kernel found.

Here is its place and its evidence: counts per role, program and model class, from verdicts alone. The policy that
lowers ceilings by these counts is not in yet; `ceiling` is where it will act, and today it lowers nothing.

Rule 1: only the kernel's own findings count. What a worker says of itself is not read.
Rule 2: a fold: the same events give the same counts, and each count can name its events.
"""

from agentos.abi.events.work import OrderVerified
from agentos.abi.work import Verdict
from agentos.kernel.state import State, Tally


def key(state: State, event: OrderVerified) -> str:
    """Whom a verdict is about: "ROLE PROGRAM CLASS" of the process that presented."""
    order = state.orders[event.order]
    process = state.processes.get(order.presenter or order.by)
    program = process.spec.program if process else "external"
    return f"{process.spec.role if process else 'external'} {program} {' '.join(order.contract.model_classes)}"


def apply_verdict(state: State, event: OrderVerified) -> None:
    """Part of a verdict's apply: count it."""
    tally = state.trust.setdefault(key(state, event), Tally())
    match event.verdict:
        case Verdict.PASSED:
            tally.passed += 1
        case Verdict.FAILED:
            tally.failed += 1
        case Verdict.UNVERIFIED:
            tally.unverified += 1
