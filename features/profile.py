"""What is told of people beside their behaviour: the generalised table, held to its k wherever it goes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from privacy.anonymity_check import verify
from privacy.errors import CheckFailed
from privacy.profile import PROFILE

from .small_classes import KEYS, in_small_classes
from .storage import TableStore

if TYPE_CHECKING:
    from .snapshot_writer import SnapshotWriter

__all__ = [
    "PROFILE",
    "PROFILE_SERVICE",
    "ProfileView",
    "copy_profile",
    "least_class",
    "profile_view",
    "released",
    "told_of",
]

TOKEN: Final = "customer_token"  # noqa: S105  a column name
PROFILE_SERVICE: Final = "profile_v1"
"""The service of what is told of people beside their behaviour; no model reads it."""
UTC: Final = pa.timestamp("us", "UTC")


@dataclass(frozen=True)
class ProfileView:
    """The columns that are told, and the k that they must keep."""

    columns: tuple[str, ...]
    k: int


def copy_profile(protected: TableStore, writer: SnapshotWriter, as_of: dt.datetime) -> None:
    """Carry the protected profile with its k, dated `as_of`, into a feature snapshot; nothing where there is none."""
    k = least_class(protected)
    if k is None:
        return
    told = protected.read(PROFILE)
    moments = pa.array([as_of] * told.num_rows, UTC)
    dated = told.append_column("event_timestamp", moments).append_column("created_timestamp", moments)
    writer.add(PROFILE, dated.to_batches(), dated.schema, k)


def profile_view(store: TableStore) -> ProfileView | None:
    """What the built profile tells, None where there is none; CheckFailed where its table is below its k."""
    k = least_class(store)
    if k is None:
        return None
    table = store.read(PROFILE)
    view = ProfileView(tuple(name for name in table.column_names if name not in KEYS), k)
    _verify(table, view)
    return view


def released(store: TableStore, unsuppressed: Callable[[pa.Table], pa.Table]) -> tuple[ProfileView | None, pa.Table]:
    """The view, and what may be told of whom: `unsuppressed` rows whose class still has k of them, held to it.

    A table of nobody where nothing is told.
    """
    view = profile_view(store)
    if view is None:
        return None, pa.table({TOKEN: pa.array([], pa.string())})
    rows = unsuppressed(store.read(PROFILE))
    kept = rows.filter(pc.invert(in_small_classes(rows, view.k, view.columns)))
    _verify(kept, view)
    return view, kept


def told_of(rows: pa.Table, people: pa.Table, texts: Iterable[str]) -> pa.Table:
    """`rows` with the `texts` of `people` alone."""
    told = pc.is_in(rows[TOKEN], value_set=people[TOKEN].combine_chunks())
    for name in texts:
        blanked = pc.if_else(told, rows[name], pa.scalar(None, pa.string()))
        rows = rows.set_column(rows.schema.get_field_index(name), name, blanked)
    return rows


def least_class(store: TableStore) -> int | None:
    """The k of what a store tells of people; None where it tells nothing."""
    entry = store.manifest()["tables"].get(PROFILE)
    return None if entry is None else entry.get("k")


def _verify(table: pa.Table, view: ProfileView) -> None:
    try:
        verify(table, quasi_identifiers=view.columns, k=view.k)
    except CheckFailed as error:
        remedy = "run `custos run` on the source again; nothing of the view is served until then"
        raise CheckFailed(f"the view {PROFILE}: {error.what}", remedy=remedy) from None
