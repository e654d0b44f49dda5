"""`demo`: one order from a failing test to a verified change, on this machine and without a network."""

import importlib
import importlib.util

import click

from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import command
from agentos.ui.cli.trouble import Trouble


@command("demo")
@click.option("--keep", is_flag=True, help="Keep the repository and the workspace afterwards.")
def demo(session: Session, keep: bool) -> int:
    """Watch one order go from a failing test to a verified change: no key, no account, no network."""
    if importlib.util.find_spec("agentos.boot.demo") is None:
        raise Trouble("this build has no demo", why="it is not written yet", next='agentos do "..." in a repository')
    shown = importlib.import_module("agentos.boot.demo")
    return int(shown.run(session.screen.aside, is_kept=keep))
