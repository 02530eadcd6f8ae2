"""The quality scorecard of an ingest: of the rows that came, how many are good in each dimension.

Completeness, validity, uniqueness, consistency and timeliness are five of DAMA UK's six primary dimensions (2013);
the sixth, accuracy, needs the world to compare with. ISO/IEC 25012:2008 has completeness, consistency and currentness
among its characteristics. Volume is none of theirs: it shows that a file is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from types import MappingProxyType
from typing import Final

from features.datasets.measured import Dimension

__all__ = ["DEFINITIONS", "Measure", "TableScores"]

DEFINITIONS: Final[Mapping[Dimension, str]] = MappingProxyType(
    {
        "completeness": "the share of rows that have a value: neither missing nor blank (DAMA UK; ISO/IEC 25012)",
        "validity": "the share of rows whose value isn't refused: of its type, finite, within the contract's range "
        "(DAMA UK), and computed where its own sql reads filled cells; what is missing is incomplete, not invalid",
        "uniqueness": "the share of rows that don't repeat an earlier one: a customer, a product, elsewhere all that "
        "is stored of the row (DAMA UK)",
        "consistency": "the share of rows that don't contradict others: a reference that leads nowhere, a return "
        "before the person's first purchase (DAMA UK; ISO/IEC 25012)",
        "timeliness": "the share of rows that came into the books in time, where the table tells `created`; and the "
        "age of the newest row (DAMA UK; currentness in ISO/IEC 25012)",
        "volume": "the rows that came, as a share of the ingest before, at most all",
    }
)


@dataclass(frozen=True)
class Measure:
    """So many rows fail in one dimension of one column; no column stands for whole rows."""

    column: str
    dimension: Dimension
    bad: int


@dataclass
class TableScores:
    """What was found of one table; exact, so not to be shown (`told.card` says what may be).

    Every score is a share of the `rows` that came, so that none tells another's count by subtraction. `outliers` by
    column is None where there is no scale to tell by; `age_days` is of the newest good row; `sources` is what
    the source calls a column, where it calls it otherwise.
    """

    table: str
    rows: int
    measures: list[Measure] = field(default_factory=list)
    outliers: dict[str, int | None] = field(default_factory=dict)
    returns: int | None = None
    age_days: int | None = None
    rows_before: int | None = None
    sources: dict[str, str] = field(default_factory=dict)

    def of_columns(self, dimension: Dimension) -> dict[str, float]:
        """Return the score of each column that `dimension` was measured of; of a table without rows nothing is.

        >>> TableScores("products", 8, [Measure("product_id", "uniqueness", 2)]).of_columns("uniqueness")
        {'product_id': 0.75}
        """
        return {
            each.column: (self.rows - each.bad) / self.rows
            for each in self.measures
            if each.dimension == dimension and self.rows
        }

    def score(self, dimension: Dimension) -> float | None:
        """Return the mean over columns, for completeness the share of filled cells; None where nothing was measured."""
        if dimension == "volume":
            return min(1.0, self.rows / self.rows_before) if self.rows_before else None
        columns = self.of_columns(dimension)
        return fmean(columns.values()) if columns else None
