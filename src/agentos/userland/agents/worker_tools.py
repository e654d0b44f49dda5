"""The worker in rounds, for models that call tools: it reads, edits, runs and presents until the checks pass.

    prompt ─> model ─> tool calls ─> results ─> model ─> ... ─> present ─> verdict ─> passed, or another round with it

Rule 1: turns, presentations and turns without a change are bounded; whoever goes on without changing anything is done.
Rule 2: what a tool refuses, and what a model writes wrongly, goes back to the model as an error it can read.
Rule 3: a model that stops calling has said its last word; it is presented, whatever it claims.
"""

from typing import Any

import msgspec

from agentos.abi.handoff import HandOff, handoff
from agentos.abi.ids import Pid
from agentos.abi.inference import Answer, Message, Request, Text, Tool, ToolCall, ToolResult
from agentos.abi.replies import Judged, Standing
from agentos.abi.rights import Right
from agentos.abi.work import Verdict
from agentos.sdk import System
from agentos.sdk.errors import Closed, Exhausted, Refused
from agentos.userland.agents import asking, brief, handoffs, programs, task, toolbox
from agentos.userland.agents.task import Holdings, Task
from agentos.userland.documents.agent import builtin, fill
from agentos.userland.documents.fault import Malformed

TURNS_MAX = 40  # requests to a model in one attempt, where its agent says nothing
IDLE_TURNS_MAX = 12  # turns without a change: reading a module takes a handful, more is a loop with variations
PRESENTED_MAX = 3  # of one attempt; the order has eight, and others come after
TOKENS_MAX = 8_000  # of one answer: a file of 24,000 characters in one call
HISTORY_CHARS_MAX = 200_000  # about 50,000 tokens; above it the oldest results are left out
LABELS = ("ATTEMPTED", "CHANGED", "REMAINS", "FAILED", "NEXT")


class Loop:
    """One attempt."""

    def __init__(self, os: System, given: Task, standing: Standing, holds: Holdings) -> None:
        self._os, self._task, self._standing, self._holds = os, given, standing, holds
        self._tools = {tool.name: tool for tool in toolbox.offered(holds, given.agent.tools, given.order)}
        self._messages: list[Message] = []
        self._changed: list[str] = []
        self._models: dict[str, None] = {}
        self._presented = self._idle = self._turns = 0
        self._judged: Judged | None = None
        self._last = ""

    async def run(self, prompt: str) -> HandOff:
        self._messages = [asking.user(prompt)]
        most = self._task.agent.limits.turns_max or TURNS_MAX
        while self._turns < most and not self._is_over():
            self._turns += 1
            answer = await self._ask()
            self._messages.append(Message("assistant", answer.content))
            calls = [block for block in answer.content if isinstance(block, ToolCall)]
            if calls:
                await self._use(calls)
            elif not await self._conclude(answer.text):
                break
        return await self._leave(self._why(most))

    def _is_over(self) -> bool:
        is_settled = self._judged is not None and self._judged.verdict != Verdict.FAILED
        return is_settled or self._idle >= IDLE_TURNS_MAX

    def _why(self, most: int) -> str:
        """Why it ended, where that is not the model's own word."""
        if self._judged is not None and self._judged.verdict == Verdict.PASSED:
            return ""
        if self._idle >= IDLE_TURNS_MAX:
            return f"it went on for {self._idle} turns without changing a file"
        if self._turns >= most:
            return f"it used all of its {most} turns"
        return ""

    async def _ask(self) -> Answer:
        request = Request(
            model="", messages=tuple(self._messages), output_tokens_max=TOKENS_MAX, tools=tuple(self._tools.values())
        )
        answer = await self._os.infer(request, model_class=self._task.model_class, phase=self._task.phase)
        self._models[answer.model] = None
        return answer

    async def _use(self, calls: list[ToolCall]) -> None:
        """Answer each call, one after the other, in the order the model wrote them."""
        changed = len(self._changed)
        results = []
        for call in calls:
            content, is_error = await self._one(call)
            results.append(ToolResult(call.id, toolbox.cut(content), is_error))
        self._messages.append(Message("tool", tuple(results)))
        self._idle = 0 if len(self._changed) > changed else self._idle + 1
        self._messages = trimmed(self._messages)

    async def _one(self, call: ToolCall) -> tuple[str, bool]:
        tool = self._tools.get(call.name)
        if tool is None:
            return f"there is no tool {call.name!r}; there are: {', '.join(self._tools)}", True
        given, wrong = toolbox.arguments(call.arguments, tool)
        if wrong:
            return wrong, True
        try:
            return await (self._call(tool, given) if call.name in toolbox.CALLS else self._invoke(tool, given))
        except Closed:
            raise
        except Refused as error:
            return f"refused: {error}", True

    async def _invoke(self, tool: Tool, given: dict[str, Any]) -> tuple[str, bool]:
        content, is_error = await self._os.invoke(tool.name, **given)
        if tool.name in toolbox.CHANGING and not is_error:
            self._changed.append(str(given["path"]))
        return content, is_error

    async def _call(self, tool: Tool, given: dict[str, Any]) -> tuple[str, bool]:
        """A system call that the model may make."""
        match tool.name:
            case "note":
                await self._os.note(given["text"], self._task.phase)
                return "noted", False
            case "ask":
                chosen = await self._os.ask(given["question"], tuple(map(str, given.get("choices", ()))))
                return f"{chosen.choice} {chosen.text}".strip(), False
            case "send":
                await self._os.send(Pid(given["to"]), given["kind"], given["body"])
                return "sent", False
            case "spawn_agent":
                return await self._spawn(given["agent"], given["task"])
        return await self._present()

    async def _spawn(self, name: str, asked: str) -> tuple[str, bool]:
        try:
            agent = builtin(name)
        except Malformed as error:
            return str(error), True
        values = {**dict.fromkeys(agent.placeholders, ""), "goal": asked, "task": asked}
        given = Task(
            agent=agent,
            order=self._task.order,
            attempt=self._task.attempt,
            model_class=self._task.model_class,
            values=values,
        )
        program, args = programs.resolve(agent, given)
        wanted = agent.tools or programs.TOOLS.get(program, ())
        grants = self._holds.grants(Right.INFER, (self._task.model_class,)) + self._holds.grants(Right.TOOL, wanted)
        ended = await self._os.wait(await self._os.spawn(program, role="worker", name=name, args=args, grants=grants))
        if ended.status != 0:
            return f"agent {name} failed: {ended.reason}", True
        return await self._os.text(ended.result) or "it said nothing", False

    async def _present(self) -> tuple[str, bool]:
        if self._presented >= PRESENTED_MAX:
            return f"it was presented {self._presented} times in this attempt; stop, and hand off", True
        self._presented += 1
        claim = handoff(attempted=self._attempted(), changed=self._paths())
        self._judged = await self._os.present(self._task.order, claim)
        return await self._told(self._judged), False

    async def _told(self, judged: Judged) -> str:
        standing = await self._os.look(self._task.order)
        said = await brief.output(self._os, standing) if judged.verdict == Verdict.FAILED else ""
        return f"VERDICT: {judged.verdict} ({judged.reason})\n{said or judged.detail}"

    async def _conclude(self, text: str) -> bool:
        """The model has stopped: present what there is. Whether it is to go on with the verdict."""
        self._last = text
        if not self._holds.may(Right.PRESENT, f"/{self._task.order}"):
            return False
        if self._presented >= PRESENTED_MAX:
            return False
        try:
            said, _ = await self._present()
        except Exhausted as error:
            self._last = f"{text}\nFAILED: {error}"
            return False
        self._idle += 1
        self._messages.append(asking.user(f"{said}\n\nIt is not done. Change what is wrong, or hand off."))
        return True

    def _attempted(self) -> str:
        return f"worked {self._turns} turns with a model of class {self._task.model_class}"

    def _paths(self) -> str:
        return ", ".join(dict.fromkeys(self._changed))

    async def _leave(self, why: str) -> HandOff:
        said = labelled(self._last)
        judged = self._judged
        failed = f"{judged.reason}: {judged.detail}" if judged is not None and judged.verdict != Verdict.PASSED else ""
        left = handoff(
            attempted="; ".join(part for part in (self._attempted(), said.get("ATTEMPTED", "")) if part),
            changed=self._paths(),
            remains=said.get("REMAINS", ""),
            failed="; ".join(part for part in (why, failed, said.get("FAILED", "")) if part),
            next=said.get("NEXT", ""),
        )
        if not self._holds.may(Right.PRESENT, f"/{self._task.order}"):
            return left  # a sub-agent's word goes to its parent, who hands off for both
        return await handoffs.leave(
            self._os, left, role="worker", attempt=self._task.attempt, models=tuple(self._models)
        )

    async def died(self, error: Refused) -> None:
        """Leave what is known when a call ends the attempt."""
        await self._leave(str(error))


async def main(os: System, args: Any, state: Any = None) -> HandOff:
    """Work in rounds until the verdict is passed, or a bound is reached. Status 1 when the model is not to be had."""
    given = task.read(args)
    holds = Holdings(await os.whoami())
    standing = await os.look(given.order)
    loop = Loop(os, given, standing, holds)
    said = brief.told(await brief.output(os, standing), given.previous)
    order = brief.values(standing, brief.read(await os.text(standing.text)))
    tools = "\n".join(f"- {name}" for name in loop._tools)
    try:
        return await loop.run(fill(given.agent, {**order, "findings": said, "tools": tools, **given.values}))
    except Refused as error:
        await loop.died(error)
        raise


def labelled(text: str) -> dict[str, str]:
    """The lines of a hand-off that a model wrote: `LABEL: words`."""
    found: dict[str, str] = {}
    for line in text.split("\n"):
        label, colon, words = line.strip().strip("*#- ").partition(":")
        if colon and label.strip("* ").upper() in LABELS and words.strip("* "):
            found[label.strip("* ").upper()] = words.strip("* ")
    return found


def trimmed(messages: list[Message]) -> list[Message]:
    """The conversation within its bound: the results of the oldest turns are left out first, the prompt never."""
    over = sum(map(_length, messages)) - HISTORY_CHARS_MAX
    kept: list[Message] = []
    for position, message in enumerate(messages):
        if over > 0 and message.role == "tool" and position < len(messages) - 1:
            short = tuple(_left_out(block) for block in message.content)
            over -= _length(message) - sum(len(block.content) for block in short if isinstance(block, ToolResult))
            message = Message("tool", short)
        kept.append(message)
    return kept


def _left_out(block: Any) -> Any:
    is_long = isinstance(block, ToolResult) and len(block.content) > 100
    return (
        msgspec.structs.replace(block, content="[left out to save room; ask again if it matters]") if is_long else block
    )


def _length(message: Message) -> int:
    total = 0
    for block in message.content:
        match block:
            case Text(text=text):
                total += len(text)
            case ToolCall(arguments=arguments):
                total += len(arguments)
            case ToolResult(content=content):
                total += len(content)
    return total
