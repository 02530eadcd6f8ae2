"""Small charts as SVG: one series over time, or one share as a bar; readable without colour, script or network."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, Literal

__all__ = ["Mark", "Point", "bar", "chart"]

WIDTH, HEIGHT = 260, 104
LEFT, RIGHT, TOP, BOTTOM = 56, 250, 12, 80
THICK: Final = 14
FLOORS: Final = (0.99, 0.9, 0.5, 0.0)
"""Where the scale of shares may begin: most are close to 1, and a chart from 0 would hide what changes."""
Mark = Literal["", "warn", "stop"]


@dataclass(frozen=True)
class Point:
    """One ingest: when, how much (None: not told), how it reads, and whether it breached what was asked."""

    moment: dt.datetime
    value: float | None
    text: str
    mark: Mark = ""


def chart(name: str, title: str, points: Sequence[Point], *, share: bool, asked: float | None = None) -> str:
    """Return an `svg` element called `name` with a title and a description; a share's scale ends at 100 %.

    `asked` is drawn as a dashed line; what it is stands in words beside the chart.

    >>> print(chart("a", "Rows", [], share=False)[:44])
    <svg role="img" aria-labelledby="a-t a-d" vi
    """
    values = [point.value for point in points if point.value is not None]
    low, high = _scale(values if asked is None else [*values, asked], share=share)
    places = [_place(point, points, low, high) for point in points]
    parts = [
        *_opened(name, title, _described(points), HEIGHT),
        *(_line(y, _label(value, share=share)) for y, value in ((TOP, high), (BOTTOM, low))),
        *([] if asked is None else [_threshold(_height(asked, low, high))]),
        *_curve(places),
        *(_dot(point, place) for point, place in zip(points, places, strict=True) if place is not None),
        *_days(points),
    ]
    return "".join([*parts, "</svg>"])


def bar(name: str, title: str, point: Point, asked: float | None = None) -> str:
    """Return an `svg` element called `name`: one share of all as a bar, with a line at what was `asked`.

    >>> shown = bar("a", "validity", Point(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), 0.5, "50.00 %"))
    >>> 'width="130.0"' in shown, "<text" in shown
    (True, False)
    """
    share = point.value or 0.0
    parts = [
        *_opened(name, title, point.text, THICK),
        f'<rect class="track" x="0.5" y="2.5" width="{WIDTH - 1}" height="{THICK - 5}"/>',
        f'<rect class="fill {point.mark}" y="2" width="{share * WIDTH:.1f}" height="{THICK - 4}"/>',
    ]
    if asked is not None:
        x = min(max(asked * WIDTH, 1.0), WIDTH - 1.0)
        parts.append(f'<line class="asked" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{THICK}"/>')
    return "".join([*parts, "</svg>"])


def _opened(name: str, title: str, described: str, height: int) -> list[str]:
    return [
        f'<svg role="img" aria-labelledby="{name}-t {name}-d" viewBox="0 0 {WIDTH} {height}">',
        f'<title id="{name}-t">{escape(title)}</title>',
        f'<desc id="{name}-d">{escape(described)}</desc>',
    ]


def _scale(values: Sequence[float], *, share: bool) -> tuple[float, float]:
    if share:
        return next(floor for floor in FLOORS if floor <= min(values, default=1.0)), 1.0
    return 0.0, max([*values, 1.0])


def _place(point: Point, points: Sequence[Point], low: float, high: float) -> tuple[float, float] | None:
    if point.value is None:
        return None
    first, last = points[0].moment, points[-1].moment
    span = (last - first).total_seconds()
    along = (point.moment - first).total_seconds() / span if span > 0 else 0.5
    along = min(max(along, 0.0), 1.0)  # a clock that was set back
    return LEFT + 6 + along * (RIGHT - LEFT - 12), _height(point.value, low, high)


def _height(value: float, low: float, high: float) -> float:
    return BOTTOM - (value - low) / (high - low) * (BOTTOM - TOP)


def _curve(places: Sequence[tuple[float, float] | None]) -> list[str]:
    """Lines between neighbours; where an ingest isn't told, there is a gap."""
    runs: list[list[str]] = [[]]
    for place in places:
        if place is None:
            runs.append([])
        else:
            runs[-1].append(f"{place[0]:.1f},{place[1]:.1f}")
    return [f'<polyline class="curve" points="{" ".join(run)}"/>' for run in runs if len(run) > 1]


def _dot(point: Point, place: tuple[float, float]) -> str:
    x, y = place
    shape = {
        "": f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="2.6">',
        "warn": f'<path class="warn" d="M{x:.1f} {y - 5:.1f}l5 5-5 5-5-5z">',
        "stop": f'<path class="stop" d="M{x - 4:.1f} {y - 4:.1f}l8 8m0-8l-8 8">',
    }[point.mark]
    tag = shape[1 : shape.index(" ")]
    return f"{shape}<title>{escape(f'{_day(point.moment)}: {point.text}')}</title></{tag}>"


def _line(y: float, label: str) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y}" y2="{y}"/>'
        f'<text x="{LEFT - 5}" y="{y + 4}" text-anchor="end">{escape(label)}</text>'
    )


def _threshold(y: float) -> str:
    return f'<line class="asked dashed" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _days(points: Sequence[Point]) -> list[str]:
    """When the first and the last were; of one day, at what time."""
    if not points:
        return []
    first, last = points[0].moment, points[-1].moment
    if _day(first) == _day(last):
        ends = {LEFT: ("start", f"{_day(first)} {first:%H:%M}"), RIGHT: ("end", f"{last:%H:%M}")}
    else:
        ends = {LEFT: ("start", _day(first)), RIGHT: ("end", _day(last))}
    return [
        f'<text x="{x}" y="{HEIGHT - 6}" text-anchor="{anchor}">{told}</text>' for x, (anchor, told) in ends.items()
    ]


def _described(points: Sequence[Point]) -> str:
    if not points:
        return "nothing was measured yet"
    told = f"{len(points)} ingests, last {points[-1].text}"
    breached = sum(point.mark != "" for point in points)
    return f"{told}; {breached} below what was asked" if breached else told


def _day(moment: dt.datetime) -> str:
    return moment.date().isoformat()


def _label(value: float, *, share: bool) -> str:
    if share:
        return f"{value:.0%}".replace("%", " %")
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= unit:
            return f"{value / (1e3 if letter == 'k' else unit):.3g} {letter}"
    return f"{value:,.0f}"
