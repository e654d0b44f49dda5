"""Refusals as exceptions, one class for each kind, so that a program catches what it can do something about."""

from agentos.abi import refusals
from agentos.abi.refusals import Refusal


class Refused(Exception):
    """A call was refused. `refusal` says what, why and the way out."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class Invalid(Refused):
    """The call is malformed; change it."""


class Forbidden(Refused):
    """No authority."""


class Busy(Refused):
    """Wait and ask again."""


class Exhausted(Refused):
    """A budget or bound is used up."""


class NotYet(Refused):
    """Something must happen first."""


class Stale(Refused):
    """The program acts on a past that is over."""


class Closed(Refused):
    """The thing has ended."""


class NotFound(Refused):
    """There is no such thing."""


class Broken(Refused):
    """The world failed."""


class TimedOut(Refused):
    """The world did not answer in time."""


KINDS: dict[type[Refusal], type[Refused]] = {
    refusals.Invalid: Invalid,
    refusals.Forbidden: Forbidden,
    refusals.Busy: Busy,
    refusals.Exhausted: Exhausted,
    refusals.NotYet: NotYet,
    refusals.Stale: Stale,
    refusals.Closed: Closed,
    refusals.NotFound: NotFound,
    refusals.Broken: Broken,
    refusals.TimedOut: TimedOut,
}


def raising(refusal: Refusal) -> Refused:
    """The exception of a refusal."""
    return KINDS[type(refusal)](refusal)
