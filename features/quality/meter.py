"""What one pass over a table's rows tells of its quality: counts of each column, in memory that doesn't grow."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts import NOT_COMPUTED
from features.datasets.measured import CREATED, is_timed
from features.datasets.tables import Table
from features.source_columns import LOST, RAW

from .magnitudes import Magnitudes
from .scores import Measure, TableScores

__all__ = ["Meter", "is_number"]

ELSEWHERE: Final = ("missing", "blank", NOT_COMPUTED)
"""Reasons of the contract that tell of no value, not of a bad one; what isn't computed is counted of every column."""
UTC: Final = pa.timestamp("us", "UTC")


class Meter:
    """Counts what is missing, refused, late, returned or far off in one table, a batch at a time; keeps no value.

    With `by_id` it is also told whose the good rows are: for customers whose tokens may stand for several ids.
    """

    def __init__(self, table: Table, now: dt.datetime, late_after_days: int, *, by_id: bool = False) -> None:
        self.by_id, self._indexes, self._repeated = by_id, list[npt.NDArray[np.uint64]](), 0
        self._table, self._now, self._late_after = table, now, dt.timedelta(days=late_after_days)
        self._rows, self._late, self._returns = 0, 0, 0
        self._missing: Counter[str] = Counter()
        self._invalid: Counter[str] = Counter()
        self._magnitudes: dict[str, Magnitudes] = {}
        self._newest: dt.datetime | None = None

    def meet(self, batch: pa.RecordBatch, failures: pa.Table) -> None:
        """Count a batch as it came, with everything that the contract says of it."""
        self._rows += batch.num_rows
        for name in self._table.columns:
            column = batch.column(name)
            unreadable, lost = _unreadable(batch, name), _lost(batch, name)
            self._missing[name] += column.null_count - unreadable - lost + _blank(column)
            self._invalid[name] += lost
        if failures.num_rows:
            bad = failures.filter(pc.invert(pc.is_in(failures["reason"], pa.array(ELSEWHERE))))
            for found in bad.group_by("column").aggregate([("row", "count_distinct")]).to_pylist():
                self._invalid[found["column"]] += found["row_count_distinct"]

    def keep(self, good: pa.RecordBatch) -> None:
        """Look into the rows that the contract lets pass."""
        if not good.num_rows:
            return
        event = self._table.event_column
        if event is not None:
            dates = good.column(event).cast(UTC)
            newest = pc.max(dates).as_py()
            self._newest = max(filter(None, (self._newest, newest)), default=None)
            if is_timed(self._table):
                due = pc.add(dates, pa.scalar(self._late_after, pa.duration("us")))
                self._late += pc.sum(pc.greater(good.column(CREATED).cast(UTC), due)).as_py() or 0
        if self._table.name == "transactions":
            self._returns += pc.sum(_returned(good)).as_py() or 0
        for name in self._table.columns:
            column = good.column(name)
            if pa.types.is_floating(column.type) and self._table.role_of(name) == "attribute":
                self._magnitudes.setdefault(name, Magnitudes()).add(column)

    def identify(self, indexes: npt.NDArray[np.uint8]) -> None:
        """Take in (n, 16) keyed indexes of whose the rows are; 64 bits of each are kept until all are counted."""
        self._indexes.append(np.ascontiguousarray(indexes[:, :8]).view(np.uint64).ravel())

    def repeat(self, rows: int) -> None:
        """Take in how many rows repeat an id, from who has seen all of them."""
        self._repeated += rows

    def told(self) -> dict[str, Any]:
        """Return everything counted so far as JSON values, for `add`."""
        return {
            "rows": self._rows,
            "late": self._late,
            "returns": self._returns,
            "missing": dict(self._missing),
            "invalid": dict(self._invalid),
            "magnitudes": {name: counted.told() for name, counted in self._magnitudes.items()},
            "newest": None if self._newest is None else self._newest.isoformat(),
        }

    def add(self, told: Mapping[str, Any]) -> None:
        """Add what another meter of the same table has `told`: as if this one had met those rows too."""
        self._rows += told["rows"]
        self._late += told["late"]
        self._returns += told["returns"]
        self._missing.update(told["missing"])
        self._invalid.update(told["invalid"])
        for name, counts in told["magnitudes"].items():
            self._magnitudes.setdefault(name, Magnitudes()).add_told(counts)
        newest = told["newest"] and dt.datetime.fromisoformat(told["newest"])
        self._newest = max(filter(None, (self._newest, newest)), default=None)

    def scores(self) -> TableScores:
        """Return what was counted; consistency, and uniqueness but `by_id`, are for who sees the whole table."""
        found = TableScores(self._table.name, self._rows)
        for name in self._table.columns:
            found.measures.append(Measure(name, "completeness", self._missing[name]))
            if self._missing[name] < self._rows:
                found.measures.append(Measure(name, "validity", self._invalid[name]))
        if self.by_id and self._table.subject is not None:
            ids = np.concatenate([np.zeros(0, np.uint64), *self._indexes])
            repeated = self._repeated + len(ids) - len(np.unique(ids))
            found.measures.append(Measure(self._table.subject, "uniqueness", repeated))
        if is_timed(self._table):
            found.measures.append(Measure(CREATED, "timeliness", self._late))
        found.outliers = {name: counted.outliers() for name, counted in self._magnitudes.items()}
        found.returns = self._returns if self._table.name == "transactions" else None
        found.age_days = None if self._newest is None else max(0, (self._now - self._newest).days)
        sources = {name: column.source for name, column in self._table.columns.items()}
        found.sources = {name: source for name, source in sources.items() if source and source != name}
        return found


def is_number(kind: pa.DataType) -> bool:
    """Whether values of this type can be below 0 and are no moments.

    >>> is_number(pa.float64()), is_number(pa.date32())
    (True, False)
    """
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)


def _unreadable(batch: pa.RecordBatch, name: str) -> int:
    """How many cells can't be cast to what the column is."""
    raw = batch.column(name + RAW) if name + RAW in batch.schema.names else None
    return 0 if raw is None else len(raw) - raw.null_count


def _lost(batch: pa.RecordBatch, name: str) -> int:
    """Of how many rows the column's own SQL makes nothing, though all the cells that it reads are filled."""
    lost = batch.column(name + LOST) if name + LOST in batch.schema.names else None
    return 0 if lost is None else pc.sum(lost).as_py() or 0


def _blank(column: pa.Array) -> int:
    """How many texts have no character that shows; ideographic blanks included."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return 0
    blank = pc.equal(pc.binary_length(column), 0)
    with suppress(pa.ArrowInvalid):  # bytes that are no UTF-8 are some text
        blank = pc.or_(blank, pc.utf8_is_space(column))
    return pc.sum(blank).as_py() or 0


def _returned(lines: pa.RecordBatch) -> pa.Array:
    """Which lines give something back: a negative amount or quantity."""
    back = pc.fill_null(pc.less(lines.column("amount"), 0), False)
    quantity = lines.column("quantity") if "quantity" in lines.schema.names else None
    if quantity is None or not is_number(quantity.type):
        return back
    return pc.or_(back, pc.fill_null(pc.less(quantity, 0), False))
