"""What people may see of a scorecard, and all that is kept of it: counts and shares, none of fewer than k rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from features.datasets.descriptor import Descriptor
from features.datasets.measured import DIMENSIONS, Dimension
from features.datasets.quality import OnBreach, TableQuality
from features.text_cells import left, widest
from privacy.counted import counted
from privacy.demands import GROUP_FLOOR, LEAST_PEOPLE

from .scores import TableScores

__all__ = [
    "Breach",
    "Card",
    "Count",
    "Score",
    "TableCard",
    "card_lines",
    "column_text",
    "least_count",
    "score_text",
    "table_card",
    "told_rows",
]

Bound = Literal["exact", "at least", "at most", "about"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Score(_Part):
    """A share of rows, 0 to 1; where fewer than k fail, or fewer than k don't, it is told as if it were k - 1."""

    value: float = Field(ge=0, le=1)
    bound: Bound = "exact"


class Count(_Part):
    """How many rows; None where there are some, but fewer than k."""

    rows: int | None = Field(ge=0)


class Breach(_Part):
    """A score below what the descriptor asks; `column` is empty where it is asked of the table as a whole."""

    table: str
    column: str
    dimension: Dimension
    found: str
    wanted: str
    on_breach: OnBreach

    def line(self) -> str:
        """Return it as one line."""
        place = f"{self.table}.{self.column}" if self.column else self.table
        return f"{self.dimension} of {place} is {self.found}, wanted {self.wanted}"


class ColumnCard(_Part):
    """One column: its scores, how many outliers it has where that can be told, and what its `source` calls it."""

    scores: dict[Dimension, Score] = {}
    outliers: Count | None = None
    source: str = ""


class Asked(_Part):
    """What was asked of a table as a whole: the least score of each dimension, rows, and days since the newest."""

    least: dict[Dimension, float] = {}
    min_rows: int | None = None
    max_age_days: int | None = None


class TableCard(_Part):
    """One table; of one with fewer than k rows nothing else is told."""

    rows: Count
    scores: dict[Dimension, Score] = {}
    returns: Count | None = None
    age_days: int | None = Field(default=None, ge=0)
    columns: dict[str, ColumnCard] = {}
    asked: Asked = Asked()


class Card(_Part):
    """The scorecard of one ingest: kept in the history, shown by `custos quality`."""

    moment: str
    dataset: str
    digest: str
    outcome: Literal["kept", "stopped"]
    k: int = Field(ge=2)
    tables: dict[str, TableCard]
    breaches: list[Breach] = []


def least_count(descriptor: Descriptor) -> int:
    """The fewest rows that are told as a count: the k of the shop's profile, 5 at least; else the platform's floor."""
    people = descriptor.tables.get("customers")
    return GROUP_FLOOR if people is None or people.anonymity is None else max(LEAST_PEOPLE, people.anonymity.k)


def table_card(found: TableScores, k: int, wanted: TableQuality | None = None) -> TableCard:
    """Return what may be told of one table, and what is `wanted` of it.

    The score of a table is made of what is told of its columns, so that none can be had by subtraction.
    """
    asked = Asked() if wanted is None else _asked(wanted)
    if 0 < found.rows < k:
        return TableCard(rows=Count(rows=None), asked=asked)
    columns: dict[str, dict[Dimension, Score]] = {}
    scores: dict[Dimension, Score] = {}
    for dimension in DIMENSIONS:
        told = {each.column: _score(each.bad, found.rows, k) for each in found.measures if each.dimension == dimension}
        if not found.rows:
            told = {}
        for name, score in told.items():
            if name:
                columns.setdefault(name, {})[dimension] = score
        if told:
            scores[dimension] = _mean(list(told.values()))
    volume = found.score("volume")
    if volume is not None:
        scores["volume"] = Score(value=_floor(volume))
    outliers = {name: _count(count, k) for name, count in found.outliers.items() if count is not None}
    cards = {
        name: ColumnCard(scores=own, outliers=outliers.get(name), source=found.sources.get(name, ""))
        for name, own in columns.items()
    }
    return TableCard(
        rows=Count(rows=found.rows),
        scores=scores,
        returns=None if found.returns is None else _count(found.returns, k),
        age_days=found.age_days,
        columns=cards,
        asked=asked,
    )


def _asked(wanted: TableQuality) -> Asked:
    least = {each: share for each in DIMENSIONS if (share := wanted.least(each)) is not None}
    return Asked(least=least, min_rows=wanted.min_rows, max_age_days=wanted.max_age_days)


def score_text(score: Score | None) -> str:
    """Return a score in per cent, cut off rather than rounded, so that only what is perfect is 100 %.

    >>> score_text(Score(value=0.99999)), score_text(Score(value=0.5, bound="at most")), score_text(None)
    ('99.99 %', '≤ 50.00 %', '-')
    """
    if score is None:
        return "-"
    sign = {"exact": "", "at least": "≥ ", "at most": "≤ ", "about": "≈ "}[score.bound]
    shown = "100 %" if score.value == 1 else f"{math.floor(score.value * 10_000 + 1e-9) / 100:.2f} %"
    return f"{sign}{shown}"


def _score(bad: int, rows: int, k: int) -> Score:
    if 0 < bad < k:
        return Score(value=_floor((rows - k + 1) / rows), bound="at least")
    if 0 < rows - bad < k:
        return Score(value=_floor((k - 1) / rows), bound="at most")
    return Score(value=_floor((rows - bad) / rows))


def _mean(scores: Sequence[Score]) -> Score:
    bounds: set[Bound] = {score.bound for score in scores} - {"exact"}
    bound: Bound = "exact" if not bounds else "about" if len(bounds) > 1 else next(iter(bounds))
    return Score(value=_floor(fmean(score.value for score in scores)), bound=bound)


def _floor(share: float) -> float:
    """Cut off after six digits: what isn't 1 doesn't become it."""
    return math.floor(share * 1_000_000 + 1e-6) / 1_000_000


def _count(count: int, k: int) -> Count:
    return Count(rows=None if 0 < count < k else count)


def card_lines(card: Card) -> Iterator[str]:
    """Yield a scorecard to be read: a line a table, then one a column."""
    moment = card.moment[:16].replace("T", " ")
    yield f"{card.dataset}, {moment} UTC, {card.outcome}; counts of fewer than {card.k} rows are not told"
    for name, table in card.tables.items():
        yield ""
        yield from _table_lines(name, table, card.k)


def _table_lines(name: str, table: TableCard, k: int) -> Iterator[str]:
    facts = [f"{told_rows(table.rows, k)} rows"]
    if table.returns is not None:
        facts.append(f"{told_rows(table.returns, k)} returned")
    if table.age_days is not None:
        facts.append(f"newest {counted(table.age_days, 'day')} old")
    yield f"{name}: {', '.join(facts)}"
    names = {column: column_text(column, card) for column, card in table.columns.items()}
    wide = widest(names.values(), 17) + 1
    if table.scores:
        yield f"  {'':<{wide}}" + "".join(f"{dimension:>14}" for dimension in DIMENSIONS) + f"{'outliers':>14}"
        yield _row(left("the table", wide), table.scores, "")
    for column, card in table.columns.items():
        yield _row(left(names[column], wide), card.scores, outliers_text(card, k))


def column_text(name: str, card: ColumnCard) -> str:
    """Return how a column is called, and what its source calls it.

    >>> column_text("phone", ColumnCard(source="手机号")), column_text("amount", ColumnCard())
    ('phone (手机号)', 'amount')
    """
    return f"{name} ({card.source})" if card.source else name


def outliers_text(card: ColumnCard, k: int) -> str:
    """Return how many outliers a column has, a dash where nothing tells."""
    return "-" if card.outliers is None else told_rows(card.outliers, k)


def _row(name: str, scores: Mapping[Dimension, Score], outliers: str) -> str:
    cells = "".join(f"{score_text(scores.get(dimension)):>14}" for dimension in DIMENSIONS)
    return f"  {name}{cells}{outliers:>14}".rstrip()


def told_rows(count: Count, k: int) -> str:
    """Return how many rows, in words where they are too few to be told."""
    return f"fewer than {k}" if count.rows is None else f"{count.rows:,}"
