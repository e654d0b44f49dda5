"""A world under watch: laws that no state shows, but only the order of events. Each kept by a witness of its own, which
remembers what it needs from the events and asks the kernel nothing.

    token      a lease's tokens only grow
    once       what may happen once is dispatched once; every attempt of an effect has the same key, and a higher number
    over       an order that is over starts nothing; its account reserves nothing
    reserve    at the moment of a reservation no account on its path is above its limit
    answer     a parked call is answered once, unless its process ends; the dead are not answered
    mint       a derived capability gives nothing that its source does not give
    right      what starts is covered by a capability of whoever started it, counted where its uses are
    place      a place is filled by the supervisor who lost it
    letter     a message is taken once
    judge      who attests is no author, and neither above nor below one
    verify     passed means that every check has passed, on this content
    close      an order closes on a passed gate, every review and approval, and all checks, of the same content
    refuse     a refusal of a call changes nothing else
"""

from agentos.abi.budget import NOTHING, Amounts
from agentos.abi.calls.base import Call
from agentos.abi.effects import ApplyChange, Generate, Instruction, Perform, Repeat, RunTool, repeat
from agentos.abi.events.base import Event
from agentos.abi.events.call import (
    CallAnswered,
    CallParked,
    CallRefused,
    EffectDispatched,
    EffectIntended,
)
from agentos.abi.events.ipc import CapabilityMinted, CapabilityRevoked, CapabilityUsed, LeaseGranted, MailTaken
from agentos.abi.events.process import ProcessExited, ProcessReaped, ProcessSpawned
from agentos.abi.events.work import (
    ContentAttested,
    ContentPresented,
    EvidenceFound,
    OrderCancelled,
    OrderClosed,
    OrderJudged,
    OrderSubmitted,
    OrderVerified,
    PresentationAsked,
)
from agentos.abi.ids import CallId, Digest, OrderId, Pid
from agentos.abi.refusals import Refusal
from agentos.abi.rights import Grant, Right, covers, selects
from agentos.abi.work import Approval, Contract, Review, Verdict
from agentos.kernel.budget import path
from tests.kernel.world import World


class Court(World):
    """A world whose every event is heard by every witness."""

    def __init__(self, budget: Amounts, *, is_checked: bool = True) -> None:
        self.tokens: dict[str, tuple[int, Pid]] = {}
        self.kinds: dict[int, Repeat] = {}
        self.attempts: dict[int, int] = {}
        self.keys: dict[int, str] = {}
        self.orders: dict[int, OrderId | None] = {}
        self.over: set[OrderId] = set()
        self.waiting: set[CallId] = set()
        self.ended: set[Pid] = set()
        self.grants: dict[int, Grant] = {}
        self.sources: dict[int, int] = {}
        self.held: dict[Pid, list[int]] = {}
        self.taken: set[int] = set()
        self.parents: dict[Pid, Pid] = {}
        self.works_for: dict[Pid, OrderId | None] = {}
        self.programs: dict[Pid, str] = {}
        self.makers: dict[OrderId, set[Pid]] = {}
        self.contracts: dict[OrderId, Contract] = {}
        self.content: dict[OrderId, Digest] = {}
        self.passed: dict[OrderId, set[str]] = {}
        self.heard_told = 0
        super().__init__(budget, is_checked=is_checked)

    def _record(self, event: Event) -> None:
        match event:
            case CallAnswered() | CallRefused():
                assert event.id.pid not in self.ended, f"answer: {event.id} of the dead is answered"
                self.waiting.discard(event.id)
            case CallParked():
                self.waiting.add(event.id)
            case ProcessSpawned():
                self._spawned(event)
            case ProcessExited():
                self.ended.add(event.pid)
                self.waiting = {id for id in self.waiting if id.pid != event.pid}
            case ProcessReaped():
                self._reaped(event.pid)
            case CapabilityRevoked():
                self._revoked(event.capability)
            case MailTaken():
                assert event.mail not in self.taken, f"letter: {event.mail} is taken twice"
                self.taken.add(event.mail)
            case LeaseGranted():
                self._granted(event)
            case CapabilityMinted():
                self._minted(event)
            case EffectIntended():
                self._intended(event)
            case EffectDispatched():
                self._dispatched(event)
            case _:
                self._order(event)
        super()._record(event)
        if isinstance(event, EffectIntended) and event.reserved != NOTHING:
            for row in path(self.state, event.account):
                assert row.reserved.plus(row.spent).fits(row.limit), f"reserve: account {row.id} is above its limit"

    def _spawned(self, event: ProcessSpawned) -> None:
        assert event.pid not in self.parents, "a pid is never reused"
        self.parents[event.pid] = event.parent
        self.works_for[event.pid] = event.order
        lost_by = self.parents[event.replaces] if event.replaces is not None else event.parent
        assert lost_by == event.parent, f"place: {event.replaces} of {lost_by} is filled by {event.parent}"
        self.programs[event.pid] = event.spec.program

    def _granted(self, event: LeaseGranted) -> None:
        token, holder = self.tokens.get(event.resource, (0, event.holder))
        is_renewal = event.token == token and event.holder == holder
        assert event.token > token or is_renewal, f"token: {event.resource} went from {token} to {event.token}"
        self.tokens[event.resource] = (event.token, event.holder)

    def _minted(self, event: CapabilityMinted) -> None:
        if event.parent:
            assert covers(self.grants[event.parent], event.grant), "mint: derived is wider than its source"
        self.grants[event.capability] = event.grant
        self.sources[event.capability] = event.parent
        self.held.setdefault(event.holder, []).append(event.capability)

    def _reaped(self, pid: Pid) -> None:
        """What it held leaves; what was derived from that hangs on where it came from."""
        for gone in self.held.pop(pid, []):
            above = self.sources.pop(gone)
            self.sources = {id: above if source == gone else source for id, source in self.sources.items()}

    def _revoked(self, id: int) -> None:
        below = [one for one, source in self.sources.items() if source == id]
        self.sources.pop(id)
        for held in self.held.values():
            if id in held:
                held.remove(id)
        for one in below:
            self._revoked(one)

    def _entitled(self, pid: Pid, right: Right, path: str) -> None:
        grants = [self.grants[id] for id in self.held.get(pid, [])]
        fitting = [grant for grant in grants if grant.right == right and selects(grant.selector, path)]
        assert fitting, f"right: {pid} has none to {right} {path}"
        if all(grant.uses_max for grant in fitting):
            recent = [event for event in self.events[-2:] if isinstance(event, CapabilityUsed)]
            assert recent, f"right: {pid} used a bounded one to {right} {path}, and nobody counted"

    def _intended(self, event: EffectIntended) -> None:
        is_delivery = isinstance(event.what, ApplyChange)  # of what is closed, at a person's word
        assert is_delivery or event.order not in self.over, f"over: {event.order} starts effect {event.effect}"
        match event.what:
            case Generate():
                self._entitled(event.pid, Right.INFER, f"/{event.what.model_class}")
            case RunTool():
                self._entitled(event.pid, Right.TOOL, f"/{event.what.tool}")
        self.kinds[event.effect] = repeat(event.what)
        self.orders[event.effect] = None if is_delivery else event.order
        if isinstance(event.what, RunTool) and event.what.repeat != Repeat.PURE and event.order is not None:
            self.makers.setdefault(event.order, set()).add(event.pid)

    def _dispatched(self, event: EffectDispatched) -> None:
        last = self.attempts.get(event.effect, 0)
        assert event.attempt == last + 1, f"once: effect {event.effect} goes from attempt {last} to {event.attempt}"
        assert event.attempt == 1 or self.kinds[event.effect] != Repeat.ONCE, "once: done again by itself"
        assert self.orders[event.effect] not in self.over, f"over: {self.orders[event.effect]} still does something"
        self.attempts[event.effect] = event.attempt

    def _order(self, event: Event) -> None:
        match event:
            case OrderSubmitted():
                self.contracts[event.order] = event.contract
            case PresentationAsked():
                self.makers.setdefault(event.order, set()).add(event.by)
            case ContentPresented():
                self.content[event.order], self.passed[event.order] = event.change.tree, set()
            case EvidenceFound():
                if event.finding.verdict == Verdict.PASSED and event.finding.tree == self.content[event.order]:
                    self.passed[event.order].add(event.finding.check)
            case OrderVerified(verdict=Verdict.PASSED):
                for check in self.contracts[event.order].accept:
                    is_run = not isinstance(check, Review | Approval)
                    assert not is_run or check.name in self.passed[event.order], f"verify: {check.name} did not pass"
            case ContentAttested():
                self._attested(event)
            case OrderClosed() | OrderCancelled() | OrderJudged():
                self.over.add(event.order)
                if isinstance(event, OrderClosed):
                    self._closed(event)

    def _attested(self, event: ContentAttested) -> None:
        above = self._line(event.by, event.order)
        for maker in self.makers.get(event.order, set()):
            assert event.by not in (maker, *self._line(maker, event.order)), f"judge: {event.by} judges its own work"
            assert maker not in above, f"judge: {event.by} descends from {maker}, whose work it judges"
        if event.verdict == Verdict.PASSED:
            self.passed[event.order].add(event.check)

    def _line(self, pid: Pid, order: OrderId) -> list[Pid]:
        """Those above a process that work for the same order, whether they live or not."""
        line: list[Pid] = []
        above = self.parents[pid] if pid in self.parents else Pid("")
        while above in self.parents and self.works_for[above] == order and self.works_for[pid] == order:
            line.append(above)
            above = self.parents[above]
        return line

    def _closed(self, event: OrderClosed) -> None:
        contract, passed = self.contracts[event.order], self.passed[event.order]
        assert event.content == self.content[event.order], "close: on other content than was presented"
        for check in contract.accept:
            kind = "judged" if isinstance(check, Review | Approval) else "checked"
            assert check.name in passed, f"close: {check.name} was not {kind}"
        assert "gate" in passed, "close: the gate did not pass"

    def enter(self, id: CallId, call: Call, args: str = "") -> list[Event] | Refusal:
        first = len(self.events)
        got = super().enter(id, call, args)
        made = self.events[first:]
        if made and isinstance(made[0], CallRefused) and made[0].id == id:
            assert len(made) == 1, f"refuse: {call} was refused and still {made[1:]} happened"
        for instruction in self.told[self.heard_told :]:
            self._heard(instruction)
        self.heard_told = len(self.told)
        return got

    def _heard(self, instruction: Instruction) -> None:
        if isinstance(instruction, Perform):
            key = self.keys.setdefault(instruction.id, instruction.key)
            assert key == instruction.key, f"once: effect {instruction.id} has two keys"

    def rise(self) -> None:
        """At the end: whoever waits is known to the state, and a replay through a snapshot midway is the same."""
        parked = {waiting.id for row in self.state.processes.values() for waiting in row.parked.values()}
        assert self.waiting == parked, f"answer: {self.waiting ^ parked} wait, or are thought to"
        from agentos.kernel.state import encode

        live = encode(self.state)
        assert self.replayed(len(self.log) // 2) == live and self.replayed() == live, "the replay differs"
