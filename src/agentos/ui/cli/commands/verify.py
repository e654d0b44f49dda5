"""`verify`: the refusal of a false "done", over any change, with no set-up.

Rule 1: what is judged is the change since the two lines of history parted, and nothing that others did meanwhile.
Rule 2: exit status 0 means passed, and nothing else does.
"""

from pathlib import Path

import click

from agentos.ui.cli import draft, repository, table
from agentos.ui.cli.commands.do import hand_in, watch, wish_of
from agentos.ui.cli.options import COMMAND
from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import command
from agentos.ui.cli.survey import ground
from agentos.ui.cli.trouble import Trouble
from agentos.views.words import short

_WORKTREE = "worktree"  # how a contract calls the files as they lie there


@command("verify")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD...]")
@click.option("--base", default="main", metavar="REF", help="What the change is compared with [main].")
@click.option("--head", default="HEAD", metavar="REF", help="The change [HEAD].")
@click.option("--worktree", "is_worktree", is_flag=True, help="Judge the files as they lie there, committed or not.")
@click.option("--check", "checks", type=COMMAND, multiple=True, metavar="CMD", help="What decides; may be repeated.")
@click.option("--scope", multiple=True, metavar="GLOB", help="Paths the change may touch [everything].")
@click.option("--allow-tests", is_flag=True, help="The change may alter the tests too.")
@click.option("--allow-green", is_flag=True, help="The check may be green on the base.")
@click.option("--minutes", type=click.IntRange(1, 60 * 24), metavar="N", help="How long it may take [60].")
@click.option(
    "--repository", "start", type=click.Path(path_type=Path, file_okay=False), help="The repository [this one]."
)
@click.option("--detach", "is_detached", is_flag=True, help="Do not watch it.")
def verify(
    session: Session,
    words: tuple[str, ...],
    base: str,
    head: str,
    is_worktree: bool,
    start: Path | None,
    is_detached: bool,
    **said: object,
) -> int:
    """Judge a change that already exists, whoever made it.

    The check is run in a clean sandbox, on exactly the content presented, with the tests of the base. It must be red
    on the base and green on the change, and be able to fail there; else the answer is not passed but unverified. The
    check is the command after `--`, or what the repository is found to have.
    """
    if words:
        said["checks"] = (*(said["checks"] or ()), words)  # type: ignore[misc]
    root = repository.find(start or session.folder)
    tip = repository.commit(root, head)
    forked = repository.fork(root, repository.commit(root, base), tip)
    if forked == tip and not is_worktree:
        raise Trouble(
            f"{head} holds nothing that {base} does not have",
            why="there is no committed change to judge",
            next=f"agentos verify --base {base} --worktree",
            exit=table.USAGE,
        )
    found = ground(root, forked)._replace(named=f"{base}, where it parted from {head}")
    order = draft.external(found, _WORKTREE if is_worktree else tip, wish_of(said))
    title = f"Verify {'the working tree' if is_worktree else short(tip)} against {base}"
    order = order._replace(title=title, text=title + ".")
    session.screen.aside(draft.render(order, found, session.screen.columns) + "\n")
    return watch(session, hand_in(session, order), is_detached=is_detached)
