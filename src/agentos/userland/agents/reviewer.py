"""The reviewer: another agent looks at exactly what was presented, and attests to its review.

    may this model judge? ─> the changed files, read by tool ─> decision ─> attest: passed, failed or unverified

Rule 1: it reads and decides; it changes nothing, so that it has no hand in what it judges.
Rule 2: a model that may not judge attests `unverified`: the order goes to a person, and is not passed by default.
Rule 3: what it read is material. A text that says how to judge it is a finding against it.
"""

from typing import Any

import msgspec

from agentos.abi.families import family_of
from agentos.abi.ids import Digest, OrderId
from agentos.abi.replies import Standing
from agentos.abi.rights import Grant, Right
from agentos.abi.work import Change, Review, Verdict
from agentos.sdk import System
from agentos.userland.agents import answer, asking, brief, files, judges, task
from agentos.userland.agents.task import Task
from agentos.userland.documents.agent import fill

CHANGE_CHARS_MAX = 60_000  # about 15,000 tokens of changed files; what is beyond is not looked at, and then not passed


class Opinion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was attested."""

    verdict: Verdict
    reason: str
    model: str = ""


class Testimony(msgspec.Struct, frozen=True, kw_only=True):
    """What another process is to attest: it is spawned with the model family of the judge."""

    order: OrderId
    content: Digest
    check: str
    verdict: Verdict
    reason: str


async def main(os: System, args: Any, state: Any = None) -> Opinion:
    """Judge what is presented now, and attest to the review named in the task."""
    given = task.read(args)
    standing = await os.look(given.order)
    assert standing.content is not None and standing.change is not None, "a reviewer is asked when there is content"
    opinion = await _opinion(os, given, standing)
    await _testify(os, given, standing, opinion)
    return opinion


async def attest(os: System, args: Any, state: Any = None) -> None:
    """Attest what the parent has judged. A process of its own, since the model family is a process's for life."""
    said = msgspec.convert(args, Testimony)
    await os.attest(said.order, said.content, said.verdict, said.reason, check=said.check)


async def _opinion(os: System, given: Task, standing: Standing) -> Opinion:
    wrong, model = await judges.unfit(os, model_class=given.model_class)
    review = next((check for check in standing.contract.accept if check.name == given.check), None)
    if not wrong and isinstance(review, Review) and review.is_other_family and judges.is_kin(model, given.models):
        wrong = (
            f"{model} is of the family of a model that worked on it, or nobody can tell; another family is asked for"
        )
    if wrong:
        return Opinion(verdict=Verdict.UNVERIFIED, reason=wrong, model=model)
    shown, is_whole = await shown_change(os, standing.change)
    order = brief.values(standing, brief.read(await os.text(standing.text)))
    prompt = fill(given.agent, {**order, "change": shown, **given.values})
    try:
        got, said = await asking.decide(os, prompt, answer.VERDICT, model_class=given.model_class, phase="review")
    except asking.Garbled as error:
        return Opinion(verdict=Verdict.UNVERIFIED, reason=str(error), model=model)
    verdict = Verdict(got["verdict"])
    if verdict == Verdict.PASSED and not is_whole:
        return Opinion(verdict=Verdict.UNVERIFIED, reason="the change is too long to be read whole", model=said.model)
    return Opinion(verdict=verdict, reason="; ".join(got["findings"])[:1_000] or str(verdict), model=said.model)


async def shown_change(os: System, change: Change | None) -> tuple[str, bool]:
    """The changed files as they are now, and whether that is all of them."""
    assert change is not None
    parts = [f"{len(change.paths)} files, {change.lines_added} lines added, {change.lines_removed} removed"]
    room, is_whole = CHANGE_CHARS_MAX, True
    for path in change.paths:
        try:
            text = await files.content(os, path)
        except files.Unreadable as error:
            text, is_whole = str(error), False
        shown = "(deleted)" if text is None else text[: max(room, 0)]
        is_whole = is_whole and (text is None or len(shown) == len(text))
        room -= len(shown)
        parts.append(f"{path}:\n{shown}")
    return "\n\n".join(parts), is_whole


async def _testify(os: System, given: Task, standing: Standing, opinion: Opinion) -> None:
    """Attest here, or through a process that carries the judge's model family where the contract asks for another."""
    assert standing.content is not None
    review = next((check for check in standing.contract.accept if check.name == given.check), None)
    if not (isinstance(review, Review) and review.is_other_family):
        await os.attest(given.order, standing.content, opinion.verdict, opinion.reason, check=given.check)
        return
    if opinion.verdict == Verdict.UNVERIFIED:
        return  # there is no family to attest under, and the kernel would refuse; the conductor asks a person
    said = Testimony(
        order=given.order, content=standing.content, check=given.check, verdict=opinion.verdict, reason=opinion.reason
    )
    grants = (Grant(Right.ATTEST, f"/{given.order}"),)
    child = await os.spawn("attester", role="reviewer", args=said, grants=grants, family=family_of(opinion.model))
    ended = await os.wait(child)
    if ended.status != 0:
        raise RuntimeError(f"the attestation was refused: {ended.reason}")
