"""The one writer of a table store: tables into a folder beside, bucket by bucket, visible only once committed."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from privacy.durable import write_beside

from .buckets import (
    TOKEN,
    Fingerprint,
    bucket_of,
    bucket_of_file,
    read_parquet,
    select,
    write_parquet,
)
from .manifest import MANIFEST
from .private_files import make_private
from .small_classes import in_small_classes
from .table_writer import TableWriter, entry_of

if TYPE_CHECKING:
    from .storage import TableStore

__all__ = ["SnapshotWriter"]


class SnapshotWriter:
    """Collects the tables of one snapshot; nothing is visible before `commit`."""

    def __init__(self, store: TableStore, part: Path, publish: Callable[[Path], str]) -> None:
        self._store, self._part, self._publish = store, part, publish
        self._tables: dict[str, dict[str, Any]] = {}

    @contextmanager
    def adding(self, table: str, schema: pa.Schema | None = None, k: int | None = None) -> Iterator[TableWriter]:
        """Open `table` to write batches to; it is part of the snapshot once the block ends well.

        `schema` is needed only where there may be no batch at all; `k` is what classes of the rows keep for good.
        """
        rows = TableWriter(self._part / table, schema)
        yield rows
        self._tables[table] = {**rows.finish(), "k": k}

    def add(
        self, table: str, batches: Iterable[pa.RecordBatch], schema: pa.Schema | None = None, k: int | None = None
    ) -> int:
        """Write `batches` as `table`; return the rows. See `adding`."""
        with self.adding(table, schema, k) as rows:
            for batch in batches:
                rows.write(batch)
        return int(self._tables[table]["rows"])

    def copy_without(self, table: str, entry: Mapping[str, Any], tokens: Sequence[str]) -> int:
        """Carry `table` over from the published snapshot without one person's rows; return how many rows went.

        Where the table keeps a k, whoever is left in a class of fewer goes too.
        """
        source, target = self._store.directory() / table, self._part / table
        make_private(target)
        if entry.get("k") is not None:
            tokens = [*tokens, *_left_too_few(source, entry, tokens)]
        fingerprint, files, mine = Fingerprint(entry["rows"], entry["total"]), list[str](), list[pa.Table]()
        buckets = {bucket_of(token, entry["buckets"]) for token in tokens} if entry["keyed"] else set()
        for name in entry["files"]:
            found = select(source / name, tokens) if bucket_of_file(name) in buckets else None
            if found is None or not found.num_rows:
                os.link(source / name, target / name)
                files.append(name)
                continue
            mine.append(found)
            rest = read_parquet(source / name)
            fresh = f"{bucket_of_file(name):03d}-{secrets.token_hex(8)}.parquet"
            write_parquet(target / fresh, rest.filter(pc.invert(pc.is_in(rest[TOKEN], pa.array(tokens, pa.string())))))
            files.append(fresh)
        if mine:
            fingerprint.remove(pa.concat_tables(mine))
        told = entry_of(fingerprint, files, entry["buckets"], keyed=entry["keyed"])
        self._tables[table] = {**told, "k": entry.get("k")}
        return entry["rows"] - fingerprint.rows

    def commit(self, notes: Mapping[str, Any], before: Callable[[], None] | None = None) -> str:
        """Publish the snapshot with `notes` (JSON values) in its manifest; return its name.

        `before` is called when only the publishing rename is left to do.
        """
        write_beside(
            self._part / MANIFEST,
            json.dumps({**notes, "tables": self._tables}, indent=1, sort_keys=True).encode(),
        )
        if before is not None:
            before()
        return self._publish(self._part)

    def files_of(self, table: str) -> list[Path]:
        """List the files of a table already written, where they are before `commit`."""
        return [self._part / table / name for name in self._tables[table]["files"]]

    def digest_of(self, table: str) -> str:
        """Return the digest of a table already written."""
        return self._tables[table]["digest"]


def _left_too_few(source: Path, entry: Mapping[str, Any], tokens: Sequence[str]) -> list[str]:
    """The tokens of those whose class has fewer than k people without `tokens`."""
    rows = pa.concat_tables([read_parquet(source / name) for name in entry["files"]])
    rest = rows.filter(pc.invert(pc.is_in(rows[TOKEN], pa.array(tokens, pa.string()))))
    return rest.filter(in_small_classes(rest, entry["k"]))[TOKEN].to_pylist()
