"""A plan as a picture: the rows it undoes by table, over the time of the log it was made from, and where in it the bad window lies.

Law: SVG as text, of names, counts and times; no value of a row, nothing loaded from elsewhere. Times are those at which the changes were
committed, UTC. The plan is read once; one of more than SEGMENTS_MAX segments is not drawn, and so is one whose log tells no times.

    x    BUCKETS_MAX steps at most, of the widths of `survey`, over what of the log was read (or the window alone, where that is not known)
    y    one band a table, the tables with the most rows first; each band has its own scale, its highest bar is named
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from html import escape

from dblog_tasks.part import STEPS
from dblog_tasks.plan import Plan
from dblog_tasks.survey import EPOCH, Timeline
from dblog_tasks.text import moment

SEGMENTS_MAX = 64  # of some MB each
TABLES_MAX = 8
WIDTH, LEFT, RIGHT, TOP, BAND, BOTTOM = 760, 190, 20, 34, 44, 40
BAR_MAX = BAND - 14
NAME_MAX = 26  # characters of a table's name that fit
Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class RowsOverTime:
    """What is drawn.

    Attributes:
        tables: rows by table in each bucket, those with the most rows first.
        start, end: of the buckets.
        window: commit times of the first and last change of the plan.
    """

    tables: tuple[tuple[str, tuple[int, ...]], ...]
    start: datetime
    end: datetime
    window: Span


def rows_over_time(plan: Plan, span: Span | None = None) -> RowsOverTime | None:
    """Return the rows of a plan over time, `span` being that of the log; None where nothing can be drawn. Raises MalformedPlan."""
    segments = plan.segments(STEPS)
    if len(segments) > SEGMENTS_MAX:
        return None
    timeline, totals, times = Timeline(), Counter[str](), list[datetime]()
    for segment in segments:
        for table, time, rows in _changes(plan, segment):
            timeline.add((table, ""), time, rows)
            totals[table] += rows
            times = [min(times[0], time), max(times[1], time)] if times else [time, time]
    if not times:
        return None
    for time in span or ():
        timeline.add(("", ""), time, 0)
    names = [name for name, _ in sorted(totals.items(), key=lambda found: (-found[1], found[0]))]
    shown = [(name, timeline.over_time((name, ""))) for name in names[:TABLES_MAX]]
    if rest := names[TABLES_MAX:]:
        added = zip(*(timeline.over_time((name, "")) for name in rest), strict=True)
        shown.append((f"({len(rest)} other tables)", tuple(map(sum, added))))
    start = timeline.start or EPOCH
    return RowsOverTime(tuple(shown), start, start + len(shown[0][1]) * timeline.width, (times[0], times[1]))


def _changes(plan: Plan, segment: object) -> Iterator[tuple[str, datetime, int]]:
    """Yield table, commit time and number of rows of each step of a segment whose time is known."""
    names: dict[int, str] = {}
    times: dict[int, datetime] = {}
    for line in plan.lines(segment):  # type: ignore[arg-type]  # one of its own
        if "table" in line:
            names[line["table"]] = f"{line['schema']}.{line['name']}"
        elif "transaction" in line:
            if line["time"]:
                times[line["transaction"]] = datetime.fromisoformat(line["time"])
        elif line.get("in") in times:
            table = names[line["of"]] if "of" in line else f"db{line['database']}" if "database" in line else "(other)"
            yield table, times[line["in"]], len(line.get("rows", (None,)))


def svg(drawn: RowsOverTime) -> str:
    """Return the picture as the text of an SVG image."""
    height = TOP + BAND * len(drawn.tables) + BOTTOM
    body = "".join([_window(drawn, height), *(_band(drawn, number) for number in range(len(drawn.tables))), _axis(drawn, height)])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12"><rect width="{WIDTH}" height="{height}" fill="#ffffff"/>{body}</svg>'
    )


def image(drawn: RowsOverTime) -> str:
    """Return the picture as an image of Markdown that holds all of itself."""
    return f"![rows undone over time](data:image/svg+xml;base64,{b64encode(svg(drawn).encode()).decode()})"


def _x(drawn: RowsOverTime, time: datetime) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * ((time - drawn.start) / (drawn.end - drawn.start))


def _window(drawn: RowsOverTime, height: int) -> str:
    step = (drawn.end - drawn.start) / len(drawn.tables[0][1])  # the bars that hold the window, wholly
    left = _x(drawn, drawn.start + (drawn.window[0] - drawn.start) // step * step)
    right = _x(drawn, drawn.start + ((drawn.window[1] - drawn.start) // step + 1) * step)
    said = f"bad window {moment(drawn.window[0])} to {moment(drawn.window[1])}"
    return (
        f'<rect x="{left - 2:.1f}" y="{TOP - 8}" width="{right - left + 4:.1f}" height="{height - TOP - BOTTOM + 8}" fill="#fde2e1"/>'
        f'<text x="{LEFT}" y="16" fill="#a11d1a">{escape(said)}</text>'
    )


def _band(drawn: RowsOverTime, number: int) -> str:
    name, rows = drawn.tables[number]
    floor, most, step = TOP + BAND * (number + 1) - 6, max(*rows, 1), (WIDTH - LEFT - RIGHT) / len(rows)
    label = name if len(name) <= NAME_MAX else f"{name[: NAME_MAX - 1]}…"
    bars = "".join(
        f'<rect x="{LEFT + at * step:.1f}" y="{floor - max(BAR_MAX * count / most, 1.5):.1f}" width="{max(step - 1, 1):.1f}" '
        f'height="{max(BAR_MAX * count / most, 1.5):.1f}" fill="#c0392b"/>'
        for at, count in enumerate(rows)
        if count
    )
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}" stroke="#cccccc"/>{bars}'
        f'<text x="8" y="{floor - 16}" fill="#222222">{escape(label)}</text>'
        f'<text x="8" y="{floor - 2}" fill="#777777" font-size="10">{sum(rows):,} rows, at most {max(rows):,} a bar</text>'
    )


def _axis(drawn: RowsOverTime, height: int) -> str:
    at = height - BOTTOM + 18
    return (
        f'<text x="{LEFT}" y="{at}" fill="#555555">{escape(moment(drawn.start))}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{at}" fill="#555555" text-anchor="end">{escape(moment(drawn.end))}</text>'
    )
