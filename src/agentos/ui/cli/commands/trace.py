"""`trace` and `log`: what a process asked for, what led to what, what happened when."""

import click

from agentos.ui.cli import lookup, table
from agentos.ui.cli.follow import end_of
from agentos.ui.cli.pages import facts_plain, plain
from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import command
from agentos.ui.cli.trouble import Trouble
from agentos.views import timeline
from agentos.views import trace as causes
from agentos.views.base import Fact


@command("trace")
@click.argument("pid", required=False)
@click.option("--why", "target", metavar="ID", help="Back from an event (its number) or a call (4.1/0/3).")
@click.option("--effect", type=int, help="Back from an effect.")
def trace(session: Session, pid: str | None, target: str | None, effect: int | None) -> int:
    """Each call of a process with its outcome; or what led to an event, a call or an effect.

    \b
      agentos trace 3.1
      agentos trace --why 412
    """
    if sum(word is not None for word in (pid, target, effect)) != 1:
        raise click.UsageError("give one of PID, --why ID and --effect N")
    facts, screen = session.facts(), session.screen
    if pid is not None:
        rows = causes.calls(facts, lookup.pid(pid))
        if not rows:
            raise Trouble(f"process {pid} has made no call", next="agentos ps --all", exit=table.NOT_FOUND)
        for row in rows:
            screen.record({"record": "call", **plain(row)})
        screen.result(causes.render(rows, screen.columns))
        return table.OK
    if effect is not None:
        steps = causes.why_effect(facts, effect)
    else:
        assert target is not None
        steps = causes.why(facts, int(target) if target.isdigit() else target)
    if not steps:
        raise Trouble(f"nothing on record leads to {target or effect}", next="agentos log", exit=table.NOT_FOUND)
    screen.record([plain(step) for step in steps])
    screen.result(causes.render_why(steps, screen.columns))
    return table.OK


@command("log")
@click.argument("target", required=False, metavar="[WO|PID]")
@click.option("--follow", "-f", "is_live", is_flag=True, help="Go on as it happens; Ctrl-C ends it.")
@click.option("--full", "is_full", is_flag=True, help="Every event, not only what people read.")
def log(session: Session, target: str | None, is_live: bool, is_full: bool) -> int:
    """What happened, line by line: of an order, of a process, or all of it."""
    facts = session.facts() if not is_live else session.facts_or_none()
    pid = target if target is not None and lookup.is_pid(target) else ""
    order = lookup.order(target, facts) if target is not None and not pid else None
    screen = session.screen
    rows = timeline.lines(facts, order=order, pid=pid, is_full=is_full)
    if screen.is_json:
        shown = {row.seq for row in rows}
        for fact in facts:
            if fact.seq in shown:
                screen.record(facts_plain(fact))
    elif rows:
        screen.result(timeline.render(rows, columns=screen.columns, style=screen.style))
    if not is_live:
        return table.OK
    try:
        return _go_on(session, facts, order, pid, is_full)
    except KeyboardInterrupt:
        return table.OK


def _go_on(session: Session, facts: list[Fact], order: str | None, pid: str, is_full: bool) -> int:
    """New facts as they come. An order that is over ends it."""
    if order is not None and any((end := end_of(fact, order)) and end.state in _OVER for fact in facts):
        return table.OK
    seen, screen = list(facts), session.screen
    told = len(timeline.lines(seen, order=order, pid=pid, is_full=is_full))  # type: ignore[arg-type]
    for fact in session.connect().follow(after=seen[-1].seq if seen else 0):
        seen.append(fact)
        rows = timeline.lines(seen, order=order, pid=pid, is_full=is_full)  # type: ignore[arg-type]
        if len(rows) > told:
            told = len(rows)
            screen.record(facts_plain(fact))
            screen.result(timeline.render(rows[-1:], columns=screen.columns, style=screen.style))
        end = end_of(fact, order) if order is not None else None
        if end is not None and end.state in _OVER:
            return table.OK
    return table.UNREACHABLE  # the daemon closed the line


_OVER = ("closed", "judged", "cancelled")
