"""Work orders: submitting, conducting, presenting, judging. Every transition is guarded here and nowhere else."""

from agentos.abi.budget import Amounts
from agentos.abi.calls.base import Call
from agentos.abi.ids import Digest, OrderId
from agentos.abi.work import Contract, Verdict


class Submit(Call, frozen=True, tag="submit"):
    """Hand in a work order. The kernel first proves that its checks are red on the base, where they must be.

    Refusals: Forbidden (no author right), Invalid (no checks, duplicate check names, empty scope, no base, a budget that
    is nothing or negative, a resident program as conductor, numbers out of bounds), Exhausted (orders; a budget above
    the workspace's).
    """

    title: str
    text: Digest  # goal, success criteria and constraints, as the author wrote them
    contract: Contract


class Look(Call, frozen=True, tag="look"):
    """How an order stands. The answer is recorded like any, so a re-run program sees what it saw.

    Refusals: NotFound, Closed (it is over; the refusal says how it ended).
    """

    order: OrderId


class Begin(Call, frozen=True, tag="begin"):
    """Start an attempt: a working copy of the base is made; replies when it is there.

    Whoever worked on the attempt before may not write to the new copy. The caller may.

    Refusals: Forbidden (no conduct right), NotYet (not ready), Exhausted (attempts), Closed, NotFound.
    """

    order: OrderId


class Present(Call, frozen=True, tag="present"):
    """Present the working copy as it is now. The kernel seals it, re-runs every check, and answers with the verdict.

    Refusals: Forbidden (not this order's worker), NotYet, Stale (a worker of an earlier attempt), Exhausted
    (presentations), Closed.
    """

    order: OrderId
    claim: Digest | None = None  # the worker's hand-off; recorded, believed by nobody


class Attest(Call, frozen=True, tag="attest"):
    """Judge one exact content. Refused to whoever had a hand in making it. A person's approval is not given this way.

    Refusals: Forbidden (no attest right; the author; a descendant or ancestor of the author; same model family where
    another is asked for), Stale (another content is presented by now), NotYet (not verified), NotFound (no such order; no
    review of that name is asked for), Closed.
    """

    order: OrderId
    content: Digest  # the tree judged
    check: str = "gate"  # "gate", or the name of the review it answers
    verdict: Verdict = Verdict.UNVERIFIED
    reason: str = ""


class Decide(Call, frozen=True, tag="decide"):
    """A person's word: accept or reject an approval or an escalation, answer a question, resolve an unknown outcome.

    Refusals: Forbidden (no approve right; another person's approval is asked for; the author), NotFound, Closed (already
    decided, or withdrawn), Invalid (not one of the choices).
    """

    question: int
    choice: str
    text: str = ""


class Escalate(Call, frozen=True, tag="escalate"):
    """Hand an order to a person, with a reason. The order waits; it costs nothing.

    Refusals: Forbidden, Closed, NotFound, NotYet (it is being verified).
    """

    order: OrderId
    reason: str
    detail: str = ""


class Cancel(Call, frozen=True, tag="cancel"):
    """End an order without a result. Its processes are killed, its account is closed.

    Refusals: Forbidden, Closed, NotFound.
    """

    order: OrderId
    reason: str = ""


class Apply(Call, frozen=True, tag="apply"):
    """Bring a closed order's change into the author's checkout: all of it or nothing. Its receipt can undo it.

    Refusals: Forbidden, NotFound, NotYet (the order is not closed), Busy (applied already), Broken (the checkout has
    edits of its own in the way).
    """

    order: OrderId


class Undo(Call, frozen=True, tag="undo"):
    """Take an applied change out of the checkout again, exactly.

    Refusals: Forbidden, NotFound, NotYet (it is not applied), Broken (the files were edited since).
    """

    order: OrderId


class Raise(Call, frozen=True, tag="raise"):
    """Give an order more budget, from its author.

    Refusals: Forbidden, Closed, NotFound, Invalid (negative), Exhausted (the workspace has no more).
    """

    order: OrderId
    by: Amounts
