"""The receipt: one screen, at the end of an order or on the way. What a person reads before they believe anything.

Rule 1: at most 24 lines of at most 80 columns, whatever the order's texts are; they are escaped and clipped.
Rule 2: the verdict comes first, the next command last, and there is one.
Rule 3: a scripted or replayed model is named as that on the receipt itself.
"""

from collections.abc import Callable

from agentos.abi.work import Finding, Verdict
from agentos.views.answers import Answers
from agentos.views.answers.evidence import Judgement, Proof
from agentos.views.escape import clip, terminal
from agentos.views.record import OVER
from agentos.views.words import count, exact_money, few, money, span

LINES_MAX = 24  # a terminal's first screen
COLUMNS_MAX = 80
_LABEL = 13  # "green after" and two blanks
_CHECKS_MAX = 3  # shown one by one, before and after; the rest is counted

# How a piece of text is to look: good | bad | doubtful | strong | faint. Given its kind and text, returns the text.
Style = Callable[[str, str], str]

_ASCII = str.maketrans(
    {"━": "=", "✓": "+", "✗": "x", "●": "*", "…": "~", "·": "-"}
)  # for terminals that know no more; the rest is escaped by whoever writes

_VERDICTS = {"passed": ("good", "✓"), "failed": ("bad", "✗"), "unverified": ("doubtful", "●")}


def plain(kind: str, text: str) -> str:
    """No colour."""
    return text


def receipt(answers: Answers, style: Style = plain, *, is_ascii: bool = False) -> str:
    """The receipt of an order, from its seven answers."""
    kind, sign, word = _headline(answers)
    spaced = " ".join(word)
    title = clip(answers.title, COLUMNS_MAX - len(spaced) - len(answers.order) - 8) or "(no title)"
    rule = style("faint", "━" * COLUMNS_MAX)
    rows = [(label, tone, clip(text, COLUMNS_MAX - _LABEL)) for label, tone, text in _rows(answers)]
    body = [style("faint", label.ljust(_LABEL)) + style(tone, text) for label, tone, text in rows]
    head = f" {style(kind, f'{sign} {spaced}')}   {style('strong', answers.order)}  {title}"
    lines = [rule, head, rule, *body, rule, _next(answers, style)]
    assert len(lines) <= LINES_MAX, "every part of a receipt is bounded"
    text = "\n".join(lines)
    return text.translate(_ASCII) if is_ascii else text


def _headline(answers: Answers) -> tuple[str, str, str]:
    """Kind, sign and word: the verdict where there is one that matters, else the state."""
    verdict = answers.trust.verdict
    match answers.state:
        case "closed":
            return "good" if answers.trust.word == "yes" else "doubtful", "✓", "CLOSED"
        case "judged":
            kind, sign = _VERDICTS[verdict]
            return kind, sign, verdict.upper()
        case "cancelled":
            return "bad", "✗", "CANCELLED"
        case "escalated" if verdict in ("failed", "unverified"):
            kind, sign = _VERDICTS[verdict]
            return kind, sign, verdict.upper()
        case "escalated":
            return "doubtful", "●", "ESCALATED"
    return "doubtful" if answers.questions else "strong", "●", "WAITING" if answers.questions else "RUNNING"


def _rows(answers: Answers) -> list[tuple[str, str, str]]:
    """Label, kind and text of each line; 19 lines at most."""
    rows = [("verdict", _tone(answers), _verdict(answers)), *_asked(answers)]
    rows += _checks("red before", answers, is_after=False) + _checks("green after", answers, is_after=True)
    rows += [_tests(answers), *_change(answers)]
    rows += _cost(answers)
    rows.append(("time", "", _time(answers)))
    rows.append(("work by", "", _workers(answers)))
    rows.append(("judged by", *_judges(answers)))
    if answers.trust.holes or answers.trust.waivers:
        rows.append(("but", "doubtful", _but(answers)))
    return rows


def _tone(answers: Answers) -> str:
    return _VERDICTS.get(answers.trust.verdict, ("", ""))[0]


def _verdict(answers: Answers) -> str:
    trust = answers.trust
    if answers.state == "cancelled":
        return "ended without a result"
    if trust.verdict == "passed" and trust.reason == "ok":
        probed = [row for row in answers.evidence.proofs if row.probe]
        seen = probed and all(row.probe == "can fail" for row in probed)
        return "passed: every check passed" + (", and was seen to be able to fail" if seen else "")
    if trust.verdict:
        return f"{trust.verdict} ({trust.reason}): {trust.detail}"
    return "none: nothing was judged" if answers.state == "escalated" else f"none yet: {answers.next.why}"


def _asked(answers: Answers) -> list[tuple[str, str, str]]:
    """The oldest question that waits for a person, and how many more do."""
    if not answers.questions:
        return []
    first = answers.questions[0]
    text = f"{first.reason}: {first.detail}" if first.reason else first.text
    more = f" (+{len(answers.questions) - 1} more)" if len(answers.questions) > 1 else ""
    return [("asks you", "doubtful", clip(text, COLUMNS_MAX - _LABEL - len(more)) + more)]


def _checks(label: str, answers: Answers, *, is_after: bool) -> list[tuple[str, str, str]]:
    """What the checks said of the base, or of what was presented; the ones that went wrong first."""
    asked = [row for row in answers.evidence.proofs if row.kind not in ("review", "approval")]
    found = [row for row in asked if (row.after if is_after else row.before) is not None]
    if not found:
        nothing = "not run on anything presented" if is_after else "not run on the base"
        if is_after and answers.changed.commit and answers.evidence.refused:
            nothing = "not run: the change itself was refused"
        return [(label, "faint", nothing)]
    wrong_first = sorted(found, key=lambda row: row.is_green_after if is_after else _is_good_before(row))
    rows = [_check(row, is_after=is_after) for row in wrong_first[:_CHECKS_MAX]]
    shown = [(label if at == 0 else "", kind, text) for at, (kind, text) in enumerate(rows)]
    if len(found) > _CHECKS_MAX:
        good = sum(row.is_green_after if is_after else row.is_red_before for row in found)
        word = "green" if is_after else "red"
        shown[-1] = (
            "",
            "faint",
            f"and {count(len(found) - _CHECKS_MAX + 1, 'more check')}; {good} of {len(found)} {word}",
        )
    return shown


def _check(row: Proof, *, is_after: bool) -> tuple[str, str]:
    finding = row.after if is_after else row.before
    assert finding is not None, "only checks that were run are shown"
    colour = {Verdict.PASSED: "green", Verdict.FAILED: "red", Verdict.UNVERIFIED: "unverified"}[finding.verdict]
    kind = _VERDICTS[finding.verdict.value][0]
    sign = _VERDICTS[finding.verdict.value][1]
    said = f"{sign} {terminal(row.check, 24)}  {colour}, {_tally(finding)}"
    if not is_after:
        useless = "" if _is_good_before(row) or finding.verdict != Verdict.PASSED else "; it can show no work"
        return "good" if _is_good_before(row) else "bad", said + useless
    if row.probe and finding.verdict == Verdict.PASSED:
        said += f", {row.probe}"
    return kind, said


def _is_good_before(row: Proof) -> bool:
    return row.is_red_before or not row.must_fail_on_base


def _tally(finding: Finding) -> str:
    passed, failed = len(finding.passed), len(finding.failed)
    if passed or failed:
        return ", ".join([f"{failed:,} failed"] * bool(failed) + [f"{passed:,} passed"] * bool(passed))
    if finding.metric is not None:
        return f"measured {finding.metric:,}"
    if finding.exit_status is not None:
        return f"exit {finding.exit_status}"
    return finding.reason.value.replace("_", " ")


def _tests(answers: Answers) -> tuple[str, str, str]:
    changed = answers.changed
    names = few([terminal(pattern, 30) for pattern in changed.protected])
    if not changed.protected:
        return "tests", "doubtful", "not protected: the contract names no path that must stay"
    if not changed.commit:
        return "tests", "faint", f"protected: {names}"
    if changed.protected_changed:
        return "tests", "bad", f"CHANGED: {few(list(changed.protected_changed))}; the base's are in the commit"
    return "tests", "good", f"untouched ({names})"


def _change(answers: Answers) -> list[tuple[str, str, str]]:
    changed = answers.changed
    if not changed.commit:
        return [("change", "faint", "nothing was presented")]
    if not changed.paths:
        return [("change", "bad", "none")]
    lines = f"{count(len(changed.paths), 'file')}, +{changed.lines_added:,} -{changed.lines_removed:,}"
    paths = few([terminal(path, 40) for path in changed.paths])
    rows = [("change", "", f"{lines}  {paths}"), ("commit", "strong", changed.commit)]
    branch = changed.branch.removeprefix("refs/heads/")
    if branch:
        rows.append(("on branch", "strong", branch))
    elif answers.state == "closed":
        rows.append(("on branch", "", "none: sealed, and reachable by its id"))
    elif not answers.allowed.contract.is_external:
        rows.append(("on branch", "doubtful", "none: no branch was moved"))
    return rows


def _cost(answers: Answers) -> list[tuple[str, str, str]]:
    cost = answers.cost
    spent = f"{money(cost.total.uusd)} of {money(cost.limit.uusd)}"
    if cost.total.uusd % 10_000:  # the cents are not the whole truth
        spent += f" ({exact_money(cost.total.uusd)})"
    parts = [spent, count(cost.model_calls, "model call"), count(cost.total.tokens, "token")]
    rows = [("cost", "strong", " · ".join(parts))]
    besides = [f"{money(cost.written_off.uusd)} of it written off: outcomes were lost"] * bool(cost.written_off.uusd)
    besides += [f"up to {money(cost.open.uusd)} more in flight"] * bool(cost.open.uusd)
    return [*rows, ("", "doubtful", ", ".join(besides))] if besides else rows


def _time(answers: Answers) -> str:
    end_ns = answers.ended_at_ns or answers.last_at_ns
    so_far = "" if answers.ended_at_ns else " so far"
    presented = count(answers.evidence.presentations, "presentation")
    refused = len(answers.evidence.refused)
    return f"{span(end_ns - answers.began_at_ns)}{so_far} · {presented}" + (f", {refused} refused" if refused else "")


def _workers(answers: Answers) -> str:
    who = answers.who
    if answers.allowed.contract.is_external:
        return f"outside; judged at the wish of {terminal(who.author, 40)}"
    presenter = [row for row in who.workers if row.pid == who.presenter]
    rows = presenter or [row for row in who.workers if row.role == "worker"]
    names = few([f"{terminal(row.role, 16)} {row.pid}" for row in rows], 2) or "nobody yet"
    models = few(list(dict.fromkeys(terminal(row.model or row.backend, 30) for row in who.served)), 2)
    return f"{names} · {models or 'no model'}"


def _judges(answers: Answers) -> tuple[str, str]:
    standing = [row for row in answers.evidence.judgements if row.is_standing]
    if not standing:
        if answers.trust.grade == "checks only":
            return "", "the kernel's own checks, and nobody else"
        return "faint", "nobody yet" if answers.state not in OVER else "nobody"
    kind = "doubtful" if answers.trust.grade == "self-accepted" else "good"
    if any(row.verdict != "passed" for row in standing):
        kind = "bad"
    return kind, few([_judge(row) for row in standing], 2) + f" · {answers.trust.grade}"


def _judge(row: Judgement) -> str:
    who = (
        f"{terminal(row.role, 16)} {row.pid}" if not row.program.startswith("person:") else terminal(row.principal, 24)
    )
    return who if row.verdict == "passed" else f"{who} said {row.verdict}"


def _but(answers: Answers) -> str:
    """The gravest doubt in full, and how many more; `show` has them all."""
    doubts = [*answers.trust.holes, *answers.trust.waivers]
    more = f" (+{len(doubts) - 1} more)" if len(doubts) > 1 else ""
    return clip(doubts[0], COLUMNS_MAX - _LABEL - len(more)) + more


def _next(answers: Answers, style: Style) -> str:
    label = style("faint", "next".ljust(_LABEL))
    if not answers.next.command:
        command, why = f"agentos show {answers.order}", answers.next.why
    else:
        command, why = answers.next.command, answers.next.why
    room = COLUMNS_MAX - _LABEL - len(command) - 4
    return f"{label}{style('strong', command)}    {style('faint', clip(why, room))}".rstrip()


__all__ = ["COLUMNS_MAX", "LINES_MAX", "Style", "plain", "receipt"]
