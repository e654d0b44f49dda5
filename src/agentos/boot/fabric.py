"""Which backend serves which model class: one for all by the environment, others by a table, and what each costs.

    AGENTOS_MODELS=models.toml      a table for each class that has a model of its own
        [frontier]
        backend = "anthropic"       # openai | anthropic | ollama | local
        model = "claude-sonnet-4-6"
        key_env = "ANTHROPIC_API_KEY"   # the variable that holds the key; no key stands in the file
        [tiny]
        backend = "openai"
        base_url = "http://127.0.0.1:8080/v1"
    AGENTOS_PRICES=prices.json      the operator's own rates: {"PROVIDER": {"MODEL": {"input_uusd": N, "output_uusd": N}}}

Rule 1: a class of the table is served by its row; every other one by what the environment chose.
Rule 2: a model whose price nobody knows is refused at the start: work that cannot be bounded is not begun.
"""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from agentos.boot.models import Choice, Misconfigured, Probes, choose, open_backend
from agentos.drivers.prices import Prices, UnknownPrice, rates
from agentos.ports.inference import Inference

CLASSES = ("tiny", "coder", "frontier", "judge")  # what an order may ask for without a table; a table may name more


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One class of the table."""

    backend: str
    model: str = ""
    base_url: str = ""
    key_env: str = ""
    family: str = ""
    context_tokens_max: int = 0  # 0: as the driver knows


class Served(NamedTuple):
    """A backend and the classes that it serves."""

    name: str  # unique here; what the journal calls it
    choice: Choice
    backend: Inference
    classes: tuple[str, ...]


def table(env: Mapping[str, str], probes: Probes) -> dict[str, Choice]:
    """The rows of the file that AGENTOS_MODELS names, by class. Misconfigured says what is wrong with it."""
    told = env.get("AGENTOS_MODELS")
    if not told:
        return {}
    try:
        rows = msgspec.convert(tomllib.loads(Path(told).read_text()), dict[str, Row])
    except (OSError, ValueError) as error:
        raise Misconfigured(f"AGENTOS_MODELS={told}: {error}") from None
    return {name: _chosen(name, row, env, probes) for name, row in rows.items()}


def _chosen(name: str, row: Row, env: Mapping[str, str], probes: Probes) -> Choice:
    """The row as if the environment had asked for it."""
    if row.key_env and not env.get(row.key_env):
        raise Misconfigured(f"class {name} takes its key from {row.key_env}, which is not set")
    if row.backend == "scripted":
        raise Misconfigured(f"class {name} asks for the scripted model, which is no model")
    asked = {
        "AOS_LLM_BACKEND": row.backend,
        "AOS_LLM_BASE_URL": row.base_url,
        "AOS_LLM_MODEL": row.model,
        "AOS_LLM_API_KEY": env.get(row.key_env, "") if row.key_env else "",
    }
    choice = choose(
        {**{key: env[key] for key in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY") if key in env}, **asked}, probes
    )
    return msgspec.structs.replace(
        choice,
        key_env=row.key_env or choice.key_env,
        family=row.family,
        context_tokens_max=row.context_tokens_max or choice.context_tokens_max,
        reason=f"the table of models names it for class {name}",
    )


def prices(env: Mapping[str, str]) -> Prices:
    """The installed list, under the rates of the file that AGENTOS_PRICES names."""
    told = env.get("AGENTOS_PRICES")
    if not told:
        return Prices()
    try:
        return Prices(rates(Path(told).read_bytes()))
    except (OSError, ValueError) as error:
        raise Misconfigured(f"AGENTOS_PRICES={told}: {error}") from None


def serve(
    choice: Choice, rows: Mapping[str, Choice], env: Mapping[str, str], *, script: Path | None = None
) -> tuple[Served, ...]:
    """Open every backend that some class is served by. What the environment chose comes first."""
    rest = tuple(name for name in CLASSES if name not in rows)
    # Where there is no model and no script, the classes left over are served by nobody: judging needs no model, and an
    # order that asks for one is told so.
    has_rest = bool(rest) and not (choice.backend == "scripted" and script is None)
    first = (Served(choice.backend, choice, open_backend(choice, env, script=script), rest),) if has_rest else ()
    named = (Served(f"{name}.{row.backend}", row, open_backend(row, env), (name,)) for name, row in rows.items())
    return (*first, *named)


def bound(served: Served, prices: Prices) -> Callable[[int, int], int]:
    """What an exchange within (input tokens, output tokens) can cost at most. Misconfigured if nobody knows."""
    provider, model = served.choice.provider, served.choice.model

    def uusd(inputs: int, outputs: int) -> int:
        return prices.bound_uusd(provider, model, inputs, outputs)

    try:
        uusd(0, 0)
    except UnknownPrice as error:
        raise Misconfigured(str(error)) from None
    return uusd
