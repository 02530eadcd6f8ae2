"""A file source cut into parts that other machines can read, each with the SQL by which the whole is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from .datasets.tables import Table
from .source_columns import quoted
from .source_files import format_of, listed, literally
from .sources import BATCH_ROWS, Source, connected, in_utc, lock, unreadable

__all__ = ["SPLIT_ROWS", "Split", "schema_of", "splits_of"]

SPLIT_ROWS: Final = 2**20
"""A parquet file is cut at its own row groups, into parts of about so many rows; a text file is one part."""
ROW: Final = "file_row_number"


@dataclass(frozen=True)
class Split:
    """Some rows of one file of `table`; whoever can open the file can read them, and needs nothing else for it."""

    table: Table
    file: Path
    query: str
    time_zone: str
    stamp: tuple[int, int] | None
    """When the file was last written, in nanoseconds, and its size, as it was cut."""

    @property
    def changed(self) -> bool:
        """Whether the file isn't any more what it was when it was cut."""
        return self.stamp is None or self.stamp != _stamp(self.file)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Stream the rows as `sources.batches` does; BadInput where the file can't be read."""
        with closing(connected(self.time_zone, threads=1)) as connection:
            lock(connection, [self.file])
            try:
                for batch in connection.sql(self.query).to_arrow_reader(BATCH_ROWS):
                    yield in_utc(batch)
            except (duckdb.Error, pa.ArrowException, OSError) as error:
                raise unreadable(self.table, error) from None


def schema_of(splits: Sequence[Split]) -> pa.Schema:
    """Return the columns that the parts of one source have, types and all; BadInput where the file can't be read."""
    try:
        return _columns_of(splits[0])
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise unreadable(splits[0].table, error) from None


def _columns_of(split: Split) -> pa.Schema:
    with closing(connected(split.time_zone, threads=1)) as connection:
        lock(connection, [split.file])
        none = connection.sql(f"{split.query.rstrip()} LIMIT 0").to_arrow_table()
    return in_utc(pa.RecordBatch.from_pylist([], schema=none.schema)).schema


def splits_of(source: Source, time_zone: str) -> list[Split]:
    """Cut an opened source into parts, in the order of its rows; none where it isn't files, or can't be read."""
    if not source.files or source.problems:
        return []
    parquet = format_of(source.files) == "parquet"
    try:
        cut = _of_parquet if parquet else _of_text
        parts = (part for file in source.files for part in cut(source, file))
        splits = [Split(source.table, file, source.query(origin), time_zone, _stamp(file)) for file, origin in parts]
        _columns_of(splits[0])
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise unreadable(source.table, error) from None
    return splits


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        held = file.stat()
    except OSError:
        return None
    return held.st_mtime_ns, held.st_size


def _of_text(source: Source, file: Path) -> Iterator[tuple[Path, str]]:
    # What is guessed of the columns was guessed of all the files together, and stays.
    yield file, source.origin.replace(listed(literally(source.files)), listed(literally([file])))


def _of_parquet(source: Source, file: Path) -> Iterator[tuple[Path, str]]:
    """One file in parts of whole row groups, each column of the type that all the files together give it."""
    columns = source.connection.sql(f"DESCRIBE SELECT * FROM {source.origin}").fetchall()
    cast = ", ".join(f"CAST({quoted(str(name))} AS {kind}) AS {quoted(str(name))}" for name, kind, *_ in columns)
    one = listed(literally([file]))
    parts = list(_row_ranges(file))
    if len(parts) < 2 or ROW in {str(name).lower() for name, *_ in columns}:
        yield file, f"(SELECT {cast} FROM read_parquet({one}))"
        return
    for first, last in parts:
        rows = f"read_parquet({one}, {ROW} = true) WHERE {ROW} BETWEEN {first} AND {last}"
        yield file, f"(SELECT {cast} FROM {rows})"


def _row_ranges(file: Path) -> Iterator[tuple[int, int]]:
    """First and last row of each part."""
    metadata = pq.read_metadata(file)
    first = end = 0
    for group in range(metadata.num_row_groups):
        end += metadata.row_group(group).num_rows
        if end - first >= SPLIT_ROWS:
            yield first, end - 1
            first = end
    if end > first:
        yield first, end - 1
