"""Every command, one row each: the help pages, the lazy loading and the completion are read off this table.

Rule 1: this module imports nothing that costs time. The first help page is made from it alone, so that looking up a
        command costs no more than starting Python.
Rule 2: the first page holds what a person needs in the first hour, and fits on a screen of 24 lines and 80 columns.
Rule 3: an exit status means one thing, in every command. `do`, `run` and `verify` end with 0 only when the work is
        closed or the verdict is passed.
"""

from typing import NamedTuple


class Row(NamedTuple):
    """One command."""

    name: str
    group: str  # one of GROUPS
    help: str  # one line, begins with what happens
    target: str  # module below `agentos.ui.cli.commands`, and the command in it
    example: str  # what somebody would really type


FIRST = "first"  # on the first page
GROUPS = {
    FIRST: "Everyday",
    "work": "Work orders",
    "processes": "Processes and records",
    "system": "The system itself",
}

ROWS = (
    Row("do", FIRST, "Hand in one sentence; come back to a receipt.", "do:do", 'agentos do "fix the date parser"'),
    Row("verify", FIRST, "Judge a change that already exists.", "verify:verify", "agentos verify --base main"),
    Row("status", FIRST, "What runs, what waits for you, which model.", "status:status", "agentos status"),
    Row("show", FIRST, "An order's receipt, log, diff or events.", "show:show", "agentos show WO-1"),
    Row("apply", FIRST, "Bring a closed order's change into your checkout.", "apply:apply", "agentos apply WO-1"),
    Row("undo", FIRST, "Take an applied change out again.", "apply:undo", "agentos undo WO-1"),
    Row("inbox", FIRST, "What waits for your word, and your word on it.", "inbox:inbox", "agentos inbox 3 approve"),
    Row("cost", FIRST, "What was spent, by phase, role and model.", "cost:cost", "agentos cost WO-1"),
    Row("why", FIRST, "The seven answers about an order.", "why:why", "agentos why WO-1 evidence"),
    Row("stop", FIRST, "End an order without a result.", "stop:stop", "agentos stop WO-1"),
    Row("doctor", FIRST, "What is missing on this machine, and its fix.", "doctor:doctor", "agentos doctor"),
    Row("run", "work", "Hand in a work order or a workflow from a file.", "run:run", "agentos run ORDER.md"),
    Row("work", "work", "List, show, resume, cancel and fund orders.", "work:work", "agentos work ls"),
    Row(
        "report", "work", "Write an order's report as one HTML page.", "report:report", "agentos report WO-1 -o r.html"
    ),
    Row("demo", "work", "Watch one order from a failing test to a change.", "demo:demo", "agentos demo"),
    Row("ps", "processes", "List processes.", "process:ps", "agentos ps"),
    Row("top", "processes", "Watch processes; q quits.", "process:top", "agentos top"),
    Row("kill", "processes", "Send a process a signal.", "process:kill", "agentos kill 3.1 --signal KILL"),
    Row("trace", "processes", "Each call of a process, or what led to one.", "trace:trace", "agentos trace 3.1"),
    Row("log", "processes", "What happened, line by line.", "trace:log", "agentos log WO-1 -f"),
    Row("sys", "system", "Start, stop, check and replay the system.", "system:system", "agentos sys fsck"),
    Row("models", "system", "Which model answers, and why.", "models:models", "agentos models"),
    Row(
        "completion",
        "system",
        "Print a shell's completion script.",
        "completion:completion",
        "source <(agentos completion bash)",
    ),
    Row("help", "system", "These pages: help, help --all, help exit-codes.", "help:help_page", "agentos help --all"),
)
BY_NAME = {row.name: row for row in ROWS}

OK = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
REFUSED = 4
WAITING = 5
EXHAUSTED = 6
UNREACHABLE = 7
UNVERIFIED = 8
INTERRUPTED = 130  # 128 + SIGINT, as shells have it

EXITS = {
    OK: "it is so; of do, run and verify: closed, or passed, and nothing else",
    FAILED: "it failed; of do, run and verify: the verdict is failed, or the order was cancelled",
    USAGE: "the command line or a file is wrong",
    NOT_FOUND: "there is no such thing",
    REFUSED: "refused: no authority, or a policy says no",
    WAITING: "a person is asked; see agentos inbox",
    EXHAUSTED: "a budget or a limit is used up",
    UNREACHABLE: "the daemon is not running, and could not be started or reached",
    UNVERIFIED: "unverified: nothing speaks against it, and not enough for it",
    INTERRUPTED: "interrupted; the order goes on",
}

_HEAD = """agentos: work orders in, completed work out.

  agentos do "make the parser accept empty input"     in any git repository
"""
_FOOT = """
On every command: --json  --quiet  --home DIR  --debug  --help
More: agentos help --all | agentos help exit-codes | agentos COMMAND --help
"""


def page(words: list[str]) -> str | None:
    """The page that these words ask for, if it can be made from the table alone."""
    match words:
        case [] | ["--help"] | ["-h"] | ["help"]:
            return front()
        case ["help", "--all"] | ["--help", "--all"]:
            return everything()
        case ["help", "exit-codes"]:
            return exits()
        case ["--version"]:
            from agentos import __version__

            return f"agentos {__version__}\n"
    return None


def front() -> str:
    """The first page."""
    return f"{_HEAD}\n{_lines(FIRST)}\n{_FOOT}"


def everything() -> str:
    """Every command in its group, each with an example."""
    parts = [f"{title}\n{_lines(group, with_examples=True)}\n" for group, title in GROUPS.items()]
    return "\n".join([_HEAD, *parts]) + _FOOT


def exits() -> str:
    """What the exit statuses mean."""
    rows = [f"  {status:>3}  {meaning}" for status, meaning in EXITS.items()]
    return "\n".join(["Exit statuses, the same in every command:", "", *rows, ""])


def _lines(group: str, *, with_examples: bool = False) -> str:
    rows = [row for row in ROWS if row.group == group]
    return "\n".join(
        f"  {row.name:<12}{row.help}" + (f"\n  {'':<12}  {row.example}" if with_examples else "") for row in rows
    )
