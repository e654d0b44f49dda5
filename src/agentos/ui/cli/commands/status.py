"""`status`: what runs, what waits, which model answers, how well this machine isolates."""

from typing import Any

import click  # noqa: F401  (the decorator needs it loaded)

from agentos.ui.cli import table
from agentos.ui.cli.pages import plain
from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import command
from agentos.views import inbox, orders
from agentos.views.escape import terminal

_RECENT = 5  # orders shown; `work ls` has them all


@command("status")
def status(session: Session) -> int:
    """What runs, what waits for you, which model."""
    client = session.running()
    facts = session.facts_or_none()
    rows = orders.rows(facts)
    waiting = inbox.rows(facts)
    daemon = plain(client.status()) if client is not None else None
    screen = session.screen
    screen.record(
        {
            "home": str(session.home),
            "daemon": daemon,
            "orders": [plain(row) for row in rows if not row.is_over],
            "questions": [plain(row) for row in waiting],
        }
    )
    screen.result(_daemon(session, daemon))
    recent = [row for row in rows if not row.is_over] or rows[-_RECENT:]
    if recent:
        screen.result("\n" + orders.render(recent[-_RECENT:], session.now_ns(), screen.columns))
    if waiting:
        screen.result(f"\n{len(waiting)} waiting for your word: agentos inbox")
    elif not rows:
        screen.result('\nNo order yet. In a git repository: agentos do "what you want"')
    return table.OK if client is not None else table.UNREACHABLE


def _daemon(session: Session, status: dict[str, Any] | None) -> str:
    home = terminal(str(session.home), 200)
    if status is None:
        return f"daemon     not running; the next order starts it, or: agentos sys up\nhome       {home}"
    level = status["isolation"]
    isolation = f"{terminal(str(level['level']), 40)}" if level.get("is_usable") else "none: nothing can be verified"
    lines = [f"daemon     {terminal(status['version'], 20)}, pid {status['pid']}, epoch {status['epoch']}"]
    lines += [f"home       {home}", f"isolation  {isolation}"]
    lines += [f"model      {_model(model)}" for model in status["models"]]
    return "\n".join(lines)


def _model(model: dict[str, str]) -> str:
    name = " ".join(part for part in (model.get("backend", ""), model.get("model", "")) if part)
    return terminal(f"{name}: {model.get('reason', '')}", 200)
