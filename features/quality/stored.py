"""What needs a whole table, or two: repeated rows, references, returns; on tokens, bucket by bucket, in memory.

Everything here is behind `protect()`: what DuckDB would spill is pseudonymous, and it spills nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from features.buckets import TOKEN, bucket_of_file
from features.datasets.descriptor import Descriptor
from features.datasets.measured import comparable, is_linked, stored_as, unique_key
from features.datasets.references import Reference
from features.source_columns import quoted
from features.source_files import listed, literally
from privacy.errors import EnvironmentFailed

from .meter import is_number
from .scores import Measure

__all__ = ["whole_tables"]

MEMORY: Final = "2GB"
Files = Mapping[str, Sequence[Path]]
Hashes = npt.NDArray[np.uint64]


def whole_tables(descriptor: Descriptor, files: Files, returned: bool) -> Iterator[tuple[str, Measure]]:
    """Yield (table, measure) of uniqueness and consistency, from the protected `files` of each table.

    `returned` says whether any line gives something back. Rows are compared by 64 bits of a hash: a bucket of four
    million tells two different rows alike with a probability below one in a million.
    """
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": MEMORY,
        "temp_directory": "",
        "threads": 2,
        "preserve_insertion_order": False,
    }
    with duckdb.connect(config=settings) as connection:
        for name, parts in files.items():
            key = unique_key(descriptor.tables, name, descriptor.subject)
            stored = stored_as(descriptor.tables[name], key) if key else ""
            if stored is not None and not is_linked(
                descriptor.tables, name
            ):  # else its meter has seen whose rows repeat
                yield name, Measure(key, "uniqueness", _repeated(connection, parts, stored))
        for reference in comparable(descriptor.tables, descriptor.subject):
            if reference.column[0] in files and reference.to[0] in files:
                bad = _dangling(connection, descriptor, reference, files)
                yield reference.column[0], Measure(reference.column[1], "consistency", bad)
        lines = descriptor.tables["transactions"]
        if stored_as(lines, "amount") is not None:
            unbought = _unbought(connection, files["transactions"]) if returned else 0
            yield "transactions", Measure("amount", "consistency", unbought)


def _repeated(connection: duckdb.DuckDBPyConnection, files: Sequence[Path], key: str) -> int:
    """How many rows have the key of another before them, or all of its columns where there is no key."""
    names = [key] if key else pq.read_schema(files[0]).names
    total = 0
    for bucket in _buckets(files).values():
        hashes = np.sort(_hashes(connection, bucket, ", ".join(map(quoted, names)), key))
        total += int((hashes[1:] == hashes[:-1]).sum())
    return total


def _dangling(connection: duckdb.DuckDBPyConnection, descriptor: Descriptor, reference: Reference, files: Files) -> int:
    """How many rows name a key that isn't there; both sides of what is a person's own are in the same bucket."""
    (name, column), (to, key) = reference.column, reference.to
    own, other = stored_as(descriptor.tables[name], column) or "", stored_as(descriptor.tables[to], key) or ""
    mine, theirs = _buckets(files[name]), _buckets(files[to])
    alike = _type(files[name], own) == _type(files[to], other)
    asked = [quoted(each) if alike else f"CAST({quoted(each)} AS VARCHAR)" for each in (own, other)]
    anybodys = descriptor.tables[name].role_of(column) == "attribute"
    together = 1 if anybodys else min(_span(mine), _span(theirs))
    total = 0
    for place in range(together):
        parts = (_hashes(connection, theirs[each], asked[1], other) for each in theirs if each % together == place)
        keys = np.unique(np.concatenate([np.zeros(0, np.uint64), *parts]))
        for bucket in (each for each in mine if each % together == place):
            values, rows = np.unique(_hashes(connection, mine[bucket], asked[0], own), return_counts=True)
            total += int(rows[~np.isin(values, keys, assume_unique=True)].sum())
    return total


def _hashes(connection: duckdb.DuckDBPyConnection, files: Sequence[Path], values: str, filled: str) -> Hashes:
    """64 bits of each row's `values`, of those rows where the column `filled` is; of all where there is none."""
    where = f" WHERE {quoted(filled)} IS NOT NULL" if filled else ""
    with _told():
        found = connection.sql(f"SELECT hash({values}) AS h FROM {_read(files)}{where}").to_arrow_table()
    return found["h"].to_numpy()


def _unbought(connection: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> int:
    """How many returned lines have no purchase of the same person before them or at the same instant."""
    total = 0
    for bucket in _buckets(files).values():
        schema = pq.read_schema(bucket[0])
        counted = "quantity" in schema.names and is_number(schema.field("quantity").type)
        back = "amount < 0 OR coalesce(quantity < 0, false)" if counted else "amount < 0"
        query = f"""WITH lines AS (SELECT {TOKEN}, ordered_at, amount, {back} AS back FROM {_read(bucket)}),
            returned AS (SELECT {TOKEN}, ordered_at FROM lines WHERE back),
            bought AS (
                SELECT {TOKEN}, min(ordered_at) AS since FROM lines
                WHERE amount > 0 AND NOT back AND {TOKEN} IN (SELECT {TOKEN} FROM returned) GROUP BY ALL
            )
            SELECT count(*) FROM returned LEFT JOIN bought USING ({TOKEN}) WHERE coalesce(ordered_at < since, true)"""
        with _told():
            total += int(connection.sql(query).fetchall()[0][0])
    return total


def _buckets(files: Sequence[Path]) -> dict[int, list[Path]]:
    """The files of each bucket: one person's rows are all in one."""
    found: dict[int, list[Path]] = defaultdict(list)
    for file in files:
        found[bucket_of_file(file.name)].append(file)
    return found


def _span(buckets: Mapping[int, object]) -> int:
    """The least power of two that numbers all of `buckets`: never more than there are."""
    return 1 << max(buckets).bit_length()


def _read(files: Sequence[Path]) -> str:
    return f"read_parquet({listed(literally(files))})"


def _type(files: Sequence[Path], column: str) -> pa.DataType:
    return pq.read_schema(files[0]).field(column).type


@contextmanager
def _told() -> Iterator[None]:
    """One clear line for what DuckDB can't do, such as with too little memory."""
    try:
        yield
    except duckdb.Error as error:
        what = f"the quality of what was just protected can't be measured ({type(error).__name__})"
        raise EnvironmentFailed(what, remedy=f"see that {MEMORY} of memory are free, then run it again") from None
