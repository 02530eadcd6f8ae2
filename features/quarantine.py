"""Bad rows, kept sealed: whoever holds the root keyring can look at them, nobody else.

One file a dataset and table, replaced by the next ingest; what is pushed goes into pieces beside it. Inside the
ciphertext each row carries its reason and the CMAC index of its person, so that erasing the person finds it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from privacy.errors import EnvironmentFailed
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
PIECE_BYTES: Final = 1_000_000
"""From this size on a piece stays as it is, and what is pushed begins another: a push seals about so much at most."""


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

    def replace(self, dataset: str, rows: Mapping[str, Sequence[pa.Table]]) -> None:
        """Seal the packed rows of each table of `dataset`, in place of all that the last ingest and pushes left."""
        directory = self._root / dataset
        make_private(directory)
        with self._writing():
            whole = {directory / f"{name}{SUFFIX}": parts for name, parts in rows.items() if parts}
            for path, parts in whole.items():
                self._write(path, pa.concat_tables(parts))
            for path in directory.glob(f"*{SUFFIX}"):
                if path not in whole:
                    path.unlink(missing_ok=True)

    def add(self, dataset: str, rows: Mapping[str, Sequence[pa.Table]]) -> None:
        """Seal more packed rows beside those that are there; one that is there already isn't added again."""
        directory = self._root / dataset
        with self._writing():
            for name, parts in rows.items():
                if not parts:
                    continue
                more, path = pa.concat_tables(parts), directory / f"{name}.{secrets.token_hex(8)}{SUFFIX}"
                whole: pa.Table | None = None
                for piece in self._pieces(dataset, name):
                    held = self._read(piece)
                    if held is None:
                        continue
                    more = _unknown(more, held)
                    if piece.stat().st_size < PIECE_BYTES:
                        path, whole = piece, held
                if more.num_rows:
                    self._write(path, more if whole is None else pa.concat_tables([whole, more]))

    def read(self, dataset: str, table: str) -> pa.Table | None:
        """Open the bad rows of one table, or None if there are none."""
        pieces = [rows for path in self._pieces(dataset, table) if (rows := self._read(path)) is not None]
        return pa.concat_tables(pieces) if pieces else None

    def size(self, dataset: str) -> int:
        """Count everybody's bad rows; EnvironmentFailed where all of them are gone, or a file is damaged."""
        directory = self._root / dataset
        if not directory.is_dir():
            raise EnvironmentFailed("the quarantine is gone", where=str(directory))
        return sum(rows.num_rows for path, rows in self._files() if path.parent == directory)

    def _pieces(self, dataset: str, table: str) -> list[Path]:
        """What an ingest left of a table, and the pieces that were pushed since."""
        paths = sorted((self._root / dataset).glob(f"*{SUFFIX}"))
        return [path for path in paths if _table_of(path.name) == table]

    def _of(self, rows: pa.Table, subject: Subject) -> pa.ChunkedArray:
        wanted = pa.array(list(subject.indexes), rows.schema.field(INDEX).type)
        return pc.is_in(rows[INDEX], value_set=wanted)

    def _told(self, name: str, rows: pa.Table) -> list[dict[str, object]]:
        """Rows as they were written, with `custos table` and `custos reason`."""
        return [{TABLE: _table_of(name), **row} for row in rows.drop([INDEX]).to_pylist()]


def _table_of(name: str) -> str:
    return name.partition(".")[0]


def written_ids(bad: pa.RecordBatch, subject: str) -> pa.Array:
    """Return who each row names, as written in the source; null where nothing is written."""
    ids = _text(bad, subject)
    return pc.if_else(pc.equal(pc.binary_length(ids), 0), pa.scalar(None, ids.type), ids)


def _unknown(more: pa.Table, held: pa.Table) -> pa.Table:
    """Those of the rows `more` that `held` lacks; only the rows of the same people are compared."""
    near = held.filter(pc.is_in(held[INDEX], value_set=more[INDEX].combine_chunks()))
    known = set(_told(near.select(more.column_names)))
    return more.filter(pa.array([row not in known for row in _told(more)], pa.bool_()))


def _told(rows: pa.Table) -> Iterator[tuple[object, ...]]:
    return zip(*(column.to_pylist() for column in rows.columns), strict=True)


def _text(bad: pa.RecordBatch, name: str) -> pa.Array:
    column = bad.column(name)
    text = column if pa.types.is_string(column.type) else pc.cast(column, pa.string())
    if name + RAW in bad.schema.names:
        return pc.coalesce(text, bad.column(name + RAW).cast(pa.string()))
    return text
