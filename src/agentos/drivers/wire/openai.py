"""The Chat Completions wire: our requests into its JSON, its JSON and its event stream into our answers. No I/O.

OpenAI, vLLM, Ollama, llama.cpp, LM Studio and most gateways speak it, each with an accent; `Accent` names them.

Rule 1: a stream is put together into the object that the server would have sent whole, and decoded by the same code,
        so that the two ways cannot differ in words, calls or cost.
Rule 2: an object without a choice, or with one of the wrong shape, is Garbled; a stream that stops before it has said
        why it stops is Unreachable.
"""

from typing import Any, NamedTuple

import msgspec

from agentos.abi.inference import Answer, Content, Message, Request, Text, ToolCall, ToolResult
from agentos.drivers.wire import usage
from agentos.ports.inference import Garbled, Unreachable

STOPS = {
    "stop": "end",
    "eos": "end",
    "length": "length",
    "tool_calls": "tool",
    "function_call": "tool",
    "content_filter": "refusal",
}


class Accent(NamedTuple):
    """How one server's dialect differs."""

    output_field: str = "max_tokens"  # OpenAI itself wants max_completion_tokens, which others do not know
    takes_temperature: bool = True  # OpenAI's reasoning models answer 400 to it
    takes_stream_options: bool = True  # a server that does not is never metered when it streams


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None  # a string by the book; some servers send the object


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None
    index: int | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    id: str | None = None
    model: str | None = None
    usage: Any = None


class _Piece(msgspec.Struct):
    delta: _Message | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Piece] | None = None
    id: str | None = None
    model: str | None = None
    usage: Any = None


def body_of(request: Request, *, model: str, accent: Accent, is_streamed: bool) -> dict[str, Any]:
    """The JSON body that asks for `request`."""
    body: dict[str, Any] = {
        "messages": [turn for message in request.messages for turn in _turns(message)],
        accent.output_field: request.output_tokens_max,
    }
    if model:
        body["model"] = model
    if accent.takes_temperature:
        body["temperature"] = request.temperature_milli / 1000
    if request.stop:
        body["stop"] = list(request.stop)
    if request.seed is not None:
        body["seed"] = request.seed
    if request.tools:
        body["tools"] = [
            {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.schema}}
            for t in request.tools
        ]
    if request.schema is not None:
        wanted = {"name": "answer", "schema": request.schema, "strict": is_strict(request.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": wanted}
    if is_streamed:
        body["stream"] = True
        if accent.takes_stream_options:
            body["stream_options"] = {"include_usage": True}
    return body


def is_strict(schema: object) -> bool:
    """True if every object in the schema is closed and requires all it has, which OpenAI's strict mode demands."""
    if isinstance(schema, list):
        return all(is_strict(part) for part in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        names = set(schema.get("properties") or ())
        if schema.get("additionalProperties") is not False or set(schema.get("required") or ()) != names:
            return False
    return all(is_strict(part) for part in schema.values())


def _turns(message: Message) -> list[dict[str, Any]]:
    """One of our messages as theirs. Tool results are messages of their own there, and come before the words."""
    turns: list[dict[str, Any]] = [
        {
            "role": "tool",
            "tool_call_id": block.id,
            "content": f"error: {block.content}" if block.is_error else block.content,  # the wire has no such flag
        }
        for block in message.content
        if isinstance(block, ToolResult)
    ]
    words = "".join(block.text for block in message.content if isinstance(block, Text))
    calls = [
        {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": block.arguments}}
        for block in message.content
        if isinstance(block, ToolCall)
    ]
    if calls:
        turns.append({"role": "assistant", "content": words or None, "tool_calls": calls})
    elif words or not turns:
        turns.append({"role": "user" if message.role == "tool" else message.role, "content": words})
    return turns


def answer_of(raw: dict[str, Any], *, model: str, provider: str) -> Answer:
    """The answer in a whole completion; Garbled if it is not one."""
    try:
        completion = msgspec.convert(raw, _Completion)
    except msgspec.ValidationError as error:
        raise Garbled(f"the completion has the wrong shape: {error}") from None
    if not completion.choices:
        raise Garbled("the completion has no choices")
    choice = completion.choices[0]
    content = _content(choice.message)
    counted, is_metered = usage.from_openai(completion.usage, has_words=bool(content))
    return Answer(
        content=content,
        stop=_stop(choice),
        usage=counted,
        model=completion.model or model,
        provider=provider,
        upstream_id=completion.id or "",
        is_metered=is_metered,
    )


def _content(message: _Message) -> tuple[Content, ...]:
    words = (message.content or "") or (message.refusal or "")
    blocks: list[Content] = [Text(words)] if words else []
    for n, call in enumerate(message.tool_calls or ()):
        if not call.function.name:
            raise Garbled(f"tool call {n} of the completion names no tool")
        arguments = call.function.arguments
        text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments or {}).decode()
        blocks.append(ToolCall(call.id or f"call_{n}", call.function.name, text or "{}"))
    return tuple(blocks)


def _stop(choice: _Choice) -> str:
    if choice.message.refusal:
        return "refusal"
    stop = STOPS.get(choice.finish_reason or "stop")
    if stop is None:
        raise Garbled(f"the completion ended for a reason nobody knows: {choice.finish_reason!r:.80}")
    # Several servers say "stop" beside tool calls. What is in the answer decides.
    return "tool" if choice.message.tool_calls and stop == "end" else stop


class Assembly:
    """Chunks of a stream, put together into the completion they are pieces of."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._refusal: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._by_index: dict[int, dict[str, Any]] = {}
        self._head: dict[str, Any] = {}
        self._finish: str | None = None
        self._is_done = False

    def take(self, raw: dict[str, Any]) -> str:
        """Adds one chunk; returns the words in it."""
        try:
            chunk = msgspec.convert(raw, _Chunk)
        except msgspec.ValidationError as error:
            raise Garbled(f"a chunk of the stream has the wrong shape: {error}") from None
        for field in ("id", "model", "usage"):
            if value := getattr(chunk, field):
                self._head[field] = value
        piece = chunk.choices[0] if chunk.choices else None
        if piece is None:
            return ""
        self._finish = piece.finish_reason or self._finish
        if piece.delta is None:
            return ""
        for call in piece.delta.tool_calls or ():
            self._take_call(call)
        self._refusal.append(piece.delta.refusal or "")
        self._words.append(piece.delta.content or "")
        return piece.delta.content or ""

    def end(self) -> None:
        """Notes that the server said [DONE]."""
        self._is_done = True

    def whole(self) -> dict[str, Any]:
        """The completion, as it would have come unstreamed."""
        if self._finish is None and not self._is_done:
            raise Unreachable("the stream was cut before the answer was complete")
        if not self._words and self._finish is None:
            raise Garbled("the stream ended without a choice")
        calls = [{**call, "function": {**call["function"]}} for call in self._calls]
        for call in calls:
            call["function"]["arguments"] = "".join(call["function"]["arguments"])
        message = {"content": "".join(self._words), "refusal": "".join(self._refusal), "tool_calls": calls or None}
        return {**self._head, "choices": [{"message": message, "finish_reason": self._finish}]}

    def _take_call(self, call: _Call) -> None:
        index = call.index if call.index is not None else len(self._calls) - (0 if call.id else 1)
        held = self._by_index.get(index)
        if held is None:
            held = {"id": None, "function": {"name": None, "arguments": []}}
            self._by_index[index] = held
            self._calls.append(held)
        held["id"] = held["id"] or call.id
        held["function"]["name"] = held["function"]["name"] or call.function.name
        arguments = call.function.arguments
        if arguments:
            text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
            held["function"]["arguments"].append(text)


def models_of(raw: dict[str, Any]) -> tuple[str, ...]:
    """The names in a `/models` list; Garbled if it is not one."""
    listed = raw.get("data")
    if not isinstance(listed, list):
        raise Garbled("the list of models has no data")
    return tuple(m["id"] for m in listed if isinstance(m, dict) and isinstance(m.get("id"), str))
