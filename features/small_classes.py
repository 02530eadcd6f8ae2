"""Classes of people who are told alike: those that an erasure leaves with fewer than k are told no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["KEYS", "in_small_classes"]

KEYS: Final = ("customer_token", "event_timestamp", "created_timestamp")
"""The columns of a told table that are no part of a class."""


def in_small_classes(rows: pa.Table, k: int, columns: Sequence[str] | None = None) -> pa.ChunkedArray:
    """(n,) bool: whose class, the rows that are equal in `columns` (all but the keys), has fewer than k rows.

    >>> rows = pa.table({"customer_token": ["a", "b", "c"], "town": ["Arles", "Arles", None]})
    >>> in_small_classes(rows, 2).to_pylist()
    [False, False, True]
    """
    names = [name for name in rows.column_names if name not in KEYS] if columns is None else list(columns)
    if not names or not rows.num_rows:
        return pa.chunked_array([pa.array([rows.num_rows < k] * rows.num_rows, pa.bool_())])
    counted = rows.select(names).append_column("_row", pa.array(np.arange(rows.num_rows)))
    listed = counted.group_by(names).aggregate([("_row", "list")])["_row_list"].combine_chunks()
    small = listed.filter(pc.less(pc.list_value_length(listed), k)).flatten()
    return pa.chunked_array([pc.is_in(counted["_row"].combine_chunks(), value_set=small)])
