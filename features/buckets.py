"""How a table becomes files: buckets by token, rows by token, time and content, no value statistics."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from privacy.errors import EnvironmentFailed

__all__ = [
    "BUCKET_ROWS",
    "STREAMED_BUCKETS",
    "Fingerprint",
    "bucket_count",
    "bucket_of",
    "bucket_of_file",
    "fingerprint_files",
    "order_rows",
    "places_of",
    "read_files",
    "read_parquet",
    "row_hashes",
    "select",
    "write_buckets",
    "write_parquet",
]

TOKEN: Final = "customer_token"  # noqa: S105  a column name
BUCKET_ROWS: Final = 4_000_000
MOST_BUCKETS: Final = 256
STREAMED_BUCKETS: Final = MOST_BUCKETS // 4
"""Of a table whose size isn't known before it is written."""
Hashes = npt.NDArray[np.uint64]


@dataclass
class Fingerprint:
    """A digest of rows that leaves every token out, so that two homes with the same data agree.

    It adds one number a person (without a token: a row), a mix of the sum of the person's row hashes:
    neither the order of the rows nor of the people counts, but who did what together does. So each
    call must be given all the rows of whoever it is given any of.
    """

    rows: int = 0
    total: int = 0

    def add(self, table: pa.Table) -> None:
        """Count in all the rows of some people, in any order."""
        self.rows += table.num_rows
        self.total = (self.total + _sum_of_people(table)) % 2**64

    def remove(self, table: pa.Table) -> None:
        """Take out all the rows of some people, as if they had never been added."""
        self.rows -= table.num_rows
        self.total = (self.total - _sum_of_people(table)) % 2**64

    def text(self) -> str:
        """Return the digest as 64 hex digits."""
        return hashlib.sha256(f"{self.rows}:{self.total}".encode()).hexdigest()


def _sum_of_people(table: pa.Table) -> int:
    columns = _told_apart_by(table.column_names)
    if not columns or table.num_rows == 0:
        return 0
    hashes = row_hashes(table, columns)
    if TOKEN in table.column_names:
        ranks = _ranks(table[TOKEN])
        order = np.argsort(ranks, kind="stable")
        starts = np.concatenate([[0], np.flatnonzero(np.diff(ranks[order])) + 1])
        hashes = np.add.reduceat(hashes[order], starts)
    return int(_mix(hashes).sum(dtype=np.uint64))


def _told_apart_by(names: Sequence[str]) -> list[str]:
    return [name for name in sorted(names) if not name.endswith("_token") and name != "audit_reference"]


def fingerprint_files(directory: Path, files: Sequence[str]) -> Fingerprint:
    """Return the fingerprint of a keyed table written in several runs, a bucket at a time.

    A person's rows may be in several files, but all in one bucket.
    """
    fingerprint, buckets = Fingerprint(), dict[int, list[str]]()
    for name in files:
        buckets.setdefault(bucket_of_file(name), []).append(name)
    for _, names in sorted(buckets.items()):
        paths = [directory / name for name in names]
        columns = [TOKEN, *_told_apart_by(sorted({name for path in paths for name in pq.read_schema(path).names}))]
        fingerprint.add(read_files(paths, columns))
    return fingerprint


def bucket_count(rows: int) -> int:
    """Return how many buckets a table of `rows` rows wants: a power of two, 1 for a small shop.

    >>> [bucket_count(rows) for rows in (0, 4_000_000, 4_000_001, 10**9)]
    [1, 1, 2, 256]
    """
    wanted = 1
    while wanted * BUCKET_ROWS < rows and wanted < MOST_BUCKETS:
        wanted *= 2
    return wanted


def bucket_of(token: str, buckets: int) -> int:
    """Return the bucket of a token: tokens are a keyed permutation, so their bits are a hash.

    >>> bucket_of("fs_ab" + "7f" + 32 * "0", 16)
    15
    """
    return int(token[5:7], 16) % buckets


def bucket_of_file(name: str) -> int:
    """Return the bucket that a file's name tells.

    >>> bucket_of_file("015-00ff.parquet")
    15
    """
    return int(name.partition("-")[0])


def select(file: Path, tokens: Sequence[str]) -> pa.Table:
    """Read one person's rows of a file, under whichever of their `tokens` it was written."""
    return read_parquet(file, filters=pc.field(TOKEN).isin(list(tokens)))


def read_parquet(file: Path, columns: Sequence[str] | None = None, filters: pc.Expression | None = None) -> pa.Table:
    """Read rows and columns of one of our files, each page held to its checksum."""
    return pq.read_table(file, columns=columns, filters=filters, partitioning=None, page_checksum_verification=True)


def read_files(
    files: Sequence[Path], columns: Sequence[str] | None = None, filters: pc.Expression | None = None
) -> pa.Table:
    """Read several of our files as one table: a column that one of them lacks is null there."""
    parts = []
    for file in files:
        held = None if columns is None else [name for name in columns if name in pq.read_schema(file).names]
        parts.append(read_parquet(file, held, filters))
    return pa.concat_tables(parts, promote_options="default")


def order_rows(table: pa.Table) -> pa.Table:
    """Sort by token, time, then content: nothing is left of the order rows came in."""
    if table.num_rows < 2:
        return table
    keys: list[npt.NDArray[np.generic]] = [row_hashes(table, [n for n in table.column_names if n != TOKEN])]
    times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    keys += [_numbers(table[name]) for name in reversed(times) if name != "created_timestamp"]
    if TOKEN in table.column_names:
        keys.append(_ranks(table[TOKEN]))
    return table.take(pa.array(np.lexsort(keys)))


def write_buckets(directory: Path, table: pa.Table, buckets: int) -> list[str]:
    """Write one sorted parquet file for each bucket that has rows; return the file names.

    An empty table gets one empty file, so that its columns stay known.
    """
    ordered = order_rows(table)
    if TOKEN not in table.column_names or buckets == 1 or table.num_rows == 0:
        return [_write(directory, ordered, 0)]
    places = places_of(ordered[TOKEN], buckets)
    return [
        _write(directory, ordered.filter(pa.array(places == bucket)), bucket) for bucket in np.unique(places).tolist()
    ]


def places_of(tokens: pa.ChunkedArray, buckets: int) -> npt.NDArray[np.int64]:
    """(n,) the bucket of each token."""
    digits = pc.utf8_slice_codeunits(tokens, 5, 7).combine_chunks().dictionary_encode()
    values = np.array([int(text, 16) % buckets for text in digits.dictionary.to_pylist()], dtype=np.int64)
    return values[digits.indices.to_numpy()]


def _write(directory: Path, table: pa.Table, bucket: int) -> str:
    name = f"{bucket:03d}-{secrets.token_hex(8)}.parquet"
    write_parquet(directory / name, table)
    return name


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write and sync one new file, mode 0600, whose footer holds no value but tokens and snapshot times."""
    bare = [name for name in (TOKEN, "event_timestamp") if name in table.column_names]
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            pq.write_table(
                table.replace_schema_metadata(None),
                file,
                compression="zstd",
                compression_level=1,
                write_statistics=bare or False,
                write_page_checksum=True,
                row_group_size=131_072,
                coerce_timestamps="us",
            )
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = error.strerror or "input/output error"
        raise EnvironmentFailed(f"cannot write: {reason}", where=str(path.parent)) from None


def row_hashes(table: pa.Table, columns: Sequence[str]) -> Hashes:
    """Hash each row over `columns`, by name and value; equal on every machine. A null is as no such column."""
    total = np.zeros(table.num_rows, np.uint64)
    for name in columns:
        salt = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
        mixed = _mix(_numbers(table[name]).view(np.uint64) ^ np.uint64(salt))
        absent = pc.is_null(table[name], nan_is_null=True)
        if pc.any(absent).as_py():
            mixed[absent.to_numpy()] = 0
        with np.errstate(over="ignore"):
            total += mixed
    return total


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    kind = column.type
    if pa.types.is_floating(kind):
        # 0.0 and -0.0 are one value; a null is not a number, as NaN is none.
        floats = column.cast(pa.float64()).fill_null(float("nan")).to_numpy() + 0.0
        return floats.view(np.int64)
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).fill_null(-(2**63)).to_numpy()
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return column.cast(pa.int64()).fill_null(-(2**63)).to_numpy()
    if pa.types.is_date(kind):
        return column.cast(pa.date32()).cast(pa.int32()).cast(pa.int64()).fill_null(-(2**63)).to_numpy()
    coded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    hashed = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in coded.dictionary.to_pylist()]
    table = np.frombuffer(b"".join(hashed) + bytes(8), np.int64)
    return table[coded.indices.fill_null(len(hashed)).to_numpy()]


def _ranks(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    coded = column.combine_chunks().dictionary_encode()
    order = pc.array_sort_indices(coded.dictionary).to_numpy()
    ranks = np.empty(len(order) + 1, np.int64)
    ranks[order] = np.arange(len(order))
    ranks[-1] = len(order)
    return ranks[coded.indices.fill_null(len(order)).to_numpy()]


def _mix(values: npt.NDArray[np.uint64]) -> Hashes:
    """Finalise 64-bit words (Steele et al. 2014, splitmix64)."""
    with np.errstate(over="ignore"):
        mixed = values + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))
