"""A model that says what its script says: for demonstrations without a key, for tests and for the simulator.

Rule 1: an answer is a function of the request alone, so that a run killed and started again goes on the same way.
        Only a line with `times` remembers how often it was used, in this process.
Rule 2: tokens are counted by a published rule (`count_text`, `count_request`), and by nothing else unless a line
        says so. The rule is ours and no tokenizer's: good for budgets in tests, worthless as an estimate.
Rule 3: a request that no line matches is Refused. A script never makes an answer up.

A script is YAML:

    name: demo
    model: scripted-1
    lines:
      - when: {contains: "fix add", turn: 0}
        calls: [{name: read_file, arguments: {path: calc.py}}]
      - when: {last: "def add"}
        say: "..."
      - when: {contains: review}
        json: {verdict: accept}
      - when: {}                      # matches everything; the first line that matches is taken
        fault: throttle
        times: 2
        retry_after_ms: 20
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from agentos.abi.inference import Abilities, Answer, Content, Delta, Request, Text, Tool, ToolCall, ToolResult, Usage
from agentos.drivers.wire.abilities import check_abilities
from agentos.ports.inference import Garbled, Refused, Throttled, Unreachable

FAULTS = (
    "throttle",  # Throttled, with retry_after_ms
    "refuse",  # Refused
    "unreachable",  # Unreachable before the first word
    "cut",  # Unreachable after `after_chars` of the words
    "garbage",  # Garbled
    "empty",  # an answer without a choice: Garbled
    "hang",  # says nothing until the caller gives up
    "no_usage",  # answers, and sends no usage
    "zero_usage",  # answers, and says that it cost nothing, which nobody should believe
)
_BYTES_PER_TOKEN = 4  # near what common tokenizers give for English, and easy to do in one's head
_MESSAGE_TOKENS = 4  # role and separators
_TOOL_TOKENS = 8  # what surrounds a tool's schema
_MILLI_NS = 1_000_000
_SCRIPT_BYTES_MAX = 4 << 20  # a script is read by people

Sleep = Callable[[int], Awaitable[None]]


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which requests a line is for. All that is given must hold; nothing given matches everything."""

    contains: str | tuple[str, ...] = ()  # in the words of any message, each of them
    last: str = ""  # in the last message
    system: str = ""  # in the system messages
    regex: str = ""  # found in the words of all messages
    turn: int | None = None  # how many times the model has spoken before
    model: str = ""  # the model asked for
    offers: str = ""  # a tool of this name is offered
    has_schema: bool | None = None  # JSON mode is asked for, or is not


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A tool that the line asks for."""

    name: str
    arguments: dict[str, Any] | str = {}  # a string is sent as it stands, malformed or not


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One answer, and what goes wrong with it."""

    when: When = When()
    say: str = ""
    calls: tuple[Call, ...] = ()
    json: dict[str, Any] | list[Any] | None = None  # said as JSON
    stop: str = ""  # instead of what follows from the content
    usage: Usage | None = None  # instead of what the rule counts
    fault: str = ""  # one of FAULTS
    times: int = 0  # used so often and then passed over; 0 is for ever
    after_chars: int = 0  # where `cut` cuts
    delay_ms: int = 0  # before the first word
    retry_after_ms: int = 0


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that a scripted model knows."""

    lines: tuple[Line, ...]
    name: str = "scripted"
    model: str = "scripted-1"
    family: str = "scripted"
    has_tools: bool = True
    context_tokens_max: int = 128_000  # like the models it stands in for


def load(path: Path) -> Script:
    """The script in a YAML file; ValueError says what is wrong with it and where."""
    raw = path.read_bytes()
    if len(raw) > _SCRIPT_BYTES_MAX:
        raise ValueError(f"script {path} is {len(raw)} bytes, over {_SCRIPT_BYTES_MAX}; split it")
    try:
        return parse(yaml.safe_load(raw))
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"script {path}: {error}") from None


def parse(raw: object) -> Script:
    """The script in plain values; ValueError says what is wrong with it."""
    try:
        script = msgspec.convert(raw, Script)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    for n, line in enumerate(script.lines):
        if line.fault and line.fault not in FAULTS:
            raise ValueError(f"line {n}: fault {line.fault!r} is not one of {', '.join(FAULTS)}")
        re.compile(line.when.regex)
    return script


def count_text(text: str) -> int:
    """A token for every four bytes of UTF-8, rounded up."""
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)


def count_content(content: tuple[Content, ...]) -> int:
    total = 0
    for block in content:
        match block:
            case Text(text):
                total += count_text(text)
            case ToolCall(_, name, arguments):
                total += count_text(name) + count_text(arguments)
            case ToolResult(_, result, _):
                total += count_text(result)
    return total


def count_tool(tool: Tool) -> int:
    return _TOOL_TOKENS + count_text(tool.name + tool.description) + count_text(_json(tool.schema))


def count_request(request: Request) -> int:
    """Input tokens: four for each message and its content, eight for each tool and its schema, the answer's schema."""
    messages = sum(_MESSAGE_TOKENS + count_content(message.content) for message in request.messages)
    schema = count_text(_json(request.schema)) if request.schema is not None else 0
    return messages + sum(map(count_tool, request.tools)) + schema


def matches(when: When, request: Request) -> bool:
    """True if all that `when` asks holds for the request."""
    words = [_words(message.content) for message in request.messages]
    wanted = (when.contains,) if isinstance(when.contains, str) else when.contains
    everything = "\n".join(words)
    system = "\n".join(_words(message.content) for message in request.messages if message.role == "system")
    return (
        all(part in everything for part in wanted)
        and when.last in (words[-1] if words else "")
        and when.system in system
        and (not when.regex or re.search(when.regex, everything) is not None)
        and when.turn in (None, turn_of(request))
        and when.model in ("", request.model)
        and (not when.offers or any(tool.name == when.offers for tool in request.tools))
        and when.has_schema in (None, request.schema is not None)
    )


def turn_of(request: Request) -> int:
    """How many times the model has spoken in this conversation."""
    return sum(message.role == "assistant" for message in request.messages)


def answer_of(line: Line, request: Request, script: Script) -> Answer:
    """What the line answers to the request, if nothing goes wrong."""
    words = line.say if line.json is None else _json(line.json)
    for mark in request.stop:
        words = words.partition(mark)[0]
    allowed = request.output_tokens_max * _BYTES_PER_TOKEN
    is_cut = len(words.encode()) > allowed
    words = words.encode()[:allowed].decode(errors="ignore")
    turn = turn_of(request)
    content: tuple[Content, ...] = (Text(words),) if words else ()
    if not is_cut:
        content += tuple(
            # The id is unique in its conversation and the same each time.
            ToolCall(f"call_{turn}_{n}", c.name, c.arguments if isinstance(c.arguments, str) else _json(c.arguments))
            for n, c in enumerate(line.calls)
        )
    stop = "length" if is_cut else ("tool" if line.calls else "end")
    counted = Usage(input_tokens=count_request(request), output_tokens=max(1, count_content(content)))
    is_metered = line.fault not in ("no_usage", "zero_usage")
    return Answer(
        content=content,
        stop=line.stop or stop,
        usage=(line.usage or counted) if is_metered else Usage(),
        model=request.model or script.model,
        provider="scripted",
        upstream_id=f"scripted-{turn}",
        is_metered=is_metered,
    )


class Cue:
    """Picks the line for each request, and counts the lines that are used up."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._used: Counter[int] = Counter()

    def pick(self, request: Request) -> Line:
        """The first line that matches and is not used up; Refused if there is none."""
        for n, line in enumerate(self.script.lines):
            if matches(line.when, request) and not (line.times and self._used[n] >= line.times):
                self._used[n] += 1
                return line
        asked = _words(request.messages[-1].content) if request.messages else ""
        raise Refused(
            f"script {self.script.name!r} has no line for turn {turn_of(request)} ending {asked[-120:]!r}; add one"
        )


class Scripted:
    """The script as a backend. `script` may be a function of the request instead, for the simulator."""

    def __init__(
        self, script: Script | Callable[[Request], Line], *, name: str = "", sleep: Sleep | None = None
    ) -> None:
        self._script = script if isinstance(script, Script) else Script(lines=())
        self._pick = Cue(script).pick if isinstance(script, Script) else script
        self._sleep = sleep or _sleep
        self.name = name or self._script.name

    def abilities(self) -> Abilities:
        return Abilities(
            has_tools=self._script.has_tools,
            has_streaming=True,
            has_json_mode=True,
            context_tokens_max=self._script.context_tokens_max,
            zone="local",
            family=self._script.family,
        )

    async def generate(self, request: Request, *, key: str) -> Answer:
        line = await self._begin(request)
        if line.fault == "cut":
            raise Unreachable("the script cut the answer")
        return answer_of(line, request, self._script)

    async def stream(self, request: Request, *, key: str) -> AsyncIterator[Delta | Answer]:
        line = await self._begin(request)
        answer = answer_of(line, request, self._script)
        if line.fault == "cut":
            yield Delta(answer.text[: line.after_chars])
            raise Unreachable("the script cut the answer")
        for piece in re.findall(r"\s*\S+|\s+$", answer.text):
            yield Delta(piece)
        yield answer

    async def close(self) -> None:
        """Nothing is held."""

    async def _begin(self, request: Request) -> Line:
        """The line to answer with, when its delay is over; raises the fault that comes before the first word."""
        check_abilities(request, self.abilities(), self.name)
        line = self._pick(request)
        if line.delay_ms:
            await self._sleep(line.delay_ms * _MILLI_NS)
        match line.fault:
            case "throttle":
                error = Throttled(f"{self.name} was told to say: too many requests")
                error.retry_after_ns = line.retry_after_ms * _MILLI_NS or None
                raise error
            case "refuse":
                raise Refused(line.say or f"{self.name} was told to refuse this request")
            case "unreachable":
                raise Unreachable(f"{self.name} was told not to be there")
            case "garbage" | "empty":
                raise Garbled(f"{self.name} was told to send what is no answer")
            case "hang":
                await asyncio.Event().wait()  # the caller's cancellation is the only way out, as with a hung server
        return line


async def _sleep(span_ns: int) -> None:
    await asyncio.sleep(span_ns / 1_000_000_000)


def _words(content: tuple[Content, ...]) -> str:
    parts = []
    for block in content:
        match block:
            case Text(text):
                parts.append(text)
            case ToolResult(_, result, _):
                parts.append(result)
            case ToolCall(_, name, arguments):
                parts.append(f"{name} {arguments}")
    return "\n".join(parts)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
