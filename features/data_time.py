"""The clock of the data: where it ends, and when a line that was pushed counts as come."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from .transforms.vocabulary import CREATED

__all__ = ["arrived", "day_after", "in_utc"]

UTC: Final = pa.timestamp("us", "UTC")


def day_after(moment: dt.datetime) -> dt.datetime:
    """Return the midnight after `moment`: every event lies before it, and cut-offs fall on whole days.

    >>> day_after(dt.datetime(2017, 12, 31, 9, 30, tzinfo=dt.UTC)).isoformat()
    '2018-01-01T00:00:00+00:00'
    """
    return moment.replace(hour=0, minute=0, second=0, microsecond=0) + dt.timedelta(days=1)


def in_utc(moments: Iterable[dt.datetime]) -> pa.Array:
    """Return aware moments as timestamps in UTC, to the microsecond.

    They are converted here: pyarrow 25 takes the wall clock of any zone for UTC's once pandera is loaded.

    >>> in_utc([dt.datetime(2026, 11, 22, 10, tzinfo=dt.timezone(dt.timedelta(hours=1)))])[0].as_py().isoformat()
    '2026-11-22T09:00:00+00:00'
    """
    return pa.array([moment.astimezone(dt.UTC) for moment in moments], UTC)


def arrived(rows: pa.Table, dated_by: str, last: dt.datetime) -> pa.Table:
    """Say in `created` when rows came that are dated before the `last` event known until now.

    In data time nothing comes before what is known already, so a late row comes at `last`, and no cut-off up to then
    ever sees it. A row that comes in time has no `created`, unless the shop itself says when it came.
    """
    dated, at = rows[dated_by].cast(UTC), rows.schema.get_field_index(CREATED)
    told = pa.chunked_array([pa.nulls(rows.num_rows, UTC)]) if at < 0 else rows[CREATED].cast(UTC)
    known = pa.scalar(last, UTC)
    came = pc.if_else(pc.fill_null(pc.greater(told, known), False), told, known)
    created = pc.if_else(pc.greater(came, dated), came, told)
    if at >= 0:
        return rows.set_column(at, CREATED, created)
    return rows if created.null_count == rows.num_rows else rows.append_column(CREATED, created)
