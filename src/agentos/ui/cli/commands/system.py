"""`sys`: the daemon up and down, the journal checked and replayed."""

import click

from agentos.ui.cli import table
from agentos.ui.cli.pages import plain
from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import Nested, common
from agentos.ui.cli.trouble import Trouble
from agentos.views.escape import terminal


@click.group("sys", cls=Nested)
def system() -> None:
    """The system itself: start, stop, check, replay.

    \b
    Example:
      agentos sys fsck
    """


@system.command("up", help="Start the daemon, if it does not run.")
@common
def up(session: Session) -> int:
    was_running = session.running() is not None
    status = session.client().status()
    session.screen.record({"was_running": was_running, **plain(status)})
    word = "runs already" if was_running else "runs now"
    session.screen.result(f"agentos {terminal(status.version, 20)} {word}, pid {status.pid}\nhome {session.home}")
    for model in status.models:
        session.screen.result(
            f"model {terminal(' '.join(filter(None, (model.get('backend'), model.get('model')))), 80)}"
        )
    session.screen.result('next  agentos do "what you want"')
    return table.OK


@system.command("down", help="Stop the daemon; open orders go on when it starts again.")
@common
def down(session: Session) -> int:
    client = session.running()
    if client is not None:
        client.stop()
    session.screen.record({"was_running": client is not None})
    session.screen.result("The daemon is stopped." if client is not None else "No daemon runs.")
    return table.OK


@system.command("fsck", help="Check the journal: storage, chain, fold, laws.")
@common
def fsck(session: Session) -> int:
    from agentos.boot import inspection

    _be_alone(session)
    found = inspection.check(session.home)
    session.screen.record([row._asdict() for row in found])
    for row in found:
        mark = session.screen.style("good", "ok  ") if row.is_whole else session.screen.style("bad", "FAIL")
        session.screen.result(f"{mark}  {row.name:<8} {terminal(row.fact, 300)}")
    if all(row.is_whole for row in found):
        return table.OK
    raise Trouble("the journal is not whole", why="see the lines above", next="restore the workspace from a backup")


@system.command("replay", help="Fold the journal anew, and print the state's digest.")
@click.option("--until", type=click.IntRange(1), metavar="SEQ", help="Up to this event.")
@common
def replay(session: Session, until: int | None) -> int:
    from agentos.boot import inspection

    _be_alone(session)
    fold = inspection.replay(session.home, until)
    session.screen.record(fold._asdict())
    session.screen.result(f"{fold.events:,} events fold to state\n{fold.digest}")
    return table.OK


def _be_alone(session: Session) -> None:
    if session.running() is not None:
        raise Trouble(
            "the daemon runs, and has the journal to itself", why="two readers could disagree", next="agentos sys down"
        )
