"""The narrow worker, for small models: one file, no tool calls, the whole file in one fenced block.

    failing output ─> the one file ─> prompt ─> fenced block ─> sound? ─> write ─> present ─> passed, or once more

Rule 1: two requests at most for the change: one, and one with what was wrong with it. More of the same model has not been
        seen to rescue anything; another class may.
Rule 2: an answer is checked before it is written: it parses, it is not empty, and every public name is still there.
Rule 3: whatever happens, a hand-off is left. It claims nothing that the kernel has not said.
"""

import ast
import re
from typing import Any

from agentos.abi.handoff import HandOff, handoff
from agentos.abi.replies import Judged, Standing
from agentos.abi.work import Verdict
from agentos.sdk import System
from agentos.sdk.errors import Exhausted, Refused
from agentos.userland.agents import asking, brief, files, handoffs, target, task
from agentos.userland.agents.task import Task
from agentos.userland.documents.agent import fill

ROUNDS = 2  # see rule 1
SHOWN_CHARS_MAX = 2_000  # of a failing test's file: shown only when short, for a small model drowns in it
FILE_CHARS_MAX = 24_000  # about 6,000 tokens; a longer file cannot be written back whole by a model of this kind
TOKENS_MIN, TOKENS_MAX = 700, 8_000  # of an answer: room for a first small file; the file above, and words around it


class Coder:
    """One attempt."""

    def __init__(self, os: System, given: Task, standing: Standing, text: brief.Brief) -> None:
        self._os, self._task, self._standing, self._brief = os, given, standing, text
        self._path, self._original = "", ""
        self._tests: dict[str, str] = {}
        self._tried: list[str] = []
        self._models: dict[str, None] = {}

    async def run(self) -> HandOff:
        said = await brief.output(self._os, self._standing)
        wrong = await self._aim(said)
        if wrong:
            return await self._leave(
                failed=wrong, next="name the file to change in the goal, or use an agent with tools"
            )
        return await self._rounds(brief.told(said, self._task.previous))

    async def _rounds(self, said: str) -> HandOff:
        now = self._original
        for _ in range(ROUNDS):
            new, wrong = await self._ask(now, said)
            if wrong:
                said = f"Your last answer could not be used: {wrong}"
                self._tried.append(f"an answer that could not be used: {wrong}")
                continue
            wrong = await files.write(self._os, self._path, new)
            if wrong:
                return await self._leave(failed=wrong)
            now = new
            judged = await self._present()
            if judged is None:
                return await self._leave(
                    changed=self._path, failed="it was presented too often; nothing more was judged"
                )
            if judged.verdict != Verdict.FAILED:
                failed = "" if judged.verdict == Verdict.PASSED else f"{judged.reason}: {judged.detail}"
                return await self._leave(changed=self._path, failed=failed)
            said = await self._after(judged)
            self._tried.append(f"a change that failed: {judged.reason}: {judged.detail}")
        return await self._leave(changed=self._path if now != self._original else "", failed=said)

    async def _aim(self, said: str) -> str:
        """Choose the file and read it; what stands in the way, or ""."""
        try:
            tree = await files.tree(self._os)
            await self._read_tests(tree.paths, said)
            self._path = await self._choose(tree.paths, said)
            if not self._path:
                return "nothing in the order or in the failing output says which file to change"
            self._original = await files.content(self._os, self._path) or ""
        except files.Unreadable as error:
            return str(error)
        if len(self._original) > FILE_CHARS_MAX:
            return f"{self._path} has {len(self._original)} characters, more than this worker can write back whole"
        return ""

    async def _read_tests(self, paths: tuple[str, ...], said: str) -> None:
        ids = [name for finding in brief.red(self._standing) for name in finding.failed]
        for path in target.test_files(ids, paths, said)[:2]:  # a third file says nothing that two do not
            try:
                self._tests[path] = await files.content(self._os, path) or ""
            except files.Unreadable:
                self._tests[path] = ""

    async def _choose(self, paths: tuple[str, ...], said: str) -> str:
        scope, goal = self._standing.contract.scope, self._brief.goal
        found = target.candidates(paths, scope, goal=goal, output=said, tests=self._tests)
        for name in target.names(goal) if not found else ():
            found = tuple(path for path in await files.search(self._os, name) if target.is_eligible(path, scope))
            if found:
                break
        if not found:
            eligible = tuple(path for path in paths if target.is_eligible(path, scope))
            found = eligible if len(eligible) <= target.CANDIDATES_MAX else ()
        if len(found) < 2:
            return found[0] if found else ""
        return await self._pick(found[: target.CANDIDATES_MAX], said)

    async def _pick(self, found: tuple[str, ...], said: str) -> str:
        """Ask which; the first where the answer is none."""
        schema = {"type": "object", "properties": {"path": {"enum": list(found)}}, "required": ["path"]}
        listed = "\n".join(f"- {path}" for path in found)
        prompt = f"Which one file must be changed?\n\nGoal:\n{self._brief.goal}\n\nThe checks say:\n{said}\n\nFiles:\n{listed}"
        try:
            got, answer = await asking.decide(
                self._os, prompt, schema, model_class=self._task.model_class, phase=self._task.phase
            )
        except asking.Garbled:
            return found[0]
        self._models[answer.model] = None
        return str(got["path"])

    async def _ask(self, now: str, said: str) -> tuple[str, str]:
        """The new content, or what is wrong with the answer."""
        prompt = fill(self._task.agent, self._values(now, said))
        room = min(max(TOKENS_MIN, len(now) // 2 + 400), TOKENS_MAX)  # code runs at 3 characters a token
        answer = await asking.words(
            self._os, prompt, model_class=self._task.model_class, phase=self._task.phase, tokens_max=room
        )
        self._models[answer.model] = None
        if answer.stop == "length":
            return "", f"it was cut off after {room} tokens"
        return taken(answer.text, self._path, self._original)

    def _values(self, now: str, said: str) -> dict[str, str]:
        shown = [f"{self._path} as it is now:\n```\n{now}```" if now else f"{self._path} does not exist yet."]
        shown += [
            f"{path}, which must pass and stays as it is:\n```\n{text}```"
            for path, text in self._tests.items()
            if text and len(text) <= SHOWN_CHARS_MAX
        ]
        order = brief.values(self._standing, self._brief)
        return {**order, "path": self._path, "files": "\n\n".join(shown), "findings": said, **self._task.values}

    async def _present(self) -> Judged | None:
        """The kernel's verdict; None when nothing may be presented any more."""
        claim = handoff(attempted=self._attempted(), changed=self._path)
        try:
            return await self._os.present(self._task.order, claim)
        except Exhausted:
            return None

    async def _after(self, judged: Judged) -> str:
        """What the checks say of what was presented."""
        standing = await self._os.look(self._task.order)
        said = await brief.output(self._os, standing) if standing.findings else ""
        return said or f"{judged.reason}: {judged.detail}"

    def _attempted(self) -> str:
        return f"rewrote {self._path} with a model of class {self._task.model_class}" if self._path else ""

    async def _leave(self, *, changed: str = "", failed: str = "", next: str = "") -> HandOff:
        tried = "; ".join([self._attempted(), *self._tried]).strip("; ")
        left = handoff(attempted=tried, changed=changed, failed=failed, next=next)
        return await handoffs.leave(
            self._os, left, role="worker", attempt=self._task.attempt, models=tuple(self._models)
        )

    async def died(self, error: Refused) -> None:
        """Leave what is known when a call ends the attempt."""
        await self._leave(failed=str(error), next="go on with another model")


async def main(os: System, args: Any, state: Any = None) -> HandOff:
    """Change one file until the checks pass, or say why not. Ends with status 1 when the model is not to be had."""
    given = task.read(args)
    standing = await os.look(given.order)
    coder = Coder(os, given, standing, brief.read(await os.text(standing.text)))
    try:
        return await coder.run()
    except Refused as error:
        await coder.died(error)
        raise


def taken(text: str, path: str, original: str) -> tuple[str, str]:
    """The new content out of an answer, or what is wrong with it. Of several blocks the first sound one is taken."""
    blocks = asking.fenced(text)
    if not blocks:
        return "", "there is no fenced code block in it"
    wrong = [fault(block, path, original) for block in blocks]
    for block, said in zip(blocks, wrong, strict=True):
        if not said:
            return block if block.endswith("\n") else f"{block}\n", ""
    return "", wrong[0]


def fault(new: str, path: str, original: str) -> str:
    """What is wrong with a file's new content, or ""."""
    if not new.strip():
        return "the block is empty"
    if new.strip() == original.strip():
        return "the file is the same as before"
    if (
        re.search(r"^\s*(#|//)?\s*\.\.\. ?(\(?(rest|existing|unchanged|same)\b.*)?$", new, re.MULTILINE)
        and "..." not in original
    ):
        return "parts of the file are left out; write all of it"
    if not path.endswith(".py"):
        return ""
    try:
        names = public_names(new)
    except (SyntaxError, ValueError, RecursionError) as error:
        return f"it does not parse: {error}"
    lost = [name for name in _names_of(original) if name not in names]
    return f"these names are gone, and must stay: {', '.join(lost)}" if lost else ""


def public_names(text: str) -> tuple[str, ...]:
    """The public names a Python file defines at its top level, in order. SyntaxError where it does not parse."""
    found: list[str] = []
    for node in ast.parse(text).body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.append(node.name)
            case ast.Assign():
                found += [one.id for one in node.targets if isinstance(one, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.append(name)
    return tuple(name for name in dict.fromkeys(found) if not name.startswith("_"))


def _names_of(text: str) -> tuple[str, ...]:
    """Those of a file as it was; none where it did not parse, for then it had none."""
    try:
        return public_names(text)
    except (SyntaxError, ValueError, RecursionError):
        return ()
