"""An order's report: one HTML file with everything in it, to be kept, sent and read without us.

Rule 1: self-contained: no script, no font, no picture, no link leads out of it, and its own policy forbids them.
Rule 2: every text from outside is escaped and bounded; there is no way from a title to markup.
Rule 3: it says what it was made from, so that a stranger with the journal can make it again.
"""

from collections import Counter
from collections.abc import Iterable

from agentos.abi.ids import OrderId
from agentos.abi.work import Finding
from agentos.views import lineage, timeline
from agentos.views.answers import QUESTIONS, Answers, answered
from agentos.views.answers.evidence import Proof
from agentos.views.answers.grounding import Material
from agentos.views.base import Blob, Fact, about, no_blob
from agentos.views.cost import Row
from agentos.views.escape import page, page_lines
from agentos.views.record import Record, fold
from agentos.views.report import gantt
from agentos.views.report.style import SHEET
from agentos.views.words import count, exact_money, few, instant, money, short, span

LOG_LINES_MAX = 400  # beyond this a reader wants the journal
TESTS_MAX = 60  # test ids listed per check
GRANTS_MAX = 60

_TONES = {"passed": "good", "failed": "bad", "unverified": "doubtful"}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def report(order: OrderId, facts: Iterable[Fact], blob: Blob = no_blob, *, now_ns: int | None = None) -> str:
    """The report of an order as one HTML page. UnknownOrder when none was submitted."""
    kept = list(facts)
    record = fold(order, kept)
    answers = answered(record, blob)
    own = list(about(order, kept))
    now = max(now_ns or 0, record.last_at_ns)
    body = [
        _hero(answers),
        _seven(answers),
        _section("Timeline", _picture(record, own, now)),
        _section("Evidence", _evidence(answers)),
        _section("Changes", _changes(answers)),
        _section("Costs", _costs(answers)),
        _section("Processes", _processes(record, now)),
        _section("Artifacts", _artifacts(kept, order)),
        _section("Decisions and issues", _decisions(answers)),
        _section("Log", _log(kept, order)),
        _footer(record, own),
    ]
    title = f"{page(answers.order)} {page(answers.title, 80)}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{SHEET}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _section(title: str, body: str) -> str:
    return f'<section><h2>{title}</h2><div class="card">{body}</div></section>'


def _badge(text: str, tone: str, kind: str = "badge") -> str:
    return f'<span class="{kind} {tone}">{page(text, 40)}</span>'


def _tag(text: str, tone: str) -> str:
    return _badge(text, tone, "badge tag")


def _code(text: str) -> str:
    return f"<code>{page(text)}</code>" if text else '<span class="soft">none</span>'


def _table(heads: list[str], rows: list[list[str]], numbers_from: int = 99, *, has_total: bool = False) -> str:
    """Cells are HTML already. Columns from `numbers_from` on are figures."""

    def kind(at: int) -> str:
        return ' class="number"' if at >= numbers_from else ""

    head = "".join(f'<th scope="col"{kind(at)}>{name}</th>' for at, name in enumerate(heads))
    lines = []
    for number, row in enumerate(rows):
        mark = ' class="total"' if has_total and number == len(rows) - 1 else ""
        lines.append(f"<tr{mark}>" + "".join(f"<td{kind(at)}>{cell}</td>" for at, cell in enumerate(row)) + "</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _pairs(rows: list[list[str]]) -> str:
    """A name and a value in each row, HTML already."""
    body = "".join(f'<tr><th scope="row">{name}</th><td>{value}</td></tr>' for name, value in rows)
    return f"<table><tbody>{body}</tbody></table>"


# --- the head ---------------------------------------------------------------------------------------------------------


def _hero(answers: Answers) -> str:
    trust, changed = answers.trust, answers.changed
    state_tone = {"closed": "good", "cancelled": "bad", "escalated": "doubtful"}.get(answers.state, "")
    badges = [_badge(answers.state.upper(), state_tone)]
    badges += [_badge(trust.verdict.upper(), _TONES.get(trust.verdict, ""))] * bool(trust.verdict)
    badges += [_badge(trust.grade, "doubtful" if trust.grade == "self-accepted" else "")] * (trust.grade != "none")
    warnings = [row.warning for row in answers.who.served if row.warning]
    warning = f'<p class="warning">{page(warnings[0])}</p>' if warnings else ""
    what = f"{_code(changed.commit)} on {_code(changed.branch)}" if changed.branch else _code(changed.commit)
    return (
        f'<header class="card hero"><div><p class="soft mono">{page(answers.order)}</p>'
        f"<h1>{page(answers.title, 160) or '(no title)'}</h1>"
        f'<p class="soft">asked for by {page(answers.who.author, 80)}, {instant(answers.began_at_ns)}</p></div>'
        f"<div>{' '.join(badges)}</div>{warning}"
        f'<div class="figures">{_figures(answers)}</div>'
        f'<p class="small"><span class="soft">commit</span> {what}</p></header>'
    )


def _figures(answers: Answers) -> str:
    cost = answers.cost
    share = min(100, 100 * cost.total.uusd // cost.limit.uusd) if cost.limit.uusd else 0
    end_ns = answers.ended_at_ns or answers.last_at_ns
    lines = f"+{answers.changed.lines_added:,} -{answers.changed.lines_removed:,}"
    asked = [row for row in answers.evidence.proofs if row.kind not in ("review", "approval")]
    green = sum(row.is_green_after for row in asked)
    red = sum(row.is_red_before for row in asked)
    return "".join(
        (
            _figure(
                money(cost.total.uusd),
                f"of {money(cost.limit.uusd)}",
                f'<div class="meter"><i style="width:{share}%"></i></div>',
            ),
            _figure(span(end_ns - answers.began_at_ns), "from order to end" if answers.ended_at_ns else "so far"),
            _figure(f"{red} red → {green} green", f"of {count(len(asked), 'check')}, before and after"),
            _figure(lines if answers.changed.paths else "none", f"in {count(len(answers.changed.paths), 'file')}"),
            _figure(answers.trust.word, "can it be trusted?"),
        )
    )


def _figure(value: str, label: str, more: str = "") -> str:
    return f'<div class="figure"><b>{page(value, 60)}</b><span>{page(label, 80)}</span>{more}</div>'


# --- the seven --------------------------------------------------------------------------------------------------------


def _seven(answers: Answers) -> str:
    bullets = {
        "who": _who_points(answers),
        "allowed": _allowed_points(answers),
        "grounding": _grounding_points(answers),
        "changed": _changed_points(answers),
        "evidence": _evidence_points(answers),
        "cost": _cost_points(answers),
        "trust": _trust_points(answers),
    }
    cards = []
    for name, question in QUESTIONS.items():
        answer = getattr(answers, name)
        wide = " wide" if name == "trust" else ""
        items = "".join(f"<li>{item}</li>" for item in bullets[name])
        columns = " columns" if name == "trust" else ""
        rests = ", ".join(map(str, answer.rests_on[:200])) or "nothing"
        cards.append(
            f'<article class="card{wide}"><h3>{question}</h3><p>{page(answer.summary)}</p>'
            f'<ul class="small{columns}">{items}</ul>'
            f"<details><summary>rests on {count(len(answer.rests_on), 'event')}</summary>"
            f'<p class="small soft mono">{rests}</p></details></article>'
        )
    return f'<section><h2>The seven answers</h2><div class="answers">{"".join(cards)}</div></section>'


def _who_points(answers: Answers) -> list[str]:
    who = answers.who
    points = [f"principals: {page(few(who.principals, 5))}"]
    points += [
        f"{page(row.model or 'unnamed model', 60)} on {page(row.backend, 40)}: {count(row.calls, 'answer')} for "
        f"{page(few(row.roles, 4))}"
        for row in who.served[:5]
    ]
    points += [f"{page(row.role, 40)} {row.pid}: {page(row.program, 80)}" for row in who.workers[:5]]
    return points


def _allowed_points(answers: Answers) -> list[str]:
    allowed = answers.allowed
    contract = allowed.contract
    points = [
        f"paths: {page(few(contract.scope.allowed, 5))}",
        f"protected: {page(few(answers.changed.protected, 5)) or 'nothing'}",
        f"tools: {page(few(contract.tools, 6)) or 'none'}; models: {page(few(contract.model_classes, 6)) or 'none'}",
        f"{count(contract.attempts_max, 'attempt')}, {span(contract.wall_ns_max)}, {money(allowed.budget.uusd)}",
    ]
    points += [f"raised by {money(by.uusd)}: {page(who, 60)}" for by, who in allowed.raised[:3]]
    points += [f"{page(row.by, 60)}: {page(row.choice, 40)}" for row in (*allowed.approvals, *allowed.waivers)][:4]
    points += [f"refused: {page(row.name, 30)} of {row.pid}, {page(row.text, 160)}" for row in allowed.refused[:3]]
    return points


def _grounding_points(answers: Answers) -> list[str]:
    grounding = answers.grounding
    rows = [*grounding.inputs, *grounding.reads]
    points = [f"{_material(row)} <code>{short(row.digest)}</code>" for row in rows[:6]]
    points += [f"and {len(rows) - 6} more"] * (len(rows) > 6)
    phases = Counter(row.name for row in grounding.prompts)
    points += [f"{count(number, 'prompt')}, {page(name, 60)}" for name, number in phases.most_common(4)]
    return points


def _material(row: Material) -> str:
    """What it is; the name says so by itself but for what carries a name of its own."""
    own_name = row.kind in ("artifact", "mail", "tool")
    return f"{row.kind} {page(row.name, 80)}" if own_name else page(row.name, 80)


def _changed_points(answers: Answers) -> list[str]:
    changed = answers.changed
    if not changed.commit:
        return ["nothing was presented"]
    points = [f"<code>{page(path, 120)}</code>" for path in changed.paths[:6]]
    points += [f"and {len(changed.paths) - 6} more files"] * (len(changed.paths) > 6)
    points.append(f"commit <code>{page(changed.commit)}</code>")
    points.append(f"tree <code>{short(changed.tree)}</code>, base <code>{short(changed.base)}</code>")
    untouched = '<span class="good">protected paths untouched</span>'
    points += [untouched] if changed.is_protected_untouched else []
    points += [f'<span class="bad">left out: {page(few(changed.out_of_scope))}</span>'] * bool(changed.out_of_scope)
    return points


def _evidence_points(answers: Answers) -> list[str]:
    evidence = answers.evidence
    points = []
    for row in evidence.proofs[:6]:
        if row.kind in ("review", "approval"):
            continue  # a judgement answers it, below
        after = row.after.verdict.value if row.after else "no finding"
        before = f"{row.before.verdict.value} on base, " if row.before else ""
        points.append(f"{page(row.check, 60)}: {before}{after}" + (f", {row.probe}" if row.probe else ""))
    points.append(f"{count(evidence.tests_passed, 'test')} passed, {evidence.tests_failed} failed")
    points.append(f"isolation: {page(few(evidence.isolation)) or 'nothing was run'}")
    points += [
        f"{page(row.check, 40)}: {row.verdict} by {page(row.role, 30)} {row.pid}, {page(row.grade)}"
        for row in evidence.judgements[:4]
    ]
    return points


def _cost_points(answers: Answers) -> list[str]:
    cost = answers.cost
    points = [
        f"{exact_money(cost.total.uusd)} exactly",
        f"{exact_money(cost.reserved.uusd)} was reserved, {exact_money(cost.open.uusd)} still is",
    ]
    points += [f"{exact_money(cost.written_off.uusd)} written off"] * bool(cost.written_off.uusd)
    points += [
        f"{page(row.model or 'no answer', 60)} on {page(row.backend, 40)}: {exact_money(row.cost.uusd)}"
        for row in cost.by_model[:4]
    ]
    return points


def _trust_points(answers: Answers) -> list[str]:
    trust = answers.trust
    points = [f'<span class="doubtful">hole:</span> {page(row, 300)}' for row in trust.holes[:12]]
    points += [f'<span class="doubtful">waiver:</span> {page(row, 300)}' for row in trust.waivers[:6]]
    points += [f'<span class="soft">not checked:</span> {page(row, 300)}' for row in trust.unchecked[:12]]
    return points


# --- the sections -----------------------------------------------------------------------------------------------------


def _picture(record: Record, facts: list[Fact], now_ns: int) -> str:
    legend = "".join(
        f'<span><i class="{kind}"></i>{text}</span>'
        for kind, text in (("model", "model"), ("tool", "tool"), ("check", "check"), ("forge", "repository"))
    )
    return f'<div class="scroll">{gantt.draw(record, facts, now_ns)}</div><div class="legend">{legend}</div>'


def _evidence(answers: Answers) -> str:
    evidence = answers.evidence
    heads = ["Check", "On the base", "On what was presented", "Can it fail?", "Isolation"]
    checks = _table(heads, [_proof(row) for row in evidence.proofs]) + "".join(map(_tests, evidence.proofs))
    judged = [
        [
            page(row.check, 60),
            _tag(row.verdict, _TONES[row.verdict]),
            f"{page(row.role, 40)} {row.pid}",
            page(row.principal, 60),
            page(row.family, 30) or '<span class="soft">not known</span>',
            page(row.grade) + ("" if row.is_standing else ", of an earlier content"),
            page(row.reason, 300),
        ]
        for row in evidence.judgements
    ]
    heads = ["Judged as", "Verdict", "By", "Principal", "Family", "Grade", "Reason"]
    parts = [
        checks,
        "<h3>Judgements</h3>",
        _table(heads, judged) if judged else '<p class="soft">Nobody has judged it.</p>',
    ]
    if evidence.refused:
        rows = [[_tag(reason, "bad"), page(detail, 600)] for reason, detail in evidence.refused]
        parts += ["<h3>Presentations that did not pass</h3>", _table(["Reason", "Detail"], rows)]
    return "".join(parts)


def _proof(row: Proof) -> list[str]:
    must = (
        "" if row.must_fail_on_base or row.kind != "command" else '<br><span class="soft small">need not be red</span>'
    )
    probe_tone = {"can fail": "good", "cannot fail": "bad", "not probed": "doubtful"}.get(row.probe, "")
    is_asked = row.kind in ("review", "approval")
    return [
        f'<b>{page(row.check, 80)}</b><br><span class="soft small">{row.kind}</span>',
        (_finding(row.before, is_red_good=row.must_fail_on_base) if row.before else '<span class="soft">-</span>')
        + must,
        _finding(row.after)
        if row.after
        else f'<span class="soft">{"see judgements" if is_asked else "not run"}</span>',
        _tag(row.probe, probe_tone) if row.probe else '<span class="soft">-</span>',
        page(row.isolation, 40) or '<span class="soft">-</span>',
    ]


def _finding(finding: Finding, *, is_red_good: bool = False) -> str:
    tone = _TONES[finding.verdict.value]
    word = {"passed": "green", "failed": "red"}.get(finding.verdict.value, finding.verdict.value)
    if is_red_good and word in ("red", "green"):
        tone = "good" if word == "red" else "bad"
    tests = f"{len(finding.passed)} passed, {len(finding.failed)} failed" if finding.passed or finding.failed else ""
    took = span(finding.duration_ns) if finding.duration_ns else ""
    said = ", ".join(part for part in (finding.reason.value, tests, took) if part)
    detail = f'<br><span class="small">{page(finding.detail, 300)}</span>' if finding.detail else ""
    return f'{_tag(word, tone)} <span class="small soft">{said}</span>{detail}'


def _tests(row: Proof) -> str:
    """The test ids behind a check, folded away."""
    finding = row.after or row.before
    if finding is None or not (finding.passed or finding.failed):
        return ""
    ids = [(name, "failed") for name in finding.failed] + [(name, "passed") for name in finding.passed]
    shown = "\n".join(f"{verdict}  {page(name, 200)}" for name, verdict in ids[:TESTS_MAX])
    more = f"\n… {len(ids) - TESTS_MAX} more" if len(ids) > TESTS_MAX else ""
    return f"<details><summary>{count(len(ids), 'test')} of {page(row.check, 60)}</summary><pre>{shown}{more}</pre></details>"


def _changes(answers: Answers) -> str:
    changed, grounding = answers.changed, answers.grounding
    rows = [
        ["Repository", _code(changed.repository)],
        ["Base", _code(changed.base)],
        ["Commit", _code(changed.commit)],
        ["Tree", _code(changed.tree)],
        ["Branch", _code(changed.branch)],
        ["Files", "<br>".join(_code(path) for path in changed.paths[:50]) or "none"],
        ["Lines", f"+{changed.lines_added:,} -{changed.lines_removed:,}"],
        ["Protected", _code(few(changed.protected, 10))],
    ]
    left_out = [*changed.out_of_scope, *changed.links]
    rows += [["Left out of the commit", "<br>".join(_code(path) for path in left_out[:20])]] * bool(left_out)
    if changed.protected_changed:
        rows.append(["Taken from the base", "<br>".join(_code(path) for path in changed.protected_changed[:20])])
    goal = (
        page_lines(grounding.goal, lines_max=40) if grounding.is_goal_here else "The order's text is not in this store."
    )
    return _pairs(rows) + f"<h3>The order as it was written</h3><pre>{goal}</pre>"


def _costs(answers: Answers) -> str:
    table = answers.cost.table
    heads = ["Phase", "Role", "By", "Calls", "In", "Cached", "Out", "Spent", "Written off"]
    rows = [[page(row.phase, 40), page(row.role, 40), page(row.backend, 40), *_numbers(row)] for row in table.rows]
    rows.append(["total", "", "", *_numbers(table.total)])
    reuse = _reuse(table.total)
    return _table(heads, rows, 3, has_total=True) + f'<p class="small soft">{reuse}</p>'


def _numbers(row: Row) -> list[str]:
    cached = row.cache_read_tokens + row.cache_write_tokens
    lost = exact_money(row.written_off.uusd) if row.written_off.uusd else "-"
    counts = (row.calls, row.input_tokens, cached, row.output_tokens)
    return [*(f"{number:,}" for number in counts), exact_money(row.spent.uusd), lost]


def _reuse(total: Row) -> str:
    asked = total.input_tokens + total.cache_read_tokens + total.cache_write_tokens
    share = 100 * total.cache_read_tokens // asked if asked else 0
    metered = f", {count(total.unmetered, 'answer')} charged at the bound for want of usage" if total.unmetered else ""
    return f"{share} % of the input was read from the cache{metered}."


def _processes(record: Record, now_ns: int) -> str:
    heads = ["Pid", "Role", "Principal", "Program", "Parent", "End", "Calls", "Refused", "Time", "Cost"]
    rows = [
        [
            f'<span class="mono">{row.pid}</span>',
            page(row.role, 40) + (f"<br><span class='soft small'>{page(row.family, 30)}</span>" if row.family else ""),
            page(row.principal, 40),
            _code(row.program),
            f'<span class="mono">{row.parent}</span>',
            page(row.state if row.status is None else f"{row.status} {row.reason}".strip(), 120),
            f"{row.calls:,}",
            f"{row.refusals:,}",
            span((row.ended_at_ns or now_ns) - row.born_at_ns),
            money(row.cost.uusd),
        ]
        for row in record.own[:200]
    ]
    return _table(heads, rows, 6) if rows else '<p class="soft">No process worked for it.</p>'


def _artifacts(facts: list[Fact], order: OrderId) -> str:
    table = lineage.nodes(facts, order)
    if not table:
        return '<p class="soft">None.</p>'
    rows = []
    for node in list(table.values())[:200]:
        sources = ", ".join(_named(table, source) for source in node.sources[:10])
        by = ", ".join(f"{role} {pid}" for role, pid in zip(node.roles, node.authors, strict=False))
        names = page(", ".join(node.names), 120) or '<span class="soft">not attached here</span>'
        rows.append(
            [names, f"<code>{short(node.content)}</code>", page(by, 80), sources or "-", f"{node.body_bytes:,}"]
        )
    return _table(["Name", "Content", "By", "Made from", "Bytes"], rows, 4)


def _named(table: dict[str, lineage.Node], content: str) -> str:
    names = table[content].names
    return page(names[0], 60) if names else f"<code>{short(content)}</code>"


def _decisions(answers: Answers) -> str:
    allowed = answers.allowed
    rows = [[page(row.kind), page(row.text, 400), _tag("open", "doubtful"), ""] for row in answers.questions]
    for kind, words in (("approval", allowed.approvals), ("waiver", allowed.waivers), ("", allowed.decisions)):
        rows += [
            [
                page(kind or row.kind),
                page(row.text, 400),
                f"<b>{page(row.choice, 60)}</b> {page(row.said, 200)}",
                page(row.by, 60),
            ]
            for row in words
        ]
    parts = [_table(["Kind", "Question", "Word", "By"], rows) if rows else '<p class="soft">Nobody was asked.</p>']
    if allowed.refused:
        refused = [
            [
                f'<span class="mono">{row.call}</span>',
                page(row.name, 30),
                _tag(row.kind, "bad"),
                page(row.text, 400),
                page(row.rule, 80),
            ]
            for row in allowed.refused[:100]
        ]
        parts += ["<h3>Calls that were refused</h3>", _table(["Call", "Name", "Refusal", "Why", "Rule"], refused)]
    grants = [
        [
            f'{page(row.role, 40)} <span class="mono">{row.holder}</span>',
            page(row.right),
            _code(row.selector),
            f'{page(row.giver_role, 40)} <span class="mono">{row.giver}</span>',
            "revoked" if row.is_revoked else "",
        ]
        for row in allowed.grants[:GRANTS_MAX]
    ]
    if grants:
        rights = _table(["Holder", "Right", "To", "From", ""], grants)
        parts.append(f"<details><summary>{count(len(allowed.grants), 'right')} handed down</summary>{rights}</details>")
    return "".join(parts)


def _log(facts: list[Fact], order: OrderId) -> str:
    rows = timeline.lines(facts, order=order)
    items = "".join(
        f'<li><span class="soft">+{span(row.since_ns)}</span><span class="soft">{page(row.who, 40)}</span>'
        f'<span class="{row.tone}">{page(row.text)}</span></li>'
        for row in rows[:LOG_LINES_MAX]
    )
    more = f'<p class="soft">{len(rows) - LOG_LINES_MAX} more lines.</p>' if len(rows) > LOG_LINES_MAX else ""
    return f'<ol class="log">{items}</ol>{more}'


def _footer(record: Record, facts: list[Fact]) -> str:
    first, last = (facts[0].seq, facts[-1].seq) if facts else (0, 0)
    return (
        f"<footer><p>Made from {count(len(facts), 'event')} of {page(record.order)}, {first} to {last} of its workspace's "
        f"journal, the last at {instant(record.last_at_ns)}. Nothing in this page leads out of it.</p></footer>"
    )
