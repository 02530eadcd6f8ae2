"""The one writer of a snapshot: tables written, carried over, amended or freed of a person, then published."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from privacy.durable import write_beside

from .buckets import (
    STREAMED_BUCKETS,
    TOKEN,
    Fingerprint,
    bucket_count,
    bucket_of,
    bucket_of_file,
    fingerprint_files,
    places_of,
    read_files,
    read_parquet,
    select,
    write_buckets,
    write_parquet,
)
from .manifest import MANIFEST
from .private_files import make_private
from .small_classes import in_small_classes
from .table_writer import TableWriter, entry_of

if TYPE_CHECKING:
    from .storage import TableStore

__all__ = ["MOST_FILES", "SnapshotWriter"]

MOST_FILES: Final = 8
"""A bucket with so many files gets its smallest joined to the next one that is added."""
_AT_ONCE: Final = 131_072


class SnapshotWriter:
    """Collects the tables of one snapshot; nothing is visible before `commit`."""

    def __init__(self, store: TableStore, part: Path, publish: Callable[[Path], str]) -> None:
        self._store, self._part, self._publish = store, part, publish
        self._tables: dict[str, dict[str, Any]] = {}

    @contextmanager
    def adding(self, table: str, schema: pa.Schema | None = None, k: int | None = None) -> Iterator[TableWriter]:
        """Open `table` to write batches to; it is part of the snapshot once the block ends well.

        A table that the snapshot has already gets them in files of their own. `schema` is needed only where there may
        be no batch at all; `k` is what classes of the rows of a new table keep for good.
        """
        held = self._tables.get(table)
        rows = TableWriter(self._part / table, schema, held)
        yield rows
        self._tables[table] = {**rows.finish(), "k": k if held is None else held["k"]}

    def add(
        self, table: str, batches: Iterable[pa.RecordBatch], schema: pa.Schema | None = None, k: int | None = None
    ) -> int:
        """Write `batches` as `table`; return the rows that it has. See `adding`."""
        with self.adding(table, schema, k) as rows:
            for batch in batches:
                rows.write(batch)
        return self.rows_of(table)

    def carry(self, table: str, entry: Mapping[str, Any], where: pc.Expression | None = None) -> int:
        """Carry `table` over from the published snapshot, or its rows that fulfil `where`; return the rows.

        A file that is kept whole is a hard link, of another what is kept is written anew.
        """
        source, target = self._store.directory() / table, self._part / table
        make_private(target)
        fingerprint, files, linked = Fingerprint(entry["rows"], entry["total"]), list[str](), 0
        for name in entry["files"]:
            rows = pq.read_metadata(source / name).num_rows
            kept = rows if where is None else read_parquet(source / name, [TOKEN], where).num_rows
            if kept == rows:
                os.link(source / name, target / name)
                files.append(name)
                linked += 1
            elif kept:
                files.append(_beside(target, name, read_parquet(source / name, filters=where)))
        if not files:
            files = write_buckets(target, pq.read_schema(source / entry["files"][0]).empty_table(), 1)
        if linked < len(entry["files"]):
            fingerprint = fingerprint_files(target, files)
        self._note(table, fingerprint, files, entry)
        return fingerprint.rows

    def amend(
        self, table: str, entry: Mapping[str, Any], fresh: pa.Table, before: pa.Table, gone: pc.Expression | None = None
    ) -> int:
        """Carry `table` over with the `fresh` rows of some people, in files of their own; return the rows.

        `before` are all rows that these people have; those that fulfil `gone` are left out. Where a bucket has many
        files, its small ones are joined to the new one; where the table has outgrown its buckets, it is written anew.
        """
        source, target, buckets = self._store.directory() / table, self._part / table, int(entry["buckets"])
        people = pc.unique(pa.concat_tables([before.select([TOKEN]), fresh.select([TOKEN])])[TOKEN])
        leaving = None if gone is None else gone & pc.field(TOKEN).isin(people)
        if min(bucket_count(entry["rows"] + fresh.num_rows), STREAMED_BUCKETS) > buckets:
            rows = _streamed([source / name for name in entry["files"]], leaving, fresh)
            return self.add(table, rows, k=entry.get("k"))
        make_private(target)
        touched = {bucket_of(token, buckets) for token in people.to_pylist()}
        files = []
        for name in entry["files"]:
            if leaving is None or bucket_of_file(name) not in touched or not _any(source / name, leaving):
                os.link(source / name, target / name)
                files.append(name)
            else:
                files.append(_beside(target, name, read_parquet(source / name, filters=~leaving)))
        fingerprint = Fingerprint(entry["rows"], entry["total"])
        fingerprint.remove(before)
        rest = before if gone is None else before.filter(~gone)
        fingerprint.add(pa.concat_tables([rest, fresh], promote_options="default"))
        files = _joined(target, files, fresh, buckets) if fresh.num_rows else files
        self._note(table, fingerprint, files, entry)
        return fingerprint.rows

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
            files.append(_beside(target, name, rest.filter(_not_of(rest, tokens))))
        if mine:
            fingerprint.remove(pa.concat_tables(mine, promote_options="default"))
        self._note(table, fingerprint, files, entry)
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

    def rows_of(self, table: str) -> int:
        """Count the rows of a table already written."""
        return int(self._tables[table]["rows"])

    def digest_of(self, table: str) -> str:
        """Return the digest of a table already written."""
        return self._tables[table]["digest"]

    def _note(self, table: str, fingerprint: Fingerprint, files: Sequence[str], entry: Mapping[str, Any]) -> None:
        """Take a table in that is told by `entry` but for its rows."""
        told = entry_of(fingerprint, files, entry["buckets"], keyed=entry["keyed"])
        self._tables[table] = {**told, "k": entry.get("k")}


def _any(file: Path, where: pc.Expression) -> bool:
    return read_parquet(file, [TOKEN], where).num_rows > 0


def _beside(target: Path, name: str, rows: pa.Table) -> str:
    """Write what is left of a file under a name of its own, in the same bucket; return the name."""
    fresh = f"{bucket_of_file(name):03d}-{secrets.token_hex(8)}.parquet"
    write_parquet(target / fresh, rows)
    return fresh


def _joined(target: Path, files: list[str], fresh: pa.Table, buckets: int) -> list[str]:
    """Write `fresh` beside the `files`, together with the small ones of a bucket that has many; return all files.

    Files are joined smallest first while none is more than twice what is joined so far: each row is written a few
    times at most, however small the increments, and a bucket has few files, however many they were.
    """
    places, small = places_of(fresh[TOKEN], buckets), list[str]()
    for bucket in set(places.tolist()):
        names = [name for name in files if bucket_of_file(name) == bucket]
        if len(names) < MOST_FILES:
            continue
        total = int((places == bucket).sum())
        for rows, name in sorted((pq.read_metadata(target / name).num_rows, name) for name in names):
            if rows > 2 * total:
                break
            small.append(name)
            total += rows
    if small:
        fresh = pa.concat_tables([read_files([target / name for name in small]), fresh], promote_options="default")
        for name in small:
            (target / name).unlink()
    return [*(name for name in files if name not in small), *write_buckets(target, fresh, buckets)]


def _streamed(files: Sequence[Path], leaving: pc.Expression | None, fresh: pa.Table) -> Iterator[pa.RecordBatch]:
    """The rows of `files` that don't leave, then the `fresh` ones, all with the same columns."""
    empty = pa.unify_schemas([*(pq.read_schema(file) for file in files), fresh.schema]).empty_table()
    for file in files:
        with pq.ParquetFile(file, page_checksum_verification=True) as opened:
            for batch in opened.iter_batches(_AT_ONCE):
                part = pa.Table.from_batches([batch])
                part = part if leaving is None else part.filter(~leaving)
                yield from pa.concat_tables([empty, part], promote_options="default").to_batches()
    yield from pa.concat_tables([empty, fresh], promote_options="default").to_batches()


def _left_too_few(source: Path, entry: Mapping[str, Any], tokens: Sequence[str]) -> list[str]:
    """The tokens of those whose class has fewer than k people without `tokens`."""
    rows = pa.concat_tables([read_parquet(source / name) for name in entry["files"]])
    rest = rows.filter(_not_of(rows, tokens))
    return rest.filter(in_small_classes(rest, entry["k"]))[TOKEN].to_pylist()


def _not_of(rows: pa.Table, tokens: Sequence[str]) -> pa.ChunkedArray:
    return pc.invert(pc.is_in(rows[TOKEN], pa.array(tokens, pa.string())))
