"""The local driver over the real engine, with a real model file that knows nothing. No test looks at the words."""

import asyncio
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentos.abi.inference import Answer, Delta, Message, Request, Text, Tool
from agentos.drivers import models_store
from agentos.drivers.inference_local import Bound, Local
from agentos.ports.inference import Refused, Unreachable
from tests.servers import tiny_model

pytest.importorskip("xllamacpp")

SMALL = Bound(memory_bytes_max=2 << 30, threads=1, context_tokens_max=1024, start_s=30)
BOUND_S = 60  # far over a load of 113 KB


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("model") / "tiny.gguf")


def ask(words: str = "hello", most: int = 12, **more: Any) -> Request:
    return Request(model="", messages=(Message("user", (Text(words),)),), output_tokens_max=most, **more)


def run(path: Path, body: Callable[[Local], Awaitable[None]], bound: Bound = SMALL) -> None:
    async def scenario() -> None:
        local = Local(path, model="tiny-qwen", bound=bound)
        try:
            async with asyncio.timeout(BOUND_S):
                await body(local)
        finally:
            await local.close()

    asyncio.run(scenario())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def wait_gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while is_alive(pid):
            await asyncio.sleep(0.02)


def test_it_starts_at_the_first_request_and_counts_what_the_engine_counts(tiny: Path) -> None:
    async def body(local: Local) -> None:
        assert local.pid is None
        answer = await local.generate(ask(), key="k")
        assert (answer.stop, answer.usage.output_tokens) == ("length", 12)
        assert (answer.model, answer.provider, answer.is_metered) == ("tiny-qwen", "local", True)
        again = await local.generate(ask(), key="k")
        assert again.usage.tokens == answer.usage.tokens
        assert again.usage.cache_read_tokens > 0  # the prefix was still there

    run(tiny, body)


def test_a_stream_ends_with_its_answer(tiny: Path) -> None:
    async def body(local: Local) -> None:
        items = [item async for item in local.stream(ask(), key="k")]
        answer = items[-1]
        assert isinstance(answer, Answer)
        assert (answer.stop, answer.usage.output_tokens, answer.is_metered) == ("length", 12, True)

    run(tiny, body)


def test_a_schema_holds_even_a_model_that_knows_nothing(tiny: Path) -> None:
    schema = {"type": "object", "properties": {"verdict": {"enum": ["accept", "reject"]}}, "required": ["verdict"]}

    async def body(local: Local) -> None:
        answer = await local.generate(ask(most=100, schema=schema), key="k")
        assert msgspec.json.decode(answer.text)["verdict"] in ("accept", "reject")

    run(tiny, body)


def test_tools_another_model_and_a_prompt_that_is_too_long_are_refused(tiny: Path) -> None:
    async def body(local: Local) -> None:
        assert not local.abilities().has_tools
        for request in (ask(tools=(Tool("t", "", {"type": "object"}),)), ask("word " * 2000)):
            with pytest.raises(Refused):
                await local.generate(request, key="k")
        with pytest.raises(Refused, match="holds 'tiny-qwen'"):
            await local.generate(msgspec.structs.replace(ask(), model="gpt"), key="k")

    run(tiny, body)


def test_a_model_that_was_killed_is_there_again_for_the_next_request(tiny: Path) -> None:
    async def body(local: Local) -> None:
        await local.start()
        first = local.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(10):
            while local.pid is not None:
                await asyncio.sleep(0.02)
        assert (await local.generate(ask(), key="k")).stop == "length"
        assert local.pid not in (None, first)

    run(tiny, body)


def test_a_model_that_keeps_dying_is_not_started_for_ever(tiny: Path) -> None:
    async def body(local: Local) -> None:
        for _ in range(3):
            await local.start()
            assert local.pid is not None
            os.kill(local.pid, signal.SIGKILL)
            async with asyncio.timeout(10):
                while local.pid is not None:
                    await asyncio.sleep(0.02)
        with pytest.raises(Unreachable, match="3 times") as caught:
            await local.start()
        assert caught.value.retry_after_ns is not None
        assert local.pid is None

    run(tiny, body)


def test_leaving_in_the_middle_frees_the_model_for_the_next_request(tiny: Path) -> None:
    async def body(local: Local) -> None:
        stream: Any = local.stream(ask(most=900), key="k")
        assert isinstance(await anext(stream), Delta)
        await stream.aclose()
        assert (await local.generate(ask(), key="k")).stop == "length"

    run(tiny, body)


def test_closing_ends_the_process(tiny: Path) -> None:
    async def body(local: Local) -> None:
        await local.start()
        pid = local.pid
        assert pid is not None
        await local.close()
        assert not is_alive(pid)

    run(tiny, body)


def test_the_model_ends_with_a_parent_that_was_killed(tiny: Path) -> None:
    code = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom agentos.drivers.inference_local import Local\n"
        "async def main():\n    local = Local(Path(sys.argv[1]))\n    await local.start()\n"
        "    print(local.pid, flush=True)\n    await asyncio.Event().wait()\nasyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tiny)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert is_alive(pid)
    parent.kill()
    parent.wait(timeout=10)
    parent.stdout.close()
    asyncio.run(wait_gone(pid))


def test_nobody_without_the_key_can_use_it_and_the_key_is_on_no_command_line(tiny: Path) -> None:
    async def body(local: Local) -> None:
        await local.start()
        assert local._child is not None
        endpoint = local._child.wire.endpoint
        assert endpoint.base_url.startswith("http://127.0.0.1:")
        request = urllib.request.Request(f"{endpoint.base_url}/chat/completions", b'{"messages": []}')
        with pytest.raises(urllib.error.HTTPError, match="401"):
            await asyncio.to_thread(urllib.request.urlopen, request, timeout=10)
        arguments = Path(f"/proc/{local.pid}/cmdline").read_bytes() + Path(f"/proc/{local.pid}/environ").read_bytes()
        assert endpoint.secret.reveal().encode() not in arguments
        assert endpoint.secret.reveal() not in f"{local!r} {vars(local)!r}"

    run(tiny, body)


def test_memory_over_its_bound_is_refused_to_the_model_and_not_to_us(tiny: Path) -> None:
    async def body(local: Local) -> None:
        with pytest.raises((Refused, Unreachable), match="did not start"):
            await local.generate(ask(), key="k")
        assert local.pid is None

    run(tiny, body, SMALL._replace(memory_bytes_max=150 << 20))


def test_a_file_that_is_no_model_is_refused_with_the_engines_words(tmp_path: Path) -> None:
    path = tmp_path / "no.gguf"
    path.write_bytes(b"not a model" * 100)

    async def body(local: Local) -> None:
        with pytest.raises(Refused, match="did not start.*failed to load model"):
            await local.generate(ask(), key="k")

    run(path, body)


@pytest.mark.model
def test_the_small_model_answers_with_a_fenced_block() -> None:
    store = models_store.Store(models_store.cache_root(os.environ))
    if not store.is_present(models_store.QWEN_CODER):
        pytest.skip("the model is not in the store; pull it to run this")
    path = store.verified(models_store.QWEN_CODER)

    async def scenario() -> None:
        local = Local(path)
        try:
            async with asyncio.timeout(300):
                answer = await local.generate(ask("Write `def add(a, b)` in Python, in one code block.", 120), key="k")
            assert "```" in answer.text
        finally:
            await local.close()

    asyncio.run(scenario())
