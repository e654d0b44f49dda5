"""Amounts, spans and counts as people read them. Exact figures are in the records; these are for the eye.

Rule 1: money is rounded to the cent, half up, unless that would hide it: under a cent two figures are kept.
Rule 2: nothing here knows the time zone of its reader; instants are UTC and say so.
"""

from time import gmtime, strftime

_SECOND_NS = 1_000_000_000
_CENT_UUSD = 10_000


def money(uusd: int) -> str:
    """Micro-USD as dollars: "$0.41", "$0.0042"."""
    if uusd < 0:
        return f"-{money(-uusd)}"
    if 0 < uusd < _CENT_UUSD:
        shown = f"{uusd:06d}"
        leading = len(shown) - len(shown.lstrip("0"))
        return f"$0.{shown[: leading + 2].rstrip('0')}"
    cents = (uusd + _CENT_UUSD // 2) // _CENT_UUSD
    return f"${cents // 100:,}.{cents % 100:02d}"


def exact_money(uusd: int) -> str:
    """Micro-USD with every figure: "$0.412345"."""
    sign = "-" if uusd < 0 else ""
    return f"{sign}${abs(uusd) // 1_000_000:,}.{abs(uusd) % 1_000_000:06d}"


def span(ns: int) -> str:
    """A duration in its two largest units: "340 ms", "12.4 s", "4 min 12 s", "3 h 05 min", "2 d 3 h"."""
    ns = max(ns, 0)
    if ns < _SECOND_NS:
        return f"{ns // 1_000_000} ms"
    if ns < 60 * _SECOND_NS:
        return f"{ns // _SECOND_NS}.{ns % _SECOND_NS // 100_000_000} s"
    seconds = ns // _SECOND_NS
    if seconds < 3_600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    if seconds < 86_400:
        return f"{seconds // 3_600} h {seconds % 3_600 // 60:02d} min"
    return f"{seconds // 86_400} d {seconds % 86_400 // 3_600} h"


def instant(at_ns: int) -> str:
    """An instant: "2026-03-01 14:05:09 UTC"."""
    return strftime("%Y-%m-%d %H:%M:%S UTC", gmtime(at_ns // _SECOND_NS))


def count(number: int, noun: str, plural: str = "") -> str:
    """ "1 call", "12 calls", "41,204 tokens"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def short(digest: str) -> str:
    """The first twelve digits of a digest or commit; a tree's zero-padding is left out."""
    bare = digest[24:] if len(digest) == 64 and digest.startswith("0" * 24) else digest
    return bare[:12]


def few(names: tuple[str, ...] | list[str], names_max: int = 3) -> str:
    """The first few of many names, and how many more."""
    shown = ", ".join(names[:names_max])
    return shown if len(names) <= names_max else f"{shown} and {len(names) - names_max} more"
