"""What is told of people beside their behaviour: the generalised table, held to its k wherever it goes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from privacy.anonymity_check import verify
from privacy.errors import CheckFailed
from privacy.profile import PROFILE

from .storage import TableStore

if TYPE_CHECKING:
    from .snapshot_writer import SnapshotWriter

__all__ = [
    "PROFILE",
    "PROFILE_SERVICE",
    "ProfileView",
    "copy_profile",
    "profile_view",
    "releasable",
    "without_small_classes",
]

TOKEN: Final = "customer_token"  # noqa: S105  a column name
K: Final = "profile_k"
PROFILE_SERVICE: Final = "profile_v1"
"""The service of what is told of people beside their behaviour; no model reads it."""
UTC: Final = pa.timestamp("us", "UTC")
_KEYS: Final = (TOKEN, "event_timestamp", "created_timestamp")


@dataclass(frozen=True)
class ProfileView:
    """The columns that are told, and the k that they must keep."""

    columns: tuple[str, ...]
    k: int


def copy_profile(protected: TableStore, writer: SnapshotWriter, k: int | None, as_of: dt.datetime) -> int | None:
    """Carry the protected profile, dated `as_of`, into a feature snapshot; the k it must keep, None without one.

    Classes that erasures have made smaller than k since are left out.
    """
    if k is None or PROFILE not in protected.manifest()["tables"]:
        return None
    told = protected.read(PROFILE)
    if protected.manifest()["digest"] is None:
        told = _large_classes(told, k)
    moments = pa.array([as_of] * told.num_rows, UTC)
    dated = told.append_column("event_timestamp", moments).append_column("created_timestamp", moments)
    writer.add(PROFILE, dated.to_batches(), dated.schema)
    return k


def profile_view(store: TableStore) -> ProfileView | None:
    """What the built profile tells, None where there is none; CheckFailed where its table is below its k.

    An erasure since the build may have made classes smaller; whoever serves the table leaves these out (`releasable`).
    """
    notes = store.manifest()
    if PROFILE not in notes["tables"] or notes.get(K) is None:
        return None
    table = store.read(PROFILE)
    view = ProfileView(tuple(name for name in table.column_names if name not in _KEYS), int(notes[K]))
    if notes["digest"] is not None:
        _verify(table, view)
    return view


def releasable(rows: pa.Table, view: ProfileView) -> pa.Table:
    """Those of `rows` whose class still has k of them, once the suppressed are out; checked by a group-by."""
    kept = _large_classes(rows, view.k, view.columns)
    _verify(kept, view)
    return kept


def without_small_classes(rows: pa.Table, store: TableStore, texts: Iterable[str]) -> pa.Table:
    """Blank the `texts` of people whose class an erasure since the build has left with fewer than k."""
    view = profile_view(store)
    if view is None or store.manifest()["digest"] is not None:
        return rows
    large = pc.is_in(rows[TOKEN], value_set=releasable(store.read(PROFILE), view)[TOKEN].combine_chunks())
    for name in texts:
        told = pc.if_else(large, rows[name], pa.scalar(None, pa.string()))
        rows = rows.set_column(rows.schema.get_field_index(name), name, told)
    return rows


def _verify(table: pa.Table, view: ProfileView) -> None:
    try:
        verify(table, quasi_identifiers=view.columns, k=view.k)
    except CheckFailed as error:
        remedy = "run `custos run` on the source again; nothing of the view is served until then"
        raise CheckFailed(f"the view {PROFILE}: {error.what}", remedy=remedy) from None


def _large_classes(rows: pa.Table, k: int, columns: Sequence[str] | None = None) -> pa.Table:
    names = [name for name in rows.column_names if name not in _KEYS] if columns is None else list(columns)
    sizes = rows.group_by(names).aggregate([([], "count_all")])
    large = sizes.filter(pc.greater_equal(sizes["count_all"], k)).select(names)
    return rows.join(large, names, join_type="left semi").select(rows.column_names).sort_by(TOKEN)
