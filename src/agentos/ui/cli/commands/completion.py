"""`completion`: what a shell must read so that it completes our commands."""

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from agentos.ui.cli import table
from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import cli, command

_SHELLS: dict[str, tuple[type[ShellComplete], str]] = {
    "bash": (BashComplete, "in ~/.bashrc:  source <(agentos completion bash)"),
    "zsh": (ZshComplete, "in ~/.zshrc:  source <(agentos completion zsh)"),
    "fish": (FishComplete, "once:  agentos completion fish > ~/.config/fish/completions/agentos.fish"),
}
VARIABLE = "_AGENTOS_COMPLETE"  # click's name for it, by the program's


@command("completion")
@click.argument("shell", type=click.Choice(tuple(_SHELLS)))
def completion(session: Session, shell: str) -> int:
    """Print a shell's completion script; it says in its first line where to source it."""
    kind, where = _SHELLS[shell]
    made = kind(cli, {}, "agentos", VARIABLE)
    script = f"# {where}\n{made.source_template % made.source_vars()}"
    session.screen.record({"shell": shell, "source": where, "script": script})
    session.screen.result(script.rstrip("\n"))
    return table.OK
