"""Bad rows, kept sealed: whoever holds the root keyring can look at them, nobody else.

One file a dataset and table, replaced by the next ingest. Inside the ciphertext each row carries its
reason and the CMAC index of its person, so that erasing the person finds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from privacy.durable import locked, read_bytes, write_beside
from privacy.errors import CheckFailed, EnvironmentFailed
from privacy.keyring import Keyring
from privacy.rights import Subject

from .datasets.tables import Table
from .private_files import make_private
from .sources import RAW

__all__ = ["Quarantine", "written_ids"]

SUFFIX: Final = ".sealed"
# A descriptor's names hold no space, so none of its columns can be taken for these.
INDEX: Final = "custos subject index"
REASON: Final = "custos reason"
TABLE: Final = "custos table"


class Quarantine:
    """The sealed bad rows of every dataset below `root`; a SubjectStore.

    It finds a person by `subject.indexes` alone, so also one whose rows are all bad and who has no token.
    """

    def __init__(self, root: Path, keyring: Keyring) -> None:
        self._root, self._keyring = root, keyring

    @property
    def name(self) -> str:
        """What a receipt calls this store."""
        return "quarantine"

    def pack(self, batch: pa.RecordBatch, found: pa.Table, table: Table) -> pa.Table:
        """Take the rows `found` out of `batch` as texts, with reason and person index."""
        bad = batch.take(found["row"].combine_chunks())
        columns = {name: _text(bad, name) for name in batch.schema.names if not name.endswith(RAW)}
        if table.subject is None:
            index = pa.nulls(bad.num_rows, pa.binary(16))
        else:
            ids = written_ids(bad, table.subject)
            macs = self._keyring.index.of_ids(ids)
            index = pa.array([bytes(mac) for mac in macs], pa.binary(16), mask=ids.is_null().to_numpy(False))
        reasons = pc.binary_join_element_wise(found["column"], found["reason"], ": ")
        return pa.table({**columns, REASON: reasons, INDEX: index})

    def replace(self, dataset: str, rows: dict[str, Sequence[pa.Table]]) -> None:
        """Seal the packed rows of each table of `dataset`, in place of all that the last ingest left."""
        directory = self._root / dataset
        make_private(directory)
        with locked(self._root / ".lock"):
            self._sweep()
            for path in directory.glob(f"*{SUFFIX}"):
                if not rows.get(path.name.removesuffix(SUFFIX)):
                    path.unlink(missing_ok=True)
            for name, parts in rows.items():
                if parts:
                    self._write(directory / f"{name}{SUFFIX}", pa.concat_tables(parts))

    def read(self, dataset: str, table: str) -> pa.Table | None:
        """Open the bad rows of one table, or None if there are none."""
        return self._read(self._root / dataset / f"{table}{SUFFIX}")

    def count(self, subject: Subject) -> int:
        """Count the person's bad rows."""
        return sum(pc.sum(_of(rows, subject)).as_py() or 0 for _, rows in self._files())

    def export(self, subject: Subject) -> list[dict[str, object]]:
        """List the person's bad rows as they were written, with `custos table` and `custos reason`."""
        return [
            {TABLE: path.name.removesuffix(SUFFIX), **row}
            for path, rows in self._files()
            for row in rows.filter(_of(rows, subject)).drop([INDEX]).to_pylist()
        ]

    def erase(self, subject: Subject) -> int:
        """Take the person's rows out of every file; return how many went."""
        gone = 0
        if not self._root.exists():
            return gone
        with locked(self._root / ".lock"):
            self._sweep()
            for path, rows in self._files():
                mine = _of(rows, subject)
                found = pc.sum(mine).as_py() or 0
                gone += found
                if found == rows.num_rows:
                    path.unlink()
                elif found:
                    self._write(path, rows.filter(pc.invert(mine)))
        return gone

    def verify(self, subject: Subject) -> int:
        """Count what remains of the person."""
        return self.count(subject)

    def _sweep(self) -> None:
        """Remove what killed writers left beside the files; nobody is writing them meanwhile."""
        for stale in self._root.glob("*/.*.tmp"):
            stale.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[Path, pa.Table]]:
        for path in sorted(self._root.glob(f"*/*{SUFFIX}")):
            rows = self._read(path)
            if rows is not None:
                yield path, rows

    def _context(self, path: Path) -> bytes:
        return f"quarantine/{path.parent.name}/{path.name}".encode()

    def _write(self, path: Path, rows: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows)
        sealed = self._keyring.quarantine.seal(sink.getvalue().to_pybytes(), self._context(path))
        write_beside(path, sealed)

    def _read(self, path: Path) -> pa.Table | None:
        sealed = read_bytes(path, "the quarantine")
        if sealed is None:
            return None
        try:
            opened = self._keyring.quarantine.open(sealed, self._context(path))
            return pa.ipc.open_stream(opened).read_all()
        except (CheckFailed, pa.ArrowException, OSError):
            remedy = "restore it, or run `custos run` on the source again, which writes it anew"
            raise EnvironmentFailed("the quarantine is damaged", where=str(path), remedy=remedy) from None


def written_ids(bad: pa.RecordBatch, subject: str) -> pa.Array:
    """Return who each row names, as written in the source; null where nothing is written."""
    ids = _text(bad, subject)
    return pc.if_else(pc.equal(pc.binary_length(ids), 0), pa.scalar(None, ids.type), ids)


def _text(bad: pa.RecordBatch, name: str) -> pa.Array:
    column = bad.column(name)
    text = column if pa.types.is_string(column.type) else pc.cast(column, pa.string())
    if name + RAW in bad.schema.names:
        return pc.coalesce(text, bad.column(name + RAW).cast(pa.string()))
    return text


def _of(rows: pa.Table, subject: Subject) -> pa.ChunkedArray:
    wanted = pa.array(list(subject.indexes), rows.schema.field(INDEX).type)
    return pc.is_in(rows[INDEX], value_set=wanted)
