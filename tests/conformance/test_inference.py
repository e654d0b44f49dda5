"""The inference port, one suite over every driver. The remote ones speak to a real server on the loopback."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import pytest

from agentos.abi.inference import Answer, Delta, Message, Request, Text, Tool, ToolCall, ToolResult, Usage
from agentos.drivers import inference_scripted as scripted
from agentos.drivers.inference_anthropic import Anthropic
from agentos.drivers.inference_openai import OpenAI
from agentos.drivers.inference_replay import Memory, Recording, Replay
from agentos.ports.inference import Garbled, Inference, Refused, Throttled, Unreachable
from tests.servers.model_server import ModelServer, serving

KEY = "sk-secret-0123456789"
BOUND_S = 10  # far over what any exchange on the loopback takes
SEARCH = Tool("search", "Finds.", {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]})
VERDICT = {"type": "object", "properties": {"verdict": {"enum": ["accept", "reject"]}}, "required": ["verdict"]}


class Rig(NamedTuple):
    backend: Inference
    server: ModelServer | None  # None where nothing is remote


@asynccontextmanager
async def openai(script: scripted.Script) -> AsyncIterator[Rig]:
    server = ModelServer(script, api_key=KEY)
    async with serving(server) as url:
        backend = OpenAI(base_url=f"{url}/v1", api_key=KEY, model="m-1")
        try:
            yield Rig(backend, server)
        finally:
            await backend.close()


@asynccontextmanager
async def anthropic(script: scripted.Script, json_by: str = "tool") -> AsyncIterator[Rig]:
    server = ModelServer(script, api_key=KEY)
    async with serving(server) as url:
        backend = Anthropic(base_url=url, api_key=KEY, model="m-1", json_by=json_by)
        try:
            yield Rig(backend, server)
        finally:
            await backend.close()


@asynccontextmanager
async def anthropic_format(script: scripted.Script) -> AsyncIterator[Rig]:
    async with anthropic(script, json_by="format") as rig:
        yield rig


@asynccontextmanager
async def local_script(script: scripted.Script) -> AsyncIterator[Rig]:
    yield Rig(scripted.Scripted(script), None)


@asynccontextmanager
async def recording(script: scripted.Script) -> AsyncIterator[Rig]:
    async with openai(script) as rig:
        yield Rig(Recording(rig.backend, Memory()), rig.server)


RIGS = [openai, anthropic, anthropic_format, local_script, recording]
every_driver = pytest.mark.parametrize("rig", RIGS, ids=lambda rig: rig.__name__)
Maker = Callable[[scripted.Script], Any]


def script(*lines: dict[str, Any]) -> scripted.Script:
    return scripted.parse({"lines": list(lines)})


def ask(words: str = "hello", **more: Any) -> Request:
    messages = more.pop("messages", (Message("system", (Text("Be brief."),)), Message("user", (Text(words),))))
    return Request(model=more.pop("model", "m-1"), messages=messages, output_tokens_max=more.pop("most", 200), **more)


def run(rig: Maker, lines: scripted.Script, body: Callable[[Rig], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(BOUND_S), AsyncExitStack() as stack:
            await body(await stack.enter_async_context(rig(lines)))

    asyncio.run(scenario())


async def drain(backend: Inference, request: Request) -> tuple[list[str], Answer]:
    items = [item async for item in backend.stream(request, key="k")]
    *deltas, answer = items
    assert isinstance(answer, Answer)
    assert all(isinstance(delta, Delta) for delta in deltas)
    return [delta.text for delta in deltas], answer


@every_driver
def test_an_answer_carries_words_model_and_the_counts_of_the_published_rule(rig: Maker) -> None:
    async def body(it: Rig) -> None:
        request = ask("grüß Gott 🌍")
        answer = await it.backend.generate(request, key="1.1/0/1")
        assert answer.text == "Hello there, 🌍, and good day."
        assert (answer.stop, answer.model, answer.is_metered) == ("end", "m-1", True)
        counted = Usage(input_tokens=scripted.count_request(request), output_tokens=scripted.count_text(answer.text))
        assert answer.usage == counted
        if it.server:
            assert it.server.log[-1]["key"] == "1.1/0/1"

    run(rig, script({"say": "Hello there, 🌍, and good day."}), body)


@every_driver
def test_a_stream_gives_the_same_answer_as_the_whole(rig: Maker) -> None:
    used = {"input_tokens": 7, "output_tokens": 90, "cache_read_tokens": 500, "cache_write_tokens": 60}
    lines = script(
        {"when": {"contains": "words"}, "say": "Some words, größer 🌍 than one piece.", "usage": used},
        {"when": {"contains": "think"}, "say": "Thought.", "usage": {**used, "reasoning_tokens": 80}},
        {"when": {"contains": "tools"}, "say": "Look:", "calls": [{"name": "search", "arguments": {"q": "größe"}}] * 2},
        {"when": {"contains": "json"}, "json": {"verdict": "accept"}},
        {"when": {"contains": "long"}, "say": "x" * 1000},
    )

    async def body(it: Rig) -> None:
        asked = [
            ask("words"),
            ask("think"),
            ask("tools", tools=(SEARCH,)),
            ask("json", schema=VERDICT),
            ask("long", most=9),
        ]
        for request in asked:
            whole = await it.backend.generate(request, key="k")
            deltas, streamed = await drain(it.backend, request)
            assert streamed == whole
            assert "".join(deltas) == whole.text
        if it.server:
            log = it.server.log
            assert [note["usage"] for note in log[::2]] == [note["usage"] for note in log[1::2]]

    run(rig, lines, body)


@every_driver
def test_cache_reads_cache_writes_and_reasoning_are_counted_apart(rig: Maker) -> None:
    used = Usage(input_tokens=7, output_tokens=90, cache_read_tokens=500, cache_write_tokens=60, reasoning_tokens=80)

    async def body(it: Rig) -> None:
        assert (await it.backend.generate(ask(), key="k")).usage == used

    counts = {field: getattr(used, field) for field in used.__struct_fields__}
    run(rig, script({"say": "ok", "usage": counts}), body)


@every_driver
def test_parallel_tool_calls_come_back_in_order_and_their_results_go_in(rig: Maker) -> None:
    lines = script(
        {
            "when": {"turn": 0, "offers": "search"},
            "say": "I look.",
            "calls": [{"name": "search", "arguments": {"q": q}} for q in ("first thing", "second")],
        },
        {"when": {"turn": 1, "contains": "two found"}, "say": "Done."},
    )

    async def body(it: Rig) -> None:
        first = ask("find", tools=(SEARCH,))
        asked = await it.backend.generate(first, key="k")
        calls = [block for block in asked.content if isinstance(block, ToolCall)]
        assert asked.stop == "tool"
        assert [call.arguments for call in calls] == ['{"q":"first thing"}', '{"q":"second"}']
        assert len({call.id for call in calls}) == 2
        results = (
            Message("tool", (ToolResult(calls[0].id, "one found"),)),
            Message("tool", (ToolResult(calls[1].id, "two found", is_error=True),)),
        )
        turns = (*first.messages, Message("assistant", asked.content), *results)
        done = await it.backend.generate(ask(messages=turns, tools=(SEARCH,)), key="k")
        assert (done.text, done.stop) == ("Done.", "end")

    run(rig, lines, body)


@every_driver
def test_json_mode_answers_with_json_as_words(rig: Maker) -> None:
    async def body(it: Rig) -> None:
        assert it.backend.abilities().has_json_mode
        answer = await it.backend.generate(ask("judge", schema=VERDICT), key="k")
        assert (answer.text, answer.stop) == ('{"verdict":"accept"}', "end")

    run(rig, script({"when": {"has_schema": True}, "json": {"verdict": "accept"}}), body)


@every_driver
def test_an_answer_over_its_bound_says_length(rig: Maker) -> None:
    async def body(it: Rig) -> None:
        answer = await it.backend.generate(ask(most=3), key="k")
        assert (answer.stop, answer.usage.output_tokens) == ("length", 3)

    run(rig, script({"say": "much more than three tokens of text"}), body)


@every_driver
@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("throttle", Throttled),
        ("refuse", Refused),
        ("unreachable", Unreachable),
        ("garbage", Garbled),
        ("empty", Garbled),
        ("cut", Unreachable),
    ],
)
def test_what_goes_wrong_is_one_of_the_ports_errors(
    rig: Maker, fault: str, error: type[Exception], is_streamed: bool
) -> None:
    async def body(it: Rig) -> None:
        with pytest.raises(error) as caught:
            await (drain(it.backend, ask()) if is_streamed else it.backend.generate(ask(), key="k"))
        assert type(caught.value) is error
        # The backend serves the next request as if nothing had been.
        assert (await it.backend.generate(ask(), key="k2")).text == "fine again"

    line = {"say": "an answer that is long enough", "fault": fault, "times": 1, "after_chars": 8}
    run(rig, script(line, {"say": "fine again"}), body)


@every_driver
def test_a_cut_stream_gives_the_words_before_the_cut_and_no_answer(rig: Maker) -> None:
    async def body(it: Rig) -> None:
        items = []
        with pytest.raises(Unreachable):
            async for item in it.backend.stream(ask(), key="k"):
                items.append(item)
        assert all(isinstance(item, Delta) for item in items)
        words = "".join(item.text for item in items if isinstance(item, Delta))
        assert "an answer that is long enough".startswith(words)

    run(rig, script({"say": "an answer that is long enough", "fault": "cut", "after_chars": 8}), body)


@every_driver
def test_a_throttled_request_says_when_to_come_back(rig: Maker) -> None:
    async def body(it: Rig) -> None:
        with pytest.raises(Throttled) as caught:
            await it.backend.generate(ask(), key="k")
        assert (caught.value.is_retryable, caught.value.retry_after_ns) == (True, 1_500_000_000)

    run(rig, script({"fault": "throttle", "retry_after_ms": 1500}), body)


@every_driver
@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("fault", ["no_usage", "zero_usage"])
def test_an_answer_whose_cost_is_not_told_is_unmetered(rig: Maker, fault: str, is_streamed: bool) -> None:
    async def body(it: Rig) -> None:
        answer = (await drain(it.backend, ask()))[1] if is_streamed else await it.backend.generate(ask(), key="k")
        assert (answer.text, answer.is_metered, answer.usage) == ("free lunch", False, Usage())

    run(rig, script({"say": "free lunch", "fault": fault}), body)


@every_driver
@pytest.mark.parametrize("is_streamed", [False, True])
def test_cancelling_ends_the_exchange_upstream(rig: Maker, is_streamed: bool) -> None:
    async def body(it: Rig) -> None:
        async def exchange() -> None:
            await (drain(it.backend, ask()) if is_streamed else it.backend.generate(ask(), key="k"))

        task = asyncio.ensure_future(exchange())
        if it.server:
            async with asyncio.timeout(BOUND_S):
                while not it.server.bodies:  # the server has the request and sits on it
                    await asyncio.sleep(0.01)
        else:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if it.server:
            (note,) = await it.server.wait_logged(1)
            assert (note["ended"], note["usage"]) == ("aborted", None)

    run(rig, script({"fault": "hang"}), body)


@every_driver
def test_leaving_a_stream_early_closes_it(rig: Maker) -> None:
    async def body(it: Rig) -> None:
        stream: Any = it.backend.stream(ask(), key="k")
        assert isinstance(await anext(stream), Delta)
        await stream.aclose()
        assert (await it.backend.generate(ask(), key="k2")).text.startswith("w w")

    run(rig, script({"say": "w " * 80}), body)


@every_driver
def test_a_request_that_asks_nothing_is_refused_before_it_is_sent(rig: Maker) -> None:
    async def body(it: Rig) -> None:
        for request in (ask(messages=()), ask(most=0)):
            with pytest.raises(Refused):
                await it.backend.generate(request, key="k")
            with pytest.raises(Refused):
                await drain(it.backend, request)
        if it.server:
            assert it.server.bodies == []

    run(rig, script({"say": "never"}), body)


@every_driver
def test_a_wrong_key_is_refused_and_never_repeated_in_the_error(rig: Maker) -> None:
    async def body(it: Rig) -> None:
        if it.server is None:
            pytest.skip("no key here")
        it.server._api_key = "another"
        for broken in (it.backend.generate(ask(), key="k"), drain(it.backend, ask())):
            with pytest.raises(Refused) as caught:
                await broken
            assert "[key]" in str(caught.value)  # the server repeated it; the driver struck it out
            assert KEY not in f"{caught.value!r} {caught.value.__cause__!r} {it.backend!r} {vars(it.backend)!r}"

    run(rig, script({"say": "never"}), body)


def test_a_server_that_is_not_there_is_unreachable() -> None:
    async def scenario() -> None:
        backend = OpenAI(base_url="http://127.0.0.1:9/v1", api_key=KEY)  # the discard port: nobody listens
        with pytest.raises(Unreachable) as caught:
            await backend.generate(ask(), key="k")
        assert caught.value.is_retryable
        assert KEY not in repr(caught.value)
        await backend.close()

    asyncio.run(scenario())


def test_replay_answers_from_the_record_with_the_server_gone() -> None:
    record = Memory()
    lines = script(
        {"when": {"contains": "one"}, "say": "first answer"},
        {"when": {"contains": "two"}, "calls": [{"name": "search", "arguments": {"q": "x"}}]},
    )
    asked = [ask("one"), ask("two", tools=(SEARCH,))]

    async def scenario() -> None:
        async with openai(lines) as rig:
            live = [await Recording(rig.backend, record).generate(request, key="k") for request in asked]
        again = Replay(record)
        assert again.abilities().has_tools
        replayed = [await again.generate(request, key="other") for request in asked]
        assert [(a.content, a.stop, a.usage) for a in replayed] == [(a.content, a.stop, a.usage) for a in live]
        assert {a.provider for a in replayed} == {"replay"}
        deltas, streamed = await drain(again, asked[0])
        assert ("".join(deltas), streamed) == ("first answer", replayed[0])

    asyncio.run(scenario())


def test_a_request_that_was_not_recorded_is_refused_with_the_nearest_that_was() -> None:
    record = Memory()

    async def scenario() -> None:
        source = Recording(scripted.Scripted(script({"say": "ok"})), record)
        for words in ("fix the parser", "write the docs"):
            await source.generate(ask(words), key="k")
        held = dict(record._held)
        with pytest.raises(Refused) as caught:
            await Replay(record).generate(ask("fix the lexer"), key="k")
        assert "fix the parser" in str(caught.value)
        assert "fix the lexer" in str(caught.value)
        assert record._held == held

    asyncio.run(scenario())
