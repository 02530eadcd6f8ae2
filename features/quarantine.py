"""Bad rows, kept sealed: whoever holds the root keyring can look at them, nobody else.

One file a dataset and table, replaced by the next ingest; what is pushed adds to it. Inside the ciphertext each row
carries its reason and the CMAC index of its person, so that erasing the person finds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from privacy.keyring import Keyring
from privacy.rights import Subject

from .datasets.tables import Table
from .private_files import make_private
from .sealed_tables import SUFFIX, SealedTables
from .source_columns import LOST, RAW

__all__ = ["Quarantine", "written_ids"]

# A descriptor's names hold no space, so none of its columns can be taken for these.
INDEX: Final = "custos subject index"
REASON: Final = "custos reason"
TABLE: Final = "custos table"


class Quarantine(SealedTables):
    """The sealed bad rows of every dataset below `root`; a SubjectStore.

    It finds a person by `subject.indexes` alone, so also one whose rows are all bad and who has no token.
    """

    name = "quarantine"
    bound_to = "quarantine"

    def __init__(self, root: Path, keyring: Keyring) -> None:
        super().__init__(root, keyring.quarantine)
        self._index = keyring.index

    def pack(self, bad: pa.RecordBatch, found: pa.Table, table: Table) -> pa.Table:
        """Return `bad` rows as texts, with the reason that `found` tells of each, and its person index."""
        columns = {name: _text(bad, name) for name in bad.schema.names if not name.endswith((RAW, LOST))}
        if table.subject is None:
            index = pa.nulls(bad.num_rows, pa.binary(16))
        else:
            ids = written_ids(bad, table.subject)
            macs = self._index.of_ids(ids)
            index = pa.array([bytes(mac) for mac in macs], pa.binary(16), mask=ids.is_null().to_numpy(False))
        reasons = pc.binary_join_element_wise(found["column"], found["reason"], ": ")
        return pa.table({**columns, REASON: reasons, INDEX: index})

    def replace(self, dataset: str, rows: dict[str, Sequence[pa.Table]]) -> None:
        """Seal the packed rows of each table of `dataset`, in place of all that the last ingest left."""
        directory = self._root / dataset
        make_private(directory)
        with self._writing():
            for path in directory.glob(f"*{SUFFIX}"):
                if not rows.get(path.name.removesuffix(SUFFIX)):
                    path.unlink(missing_ok=True)
            for name, parts in rows.items():
                if parts:
                    self._write(directory / f"{name}{SUFFIX}", pa.concat_tables(parts))

    def add(self, dataset: str, rows: Mapping[str, Sequence[pa.Table]]) -> None:
        """Seal more packed rows beside those that are there; one that is there already isn't added again."""
        with self._writing():
            for name, parts in rows.items():
                if not parts:
                    continue
                path = self._root / dataset / f"{name}{SUFFIX}"
                more = pa.concat_tables(parts)
                held = self._read(path)
                if held is not None:
                    known = set(_told(held.select(more.column_names)))
                    more = more.filter(pa.array([row not in known for row in _told(more)], pa.bool_()))
                    more = pa.concat_tables([held, more])
                self._write(path, more)

    def read(self, dataset: str, table: str) -> pa.Table | None:
        """Open the bad rows of one table, or None if there are none."""
        return self._read(self._root / dataset / f"{table}{SUFFIX}")

    def _of(self, rows: pa.Table, subject: Subject) -> pa.ChunkedArray:
        wanted = pa.array(list(subject.indexes), rows.schema.field(INDEX).type)
        return pc.is_in(rows[INDEX], value_set=wanted)

    def _told(self, name: str, rows: pa.Table) -> list[dict[str, object]]:
        """Rows as they were written, with `custos table` and `custos reason`."""
        return [{TABLE: name, **row} for row in rows.drop([INDEX]).to_pylist()]


def written_ids(bad: pa.RecordBatch, subject: str) -> pa.Array:
    """Return who each row names, as written in the source; null where nothing is written."""
    ids = _text(bad, subject)
    return pc.if_else(pc.equal(pc.binary_length(ids), 0), pa.scalar(None, ids.type), ids)


def _told(rows: pa.Table) -> Iterator[tuple[object, ...]]:
    return zip(*(column.to_pylist() for column in rows.columns), strict=True)


def _text(bad: pa.RecordBatch, name: str) -> pa.Array:
    column = bad.column(name)
    text = column if pa.types.is_string(column.type) else pc.cast(column, pa.string())
    if name + RAW in bad.schema.names:
        return pc.coalesce(text, bad.column(name + RAW).cast(pa.string()))
    return text
