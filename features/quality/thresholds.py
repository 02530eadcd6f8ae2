"""Where the data are less good than the descriptor asks: table, column, dimension, found and wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from features.datasets.measured import DIMENSIONS, Dimension
from features.datasets.quality import OnBreach, Quality, TableQuality, Wanted
from privacy.counted import counted
from privacy.errors import CheckFailed

from .scores import TableScores
from .told import Breach, Score, TableCard, told_rows

__all__ = ["breaches_of", "refusal"]

ROUNDING: Final = 1e-12
"""Means of doubles are no more exact than this."""


def breaches_of(found: TableScores, card: TableCard, quality: Quality, k: int) -> list[Breach]:
    """Compare exact scores with what is asked; what isn't measured breaches nothing.

    What a breach says of the score is what `card` tells of it.
    """
    asked = quality.of(found.table)
    breaches = [*_of_table(found, card, asked), *_of_limits(found, card, asked, k)]
    for column, wanted in asked.columns.items():
        breaches += _of_column(found, card, column, wanted, wanted.on_breach or asked.on_breach or "warn")
    return breaches


def refusal(breaches: Sequence[Breach]) -> CheckFailed | None:
    """Return what to raise where a breach stops the run, None where none does."""
    stops = [breach for breach in breaches if breach.on_breach == "stop"]
    if not stops:
        return None
    more = f" (and {len(stops) - 1} more)" if len(stops) > 1 else ""
    remedy = "mend the source, or ask for less under 'quality'; nothing was kept, `custos quality` tells all"
    return CheckFailed(f"{stops[0].line()}{more}", remedy=remedy)


def _of_table(found: TableScores, card: TableCard, asked: TableQuality) -> Iterator[Breach]:
    for dimension in DIMENSIONS:
        least, score = asked.least(dimension), found.score(dimension)
        if least is None or score is None or score >= least - ROUNDING:
            continue
        worst = min(found.of_columns(dimension).items(), key=lambda each: each[1], default=("", 1.0))[0]
        told = _found(card.scores.get(dimension))
        own = card.columns.get(worst)
        if worst and own is not None and len(found.of_columns(dimension)) > 1:
            told += f" (least in {worst}: {_found(own.scores.get(dimension))})"
        yield Breach(
            table=found.table,
            column="",
            dimension=dimension,
            found=told,
            wanted=f"{least:g}",
            on_breach=asked.on_breach or "warn",
        )


def _of_limits(found: TableScores, card: TableCard, asked: TableQuality, k: int) -> Iterator[Breach]:
    on_breach: OnBreach = asked.on_breach or "warn"
    limits: list[tuple[Dimension, str, str]] = []
    if asked.min_rows is not None and found.rows < asked.min_rows:
        limits.append(("volume", f"{told_rows(card.rows, k)} rows", counted(asked.min_rows, "row")))
    if asked.max_age_days is not None and found.age_days is not None and found.age_days > asked.max_age_days:
        age = "more" if card.age_days is None else f"{counted(card.age_days, 'day')} (its newest row)"
        limits.append(("timeliness", age, f"at most {counted(asked.max_age_days, 'day')}"))
    for dimension, told, wanted in limits:
        yield Breach(table=found.table, column="", dimension=dimension, found=told, wanted=wanted, on_breach=on_breach)


def _of_column(
    found: TableScores, card: TableCard, column: str, wanted: Wanted, on_breach: OnBreach
) -> Iterator[Breach]:
    own = card.columns.get(column)
    for dimension in DIMENSIONS[:-1]:
        least, score = wanted.least(dimension), found.of_columns(dimension).get(column)
        if least is not None and score is not None and score < least - ROUNDING:
            yield Breach(
                table=found.table,
                column=column,
                dimension=dimension,
                found=_found(None if own is None else own.scores.get(dimension)),
                wanted=f"{least:g}",
                on_breach=on_breach,
            )


def _found(score: Score | None) -> str:
    if score is None:
        return "less"
    return f"{score.value:g}" if score.bound == "exact" else f"{score.bound} {score.value:g}"
