"""From one sentence to a contract: what the person wants, what the repository has, what the system adds.

    sentence + survey + what was said on the command line ──draft──> Draft ──contract──> Contract ──> Submit

Rule 1: pure. The same sentence in the same repository makes the same order, and it is shown before it is handed in.
Rule 2: no order without a check: where none is found and none is given, there is nothing to draft.
Rule 3: money is read from its digits, never through a float.
"""

import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from agentos.abi.budget import ORDER_DEFAULT, Amounts
from agentos.abi.work import Check, Command, Contract, Document, Scope, Unchanged
from agentos.ui.cli import table
from agentos.ui.cli.trouble import Trouble
from agentos.userland.documents.order import OrderDraft
from agentos.views.escape import clip, terminal
from agentos.views.words import count, exact_money, few, money, short

TITLE_CHARS_MAX = 72  # what git and every list of orders show in one line
GOAL_CHARS_MAX = 20_000  # about 5,000 tokens, what a prompt may have; a longer one is a document with files
MINUTES = 60  # the contract's own default, said here because it is shown
_MINUTE_NS = 60_000_000_000
_UUSD = 1_000_000
USD_MAX = 1_000_000  # a slip of the finger, not a budget

# What nobody asks for in one sentence, and what runs by itself later: pipelines, agents' own instructions, git's files.
FORBIDDEN = (
    "/.github/workflows/**",
    "/.gitlab-ci.yml",
    "/.circleci/**",
    "/.claude/**",
    "/.mcp.json",
    "CLAUDE.md",
    "AGENTS.md",
    ".gitattributes",
    ".gitmodules",
)
# What a worker may use unless an order file says less: its own copy's files, and a shell in the sandbox, with no network.
TOOLS = ("read_file", "write_file", "edit_file", "list_files", "search_files", "shell")
BRANCH = "refs/heads/agentos/{order}"


class Ground(NamedTuple):
    """What a repository has, as far as an order is concerned."""

    repository: str
    base: str  # commit id
    named: str = "HEAD"  # what the base was called
    checks: tuple[Command, ...] = ()  # that test it, the best first
    scope: Scope = Scope()  # suggested: what is never touched, and the tests with what steers them
    notes: tuple[str, ...] = ()  # what was found, for the person
    uncommitted: int = 0  # files that differ from the base and are not part of the work


class Wish(NamedTuple):
    """What was said on the command line."""

    checks: tuple[tuple[str, ...], ...] = ()
    scope: tuple[str, ...] = ()
    is_tests_allowed: bool = False
    is_green_allowed: bool = False
    budget_uusd: int | None = None
    minutes: int | None = None
    agent: str = ""
    model: str = ""


NO_WISH = Wish()


class Draft(NamedTuple):
    """An order that can be handed in."""

    title: str
    text: str
    contract: Contract
    notes: tuple[str, ...] = ()


def usd(text: str) -> int:
    """Dollars as typed, in micro-USD, exactly; ValueError with the reason if it is no amount."""
    digits = re.fullmatch(r"\$?([0-9]{1,9})(?:\.([0-9]{1,6}))?", text.strip())
    if digits is None:
        raise ValueError(f"'{terminal(text, 40)}' is no amount of dollars with at most six decimals; write 2 or 0.50")
    uusd = int(digits[1]) * _UUSD + int((digits[2] or "").ljust(6, "0"))
    if uusd > USD_MAX * _UUSD:
        raise ValueError(f"{money(uusd)} is more than the {money(USD_MAX * _UUSD)} that one order can have")
    return uusd


def argv(text: str) -> tuple[str, ...]:
    """A command as typed, in words. No shell will run it; what only a shell understands is an error."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"'{terminal(text, 60)}' cannot be split into words: {error}") from None
    if not words:
        raise ValueError("a check is a command; it is empty")
    for word in words:
        if word in ("|", "||", "&&", ";", "&", ">", "<", ">>") or word.startswith("$("):
            raise ValueError(f"'{word}' needs a shell, and no shell runs; put it in a script, or say: sh -c '...'")
    return words


def title(sentence: str) -> str:
    """The first line of what is wanted, short enough for a list."""
    line = next((row.strip() for row in sentence.splitlines() if row.strip()), "")
    line = re.sub(r"^#+\s*", "", line)
    if len(line) <= TITLE_CHARS_MAX:
        return line
    cut = line[: TITLE_CHARS_MAX - 1].rsplit(" ", 1)[0] or line[: TITLE_CHARS_MAX - 1]
    return f"{cut}…"


def draft(sentence: str, ground: Ground, wish: Wish = NO_WISH) -> Draft:
    """The order that one sentence makes in this repository. Trouble when it would be no order."""
    sentence = sentence.strip()
    if not sentence:
        raise Trouble("there is no sentence", next='agentos do "what you want"', exit=table.USAGE)
    if len(sentence) > GOAL_CHARS_MAX:
        raise Trouble(
            f"the text has {len(sentence):,} characters, at most {GOAL_CHARS_MAX:,}",
            why="a worker reads it whole with every step",
            next="put the material into files of the repository, and name them",
            exit=table.USAGE,
        )
    return Draft(title(sentence), sentence, _contract(ground, wish, _commands(ground, wish)), ground.notes)


def from_document(order: OrderDraft, ground: Ground, wish: Wish = NO_WISH) -> Draft:
    """The order that a file makes in this repository. The command line wins over the file, the file over the survey."""
    spend, tokens = order.budget.spend_uusd, order.budget.tokens_max
    merged = wish._replace(
        scope=wish.scope or (order.scope.allowed if order.scope.allowed != Scope().allowed else ()),
        budget_uusd=wish.budget_uusd if wish.budget_uusd is not None else spend,
        minutes=wish.minutes if wish.minutes is not None else order.budget.minutes_max,
        agent=wish.agent or order.agent,
        model=wish.model or order.model,
    )
    accept = _commands(ground, wish) if wish.checks else order.accept or _commands(ground, wish)
    contract = _contract(ground, merged, accept)
    scope = contract.scope
    protected = scope.protected if wish.is_tests_allowed else order.scope.protected or scope.protected
    forbidden = tuple(dict.fromkeys((*order.scope.forbidden, *scope.forbidden)))
    budget = contract.budget if tokens is None else Amounts(contract.budget.uusd, tokens, contract.budget.actions)
    contract = replace(
        contract,
        scope=Scope(allowed=scope.allowed, forbidden=forbidden, protected=protected),
        budget=budget,
        attempts_max=order.attempts,
    )
    return Draft(order.title, text_of(order), contract, ground.notes)


def external(ground: Ground, candidate: str, wish: Wish = NO_WISH) -> Draft:
    """The order to judge a change that exists. Nobody works for it, so nothing is spent on models."""
    wish = wish._replace(budget_uusd=wish.budget_uusd or 0)
    contract = _contract(ground, wish, _commands(ground, wish))
    what = "the working tree" if candidate == "worktree" else short(candidate)
    contract = replace(contract, is_external=True, candidate=candidate, branch="", tools=())
    scope = Scope(allowed=contract.scope.allowed, protected=contract.scope.protected)
    text = f"Judge {what} against {ground.named}."
    return Draft(text.rstrip("."), text, replace(contract, scope=scope), ground.notes)


def text_of(order: OrderDraft) -> str:
    """Goal, success criteria and constraints as one text."""
    parts = [("Goal", order.goal), ("Success criteria", order.success_criteria), ("Constraints", order.constraints)]
    parts += [(note.title or "Context", note.text) for note in order.context]
    return "\n\n".join(f"# {name}\n\n{text}" for name, text in parts if text)


def _commands(ground: Ground, wish: Wish) -> tuple[Check, ...]:
    """What was asked for, else the best that the survey found."""
    if not wish.checks and ground.checks:
        return (replace(ground.checks[0], must_fail_on_base=not wish.is_green_allowed),)
    if not wish.checks:
        raise Trouble(
            "no check was found in this repository, and none was given",
            why="an order closes on evidence only; without a check there is none",
            next='name the command that decides: --check "pytest -q"',
            exit=table.USAGE,
        )
    return tuple(
        Command(name=name, argv=words, must_fail_on_base=not wish.is_green_allowed)
        for name, words in zip(_names(wish.checks), wish.checks, strict=True)
    )


def _names(commands: Sequence[tuple[str, ...]]) -> list[str]:
    """A name for each command: its program or module, numbered where that is not unique."""
    stems = [re.sub(r"[^A-Za-z0-9._-]", "-", _program(words))[:40] or "check" for words in commands]
    return [stem if stems.count(stem) == 1 else f"{stem}-{at + 1}" for at, stem in enumerate(stems)]


def _program(words: tuple[str, ...]) -> str:
    """What a command is known by: pytest, make, and of `python3 -m unittest` the module."""
    name = words[0].rsplit("/", 1)[-1]
    return words[2] if name.startswith("python") and len(words) > 2 and words[1] == "-m" else name


def _contract(ground: Ground, wish: Wish, accept: tuple[Check, ...]) -> Contract:
    uusd = ORDER_DEFAULT.uusd if wish.budget_uusd is None else wish.budget_uusd
    minutes = MINUTES if wish.minutes is None else wish.minutes
    contract = Contract(
        repository=ground.repository,
        base=ground.base,
        branch=BRANCH,
        scope=Scope(
            allowed=wish.scope or ("**",),
            forbidden=tuple(dict.fromkeys((*FORBIDDEN, *ground.scope.forbidden))),
            protected=() if wish.is_tests_allowed else ground.scope.protected,
        ),
        accept=accept,
        budget=Amounts(uusd, ORDER_DEFAULT.tokens, ORDER_DEFAULT.actions),
        wall_ns_max=minutes * _MINUTE_NS,
        tools=TOOLS,
    )
    if wish.agent:
        contract = replace(contract, agent=wish.agent)
    if wish.model:
        contract = replace(contract, model_classes=(wish.model,))
    return contract


# ---- showing it --------------------------------------------------------------------------------------------------

_LABEL = 11


def render(order: Draft, ground: Ground, columns: int = 80) -> str:
    """The order as a person reads it before it is handed in; escaped, bounded, no more than a screen."""
    contract = order.contract
    rows = [
        ("order", order.title),
        ("in", f"{contract.repository}, from {terminal(ground.named, 40)} ({short(contract.base)})"),
    ]
    rows += _asked(order)
    allowed = few([terminal(path, 30) for path in contract.scope.allowed], 4)
    rows.append(("may touch", "any file" if contract.scope.allowed == ("**",) else allowed))
    if contract.scope.forbidden:
        rows.append(("never", few([terminal(path, 30) for path in contract.scope.forbidden], 3)))
    tests = few([terminal(path, 30) for path in contract.scope.protected], 3)
    rows.append(("protected", tests or "nothing: the change may alter the tests that judge it"))
    rows += [("check" if at == 0 else "", _told(check)) for at, check in enumerate(contract.accept[:4])]
    if len(contract.accept) > 4:
        rows.append(("", f"and {len(contract.accept) - 4} more"))
    minutes = contract.wall_ns_max // _MINUTE_NS
    if not contract.is_external:
        rows.append(("limits", f"{_dollars(contract.budget.uusd)} and {count(minutes, 'minute')}"))
        rows.append(("worker", f"{contract.agent}, model {' or '.join(contract.model_classes)}"))
        rows.append(("tools", few(list(contract.tools), 6) or "none"))
    if ground.uncommitted and contract.candidate != "worktree":
        rows.append(("note", f"{count(ground.uncommitted, 'uncommitted file')} will not be seen"))
    rows += [("note", note) for note in order.notes[:3]]
    return "\n".join(f"  {label:<{_LABEL}}{clip(text, columns - _LABEL - 2)}" for label, text in rows)


def _asked(order: Draft) -> list[tuple[str, str]]:
    """What is wanted, where it is more than its title: its first lines."""
    lines = [line.strip() for line in order.text.splitlines() if line.strip()]
    if order.contract.is_external or len(lines) <= 1 and order.text == order.title:
        return []
    shown = lines[:3]
    rows = [("goal" if at == 0 else "", line) for at, line in enumerate(shown)]
    return rows + ([("", f"and {count(len(lines) - 3, 'more line')}")] if len(lines) > 3 else [])


def _dollars(uusd: int) -> str:
    return exact_money(uusd) if uusd % 10_000 else money(uusd)


def _told(check: Check) -> str:
    match check:
        case Command():
            red = "red before, green after" if check.must_fail_on_base else "green after"
            return f"{terminal(shlex.join(check.argv), 200)}   ({red})"
        case Unchanged():
            return f"unchanged: {few([terminal(path, 40) for path in check.paths])}"
        case Document():
            return f"{terminal(check.path, 60)} holds what it must"
    return f"{terminal(check.name, 40)} ({type(check).__name__.lower()})"
