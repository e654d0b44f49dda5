"""Which backend is chosen: what the operator said, then keys, then what is near, and never a guess in silence."""

import socket
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest

from agentos.boot.models import DEFAULT_MODELS, OLLAMA_URL, Misconfigured, Probes, choose, models_at, open_backend
from agentos.drivers.models_store import QWEN_CODER
from agentos.drivers.prices import Prices

KEYS = {"ANTHROPIC_API_KEY": "sk-ant-1", "OPENAI_API_KEY": "sk-2"}


def world(
    served: Mapping[str, tuple[str, ...]] | None = None,
    *,
    engine: bool = False,
    model: bool = False,
    pull: bool = False,
) -> Probes:
    return Probes(
        models_at=lambda url: (served or {}).get(url),
        is_engine_there=lambda: engine,
        is_model_there=lambda: model,
        may_pull=lambda size: pull and size == QWEN_CODER.size_bytes,
    )


def refuse(*_: object) -> bool:
    raise AssertionError("what the operator said needs no probe")


def test_what_the_operator_said_wins_over_keys_and_servers_and_probes_nothing() -> None:
    env = {**KEYS, "AOS_LLM_BASE_URL": "http://gpu.lan:8000/v1/", "AOS_LLM_MODEL": "m", "AOS_LLM_API_KEY": "k"}
    choice = choose(env, Probes(refuse, refuse, refuse, refuse))  # type: ignore[arg-type]
    assert (choice.backend, choice.base_url, choice.model) == ("openai", "http://gpu.lan:8000/v1", "m")
    assert (choice.key_env, choice.zone) == ("AOS_LLM_API_KEY", "lan")


def test_a_providers_key_is_not_sent_to_another_host() -> None:
    elsewhere = choose({**KEYS, "AOS_LLM_BASE_URL": "https://api.openai.com.evil.example/v1"}, world())
    assert elsewhere.key_env == ""
    own = choose({**KEYS, "AOS_LLM_BASE_URL": "https://api.openai.com/v1"}, world())
    assert own.key_env == "OPENAI_API_KEY"


@pytest.mark.parametrize(
    ("env", "backend", "key_env"),
    [
        ({"AOS_LLM_BACKEND": "anthropic", "AOS_LLM_API_KEY": "x"}, "anthropic", "AOS_LLM_API_KEY"),
        ({"AOS_LLM_BACKEND": "openai", **KEYS}, "openai", "OPENAI_API_KEY"),
        ({"AOS_LLM_BACKEND": "ollama"}, "openai", ""),
        ({"AOS_LLM_API_KEY": "sk-ant-x"}, "anthropic", "AOS_LLM_API_KEY"),
        ({"AOS_LLM_API_KEY": "sk-x"}, "openai", "AOS_LLM_API_KEY"),
        (KEYS, "anthropic", "ANTHROPIC_API_KEY"),
        ({"OPENAI_API_KEY": "x"}, "openai", "OPENAI_API_KEY"),
    ],
)
def test_a_key_or_a_name_chooses_its_wire(env: dict[str, str], backend: str, key_env: str) -> None:
    choice = choose(env, world())
    assert (choice.backend, choice.key_env) == (backend, key_env)
    assert choice.reason


@pytest.mark.parametrize(
    "env",
    [
        {"AOS_LLM_BACKEND": "gpt"},
        {"AOS_LLM_BACKEND": "anthropic"},
        {"AOS_LLM_API_KEY": "who-knows"},
    ],
)
def test_a_contradiction_says_what_to_set(env: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match="AOS_LLM|_API_KEY"):
        choose(env, world())


def test_a_server_on_this_machine_is_taken_before_the_small_model() -> None:
    served = {OLLAMA_URL: ("nomic-embed-text", "llama3:8b", "qwen2.5-coder:7b")}
    choice = choose({}, world(served, engine=True, model=True))
    assert (choice.backend, choice.base_url, choice.model) == ("openai", OLLAMA_URL, "qwen2.5-coder:7b")
    assert "11434" in choice.reason
    assert choose({"AOS_LLM_MODEL": "llama3:8b"}, world(served)).model == "llama3:8b"
    assert choose({"AOS_LLM_MODEL": "absent"}, world(served)).backend == "scripted"
    assert choose({}, world({OLLAMA_URL: ("bge-embed",)})).backend == "scripted"


def test_the_small_model_is_fetched_only_with_a_yes_that_knows_the_size() -> None:
    assert choose({}, world(engine=True, model=True)).pull_bytes == 0
    asked = choose({}, world(engine=True, pull=True))
    assert (asked.backend, asked.pull_bytes) == ("local", QWEN_CODER.size_bytes)
    assert "1065 MB" in asked.reason
    assert choose({}, world(engine=True, pull=False)).backend == "scripted"
    assert choose({}, world(engine=False, model=True)).backend == "scripted"


def test_the_scripted_model_says_that_it_is_none() -> None:
    choice = choose({}, world())
    assert choice.backend == "scripted"
    assert "no model thinks" in choice.reason


def test_no_key_is_in_a_choice() -> None:
    for env in ({**KEYS}, {"AOS_LLM_API_KEY": "sk-ant-secret"}, {"AOS_LLM_BACKEND": "openai", **KEYS}):
        written = msgspec.json.encode(choose(env, world())).decode()
        assert not any(value in written for name, value in env.items() if name.endswith("KEY"))


def test_a_choice_opens_as_a_backend_that_hides_its_key(tmp_path: Path) -> None:
    env = {"AOS_LLM_BASE_URL": "http://127.0.0.1:9/v1", "AOS_LLM_API_KEY": "sk-secret-1", "AOS_LLM_MODEL": "qwen3"}
    backend = open_backend(choose(env, world()), env)
    assert (backend.name, backend.abilities().zone, backend.abilities().family) == ("openai", "local", "qwen")
    assert "sk-secret-1" not in f"{backend!r} {vars(backend)!r}"
    anthropic = open_backend(choose(KEYS, world()), KEYS)
    assert (anthropic.name, anthropic.abilities().zone) == ("anthropic", "external")
    script = tmp_path / "s.yaml"
    script.write_text("lines: [{say: hi}]\n")
    assert open_backend(choose({}, world()), {}, script=script).name == "scripted"


@pytest.mark.parametrize("provider", sorted(DEFAULT_MODELS))
def test_a_default_model_has_a_price(provider: str) -> None:
    assert Prices().bound_uusd(provider, DEFAULT_MODELS[provider], 1000, 1000) > 0


class _Page(BaseHTTPRequestHandler):
    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("body", "served"),
    [(b'{"data": [{"id": "a"}, {"id": "b"}]}', ("a", "b")), (b"<html>my blog</html>", None), (b'{"data": 3}', None)],
)
def test_only_a_model_server_counts_as_one(body: bytes, served: tuple[str, ...] | None) -> None:
    server = HTTPServer(("127.0.0.1", 0), type("Page", (_Page,), {"body": body}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        assert models_at(f"http://127.0.0.1:{server.server_port}/v1") == served
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def test_a_server_that_does_not_answer_in_time_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:  # accepts and says nothing
        assert models_at(f"http://127.0.0.1:{mute.getsockname()[1]}/v1") is None
        port = mute.getsockname()[1]
    assert models_at(f"http://127.0.0.1:{port}/v1") is None
