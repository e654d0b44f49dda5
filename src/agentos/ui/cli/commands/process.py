"""`ps`, `top`, `kill`: processes as an operating system shows them."""

import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from agentos.abi.calls.process import Kill
from agentos.abi.signals import Signal
from agentos.ui.cli import lookup, table
from agentos.ui.cli.pages import plain
from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import command
from agentos.views import processes
from agentos.views.base import Fact
from agentos.views.escape import clip

_REFRESH_S = 1.0  # a person reads no faster, and a table of ten thousand is made in a tenth of it
_CLEAR = "\x1b[H\x1b[2J"
_ALTERNATE = ("\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l")  # another screen without a cursor, and back


@command("ps")
@click.argument("order", required=False)
@click.option("--all", "-a", "is_all", is_flag=True, help="Those that have ended too.")
def ps(session: Session, order: str | None, is_all: bool) -> int:
    """List processes: of one order, or all."""
    facts = session.facts_or_none()
    wanted = lookup.order(order, facts) if order else ""
    rows = processes.rows(facts, wanted, is_ended_shown=is_all)
    session.screen.record([plain(row) for row in rows])
    session.screen.result(processes.render(rows, session.now_ns(), session.screen.columns) if rows else "No process.")
    return table.OK


@command("top")
@click.argument("order", required=False)
def top(session: Session, order: str | None) -> int:
    """Watch processes; q quits. Where there is no terminal, the table is shown once."""
    screen = session.screen
    if screen.is_json or not screen.is_terminal or not sys.stdin.isatty():
        rows = processes.rows(session.facts_or_none(), lookup.spelled(order) if order else "")
        screen.record([plain(row) for row in rows])
        screen.result(processes.render(rows, session.now_ns(), screen.columns))
        return table.OK
    seen: list[Fact] = session.facts_or_none()
    wanted = lookup.order(order, seen) if order else ""
    with _keys() as pressed:
        screen.out.write(_ALTERNATE[0])
        try:
            while True:
                seen += _new(session, seen[-1].seq if seen else 0)
                rows = processes.rows(seen, wanted)
                screen.out.write(_CLEAR + _page(session, rows))
                screen.out.flush()
                if pressed(_REFRESH_S) in ("q", "Q", "\x1b"):
                    return table.OK
        except KeyboardInterrupt:
            return table.OK
        finally:
            screen.out.write(_ALTERNATE[1])
            screen.out.flush()


def _new(session: Session, after: int) -> list[Fact]:
    """What has happened since; with no daemon, nothing does."""
    client = session.running()
    return list(client.follow(after=after, is_live=False)) if client is not None else []


def _page(session: Session, rows: list[processes.Row]) -> str:
    from shutil import get_terminal_size

    height = get_terminal_size().lines
    now_ns = session.now_ns()
    head = clip(f"agentos  {time.strftime('%H:%M:%S')}  {len(rows)} processes  q quits", session.screen.columns)
    lines = processes.render(rows, now_ns, session.screen.columns).splitlines()
    shown = lines[: max(height - 3, 1)]
    more = [f"and {len(lines) - len(shown)} more"] if len(lines) > len(shown) else []
    return "\n".join([session.screen.style("strong", head), *shown, *more])


@contextmanager
def _keys() -> Iterator["_Pressed"]:
    """Keys one by one, without Enter; the terminal is given back as it was."""
    import termios
    import tty

    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    tty.setcbreak(number)
    try:
        yield _Pressed()
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


class _Pressed:
    """The key pressed within so many seconds, or nothing."""

    def __call__(self, wait_s: float) -> str:
        ready, _, _ = select.select([sys.stdin], [], [], wait_s)
        return sys.stdin.read(1) if ready else ""


@command("kill")
@click.argument("pid")
@click.option(
    "--signal",
    "signal",
    type=click.Choice([row.value for row in Signal], case_sensitive=False),
    default="TERM",
    help="TERM asks it to end, KILL ends it [TERM].",
)
def kill(session: Session, pid: str, signal: str) -> int:
    """Send a process a signal."""
    target = lookup.pid(pid)
    session.client().call(Kill(pid=target, signal=Signal(signal)))
    session.screen.record({"pid": target, "signal": signal})
    session.screen.result(f"{signal} sent to {target}.")
    return table.OK
