"""Tables as immutable snapshots: written beside, published by one rename, erased bucket by bucket.

    root/current -> snapshots/00000007        root/snapshots/00000007/manifest.json
                                              root/snapshots/00000007/TABLE/000-1a2b.parquet

A reader resolves `current` once and sees one snapshot whole. Files that don't change are hard links.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from privacy.durable import locked
from privacy.errors import BadInput, EnvironmentFailed
from privacy.rights import Subject
from privacy.tokens import parse_token

from .buckets import MOST_BUCKETS, TOKEN, bucket_of, bucket_of_file, read_files, select
from .damage import damage_told
from .manifest import REMEDY, read_manifest
from .private_files import make_private
from .snapshot_writer import SnapshotWriter

__all__ = ["SnapshotWriter", "TableStore"]

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
        link = self._root / "current"
        try:
            return link.readlink().name
        except FileNotFoundError:
            return None
        except OSError:
            what = f"the link to the {self._name} is something else"
            remedy = "remove it, then run `custos run` on the source again"
            raise EnvironmentFailed(what, where=str(link), remedy=remedy) from None

    def directory(self) -> Path:
        """Return the published snapshot's directory; BadInput before the first."""
        snapshot = self.snapshot()
        if snapshot is None:
            raise BadInput(f"there are no {self._name} yet", remedy="run the stage that writes them first")
        return self._root / "snapshots" / snapshot

    def manifest(self, *needed: str) -> dict[str, Any]:
        """Return what the writer noted, with rows, digest and files by table; `needed` are notes it must have."""
        return read_manifest(self.directory(), needed)

    def reading(self) -> AbstractContextManager[None]:
        """Tell a damaged file of this store by its name, whoever reads it in the block."""
        return damage_told(self._name, self._root, REMEDY, self._stored)

    def files(self, table: str) -> list[Path]:
        """List the parquet files of `table`; BadInput if the snapshot has no such table."""
        directory = self.directory()
        known = read_manifest(directory)["tables"]
        if table not in known:
            raise BadInput(f"there is no table '{table}' among the {self._name}")
        return [directory / table / name for name in known[table]["files"]]

    def groups(self, table: str, rows: int) -> list[list[Path]]:
        """Part the files of `table` into groups of whole people, about `rows` rows each."""
        entry, files = self.manifest()["tables"][table], self.files(table)
        at_once = max(1, entry["buckets"] * rows // max(entry["rows"], 1)) if entry["keyed"] else MOST_BUCKETS
        parted: dict[int, list[Path]] = {}
        for file in sorted(files):
            parted.setdefault(bucket_of_file(file.name) // at_once, []).append(file)
        return list(parted.values())

    def read(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
        files: Sequence[str] | None = None,
    ) -> pa.Table:
        """Read `table`, or those of its rows that fulfil `where`; or only what its `files` of these names hold."""
        with self.reading():
            every = self.files(table)
            among = every if files is None else [file for file in every if file.name in files]
            found = read_files(among or every[:1], columns, where)
            return found if among else found.slice(0, 0)

    def of(self, table: str, tokens: Sequence[str]) -> pa.Table:
        """Read the rows of some people, from the files that can hold them; a table of none where there are none."""
        with self.reading():
            entry, files = read_manifest(self.directory())["tables"][table], self.files(table)
            buckets = {bucket_of(token, entry["buckets"]) for token in tokens}
            mine = [file for file in files if bucket_of_file(file.name) in buckets] or files[:1]
            return read_files(mine, None, pc.field(TOKEN).isin(pa.array(tokens, pa.string())))

    def key_id(self) -> str | None:
        """Return the id of the key that made the tokens of the published snapshot; None before the first."""
        if self.snapshot() is None:
            return None
        directory = self.directory()
        for name, entry in read_manifest(directory)["tables"].items():
            for stored in entry["files"] if entry["keyed"] and entry["rows"] else ():
                with self.reading(), pq.ParquetFile(directory / name / stored) as file:
                    for first in file.iter_batches(batch_size=1, columns=[TOKEN]):  # an empty file has none
                        return parse_token(first[TOKEN][0].as_py()).key_id
        return None

    @contextmanager
    def writer(self) -> Iterator[SnapshotWriter]:
        """Open the one writer; what it wrote is dropped unless it commits before the end."""
        make_private(self._root)
        with locked(self._root / ".lock"):
            self._sweep(keep_previous=True)
            part = self._root / "snapshots" / f"{PART}{secrets.token_hex(6)}"
            make_private(part)
            writer = SnapshotWriter(self, part, self._publish)
            try:
                yield writer
            finally:
                shutil.rmtree(part, ignore_errors=True)

    def count(self, subject: Subject) -> int:
        """Count the person's rows in the published snapshot."""
        with self.reading():
            return sum(table.num_rows for _, table in self._rows_of(subject.tokens))

    def export(self, subject: Subject) -> list[dict[str, object]]:
        """List the person's rows, each with its table's name and without tokens."""
        with self.reading():
            return [
                {"table": name, **{key: _plain(value) for key, value in row.items() if not key.endswith("_token")}}
                for name, table in self._rows_of(subject.tokens)
                for row in table.to_pylist()
            ]

    def erase(self, subject: Subject) -> int:
        """Drop the person's rows and every older snapshot; return how many rows went.

        Each table's digest then tells the rows that are left; the writer's note `digest`, which told the
        data as they came, becomes null.
        """
        if not subject.tokens or not self._root.exists():
            return 0
        if self.snapshot() is None:
            with locked(self._root / ".lock"):
                self._sweep(keep_previous=False)
            return 0
        with self.writer() as writer, self.reading():
            manifest, gone = self.manifest(), 0
            for name, entry in manifest["tables"].items():
                gone += writer.copy_without(name, entry, subject.tokens)
            if gone:
                notes = {name: note for name, note in manifest.items() if name != "tables"}
                writer.commit({**notes, "digest": None})
            self._sweep(keep_previous=False)
        return gone

    def verify(self, subject: Subject) -> int:
        """Count what remains of the person on disk, in any snapshot, published or not."""
        files = (self._root / "snapshots").rglob("*.parquet") if subject.tokens and self._root.exists() else ()
        with self.reading():
            return sum(select(file, subject.tokens).num_rows for file in files if TOKEN in pq.read_schema(file).names)

    def _stored(self) -> Iterator[Path]:
        """List what the published snapshot should hold, then whatever else is there."""
        directory = self.directory()
        for name, entry in read_manifest(directory)["tables"].items():
            yield from (directory / name / file for file in entry["files"])
        yield from (self._root / "snapshots").rglob("*.parquet")

    def _rows_of(self, tokens: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
        if not tokens or self.snapshot() is None:
            return
        directory = self.directory()
        for name, entry in read_manifest(directory)["tables"].items():
            for file in entry["files"]:
                if entry["keyed"] and bucket_of_file(file) in {bucket_of(token, entry["buckets"]) for token in tokens}:
                    yield name, select(directory / name / file, tokens)

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


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, dt.date | dt.datetime) else value


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
