"""Tables as immutable snapshots: written beside, published by one rename, erased bucket by bucket.

    root/current -> snapshots/00000007        root/snapshots/00000007/manifest.json
                                              root/snapshots/00000007/TABLE/000-1a2b.parquet

A reader resolves `current` once and sees one snapshot whole. Files that don't change are hard links.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from privacy.durable import locked, write_beside
from privacy.errors import BadInput, EnvironmentFailed
from privacy.rights import Subject

from .buckets import BUCKET_ROWS, MOST_BUCKETS, TOKEN, Fingerprint, bucket_count, bucket_of, write_buckets
from .buckets import write_parquet as write_file

__all__ = ["SnapshotWriter", "TableStore"]

MANIFEST: Final = "manifest.json"
PART: Final = ".part-"


class TableStore:
    """The tables below one directory; as a SubjectStore it counts, exports and erases one person.

    `name` is what a receipt calls it.
    """

    def __init__(self, root: Path, name: str = "tables") -> None:
        self._root, self._name = root, name

    @property
    def name(self) -> str:
        """What a receipt calls this store."""
        return self._name

    @property
    def root(self) -> Path:
        """The directory that holds `current` and `snapshots`."""
        return self._root

    def snapshot(self) -> str | None:
        """Name the published snapshot, or None before the first."""
        try:
            return (self._root / "current").readlink().name
        except FileNotFoundError:
            return None

    def directory(self) -> Path:
        """Return the published snapshot's directory; BadInput before the first."""
        snapshot = self.snapshot()
        if snapshot is None:
            raise BadInput(f"there are no {self._name} yet", remedy="run the stage that writes them first")
        return self._root / "snapshots" / snapshot

    def manifest(self) -> dict[str, Any]:
        """Return what the writer noted, with rows, digest and files by table."""
        return _manifest(self.directory())

    def tables(self) -> list[str]:
        """List the tables of the published snapshot."""
        return sorted(self.manifest()["tables"])

    def files(self, table: str) -> list[Path]:
        """List the parquet files of `table`; BadInput if the snapshot has no such table."""
        directory = self.directory()
        known = _manifest(directory)["tables"]
        if table not in known:
            raise BadInput(f"there is no table '{table}' among the {self._name}")
        return [directory / table / name for name in known[table]["files"]]

    def read(self, table: str, columns: Sequence[str] | None = None, where: pc.Expression | None = None) -> pa.Table:
        """Read `table`, or those of its rows that fulfil `where`."""
        parts = [pq.read_table(file, columns=columns, filters=where, partitioning=None) for file in self.files(table)]
        return pa.concat_tables(parts)

    @contextmanager
    def writer(self) -> Iterator[SnapshotWriter]:
        """Open the one writer; what it wrote is dropped unless it commits before the end."""
        with locked(self._root / ".lock"):
            self._sweep(keep_previous=True)
            part = self._root / "snapshots" / f"{PART}{secrets.token_hex(6)}"
            try:
                part.mkdir(parents=True)
            except OSError as error:
                raise EnvironmentFailed(f"cannot write: {error.strerror}", where=str(self._root)) from None
            writer = SnapshotWriter(self, part)
            try:
                yield writer
            finally:
                shutil.rmtree(part, ignore_errors=True)

    def count(self, subject: Subject) -> int:
        """Count the person's rows in the published snapshot."""
        return sum(table.num_rows for _, table in self._rows_of(subject.token))

    def export(self, subject: Subject) -> list[dict[str, object]]:
        """List the person's rows, each with its table's name and without tokens."""
        return [
            {"table": name, **{key: _plain(value) for key, value in row.items() if not key.endswith("_token")}}
            for name, table in self._rows_of(subject.token)
            for row in table.to_pylist()
        ]

    def erase(self, subject: Subject) -> int:
        """Drop the person's rows and every older snapshot; return how many rows went."""
        if self.snapshot() is None:
            with locked(self._root / ".lock"):
                self._sweep(keep_previous=False)
            return 0
        with self.writer() as writer:
            directory, gone = self.directory(), 0
            for name, entry in _manifest(directory)["tables"].items():
                gone += writer.copy_without(name, entry, subject.token)
            if gone:
                writer.commit({k: v for k, v in _manifest(directory).items() if k != "tables"})
            self._sweep(keep_previous=False)
        return gone

    def verify(self, subject: Subject) -> int:
        """Count what remains of the person on disk, in any snapshot, published or not."""
        files = (self._root / "snapshots").rglob("*.parquet") if self._root.exists() else ()
        return sum(_select(file, subject.token).num_rows for file in files if _has_token(file))

    def _rows_of(self, token: str) -> Iterator[tuple[str, pa.Table]]:
        if self.snapshot() is None:
            return
        directory = self.directory()
        for name, entry in _manifest(directory)["tables"].items():
            for file in entry["files"]:
                if entry["keyed"] and _bucket(file) == bucket_of(token, entry["buckets"]):
                    yield name, _select(directory / name / file, token)

    def _publish(self, part: Path) -> str:
        snapshots = self._root / "snapshots"
        numbers = [int(item.name) for item in snapshots.iterdir() if item.name.isdigit()]
        name = f"{max(numbers, default=0) + 1:08d}"
        link = self._root / f"{PART}{secrets.token_hex(6)}"
        try:
            part.rename(snapshots / name)
            _sync(snapshots)
            link.symlink_to(Path("snapshots") / name)
            link.replace(self._root / "current")
            _sync(self._root)
        except OSError as error:
            raise EnvironmentFailed(f"cannot publish: {error.strerror}", where=str(self._root)) from None
        self._sweep(keep_previous=True)
        return name

    def _sweep(self, *, keep_previous: bool) -> None:
        """Remove what nobody can be reading: parts of killed writers, and snapshots before the last two."""
        for stale in self._root.glob(f"{PART}*"):
            stale.unlink(missing_ok=True)
        snapshots = self._root / "snapshots"
        if not snapshots.exists():
            return
        current = self.snapshot()
        names = sorted(item.name for item in snapshots.iterdir() if item.name.isdigit())
        kept = {current}
        if keep_previous and current is not None:
            kept |= set([name for name in names if name < current][-1:])
        for item in snapshots.iterdir():
            if item.name not in kept:
                shutil.rmtree(item, ignore_errors=True)


class SnapshotWriter:
    """Collects the tables of one snapshot; nothing is visible before `commit`."""

    def __init__(self, store: TableStore, part: Path) -> None:
        self._store, self._part = store, part
        self._tables: dict[str, dict[str, Any]] = {}

    def add(self, table: str, batches: Iterable[pa.RecordBatch], schema: pa.Schema | None = None) -> int:
        """Write `batches` as `table`, sorted by token in runs of bounded size; return the rows.

        `schema` is needed only where there may be no batch at all.
        """
        (self._part / table).mkdir()
        fingerprint, files, held, rows, buckets = Fingerprint(), list[str](), list[pa.RecordBatch](), 0, 0
        for batch in batches:
            held.append(batch)
            rows += batch.num_rows
            schema = schema or batch.schema
            if rows >= BUCKET_ROWS:
                buckets = buckets or MOST_BUCKETS // 4
                files += write_buckets(self._part / table, pa.Table.from_batches(held), buckets, fingerprint)
                held, rows = [], 0
        if schema is None:
            raise BadInput(f"table '{table}' has no rows")
        buckets = buckets or bucket_count(rows)
        if held or not files:
            run = pa.Table.from_batches(held, schema)
            files += write_buckets(self._part / table, run, buckets, fingerprint)
        self._note(table, fingerprint.rows, fingerprint.text(), files, buckets, TOKEN in schema.names)
        return fingerprint.rows

    def copy_without(self, table: str, entry: Mapping[str, Any], token: str) -> int:
        """Carry `table` over from the published snapshot without one person's rows; return how many."""
        source, target = self._store.directory() / table, self._part / table
        target.mkdir()
        gone, files = 0, list[str]()
        for name in entry["files"]:
            mine = entry["keyed"] and _bucket(name) == bucket_of(token, entry["buckets"])
            found = _select(source / name, token).num_rows if mine else 0
            if not found:
                os.link(source / name, target / name)
                files.append(name)
                continue
            rest = pq.read_table(source / name, partitioning=None)
            fresh = f"{_bucket(name):03d}-{secrets.token_hex(8)}.parquet"
            write_file(target / fresh, rest.filter(pc.not_equal(rest[TOKEN], token)))
            files.append(fresh)
            gone += found
        self._note(table, entry["rows"] - gone, entry["digest"], files, entry["buckets"], entry["keyed"])
        return gone

    def commit(self, notes: Mapping[str, Any]) -> str:
        """Publish the snapshot with `notes` (JSON values) in its manifest; return its name."""
        write_beside(
            self._part / MANIFEST,
            json.dumps({**notes, "tables": self._tables}, indent=1, sort_keys=True).encode(),
        )
        return self._store._publish(self._part)

    def digest_of(self, table: str) -> str:
        """Return the digest of a table already written."""
        return self._tables[table]["digest"]

    def _note(self, table: str, rows: int, digest: str, files: list[str], buckets: int, keyed: bool) -> None:
        self._tables[table] = {
            "rows": rows,
            "digest": digest,
            "files": sorted(files),
            "buckets": buckets,
            "keyed": keyed,
        }


def _manifest(directory: Path) -> dict[str, Any]:
    try:
        return json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise EnvironmentFailed("a snapshot's manifest can't be read", where=str(directory)) from None


def _bucket(file: str) -> int:
    return int(file.partition("-")[0])


def _has_token(file: Path) -> bool:
    return TOKEN in pq.read_schema(file).names


def _select(file: Path, token: str) -> pa.Table:
    return pq.read_table(file, filters=[(TOKEN, "=", token)], partitioning=None)


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, dt.date | dt.datetime) else value


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
