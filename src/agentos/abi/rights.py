"""Rights: what a capability lets its holder do, and to what.

A capability names a right and a selector. Selectors are canonical paths with one wildcard form:

    /repo/src        exactly that
    /repo/src/**     that and everything below it
    /**              everything

Rule 1: a selector is canonical: absolute, no empty, "." or ".." component, no NUL. Anything else is refused.
Rule 2: `covers(a, b)` is a partial order; deriving goes only downwards in it.
"""

from enum import StrEnum

import msgspec

from agentos.abi.ids import CapabilityId, Pid


class Right(StrEnum):
    """What may be done. The selector says to what."""

    SPAWN = "spawn"  # /ROLE: start a process of that role
    SIGNAL = "signal"  # /PID: signal a process that is not one's own child
    SEND = "send"  # /PID or /ROLE: send mail
    PUBLISH = "publish"  # /CHANNEL
    SUBSCRIBE = "subscribe"  # /CHANNEL
    INFER = "infer"  # /CLASS: ask a model of that class
    TOOL = "tool"  # /NAME: use that tool
    LEASE = "lease"  # /RESOURCE
    AUTHOR = "author"  # /: submit orders, and so decide scope, checks and budget
    CONDUCT = "conduct"  # /WO-n: start, retry and escalate an order's work
    PRESENT = "present"  # /WO-n: present a working copy for verification
    ATTEST = "attest"  # /WO-n: judge presented content as gatekeeper or reviewer
    APPROVE = "approve"  # /WO-n: a person's acceptance, answers and resolutions


class Grant(msgspec.Struct, frozen=True, omit_defaults=True):
    """A right over a selector, as asked for at spawn or derive."""

    right: Right
    selector: str
    uses_max: int = 0  # 0: no limit on the number of uses


class Capability(msgspec.Struct, omit_defaults=True):
    """A grant in somebody's hands. Means nothing to any other holder."""

    id: CapabilityId
    holder: Pid
    grant: Grant
    parent: CapabilityId  # 0 for one minted at boot or by a person's standing
    uses: int = 0  # how often it was used, guarded against grant.uses_max
    children: list[CapabilityId] = []  # derived from it; revoked with it


def canonical_fault(selector: str) -> str | None:
    """What is wrong with a selector, or None if it is canonical."""
    body = selector.removesuffix("/**") if selector.endswith("/**") else selector
    if not selector.startswith("/"):
        return "must start with '/'"
    if "\x00" in selector:
        return "holds a NUL byte"
    if any(part in ("", ".", "..", "**") for part in body.split("/")[1:]) and body not in ("", "/"):
        return "has an empty, '.', '..' or inner '**' component"
    return None


def selects(selector: str, path: str) -> bool:
    """Whether a selector covers one path or a narrower selector. Both must be canonical."""
    if selector == path or selector == "/**":
        return True
    if not selector.endswith("/**"):
        return False
    stem = selector.removesuffix("/**")
    return path.removesuffix("/**") == stem or path.startswith(stem + "/")


def covers(outer: Grant, inner: Grant) -> bool:
    """Whether `inner` gives nothing that `outer` does not give: derive's test."""
    if outer.right != inner.right or not selects(outer.selector, inner.selector):
        return False
    return outer.uses_max == 0 or 0 < inner.uses_max <= outer.uses_max
