"""Why a call was not carried out. A refusal is a fact: recorded, counted and shown, never a crash.

Split by what the caller can do about it:

    yours now        Invalid, Forbidden
    wait             Busy, Exhausted, NotYet
    gone             Stale, Closed, NotFound
    the world        Broken, TimedOut

Rule 1: `thing` names the object, `fact` states what is so, `remedy` says the way out.
Rule 2: a refusal by a limit names the limit, its value, its unit and the configuration key that raises it.
"""

import msgspec


class _Refusal(msgspec.Struct, frozen=True, tag=str.lower, tag_field="refusal", kw_only=True, omit_defaults=True):
    thing: str  # what it is about: "lease '/repo'", "order WO-3", "field budget_uusd"
    fact: str  # what is so: "is held by pid 4.2 until 12:04:31"
    remedy: str = ""  # the way out: "wait, or send it TERM"
    rule: str = ""  # the law or policy rule that said no, by name
    limit: str = ""  # configuration key of the limit that was reached, if one was

    def __str__(self) -> str:
        text = f"{self.thing} {self.fact}"
        return f"{text}; {self.remedy}" if self.remedy else text


class Invalid(_Refusal, frozen=True):
    """The request is malformed or contradicts itself; the caller must change it."""


class Forbidden(_Refusal, frozen=True):
    """The caller does not hold the authority."""


class Busy(_Refusal, frozen=True):
    """Somebody else holds it now; it will be free."""


class Exhausted(_Refusal, frozen=True):
    """A budget, quota or bound is used up."""


class NotYet(_Refusal, frozen=True):
    """What the call needs has not happened yet."""


class Stale(_Refusal, frozen=True):
    """The caller acts on a past that is over: an outranked token, an old incarnation, an old version."""


class Closed(_Refusal, frozen=True):
    """The thing exists and has ended."""


class NotFound(_Refusal, frozen=True):
    """There is no such thing, as far as this caller may know."""


class Broken(_Refusal, frozen=True):
    """The world failed: a driver, a service, a tool."""


class TimedOut(_Refusal, frozen=True):
    """The world did not answer within the bound."""


Refusal = Invalid | Forbidden | Busy | Exhausted | NotYet | Stale | Closed | NotFound | Broken | TimedOut
