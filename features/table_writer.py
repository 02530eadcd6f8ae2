"""One table of a snapshot being written: runs of bounded size, sorted, each into its buckets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from privacy.errors import BadInput

from .buckets import (
    BUCKET_ROWS,
    STREAMED_BUCKETS,
    TOKEN,
    Fingerprint,
    bucket_count,
    fingerprint_files,
    write_buckets,
)
from .private_files import make_private

__all__ = ["TableWriter", "entry_of"]

RUN_BYTES: Final = 2**29
"""A run of wide rows ends here, before it has as many as a bucket: sorting it takes as much again."""


class TableWriter:
    """Takes the batches of one table in any order; the files lie in `directory`, with an entry to tell of them.

    `held` is the entry of rows that are there already: what comes is added to them, in files of its own.
    """

    def __init__(self, directory: Path, schema: pa.Schema | None = None, held: Mapping[str, Any] | None = None) -> None:
        make_private(directory)
        self._directory, self._schema = directory, schema
        self._fingerprint, self._files, self._buckets, self._keyed = Fingerprint(), list[str](), 0, False
        if held is not None:
            self._fingerprint = Fingerprint(held["rows"], held["total"])
            self._files, self._buckets, self._keyed = list(held["files"]), held["buckets"], held["keyed"]
        self._digested = True
        self._held, self._rows, self._bytes = list[pa.RecordBatch](), 0, 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Take some rows; they are on disk when a run of them is full."""
        self._schema = self._schema or batch.schema
        self._held.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= BUCKET_ROWS or self._bytes >= RUN_BYTES:
            self._buckets = self._buckets or STREAMED_BUCKETS
            self._flush()

    def end_run(self) -> None:
        """Let what comes from here on be in files of its own."""
        if self._rows:
            self._buckets = self._buckets or bucket_count(self._rows)
            self._flush()

    def finish(self) -> dict[str, Any]:
        """Write what is left; return the table's entry in the manifest."""
        if self._schema is None and not self._files:
            raise BadInput(f"table '{self._directory.name}' has no rows")
        if self._rows or not self._files:
            self._buckets = self._buckets or bucket_count(self._rows)
            self._flush(last=True)
        if not self._digested:  # one person's rows may be in several runs, as the source had them
            self._fingerprint = fingerprint_files(self._directory, self._files)
        return entry_of(self._fingerprint, self._files, self._buckets, keyed=self._keyed)

    def _flush(self, *, last: bool = False) -> None:
        run = pa.Table.from_batches(self._held, self._schema)
        whole, self._keyed = last and not self._files, TOKEN in run.column_names
        self._files += write_buckets(self._directory, run, self._buckets)
        if whole or not self._keyed:
            self._fingerprint.add(run)
        else:  # runs of a keyed table are digested together
            self._digested = False
        self._held, self._rows, self._bytes = [], 0, 0


def entry_of(fingerprint: Fingerprint, files: Sequence[str], buckets: int, *, keyed: bool) -> dict[str, Any]:
    """Return what a manifest says of a table."""
    return {
        "rows": fingerprint.rows,
        "total": fingerprint.total,
        "digest": fingerprint.text(),
        "files": sorted(files),
        "buckets": buckets,
        "keyed": keyed,
    }
