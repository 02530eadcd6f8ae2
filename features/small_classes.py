"""Classes of people who are told alike: those that an erasure leaves with fewer than k are told no more."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["KEYS", "delete_small_classes", "in_small_classes"]

KEYS: Final = ("customer_token", "event_timestamp", "created_timestamp")
"""The columns of a told table that are no part of a class."""
_NONE_SAID: Final = 2**62


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


def delete_small_classes(connection: sqlite3.Connection, table: str) -> None:
    """Delete the rows of small classes from Feast's online `table`, within the caller's transaction.

    The k is the number that SQLite keeps for its application (`user_version`); a file without one keeps nobody.
    """
    k = connection.execute("PRAGMA user_version").fetchone()[0] or _NONE_SAID
    names = [row[0] for row in connection.execute(f'SELECT DISTINCT feature_name FROM "{table}" ORDER BY 1')]
    if not names:
        return
    own = " || '|' || ".join("coalesce(max(CASE feature_name WHEN ? THEN hex(value) END), '')" for _ in names)
    told = f'SELECT entity_key, {own} AS told FROM "{table}" GROUP BY entity_key'
    counted = f"SELECT entity_key, count(*) OVER (PARTITION BY told) AS alike FROM ({told})"
    small = f"SELECT entity_key FROM ({counted}) WHERE alike < ?"
    connection.execute(f'DELETE FROM "{table}" WHERE entity_key IN ({small})', (*names, k))
