"""What went wrong, in one shape: what, why, what to do next. And the exit status that says the same to a program.

Rule 1: a mistake of the person, of a file or of this machine is told, never shown as a traceback; `--debug` shows it.
Rule 2: what is not in the table is our defect, and is told as that, with how to see more.
Rule 3: errors are known by name, so that telling one loads none of the modules that could have raised it.
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from agentos.ui.cli import table


class Told(NamedTuple):
    """An error as a person reads it."""

    what: str
    why: str = ""
    next: str = ""
    exit: int = table.FAILED


class Trouble(Exception):
    """Something the command itself found wrong."""

    def __init__(self, what: str, *, why: str = "", next: str = "", exit: int = table.FAILED) -> None:
        super().__init__(what)
        self.told = Told(what, why, next, exit)


_REFUSALS = {  # kind: exit status, and what the kind means
    "Invalid": (table.USAGE, "the request contradicts itself"),
    "Forbidden": (table.REFUSED, "no authority for it"),
    "Busy": (table.FAILED, "it is not free for that now"),
    "Exhausted": (table.EXHAUSTED, "a budget or a limit is used up"),
    "NotYet": (table.FAILED, "something must happen first"),
    "Stale": (table.FAILED, "it is about a state that is over"),
    "Closed": (table.FAILED, "it has ended"),
    "NotFound": (table.NOT_FOUND, "there is no such thing here"),
    "Broken": (table.FAILED, "something outside failed"),
    "TimedOut": (table.FAILED, "no answer in time"),
}


def _refused(error: Any) -> Told:
    refusal = error.refusal
    status, meaning = _REFUSALS[type(refusal).__name__]
    why = f"rule {refusal.rule}" if refusal.rule else meaning
    if refusal.limit:
        why = f"{meaning}: {refusal.limit}"
    return Told(f"{refusal.thing} {refusal.fact}", why, refusal.remedy, status)


def _malformed(error: Any) -> Told:
    count = len(error.faults)
    noun = "one fault" if count == 1 else f"{count} faults"
    return Told(f"the file has {noun}", str(error), "mend the lines named above and run it again", table.USAGE)


def _usage(error: Any) -> Told:
    command = error.ctx.command_path if getattr(error, "ctx", None) is not None else "agentos"
    return Told(error.format_message(), "", f"{command} --help", table.USAGE)


def _file(error: Any) -> Told:
    name = error.filename or "a file"
    status = table.NOT_FOUND if isinstance(error, FileNotFoundError) else table.FAILED
    return Told(f"{name}: {os.strerror(error.errno) if error.errno else error}", "", "check the path", status)


def _plainly(next: str, exit: int) -> Callable[[Any], Told]:
    """For errors whose message says the fact and the way out already."""

    def told(error: Any) -> Told:
        what, _, way_out = str(error).partition("; ")
        return Told(what, "", way_out or next, exit)

    return told


_TABLE: dict[str, Callable[[Any], Told]] = {
    "agentos.ui.cli.trouble.Trouble": lambda error: error.told,
    "agentos.sdk.errors.Refused": _refused,
    "agentos.userland.documents.fault.Malformed": _malformed,
    "agentos.boot.client.Unreachable": _plainly("agentos doctor", table.UNREACHABLE),
    "agentos.boot.client.NoWorkspace": _plainly('hand in an order first: agentos do "..."', table.NOT_FOUND),
    "agentos.boot.trial.Silent": _plainly("agentos models ls", table.FAILED),
    "agentos.drivers.models_store.StoreError": _plainly("agentos models ls", table.FAILED),
    "agentos.boot.models.Misconfigured": _plainly("agentos models", table.USAGE),
    "agentos.ports.forge.NotARepository": _plainly("go to a git repository, or name one", table.NOT_FOUND),
    "agentos.ports.journal.Corrupt": _plainly("agentos sys fsck", table.FAILED),
    "agentos.ports.journal.Unsuitable": _plainly("choose another folder with --home", table.FAILED),
    "agentos.ports.journal.Locked": _plainly("agentos status", table.UNREACHABLE),
    "agentos.views.answers.UnknownOrder": _plainly("agentos work ls", table.NOT_FOUND),
    "click.exceptions.UsageError": _usage,
    "click.exceptions.ClickException": _usage,
    "click.exceptions.Abort": lambda error: Told("interrupted", exit=table.INTERRUPTED),
    "builtins.KeyboardInterrupt": lambda error: Told("interrupted", exit=table.INTERRUPTED),
    "builtins.OSError": _file,
}


def told(error: BaseException) -> Told | None:
    """How to tell an error; None for one that should not have happened."""
    for kind in type(error).__mro__:
        tell = _TABLE.get(f"{kind.__module__}.{kind.__qualname__}")
        if tell is not None:
            return tell(error)
    return None


def defect(error: BaseException) -> Told:
    """How to tell an error that is ours."""
    return Told(
        f"agentos has a defect: {type(error).__name__}: {error}",
        "this should not have happened, whatever you typed",
        "run it again with --debug, and report what it prints",
    )


def lines(told: Told, clean: Callable[[str], str]) -> str:
    """The error as text; `clean` makes one line safe for a terminal."""
    rows = [("error", told.what), ("why", told.why), ("next", told.next)]
    out = []
    for label, text in rows:
        for at, line in enumerate(text.splitlines()):
            out.append(f"{label + ':' if at == 0 else '':<7}{clean(line)}".rstrip())
    return "\n".join(out)
