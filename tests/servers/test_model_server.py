"""The scripted model server as a process of its own."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from agentos.abi.inference import Message, Request, Text
from agentos.drivers.inference_openai import OpenAI
from agentos.drivers.inference_scripted import count_request, load
from agentos.ports.inference import Throttled

SCRIPT = """
name: demo
lines:
  - {when: {contains: slow}, fault: throttle, times: 2, retry_after_ms: 20}
  - {when: {}, say: "hello"}
"""


def test_it_serves_a_script_as_a_process_and_keeps_its_own_account(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SCRIPT)
    log = tmp_path / "usage.jsonl"
    command = [sys.executable, "-m", "tests.servers.model_server", "--port", "0", "--log", str(log)]
    process = subprocess.Popen([*command, "--script", str(tmp_path / "s.yaml")], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        request = Request(model="m", messages=(Message("user", (Text("slow"),)),), output_tokens_max=9)

        async def scenario() -> None:
            backend = OpenAI(base_url=f"http://127.0.0.1:{port}/v1")
            assert await backend.models() == ("scripted-1",)
            for _ in range(2):
                with pytest.raises(Throttled):
                    await backend.generate(request, key="1.1/0/1")
            assert (await backend.generate(request, key="1.1/0/1")).text == "hello"
            await backend.close()

        asyncio.run(asyncio.wait_for(scenario(), 20))
        notes = [json.loads(line) for line in log.read_text().splitlines()]
        assert [note["status"] for note in notes] == [429, 429, 200]
        assert notes[-1]["usage"]["prompt_tokens"] == count_request(request)
    finally:
        process.kill()
        process.wait(timeout=10)
        if process.stdout:
            process.stdout.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lines: [{say: a, fault: explode}]", "explode"),
        ("lines: [{sya: a}]", "sya"),
        ("lines: 3", "lines"),
        ("lines: [", "script"),
    ],
)
def test_a_script_that_is_wrong_says_where(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        load(path)
