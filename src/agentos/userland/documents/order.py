"""The work order as a file: front matter says what may be spent and touched, the body says what is wanted.

    ---
    title: Fix the date parser
    scope: {allowed: [src/**], protected: [tests/**]}
    budget: {usd: 2, minutes: 20}
    accept:
      - command: pytest -q
      - unchanged: tests/**
    ---
    # Goal
    `parse("2024-02-30")` must refuse.

Rule 1: everything that grants (scope, budget, checks, agent, model) is in the front matter; the body grants nothing.
Rule 2: a command is a list of words and no shell line; what only a shell understands is a fault, not a surprise.
Rule 3: `parse(render(order)) == order`, or `render` refuses.
Rule 4: a heading that is nearly "Constraints" is a fault: a constraint lost to a typing error is a constraint broken.
"""

import json
import re
import shlex
from collections.abc import Callable
from typing import Any

import msgspec

from agentos.abi.work import WORDS_MAX, Approval, Check, Command, Document, FileSchema, Metric, Review, Scope, Unchanged
from agentos.userland.documents import source
from agentos.userland.documents.expectation import EXPECTATION, build
from agentos.userland.documents.fault import Faults, Malformed, nearest, shown
from agentos.userland.documents.shape import (
    WORD,
    Anything,
    Cases,
    Either,
    Field,
    Flag,
    ListOf,
    Nothing,
    Record,
    Text,
    Usd,
    Whole,
    read,
)

ATTEMPTS = 3  # one try, one with the failure in hand, one more; after that a person should look
TIMEOUT_S = 300  # a check, unless it says otherwise; the same as abi.work has
TIMEOUT_S_MAX = 6 * 3600  # a check that runs longer belongs to a pipeline, not to a gate
SECTION_RATIO = 0.85  # similarity that makes a heading a misspelt section: "Goals" is one, "Contracts" is not
SECTIONS = ("goal", "success criteria", "constraints")

# A path pattern stays inside the repository: no '..', no negation (forbidden says that), no blank ends.
PATTERN = r"^(?!!)(?!\s)(?!.*(^|/)\.\.(/|$))[^\\]*[^\\\s]$"
PATH = r"^(?!/)(?!\s)(?!.*(^|/)\.\.(/|$))[^\\]*[^\\\s]$"


class Budget(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the order may cost. None leaves it to the limits of the workspace."""

    spend_uusd: int | None = None
    tokens_max: int | None = None
    minutes_max: int | None = None  # wall time


class Note(msgspec.Struct, frozen=True):
    """A section of the body that is neither goal, criteria nor constraints: context for the worker."""

    title: str  # "" for text before the first heading
    text: str


class OrderDraft(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An order as its author wrote it. Nothing is granted by it until a principal with that right submits it."""

    title: str
    goal: str
    success_criteria: str = ""
    constraints: str = ""
    context: tuple[Note, ...] = ()
    repository: str = ""  # path; "" means the one the author stands in
    base: str = "HEAD"  # what the work starts from
    scope: Scope = Scope()
    budget: Budget = Budget()
    attempts: int = ATTEMPTS
    agent: str = ""  # name of an agent; "" leaves the choice to the dispatcher
    model: str = ""  # class or name; "" leaves it to the agent
    inputs: tuple[str, ...] = ()  # files to read, relative to the order's own
    accept: tuple[Check, ...] = ()  # none means that nothing can be verified, and nothing closes


_PATTERNS = ListOf(item=Text(pattern=PATTERN, called="a path pattern without '..', '!' or '\\'"), is_single_ok=True)
_ARGV = Either(
    options=(
        Text(chars_max=4000, called="a command"),
        ListOf(item=Text(chars_max=4000, is_block=True, called="a word of the command"), items_min=1),
    )
)
_NAME = Field(
    "name", Text(chars_max=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$", called="a short name"), "Unique name."
)
_TIMEOUT = Field("timeout_s", Whole(least=1, most=TIMEOUT_S_MAX), "Seconds the check may run.")
_BOUND = Whole(least=-(10**15), most=10**15)
_PRINCIPAL = Text(pattern=r"^[a-z]+:[A-Za-z0-9@._-]+$", called="a principal such as user:ada")

CHECK = Cases(
    called="a check such as 'command: pytest -q'",
    records=(
        Record(
            fields=(
                Field("command", _ARGV, "Must exit with 0. A text is split into words; no shell runs.", True),
                _NAME,
                Field("must_fail_on_base", Flag(), "Must be red before the work starts (default true)."),
                _TIMEOUT,
                Field("tests", ListOf(item=Text(chars_max=1000), items_max=1000), "Test ids that must pass."),
            )
        ),
        Record(fields=(Field("unchanged", _PATTERNS, "Paths that must stay as they are on the base.", True), _NAME)),
        Record(
            fields=(
                Field(
                    "schema", Text(pattern=PATH, called="a path inside the repository"), "A file that must exist.", True
                ),
                Field("matches", Anything(), "JSON Schema that the file must match."),
                _NAME,
            )
        ),
        Record(
            fields=(
                Field("document", Text(pattern=PATH, called="a path inside the repository"), "A text to judge.", True),
                *EXPECTATION.fields,
                _NAME,
            )
        ),
        Record(
            fields=(
                Field("metric", _ARGV, "Prints a whole number on its last line.", True),
                Field("at_most", _BOUND, "Greatest number that passes."),
                Field("at_least", _BOUND, "Least number that passes."),
                _NAME,
                _TIMEOUT,
            )
        ),
        Record(
            fields=(
                Field(
                    "review",
                    Either(options=(Text(pattern=WORD, called="a role"), Nothing())),
                    "Role that reviews.",
                    True,
                ),
                Field("other_family", Flag(), "The reviewer's model family must differ from the worker's."),
                _NAME,
            )
        ),
        Record(
            fields=(
                Field(
                    "approval",
                    Either(options=(_PRINCIPAL, Nothing())),
                    "Who must accept; empty for anyone who may.",
                    True,
                ),
                _NAME,
            )
        ),
    ),
)
CHECK_ITEM = Either(options=(Text(choices=("review", "approval")), CHECK))

ORDER = Record(
    help="Front matter of a work order. The Markdown below it has the sections Goal, Success criteria, Constraints.",
    fields=(
        Field("title", Text(), "One line that names the work.", True),
        Field("repository", Text(chars_max=1000, called="a path"), "The repository; default is the current one."),
        Field(
            "base", Text(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/@~^-]*$", called="a branch, tag or commit"), "Start here."
        ),
        Field(
            "scope",
            Record(
                fields=(
                    Field("allowed", _PATTERNS, "Paths the work may touch."),
                    Field("forbidden", _PATTERNS, "Paths it may not; wins over allowed."),
                    Field("protected", _PATTERNS, "Paths taken from the base whatever the worker did: the tests."),
                )
            ),
            "Gitignore-style patterns.",
        ),
        Field(
            "budget",
            Record(
                fields=(
                    Field("usd", Usd(), "Dollars."),
                    Field("tokens", Whole(least=1, most=10**12), "Tokens, all kinds together."),
                    Field("minutes", Whole(least=1, most=60 * 24 * 30), "Wall time."),
                )
            ),
            "What the order may cost.",
        ),
        Field("attempts", Whole(least=1, most=20), "Tries before a person is asked."),
        Field("agent", Text(pattern=WORD, called="the name of an agent"), "Agent that does the work."),
        Field(
            "model", Text(pattern=r"^\S+$", called="a model class or name"), "tiny, coder, frontier, judge, or a model."
        ),
        Field("inputs", ListOf(item=Text(chars_max=1000, pattern=PATH, called="a relative path")), "Files to read."),
        Field(
            "accept",
            ListOf(item=CHECK_ITEM, items_max=64),
            "Checks the kernel runs itself; the order closes on nothing else.",
        ),
    ),
)


def parse(raw: bytes | str, file: str = "order.md") -> OrderDraft:
    """The order in the file; Malformed with every fault if it is not one."""
    faults = Faults(file)
    document = source.markdown(raw, faults)
    got = read(ORDER, document.front, "", faults)
    accept = checks(source.entry(document.front, "accept"), faults)
    body = _body(document, faults)
    faults.close()
    budget = got.get("budget", {})
    return OrderDraft(
        **{
            name: got[name]
            for name in ("title", "repository", "base", "attempts", "agent", "model", "inputs")
            if name in got
        },
        **body,
        scope=Scope(**got.get("scope", {})),
        budget=Budget(spend_uusd=budget.get("usd"), tokens_max=budget.get("tokens"), minutes_max=budget.get("minutes")),
        accept=accept,
    )


# ---- the body ----------------------------------------------------------------------------------------------------


def _body(document: source.Document, faults: Faults) -> dict[str, Any]:
    """Goal, criteria, constraints and context. Text before the first heading is the goal where no heading says Goal."""
    known: dict[str, source.Section] = {}
    context: list[Note] = []
    for section in source.sections(document.body, document.body_line, frozenset(SECTIONS), faults):
        name = source.folded(section.title)
        if name in known:
            faults.add(section.line, section.title, found=f"a second time; the first is on line {known[name].line}")
        elif name in SECTIONS:
            known[name] = section
        elif near := nearest(name, SECTIONS, ratio=SECTION_RATIO):
            faults.add(section.line, section.title, found="no such section", nearest=near.capitalize())
        elif section.text or section.level:
            context.append(Note(section.title, section.text))
    goal = known.get("goal")
    text = goal.text if goal else ""
    if goal is None and context and not context[0].title:
        text = context.pop(0).text
    if not text:
        line = goal.line if goal else document.body_line
        faults.add(line, "Goal", expected="a section '# Goal' that says what is wanted", found="nothing")
    rest = {name.replace(" ", "_"): known[name].text for name in SECTIONS[1:] if name in known}
    return {"goal": text, **rest, "context": tuple(context)}


# ---- checks ------------------------------------------------------------------------------------------------------


def checks(node: source.Node | None, faults: Faults) -> tuple[Check, ...]:
    """The checks of an `accept` list. Items that do not fit the shape are passed over: their faults are noted already."""
    made: list[Check] = []
    lines: dict[str, int] = {}
    for position, item in enumerate(node.value if node and node.kind == "list" else (), 1):
        scratch = Faults(faults.file)
        got = read(CHECK_ITEM, item, "", scratch)
        if scratch.items:
            continue
        check = _check({got: None} if isinstance(got, str) else got, item, position, faults)
        if check.name in lines:
            where, used = f"accept[{position}].name", lines[check.name]
            faults.add(item.line, where, found=f"the name '{check.name}', which the check on line {used} has")
        lines.setdefault(check.name, item.line)
        made.append(check)
    return tuple(made)


def _check(got: dict[str, Any], node: source.Node, position: int, faults: Faults) -> Check:
    kind = next(kind for kind in _MAKERS if kind in got)
    where = f"accept[{position}].{kind}"
    name = got.get("name") or f"{kind}-{position}"
    return _MAKERS[kind](name, got, lambda: _argv(got[kind], source.at(node, kind), where, faults), node, where, faults)


def _argv(given: str | tuple[str, ...], node: source.Node, where: str, faults: Faults) -> tuple[str, ...]:
    """The words of a command. Pipes, redirections and substitutions are a shell's and are refused."""
    if not isinstance(given, str):
        return given
    try:
        words = tuple(shlex.split(given))
        signs = [word for word in shlex.shlex(given, posix=True, punctuation_chars=True) if set(word) <= set("();<>|&")]
    except ValueError:
        faults.add(node.line, where, expected="a command", found=f"a quote that is never closed in '{shown(given)}'")
        return (given,)
    if signs or re.search(r"\$[({A-Za-z_]|`", given):
        sign = signs[0] if signs else "$ or `"
        fact = f"'{shown(sign)}', which needs a shell; write [sh, -c, '...']"
        faults.add(node.line, where, expected="one command", found=fact)
    return words


def _command(name: str, got: dict[str, Any], argv: Callable[[], tuple[str, ...]], *_: object) -> Check:
    rest = {key: got[key] for key in ("must_fail_on_base", "timeout_s", "tests") if key in got}
    return Command(name=name, argv=argv(), **rest)


def _unchanged(name: str, got: dict[str, Any], *_: object) -> Check:
    return Unchanged(name=name, paths=got["unchanged"])


def _schema(name: str, got: dict[str, Any], *_: object) -> Check:
    return FileSchema(name=name, path=got["schema"], schema=got.get("matches"))


def _document(
    name: str, got: dict[str, Any], argv: Callable[[], tuple[str, ...]], node: source.Node, where: str, faults: Faults
) -> Check:
    expectation = build(got, node, where, faults)
    return Document(name=name, path=got["document"], **msgspec.structs.asdict(expectation))


def _metric(
    name: str, got: dict[str, Any], argv: Callable[[], tuple[str, ...]], node: source.Node, where: str, faults: Faults
) -> Check:
    low, high = got.get("at_least"), got.get("at_most")
    if low is None and high is None:
        faults.add(node.line, where, expected="at_most or at_least", found="a metric without a bound")
    elif low is not None and high is not None and low > high:
        faults.add(node.line, where, found=f"at_least {low} above at_most {high}: nothing can pass")
    return Metric(name=name, argv=argv(), at_most=high, at_least=low, timeout_s=got.get("timeout_s", TIMEOUT_S))


def _review(name: str, got: dict[str, Any], *_: object) -> Check:
    return Review(name=name, role=got["review"] or "reviewer", is_other_family=got.get("other_family", False))


def _approval(name: str, got: dict[str, Any], *_: object) -> Check:
    return Approval(name=name, who=got["approval"] or "")


_MAKERS: dict[str, Callable[..., Check]] = {
    "command": _command,
    "unchanged": _unchanged,
    "schema": _schema,
    "document": _document,
    "metric": _metric,
    "review": _review,
    "approval": _approval,
}


# ---- writing -----------------------------------------------------------------------------------------------------


def render(order: OrderDraft) -> str:
    """The order as a file that reads back the same; ValueError when no file would (a goal with a heading '# Goal')."""
    front = {key: item for key, item in _front(order).items() if item not in ("", (), {}, None)}
    lines = ["---", *(f"{key}: {_inline(item)}" for key, item in front.items() if key != "accept")]
    if order.accept:
        lines += ["accept:", *(f"  - {_inline(_written(check))}" for check in order.accept)]
    named = [("Goal", order.goal), ("Success criteria", order.success_criteria), ("Constraints", order.constraints)]
    titled = [note for note in order.context if note.title]
    parts = [note.text for note in order.context if not note.title]
    parts += [f"# {title}\n\n{text}" for title, text in named if text]
    parts += [f"# {note.title}\n\n{note.text}" for note in titled]
    text = "\n".join([*lines, "---", "", "\n\n".join(parts), ""])
    _prove(text, order)
    return text


def _prove(text: str, order: OrderDraft) -> None:
    try:
        again: OrderDraft | str = parse(text)
    except Malformed as error:
        again = str(error)
    if again != order:
        why = again if isinstance(again, str) else "it would read back differently"
        raise ValueError(f"order '{shown(order.title)}' cannot be written as a file: {why}")


def _front(order: OrderDraft) -> dict[str, Any]:
    scope, default = order.scope, Scope()
    budget = order.budget
    return {
        "title": order.title,
        "repository": order.repository,
        "base": order.base if order.base != "HEAD" else "",
        "scope": _given(
            allowed=scope.allowed if scope.allowed != default.allowed else None,
            forbidden=scope.forbidden or None,
            protected=scope.protected or None,
        ),
        "budget": _given(
            usd=None if budget.spend_uusd is None else _Dollars(dollars(budget.spend_uusd)),
            tokens=budget.tokens_max,
            minutes=budget.minutes_max,
        ),
        "attempts": order.attempts if order.attempts != ATTEMPTS else None,
        "agent": order.agent,
        "model": order.model,
        "inputs": order.inputs,
    }


def _written(check: Check) -> dict[str, Any]:
    name = {"name": check.name}
    match check:
        case Command():
            red = {} if check.must_fail_on_base else {"must_fail_on_base": False}
            rest = {
                "timeout_s": check.timeout_s if check.timeout_s != TIMEOUT_S else None,
                "tests": check.tests or None,
            }
            return {"command": check.argv, **name, **red, **_given(**rest)}
        case Unchanged():
            return {"unchanged": check.paths, **name}
        case FileSchema():
            return {"schema": check.path, **name, **_given(matches=check.schema)}
        case Document():
            return {"document": check.path, **name, **_wanted(check)}
        case Metric():
            timeout = check.timeout_s if check.timeout_s != TIMEOUT_S else None
            bounds = _given(at_most=check.at_most, at_least=check.at_least, timeout_s=timeout)
            return {"metric": check.argv, **name, **bounds}
        case Review():
            return {"review": check.role, **name, **({"other_family": True} if check.is_other_family else {})}
        case Approval():
            return {"approval": check.who or None, **name}


def _wanted(check: Document) -> dict[str, Any]:
    words = {"at_least": check.words_min or None, "at_most": None if check.words_max == WORDS_MAX else check.words_max}
    fields = {name: getattr(check, name) or None for name in ("headings", "contains", "excludes", "starts", "fields")}
    return _given(**fields, words=_given(**words) or None)


def dollars(uusd: int) -> str:
    """Micro-USD as the shortest exact decimal: 2, 0.5, 0.000001."""
    whole, rest = divmod(uusd, 1_000_000)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".")


def _given(**fields: Any) -> dict[str, Any]:
    return {key: item for key, item in fields.items() if item is not None}


class _Dollars(str):
    """A number that is written as its digits."""


def _inline(item: Any) -> str:
    """The value as one line of YAML that is also nearly JSON."""
    if isinstance(item, dict):
        return "{" + ", ".join(f"{_inline(key)}: {_inline(inner)}" for key, inner in item.items()) + "}"
    if isinstance(item, list | tuple):
        return "[" + ", ".join(map(_inline, item)) + "]"
    if isinstance(item, str) and (isinstance(item, _Dollars) or _is_plain(item)):
        return item
    return json.dumps(item, ensure_ascii=False)


def _is_plain(text: str) -> bool:
    is_word = re.fullmatch(r"[A-Za-z][A-Za-z0-9_./ -]*[A-Za-z0-9_/]", text)
    return bool(is_word) and text.casefold() not in ("true", "false", "null")
