"""Which model serves, and why: decided from the environment and a few probes, and told in a sentence.

Rule 1: `choose` is a function of its arguments. It opens nothing, and no key is in what it returns, only the name of
        the variable that holds one.
Rule 2: what the operator said comes first. What was found comes after it, near before far, and the reason says so.
Rule 3: nothing large is fetched without a yes, and a scripted model is never passed off as a real one.

    1  AOS_LLM_BACKEND, AOS_LLM_BASE_URL, AOS_LLM_MODEL, AOS_LLM_API_KEY
    2  ANTHROPIC_API_KEY, then OPENAI_API_KEY
    3  a model server on this machine that answers within 0.3 s
    4  the small local model, if it is here or may be pulled
    5  the scripted model
"""

import http.client
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from agentos.drivers import models_store
from agentos.drivers.wire.http import check_url, parse_object, zone_of
from agentos.drivers.wire.openai import models_of
from agentos.ports.inference import Garbled, Inference

BACKENDS = ("openai", "anthropic", "ollama", "local", "scripted")
# What a key alone buys. Both are in the price list, so that a bound can be reserved; AOS_LLM_MODEL names another.
DEFAULT_MODELS = {"anthropic": "claude-sonnet-4-6", "openai": "gpt-5.1"}
OLLAMA_URL = "http://127.0.0.1:11434/v1"
# Port of each server as it comes out of the box.
USUAL_SERVERS = (
    ("Ollama", OLLAMA_URL),
    ("LM Studio", "http://127.0.0.1:1234/v1"),
    ("llama.cpp", "http://127.0.0.1:8080/v1"),
    ("vLLM", "http://127.0.0.1:8000/v1"),
)
_PROBE_S = 0.3  # the loopback answers in a millisecond; what takes longer is not a server that one wants
_PROBE_BYTES_MAX = 1 << 20
_LOCAL_CONTEXT_TOKENS_MAX = 8192  # what the local driver loads
# Ollama cuts a longer prompt off without a word unless it was told otherwise, so this is all that is promised.
_OLLAMA_CONTEXT_TOKENS_MAX = 4096
_SERVER_CONTEXT_TOKENS_MAX = 8192  # a server that does not say; nearly all are started with at least this


class Choice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The backend to open, and why it is this one."""

    backend: str  # openai | anthropic | local | scripted
    reason: str  # one sentence for the operator
    model: str = ""
    base_url: str = ""
    key_env: str = ""  # the variable that holds the API key, "" for none
    zone: str = "local"  # local | lan | external
    context_tokens_max: int = 0  # 0: as the driver knows
    pull_bytes: int = 0  # to be fetched before the first answer

    family: str = ""  # model family, "" where the driver is to tell it by the model's name

    @property
    def provider(self) -> str:
        """Whose price list holds, and what each of its answers says: a machine near by is its own provider."""
        return self.zone if self.backend in ("openai", "anthropic") and self.zone != "external" else self.backend


class Probes(NamedTuple):
    """What `choose` may ask of the world."""

    models_at: Callable[[str], tuple[str, ...] | None]  # names served at a base URL, None when nobody answers
    is_engine_there: Callable[[], bool]  # the local engine is installed
    is_model_there: Callable[[], bool]  # the local model is in the store
    may_pull: Callable[[int], bool]  # the operator agrees to fetch so many bytes


class Misconfigured(ValueError):
    """What the environment asks for contradicts itself."""


def choose(env: Mapping[str, str], probes: Probes) -> Choice:
    """The backend that this environment asks for, or the best that is here. Misconfigured says what to change."""
    return _told(env, probes) or _by_key(env) or _found_server(env, probes) or _local(probes) or _scripted()


def _told(env: Mapping[str, str], probes: Probes) -> Choice | None:
    backend, base_url = env.get("AOS_LLM_BACKEND", ""), env.get("AOS_LLM_BASE_URL", "")
    model, has_key = env.get("AOS_LLM_MODEL", ""), bool(env.get("AOS_LLM_API_KEY"))
    if backend and backend not in BACKENDS:
        raise Misconfigured(f"AOS_LLM_BACKEND is {backend!r}; it can be {', '.join(BACKENDS)}")
    if backend == "scripted":
        return Choice(
            backend="scripted", model=model, reason="AOS_LLM_BACKEND asks for the scripted model, which is no model"
        )
    if backend == "local":
        pull_bytes = 0 if probes.is_model_there() else models_store.QWEN_CODER.size_bytes
        fetched = f", which must be fetched first ({pull_bytes >> 20} MB)" if pull_bytes else ""
        return _local_choice(
            f"AOS_LLM_BACKEND asks for the small model on this machine{fetched}", pull_bytes=pull_bytes
        )
    if not backend and not base_url and not has_key:
        return None  # AOS_LLM_MODEL alone names a model for whatever is found
    wire = _wire_of(backend, base_url, env)
    base_url = base_url or (OLLAMA_URL if backend == "ollama" else "")
    return _remote(env, wire, base_url=base_url, context=_OLLAMA_CONTEXT_TOKENS_MAX if backend == "ollama" else 0)


def _wire_of(backend: str, base_url: str, env: Mapping[str, str]) -> str:
    """Which wire format is meant: by name, by address, or by the look of the key."""
    if backend:
        return "openai" if backend == "ollama" else backend
    if base_url:
        return "anthropic" if "anthropic" in base_url else "openai"
    if env["AOS_LLM_API_KEY"].startswith("sk-ant-"):
        return "anthropic"
    if env["AOS_LLM_API_KEY"].startswith("sk-"):
        return "openai"
    raise Misconfigured(
        "AOS_LLM_API_KEY is set and nothing says whose key it is; set AOS_LLM_BACKEND or AOS_LLM_BASE_URL"
    )


def _remote(env: Mapping[str, str], wire: str, *, base_url: str, context: int) -> Choice:
    own_env = f"{wire.upper()}_API_KEY"
    if base_url:
        # A key is for its own host: the provider's key is not sent to another address because that was given alone.
        key_env = "AOS_LLM_API_KEY" if env.get("AOS_LLM_API_KEY") else ""
        is_official = urlsplit(base_url).hostname == f"api.{wire}.com"
        key_env = key_env or (own_env if is_official and env.get(own_env) else "")
    else:
        key_env = "AOS_LLM_API_KEY" if env.get("AOS_LLM_API_KEY") else own_env
        if not env.get(key_env):
            raise Misconfigured(f"AOS_LLM_BACKEND is {wire} and there is no key; set AOS_LLM_API_KEY or {own_env}")
    url = check_url(base_url) if base_url else ""
    zone = zone_of(url) if url else "external"
    is_open_server = bool(url) and zone != "external"
    model = env.get("AOS_LLM_MODEL") or ("" if url else DEFAULT_MODELS[wire])
    said = ", ".join(name for name in _NAMES if env.get(name))
    return Choice(
        backend=wire,
        model=model,
        base_url=url,
        key_env=key_env,
        zone=zone,
        context_tokens_max=context or (_SERVER_CONTEXT_TOKENS_MAX if is_open_server else 0),
        reason=f"{said} asked for {wire} at {urlsplit(url).netloc or 'its own address'}; what agents read {_goes(zone)}",
    )


_NAMES = ("AOS_LLM_BACKEND", "AOS_LLM_BASE_URL", "AOS_LLM_MODEL", "AOS_LLM_API_KEY")


def _by_key(env: Mapping[str, str]) -> Choice | None:
    for wire in ("anthropic", "openai"):
        key_env, url_env = f"{wire.upper()}_API_KEY", f"{wire.upper()}_BASE_URL"
        if not env.get(key_env):
            continue
        url = check_url(env[url_env]) if env.get(url_env) else ""
        zone = zone_of(url) if url else "external"
        both = " (OPENAI_API_KEY is set too; AOS_LLM_BACKEND=openai takes that)" if env.get("OPENAI_API_KEY") else ""
        return Choice(
            backend=wire,
            model=env.get("AOS_LLM_MODEL") or DEFAULT_MODELS[wire],
            base_url=url,
            key_env=key_env,
            zone=zone,
            reason=f"{key_env} is set{both if wire == 'anthropic' else ''}; what agents read {_goes(zone)}",
        )
    return None


def _found_server(env: Mapping[str, str], probes: Probes) -> Choice | None:
    for name, url in USUAL_SERVERS:
        served = probes.models_at(url)
        model = _pick(served or (), env.get("AOS_LLM_MODEL", ""))
        if not model:
            continue
        is_ollama = url == OLLAMA_URL
        return Choice(
            backend="openai",
            model=model,
            base_url=url,
            zone="local",
            context_tokens_max=_OLLAMA_CONTEXT_TOKENS_MAX if is_ollama else _SERVER_CONTEXT_TOKENS_MAX,
            reason=f"no key is set, and a server answers at {urlsplit(url).netloc} as {name} does; it has {model}",
        )
    return None


def _pick(served: tuple[str, ...], wanted: str) -> str:
    """The wanted name if it is served; else one made for code, else one made to follow instructions, else the first."""
    if wanted:
        return wanted if wanted in served else ""
    talking = [
        name for name in served if not any(mark in name.lower() for mark in ("embed", "rerank", "whisper", "bge"))
    ]
    for mark in ("coder", "code", "devstral", "instruct"):
        for name in talking:
            if mark in name.lower():
                return name
    return talking[0] if talking else ""


def _local(probes: Probes) -> Choice | None:
    model = models_store.QWEN_CODER
    if not probes.is_engine_there():
        return None
    if probes.is_model_there():
        return _local_choice("no key is set and no server answers; the small model on this machine is here")
    if probes.may_pull(model.size_bytes):
        return _local_choice(
            f"no key is set and no server answers; the small model will be fetched first ({model.size_bytes >> 20} MB)",
            pull_bytes=model.size_bytes,
        )
    return None


def _local_choice(reason: str, *, pull_bytes: int = 0) -> Choice:
    return Choice(
        backend="local",
        model=models_store.QWEN_CODER.name,
        context_tokens_max=_LOCAL_CONTEXT_TOKENS_MAX,
        pull_bytes=pull_bytes,
        reason=f"{reason}. It does small jobs only: one file, one function",
    )


def _scripted() -> Choice:
    return Choice(
        backend="scripted",
        reason="no key is set, no server answers and no local model is here: the answers are scripted, and no model "
        "thinks. Set ANTHROPIC_API_KEY or OPENAI_API_KEY, start Ollama, or pull the small model",
    )


def _goes(zone: str) -> str:
    return {
        "local": "stays on this machine",
        "lan": "goes to a machine in this network",
        "external": "leaves this building",
    }[zone]


def probes_of(env: Mapping[str, str], may_pull: Callable[[int], bool]) -> Probes:
    """The probes that ask the real world."""
    store = models_store.Store(models_store.cache_root(env))
    return Probes(
        models_at=models_at,
        is_engine_there=lambda: importlib.util.find_spec("xllamacpp") is not None,
        is_model_there=lambda: store.is_present(models_store.QWEN_CODER),
        may_pull=may_pull,
    )


def models_at(base_url: str) -> tuple[str, ...] | None:
    """The names of the models served there, None when nobody answers in time or what answers is no model server."""
    parts = urlsplit(base_url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=_PROBE_S)
    try:
        connection.request("GET", f"{parts.path}/models")
        response = connection.getresponse()
        return models_of(parse_object(response.read(_PROBE_BYTES_MAX))) if response.status == 200 else None
    except (OSError, http.client.HTTPException, Garbled):  # nobody there, or somebody else's server
        return None
    finally:
        connection.close()


def open_backend(choice: Choice, env: Mapping[str, str], *, script: Path | None = None) -> Inference:
    """The chosen backend. Imports its driver and no other; starts and fetches nothing yet."""
    key = env.get(choice.key_env, "") if choice.key_env else ""
    match choice.backend:
        case "openai":
            from agentos.drivers import inference_openai as openai

            return openai.OpenAI(
                api_key=key,
                model=choice.model,
                base_url=choice.base_url or openai.OFFICIAL_URL,
                provider=choice.provider,
                family=choice.family,
                context_tokens_max=choice.context_tokens_max or openai.CONTEXT_TOKENS_MAX,
            )
        case "anthropic":
            from agentos.drivers import inference_anthropic as anthropic

            return anthropic.Anthropic(
                api_key=key,
                model=choice.model,
                base_url=choice.base_url or anthropic.OFFICIAL_URL,
                provider=choice.provider,
                family=choice.family,
                context_tokens_max=choice.context_tokens_max or anthropic.CONTEXT_TOKENS_MAX,
            )
        case "local":
            from agentos.drivers.inference_local import Local

            model = models_store.QWEN_CODER
            path = models_store.Store(models_store.cache_root(env)).verified(model)
            return Local(path, model=model.name, family=model.family)
        case "scripted":
            from agentos.drivers.inference_scripted import Scripted, load

            if script is None:
                raise Misconfigured("the scripted model has no script; give one")
            return Scripted(load(script))
    raise Misconfigured(f"backend {choice.backend!r} is not one of {', '.join(BACKENDS)}")
