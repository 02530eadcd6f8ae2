"""What needs a whole table, or two: repeated rows, references, returns; on tokens, bucket by bucket, in memory.

Everything here is behind `protect()`: what DuckDB would spill is pseudonymous, and it spills nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import duckdb
import pyarrow.parquet as pq

from features.buckets import TOKEN, bucket_of_file
from features.datasets.descriptor import Descriptor
from features.datasets.measured import comparable, stored_as, unique_key
from features.datasets.references import Reference
from features.source_columns import quoted
from features.source_files import listed, literally
from privacy.errors import EnvironmentFailed

from .meter import is_number
from .scores import Measure

__all__ = ["whole_tables"]

MEMORY: Final = "2GB"
Files = Mapping[str, Sequence[Path]]


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
            key = unique_key(descriptor.tables[name], descriptor.subject)
            stored = stored_as(descriptor.tables[name], key) if key else ""
            if stored is not None:
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
    value = quoted(key) if key == TOKEN else f"hash({', '.join(map(quoted, names))})"
    filled = f" WHERE {quoted(key)} IS NOT NULL" if key else ""
    query = f"SELECT count(*) - count(DISTINCT {value}) FROM {{}}{filled}"
    return sum(_count(connection, query.format(_read(bucket))) for bucket in _buckets(files).values())


def _dangling(connection: duckdb.DuckDBPyConnection, descriptor: Descriptor, reference: Reference, files: Files) -> int:
    """How many rows name a key that isn't there; both sides of a person's key are in the same bucket."""
    (name, column), (to, key) = reference.column, reference.to
    own = quoted(stored_as(descriptor.tables[name], column) or "")
    other = quoted(stored_as(descriptor.tables[to], key) or "")
    mine, theirs = _buckets(files[name]), _buckets(files[to])
    together = min(_span(mine), _span(theirs)) if descriptor.tables[name].role_of(column) == "subject" else 1
    total = 0
    for bucket in range(together):
        rows = [file for number, parts in mine.items() if number % together == bucket for file in parts]
        keys = [file for number, parts in theirs.items() if number % together == bucket for file in parts]
        if rows:
            found = f"AND hash(CAST({own} AS VARCHAR)) NOT IN (SELECT hash(CAST({other} AS VARCHAR)) FROM {_read(keys)}"
            lacking = f"{found} WHERE {other} IS NOT NULL)" if keys else ""
            total += _count(connection, f"SELECT count(*) FROM {_read(rows)} WHERE {own} IS NOT NULL {lacking}")
    return total


def _unbought(connection: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> int:
    """How many returned lines have no purchase of the same person before them or at the same instant."""
    total = 0
    for bucket in _buckets(files).values():
        schema = pq.read_schema(bucket[0])
        counted = "quantity" in schema.names and is_number(schema.field("quantity").type)
        back = "amount < 0 OR coalesce(quantity < 0, false)" if counted else "amount < 0"
        total += _count(
            connection,
            f"""WITH lines AS (SELECT {TOKEN}, ordered_at, amount, {back} AS back FROM {_read(bucket)}),
            returned AS (SELECT {TOKEN}, ordered_at FROM lines WHERE back),
            bought AS (
                SELECT {TOKEN}, min(ordered_at) AS since FROM lines
                WHERE amount > 0 AND NOT back AND {TOKEN} IN (SELECT {TOKEN} FROM returned) GROUP BY ALL
            )
            SELECT count(*) FROM returned LEFT JOIN bought USING ({TOKEN}) WHERE coalesce(ordered_at < since, true)""",
        )
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


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    try:
        [(found,)] = connection.sql(query).fetchall()
    except duckdb.Error as error:
        what = f"the quality of what was just protected can't be measured ({type(error).__name__})"
        raise EnvironmentFailed(what, remedy=f"see that {MEMORY} of memory are free, then run it again") from None
    return int(found)
