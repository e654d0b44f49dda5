"""A model server on the loopback that says what a script says, in both wire formats, and misbehaves when told to.

    python -m tests.servers.model_server --port 0 --log usage.jsonl --script script.yaml [--api-key K]

prints one line of JSON, {"port": N}, when it listens. The script is that of the scripted backend, whose faults it
carries out on the wire: `throttle` is a 429 with Retry-After, `cut` closes the socket in the middle, `hang` says
nothing, `garbage` is no JSON, `empty` has no choice, `no_usage` and `zero_usage` are what they say.

Each exchange leaves a line in the log: face, model, idempotency key, streamed or not, status, usage, and how it ended
(complete, cut, aborted by the client, refused). The log is this server's own account, to hold a ledger against.

It decodes requests by code of its own and is as strict as the providers where they are strict, so that a driver that
sends nonsense fails here first.
"""

import argparse
import asyncio
import json
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from agentos.abi.inference import Answer, Message, Request, Text, Tool, ToolCall, ToolResult
from agentos.drivers.inference_scripted import Cue, Line, Script, answer_of, load
from agentos.ports.inference import Refused

_PIECE_CHARS = 7  # of a streamed answer; small and odd, so that pieces cut words and multi-byte characters apart

_OPENAI_STOPS = {"end": "stop", "length": "length", "tool": "tool_calls", "refusal": "content_filter"}
_ANTHROPIC_STOPS = {"end": "end_turn", "length": "max_tokens", "tool": "tool_use", "refusal": "refusal"}


class BadRequest(Exception):
    """What a provider would answer 400 to."""


class ModelServer:
    """The two faces over one script, and the log of what was used."""

    def __init__(self, script: Script, *, log: Path | None = None, api_key: str = "") -> None:
        self._cue = Cue(script)
        self._script = script
        self._log = log
        self._api_key = api_key
        self.log: list[dict[str, Any]] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.changed = asyncio.Event()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._health)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/messages", self._messages)
        return app

    async def wait_logged(self, count: int, *, bound_s: float = 10) -> list[dict[str, Any]]:
        """The log when it has `count` lines; TimeoutError if it does not within the bound."""
        async with asyncio.timeout(bound_s):
            while len(self.log) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.log

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": self._script.model, "object": "model"}]})

    async def _chat(self, http: web.Request) -> web.StreamResponse:
        return await self._exchange(http, OpenAIFace(http))

    async def _messages(self, http: web.Request) -> web.StreamResponse:
        return await self._exchange(http, AnthropicFace(http))

    async def _exchange(self, http: web.Request, face: "Face") -> web.StreamResponse:
        body = await http.json()
        self.bodies.append(body)
        self.headers.append(dict(http.headers))
        note: dict[str, Any] = {
            "face": face.name,
            "model": body.get("model", ""),
            "key": http.headers.get("Idempotency-Key", ""),
            "is_streamed": bool(body.get("stream")),
            "at": time.time(),
            "status": 200,
            "ended": "aborted",
            "usage": None,
        }
        try:
            return await self._serve(http, face, body, note)
        except (BadRequest, Refused) as error:
            note.update(status=400, ended="refused")
            return face.error(400, "invalid_request_error", str(error))
        finally:
            self._write(note)

    async def _serve(
        self, http: web.Request, face: "Face", body: dict[str, Any], note: dict[str, Any]
    ) -> web.StreamResponse:
        if self._api_key and face.key() != self._api_key:
            note.update(status=401, ended="refused")
            return face.error(401, "authentication_error", f"invalid API key: {face.key()}")
        request = face.request(body)
        line = self._cue.pick(request)
        if line.delay_ms:
            await asyncio.sleep(line.delay_ms / 1000)
        if early := await self._misbehave(face, line, note):
            return early
        answer = answer_of(line, request, self._script)
        if note["is_streamed"]:
            return await self._stream(http, face, (line, answer, body), note)
        if line.fault == "cut":
            note["ended"] = "cut"
            return await self._cut(http, json.dumps(face.whole(line, answer)).encode()[:40])
        note.update(ended="complete", usage=face.usage(line, answer))
        return web.json_response(face.whole(line, answer))

    async def _misbehave(self, face: "Face", line: Line, note: dict[str, Any]) -> web.StreamResponse | None:
        match line.fault:
            case "hang":
                await asyncio.Event().wait()  # ends when the client goes: aiohttp cancels the handler
            case "throttle":
                note.update(status=429, ended="refused")
                response = face.error(429, "rate_limit_error", "too many requests")
                if line.retry_after_ms:
                    response.headers["Retry-After"] = str(line.retry_after_ms / 1000)
                return response
            case "refuse":
                note.update(status=400, ended="refused")
                return face.error(400, "invalid_request_error", line.say or "refused by the script")
            case "unreachable":
                note.update(status=503, ended="refused")
                return face.error(502, "api_error", "bad gateway")
            case "garbage":
                note.update(ended="complete")
                return web.Response(text='{"choices": [<html>', content_type="application/json")
            case "empty":
                note.update(ended="complete")
                return web.json_response(face.empty())
        return None

    async def _stream(
        self, http: web.Request, face: "Face", what: tuple[Line, Answer, dict[str, Any]], note: dict[str, Any]
    ) -> web.StreamResponse:
        line, answer, body = what
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(http)
        sent = 0
        for chars, event in face.events(line, answer, body):
            if line.fault == "cut" and sent >= line.after_chars and chars:
                note["ended"] = "cut"
                assert http.transport is not None
                http.transport.close()
                return response
            await response.write(event)
            sent += chars
        note.update(ended="complete", usage=face.usage(line, answer))
        await response.write_eof()
        return response

    async def _cut(self, http: web.Request, beginning: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(http)
        await response.write(beginning)
        assert http.transport is not None
        http.transport.close()
        return response

    def _write(self, note: dict[str, Any]) -> None:
        self.log.append(note)
        self.changed.set()
        if self._log is not None:
            with self._log.open("a") as out:
                out.write(json.dumps(note) + "\n")


class Face:
    """One wire format, seen from the server."""

    name = ""

    def __init__(self, http: web.Request) -> None:
        self._http = http

    def key(self) -> str:
        raise NotImplementedError

    def request(self, body: dict[str, Any]) -> Request:
        raise NotImplementedError

    def usage(self, line: Line, answer: Answer) -> dict[str, Any] | None:
        raise NotImplementedError

    def whole(self, line: Line, answer: Answer) -> dict[str, Any]:
        raise NotImplementedError

    def empty(self) -> dict[str, Any]:
        raise NotImplementedError

    def events(self, line: Line, answer: Answer, body: dict[str, Any]) -> list[tuple[int, bytes]]:
        """What is sent, with how many characters of the answer each event carries."""
        raise NotImplementedError

    def error(self, status: int, kind: str, words: str) -> web.Response:
        raise NotImplementedError


def pieces(text: str) -> list[str]:
    return [text[at : at + _PIECE_CHARS] for at in range(0, len(text), _PIECE_CHARS)]


def must(condition: object, words: str) -> None:
    if not condition:
        raise BadRequest(words)


class OpenAIFace(Face):
    name = "openai"

    def key(self) -> str:
        return self._http.headers.get("Authorization", "").removeprefix("Bearer ")

    def request(self, body: dict[str, Any]) -> Request:
        must(isinstance(body.get("messages"), list) and body["messages"], "messages must be a list that is not empty")
        bound = body.get("max_tokens", body.get("max_completion_tokens"))
        schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
        open_calls: set[str] = set()
        messages = []
        for turn in body["messages"]:
            messages.append(self._message(turn, open_calls))
        must(not open_calls, f"tool calls {sorted(open_calls)} have no result")
        tools = tuple(
            Tool(t["function"]["name"], t["function"].get("description", ""), t["function"]["parameters"])
            for t in body.get("tools") or ()
        )
        must(not body.get("stream_options") or body.get("stream"), "stream_options is only for streams")
        return Request(
            model=body.get("model", ""),
            messages=tuple(messages),
            output_tokens_max=bound or 1024,
            temperature_milli=int(body.get("temperature", 1) * 1000),
            tools=tools,
            schema=schema,
            stop=tuple(body.get("stop") or ()),
            seed=body.get("seed"),
        )

    def _message(self, turn: dict[str, Any], open_calls: set[str]) -> Message:
        role = turn.get("role")
        must(role in ("system", "user", "assistant", "tool"), f"role {role!r} is unknown")
        if role == "tool":
            must(turn["tool_call_id"] in open_calls, "a tool message must follow the call that it answers")
            open_calls.discard(turn["tool_call_id"])
            return Message("tool", (ToolResult(turn["tool_call_id"], turn["content"]),))
        must(not open_calls, f"tool calls {sorted(open_calls)} have no result")
        content: list[Any] = [Text(turn["content"])] if turn.get("content") else []
        for call in turn.get("tool_calls") or ():
            must(call["type"] == "function", "a tool call must be a function")
            open_calls.add(call["id"])
            content.append(ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"]))
        return Message(str(role), tuple(content))

    def usage(self, line: Line, answer: Answer) -> dict[str, Any] | None:
        if line.fault == "no_usage":
            return None
        used = answer.usage
        prompt = used.input_tokens + used.cache_read_tokens + used.cache_write_tokens
        return {
            "prompt_tokens": prompt,
            "completion_tokens": used.output_tokens,
            "total_tokens": prompt + used.output_tokens,
            "prompt_tokens_details": {
                "cached_tokens": used.cache_read_tokens,
                "cache_write_tokens": used.cache_write_tokens,
            },
            "completion_tokens_details": {"reasoning_tokens": used.reasoning_tokens},
        }

    def _calls(self, answer: Answer) -> list[dict[str, Any]]:
        return [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
            for c in answer.content
            if isinstance(c, ToolCall)
        ]

    def whole(self, line: Line, answer: Answer) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
        if calls := self._calls(answer):
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "finish_reason": _OPENAI_STOPS[answer.stop]}
        found = {"id": "chatcmpl-1", "object": "chat.completion", "model": answer.model, "choices": [choice]}
        counted = self.usage(line, answer)
        return found if counted is None else {**found, "usage": counted}

    def empty(self) -> dict[str, Any]:
        return {"id": "chatcmpl-1", "object": "chat.completion", "model": "m", "choices": []}

    def events(self, line: Line, answer: Answer, body: dict[str, Any]) -> list[tuple[int, bytes]]:
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": answer.model}
        deltas: list[tuple[int, dict[str, Any]]] = [(0, {"role": "assistant", "content": ""})]
        deltas += [(len(piece), {"content": piece}) for piece in pieces(answer.text)]
        calls = self._calls(answer)
        for n, call in enumerate(calls):
            function = {"name": call["function"]["name"], "arguments": ""}
            deltas.append(
                (1, {"tool_calls": [{"index": n, "id": call["id"], "type": "function", "function": function}]})
            )
        # Arguments of parallel calls come interleaved from some servers, which the index is there for.
        parts = [(n, piece) for n, call in enumerate(calls) for piece in pieces(call["function"]["arguments"])]
        for n, piece in sorted(parts, key=lambda part: len(part[1])):
            if len(piece) == _PIECE_CHARS:
                deltas.append((1, {"tool_calls": [{"index": n, "function": {"arguments": piece}}]}))
        for n, piece in parts:
            if len(piece) < _PIECE_CHARS:
                deltas.append((1, {"tool_calls": [{"index": n, "function": {"arguments": piece}}]}))
        found = [
            (n, self._event({**head, "choices": [{"index": 0, "delta": d, "finish_reason": None}]})) for n, d in deltas
        ]
        end = {"index": 0, "delta": {}, "finish_reason": _OPENAI_STOPS[answer.stop]}
        found.append((0, self._event({**head, "choices": [end]})))
        counted = self.usage(line, answer)
        if counted and (body.get("stream_options") or {}).get("include_usage"):
            found.append((0, self._event({**head, "choices": [], "usage": counted})))
        return [(0, b": comment\r\n\r\n"), *found, (0, b"data: [DONE]\n\n")]

    def _event(self, value: object) -> bytes:
        return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()

    def error(self, status: int, kind: str, words: str) -> web.Response:
        return web.json_response({"error": {"message": words, "type": kind, "code": None}}, status=status)


class AnthropicFace(Face):
    name = "anthropic"

    def __init__(self, http: web.Request) -> None:
        super().__init__(http)
        self._answer_tool = ""

    def key(self) -> str:
        return self._http.headers.get("x-api-key", "")

    def request(self, body: dict[str, Any]) -> Request:
        must(self._http.headers.get("anthropic-version"), "anthropic-version: header is required")
        must(isinstance(body.get("max_tokens"), int), "max_tokens: Field required")
        must(body.get("model"), "model: Field required")
        must(body.get("messages"), "messages: at least one message is required")
        must(body["messages"][0]["role"] == "user", "messages: first message must use the user role")
        system = "".join(block["text"] for block in body.get("system") or ())
        messages = [Message("system", (Text(system),))] if system else []
        for before, turn in zip([{}, *body["messages"]], body["messages"], strict=False):
            self._check_results(before, turn)
            messages += self._turn(turn)
        tools = tuple(Tool(t["name"], t.get("description", ""), t["input_schema"]) for t in body.get("tools") or ())
        schema = ((body.get("output_config") or {}).get("format") or {}).get("schema")
        choice = body.get("tool_choice") or {}
        if choice.get("type") == "tool":  # a forced tool is how JSON mode is spelled; the script sees the schema
            self._answer_tool = choice["name"]
            schema, tools = tools[0].schema, ()
        return Request(
            model=body["model"],
            messages=tuple(messages),
            output_tokens_max=body["max_tokens"],
            temperature_milli=int(body.get("temperature", 1) * 1000),
            tools=tools,
            schema=schema,
            stop=tuple(body.get("stop_sequences") or ()),
        )

    def _check_results(self, before: dict[str, Any], turn: dict[str, Any]) -> None:
        asked = {block["id"] for block in before.get("content") or () if block["type"] == "tool_use"}
        given = [block["type"] == "tool_result" for block in turn["content"]]
        answered = {block["tool_use_id"] for block in turn["content"] if block["type"] == "tool_result"}
        must(
            asked == answered,
            f"tool_use ids {sorted(asked)} need tool_result blocks right after, got {sorted(answered)}",
        )
        must(given == sorted(given, reverse=True), "tool_result blocks must come first in the content")

    def _turn(self, turn: dict[str, Any]) -> list[Message]:
        must(turn["content"], "messages: content must not be empty")
        content: list[Any] = []
        results: list[Message] = []
        for block in turn["content"]:
            if block["type"] == "text":
                must(block["text"], "text content blocks must be non-empty")
                content.append(Text(block["text"]))
            elif block["type"] == "tool_use":
                must(isinstance(block["input"], dict), "tool_use.input: Input should be a valid dictionary")
                content.append(ToolCall(block["id"], block["name"], json.dumps(block["input"], separators=(",", ":"))))
            else:
                results.append(Message("tool", (ToolResult(block["tool_use_id"], block["content"]),)))
        return [*results, Message(turn["role"], tuple(content))] if content else results

    def usage(self, line: Line, answer: Answer) -> dict[str, Any] | None:
        if line.fault == "no_usage":
            return None
        used = answer.usage
        return {
            "input_tokens": used.input_tokens,
            "cache_read_input_tokens": used.cache_read_tokens,
            "cache_creation_input_tokens": used.cache_write_tokens,
            "output_tokens": used.output_tokens,
            "output_tokens_details": {"thinking_tokens": used.reasoning_tokens},
        }

    def _blocks(self, answer: Answer) -> list[dict[str, Any]]:
        if self._answer_tool:
            value = json.loads(answer.text)
            return [{"type": "tool_use", "id": "toolu_1", "name": self._answer_tool, "input": value}]
        blocks: list[dict[str, Any]] = []
        for content in answer.content:
            if isinstance(content, Text):
                blocks.append({"type": "text", "text": content.text})
            elif isinstance(content, ToolCall):
                value = json.loads(content.arguments)
                blocks.append({"type": "tool_use", "id": content.id, "name": content.name, "input": value})
        return blocks

    def whole(self, line: Line, answer: Answer) -> dict[str, Any]:
        stop = "tool_use" if self._answer_tool else _ANTHROPIC_STOPS[answer.stop]
        found: dict[str, Any] = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": answer.model,
            "stop_sequence": None,
        }
        found |= {"content": self._blocks(answer), "stop_reason": stop}
        counted = self.usage(line, answer)
        return found if counted is None else {**found, "usage": counted}

    def empty(self) -> dict[str, Any]:
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": "m"}

    def events(self, line: Line, answer: Answer, body: dict[str, Any]) -> list[tuple[int, bytes]]:
        whole = self.whole(line, answer)
        counted = whole.pop("usage", None)
        start = {**whole, "content": [], "stop_reason": None}
        if counted:
            start["usage"] = {**counted, "output_tokens": 1}
            start["usage"].pop("output_tokens_details")
        found: list[tuple[int, bytes]] = [
            (0, self._event("message_start", {"message": start})),
            (0, self._event("ping", {})),
        ]
        for n, block in enumerate(whole["content"]):
            is_text = block["type"] == "text"
            empty = {**block, "text": ""} if is_text else {**block, "input": {}}
            found.append((0, self._event("content_block_start", {"index": n, "content_block": empty})))
            kind, field = ("text_delta", "text") if is_text else ("input_json_delta", "partial_json")
            for piece in pieces(block["text"] if is_text else json.dumps(block["input"], separators=(",", ":"))):
                delta = {"type": kind, field: piece}
                found.append((len(piece), self._event("content_block_delta", {"index": n, "delta": delta})))
            found.append((0, self._event("content_block_stop", {"index": n})))
        last: dict[str, Any] = {"delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None}}
        if counted:
            last["usage"] = {key: counted[key] for key in ("output_tokens", "output_tokens_details")}
        found.append((0, self._event("message_delta", last)))
        return [*found, (0, self._event("message_stop", {}))]

    def _event(self, name: str, value: dict[str, Any]) -> bytes:
        return f"event: {name}\ndata: {json.dumps({'type': name, **value}, ensure_ascii=False)}\n\n".encode()

    def error(self, status: int, kind: str, words: str) -> web.Response:
        return web.json_response({"type": "error", "error": {"type": kind, "message": words}}, status=status)


@asynccontextmanager
async def serving(server: ModelServer, *, port: int = 0) -> Any:
    """The server's base URL, without /v1, while the block runs."""
    # handler_cancellation: a client that goes away cancels its handler, which is what the log is to show.
    runner = web.AppRunner(server.app(), handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _serve_until_killed(arguments: argparse.Namespace) -> None:
    server = ModelServer(load(arguments.script), log=arguments.log, api_key=arguments.api_key)
    async with serving(server, port=arguments.port) as url:
        print(json.dumps({"port": int(url.rsplit(":", 1)[1])}), flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A scripted model server in OpenAI and Anthropic wire format.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--api-key", default="")
    try:
        asyncio.run(_serve_until_killed(parser.parse_args()))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
