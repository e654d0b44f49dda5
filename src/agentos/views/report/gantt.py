"""The timeline as a picture: a lane for each process, a bar for each effect, a line for each turn of the order.

Rule 1: SVG made here, with no script; what a bar is says its title, for pointers and for screen readers.
Rule 2: a span in which nothing happened is folded when it would squeeze the rest, and the fold says how long it was.
Rule 3: bounded: lanes and bars beyond their limits are counted in words, not drawn.
"""

from bisect import bisect_right
from itertools import pairwise
from typing import NamedTuple

from agentos.abi.effects import Answered, Checked, Failed, Generate, RunCheck, RunTool
from agentos.abi.events import work
from agentos.abi.events.call import KernelBooted
from agentos.abi.work import Verdict
from agentos.views.base import Fact
from agentos.views.escape import clip, page
from agentos.views.ledger import Entry
from agentos.views.record import Record
from agentos.views.timeline import outcome
from agentos.views.words import money, span

LANES_MAX = 40  # more processes than fit a screen are a table
BARS_MAX = 2_000  # an SVG of more is slow to show
WIDTH = 1_060
_LEFT = 150  # lane names
_RIGHT = 16
_ROW = 28
_TOP_ROWS = 3  # rows of labels above the lanes
_CHAR = 6  # width of a letter at 11 px, near enough to keep labels apart
_FOLDS_MAX = 5  # more would make a picture of folds
_STEEP = 5  # a span five times the next longest is another kind of span: a night, a crash, a person at lunch
_FOLD_OF = 8  # a fold is drawn as an eighth of what is not folded: wide enough for its label
_STEPS_NS = tuple(
    step * 1_000_000_000 for step in (1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 86_400, 604_800)
)


class _Axis:
    """Instants to pixels, with quiet spans folded."""

    def __init__(self, instants: list[int]) -> None:
        points = sorted(set(instants)) or [0]
        gaps = [after - before for before, after in pairwise(points)]
        bound = self._bound(gaps)
        self.points = points
        self.folds = [(points[at], points[at + 1]) for at, gap in enumerate(gaps) if gap > bound]
        self._at = [0]
        for gap in gaps:
            self._at.append(self._at[-1] + min(gap, bound))
        self._total = max(self._at[-1], 1)

    def _bound(self, gaps: list[int]) -> int:
        """The longest span drawn as it is. The few longest are folded where the step down to the next is steepest."""
        longest = sorted(gaps, reverse=True)
        bound, steepest = max(longest[0] if longest else 1, 1), _STEEP
        for folded in range(1, min(_FOLDS_MAX, len(longest) - 1) + 1):
            rest, next_one = sum(longest[folded:]), max(longest[folded], 1)
            if longest[folded - 1] > rest // 2 and longest[folded - 1] // next_one >= steepest:
                bound, steepest = max(rest // _FOLD_OF, next_one), longest[folded - 1] // next_one
        return bound

    def x(self, at_ns: int) -> float:
        place = min(max(bisect_right(self.points, at_ns) - 1, 0), len(self.points) - 1)
        within = 0.0
        if place + 1 < len(self.points):
            gap = self.points[place + 1] - self.points[place]
            within = (at_ns - self.points[place]) / gap * (self._at[place + 1] - self._at[place])
        return round(_LEFT + (self._at[place] + within) / self._total * (WIDTH - _LEFT - _RIGHT), 1)

    def ticks(self) -> list[int]:
        """Instants for the scale: a dozen at most, none inside a fold."""
        first, last = self.points[0], self.points[-1]
        shown = sum(after - before for before, after in pairwise(self.points) if (before, after) not in self.folds)
        step = next((each for each in _STEPS_NS if shown // each <= 10), _STEPS_NS[-1])
        if (last - first) // step > 5_000:
            return []
        ticks = [first + number * step for number in range((last - first) // step + 1)]
        return [at for at in ticks if not any(before < at < after for before, after in self.folds)]


class _Mark(NamedTuple):
    at_ns: int
    text: str
    tone: str


def draw(record: Record, facts: list[Fact], now_ns: int) -> str:
    """The picture of an order's facts."""
    own = record.own[:LANES_MAX]
    lanes = {"0.0": 0} | {row.pid: at + 1 for at, row in enumerate(own)}
    entries = [entry for entry in record.ledger.entries.values() if entry.pid in lanes and entry.dispatches][:BARS_MAX]
    axis = _Axis([fact.at_ns for fact in facts] + [now_ns])
    top = 24 + _TOP_ROWS * 14
    height = top + len(lanes) * _ROW + 24
    name = f"Timeline of {page(record.order)}: {len(own)} processes, {len(entries)} effects"
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{name}">',
    ]
    parts += _scale(axis, record.began_at_ns, top, height)
    parts += _lives(record, lanes, axis, top, now_ns)
    parts += [_bar(entry, lanes, axis, top, now_ns) for entry in entries]
    parts += _folds(axis, top, height)
    parts += _marks(_turns(facts), axis, top, height)
    parts.append("</svg>")
    left = len(record.own) - len(own) + len(record.ledger.entries) - len(entries)
    note = f'<p class="small soft">{left} more processes or effects are not drawn.</p>' if left > 0 else ""
    return "\n".join(parts) + note


def _scale(axis: _Axis, began_at_ns: int, top: int, height: int) -> list[str]:
    parts = []
    free = 0.0
    folds = [(axis.x(before) + axis.x(after)) / 2 for before, after in axis.folds]
    for at_ns in axis.ticks():
        x = axis.x(at_ns)
        if x < free or x > WIDTH - 40 or any(abs(x - fold) < 75 for fold in folds):
            continue
        free = x + 58  # room for "12 min 30 s"; a fold's label is a little longer
        label = _round(at_ns - began_at_ns) if at_ns > began_at_ns else "0"
        parts.append(f'<line class="tick" x1="{x}" x2="{x}" y1="{top}" y2="{height - 20}"/>')
        parts.append(f'<text x="{x}" y="{height - 6}" text-anchor="middle">{label}</text>')
    return parts


def _round(span_ns: int) -> str:
    return span(span_ns).replace(".0 s", " s").replace(" 00 s", "").replace(" 00 min", "")


def _lives(record: Record, lanes: dict[str, int], axis: _Axis, top: int, now_ns: int) -> list[str]:
    end_ns = record.ended_at_ns or now_ns
    parts = [_life("kernel", "kernel", record.began_at_ns, end_ns, 0, axis, top)]
    for row in record.own[:LANES_MAX]:
        name = f"{row.role} {row.pid}"
        parts.append(_life(name, "", row.born_at_ns, row.ended_at_ns or now_ns, lanes[row.pid], axis, top))
    return parts


def _life(name: str, kind: str, born_at_ns: int, end_ns: int, lane: int, axis: _Axis, top: int) -> str:
    y = top + lane * _ROW
    x, end = axis.x(born_at_ns), axis.x(end_ns)
    return (
        f'<text class="lane" x="{_LEFT - 12}" y="{y + 17}" text-anchor="end">{page(clip(name, 20))}</text>'
        f'<rect class="life {kind}" x="{x}" y="{y + 4}" width="{max(end - x, 3):.1f}" height="{_ROW - 8}" rx="4">'
        f"<title>{page(name)}: {span(end_ns - born_at_ns)}</title></rect>"
    )


def _bar(entry: Entry, lanes: dict[str, int], axis: _Axis, top: int, now_ns: int) -> str:
    y = top + lanes[entry.pid] * _ROW
    begin_ns = entry.at_ns
    end_ns = entry.settled_at_ns or now_ns
    x, end = axis.x(begin_ns), axis.x(end_ns)
    said = outcome(entry.outcome) if entry.outcome is not None else "in flight"
    what = f"{entry.backend}, {entry.phase}: {said}, {span(end_ns - begin_ns)}"
    what += f", {money(entry.cost.uusd)}" if entry.cost.uusd else ""
    return (
        f'<rect class="{_kind(entry)}" x="{x}" y="{y + 7}" width="{max(end - x - 0.6, 2.4):.1f}" '
        f'height="{_ROW - 14}" rx="2.5"><title>{page(what)}</title></rect>'
    )


def _kind(entry: Entry) -> str:
    kind = {Generate: "model", RunTool: "tool", RunCheck: "check"}.get(type(entry.what), "forge")  # type: ignore[arg-type]
    is_red = isinstance(entry.outcome, Failed) or (
        isinstance(entry.outcome, Checked) and entry.outcome.finding.verdict != Verdict.PASSED
    )
    answered = isinstance(entry.outcome, Answered)
    return f"{kind} failed" if is_red and not answered else kind


def _folds(axis: _Axis, top: int, height: int) -> list[str]:
    parts = []
    for before, after in axis.folds:
        x = (axis.x(before) + axis.x(after)) / 2
        parts.append(
            f'<rect class="gap" x="{x - 5:.1f}" y="{top}" width="10" height="{height - top - 20}"/>'
            f'<text x="{x:.1f}" y="{height - 6}" text-anchor="middle">// {_round(after - before)} //</text>'
        )
    return parts


def _turns(facts: list[Fact]) -> list[_Mark]:
    """The instants that matter to a reader, in words of one or two."""
    marks = []
    for fact in facts:
        match fact.event:
            case work.OrderSubmitted():
                marks.append(_Mark(fact.at_ns, "submitted", ""))
            case work.OrderReady():
                marks.append(_Mark(fact.at_ns, "red first", "good"))
            case work.ContentPresented():
                marks.append(_Mark(fact.at_ns, "presented", ""))
            case work.OrderVerified(verdict=verdict):
                tone = {"passed": "good", "failed": "bad"}.get(verdict.value, "doubtful")
                marks.append(_Mark(fact.at_ns, verdict.value, tone))
            case work.ContentAttested(verdict=verdict):
                marks.append(_Mark(fact.at_ns, "judged", "good" if verdict == Verdict.PASSED else "bad"))
            case work.OrderEscalated():
                marks.append(_Mark(fact.at_ns, "escalated", "doubtful"))
            case work.QuestionAsked(kind=kind) if kind != "escalation":
                marks.append(_Mark(fact.at_ns, f"{kind} asked", "doubtful"))
            case work.QuestionDecided(choice=choice):
                marks.append(_Mark(fact.at_ns, clip(choice, 14), ""))
            case work.OrderClosed():
                marks.append(_Mark(fact.at_ns, "closed", "good"))
            case work.OrderCancelled():
                marks.append(_Mark(fact.at_ns, "cancelled", "bad"))
            case KernelBooted():
                marks.append(_Mark(fact.at_ns, "kernel restarted", "doubtful"))
    return marks


def _marks(marks: list[_Mark], axis: _Axis, top: int, height: int) -> list[str]:
    """A line for each turn, labelled where there is room: each label takes the first row that is free."""
    lines, labels = [], []
    free = [0.0] * _TOP_ROWS
    for mark in marks:
        x = axis.x(mark.at_ns)
        wide = len(mark.text) * _CHAR + 10
        is_late = x + wide > WIDTH
        begin = x - wide if is_late else x
        row = next((at for at in range(_TOP_ROWS) if free[at] <= begin), None)
        title = f"<title>{page(mark.text)}</title>"
        y = 14 + (row if row is not None else _TOP_ROWS) * 14
        lines.append(f'<line class="mark {mark.tone}" x1="{x}" x2="{x}" y1="{y - 9}" y2="{height - 20}">{title}</line>')
        if row is None:
            continue
        free[row] = begin + wide
        anchor, place = ("end", x - 4) if is_late else ("start", x + 4)
        labels.append(
            f'<text class="label {mark.tone}" x="{place:.1f}" y="{y}" text-anchor="{anchor}">{page(mark.text)}</text>'
        )
    return lines + labels
