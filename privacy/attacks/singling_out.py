"""Singling out: does a description that fits one released row fit exactly one person?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from privacy.attacks._base import MISSING, USUAL, Attack, Effort, Numbers, Tables, as_numbers
from privacy.confidence import Rate
from privacy.errors import BadInput

__all__ = ["singling_out"]

_LOWEST: Final = float(np.finfo(np.float64).min)
_BATCH: Final = 1000
_CANDIDATES: Final = 100
"""How many descriptions are tried for each that is wanted, before the release is taken to hold no more."""
_FIRST_ROWS: Final = 256


@dataclass(frozen=True)
class _Queries:
    """q descriptions of c columns each: a row fits where every `low` <= value <= `high`; all are (q, c)."""

    columns: npt.NDArray[np.int64]
    low: Numbers
    high: Numbers

    def __len__(self) -> int:
        return len(self.columns)

    def only(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> _Queries:
        return _Queries(self.columns[chosen], self.low[chosen], self.high[chosen])

    def joined(self, other: _Queries) -> _Queries:
        """Both, each description once, in a fixed order."""
        columns = np.concatenate([self.columns, other.columns])
        low, high = np.concatenate([self.low, other.low]), np.concatenate([self.high, other.high])
        _, first = np.unique(np.hstack([columns, low, high]), axis=0, return_index=True)
        return _Queries(columns, low, high).only(np.sort(first))

    def single(self, table: Numbers) -> npt.NDArray[np.bool_]:
        """(q,) bool: which fit exactly one row of `table`."""
        counts = np.zeros(len(self), np.int64)
        start, size = 0, _FIRST_ROWS
        while start < len(table):
            open_ = np.flatnonzero(counts < 2)  # most fit many rows, and show it within the first few hundred
            counts[open_] += self.only(open_)._fits(table[start : start + size])
            start, size = start + size, min(2 * size, 16_384)
        return counts == 1

    def _fits(self, rows: Numbers) -> npt.NDArray[np.int64]:
        step = max(1, 4_000_000 // max(1, len(rows)))
        found = np.zeros(len(self), np.int64)
        for start in range(0, len(self), step):
            part = slice(start, start + step)
            fit = np.ones((len(rows), len(self.columns[part])), np.bool_)
            for at in range(self.columns.shape[1]):
                values = rows[:, self.columns[part, at]]
                fit &= (values >= self.low[part, at]) & (values <= self.high[part, at])
            found[part] = fit.sum(axis=0)
        return found


def singling_out(
    original: pa.Table,
    released: pa.Table,
    control: pa.Table,
    columns: int = 3,
    *,
    how: Effort = USUAL,
) -> Attack:
    """Attack with descriptions of `columns` columns, drawn from released rows, that fit exactly one released row.

    Anything is described by itself, or, in attempts of their own, numbers and dates by the side of the median on which
    they lie (at least, at most); the answer is the worse of the two. A description succeeds when it fits exactly one
    original person. The baseline draws columns, values and sides at random. The control is cut to as many people as
    the original has, for a description fits exactly one of few more easily; columns are known by place, so no name can
    make a description fail.

    Source: Article 29 Working Party, opinion 05/2014 (WP216); Giomi et al. (2023, PoPETs); Cohen and Nissim (2020).

    Raises:
        BadInput: a table is empty or lacks a column, fewer columns than asked for, or a control smaller than the
            original.

    >>> people = pa.table({"age (years)": range(40), "city": [f"c{n}" for n in range(40)]})
    >>> singling_out(people[:20], people[:20], people[20:], columns=2, how=Effort(10)).success.value
    1.0
    """
    tables = as_numbers(original, released, control)
    if not 1 <= columns <= len(tables.names):
        raise BadInput(f"descriptions of {columns} columns can't be made of {len(tables.names)}")
    if len(tables.control) < len(tables.original):
        what = f"{len(tables.control)} control people are fewer than the {len(tables.original)} of the original"
        raise BadInput(what, remedy="split the people in two equal halves, and release one")
    rng = np.random.default_rng(how.seed)
    chosen = rng.permutation(len(tables.control))[: len(tables.original)]

    def rate(asked: _Queries, people: Numbers) -> Rate:
        return Rate(int(asked.single(people).sum()), how.attempts, how.level)

    def attack(ranged: npt.NDArray[np.bool_]) -> Attack:
        queries = _found(tables, ranged, columns, how.attempts, rng)
        guesses = _guesses(tables, ranged, columns, how.attempts, rng)
        rates = rate(queries, tables.original), rate(queries, tables.control[chosen]), rate(guesses, tables.original)
        return Attack("singling out", *rates)

    # Mixed in one set, descriptions that fail by their kind (a value with noise equals nothing) would hide the others.
    ways = [tables.numeric, np.zeros_like(tables.numeric)] if tables.numeric.any() else [tables.numeric]
    return max(map(attack, ways), key=lambda found: (found.risk.high, found.risk.value))


def _found(
    tables: Tables, ranged: npt.NDArray[np.bool_], columns: int, wanted: int, rng: np.random.Generator
) -> _Queries:
    """Different descriptions that fit one released row each: `wanted` of them, or as many as were found."""
    released = tables.released
    known = np.where(released == MISSING, np.nan, released)
    middle = np.array([np.nanmedian(values) if not np.isnan(values).all() else 0.0 for values in known.T])
    queries = _Queries(np.zeros((0, columns), np.int64), np.zeros((0, columns)), np.zeros((0, columns)))
    for _ in range(0, max(_CANDIDATES * wanted, 20 * _BATCH), _BATCH):
        places = _places(len(tables.names), columns, rng)
        values = released[rng.integers(len(released), size=_BATCH)[:, None], places]
        made = _sided(places, values, values > middle[places], ranged)
        queries = queries.joined(made.only(made.single(released)))
        if len(queries) >= wanted:
            break
    return queries.only(np.arange(min(wanted, len(queries))))


def _guesses(
    tables: Tables, ranged: npt.NDArray[np.bool_], columns: int, wanted: int, rng: np.random.Generator
) -> _Queries:
    """Descriptions of columns, values and sides at random, each value as likely as any other of its column."""
    places = np.concatenate([_places(len(tables.names), columns, rng) for _ in range(0, wanted, _BATCH)])[:wanted]
    values = np.empty(places.shape)
    for at, column in enumerate(tables.released.T):
        here = places == at
        values[here] = rng.choice(np.unique(column), size=int(here.sum()))
    return _sided(places, values, rng.random(places.shape) < 0.5, ranged)


def _places(count: int, columns: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return np.sort(rng.random((_BATCH, count)).argsort(axis=1)[:, :columns], axis=1)


def _sided(
    places: npt.NDArray[np.int64], values: Numbers, above: npt.NDArray[np.bool_], ranged: npt.NDArray[np.bool_]
) -> _Queries:
    """`ranged` columns at least (`above`) or at most as large; others, and what is missing, as they are."""
    sided = ranged[places] & (values != MISSING)
    low = np.where(sided & ~above, _LOWEST, values)
    high = np.where(sided & above, np.inf, values)
    return _Queries(places, low, high)
