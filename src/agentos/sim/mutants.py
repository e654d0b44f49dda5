"""Bugs planted on purpose, one at a time: what the simulator is worth is how many of them it sees, and how soon.

Rule 1: a mutant changes one thing that a law of the product forbids, in place, and is taken out again afterwards.
Rule 2: a mutant that no seed catches is a hole in the checker, not a harmless bug.
Rule 3: they are bugs of the kernel, the machine and the disk: what the simulator itself is made of stays as it is.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import msgspec

from agentos.abi.budget import NOTHING
from agentos.abi.calls.base import Call
from agentos.abi.calls.kernel import Boot, Settle
from agentos.abi.effects import Failed, Perform, repeat
from agentos.abi.events.call import EffectRetried, KernelBooted
from agentos.abi.events.ipc import LeaseGranted, MailTaken
from agentos.abi.work import Reason, Verdict
from agentos.drivers.blobs_memory import MemoryBlobs
from agentos.drivers.journal_memory import MemoryDisk
from agentos.kernel import apply as applying
from agentos.kernel import budget, decide, decision, demand, effects, lease, process, schedule, supervise
from agentos.kernel.work import evidence, gate, order
from agentos.machine import loop, perform, recover, trap
from agentos.machine.journal import seal
from agentos.machine.loop import Batch, Head, Machine
from agentos.ports import journal as journal_port
from agentos.sim.scenario import Scenario, draw, target
from agentos.sim.simulation import simulate
from agentos.sim.world import Faults

SEEDS_MAX = 1_000  # seeds a mutant may survive before it counts as not caught: what a run of the simulator is


class Mutant(NamedTuple):
    name: str
    breaks: str  # the law
    plant: Callable[[ExitStack], None]
    scenario: Callable[[int], Scenario] = draw  # where it is looked for: bugs in rare places want that place


class Catch(NamedTuple):
    """How a mutant fared."""

    name: str
    breaks: str
    seed: int  # that caught it; -1 if none did
    seeds: int  # that were tried
    by: str  # what broke, as the law says it


@contextmanager
def swapped(owner: Any, name: str, value: Any) -> Iterator[None]:
    """An attribute, or an entry of a table, replaced for a while."""
    if isinstance(owner, dict):
        old = owner[name]
        owner[name] = value
        try:
            yield
        finally:
            owner[name] = old
        return
    old = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, old)


def asked_in_flight(seed: int) -> Scenario:
    """The kernel dies while a queryable request is on its way, and the request arrives all the same."""
    return target(seed, [("on its way", "queryable")])._replace(faults=Faults(late=1000))


def throttled(seed: int) -> Scenario:
    """Many effects wait for another attempt when the kernel dies."""
    return draw(seed)._replace(faults=Faults(retryable=500))


def swap(stack: ExitStack, owner: Any, name: Any, value: Any) -> None:
    stack.enter_context(swapped(owner, name, value))


# --- the loop ---------------------------------------------------------------------------------------------------------


def _reply_before_flush(stack: ExitStack) -> None:
    flush = Machine._flush

    def hasty(self: Machine, batch: Batch) -> None:
        for response in batch.responses:
            self.responded(response)
        batch.responses.clear()
        flush(self, batch)

    swap(stack, Machine, "_flush", hasty)


def _effect_before_flush(stack: ExitStack) -> None:
    flush = Machine._flush

    def hasty(self: Machine, batch: Batch) -> None:
        for instruction in batch.instructions:
            self.instructed(instruction)
        batch.instructions.clear()
        flush(self, batch)

    swap(stack, Machine, "_flush", hasty)


def _blobs_after_events(stack: ExitStack) -> None:
    def late(self: Machine, batch: Batch) -> None:
        self.journal.append(batch.rows, is_durable=batch.is_durable)
        self._crash("before append")
        self._crash("after append")
        self._blobs.sync()

    swap(stack, Machine, "_flush", late)


def _failed_flush_ignored(stack: ExitStack) -> None:
    flush = Machine._flush

    def brave(self: Machine, batch: Batch) -> None:
        try:
            flush(self, batch)
        except journal_port.Failed:
            return

    swap(stack, Machine, "_flush", brave)


def _never_durable(stack: ExitStack) -> None:
    swap(stack, MemoryDisk, "settle", lambda self: None)


def _append_torn(stack: ExitStack) -> None:
    extend = MemoryDisk.extend

    def torn(self: MemoryDisk, rows: Any) -> None:
        for row in rows:
            extend(self, [row])

    swap(stack, MemoryDisk, "extend", torn)
    swap(stack, MemoryDisk, "settle", lambda self: None)


def _time_goes_back(stack: ExitStack) -> None:
    swap(stack, Machine, "now_ns", lambda self: self._clock.wall_ns())


def _no_new_epoch(stack: ExitStack) -> None:
    tell = Machine.tell

    def same(self: Machine, call: Call, done: Any = None) -> None:
        tell(
            self, msgspec.structs.replace(call, epoch=max(call.epoch - 1, 1)) if isinstance(call, Boot) else call, done
        )

    booted = applying.APPLY[KernelBooted]

    def lenient(state: Any, event: KernelBooted, at_ns: int) -> None:
        state.epoch = event.epoch - 1
        booted(state, event, at_ns)

    swap(stack, Machine, "tell", same)
    swap(stack, applying.APPLY, KernelBooted, lenient)


def _chain_forgets(stack: ExitStack) -> None:
    swap(stack, loop, "seal", lambda previous, *args, **more: seal(previous[:31] + b"\0", *args, **more))


def _timers_before_boot(stack: ExitStack) -> None:
    swap(stack, Machine, "_is_booting", lambda self: False)


# --- recovery ---------------------------------------------------------------------------------------------------------


def _snapshot_of_another_moment(stack: ExitStack) -> None:
    snapshot = recover.snapshot
    swap(
        stack,
        recover,
        "snapshot",
        lambda journal, state, head: snapshot(journal, state, Head(max(head.seq - 3, 1), head.hash)),
    )


def _adrift_forgotten(stack: ExitStack) -> None:
    booted = applying.APPLY[KernelBooted]

    def forgetful(state: Any, event: KernelBooted, at_ns: int) -> None:
        booted(state, event, at_ns)
        state.adrift = []

    swap(stack, applying.APPLY, KernelBooted, forgetful)


def _timers_lost(stack: ExitStack) -> None:
    booted = applying.APPLY[KernelBooted]

    def forgetful(state: Any, event: KernelBooted, at_ns: int) -> None:
        booted(state, event, at_ns)
        if event.epoch > 1:
            state.schedule = []

    swap(stack, applying.APPLY, KernelBooted, forgetful)


def _programs_not_run_again(stack: ExitStack) -> None:
    boot = decide.KERNEL_CALLS[Boot]

    def idle(state: Any, entry: Any, call: Boot) -> Any:
        ruling: Any = boot(state, entry, call)
        return decision.Decision(ruling.events[:1], [])

    swap(stack, decide.KERNEL_CALLS, Boot, idle)


# --- effects ----------------------------------------------------------------------------------------------------------


def _once_again(stack: ExitStack) -> None:
    swap(stack, effects, "repeat", lambda what: "idempotent" if repeat(what) == "once" else repeat(what))


def _key_per_attempt(stack: ExitStack) -> None:
    def keyed(state: Any, event: Any, what: Any) -> Perform:
        return Perform(event.effect, event.attempt, what, f"{state.workspace}-{event.effect}-{event.attempt}")

    swap(stack, schedule, "instruction", keyed)


def _query_skipped(stack: ExitStack) -> None:
    tool = perform.Performer._run_tool

    async def blind(self: Any, effect: Any, instruction: Any) -> Any:
        return await tool(self, effect, _first(instruction))

    swap(stack, perform.Performer, "_run_tool", blind)


def _first(instruction: Perform) -> Perform:
    return msgspec.structs.replace(instruction, attempt=1)


def _asked_too_early(stack: ExitStack) -> None:
    async def hasty(*_: Any) -> None:
        await asyncio.sleep(0)

    swap(stack, perform.Performer, "_outwait", hasty)


def _unknown_is_failure(stack: ExitStack) -> None:
    swap(stack, perform, "Unknown", lambda fact="": Failed(fact=fact))


def _late_outcome_counts(stack: ExitStack) -> None:
    settle = decide.KERNEL_CALLS[Settle]

    def lax(state: Any, entry: Any, call: Any) -> Any:
        pending = state.effects.get(call.effect)
        attempt = pending.attempt if pending is not None else call.attempt
        return settle(state, entry, msgspec.structs.replace(call, attempt=attempt))

    swap(stack, decide.KERNEL_CALLS, Settle, lax)


# --- money ------------------------------------------------------------------------------------------------------------


def _nothing_reserved(stack: ExitStack) -> None:
    swap(stack, budget, "reserve", lambda state, account, amounts: None)


def _budget_not_asked(stack: ExitStack) -> None:
    swap(stack, budget, "fault", lambda state, account, amounts: None)


def _write_off_forgotten(stack: ExitStack) -> None:
    def generous(**fields: Any) -> EffectRetried:
        return EffectRetried(**{**fields, "written_off": NOTHING})

    swap(stack, effects, "EffectRetried", generous)


def _charge_at_bound(stack: ExitStack) -> None:
    swap(stack, effects, "charge", lambda pending, outcome: pending.reserved)


def _garbled_is_free(stack: ExitStack) -> None:
    swap(stack, perform, "Garbled", type("Nothing", (Exception,), {}))


# --- calls, mail, leases, processes -----------------------------------------------------------------------------------


def _answered_twice(stack: ExitStack) -> None:
    release = decision.release

    def twice(state: Any, call: Any, reply: Any) -> Any:
        events = release(state, call, reply)
        return events * 2 if call.n % 5 == 0 else events

    swap(stack, effects, "release", twice)


def _mail_stays(stack: ExitStack) -> None:
    swap(stack, applying.APPLY, MailTaken, lambda state, event, at_ns: None)


def _unfenced(stack: ExitStack) -> None:
    swap(stack, lease, "_token_fault", lambda state, pid, resource, token: None)


def _token_repeats(stack: ExitStack) -> None:
    swap(stack, lease, "LeaseGranted", lambda **fields: LeaseGranted(**{**fields, "token": 1}))

    def lenient(state: Any, event: LeaseGranted, at_ns: int) -> None:
        row = state.leases.get(event.resource)
        if row is not None and row.holder != event.holder:
            row.token = 0
        granted(state, event, at_ns)

    granted = applying.APPLY[LeaseGranted]
    swap(stack, applying.APPLY, LeaseGranted, lenient)


def _stale_incarnation(stack: ExitStack) -> None:
    call = trap.Trap.call

    async def trusting(self: Any, pid: Any, incarnation: int, strand: int, n: int, wanted: Any, blobs: Any = ()) -> Any:
        process = self._machine.state.processes.get(pid)
        now = process.incarnation if process is not None else incarnation
        return await call(self, pid, now, strand, n, wanted, blobs or {})

    swap(stack, trap.Trap, "call", trusting)


def _record_unchecked(stack: ExitStack) -> None:
    diverged = trap.Trap._diverged

    def trusting(self: Any, id: Any, call: Any, was: str) -> Any:
        recorded = self._record(id.pid).get(id)
        return recorded.response if recorded is not None else diverged(self, id, call, was)

    swap(stack, trap.Trap, "_diverged", trusting)


def _children_survive(stack: ExitStack) -> None:
    swap(stack, process, "killed", lambda pid, reason: [])


def _nobody_restarts(stack: ExitStack) -> None:
    swap(stack, supervise, "_supervise", lambda state, dead, now_ns: (False, [], []))


def _judge_of_oneself(stack: ExitStack) -> None:
    swap(stack, gate, "_kinship", lambda state, order, caller, check: None)


def _failed_passes(stack: ExitStack) -> None:
    verdict = evidence._verdict

    def kind(state: Any, row: Any, _verdict: Any, _reason: Any, detail: str) -> Any:
        return verdict(state, row, Verdict.PASSED, Reason.OK, detail)

    swap(stack, evidence, "_verdict", kind)


def _cancelled_goes_on(stack: ExitStack) -> None:
    swap(stack, order, "_stop", lambda state, row, reason: ([], []))


def _demands_unheard(stack: ExitStack) -> None:
    swap(stack, demand, "due", lambda state, now_ns: None)


def _blobs_never_synced(stack: ExitStack) -> None:
    swap(stack, MemoryBlobs, "sync", lambda self: None)


MUTANTS: tuple[Mutant, ...] = (
    Mutant("reply before flush", "law 1", _reply_before_flush),
    Mutant("effect before its event is durable", "law 1", _effect_before_flush),
    Mutant("blob synced after the event", "a blob is durable before its event", _blobs_after_events),
    Mutant("blob never synced", "a blob is durable before its event", _blobs_never_synced),
    Mutant("failed flush ignored", "law 1", _failed_flush_ignored),
    Mutant("durable append is not", "journal rule 2", _never_durable),
    Mutant("append is not atomic", "journal rule 1", _append_torn),
    Mutant("time goes back", "time never goes back", _time_goes_back),
    Mutant("restart without a new epoch", "law 10", _no_new_epoch),
    Mutant("hash chain skips a byte", "law 2", _chain_forgets),
    Mutant("snapshot says another moment", "law 2", _snapshot_of_another_moment),
    Mutant("effects adrift are forgotten", "law 3", _adrift_forgotten),
    Mutant("timers are lost at restart", "timers survive", _timers_lost),
    Mutant("timers fire before the boot", "law 10", _timers_before_boot, throttled),
    Mutant("programs are not run again", "programs are run again", _programs_not_run_again),
    Mutant("once is done again", "law 3", _once_again),
    Mutant("key changes with the attempt", "law 3", _key_per_attempt),
    Mutant("queryable is not asked", "law 3", _query_skipped),
    Mutant("queryable is asked too early", "law 10", _asked_too_early, asked_in_flight),
    Mutant("unknown is called a failure", "law 3", _unknown_is_failure),
    Mutant("outcome of a past attempt counts", "law 3", _late_outcome_counts, throttled),
    Mutant("nothing is reserved", "law 5", _nothing_reserved),
    Mutant("budget is not asked", "law 5", _budget_not_asked),
    Mutant("given-up attempts cost nothing", "law 5", _write_off_forgotten),
    Mutant("charged at the bound", "law 5", _charge_at_bound),
    Mutant("garbled answers are free", "law 5", _garbled_is_free),
    Mutant("a call is answered twice", "one answer for each call", _answered_twice),
    Mutant("mail stays in the box", "mail is taken once", _mail_stays),
    Mutant("lease tokens are not compared", "law 10", _unfenced),
    Mutant("lease tokens do not grow", "law 10", _token_repeats),
    Mutant("stale incarnation is believed", "law 10", _stale_incarnation),
    Mutant("record answers without comparing", "replay compares", _record_unchecked),
    Mutant("children outlive their parent", "process rule 3", _children_survive),
    Mutant("nobody is restarted", "supervision", _nobody_restarts),
    Mutant("workers judge themselves", "law 6", _judge_of_oneself),
    Mutant("failed checks pass", "law 6", _failed_passes),
    Mutant("a cancelled order goes on", "order rule 3", _cancelled_goes_on),
    Mutant("the state's demands are not heard", "liveness", _demands_unheard),
)


def hunt(mutant: Mutant, *, seeds: int = SEEDS_MAX) -> Catch:
    """Run seeds with the mutant planted until one catches it."""
    with ExitStack() as stack:
        mutant.plant(stack)
        for seed in range(seeds):
            outcome = simulate(mutant.scenario(seed))
            if outcome.fault:
                return Catch(mutant.name, mutant.breaks, seed, seed + 1, outcome.fault)
    return Catch(mutant.name, mutant.breaks, -1, seeds, "")
