"""`demo`: the main job on real input, in front of whoever watches, in a folder of its own.

    choose a model ─> fix three bugs ─> the daemon is killed in the middle of one, and goes on ─> a bug too hard for a
    small model: refused, escalated ─> three workflows ─> what it cost, why to believe it, where to look

Rule 1: the same path as any order: nothing here reaches around the daemon, except to kill it.
Rule 2: a scripted model is said to be one, on every page; a real one is fetched only after its size was told.
Rule 3: the exit status is 0 when everything ended as it should: closed what can be closed, refused what must be.
"""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from shutil import copytree
from typing import NamedTuple

import click
from msgspec.structs import replace

from agentos.abi.effects import Generate
from agentos.abi.events.call import EffectDispatched, EffectIntended
from agentos.abi.ids import OrderId
from agentos.abi.work import Command, Contract
from agentos.ui.cli import draft, follow, pages, table
from agentos.ui.cli.commands import cost, why
from agentos.ui.cli.commands.do import hand_in
from agentos.ui.cli.commands.workflow import run_workflow
from agentos.ui.cli.screen import Screen
from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import command
from agentos.ui.cli.survey import ground
from agentos.ui.cli.trouble import Trouble
from agentos.views.base import Fact

GONE_S = 10.0  # what SIGKILL takes on a machine that swaps
CHECK_S = 20  # the tests of the demonstration take a tenth of a second
WORKFLOWS = ("docs-merge", "fact-sheet", "reviewed-merge")


class Job(NamedTuple):
    """One order of the demonstration."""

    module: str
    sentence: str
    is_closing: bool = True  # False: too hard for a small model, so that the gate is seen to refuse
    is_killed: bool = False  # the daemon is killed while its model thinks


JOBS = (
    Job("statistics_of", "Fix statistics_of.py: the median of an even count is the mean of the two middle values"),
    Job("roman", "Fix roman.py: Roman numerals must be subtractive, as in IV and XC", is_killed=True),
    Job("initials", "Fix initials.py: initials are upper case, and spaces in a row are one"),
    Job("arithmetic", "Make evaluate in arithmetic.py handle + - * / and parentheses", is_closing=False),
)


class Outcome(NamedTuple):
    """How one part ended, and whether that is how it should."""

    name: str
    said: str
    is_right: bool


@command("demo")
@click.option("--scripted", is_flag=True, help="Let a script answer instead of a model; every page says so.")
@click.option("--no-workflows", is_flag=True, help="Only the four orders.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Where to do it [a new folder].")
def demo(session: Session, scripted: bool, no_workflows: bool, folder: Path | None) -> int:
    """Watch real orders go from failing tests to verified changes, one of them through a kill -9.

    Uses the model that is at hand: AOS_LLM_* or a provider's key, a server on this machine, or the small local model,
    which is fetched once. Your own repositories and workspace are not touched.
    """
    place = folder or Path(tempfile.mkdtemp(prefix="agentos-demo-"))
    shown = Demonstration(session, place, script=_script() if scripted else _chosen(session))
    outcomes = [*shown.orders(), *(() if no_workflows else shown.workflows())]
    shown.ending(outcomes)
    return table.OK if all(outcome.is_right for outcome in outcomes) else table.FAILED


def _script() -> Path:
    return Path(str(resources.files("agentos.userland.demo"))) / "script.yaml"


def _chosen(session: Session) -> Path | None:
    """The script, where no model can be had; None for a real one, which is fetched here if it must be."""
    from agentos.boot import local_model
    from agentos.boot import models as choosing

    screen = session.screen
    choice = choosing.choose(session.env, choosing.probes_of(session.env, lambda size: True))
    if choice.backend == "scripted":
        screen.result(
            f"No model can be had here: {choice.reason}.\nA SCRIPT ANSWERS INSTEAD, and every page says so.\n"
        )
        return _script()
    screen.result(f"Model: {choice.backend} {choice.model}. {choice.reason}.")
    if choice.backend == "local" and (size := local_model.missing_bytes(session.env)):
        screen.result(f"It is {size >> 20} MB, fetched once, checked against its pinned SHA-256, kept for next time.")
        try:
            local_model.pull(session.env, screen.progress, with_carriers=True)
        except Exception as error:  # noqa: BLE001 whatever keeps it from coming, the demonstration goes on and says so
            screen.clear()
            screen.result(f"It cannot be had: {error}\nA SCRIPT ANSWERS INSTEAD, and every page says so.\n")
            return _script()
        screen.clear()
    return None


def _short(contract: Contract, job: Job) -> Contract:
    """Nobody wants to watch a small model's endless loop for five minutes, nor its third try at what it cannot do."""
    accept = tuple(
        replace(check, timeout_s=CHECK_S) if isinstance(check, Command) else check for check in contract.accept
    )
    return replace(contract, accept=accept, attempts_max=contract.attempts_max if job.is_closing else 1)


def _kill(pid: int) -> None:
    """SIGKILL, and wait until the process is gone: until then its socket still takes connections."""
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + GONE_S
    while time.monotonic() < deadline:
        try:
            with contextlib.suppress(ChildProcessError):  # where we started it, it is ours to bury
                os.waitpid(pid, os.WNOHANG)
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)


class Demonstration:
    """A repository, a workspace, and the parts in order."""

    def __init__(self, session: Session, place: Path, *, script: Path | None) -> None:
        self.screen: Screen = session.screen
        self.place, self.script = place, script
        self.repository = place / "toolbox"
        self.session = Session(home=place / "home", screen=session.screen, env=session.env, folder=self.repository)
        self._prepare()

    def _prepare(self) -> None:
        if self.repository.exists():
            raise Trouble(f"{self.repository} exists already", next="give another --folder, or delete it")
        copytree(Path(str(resources.files("agentos.userland.demo"))) / "toolbox", self.repository)
        self._git("init", "-q", "-b", "main")
        self._git("add", "-A")
        self._git("-c", "user.name=demo", "-c", "user.email=demo@localhost", "commit", "-q", "-m", "Four bugs")
        self._wake()
        self.screen.result(f"A repository with four bugs: {self.repository}\n")

    def _git(self, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=self.repository, capture_output=True, text=True, check=True)
        return done.stdout

    def _wake(self) -> None:
        """Start the daemon, with the script if there is one."""
        from agentos.boot.client import Client

        Client.open(self.session.home, script=self.script).close()
        self.session.forget()

    def orders(self) -> Iterator[Outcome]:
        """The four orders, one after another."""
        for number, job in enumerate(JOBS, start=1):
            self.screen.result(f"── {number} of {len(JOBS)}: {job.sentence}")
            wish = draft.NO_WISH._replace(checks=(("python3", "-m", "unittest", f"test_{job.module}"),))
            drafted = draft.draft(job.sentence, ground(self.repository), wish)
            order = hand_in(self.session, drafted._replace(contract=_short(drafted.contract, job)))
            end = self._watch(order, is_killed=job.is_killed)
            pages.receipt(self.session, order, self.session.facts(), exit=end.exit)
            self.screen.result("")
            is_right = (end.state == "closed") == job.is_closing
            if not job.is_closing and end.state == "escalated":
                self.screen.result(
                    "   The model said it was done. The checks said no, so a person is asked, not told.\n"
                )
            yield Outcome(f"{order} {job.module}", end.state, is_right)

    def _watch(self, order: OrderId, *, is_killed: bool) -> follow.End:
        facts = self.session.connect().follow(order=order)
        return follow.follow(self._killing(facts, order) if is_killed else facts, order, self.screen)

    def _killing(self, facts: Iterator[Fact], order: OrderId) -> Iterator[Fact]:
        """The facts of an order, through the death of the daemon while its model thinks."""
        thinking: set[int] = set()
        for fact in facts:
            yield fact
            if isinstance(fact.event, EffectIntended) and isinstance(fact.event.what, Generate):
                thinking.add(fact.event.effect)
            if isinstance(fact.event, EffectDispatched) and fact.event.effect in thinking:
                break
        status = self.session.client().status()
        self.screen.clear()
        self.screen.result(
            f"   kill -9 {status.pid}: the daemon dies in the middle of a model call (event {fact.seq})."
        )
        _kill(status.pid)
        self._wake()
        now = self.session.client().status()
        self.screen.result(f"   A new one (pid {now.pid}, epoch {now.epoch}) reads the journal and goes on.")
        yield from self.session.connect().follow(order=order, after=fact.seq)

    def workflows(self) -> Iterator[Outcome]:
        """Three workflows that ship, each one order with several agents."""
        for name in WORKFLOWS:
            self.screen.result(f"── workflow {name}")
            exit = run_workflow(self.session, name, (), budget_uusd=None, is_sure=True, is_dry=False, is_detached=False)
            self.screen.result("")
            said = {table.OK: "closed", table.WAITING: "escalated"}.get(exit, f"ended with {exit}")
            yield Outcome(f"workflow {name}", said, exit in (table.OK, table.WAITING))

    def ending(self, outcomes: list[Outcome]) -> None:
        """What there is to see, and how to see more."""
        say = self.screen.result
        say("── what it cost")
        cost.show(self.session)
        say("\n── why to believe the first of them")
        why.show(self.session, OrderId("WO-1"))
        say("\n── how it went")
        for outcome in outcomes:
            say(f"   {'✓' if outcome.is_right else '✗'} {outcome.name}: {outcome.said}")
        if self.script is not None:
            say("   A SCRIPT ANSWERED, no model: this shows the system, and nothing about a model.")
        home = f"AGENTOS_HOME={self.session.home} agentos"
        say(
            f"\nLook around: cd {self.repository}\n"
            f"   {home} show WO-1 --diff      {home} apply WO-1\n"
            f"   {home} inbox                 {home} report WO-1 -o report.html"
        )
