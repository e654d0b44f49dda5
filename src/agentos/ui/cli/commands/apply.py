"""`apply` and `undo`: a closed order's change, into the checkout and out of it again."""

import click

from agentos.abi.calls.work import Apply, Undo
from agentos.abi.replies import Applied
from agentos.ui.cli import lookup, table
from agentos.ui.cli.pages import plain
from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import command
from agentos.views.escape import terminal
from agentos.views.words import count

_PATHS_MAX = 10  # shown; the diff has them all


@command("apply")
@click.argument("order", required=False)
def apply(session: Session, order: str | None) -> int:
    """Take a closed order's change over into your checkout: all of it or nothing.

    Nothing is committed; your own edits are left alone, and if they are in the way nothing is changed at all.
    """
    wanted = lookup.order(order, session.facts())
    return _tell(session, session.client().call(Apply(order=wanted)), "applied", f"agentos undo {wanted}")


@command("undo")
@click.argument("order", required=False)
def undo(session: Session, order: str | None) -> int:
    """Take an applied change out of your checkout again, exactly."""
    wanted = lookup.order(order, session.facts())
    return _tell(session, session.client().call(Undo(order=wanted)), "taken out", f"agentos apply {wanted}")


def _tell(session: Session, reply: object, word: str, next: str) -> int:
    assert isinstance(reply, Applied), "apply and undo are answered with what was changed"
    screen = session.screen
    screen.record(plain(reply))
    lines = [f"{reply.order}: {count(len(reply.paths), 'file')} {word}"]
    lines += [f"  {terminal(path, 200)}" for path in reply.paths[:_PATHS_MAX]]
    if len(reply.paths) > _PATHS_MAX:
        lines.append(f"  and {len(reply.paths) - _PATHS_MAX} more")
    screen.result("\n".join([*lines, f"next         {next}"]))
    return table.OK
