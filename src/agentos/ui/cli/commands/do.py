"""`do`: one sentence in, a receipt out.

    sentence ─> repository ─> survey ─> draft, shown ─> Submit ─> watched ─> receipt

Rule 1: nothing is handed in that was not shown first.
Rule 2: Ctrl-C stops the watching and nothing else.
"""

import sys
from hashlib import sha256
from pathlib import Path

import click

from agentos.abi.calls.work import Submit
from agentos.abi.ids import Digest, OrderId
from agentos.abi.replies import Ordered
from agentos.ui.cli import draft, follow, pages, table
from agentos.ui.cli.options import AMOUNT, COMMAND
from agentos.ui.cli.session import Session
from agentos.ui.cli.shell import command
from agentos.ui.cli.survey import ground
from agentos.ui.cli.trouble import Trouble
from agentos.userland.documents import order as documents

STDIN_BYTES_MAX = 1 << 20  # an order is read by people; a megabyte is not


def hand_in(session: Session, order: draft.Draft) -> OrderId:
    """Submit it, and say under which name it goes."""
    text = order.text.encode()
    digest = Digest(sha256(text).hexdigest())
    reply = session.client().call(Submit(title=order.title, text=digest, contract=order.contract), {digest: text})
    assert isinstance(reply, Ordered), "a submitted order is answered with its id"
    return reply.order


def watch(session: Session, order: OrderId, *, is_detached: bool = False) -> int:
    """Follow an order to its end and show its receipt. The exit status is the order's."""
    screen = session.screen
    screen.record({"record": "submitted", "order": order})
    screen.aside(f"{order} is handed in.")
    if is_detached:
        screen.result(f"{order}\nnext         agentos show {order}")
        return table.OK
    try:
        end = follow.follow(session.connect().follow(order=order), order, screen)
    except KeyboardInterrupt:
        screen.clear()
        screen.aside(
            f"\n{order} goes on without you.\n  come back: agentos show {order}\n  end it:    agentos stop {order}"
        )
        screen.record({"record": "detached", "order": order})
        return table.INTERRUPTED
    pages.receipt(session, order, session.facts(), exit=end.exit)
    if end.state == "asked":
        screen.aside(f"It waits for your answer: agentos inbox {end.question}")
    return end.exit


def submit(
    session: Session, order: draft.Draft, found: draft.Ground, *, is_sure: bool, is_dry: bool, is_detached: bool
) -> int:
    """Show it, ask where there is somebody to ask, hand it in, watch it."""
    screen = session.screen
    shown = draft.render(order, found, screen.columns)
    if is_dry:
        screen.result(shown)
    else:
        screen.aside(shown + "\n")
    screen.record(
        {"record": "draft", "title": order.title, "sentence": order.text, "contract": pages.plain(order.contract)}
    )
    if is_dry:
        screen.aside("Nothing was handed in.")
        return table.OK
    is_asking = (
        not is_sure and not screen.is_json and not screen.is_quiet and sys.stdin.isatty() and sys.stderr.isatty()
    )
    if is_asking and not click.confirm("Hand it in?", default=True, err=True):
        screen.aside("Nothing was handed in.")
        return table.INTERRUPTED
    return watch(session, hand_in(session, order), is_detached=is_detached)


def read_text(name: str) -> str:
    """Standard input for "-", else a file."""
    if name == "-":
        raw = sys.stdin.buffer.read(STDIN_BYTES_MAX + 1)
    else:
        with open(name, "rb") as lines:
            raw = lines.read(STDIN_BYTES_MAX + 1)
    if len(raw) > STDIN_BYTES_MAX:
        raise Trouble(f"{name} is over {STDIN_BYTES_MAX:,} bytes", next="hand in less", exit=table.USAGE)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Trouble(f"{name} is not UTF-8 text", next="save it as UTF-8", exit=table.USAGE) from None


@command("do")
@click.argument("sentence", required=False)
@click.option("--file", "file", type=click.Path(dir_okay=False), help="A work order: Markdown with front matter.")
@click.option("--check", "checks", type=COMMAND, multiple=True, metavar="CMD", help="What decides; may be repeated.")
@click.option("--scope", multiple=True, metavar="GLOB", help="Paths it may touch [everything]; may be repeated.")
@click.option("--allow-tests", is_flag=True, help="It may change the tests too.")
@click.option("--allow-green", is_flag=True, help="The check may be green before the work.")
@click.option("--base", default="HEAD", metavar="REF", help="The commit it starts from [HEAD].")
@click.option("--budget-usd", "budget_uusd", type=AMOUNT, metavar="USD", help="What it may cost [2].")
@click.option("--minutes", type=click.IntRange(1, 60 * 24 * 30), metavar="N", help="How long it may take [60].")
@click.option("--agent", default="", metavar="NAME", help="The agent that does it [worker].")
@click.option("--model", default="", metavar="CLASS", help="tiny, coder, frontier, judge, or a model's name.")
@click.option("--repository", type=click.Path(path_type=Path, file_okay=False), help="The repository [this one].")
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask before handing it in.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Show the order, and hand nothing in.")
@click.option("--detach", "is_detached", is_flag=True, help="Do not watch it.")
def do(
    session: Session, sentence: str | None, file: str | None, base: str, repository: Path | None, **said: object
) -> int:
    """Hand in one sentence; come back to a receipt.

    The repository is looked over for the command that tests it; --check names another. The order is shown before it
    is handed in. It ends when its checks, red before, are green on exactly what was made. `do -` reads the sentence
    from standard input.
    """
    if (sentence is None) == (file is None):
        raise click.UsageError('give one sentence, or --file ORDER.md: agentos do "what you want"')
    wish = wish_of(said)
    found = ground(repository or session.folder, base)
    flags = {name: bool(said[name]) for name in ("is_sure", "is_dry", "is_detached")}
    if file is not None:
        order = draft.from_document(documents.parse(read_text(file), file), found, wish)
    else:
        order = draft.draft(read_text("-") if sentence == "-" else sentence or "", found, wish)
    return submit(session, order, found, **flags)


def wish_of(said: dict[str, object]) -> draft.Wish:
    """What was said on the command line, as the draft takes it."""
    return draft.Wish(
        checks=tuple(said.get("checks") or ()),  # type: ignore[arg-type]
        scope=tuple(said.get("scope") or ()),  # type: ignore[arg-type]
        is_tests_allowed=bool(said.get("allow_tests")),
        is_green_allowed=bool(said.get("allow_green")),
        budget_uusd=said.get("budget_uusd"),  # type: ignore[arg-type]
        minutes=said.get("minutes"),  # type: ignore[arg-type]
        agent=str(said.get("agent") or ""),
        model=str(said.get("model") or ""),
    )
