"""The newest features of a few people, computed like everybody's and put beside what was built."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .buckets import row_hashes
from .data_time import in_utc
from .feature_table import EVENT_COLUMNS, EVENTS, FEATURES, UTC, schema_of, stored
from .statements import newest_of
from .storage import TableStore
from .transforms.feature import Feature, Windows

__all__ = ["missing", "newest", "put_beside"]

TOKEN = "customer_token"  # noqa: S105  a column name
MOMENT = "event_timestamp"


def newest(
    listed: Sequence[Feature],
    windows: Windows,
    lines: pa.Table,
    met: pa.Table | None,
    people: pa.Table,
    moment: dt.datetime,
    kept: Path,
) -> tuple[pa.Table, pa.Table]:
    """Return the events that `lines` fold into, and a row of features at `moment` of each of `people` who has bought.

    `lines` and `met`, the interactions, are all that these people have. Bands, which are among all customers, are null.
    The folder `kept` holds the statements of the computation.
    """
    inputs = {"lines": lines, "people": people, "cutoffs": pa.table({MOMENT: in_utc([moment])})}
    if met is not None:
        inputs["interactions"] = met
    events, rows = newest_of(inputs, listed, windows, kept)
    for feature in listed:
        if feature.bands:
            rows = rows.append_column(feature.name, pa.nulls(rows.num_rows, pa.string()))
    schema = pa.schema([field for field in EVENT_COLUMNS if field.name in events.column_names])
    return events.select(schema.names).cast(schema), stored(rows, schema_of(listed))


def put_beside(
    store: TableStore, listed: Sequence[Feature], events: pa.Table, rows: pa.Table, moment: dt.datetime
) -> pa.Table:
    """Publish people's events and newest rows beside everybody's; return the rows, with the bands last built.

    `moment`, at which the rows are, becomes the end of data time. Nothing is written where it is all there.
    """
    tokens = pc.unique(pa.concat_tables([events.select([TOKEN]), rows.select([TOKEN])])[TOKEN]).to_pylist()
    with store.writer() as writer:
        manifest = store.manifest("as_of")
        entries, told, held = manifest["tables"], store.of(EVENTS, tokens), store.of(FEATURES, tokens)
        rows = _banded(rows, held, listed)
        new = missing(told, events)
        undone = missing(events, told).num_rows > 0  # a late line may change what an event was
        same = new.num_rows == 0 and not undone and missing(held, rows).num_rows == 0
        if same and dt.datetime.fromisoformat(manifest["as_of"]) == moment:
            return rows
        for name, entry in entries.items():
            if name == EVENTS and undone:
                writer.amend(name, entry, events, told, pc.field(TOKEN).is_valid())
            elif name == EVENTS:
                writer.amend(name, entry, new, told)
            elif name == FEATURES:
                writer.amend(name, entry, rows, held, pc.field(MOMENT) == pa.scalar(moment, UTC))
            else:
                writer.carry(name, entry)
        notes = {name: note for name, note in manifest.items() if name != "tables"}
        whole = notes.get("digest") is not None
        notes |= {"as_of": moment.isoformat(), "digest": writer.digest_of(FEATURES) if whole else None}
        writer.commit(notes)
    return rows


def missing(held: pa.Table, rows: pa.Table, but: Sequence[str] = ()) -> pa.Table:
    """Return those of `rows` that `held` lacks, each as often as it does; columns `but` don't tell rows apart.

    >>> missing(pa.table({"n": [1, 2]}), pa.table({"n": [2, 1, 2, 2]}))["n"].to_pylist()
    [2, 2]
    """
    names = [name for name in rows.column_names if name not in but]
    known, counts = np.unique(_keys(held, names), return_counts=True)
    mine = _keys(rows, names)
    order = np.argsort(mine, kind="stable")
    ordered = mine[order]
    starts = np.searchsorted(ordered, ordered)
    turn = np.arange(len(ordered)) - starts
    at = np.searchsorted(known, ordered)
    found = np.append(known, np.uint64(0))[at] == ordered
    often = np.where(found & (at < len(known)), np.append(counts, 0)[at], 0)
    kept = np.zeros(len(mine), np.bool_)
    kept[order] = turn >= often
    return rows.filter(pa.array(kept))


def _keys(table: pa.Table, names: Sequence[str]) -> npt.NDArray[np.uint64]:
    return row_hashes(table, [name for name in names if name in table.column_names])


def _banded(rows: pa.Table, held: pa.Table, listed: Sequence[Feature]) -> pa.Table:
    """Give each person the bands of the newest row that they have."""
    bands = [feature.name for feature in listed if feature.bands]
    ordered = held.select([TOKEN, MOMENT, *bands]).sort_by([(TOKEN, "ascending"), (MOMENT, "ascending")])
    tokens = ordered[TOKEN].to_pylist()
    last = {token: at for at, token in enumerate(tokens)}
    places = pa.array([last.get(token) for token in rows[TOKEN].to_pylist()], pa.int64())
    for name in bands:
        rows = rows.set_column(rows.schema.get_field_index(name), name, ordered[name].take(places))
    return rows
