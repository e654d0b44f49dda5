"""The commands as click sees them: found in the table, loaded one by one, run with the options that all have.

Rule 1: a command is a function of a session and its own options; it returns an exit status, or None for 0.
Rule 2: looking a command up, or completing its name, loads no other.
"""

import functools
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from agentos.ui.cli import table, trouble
from agentos.ui.cli.session import Session

_COMMANDS = "agentos.ui.cli.commands"


class LazyGroup(click.Group):
    """The table's commands, each loaded when it is wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(table.BY_NAME)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        row = table.BY_NAME.get(cmd_name)
        if row is None:
            return None
        module, _, name = row.target.partition(":")
        command: click.Command = getattr(importlib.import_module(f"{_COMMANDS}.{module}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in table.BY_NAME:
            raise unknown(args[0], tuple(table.BY_NAME), "agentos help --all")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(row.name, help=row.help) for row in table.ROWS if row.name.startswith(incomplete)]

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(table.front())


class Nested(click.Group):
    """A command with commands of its own, which says what was probably meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise unknown(args[0], tuple(self.commands), f"{ctx.command_path} --help")
        return super().resolve_command(ctx, args)


def unknown(word: str, words: tuple[str, ...], page: str) -> trouble.Trouble:
    """A word that is no command, and the one that was probably meant."""
    from difflib import get_close_matches

    close = get_close_matches(word.lower(), words, n=1, cutoff=0.6)  # below this the guesses are noise
    what = f"there is no command '{word}'" + (f"; did you mean '{close[0]}'?" if close else "")
    return trouble.Trouble(what, next=page, exit=table.USAGE)


_OPTIONS = (
    click.option("--json", "is_json", is_flag=True, help="One JSON document on stdout, or one per line for a stream."),
    click.option("--content", "is_content", is_flag=True, help="With --json: agents' free text too."),
    click.option("--quiet", "is_quiet", is_flag=True, help="Results only."),
    click.option("--debug", "is_debug", is_flag=True, help="Show tracebacks."),
    click.option("--home", type=click.Path(path_type=Path, file_okay=False), help="The workspace [AGENTOS_HOME]."),
)


def _adopt(session: Session, options: dict[str, Any]) -> None:
    """Takes the options that all commands have out of `options`."""
    screen = session.screen
    screen.is_json |= options.pop("is_json")
    screen.is_content |= options.pop("is_content")
    screen.is_quiet |= options.pop("is_quiet")
    session.is_debug |= options.pop("is_debug")
    home = options.pop("home")
    if home is not None:
        session.home = home.expanduser().absolute()


def common(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """The function with the options that all commands have; it is given the session first."""

    @functools.wraps(function)
    def run(*args: Any, **options: Any) -> int | None:
        session = click.get_current_context().find_root().obj
        _adopt(session, options)
        return function(session, *args, **options)

    own = getattr(run, "__click_params__", [])
    run.__click_params__ = []  # type: ignore[attr-defined]
    for option in reversed(_OPTIONS):
        option(run)
    run.__click_params__ += own  # type: ignore[attr-defined]  # click shows them in reverse: ours come last
    return run


def command(name: str, **settings: Any) -> Callable[[Callable[..., int | None]], click.Command]:
    """A command of the table. Its example stands below its help."""
    row = table.BY_NAME[name]

    def made(function: Callable[..., int | None]) -> click.Command:
        settings.setdefault("epilog", f"\b\nExample:\n  {row.example}")
        text = function.__doc__ or row.help
        return click.command(name, click.Command, help=text, short_help=row.help, **settings)(common(function))

    return made


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def cli(ctx: click.Context, /, **options: Any) -> None:
    _adopt(ctx.obj, options)
    if ctx.invoked_subcommand is None:
        click.echo(table.front(), nl=False)


for _option in reversed(_OPTIONS):
    _option(cli)


def run(words: list[str], session: Session | None = None) -> int:
    """Run one command line, tell what went wrong, and say the exit status."""
    session = session or Session()
    try:
        return int(cli.main(words, prog_name="agentos", standalone_mode=False, obj=session) or table.OK)
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain when it flushes at exit.
        sys.stdout = None
        return table.OK
    except (Exception, KeyboardInterrupt) as error:
        if session.is_debug or "--debug" in words:
            raise
        told = trouble.told(error) or trouble.defect(error)
        _tell(session, told, is_json=session.screen.is_json or "--json" in words)
        return told.exit


def _tell(session: Session, told: trouble.Told, *, is_json: bool) -> None:
    from agentos.views.escape import terminal

    session.screen.clear()
    if is_json:
        text = json.dumps({"error": told._asdict()})
    else:
        text = trouble.lines(told, functools.partial(terminal, chars_max=1_000))
        text = text.replace("error:", session.screen.style("bad", "error:"), 1)
    session.screen.err.write(text + "\n")
