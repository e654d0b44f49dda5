"""The ledger held against the model server's own account.

    charged = settled + written off             what the budget tree counts, from the journal
    served  = settled + what the lost attempts really used      what the server counted, from its log

An attempt that was in flight when the kernel died is written off at its bound. Reconciled, each bound is replaced by what
the server says of that attempt: then both sums are the same, to the micro-USD.

Rule 1: exchanges are matched by the effect's key, which every attempt of it carries; a key that the journal does not know
        is money nobody decided to spend.
Rule 2: a settled attempt takes one exchange of exactly its price; the rest must be no more than the attempts written off,
        and each within its bound.
"""

from collections import defaultdict
from typing import Any, NamedTuple

from agentos.abi.effects import Answered, Generate
from agentos.abi.events.call import EffectIntended, EffectRetried, EffectSettled
from agentos.views.base import Fact
from tests.e2e.town import INPUT_UUSD, OUTPUT_UUSD


class Reconciled(NamedTuple):
    exchanges: int
    settled_uusd: int
    written_off_uusd: int
    lost_uusd: int  # what the attempts written off really used
    served_uusd: int  # the server's sum

    @property
    def charged_uusd(self) -> int:
        return self.settled_uusd + self.written_off_uusd

    @property
    def gap_uusd(self) -> int:
        return self.settled_uusd + self.lost_uusd - self.served_uusd


def price(exchange: dict[str, Any]) -> int:
    """What an exchange cost, from the server's own count."""
    used = exchange["usage"]
    if not used:
        return 0
    uusd = used["prompt_tokens"] * INPUT_UUSD + used["completion_tokens"] * OUTPUT_UUSD
    return -(-uusd // 1_000_000)


def reconcile(facts: list[Fact], log: list[dict[str, Any]]) -> Reconciled:
    """Match every exchange with an attempt. Asserts rules 1 and 2."""
    bounds: dict[int, int] = {}
    settled: dict[int, int] = {}
    unknown: dict[int, list[int]] = defaultdict(list)  # effect -> bounds that were written off
    for fact in facts:
        match fact.event:
            case EffectIntended(effect=effect, what=Generate(), reserved=reserved):
                bounds[effect] = reserved.uusd
            case EffectRetried(effect=effect, written_off=amounts) if effect in bounds and amounts.uusd:
                unknown[effect].append(amounts.uusd)
            case EffectSettled(effect=effect, outcome=outcome, spent=spent, is_late=False) if effect in bounds:
                if isinstance(outcome, Answered):
                    settled[effect] = spent.uusd
                elif spent.uusd:
                    unknown[effect].append(spent.uusd)
    served: dict[int, list[int]] = defaultdict(list)
    for exchange in log:
        if exchange["usage"]:
            served[int(exchange["key"].rsplit("-", 1)[1])].append(price(exchange))
    assert set(served) <= set(bounds), f"exchanges that no effect asked for: {sorted(set(served) - set(bounds))}"
    lost = 0
    for effect, prices in served.items():
        if effect in settled:
            assert settled[effect] in prices, f"effect {effect} was settled at {settled[effect]}, served at {prices}"
            prices.remove(settled[effect])
        assert len(prices) <= len(unknown[effect]), f"effect {effect}: served {prices}, written off {unknown[effect]}"
        assert all(uusd <= bounds[effect] for uusd in prices), f"effect {effect} cost more than its bound"
        lost += sum(prices)
    missing = [effect for effect in settled if effect not in served]
    assert not missing, f"settled, and the server knows nothing of it: {missing}"
    return Reconciled(
        exchanges=sum(1 for exchange in log if exchange["usage"]),
        settled_uusd=sum(settled.values()),
        written_off_uusd=sum(map(sum, unknown.values())),
        lost_uusd=lost,
        served_uusd=sum(map(price, log)),
    )
