"""The wire formats at their edges: what providers really send, and what a broken or hostile server might."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from agentos.abi.families import family_of
from agentos.abi.inference import Message, Request, Text, Tool, ToolCall, ToolResult, Usage
from agentos.drivers.inference_anthropic import Anthropic
from agentos.drivers.inference_openai import OpenAI
from agentos.drivers.wire import anthropic, openai, usage
from agentos.drivers.wire.http import BOUNDS, Bounds, Secret, check_url, retry_after_ns, zone_of
from agentos.drivers.wire.sse import Event, Overlong, Splitter
from agentos.ports.inference import Garbled, Inference, Refused, Throttled, Unreachable

KEY = "sk-secret-0123456789"
SECOND_NS = 1_000_000_000
TOOL = Tool("search", "Finds.", {"type": "object"})


def ask(*messages: Message, **more: Any) -> Request:
    turns = messages or (Message("user", (Text("hello"),)),)
    return Request(model=more.pop("model", "m"), messages=turns, output_tokens_max=more.pop("most", 50), **more)


async def served(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]], body: Callable[[str], Awaitable[None]]
) -> None:
    """Runs `body` with the address of a server that answers everything by `handler`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with asyncio.timeout(10):
            await body(f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


def fails(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    error: type[Exception],
    *,
    bounds: Bounds = BOUNDS,
) -> list[Any]:
    """What all four ways of asking raise when a server answers by `handler`."""
    caught = []

    async def body(url: str) -> None:
        backends: list[Inference] = [
            OpenAI(base_url=f"{url}/v1", api_key=KEY, bounds=bounds),
            Anthropic(base_url=url, api_key=KEY, bounds=bounds),
        ]
        for backend in backends:
            with pytest.raises(error) as whole:
                await backend.generate(ask(), key="k")
            with pytest.raises(error) as streamed:
                async for _ in backend.stream(ask(), key="k"):
                    pass
            caught.extend([whole.value, streamed.value])
            await backend.close()

    asyncio.run(served(handler, body))
    assert not any(KEY in f"{one!r} {one.__cause__!r} {one.__context__!r}" for one in caught)
    return caught


def answers(status: int, body: Any, **headers: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(_: web.Request) -> web.StreamResponse:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, content_type="application/json", headers=headers)

    return handler


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, Refused),
        (401, Refused),
        (402, Refused),
        (403, Refused),
        (404, Refused),
        (413, Refused),
        (302, Refused),
        (429, Throttled),
        (503, Throttled),
        (529, Throttled),
        (408, Unreachable),
        (500, Unreachable),
        (502, Unreachable),
        (504, Unreachable),
    ],
)
def test_each_status_has_one_meaning(status: int, error: type[Exception]) -> None:
    for one in fails(answers(status, {"error": {"message": f"no: {KEY}", "type": "t"}}, **{"Retry-After": "7"}), error):
        assert str(status) in str(one)
        assert one.retry_after_ns == (7 * SECOND_NS if one.is_retryable else None)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}}, {}),
        ({"error": {"message": "slow down"}}, {"x-should-retry": "false"}),
    ],
)
def test_a_429_that_no_waiting_cures_is_a_refusal(body: Any, headers: dict[str, str]) -> None:
    assert not any(one.is_retryable for one in fails(answers(429, body, **headers), Refused))


def test_a_redirect_is_not_followed_with_the_key() -> None:
    seen = []

    async def handler(http: web.Request) -> web.StreamResponse:
        seen.append(http.path)
        raise web.HTTPTemporaryRedirect("/stolen")

    fails(handler, Refused)
    assert "/stolen" not in seen


@pytest.mark.parametrize(
    "body", ["", "null", "[]", "{", '"words"', "{}", '{"choices": 3}', '{"content": [{}]}', "[" * 5000]
)
def test_what_is_no_answer_is_garbled(body: str) -> None:
    fails(answers(200, body), Garbled)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("overloaded_error", Throttled),
        ("rate_limit_exceeded", Throttled),
        ("invalid_request_error", Refused),
        ("api_error", Unreachable),
    ],
)
def test_an_error_inside_a_200_means_what_its_type_says(kind: str, error: type[Exception]) -> None:
    fails(answers(200, {"type": "error", "error": {"type": kind, "message": f"said {KEY}"}}), error)


@pytest.mark.parametrize("is_event", [False, True])
def test_an_answer_without_end_is_given_up_at_its_bound(is_event: bool) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream" if is_event else "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(_)
        try:
            while True:
                await response.write(b'data: {"x": "' + b"y" * 4096 if is_event else b" " * 4096)
        except ConnectionError:
            return response

    fails(handler, Garbled, bounds=Bounds(answer_bytes_max=100_000, event_bytes_max=50_000))


def test_a_server_that_falls_silent_is_unreachable() -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError("never")

    fails(handler, Unreachable, bounds=Bounds(silence_s=1))


def test_a_server_that_answers_whole_to_a_stream_is_understood() -> None:
    completion = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}
    completion["usage"] = {"prompt_tokens": 3, "completion_tokens": 1}  # type: ignore[assignment]

    async def body(url: str) -> None:
        backend = OpenAI(base_url=f"{url}/v1")
        items = [item async for item in backend.stream(ask(), key="k")]
        assert items[-1] == await backend.generate(ask(), key="k")
        await backend.close()

    asyncio.run(served(answers(200, completion), body))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Retry-After": "3"}, 3 * SECOND_NS),
        ({"Retry-After": "0.25"}, SECOND_NS // 4),
        ({"Retry-After": "0"}, 0),
        ({"retry-after-ms": "1500", "Retry-After": "9"}, 1_500_000_000),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:27:30 GMT"}, 30 * SECOND_NS),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 08:00:00 GMT"}, 0),
        ({"Retry-After": "99999999999"}, 86_400 * SECOND_NS),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"retry-after-ms": "nan-sense"}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(headers: dict[str, str], expected: int | None) -> None:
    assert retry_after_ns(headers) == expected


@given(st.data())
def test_any_cut_of_a_stream_gives_the_same_events(data: st.DataObject) -> None:
    raw = ": hi\r\ndata: größe 🌍\r\n\r\nevent: a\ndata: one\ndata: two\n\nid: 3\n\ndata:x\n\nretry: 1\ndata: cut".encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    splitter = Splitter(1000)
    events = []
    for begin, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        events += splitter.feed(raw[begin:end])
    assert events == [Event("", "größe 🌍"), Event("a", "one\ntwo"), Event("", "x")]


@pytest.mark.parametrize("raw", [b"data: " + b"x" * 200, b"data: 1234567890\n" * 20])
def test_an_event_over_the_bound_is_not_held(raw: bytes) -> None:
    with pytest.raises(Overlong):
        Splitter(100).feed(raw)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 5}, Usage(input_tokens=10, output_tokens=5)),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
                "completion_tokens_details": {"reasoning_tokens": 40},
            },
            Usage(input_tokens=10, output_tokens=50, cache_read_tokens=60, cache_write_tokens=30, reasoning_tokens=40),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 35,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            Usage(input_tokens=10, output_tokens=25, reasoning_tokens=20),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 4},
            Usage(input_tokens=6, output_tokens=5, cache_read_tokens=4),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": None},
            Usage(input_tokens=10, output_tokens=5),
        ),
    ],
)
def test_chat_usage_is_taken_apart_field_by_field(raw: Any, expected: Usage) -> None:
    assert usage.from_openai(raw, has_words=True) == (expected, True)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        "many",
        {},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": 10, "completion_tokens": 0},
        {"prompt_tokens": -1, "completion_tokens": 5},
        {"prompt_tokens": 1.5, "completion_tokens": 5},
        {"prompt_tokens": True, "completion_tokens": 5},
        {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 11}},
        {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 6}},
    ],
)
def test_usage_that_cannot_be_true_is_no_usage(raw: Any) -> None:
    assert usage.from_openai(raw, has_words=True) == (Usage(), False)


def test_messages_usage_has_its_cache_outside() -> None:
    raw = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 60, "cache_creation_input_tokens": None}
    expected = Usage(input_tokens=10, output_tokens=5, cache_read_tokens=60)
    assert usage.from_anthropic(raw, has_words=True) == (expected, True)
    assert usage.from_anthropic({"input_tokens": 0, "output_tokens": 5}, has_words=True) == (Usage(), False)


def test_openai_itself_is_asked_in_its_own_accent() -> None:
    def body(base_url: str, model: str) -> dict[str, Any]:
        chat: Any = OpenAI(base_url=base_url, model=model)._chat(ask(model=model))
        return openai.body_of(ask(model=model), model=model, accent=chat._accent, is_streamed=False)

    official = "https://api.openai.com/v1"
    assert "max_completion_tokens" in body(official, "gpt-5.1")
    assert "temperature" not in body(official, "gpt-5.1")
    assert body(official, "gpt-4.1")["temperature"] == 0
    assert body("http://127.0.0.1:8000/v1", "gpt-oss")["max_tokens"] == 50
    assert body("http://127.0.0.1:8000/v1", "gpt-oss")["temperature"] == 0


@pytest.mark.parametrize(
    ("model", "has_temperature", "by_format"),
    [
        ("claude-3-5-haiku-latest", True, False),
        ("claude-opus-4-1", True, False),
        ("claude-sonnet-4-20250514", True, False),
        ("claude-sonnet-4-5-20250929", True, True),
        ("claude-opus-4-6", True, True),
        ("claude-opus-4-7", False, True),
        ("claude-sonnet-5", False, True),
    ],
)
def test_each_claude_is_asked_for_what_it_takes(model: str, has_temperature: bool, by_format: bool) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "object"}}}
    _, body = Anthropic(model=model)._ask(ask(model=model, schema=schema), is_streamed=False)
    assert ("temperature" in body, "output_config" in body, "tool_choice" in body) == (
        has_temperature,
        by_format,
        not by_format,
    )
    if by_format:
        closed = body["output_config"]["format"]["schema"]
        assert closed["additionalProperties"] is False
        assert closed["properties"]["a"]["additionalProperties"] is False


def test_arguments_that_are_no_json_go_back_to_the_model_as_it_wrote_them() -> None:
    turns = (
        Message("user", (Text("go"),)),
        Message("assistant", (ToolCall("c1", "search", '{"q": '),)),
        Message("tool", (ToolResult("c1", "bad arguments", is_error=True),)),
    )
    theirs = anthropic.body_of(ask(*turns), model="m", accent=anthropic.Accent(), is_streamed=False)["messages"]
    assert theirs[1]["content"][0]["input"] == {"malformed_arguments": '{"q": '}
    assert theirs[2]["content"][0]["is_error"] is True
    ours = openai.body_of(ask(*turns), model="m", accent=openai.Accent(), is_streamed=False)["messages"]
    assert ours[1]["tool_calls"][0]["function"]["arguments"] == '{"q": '
    assert ours[2]["content"] == "error: bad arguments"


def test_arguments_cut_by_the_token_bound_stay_as_written() -> None:
    assembly = anthropic.Assembly()
    assembly.take({"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}})
    block = {"type": "tool_use", "id": "t", "name": "search", "input": {}}
    assembly.take({"type": "content_block_start", "index": 0, "content_block": block})
    assembly.take(
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"q": "a'}}
    )
    assembly.take({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 50}})
    assembly.take({"type": "message_stop"})
    answer = anthropic.answer_of(assembly.whole(), model="m", provider="p")
    assert answer.content == (ToolCall("t", "search", '{"q": "a'),)
    assert (answer.stop, answer.usage) == ("length", Usage(input_tokens=9, output_tokens=50))


def test_later_counts_replace_earlier_ones_and_zeros_replace_nothing() -> None:
    assembly = anthropic.Assembly()
    assembly.take({"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}})
    counts = {"input_tokens": 0, "output_tokens": 50, "cache_read_input_tokens": 7}
    assembly.take({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": counts})
    assembly.take({"type": "message_stop"})
    answer = anthropic.answer_of(assembly.whole(), model="m", provider="p")
    assert answer.usage == Usage(input_tokens=9, output_tokens=50, cache_read_tokens=7)


def test_what_does_not_even_speak_http_is_unreachable() -> None:
    async def scenario() -> None:
        async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ESMTP\r\n")
            writer.close()

        server = await asyncio.start_server(babble, "127.0.0.1", 0)
        async with server:
            backend = OpenAI(base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", api_key=KEY)
            with pytest.raises(Unreachable):
                await backend.generate(ask(), key="k")
            await backend.close()

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_thinking_is_counted_and_left_out() -> None:
    raw = {
        "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "Yes."}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 5, "output_tokens": 40, "output_tokens_details": {"thinking_tokens": 36}},
    }
    answer = anthropic.answer_of(raw, model="m", provider="p")
    assert (answer.text, answer.usage.reasoning_tokens) == ("Yes.", 36)


def test_the_prefix_is_marked_for_the_cache_when_that_is_asked_for() -> None:
    turns = (Message("system", (Text("s"),)), Message("user", (Text("u"),)))
    accent = anthropic.Accent(caches_prefix=True)
    body = anthropic.body_of(ask(*turns, tools=(TOOL,)), model="m", accent=accent, is_streamed=False)
    marked = [body["tools"][-1], body["system"][-1], body["messages"][-1]["content"][-1]]
    assert all(block["cache_control"] == {"type": "ephemeral"} for block in marked)
    plain = anthropic.body_of(ask(*turns), model="m", accent=anthropic.Accent(), is_streamed=False)
    assert "cache_control" not in json.dumps(plain)


def test_a_schema_is_strict_only_if_openai_would_take_it_as_that() -> None:
    closed = {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}
    assert openai.is_strict(closed)
    assert not openai.is_strict({**closed, "required": []})
    assert not openai.is_strict({**closed, "properties": {"a": {"type": "object"}}})


@pytest.mark.parametrize("url", ["", "host/v1", "ftp://h", "https://u:p@h/v1", "https://h/v1?key=1", "https://"])
def test_a_base_url_with_a_secret_or_without_a_host_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=re.compile("base URL")) as caught:
        check_url(url)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "zone"),
    [
        ("http://127.0.0.1:1", "local"),
        ("http://[::1]:1", "local"),
        ("http://localhost", "local"),
        ("http://192.168.1.5", "lan"),
        ("http://gpu-box:8000", "lan"),
        ("http://gpu.local", "lan"),
        ("https://api.openai.com", "external"),
        ("https://localhost.evil.example", "external"),
        ("http://8.8.8.8", "external"),
    ],
)
def test_what_is_not_plainly_near_is_external(url: str, zone: str) -> None:
    assert zone_of(url) == zone


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret(KEY)
    assert KEY not in f"{secret} {secret!r} {[secret]}"
    assert secret.scrub(f"bad key {KEY}!") == "bad key [key]!"
    with pytest.raises(ValueError, match="line break") as caught:
        Secret(f"{KEY}\n")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("claude-opus-5", "claude"),
        ("qwen2.5-coder:7b", "qwen"),
        ("meta-llama/Llama-3.3-70B", "llama"),
        ("deepseek-r1-distill-qwen-7b", "deepseek"),
        ("o3", "gpt"),
        ("gpt-5.1-codex", "gpt"),
        ("nobody-knows", ""),
        ("qwen/own-model", ""),
    ],
)
def test_the_family_is_in_the_name(model: str, family: str) -> None:
    assert family_of(model) == family
