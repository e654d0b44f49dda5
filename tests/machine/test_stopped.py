"""The trap: a stopped process is neither heard nor answered until it goes on."""

import asyncio
from itertools import count

from agentos.abi.calls.base import Call
from agentos.abi.calls.kernel import Boot, Enroll
from agentos.abi.calls.process import Kill, Spawn, Whoami
from agentos.abi.ids import CallId, Pid, Principal
from agentos.abi.replies import Done, Reply, Response, Self, Spawned
from agentos.abi.signals import Signal
from agentos.drivers.blobs_memory import MemoryBlobs
from agentos.drivers.journal_memory import MemoryDisk, MemoryJournal
from agentos.machine import recover
from agentos.machine.loop import Machine
from agentos.machine.prepare import Preparer
from agentos.machine.trap import Trap


class Clock:
    """A clock that ticks when it is read."""

    def __init__(self) -> None:
        self._ticks = count(1)

    def wall_ns(self) -> int:
        return next(self._ticks)

    def monotonic_ns(self) -> int:
        return next(self._ticks)


class Town:
    """A machine without a world, and somebody to talk to it."""

    def __init__(self) -> None:
        blobs, journal = MemoryBlobs(), MemoryJournal(MemoryDisk())
        state, head = recover.recover(journal, workspace="w", now_ns=1, salts=bytes)
        self.machine = Machine(state, journal, blobs, Clock(), head=head, salts=bytes, crash=lambda point: None)
        self.trap = Trap(self.machine, blobs, Preparer(blobs, {}, {}))
        self.machine.responded = lambda response: self.trap.respond(response) and None
        self.counts: dict[Pid, int] = {}
        self.machine.tell(Boot(epoch=1))
        self.machine.tell(Enroll(principal="user:ada"))
        self.machine.turn()
        self.ada = self.machine.state.sessions[Principal("user:ada")]

    def ask(self, pid: Pid, call: Call) -> list[Response]:
        """A call, and the list its response comes into."""
        self.counts[pid] = self.counts.get(pid, 0) + 1
        told: list[Response] = []
        incarnation = self.machine.state.processes[pid].incarnation
        self.trap.take(CallId(pid, 0, self.counts[pid]), incarnation, call, {}, told.append)  # type: ignore[arg-type]
        self.machine.turn()
        return told


def reply(told: list[Response]) -> Reply | None:
    return told[0].reply if told else None


def test_a_stopped_process_is_neither_heard_nor_answered_until_it_goes_on() -> None:
    async def run() -> None:
        town = Town()
        spawned = reply(town.ask(town.ada, Spawn(program="p")))
        assert isinstance(spawned, Spawned)
        assert reply(town.ask(town.ada, Kill(pid=spawned.pid, signal=Signal.STOP))) == Done()
        before = town.machine.head
        told = town.ask(spawned.pid, Whoami())
        assert told == [] and town.machine.head == before, "its call waits outside"
        assert reply(town.ask(town.ada, Kill(pid=spawned.pid, signal=Signal.CONT))) == Done()
        town.machine.turn()
        assert isinstance(reply(told), Self)

    asyncio.run(run())
