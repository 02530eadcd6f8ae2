"""Who bought marked lines on which days, kept sealed so that a gate can try to find it out from what is published.

One file a dataset, under a key of its own that only the root keyring has, replaced by the next ingest. It holds a row a
marked basket: attribute, person, day; nothing of the products. What is read from it are answers at chosen moments.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from privacy.errors import EnvironmentFailed
from privacy.keyring import Keyring
from privacy.rights import Subject

from .sealed_tables import RESTORE, SUFFIX, SealedTables

__all__ = ["InferenceFlags"]

TOKEN: Final = "customer_token"  # noqa: S105 - a column name
SCHEMA: Final = pa.schema([("attribute", pa.string()), (TOKEN, pa.string()), ("date", pa.date32())])


class InferenceFlags(SealedTables):
    """The sealed flags of every dataset below `root`; a SubjectStore."""

    name = "inference flags"
    bound_to = "inference"
    keeps_empty = True  # nobody flagged is not the same as nothing known

    def __init__(self, root: Path, keyring: Keyring) -> None:
        super().__init__(root, keyring.inference)

    def place(self, dataset: str) -> Path:
        """Where the flags of a dataset are kept."""
        return self._root / f"{dataset}{SUFFIX}"

    def replace(self, dataset: str, marked: Sequence[pa.Table]) -> None:
        """Seal the baskets among `marked` lines, in place of what the last ingest left; none is a file too.

        Lines are as `ProtectReport.flags` tells them; an order's lines of one day and attribute are one basket.
        """
        with self._writing():
            self._write(self.place(dataset), _baskets(marked))

    def add(self, dataset: str, marked: Sequence[pa.Table]) -> None:
        """Seal the baskets among more `marked` lines; a person has one a day and attribute of those that are added."""
        if not marked:
            return
        with self._writing():
            held = self._whole(dataset)
            fresh = _baskets(marked)
            fresh = fresh.group_by(fresh.column_names, use_threads=False).aggregate([])
            new = fresh.join(held, SCHEMA.names, join_type="left anti", use_threads=False).select(SCHEMA.names)
            self._write(self.place(dataset), pa.concat_tables([held, new.cast(SCHEMA)]))

    def held_at(self, dataset: str, attribute: str, moment: dt.datetime, *, days: int, baskets: int) -> set[str]:
        """Return who had at least so many marked baskets in the `days` before `moment`: tokens of the feature store.

        Raises EnvironmentFailed where the file is gone or damaged.
        """
        rows = self._whole(dataset)
        last = moment.astimezone(dt.UTC).date()
        recent = rows.filter(
            (pc.field("attribute") == attribute)
            & (pc.field("date") < pa.scalar(last, pa.date32()))
            & (pc.field("date") >= pa.scalar(last - dt.timedelta(days=days), pa.date32()))
        )
        counts = recent.group_by(TOKEN).aggregate([([], "count_all")])
        return set(counts.filter(pc.field("count_all") >= baskets)[TOKEN].to_pylist())

    def size(self, dataset: str) -> int:
        """Count everybody's marked baskets; EnvironmentFailed where the file is gone or damaged."""
        return self._whole(dataset).num_rows

    def _whole(self, dataset: str) -> pa.Table:
        path = self.place(dataset)
        rows = self._read(path)
        if rows is None:
            raise EnvironmentFailed("the inference flags are gone", where=str(path), remedy=RESTORE)
        return rows

    def _of(self, rows: pa.Table, subject: Subject) -> pa.ChunkedArray:
        return pc.is_in(rows[TOKEN], value_set=pa.array(list(subject.tokens), pa.string()))

    def _told(self, name: str, rows: pa.Table) -> list[dict[str, object]]:
        """What the person must not be known for, and when."""
        return [
            {"dataset": name, "attribute": row["attribute"], "date": row["date"].isoformat()}
            for row in rows.to_pylist()
        ]


def _baskets(marked: Sequence[pa.Table]) -> pa.Table:
    if not marked:
        return SCHEMA.empty_table()
    lines = pa.concat_tables(marked)
    baskets = lines.group_by(lines.column_names).aggregate([])
    ordered = baskets.sort_by([("attribute", "ascending"), (TOKEN, "ascending"), ("date", "ascending")])
    return ordered.select(SCHEMA.names).cast(SCHEMA)
