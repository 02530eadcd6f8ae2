"""The contract of a table, made from its descriptor: pandera decides which rows are bad, and why.

pandera's own messages quote the values that fail; only column, reason code and row leave this file.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pyarrow.compute as pc
from pandera.errors import SchemaErrors

from privacy.classification import Purpose
from privacy.counted import counted
from privacy.errors import BadInput

from .datasets.tables import CONSENT_TYPES, CONSENTS, Table
from .source_columns import LOST, RAW

__all__ = ["BAD_SHARE", "NOT_COMPUTED", "REMEDIES", "Contract", "Tally", "first_reasons", "most_bad"]

BAD_SHARE: Final = 0.10
"""A table with a larger share of bad rows is refused whole."""
EARLIEST: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
SLACK: Final = dt.timedelta(days=1)
A_PURPOSE: Final = pa.array([purpose.value for purpose in Purpose])
LARGEST: Final = 1e10
"""Sums are kept exact in ten-thousandths, in 64 bits: a line beyond this is an error of its unit, not an order."""
MISSING: Final = "not_nullable"
NOT_COMPUTED: Final = "not computed"
"""The reason of a row whose value a column's own SQL doesn't give, though all that it reads is filled."""
REMEDIES: Final = {
    "missing": "fill it, or leave such rows out with 'where'",
    "blank": "fill it, or leave such rows out with 'where'",
    "not a purpose": f"give {', '.join(Purpose)}, or translate your own words in 'sql'",
    NOT_COMPUTED: "see what its 'sql' makes of such rows, or leave them out with 'where'",
    "unparsable": "give times as ISO 8601 and numbers in plain digits, or cast in 'sql'",
}


def most_bad(table: str, rows: int) -> float:
    """How many bad rows of a table are borne: none of the consents, for a withdrawal may be among them.

    >>> most_bad("transactions", 100), most_bad("consents", 100)
    (10.0, 0.0)
    """
    return 0.0 if table == CONSENTS else BAD_SHARE * rows


@dataclass
class Tally:
    """How many rows came, and how many were bad by column and reason; a row counts under its first."""

    table: str
    rows: int = 0
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def bad(self) -> int:
        """How many rows were bad."""
        return self.reasons.total()

    def by_reason(self) -> dict[str, int]:
        """Return bad rows by `column: reason`, most first."""
        return {f"{column}: {reason}": count for (column, reason), count in self.reasons.most_common()}

    def add(self, found: pa.Table) -> None:
        """Count the bad rows `found`, as `first_reasons` gives them."""
        self.reasons.update(zip(found["column"].to_pylist(), found["reason"].to_pylist(), strict=True))

    def check(self) -> None:
        """Raise BadInput if the table is empty or too many of its rows are bad.

        >>> Tally("transactions", 10, Counter({("ordered_at", "unparsable"): 10})).check()
        Traceback (most recent call last):
        privacy.errors.BadInput: column 'transactions.ordered_at' is unparsable in 10 of 10 rows; give times \
as ISO 8601 and numbers in plain digits, or cast in 'sql'
        """
        if self.rows == 0:
            raise BadInput(f"table '{self.table}' is empty", remedy="give a file with rows, or mend its 'where'")
        if self.bad > most_bad(self.table, self.rows):
            (column, reason), count = self.reasons.most_common(1)[0]
            raise BadInput(
                f"column '{self.table}.{column}' is {reason} in {count} of {counted(self.rows, 'row')}",
                remedy=REMEDIES.get(reason, "mend the source, or leave such rows out with 'where'"),
            )


class Contract:
    """What a row of one table must fulfil; `now` bounds the dates."""

    def __init__(self, table: Table, now: dt.datetime) -> None:
        self._table, self._now = table, now
        required = {table.subject, table.event_column}
        if table.name == "transactions":
            required |= {"order_id", "ordered_at", "amount"}
        if table.name == CONSENTS:
            required |= set(CONSENT_TYPES)
        self._required = frozenset(name for name in required if name is not None)
        self._schema: pandera.DataFrameSchema | None = None

    def failures(self, batch: pa.RecordBatch) -> pa.Table:
        """Return (row, column, reason) of everything that is wrong with `batch`, by row."""
        frame = batch.to_pandas(types_mapper=pd.ArrowDtype)
        schema = self._schema = self._schema or self._build(batch.schema)
        try:
            schema.validate(frame, lazy=True)
        except SchemaErrors as errors:
            return _reasons(errors.failure_cases)
        return _reasons(None)

    def _build(self, schema: pa.Schema) -> pandera.DataFrameSchema:
        columns = {}
        for item in schema:
            if item.name.endswith((RAW, LOST)):
                continue
            checks = self._checks(item)
            columns[item.name] = pandera.Column(None, checks, nullable=item.name not in self._required)
        for item in schema:
            if item.name.endswith(RAW):
                parsed = pandera.Check(_never, name="unparsable")
                columns[item.name] = pandera.Column(None, parsed, nullable=True)
            elif item.name.endswith(LOST):  # where a value may be missing, the SQL may leave it out
                needed = item.name.removesuffix(LOST) in self._required
                computed = [pandera.Check(_not_true, name=NOT_COMPUTED)] if needed else []
                columns[item.name] = pandera.Column(None, computed)
        return pandera.DataFrameSchema(columns, strict=True)

    def _checks(self, item: pa.Field) -> list[pandera.Check]:
        if pa.types.is_floating(item.type):
            return [pandera.Check(_finite, name="not a finite number"), pandera.Check(_plausible, name="too large")]
        # An empty key is as bad as an empty id: neither can be made a token.
        if pa.types.is_string(item.type) and self._table.role_of(item.name) in {"subject", "key"}:
            return [pandera.Check(_filled, name="blank")]
        if self._table.name == CONSENTS and item.name == "purpose":
            return [pandera.Check(_a_purpose, name="not a purpose")]
        if pa.types.is_timestamp(item.type) and item.name in {self._table.event_column, "ordered_at", "created"}:
            return [
                pandera.Check(_not_before(EARLIEST), name="before 1970"),
                pandera.Check(_not_after(self._now + SLACK), name="in the future"),
            ]
        return []


def first_reasons(failures: pa.Table) -> pa.Table:
    """Return (row, column, reason) of each bad row of `Contract.failures`, first reason only."""
    rows = failures["row"].to_numpy()
    keep = np.concatenate([[True], np.diff(rows) > 0]) if len(rows) else np.zeros(0, np.bool_)
    return failures.filter(pa.array(keep))


def _arrow(series: pd.Series) -> pa.ChunkedArray:
    return pa.chunked_array(series.array.__arrow_array__())


def _as_series(series: pd.Series, passed: pa.ChunkedArray) -> pd.Series:
    good = np.asarray(passed.fill_null(True).to_numpy(), dtype=bool)
    return pd.Series(good, index=series.index)


def _never(series: pd.Series) -> pd.Series:
    return series.isna()


def _not_true(series: pd.Series) -> pd.Series:
    return _as_series(series, pc.invert(_arrow(series)))


def _plausible(series: pd.Series) -> pd.Series:
    return _as_series(series, pc.less_equal(pc.abs(_arrow(series)), LARGEST))


def _finite(series: pd.Series) -> pd.Series:
    return _as_series(series, pc.is_finite(_arrow(series)))


def _a_purpose(series: pd.Series) -> pd.Series:
    return _as_series(series, pc.is_in(_arrow(series), value_set=A_PURPOSE))


def _filled(series: pd.Series) -> pd.Series:
    return _as_series(series, pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(_arrow(series))), 0))


@dataclass(frozen=True)
class _Bound:
    moment: dt.datetime
    lower: bool

    def __call__(self, series: pd.Series) -> pd.Series:
        column = _arrow(series)
        bound = pa.scalar(self.moment, column.type)
        compared = pc.greater_equal(column, bound) if self.lower else pc.less_equal(column, bound)
        return _as_series(series, compared)


def _not_before(moment: dt.datetime) -> _Bound:
    return _Bound(moment, lower=True)


def _not_after(moment: dt.datetime) -> _Bound:
    return _Bound(moment, lower=False)


def _reasons(failures: pd.DataFrame | None) -> pa.Table:
    if failures is None or failures.empty:
        empty = pa.array([], pa.string())
        return pa.table({"row": pa.array([], pa.int64()), "column": empty, "reason": empty})
    rows = failures["index"].to_numpy(dtype=np.int64)
    names = failures["column"].astype(str)
    # A raw text, and a computed column's loss, say why a value is missing: told before `missing`, and instead of it.
    raw = (names.str.endswith(RAW) | names.str.endswith(LOST)).to_numpy()
    columns = names.str.removesuffix(RAW).str.removesuffix(LOST).to_numpy(dtype=object)
    reasons = failures["check"].astype(str).replace(MISSING, "missing").to_numpy(dtype=object)
    explained = pd.MultiIndex.from_arrays([rows[raw], columns[raw]])
    told = raw | (reasons != "missing") | ~pd.MultiIndex.from_arrays([rows, columns]).isin(explained)
    order: npt.NDArray[np.int64] = np.lexsort((~raw[told], rows[told]))
    found = {"row": rows, "column": columns, "reason": reasons}
    return pa.table({name: pa.array(values[told][order]) for name, values in found.items()})
