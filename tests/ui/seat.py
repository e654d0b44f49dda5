"""A seat at the command line: a daemon played over a kernel in memory, and what a person sees of it.

Rule 1: every fact is decided by the kernel; only the world around it is played, by the stories of the views' tests.
"""

import contextlib
import io
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from agentos.abi.calls import AnyCall
from agentos.abi.ids import Digest
from agentos.abi.refusals import Refusal
from agentos.abi.replies import AnyReply
from agentos.boot.client import NoWorkspace, Unreachable
from agentos.sdk.errors import raising
from agentos.ui.cli import main, shell
from agentos.ui.cli.screen import Screen
from agentos.ui.cli.session import Session
from agentos.views.base import Fact
from tests.views.story import World

Play = Callable[[World], None]
Hold = Callable[[str, str], None]  # the fixture `transcript`


class Status(msgspec.Struct, kw_only=True):
    """As `agentos.boot.client.Status`, with fixed words."""

    version: str = "0.1.0"
    home: str = "/home/ada/.agentos"
    pid: int = 4242
    epoch: int = 1
    events: int = 0
    models: list[dict[str, str]] = msgspec.field(
        default_factory=lambda: [{"backend": "local", "model": "qwen", "reason": "it is here"}]
    )
    isolation: dict[str, Any] = msgspec.field(
        default_factory=lambda: {"level": "bubblewrap", "is_usable": True, "holes": [], "missing": []}
    )


class Daemon:
    """The daemon's side of a connection. `goes_on` is what happens once somebody watches."""

    def __init__(self, world: World, goes_on: Play = lambda world: None, person: str = "user:ada") -> None:
        self.world, self.goes_on, self.is_stopped = world, goes_on, False
        self.calls: list[AnyCall] = []
        self.pid = world.person(person)

    def call(self, call: AnyCall, blobs: Mapping[Digest, bytes] = {}) -> AnyReply:
        self.calls.append(call)
        self.world.blobs.update(blobs)
        answer = self.world.call(self.pid, call)
        if answer is None:
            self.world.perform()
            answer = next(
                fact.event.reply
                for fact in reversed(self.world.facts)
                if fact.type == "call.answered"  # type: ignore[union-attr]
            )
        if isinstance(answer, Refusal):
            raise raising(answer)
        return answer  # type: ignore[no-any-return]

    def status(self) -> Status:
        return Status(events=len(self.world.facts))

    def follow(self, *, order: str = "", after: int = 0, is_live: bool = True) -> Iterator[Fact]:
        shown = after
        for is_second in (False, True):
            if is_second:
                if not is_live:
                    return
                self.goes_on(self.world)
            facts = [fact for fact in self.world.facts if fact.seq > shown and order in ("", fact.order)]
            shown = len(self.world.facts)
            yield from facts

    def blob(self, digest: Digest) -> bytes | None:
        return self.world.blob(digest)

    def stop(self) -> None:
        self.is_stopped = True


class Seat(Session):
    """A session with that daemon, or with none."""

    def __init__(
        self, daemon: Daemon | None, *, folder: Path, home: Path | None = None, env: Mapping[str, str] = {}
    ) -> None:
        out, err = io.StringIO(), io.StringIO()
        super().__init__(home=home or folder / "home", screen=Screen(out=out, err=err, env=env), env=env, folder=folder)
        self.daemon, self.out, self.err = daemon, out, err

    def connect(self, *, is_starting: bool = True) -> Daemon:  # type: ignore[override]
        if self.daemon is None:
            raise Unreachable(f"no daemon runs for {self.home}; start one with: agentos sys up")
        return self.daemon

    def now_ns(self) -> int:
        return self.daemon.world.now_ns if self.daemon is not None else 0

    def _read(self) -> list[Fact]:
        if not (self.home / "journal.db").exists():
            raise NoWorkspace(f"there is no workspace in {self.home} yet; the first order makes one: agentos do")
        return super()._read()


class Ran(NamedTuple):
    """One command line, and what came of it."""

    status: int
    out: str
    err: str


def run(seat: Seat, *words: str) -> Ran:
    """Run one command line at this seat."""
    seat.out.truncate(0), seat.out.seek(0), seat.err.truncate(0), seat.err.seek(0)
    screen = seat.screen
    screen.is_json = screen.is_content = screen.is_quiet = seat.is_debug = False
    with contextlib.redirect_stdout(seat.out), contextlib.redirect_stderr(seat.err):
        status = shell.run(list(words), seat)
    return Ran(status, seat.out.getvalue(), seat.err.getvalue())


def front(*words: str) -> Ran:
    """Run the front door, which has no seat."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main.main(list(words))
    return Ran(status, out.getvalue(), err.getvalue())


def typed(words: tuple[str, ...], ran: Ran, replaced: Mapping[str, str] = {}) -> str:
    """A command line and all that it wrote, as it is kept; what differs from run to run is replaced."""
    shown = " ".join(word if re.fullmatch(r"[\w./:=-]+", word) else repr(word) for word in words)
    text = f"$ agentos {shown}\n{ran.out}{ran.err}[{ran.status}]"
    for found, name in replaced.items():
        text = text.replace(found, name)
    return text
