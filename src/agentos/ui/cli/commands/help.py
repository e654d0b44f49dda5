"""`help` with words that the front door did not recognise: a command's own page, or a page of the table."""

import click

from agentos.ui.cli import table
from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import cli, command, unknown


@command("help")
@click.argument("topic", required=False)
@click.option("--all", "is_all", is_flag=True, help="Every command, in groups.")
def help_page(session: Session, topic: str | None, is_all: bool) -> int:
    """The help pages: help, help --all, help exit-codes, help COMMAND."""
    screen = session.screen
    if topic == "exit-codes":
        screen.record({str(status): meaning for status, meaning in table.EXITS.items()})
        screen.result(table.exits().rstrip("\n"))
    elif topic is None:
        rows = [row._asdict() for row in table.ROWS if is_all or row.group == table.FIRST]
        screen.record([{name: item for name, item in row.items() if name != "target"} for row in rows])
        screen.result((table.everything() if is_all else table.front()).rstrip("\n"))
    else:
        root = click.get_current_context().find_root()
        found = cli.get_command(root, topic)
        if found is None:
            raise unknown(topic, tuple(table.BY_NAME), "agentos help --all")
        with click.Context(found, info_name=topic, parent=root) as ctx:
            text = found.get_help(ctx)
        screen.record({"command": topic, "help": table.BY_NAME[topic].help, "page": text})
        screen.result(text)
    return table.OK
