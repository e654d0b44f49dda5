"""Money and other amounts, as integers, in a tree of control groups.

Rule 1: an amount is never negative. A limit of 0 means that none of it may be used, not that it is unlimited.
"""

import msgspec


class Amounts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is limited, reserved or spent."""

    uusd: int = 0  # micro-USD
    tokens: int = 0  # model tokens, cached ones included
    actions: int = 0  # effects started: inference, tools

    def plus(self, other: "Amounts") -> "Amounts":
        return Amounts(self.uusd + other.uusd, self.tokens + other.tokens, self.actions + other.actions)

    def minus(self, other: "Amounts") -> "Amounts":
        return Amounts(self.uusd - other.uusd, self.tokens - other.tokens, self.actions - other.actions)

    def fits(self, room: "Amounts") -> bool:
        return self.uusd <= room.uusd and self.tokens <= room.tokens and self.actions <= room.actions

    def least(self, other: "Amounts") -> "Amounts":
        return Amounts(min(self.uusd, other.uusd), min(self.tokens, other.tokens), min(self.actions, other.actions))


NOTHING = Amounts()
WORKSPACE_DEFAULT = Amounts(uusd=50_000_000, tokens=200_000_000, actions=1_000_000)  # $50: what a person notices
ORDER_DEFAULT = Amounts(uusd=2_000_000, tokens=5_000_000, actions=2_000)  # $2: what a small job is worth
