"""What an exchange costs, offline, in whole micro-USD: a bound to reserve before it, a figure to settle after it.

The price list is that of genai-prices, as installed; nothing is fetched. A model it does not know needs a price of
the operator's own (`Rate`), because an unknown price must stop the work and not make it free.

Rule 1: money is rounded up, and `bound_uusd` is never under `cost_uusd` of any usage within its token bounds.
Rule 2: every figure names the list it came from, so that a later list does not rewrite what was charged.
Rule 3: models that cost no money (local, scripted, replayed) cost 0, unless the operator has given them a rate; their
        tokens are counted all the same.
Rule 4: the list is loaded at the first question; it takes half a second that a start should not pay.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from agentos.abi.inference import Usage

FREE_PROVIDERS = frozenset({"local", "scripted", "replay"})
_MTOK = 1_000_000
_SECOND_NS = 1_000_000_000


class UnknownPrice(LookupError):
    """Nobody has said what this model costs."""


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operator's own price, in micro-USD for a million tokens: 3_000_000 is 3 USD."""

    input_uusd: int
    output_uusd: int
    cache_read_uusd: int | None = None  # None: as input
    cache_write_uusd: int | None = None  # None: as input


class Cost(NamedTuple):
    uusd: int
    price_version: str  # which list said so


def rates(raw: bytes) -> dict[tuple[str, str], Rate]:
    """An operator's rates from JSON, {"PROVIDER": {"MODEL": {"input_uusd": N, "output_uusd": N}}}; the model "*" is any.

    ValueError says what is wrong.
    """
    rows = msgspec.json.decode(raw, type=dict[str, dict[str, Rate]])
    found = {
        (provider, "" if model == "*" else model): rate for provider, row in rows.items() for model, rate in row.items()
    }
    if any((amount or 0) < 0 for rate in found.values() for amount in msgspec.structs.astuple(rate)):
        raise ValueError("a rate is negative; a price is 0 or more")
    return found


class Prices:
    """The installed list, under the operator's own rates. A rate for (provider, "") holds for all its models."""

    def __init__(self, overrides: Mapping[tuple[str, str], Rate] | None = None) -> None:
        self._overrides = dict(overrides or {})

    def bound_uusd(self, provider: str, model: str, input_tokens_max: int, output_tokens_max: int) -> int:
        """The most that an exchange within these bounds can cost, whatever part of the input is cached or written.

        Looks at every price that the model ever has in the list, so that neither the hour nor the day matters.
        """
        _check(input_tokens_max, output_tokens_max)
        if rate := self._rate(provider, model):
            dearest = max(_parts(rate)[:3])
            return _ceil(Decimal(input_tokens_max * dearest + output_tokens_max * rate.output_uusd) / _MTOK)
        if provider in FREE_PROVIDERS:
            return 0
        shapes = (
            Usage(input_tokens=input_tokens_max, output_tokens=output_tokens_max),
            Usage(cache_read_tokens=input_tokens_max, output_tokens=output_tokens_max),
            Usage(cache_write_tokens=input_tokens_max, output_tokens=output_tokens_max),
        )
        prices = (
            table.calc_price(_their_usage(shape))["total_price"]
            for table in _tables(provider, model)
            for shape in shapes
        )
        return _ceil(max(prices) * _MTOK)

    def cost_uusd(self, provider: str, model: str, usage: Usage, *, at_ns: int | None = None) -> Cost:
        """What the exchange cost, at the price of its moment (now, unless `at_ns` of the wall clock is given)."""
        _check(*(getattr(usage, field) for field in usage.__struct_fields__))
        if rate := self._rate(provider, model):
            fresh, read, written, output = _parts(rate)
            uusd = usage.input_tokens * fresh + usage.cache_read_tokens * read
            uusd += usage.cache_write_tokens * written + usage.output_tokens * output
            return Cost(_ceil(Decimal(uusd) / _MTOK), f"override {provider}/{model or '*'}")
        if provider in FREE_PROVIDERS:
            return Cost(0, "free")
        at = datetime.now(UTC) if at_ns is None else datetime.fromtimestamp(at_ns / _SECOND_NS, UTC)
        found_provider, found = _lookup(provider, model)
        price = found.calc_price(_their_usage(usage), found_provider, genai_request_timestamp=at).total_price
        return Cost(_ceil(price * _MTOK), f"genai-prices {_version()} {found_provider.id}/{found.id}")

    def _rate(self, provider: str, model: str) -> Rate | None:
        return self._overrides.get((provider, model)) or self._overrides.get((provider, ""))


def _check(*counts: int) -> None:
    if any(count < 0 for count in counts):
        raise ValueError(f"token counts {counts} are not all 0 or more")


def _parts(rate: Rate) -> tuple[int, int, int, int]:
    read = rate.input_uusd if rate.cache_read_uusd is None else rate.cache_read_uusd
    written = rate.input_uusd if rate.cache_write_uusd is None else rate.cache_write_uusd
    return rate.input_uusd, read, written, rate.output_uusd


def _ceil(uusd: Decimal) -> int:
    return int(uusd.to_integral_value(rounding=ROUND_CEILING))


def _their_usage(usage: Usage) -> Any:
    """The list counts cached input inside input; ours is outside."""
    from genai_prices import Usage as Theirs

    whole = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    return Theirs(
        input_tokens=whole,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
    )


@lru_cache(maxsize=1024)
def _lookup(provider: str, model: str) -> tuple[Any, Any]:
    from genai_prices.data_snapshot import get_snapshot

    try:
        return get_snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        raise UnknownPrice(
            f"model {model!r} of provider {provider!r} is not in genai-prices {_version()}; "
            f'set its price yourself, in the file that AGENTOS_PRICES names: {{"{provider}": {{"{model or "*"}": '
            f'{{"input_uusd": N, "output_uusd": N}}}}}} per million tokens; or upgrade genai-prices'
        ) from None


def _tables(provider: str, model: str) -> list[Any]:
    """Each price table that the model has at some hour or from some day on."""
    _, found = _lookup(provider, model)
    return [part.prices for part in found.prices] if isinstance(found.prices, list) else [found.prices]


@lru_cache(maxsize=1)
def _version() -> str:
    import genai_prices

    return str(genai_prices.__version__)
