"""The quality scorecards of a home as one HTML page: no script, nothing from the network, tables beside every chart."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final

from features.datasets.measured import DIMENSIONS, Dimension
from privacy.counted import counted

from .charts import Mark, Point, bar, chart
from .page_style import STYLE
from .scores import DEFINITIONS
from .told import Asked, Card, Score, TableCard, column_text, outliers_text, score_text, told_rows

__all__ = ["page"]

NONE: Final = ' class="none"'
WORDS: Final = {
    "warn": "below what is asked: the run warned",
    "stop": "below what is asked: the run was stopped",
}


def page(cards: Sequence[Card]) -> str:
    """Return the page of one home's scorecards, oldest first; there is at least one."""
    last = cards[-1]
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>Data quality of {escape(last.dataset)}</title><style>{STYLE}</style></head>"
    )
    return "".join([head, "<body><main>", *_opening(cards), *_tables(cards), *_closing(), "</main></body></html>\n"])


def _opening(cards: Sequence[Card]) -> Iterator[str]:
    last = cards[-1]
    kept = "published" if last.outcome == "kept" else "stopped: what was published before stays"
    told = f"{len(cards)} in all" if len(cards) > 1 else "the first: the next ones are drawn over time"
    yield f"<h1>Data quality of {escape(last.dataset)}</h1>"
    yield f'<p class="soft">Last ingest {_moment(last)} UTC, {kept}; {told}. '
    yield f"Counts of fewer than {last.k} rows are not told, and scores that would tell them are bounds.</p>"
    if not last.breaches:
        yield "<p>Nothing is below what the descriptor asks.</p>"
    for breach in last.breaches:
        yield f'<p class="breach {breach.on_breach}"><strong>{breach.on_breach}</strong> {escape(breach.line())}</p>'


def _tables(cards: Sequence[Card]) -> Iterator[str]:
    for name, table in cards[-1].tables.items():
        held = [card for card in cards if name in card.tables]
        yield f'<section><h2>{escape(name)}</h2><p class="soft">{escape(_facts(table, cards[-1].k))}</p>'
        yield from _figures(name, held)
        yield from _columns(table, cards[-1].k)
        if len(held) > 1:
            yield from _history(name, held)
        yield "</section>"


def _facts(table: TableCard, k: int) -> str:
    facts = [f"{told_rows(table.rows, k)} rows"]
    if table.returns is not None:
        facts.append(f"{told_rows(table.returns, k)} of them returns")
    if table.age_days is not None:
        facts.append(f"the newest {counted(table.age_days, 'day')} old")
    return ", ".join(facts)


def _figures(name: str, held: Sequence[Card]) -> Iterator[str]:
    """What was measured as figures, and a line of what wasn't."""
    drawn = {dimension: "".join(_figure(name, dimension, held)) for dimension in DIMENSIONS}
    yield '<div class="charts">'
    yield from drawn.values()
    yield "</div>"
    if lacking := [dimension for dimension, figure in drawn.items() if not figure]:
        yield f'<p class="soft">Not measured: {", ".join(lacking)}.</p>'


def _figure(name: str, dimension: Dimension, held: Sequence[Card]) -> Iterator[str]:
    """One dimension: over time where more than one ingest tells it, else a bar of it, or the number alone.

    Volume is told in rows, and timeliness by the newest row's age where nothing tells what was in time.
    """
    shares = [card.tables[name].scores.get(dimension) for card in held]
    share = dimension != "volume" and (dimension != "timeliness" or any(shares))
    points = [
        _point(card, name, dimension, score if share else None, share=share)
        for card, score in zip(held, shares, strict=True)
    ]
    told = [point for point in points if point.value is not None]
    if not told and (share or points[-1].text == "-"):
        return
    unit = {"timeliness": ", days since the newest row", "volume": ", rows"}.get(dimension, "")
    caption = dimension if share else f"{dimension}{unit}"
    asked = held[-1].tables[name].asked
    least, words = _limit(asked, dimension, share=share)
    yield f"<figure><figcaption><span>{caption}</span><strong>{escape(points[-1].text)}</strong></figcaption>"
    key, title = f"{name}-{dimension}", f"{name}: {caption}{f', {words}' if words else ''}"
    if len(told) > 1:
        yield chart(key, title, points, share=share, asked=least)
    elif share and points[-1].value is not None:
        yield bar(key, title, points[-1], least)
    notes = [each for each in (words, WORDS.get(points[-1].mark)) if each]
    if notes:
        yield f'<p class="soft">{escape("; ".join(notes))}</p>'
    yield "</figure>"


def _limit(asked: Asked, dimension: Dimension, *, share: bool) -> tuple[float | None, str]:
    """What a dimension is held against, as a number on the figure's own scale and in words; none where nothing is."""
    least = asked.least.get(dimension)
    if share:
        return least, "" if least is None else f"asked: at least {100 * least:g} %"
    if dimension == "volume":
        told = [] if asked.min_rows is None else [f"at least {asked.min_rows:,} rows"]
        told += [] if least is None else [f"at least {100 * least:g} % of the ingest before"]
        return asked.min_rows, f"asked: {', '.join(told)}" if told else ""
    days = asked.max_age_days
    return days, "" if days is None else f"asked: at most {days:,} days"


def _point(card: Card, name: str, dimension: Dimension, score: Score | None, *, share: bool) -> Point:
    table = card.tables[name]
    breached = {each.on_breach for each in card.breaches if (each.table, each.dimension) == (name, dimension)}
    mark: Mark = "stop" if "stop" in breached else "warn" if breached else ""
    moment = dt.datetime.fromisoformat(card.moment)
    if share:
        return Point(moment, None if score is None else score.value, score_text(score), mark)
    if dimension == "volume":
        return Point(moment, table.rows.rows, told_rows(table.rows, card.k), mark)
    return Point(moment, table.age_days, _days_old(table), mark)


def _days_old(table: TableCard) -> str:
    return "-" if table.age_days is None else f"{table.age_days:,}"


def _columns(table: TableCard, k: int) -> Iterator[str]:
    if table.columns:
        rows = (
            [
                column_text(name, own),
                *(score_text(own.scores.get(each)) for each in DIMENSIONS[:-1]),
                outliers_text(own, k),
            ]
            for name, own in table.columns.items()
        )
        heads = ["column (in the source)", *DIMENSIONS[:-1], "outliers"]
        yield from _grid("Columns at the last ingest", heads, rows, shown=True)


def _history(name: str, held: Sequence[Card]) -> Iterator[str]:
    rows = (
        [
            _moment(card),
            card.outcome,
            told_rows(card.tables[name].rows, card.k),
            _days_old(card.tables[name]),
            *(score_text(card.tables[name].scores.get(dimension)) for dimension in DIMENSIONS),
        ]
        for card in reversed(held)
    )
    yield from _grid("Every ingest", ["ingest (UTC)", "outcome", "rows", "days old", *DIMENSIONS], rows)


def _grid(summary: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, shown: bool = False) -> Iterator[str]:
    """A table that a narrow window shows as a list: each cell has its heading with it, and roles say what it is."""
    yield f"<details{' open' if shown else ''}><summary>{summary}</summary>"
    yield f'<table role="table" aria-label="{summary}"><thead role="rowgroup"><tr role="row">'
    yield "".join(f'<th scope="col" role="columnheader">{head}</th>' for head in heads)
    yield '</tr></thead><tbody role="rowgroup">'
    for first, *rest in rows:
        cells = "".join(
            f'<td role="cell" data-head="{head}"{NONE if cell == "-" else ""}>{escape(cell)}</td>'
            for head, cell in zip(heads[1:], rest, strict=True)
        )
        yield f'<tr role="row"><th scope="row" role="rowheader">{escape(first)}</th>{cells}</tr>'
    yield "</tbody></table></details>"


def _closing() -> Iterator[str]:
    yield "<section><h2>What is measured</h2><dl>"
    for dimension, text in DEFINITIONS.items():
        yield f"<dt>{dimension}</dt><dd>{escape(text)}</dd>"
    yield '</dl><p class="soft">A table scores as the mean of its columns. A line across a bar or a chart is what the '
    yield "descriptor asks. A mark &#9670; is a breach that warns, &#10005; one that stops. Accuracy is not measured: "
    yield "it needs the world to compare with.</p></section>"


def _moment(card: Card) -> str:
    return card.moment[:16].replace("T", " ")
