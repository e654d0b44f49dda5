"""Prices: rounded up, bounded from above, and never zero by ignorance."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentos.abi.inference import Usage
from agentos.drivers.prices import Prices, Rate, UnknownPrice

NOW_NS = 1_790_000_000_000_000_000  # 2026-09-21; prices in the list change by date
# Flat, tiered by input, priced by date, priced by the hour, without a price for cache writes.
MODELS = [
    ("anthropic", "claude-opus-4-5"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-sonnet-4-6"),
    ("openai", "gpt-5.1"),
    ("openai", "o3"),
    ("deepseek", "deepseek-chat"),
    ("google", "gemini-2.5-pro"),
    ("mine", "m"),
    ("mine", "other"),
]
OWN = Prices({("mine", "m"): Rate(3_000_000, 15_000_000, 300_000, 3_750_000), ("mine", ""): Rate(1, 1)})
tokens = st.integers(0, 1_000_000)
DAY_NS = 86_400_000_000_000


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(MODELS), tokens, tokens, tokens, tokens, st.integers(0, 2000 * DAY_NS))
def test_no_usage_within_the_bound_costs_more_than_the_bound(
    model: tuple[str, str], fresh: int, read: int, written: int, output: int, ago_ns: int
) -> None:
    usage = Usage(input_tokens=fresh, cache_read_tokens=read, cache_write_tokens=written, output_tokens=output)
    bound = OWN.bound_uusd(*model, fresh + read + written, output)
    assert OWN.cost_uusd(*model, usage, at_ns=NOW_NS - ago_ns).uusd <= bound


def test_cache_reads_and_writes_have_prices_of_their_own() -> None:
    cost = Prices().cost_uusd
    million = 1_000_000
    assert cost("anthropic", "claude-opus-4-5", Usage(input_tokens=million), at_ns=NOW_NS).uusd == 5_000_000
    assert cost("anthropic", "claude-opus-4-5", Usage(cache_read_tokens=million), at_ns=NOW_NS).uusd == 500_000
    assert cost("anthropic", "claude-opus-4-5", Usage(cache_write_tokens=million), at_ns=NOW_NS).uusd == 6_250_000
    assert cost("anthropic", "claude-opus-4-5", Usage(output_tokens=million), at_ns=NOW_NS).uusd == 25_000_000


def test_a_fraction_of_a_micro_dollar_is_rounded_up() -> None:
    assert Prices().cost_uusd("openai", "gpt-5.1", Usage(cache_read_tokens=1), at_ns=NOW_NS).uusd == 1  # 0.125
    assert OWN.cost_uusd("mine", "other", Usage(input_tokens=1)).uusd == 1


def test_every_figure_names_its_price_list() -> None:
    listed = Prices().cost_uusd("anthropic", "claude-opus-4-5-20251101", Usage(input_tokens=1), at_ns=NOW_NS)
    assert listed.price_version.startswith("genai-prices ")
    assert listed.price_version.endswith("anthropic/claude-opus-4-5")
    assert OWN.cost_uusd("mine", "m", Usage(input_tokens=1)).price_version == "override mine/m"


@pytest.mark.parametrize("provider", ["local", "scripted", "replay"])
def test_models_that_cost_no_money_cost_nothing(provider: str) -> None:
    assert Prices().cost_uusd(provider, "any", Usage(input_tokens=10**9)) == (0, "free")
    assert Prices().bound_uusd(provider, "any", 10**9, 10**9) == 0


@pytest.mark.parametrize(("provider", "model"), [("openai", "no-such-model"), ("nobody", "gpt-5.1"), ("lan", "qwen")])
def test_a_model_without_a_price_is_an_error_that_says_where_to_set_one(provider: str, model: str) -> None:
    with pytest.raises(UnknownPrice, match=rf"AGENTOS_PRICES.*{provider}.*{model}"):
        Prices().bound_uusd(provider, model, 1, 1)
    with pytest.raises(UnknownPrice):
        Prices().cost_uusd(provider, model, Usage(input_tokens=1))


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        Prices().cost_uusd("local", "any", Usage(input_tokens=-1))


def test_the_price_list_is_not_loaded_by_importing_this() -> None:
    code = "import agentos.drivers.prices, sys; sys.exit('genai_prices' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, env={"PYTHONPATH": "src"}, timeout=30).returncode == 0
    )
