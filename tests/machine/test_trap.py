"""The trap, with the loop and in-memory devices: what is held while a process is stopped, and what a release forgets."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agentos.abi.calls.ipc import Receive, Send
from agentos.abi.calls.kernel import Boot, Enroll
from agentos.abi.calls.process import Kill, Spawn, Whoami
from agentos.abi.ids import CallId, Pid, Principal
from agentos.abi.replies import Mail, Response, Self, Spawned
from agentos.abi.signals import Signal
from agentos.drivers.blobs_memory import MemoryBlobs
from agentos.drivers.journal_memory import MemoryDisk, MemoryJournal
from agentos.machine import recover
from agentos.machine.loop import Machine
from agentos.machine.prepare import Preparer
from agentos.machine.trap import Trap


class Clock:
    def wall_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep_until(self, monotonic_ns: int) -> None:
        await asyncio.sleep(max(0, monotonic_ns - time.monotonic_ns()) / 1e9)


class Scene:
    """A person and one child, whose program is the test."""

    def __init__(self, machine: Machine, trap: Trap, person: Pid, child: Pid) -> None:
        self.machine, self.trap, self.person, self.child = machine, trap, person, child
        self.said: list[Response] = []
        self._n = 1  # the person's calls so far: the spawn

    async def person_calls(self, call: Spawn | Kill | Send) -> Response:
        self._n += 1
        response = await self.trap.call(self.person, 0, 0, self._n, call)
        assert response.refusal is None, response.refusal
        return response

    def child_calls(self, n: int, call: Whoami | Receive) -> None:
        incarnation = self.machine.state.processes[self.child].incarnation
        self.trap.take(CallId(self.child, 0, n), incarnation, call, {}, self.said.append)


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    journal, blobs = MemoryJournal(MemoryDisk()), MemoryBlobs()
    state, head = recover.recover(journal, workspace="w", now_ns=time.time_ns(), salts=os.urandom)
    machine = Machine(state, journal, blobs, Clock(), head=head, salts=os.urandom, crash=lambda name: None)
    trap = Trap(machine, blobs, Preparer(blobs, {}, {}))

    def responded(response: Response) -> None:
        trap.respond(response)

    machine.responded = responded
    async with asyncio.TaskGroup() as group:
        group.create_task(machine.run())
        machine.tell(Boot(epoch=1))
        enrolled = asyncio.get_running_loop().create_future()
        machine.tell(Enroll(principal="user:ada", role="operator"), enrolled)
        await enrolled
        person = state.sessions[Principal("user:ada")]
        spawned = await trap.call(
            person, state.processes[person].incarnation, 0, 1, Spawn(program="python:m:f", role="w")
        )
        assert isinstance(spawned.reply, Spawned), spawned.refusal
        yield Scene(machine, trap, person, spawned.reply.pid)
        machine.stop()


def test_a_stopped_process_is_told_nothing_until_it_is_continued() -> None:
    async def run() -> None:
        async with scene() as on:
            on.child_calls(1, Receive(kind="word"))
            await on.person_calls(Kill(pid=on.child, signal=Signal.STOP))
            await on.person_calls(Send(to=on.child, kind="word"))
            assert on.machine.state.processes[on.child].parked == {}, "the receive was answered, durably"
            assert on.said == []
            await on.person_calls(Kill(pid=on.child, signal=Signal.CONT))
            assert [type(response.reply) for response in on.said] == [Mail]

    asyncio.run(run())


def test_a_stopped_process_is_not_heard_until_it_is_continued() -> None:
    async def run() -> None:
        async with scene() as on:
            await on.person_calls(Kill(pid=on.child, signal=Signal.STOP))
            before = on.machine.head
            on.child_calls(1, Whoami())
            await asyncio.sleep(0)
            assert on.said == [] and on.machine.head == before, "its call waits outside"
            await on.person_calls(Kill(pid=on.child, signal=Signal.CONT))
            async with asyncio.timeout(10):
                while not on.said:
                    await asyncio.sleep(0)
            assert [type(response.reply) for response in on.said] == [Self]

    asyncio.run(run())


def test_a_released_program_is_answered_when_it_asks_again_and_not_before() -> None:
    async def run() -> None:
        async with scene() as on:
            on.child_calls(1, Receive(kind="word"))
            await on.person_calls(Kill(pid=on.child, signal=Signal.HUP))  # the receive is parked by then
            on.trap.release(on.machine.state.processes[on.child])
            await on.person_calls(Send(to=on.child, kind="word"))
            assert on.said == []
            on.child_calls(1, Receive(kind="word"))
            assert [type(response.reply) for response in on.said] == [Mail]

    asyncio.run(run())


def test_two_runs_of_one_program_that_wait_in_one_call_are_both_told() -> None:
    async def run() -> None:
        async with scene() as on:
            on.child_calls(1, Receive(kind="word"))
            await on.person_calls(Kill(pid=on.child, signal=Signal.HUP))
            on.child_calls(1, Receive(kind="word"))
            await on.person_calls(Send(to=on.child, kind="word"))
            assert [type(response.reply) for response in on.said] == [Mail, Mail]

    asyncio.run(run())
