"""The quality scorecards of a home as one HTML page: no script, nothing from the network, tables beside every chart."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final

from features.datasets.measured import DIMENSIONS, Dimension
from privacy.counted import counted

from .charts import Mark, Point, chart
from .scores import DEFINITIONS
from .told import Card, Score, TableCard, outliers_text, score_text, told_rows

__all__ = ["page"]

STYLE: Final = """
:root{color-scheme:light dark;--back:#fff;--text:#1b1f24;--soft:#57606a;--rule:#d0d7de;--curve:#0b5cad;--warn:#9a4b00;
--stop:#b3202a}
@media (prefers-color-scheme:dark){:root{--back:#10141a;--text:#e6edf3;--soft:#a3adb8;--rule:#39424d;--curve:#74b5ff;
--warn:#f0a458;--stop:#ff8178}}
body{background:var(--back);color:var(--text);font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;
padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.2rem;margin:2.2rem 0 .2rem}p,dd{margin:.2rem 0}
.soft,dd,summary{color:var(--soft)}.breach{border-left:4px solid var(--warn);padding-left:.7rem}
.breach.stop{border-color:var(--stop)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(16rem,1fr));gap:1rem 1.5rem;margin:1rem 0}
figure{margin:0}figcaption{display:flex;justify-content:space-between;font-size:.95rem}
svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font-size:11px}
.grid{stroke:var(--rule)}.curve{fill:none;stroke:var(--curve);stroke-width:1.6}.dot{fill:var(--curve)}
path.warn{fill:var(--warn)}path.stop{stroke:var(--stop);stroke-width:2.4;fill:none}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.88rem;margin:.5rem 0}
th,td{padding:.25rem .55rem;border-bottom:1px solid var(--rule);text-align:right;white-space:nowrap;
font-variant-numeric:tabular-nums}
th:first-child,td:first-child{text-align:left}dt{font-weight:600;margin-top:.5rem}
"""


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
    yield f"<h1>Data quality of {escape(last.dataset)}</h1>"
    yield f'<p class="soft">Last ingest {_moment(last)} UTC, {kept}; {len(cards)} in all. '
    yield f"Counts of fewer than {last.k} rows are not told, and scores that would tell them are bounds.</p>"
    if not last.breaches:
        yield "<p>Nothing is below what the descriptor asks.</p>"
    for breach in last.breaches:
        yield f'<p class="breach {breach.on_breach}"><strong>{breach.on_breach}</strong> {escape(breach.line())}</p>'


def _tables(cards: Sequence[Card]) -> Iterator[str]:
    for name, table in cards[-1].tables.items():
        held = [card for card in cards if name in card.tables]
        yield f'<section><h2>{escape(name)}</h2><p class="soft">{escape(_facts(table, cards[-1].k))}</p>'
        yield '<div class="charts">'
        for dimension in DIMENSIONS:
            yield from _figure(name, dimension, held)
        yield "</div>"
        yield from _columns(table, cards[-1].k)
        yield from _history(name, held)
        yield "</section>"


def _facts(table: TableCard, k: int) -> str:
    facts = [f"{told_rows(table.rows, k)} rows"]
    if table.returns is not None:
        facts.append(f"{told_rows(table.returns, k)} of them returns")
    if table.age_days is not None:
        facts.append(f"the newest {counted(table.age_days, 'day')} old")
    return ", ".join(facts)


def _figure(name: str, dimension: Dimension, held: Sequence[Card]) -> Iterator[str]:
    """One dimension over time: rows for volume, the newest row's age where nothing tells what was in time."""
    shares = [card.tables[name].scores.get(dimension) for card in held]
    share = dimension != "volume" and (dimension != "timeliness" or any(shares))
    points = [
        _point(card, name, dimension, score if share else None, share=share)
        for card, score in zip(held, shares, strict=True)
    ]
    told = [point for point in points if point.value is not None]
    unit = {"timeliness": ", days since the newest row", "volume": ", rows"}.get(dimension, "")
    caption = f"{dimension}{unit}" if told and not share else dimension
    now = points[-1].text if told else "not measured"
    yield f"<figure><figcaption><span>{caption}</span><strong>{escape(now)}</strong></figcaption>"
    if told:
        yield chart(f"{name}-{dimension}", f"{name}: {caption}", points, share=share)
    yield "</figure>"


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
            [name, *(score_text(own.scores.get(each)) for each in DIMENSIONS[:-1]), outliers_text(own, k)]
            for name, own in table.columns.items()
        )
        yield from _grid("Columns at the last ingest", ["column", *DIMENSIONS[:-1], "outliers"], rows)


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


def _grid(summary: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f'<details><summary>{summary}</summary><div class="scroll" role="region" tabindex="0" aria-label="{summary}">'
    yield "<table><thead><tr>"
    yield "".join(f'<th scope="col">{head}</th>' for head in heads) + "</tr></thead><tbody>"
    for first, *rest in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        yield f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'
    yield "</tbody></table></div></details>"


def _closing() -> Iterator[str]:
    yield "<section><h2>What is measured</h2><dl>"
    for dimension, text in DEFINITIONS.items():
        yield f"<dt>{dimension}</dt><dd>{escape(text)}</dd>"
    yield '</dl><p class="soft">A table scores as the mean of its columns. A mark &#9670; is a breach that warns, '
    yield "&#10005; one that stops. Accuracy is not measured: it needs the world to compare with.</p></section>"


def _moment(card: Card) -> str:
    return card.moment[:16].replace("T", " ")
