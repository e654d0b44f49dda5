"""Capabilities: who may do what to what. Held, derived, revoked; never amplified.

Rule 1: a capability means something only in its holder's hands; an id that leaks is a number.
Rule 2: derived from it is at most itself (`rights.covers`); revoking it revokes what was derived.
Rule 3: a capability leaves with its holder; what was derived from it hangs on its parent from then on.
Rule 4: a bound on uses is a bound on the whole: uses count against everything a capability was derived from, and when
        the holder of a bounded one ends, what it had left is shared out among what was derived from it, not multiplied.
Rule 5: default deny. `find` returning None is the only way to say so, and its caller refuses.
"""

from agentos.abi.calls.lease import Derive, Revoke
from agentos.abi.events.ipc import CapabilityMinted, CapabilityRevoked, CapabilityUsed
from agentos.abi.ids import CapabilityId, Pid
from agentos.abi.limits import value
from agentos.abi.refusals import Exhausted, Forbidden, NotFound
from agentos.abi.replies import Capable, Done
from agentos.abi.rights import Capability, Grant, Right, canonical_fault, covers, selects
from agentos.kernel.decision import Decision, Entry, Ruling, answer, deciding
from agentos.kernel.state import Process, State


def find(state: State, holder: Process, right: Right, target: str) -> Capability | None:
    """A capability of the holder that allows this, the oldest first. O(capabilities held)."""
    for id in holder.capabilities:
        held = state.capabilities[id]
        grant = held.grant
        if grant.right == right and selects(grant.selector, target) and _has_uses(state, held):
            return held
    return None


def _has_uses(state: State, held: Capability) -> bool:
    """Uses count against everything a capability was derived from, so that two children do not double them."""
    row: Capability | None = held
    while row is not None:
        if row.grant.uses_max and row.uses >= row.grant.uses_max:
            return False
        row = state.capabilities.get(row.parent)
    return True


def counted(held: Capability | None, ruling: Ruling) -> Ruling:
    """The decision, with the use of the capability that allowed it on record where uses are bounded."""
    if held is None or not held.grant.uses_max or not isinstance(ruling, Decision):
        return ruling
    return Decision([CapabilityUsed(capability=held.id), *ruling.events], ruling.instructions)


def remaining(state: State, holder: Process) -> tuple[Grant, ...]:
    """What the holder could still do, as grants: a bounded one is worth the uses it has left."""
    grants = []
    for id in holder.capabilities:
        held = state.capabilities[id]
        left = held.grant.uses_max - held.uses
        if left or not held.grant.uses_max:
            grants.append(Grant(held.grant.right, held.grant.selector, left if held.grant.uses_max else 0))
    return tuple(grants)


def covering(state: State, holder: Process, grant: Grant) -> Capability | None:
    """A capability of the holder from which this grant can be derived."""
    for id in holder.capabilities:
        if covers(state.capabilities[id].grant, grant):
            return state.capabilities[id]
    return None


def forbidden(holder: Process, right: Right, target: str) -> Forbidden:
    """The refusal of whoever holds no such right."""
    return Forbidden(
        thing=f"process {holder.pid} ({holder.spec.role})",
        fact=f"holds no right to {right} {target}",
        remedy="ask for it in the order's contract, or have a holder derive it",
        rule="law 4: default deny",
    )


def derive(state: State, entry: Entry, call: Derive) -> Ruling:
    holder, to = state.processes[entry.id.pid], state.processes.get(call.to)
    held = state.capabilities.get(call.capability)
    if to is None or to.state == "zombie":
        return NotFound(thing=f"process {call.to}", fact="does not exist")
    if held is None or held.holder != holder.pid:
        return Forbidden(thing=f"capability {call.capability}", fact="is not yours", rule="law 4")
    wrong = canonical_fault(call.grant.selector)
    if wrong is not None or not covers(held.grant, call.grant):
        return Forbidden(
            thing=f"grant {call.grant.right} {call.grant.selector}",
            fact=wrong or f"is wider than {held.grant.right} {held.grant.selector}",
            rule="law 4: authority only shrinks",
        )
    if len(to.capabilities) >= value("capabilities_max"):
        return Exhausted(thing=f"process {to.pid}", fact="holds its most capabilities", limit="limits.capabilities_max")
    new = CapabilityId(state.next_capability)
    minted = CapabilityMinted(capability=new, holder=to.pid, grant=call.grant, parent=held.id)
    return deciding(minted, answer(entry, Capable(capability=new)))


def revoke(state: State, entry: Entry, call: Revoke) -> Ruling:
    held = state.capabilities.get(call.capability)
    if held is None:
        return NotFound(thing=f"capability {call.capability}", fact="does not exist")
    if not _is_above(state, entry.id.pid, held):
        return Forbidden(thing=f"capability {call.capability}", fact="is neither yours nor derived from yours")
    return deciding(CapabilityRevoked(capability=held.id, by=entry.id.pid), answer(entry, Done()))


def _is_above(state: State, pid: Pid, held: Capability) -> bool:
    """Whether a process holds the capability or one it was derived from."""
    row: Capability | None = held
    while row is not None:
        if row.holder == pid:
            return True
        row = state.capabilities.get(row.parent)
    return False


def apply_minted(state: State, event: CapabilityMinted, at_ns: int) -> None:
    assert event.capability == state.next_capability, "capabilities are numbered as they are minted"
    state.next_capability = event.capability + 1
    state.capabilities[event.capability] = Capability(event.capability, event.holder, event.grant, event.parent)
    state.processes[event.holder].capabilities.append(event.capability)
    if event.parent:
        parent = state.capabilities[event.parent]
        assert covers(parent.grant, event.grant), "derived is at most its parent"
        parent.children.append(event.capability)


def apply_used(state: State, event: CapabilityUsed, at_ns: int) -> None:
    row = state.capabilities.get(event.capability)
    while row is not None:
        row.uses += 1
        row = state.capabilities.get(row.parent)


def apply_revoked(state: State, event: CapabilityRevoked, at_ns: int) -> None:
    held = state.capabilities[event.capability]
    if held.parent in state.capabilities:
        state.capabilities[held.parent].children.remove(held.id)
    _remove(state, held)


def _remove(state: State, held: Capability) -> None:
    """It and all below it. A loop: a chain of derivations may be longer than the interpreter's stack."""
    below = [held.id]
    while below:
        row = state.capabilities.pop(below.pop())
        below.extend(row.children)
        state.processes[row.holder].capabilities.remove(row.id)


def drop(state: State, process: Process) -> None:
    """Part of reaping: what the process held leaves; what was derived from it moves up to where that came from."""
    for id in process.capabilities:
        held = state.capabilities.pop(id)
        above = state.capabilities.get(held.parent)
        if above is not None:
            above.children.remove(id)
            above.children.extend(held.children)
        _share(state, held)
        for child in held.children:
            state.capabilities[child].parent = held.parent if above is not None else CapabilityId(0)
    process.capabilities = []


def _share(state: State, held: Capability) -> None:
    """The uses a bounded capability has left go to what was derived from it, the oldest first, and no further."""
    if not held.grant.uses_max:
        return
    left = held.grant.uses_max - held.uses
    for child in held.children:
        row = state.capabilities[child]
        has = min(row.grant.uses_max - row.uses, left)
        row.uses, left = row.grant.uses_max - has, left - has
