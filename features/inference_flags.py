"""Who bought marked lines on which days, kept sealed so that a gate can try to find it out from what is published.

One file a dataset, under a key of its own that only the root keyring has, replaced by the next ingest. It holds a row a
marked basket: attribute, person, day; nothing of the products. What is read from it are answers at chosen moments.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from privacy.durable import locked, read_bytes, write_beside
from privacy.errors import CheckFailed, EnvironmentFailed
from privacy.keyring import Keyring
from privacy.rights import Subject

from .private_files import make_private

__all__ = ["InferenceFlags"]

SUFFIX: Final = ".sealed"
REMEDY: Final = "restore them, or run `custos run` on the source again, which writes them anew"
TOKEN: Final = "customer_token"  # noqa: S105 - a column name
SCHEMA: Final = pa.schema([("attribute", pa.string()), (TOKEN, pa.string()), ("date", pa.date32())])


class InferenceFlags:
    """The sealed flags of every dataset below `root`; a SubjectStore."""

    def __init__(self, root: Path, keyring: Keyring) -> None:
        self._root, self._keyring = root, keyring

    @property
    def name(self) -> str:
        """What a receipt calls this store."""
        return "inference flags"

    def place(self, dataset: str) -> Path:
        """Where the flags of a dataset are kept."""
        return self._root / f"{dataset}{SUFFIX}"

    def replace(self, dataset: str, marked: Sequence[pa.Table]) -> None:
        """Seal the baskets among `marked` lines, in place of what the last ingest left; none is a file too.

        Lines are as `ProtectReport.flags` tells them; an order's lines of one day and attribute are one basket.
        """
        make_private(self._root)
        with locked(self._root / ".lock"):
            self._sweep()
            self._write(self.place(dataset), _baskets(marked))

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

    def count(self, subject: Subject) -> int:
        """Count the person's marked baskets."""
        return sum(pc.sum(_of(rows, subject)).as_py() or 0 for _, rows in self._files())

    def export(self, subject: Subject) -> list[dict[str, object]]:
        """List the person's marked baskets: what they must not be known for, and when."""
        return [
            {"attribute": row["attribute"], "date": row["date"].isoformat()}
            for _, rows in self._files()
            for row in rows.filter(_of(rows, subject)).to_pylist()
        ]

    def erase(self, subject: Subject) -> int:
        """Take the person's baskets out of every file; return how many went."""
        gone = 0
        if not self._root.exists():
            return gone
        with locked(self._root / ".lock"):
            self._sweep()
            for path, rows in self._files():
                mine = _of(rows, subject)
                found = pc.sum(mine).as_py() or 0
                gone += found
                if found:  # an empty file stays: nobody flagged is not the same as nothing known
                    self._write(path, rows.filter(pc.invert(mine)))
        return gone

    def verify(self, subject: Subject) -> int:
        """Count what remains of the person."""
        return self.count(subject)

    def _whole(self, dataset: str) -> pa.Table:
        path = self.place(dataset)
        rows = self._read(path)
        if rows is None:
            raise EnvironmentFailed("the inference flags are gone", where=str(path), remedy=REMEDY)
        return rows

    def _sweep(self) -> None:
        """Remove what killed writers left beside the files; nobody is writing them meanwhile."""
        for stale in self._root.glob(".*.tmp"):
            stale.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[Path, pa.Table]]:
        for path in sorted(self._root.glob(f"*{SUFFIX}")):
            rows = self._read(path)
            if rows is not None:
                yield path, rows

    def _write(self, path: Path, rows: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows)
        write_beside(path, self._keyring.inference.seal(sink.getvalue().to_pybytes(), _context(path)))

    def _read(self, path: Path) -> pa.Table | None:
        sealed = read_bytes(path, "the inference flags")
        if sealed is None:
            return None
        try:
            return pa.ipc.open_stream(self._keyring.inference.open(sealed, _context(path))).read_all()
        except (CheckFailed, pa.ArrowException, OSError):
            raise EnvironmentFailed("the inference flags are damaged", where=str(path), remedy=REMEDY) from None


def _baskets(marked: Sequence[pa.Table]) -> pa.Table:
    if not marked:
        return SCHEMA.empty_table()
    lines = pa.concat_tables(marked)
    baskets = lines.group_by(lines.column_names).aggregate([])
    ordered = baskets.sort_by([("attribute", "ascending"), (TOKEN, "ascending"), ("date", "ascending")])
    return ordered.select(SCHEMA.names).cast(SCHEMA)


def _context(path: Path) -> bytes:
    return f"inference/{path.name}".encode()


def _of(rows: pa.Table, subject: Subject) -> pa.ChunkedArray:
    return pc.is_in(rows[TOKEN], value_set=pa.array(list(subject.tokens), pa.string()))
