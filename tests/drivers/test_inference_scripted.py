"""The scripted model where it differs from a remote one: matching, time, and memory of what was said."""

import asyncio

import pytest

from agentos.abi.inference import Message, Request, Text, Tool
from agentos.drivers.inference_scripted import Line, Scripted, count_request, count_text, parse
from agentos.ports.inference import Refused, Throttled


def ask(*words: str, model: str = "m", tools: tuple[Tool, ...] = ()) -> Request:
    """A conversation of user and assistant in turns."""
    roles = ("user", "assistant")
    messages = tuple(Message(roles[n % 2], (Text(word),)) for n, word in enumerate(words))
    return Request(model=model, messages=messages, output_tokens_max=100, tools=tools)


def say(backend: Scripted, request: Request) -> str:
    return asyncio.run(backend.generate(request, key="k")).text


SCRIPT = {
    "lines": [
        {"when": {"turn": 1, "last": "again"}, "say": "second turn"},
        {"when": {"contains": ["red", "blue"]}, "say": "both colours"},
        {"when": {"regex": "WO-[0-9]+"}, "say": "an order"},
        {"when": {"model": "big"}, "say": "the big one"},
        {"when": {"offers": "search"}, "say": "with a tool"},
        {"when": {"contains": "twice"}, "say": "used up later", "times": 2},
        {"when": {"contains": "twice"}, "say": "afterwards"},
    ]
}


def test_the_first_line_that_matches_answers() -> None:
    backend = Scripted(parse(SCRIPT))
    assert say(backend, ask("hello", "hi", "again")) == "second turn"
    assert say(backend, ask("red and blue")) == "both colours"
    assert say(backend, ask("see WO-12")) == "an order"
    assert say(backend, ask("hello", model="big")) == "the big one"
    assert say(backend, ask("hello", tools=(Tool("search", "", {}),))) == "with a tool"
    assert [say(backend, ask("twice")) for _ in range(3)] == ["used up later", "used up later", "afterwards"]


def test_a_request_that_no_line_matches_is_refused_with_its_last_words() -> None:
    with pytest.raises(Refused, match="turn 1 ending 'only red'"):
        say(Scripted(parse(SCRIPT)), ask("hello", "hi", "only red"))


def test_an_answer_depends_on_the_request_and_not_on_what_was_asked_before() -> None:
    old, new = Scripted(parse(SCRIPT)), Scripted(parse(SCRIPT))
    say(old, ask("red and blue"))
    assert say(old, ask("see WO-12")) == say(new, ask("see WO-12"))


def test_a_delay_passes_on_the_clock_that_was_given() -> None:
    slept: list[int] = []

    async def sleep(span_ns: int) -> None:
        slept.append(span_ns)

    backend = Scripted(parse({"lines": [{"say": "late", "delay_ms": 3_600_000}]}), sleep=sleep)
    assert say(backend, ask("hello")) == "late"
    assert slept == [3_600_000_000_000]


def test_a_function_may_take_the_place_of_a_script() -> None:
    def pick(request: Request) -> Line:
        return Line(say=str(len(request.messages))) if request.model == "m" else Line(fault="throttle")

    backend = Scripted(pick)
    assert say(backend, ask("a", "b", "c")) == "3"
    with pytest.raises(Throttled):
        say(backend, ask("a", model="other"))


def test_tokens_are_counted_by_the_published_rule() -> None:
    assert [count_text(text) for text in ("", "a", "abcd", "abcde", "🌍🌍")] == [0, 1, 1, 2, 2]
    assert count_request(ask("abcd", "ab")) == 4 + 1 + 4 + 1
    assert count_request(ask("abcd", tools=(Tool("find", "ab", {}),))) == 4 + 1 + 8 + 2 + 1
