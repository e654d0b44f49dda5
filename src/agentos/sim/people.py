"""The person of a scenario: submits orders, answers questions, cancels, takes a change home.

Rule 1: a person outlives the kernel. Whoever was cut off in the middle of a call looks what became of it and goes on.
Rule 2: asked whether something happened, they look at the world, and say what is so.
"""

import asyncio
from collections.abc import Mapping

import msgspec

from agentos.abi.calls import AnyCall
from agentos.abi.calls.work import Apply, Cancel, Decide, Submit, Undo
from agentos.abi.effects import RunTool
from agentos.abi.ids import Digest, OrderId, Pid
from agentos.abi.replies import Response
from agentos.kernel.state import Question, State
from agentos.machine.desk import MachineDesk
from agentos.machine.loop import Machine
from agentos.sim.host import named
from agentos.sim.scenario import Plan
from agentos.sim.world import World

NAME = "user:ada"
RETRIES_MAX = 3  # of an order that was given up; then it is cancelled


class Person:
    """One person, across kernels."""

    def __init__(self, plans: tuple[Plan, ...], world: World) -> None:
        self.plans, self._world = plans, world
        self.retried: dict[str, int] = {}
        self.applied: set[str] = set()  # orders whose change was asked for; a person asks once
        self.undone: set[str] = set()
        self.orders: dict[str, OrderId] = {}  # by title
        self.asked: list[int] = []  # questions of kind "unknown" that were seen
        self.is_done = False

    async def live(self, desk: MachineDesk, machine: Machine, stirred: asyncio.Event, settled: asyncio.Event) -> None:
        """As long as this kernel lives. `stirred`: a question came; `settled`: something ended."""
        self.is_done = False
        pid = await desk.enroll(NAME, "operator")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._answer(desk, machine, pid, stirred))
            async with asyncio.TaskGroup() as errands:
                for plan in self.plans:
                    errands.create_task(self._follow(desk, machine, pid, plan, settled))
            self.is_done = True
            settled.set()

    async def _follow(self, desk: MachineDesk, machine: Machine, pid: Pid, plan: Plan, settled: asyncio.Event) -> None:
        """One order: submitted, maybe cancelled, maybe taken home."""
        if plan.title not in self.orders:
            self._find(machine.state)
        if plan.title not in self.orders:
            await asyncio.sleep(plan.after_s)
            text = msgspec.json.encode(plan.script)
            submit = Submit(title=plan.title, text=named(text), contract=plan.contract)
            await self._call(desk, pid, submit, {named(text): text})
            self._find(machine.state)
        order = self.orders[plan.title]
        if plan.cancel_after_s:
            await asyncio.sleep(plan.cancel_after_s)
            if order in machine.state.orders:
                await self._call(desk, pid, Cancel(order=order, reason="never mind"))
        if plan.is_applied:
            await self._take_home(desk, machine, pid, order, settled)

    def _find(self, state: State) -> None:
        """What was submitted already, by its title, which is unique."""
        for open in state.orders.values():
            self.orders[open.title] = open.id
        for over in state.closed.values():
            self.orders[over.title] = over.id

    async def _take_home(
        self, desk: MachineDesk, machine: Machine, pid: Pid, order: OrderId, settled: asyncio.Event
    ) -> None:
        while order in machine.state.orders:
            settled.clear()
            await settled.wait()
        if machine.state.closed[order].state == "closed" and order not in self.applied:
            self.applied.add(order)
            await self._call(desk, pid, Apply(order=order))
        if machine.state.closed[order].receipt and order not in self.undone:
            self.undone.add(order)
            await self._call(desk, pid, Undo(order=order))

    async def _answer(self, desk: MachineDesk, machine: Machine, pid: Pid, stirred: asyncio.Event) -> None:
        """Every question in the inbox, one after the other."""
        while True:
            for question in list(machine.state.questions.values()):
                await asyncio.sleep(self._world.random.uniform(0.01, 3))
                call = Decide(question=question.id, choice=self._choice(machine.state, question))
                await self._call(desk, pid, call)
            if not machine.state.questions:
                stirred.clear()
                await stirred.wait()

    def _choice(self, state: State, question: Question) -> str:
        if question.kind == "unknown":
            self.asked.append(question.effect)
            pending = state.effects.get(question.effect)
            happened = pending is not None and self._looks_done(state, pending.id, pending.what)
            return "happened" if happened else "did not happen"
        if question.kind == "escalation":
            self.retried[str(question.order)] = self.retried.get(str(question.order), 0) + 1
            return question.choices[0] if self.retried[str(question.order)] <= RETRIES_MAX else "cancel"
        return question.choices[0]

    def _looks_done(self, state: State, effect: int, what: object) -> bool:
        if isinstance(what, RunTool):
            return self._world.has_done(f"{state.workspace}-{effect}")
        return bool(self._world.applied)

    async def _call(self, desk: MachineDesk, pid: Pid, call: AnyCall, blobs: Mapping[Digest, bytes] = {}) -> Response:
        return await desk.call(pid, call, blobs)
