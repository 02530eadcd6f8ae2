"""Does a released table keep k, l and t? A plain group-by over its published texts, sharing nothing with Mondrian."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from privacy.demands import Demands, Entropy
from privacy.errors import BadInput, CheckFailed

__all__ = ["verify"]

_CELLS = 4_000_000
_ROUNDING = 1e-6


def verify(
    table: pa.Table,
    *,
    quasi_identifiers: Sequence[str],
    k: int,
    sensitive: Sequence[str] = (),
    l: int | Entropy | None = None,  # noqa: E741 - the literature's name
    t: float | None = None,
) -> bool:
    """True when every class of `table` keeps the demands; CheckFailed says which is broken, in how many classes.

    A class is the rows that are equal in all quasi-identifiers; equal nulls are equal. An empty table keeps anything.

    >>> rows = pa.table({"age": ["20 to 34"] * 3 + ["*"], "sick": [True, False, True, True]})
    >>> verify(rows.slice(0, 3), quasi_identifiers=["age"], k=3, sensitive=["sick"], l=2)
    True
    >>> verify(rows, quasi_identifiers=["age"], k=3)
    Traceback (most recent call last):
    privacy.errors.CheckFailed: 1 of 2 classes has fewer than k=3 rows, the smallest 1
    """
    demands, names = Demands(k, l, t), list(dict.fromkeys(quasi_identifiers))
    if lost := [name for name in (*names, *sensitive) if table.schema.names.count(name) != 1]:
        raise BadInput(f"column {lost[0]} is missing, or there twice", where=lost[0])
    if not table.num_rows:
        return True
    if not names:
        names, table = ["_all"], table.append_column("_all", pa.nulls(table.num_rows, pa.string()))
    hidden = [name for name in sensitive if name not in names]
    # Grouping by small numbers is several times faster than by texts; equal texts have equal numbers.
    plain = pa.table({name: _coded(table[name]) for name in names} | {name: table[name] for name in hidden})
    sizes = plain.group_by(names).aggregate([([], "count_all")])["count_all"]
    small = pc.sum(pc.less(sizes, demands.k)).as_py()
    if small:
        told = f"{small:,} of {len(sizes):,} classes {'has' if small == 1 else 'have'} fewer than k={demands.k} rows"
        raise CheckFailed(f"{told}, the smallest {pc.min(sizes).as_py()}")
    if demands.of_values:
        for name in sensitive:
            _check_values(plain, names, name, demands)
    return True


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return whole.dictionary_decode() if pa.types.is_dictionary(whole.type) else whole


def _coded(column: pa.ChunkedArray) -> pa.Array:
    return _whole(column).dictionary_encode().indices


def _check_values(table: pa.Table, names: list[str], sensitive: str, demands: Demands) -> None:
    """Count every value of every class into a matrix, some classes at a time, and measure its rows."""
    column = _whole(table[sensitive])
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    kind = column.type
    ordered = pa.types.is_decimal(kind) or (pa.types.is_primitive(kind) and not pa.types.is_boolean(kind))
    values = column.unique()
    if ordered:  # a missing value is the least
        present = values.drop_null()
        missing = [pa.nulls(1, kind)] if values.null_count else []
        values = pa.concat_arrays([*missing, present.take(pc.sort_indices(present))])
    place = pc.index_in(column, value_set=values)
    keyed = table.select(names).append_column("_value", place)
    counted = keyed.group_by([*names, "_value"]).aggregate([([], "count_all")])
    listed = counted.group_by(names).aggregate([("_value", "list"), ("count_all", "list")])
    whole = np.bincount(place.to_numpy(zero_copy_only=False), minlength=len(values)) / table.num_rows
    width = max(1, _CELLS // len(values))
    for start in range(0, listed.num_rows, width):
        part = listed.slice(start, width)
        at, counts = part["_value_list"].combine_chunks(), part["count_all_list"].combine_chunks()
        matrix = np.zeros((part.num_rows, len(values)))
        where = pc.list_parent_indices(at).to_numpy(), at.flatten().to_numpy()
        matrix[where] = counts.flatten().to_numpy()
        _check_matrix(matrix / matrix.sum(axis=1, keepdims=True), whole, ordered, sensitive, demands)


def _check_matrix(shares: np.ndarray, whole: np.ndarray, ordered: bool, sensitive: str, demands: Demands) -> None:
    if isinstance(demands.l, Entropy):
        logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
        least = float(np.exp(-(shares * logs).sum(axis=1)).min())
        if least < demands.l.l * (1 - _ROUNDING):
            raise CheckFailed(f"a class has entropy l={least:.3f} in {sensitive}, not {demands.l.l}", where=sensitive)
    elif demands.l is not None and (few := int((shares > 0).sum(axis=1).min())) < demands.l:
        raise CheckFailed(f"a class has {few} values of {sensitive}, not l={demands.l}", where=sensitive)
    if demands.t is None:
        return
    away = shares - whole
    if ordered and len(whole) > 1:
        distances = np.abs(np.cumsum(away, axis=1)).sum(axis=1) / (len(whole) - 1)
    else:
        distances = np.abs(away).sum(axis=1) / 2
    farthest = float(distances.max())
    if farthest > demands.t + _ROUNDING or math.isnan(farthest):
        raise CheckFailed(f"a class is t={farthest:.3f} away in {sensitive}, not {demands.t}", where=sensitive)
