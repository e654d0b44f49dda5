"""The Messages wire: our requests into its JSON, its JSON and its event stream into our answers. No I/O.

Rule 1: a stream is put together into the message that the server would have sent whole, and decoded by the same code.
Rule 2: an object that is no message is Garbled; a stream without `message_stop` is Unreachable.
Rule 3: thinking is counted and left out: our records have no place for it, and a provider that needs it back when
        tools follow would refuse the next turn, so it is never asked for.
"""

from typing import Any, NamedTuple

import msgspec

from agentos.abi.inference import Answer, Content, Message, Request, Text, ToolCall, ToolResult
from agentos.drivers.wire import usage
from agentos.ports.inference import Garbled, Refused, Unreachable

VERSION = "2023-06-01"  # the only published version of the wire
ANSWER_TOOL = "answer_as_json"  # the forced tool whose input is the answer, where JSON mode is `tool`

STOPS = {
    "end_turn": "end",
    "stop_sequence": "end",
    "pause_turn": "end",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool",
    "refusal": "refusal",
}

Json = dict[str, Any]


class Accent(NamedTuple):
    """What the model behind the wire accepts."""

    takes_temperature: bool = True  # models from Opus 4.7 on answer 400 to it
    json_by: str = "tool"  # tool: a forced tool call, any model; format: output_config.format, models from 4.5 on
    caches_prefix: bool = False  # marks system, tools and the last turn for the provider's prompt cache


class _Block(msgspec.Struct):
    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: Any = None


class _Message(msgspec.Struct):
    content: list[_Block]
    stop_reason: str
    id: str = ""
    model: str = ""
    usage: Any = None


def body_of(request: Request, *, model: str, accent: Accent, is_streamed: bool) -> Json:
    """The JSON body that asks for `request`; Refused if this wire cannot say it."""
    system = "\n\n".join(_words(message) for message in request.messages if message.role == "system")
    body: Json = {"model": model, "max_tokens": request.output_tokens_max, "messages": _turns(request.messages)}
    if system:
        body["system"] = [{"type": "text", "text": system}]
    if accent.takes_temperature:
        body["temperature"] = request.temperature_milli / 1000
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    if request.tools:
        body["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.schema} for tool in request.tools
        ]
    if request.schema is not None:
        _ask_for_json(body, request, accent)
    if accent.caches_prefix:
        _mark_prefix(body)
    if is_streamed:
        body["stream"] = True
    return body


def _ask_for_json(body: Json, request: Request, accent: Accent) -> None:
    assert request.schema is not None
    if accent.json_by == "format":
        body["output_config"] = {"format": {"type": "json_schema", "schema": closed(request.schema)}}
        return
    if request.tools:
        raise Refused(
            "a schema and tools were asked for at once; this model's JSON mode is a tool itself, so ask apart"
        )
    body["tools"] = [{"name": ANSWER_TOOL, "description": "Gives the answer.", "input_schema": request.schema}]
    body["tool_choice"] = {"type": "tool", "name": ANSWER_TOOL}


def closed(schema: Any) -> Any:
    """The schema with every object closed, as `output_config.format` demands. Whatever fits it fits the original."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {name: closed(part) for name, part in schema.items()}
    if schema.get("type") == "object":
        parts["additionalProperties"] = False
    return parts


def _mark_prefix(body: Json) -> None:
    """Sets breakpoints of the prompt cache: after tools and system, which stay, and after the last turn, which grows."""
    mark = {"type": "ephemeral"}
    for section in ("tools", "system"):
        if body.get(section):
            body[section][-1] = {**body[section][-1], "cache_control": mark}
    if body["messages"]:
        blocks = body["messages"][-1]["content"]
        blocks[-1] = {**blocks[-1], "cache_control": mark}


def _words(message: Message) -> str:
    return "".join(block.text for block in message.content if isinstance(block, Text))


def _turns(messages: tuple[Message, ...]) -> list[Json]:
    """Our messages as theirs: two roles, neighbours of one role joined, tool results first in the user's turn."""
    turns: list[Json] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [block for content in message.content if (block := _block_of(content))]
        if not blocks:
            continue  # the wire refuses empty turns and empty texts
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        else:
            turns.append({"role": role, "content": blocks})
    for turn in turns:
        turn["content"].sort(key=lambda block: block["type"] != "tool_result")  # stable: the rest keeps its order
    return turns


def _block_of(content: Content) -> Json | None:
    match content:
        case Text(text):
            return {"type": "text", "text": text} if text else None
        case ToolCall(id, name, arguments):
            return {"type": "tool_use", "id": id, "name": name, "input": _input_of(arguments)}
        case ToolResult(id, result, is_error):
            block: Json = {"type": "tool_result", "tool_use_id": id, "content": result}
            return {**block, "is_error": True} if is_error else block


def _input_of(arguments: str) -> Json:
    """The arguments as the object the wire wants. What the model wrote wrongly goes back to it as it wrote it."""
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {"malformed_arguments": arguments}
    return value if isinstance(value, dict) else {"malformed_arguments": arguments}


def answer_of(raw: Json, *, model: str, provider: str) -> Answer:
    """The answer in a whole message; Garbled if it is not one."""
    try:
        message = msgspec.convert(raw, _Message)
    except msgspec.ValidationError as error:
        raise Garbled(f"the message has the wrong shape: {error}") from None
    stop = STOPS.get(message.stop_reason)
    if stop is None:
        raise Garbled(f"the message ended for a reason nobody knows: {message.stop_reason!r:.80}")
    content = tuple(block for raw_block in message.content if (block := _content_of(raw_block)))
    is_json_answer = any(block.type == "tool_use" and block.name == ANSWER_TOOL for block in message.content)
    counted, is_metered = usage.from_anthropic(message.usage, has_words=bool(content))
    return Answer(
        content=content,
        stop="end" if is_json_answer and stop == "tool" else stop,
        usage=counted,
        model=message.model or model,
        provider=provider,
        upstream_id=message.id,
        is_metered=is_metered,
    )


def _content_of(block: _Block) -> Content | None:
    if block.type == "text":
        return Text(block.text) if block.text else None
    if block.type != "tool_use":
        return None  # thinking, and blocks of tools on the provider's side, which are never asked for
    if not block.name:
        raise Garbled("a tool call of the message names no tool")
    # A string is what a stream that was cut by max_tokens left of the arguments: it stays as the model wrote it.
    text = block.input if isinstance(block.input, str) else msgspec.json.encode(block.input or {}).decode()
    return Text(text) if block.name == ANSWER_TOOL else ToolCall(block.id, block.name, text)


class Assembly:
    """Events of a stream, put together into the message they are pieces of."""

    def __init__(self) -> None:
        self._head: Json = {}
        self._usage: Json = {}
        self._has_usage = False
        self._blocks: dict[int, Json] = {}
        self._stop: str | None = None
        self.is_done = False

    def take(self, event: Json) -> str:
        """Adds one event; returns the words in it."""
        try:
            return self._take(event)
        except (KeyError, TypeError, AttributeError) as error:
            raise Garbled(f"event {event.get('type')!r:.80} of the stream has the wrong shape: {error!r:.80}") from None

    def whole(self) -> Json:
        """The message, as it would have come unstreamed."""
        if not self.is_done or self._stop is None:
            raise Unreachable("the stream was cut before the answer was complete")
        content = [self._finished(block) for _, block in sorted(self._blocks.items())]
        found = self._usage if self._has_usage else None
        return {**self._head, "content": content, "stop_reason": self._stop, "usage": found}

    def _take(self, event: Json) -> str:
        match event.get("type"):
            case "message_start":
                message = event["message"]
                self._head = {"id": message.get("id") or "", "model": message.get("model") or ""}
                self._count(message.get("usage"))
            case "content_block_start":
                self._blocks[event["index"]] = {**event["content_block"], "pieces": []}
                return str(event["content_block"].get("text") or "")
            case "content_block_delta":
                return self._take_delta(self._blocks[event["index"]], event["delta"])
            case "message_delta":
                self._stop = event["delta"].get("stop_reason") or self._stop
                self._count(event.get("usage"))
            case "message_stop":
                self.is_done = True
        return ""  # pings and what the wire may grow

    def _take_delta(self, block: Json, delta: Json) -> str:
        if delta["type"] == "text_delta":
            block["text"] = block.get("text", "") + delta["text"]
            return str(delta["text"])
        if delta["type"] == "input_json_delta":
            block["pieces"].append(delta["partial_json"])
            return str(delta["partial_json"]) if block.get("name") == ANSWER_TOOL else ""
        return ""

    def _count(self, counts: Json | None) -> None:
        # Counts of a later event are cumulative and replace earlier ones, field by field. Some servers fill up the
        # later event with zeros; a count that was there does not go back to nothing.
        for field, value in (counts or {}).items():
            if value or (value is not None and field not in self._usage):
                self._usage[field] = value
                self._has_usage = True

    def _finished(self, block: Json) -> Json:
        pieces = "".join(block.pop("pieces"))
        if pieces:
            try:
                block["input"] = msgspec.json.decode(pieces)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                block["input"] = pieces
        return block
