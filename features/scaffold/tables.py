"""The files of a folder as tables: what each column is like, in shares, and where files of one table differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from features.source_columns import FRACTIONS, INTEGERS, TIMES, quoted
from features.source_files import format_of, listed, literally
from features.transforms.vocabulary import KINDS
from privacy.classification import Purpose

from .contents import Contents, contents_of
from .families import Family, Progress, families, unreadable

__all__ = ["ColumnFacts", "FileTable", "is_order", "tables_in"]

FILE: Final = "custos file"
"""Which file a row is of: a name of DuckDB's column that no source has."""
SAMPLE_ROWS: Final = 1_000
LONGEST_ID: Final = 40
WORDS: Final = {"int": "numbers", "float": "numbers", "time": "times", "boolean": "yes or no", "other": "another type"}
ENOUGH: Final = 0.95
"""A text column is of numbers or times if this share of its filled values are."""
FACTS: Final = (
    "count({c})",
    "approx_count_distinct({c})",
    "count(*) FILTER (regexp_full_match({c}, '[+-]?[0-9]+'))",
    "count(TRY_CAST({c} AS DOUBLE))",
    "count(TRY_CAST({c} AS TIMESTAMP))",
    "avg(length({c}))",
    "count(*) FILTER (TRY_CAST({c} AS TIMESTAMP) BETWEEN now() - INTERVAL 100 YEAR AND now() - INTERVAL 14 YEAR)",
    f"count(*) FILTER (lower({{c}}) IN {tuple(KINDS)})",
    f"count(*) FILTER ({{c}} IN {tuple(map(str, Purpose))})",
    "count(TRY_CAST({c} AS BOOLEAN))",
)
"""What is counted of a column, as text; blanks are missing."""


@dataclass(frozen=True)
class ColumnFacts:
    """One column: `kind` is text, int, float, time, boolean or other; shares are of the filled values.

    `kinds`, `purposes` and `answers` are the shares that are a kind of contact, a purpose, a yes or no, as Custos
    writes them; `differs` says how files of one table write the column differently.
    """

    name: str
    kind: str
    filled: float
    distinct: float
    length: float
    long_ago: float
    kinds: float
    purposes: float
    answers: float
    contents: Contents
    differs: str = ""

    @property
    def could_be_id(self) -> bool:
        """Whether orders could be told apart by it."""
        return (
            self.kind in {"int", "text"} and self.filled == 1 and not self.contents.part and self.length <= LONGEST_ID
        )

    @property
    def could_be_sum(self) -> bool:
        """Whether it could be money."""
        return self.kind == "float" and not self.contents.part and not self.differs


@dataclass(frozen=True)
class FileTable:
    """Files that are read as one table: `source` is a name or a glob, seen from the folder; `apart` as of a family."""

    source: str
    rows: int
    columns: tuple[ColumnFacts, ...]
    origin: str = field(repr=False, default="")
    apart: str = ""


def tables_in(place: Path, folder: Path, progress: Progress) -> Iterator[FileTable]:
    """Yield the tables of a file, or of a folder and the folders in it; sources are written as seen from `folder`.

    Raises BadInput where there is nothing to read, or a file can't be read; nothing of a value is told.
    """
    found = families(place, folder, progress)
    for number, family in enumerate(found):
        progress("tables looked at", number, len(found))
        with duckdb.connect(config={"temp_directory": "", "memory_limit": "1GB", "threads": 1}) as connection:
            names = listed(literally(family.files))
            how = "all_varchar = true, header = true, union_by_name = true"
            reader = (
                f"read_parquet({names}, union_by_name = true)"
                if format_of(family.files) == "parquet"
                else f"read_csv({names}, {how})"
            )
            try:
                yield _facts(connection, reader, family)
            except (duckdb.Error, OSError) as error:
                raise unreadable(family.files[0], error) from None


def is_order(table: FileTable, column: str, subject: str, moment: str) -> bool:
    """Say whether each value of `column` stands for one person at one time, and each of these for one value."""
    who, when = quoted(subject), quoted(moment)
    query = f"""
        SELECT count(DISTINCT value), count(DISTINCT (who, moment)), count(*) FROM (
            SELECT DISTINCT {quoted(column)} AS value, {who} AS who, {when} AS moment FROM {table.origin})
    """
    with duckdb.connect(config={"temp_directory": "", "memory_limit": "1GB", "threads": 1}) as connection:
        try:
            values, moments, both = connection.sql(query).fetchall()[0]
        except duckdb.Error:  # too many for memory: a guess isn't worth a spill
            return False
    return bool(values == moments == both)


def _facts(connection: duckdb.DuckDBPyConnection, reader: str, family: Family) -> FileTable:
    described = [(str(row[0]), str(row[1])) for row in connection.sql(f"DESCRIBE SELECT * FROM {reader}").fetchall()]
    asked = ", ".join(
        fact.format(c=f"nullif(trim(CAST({quoted(name)} AS VARCHAR)), '')") for name, _ in described for fact in FACTS
    )
    by_file = f"{reader.removesuffix(')')}, filename = '{FILE}')"
    each = f"GROUP BY GROUPING SETS ((), ({quoted(FILE)})) ORDER BY grouping({quoted(FILE)}) DESC, {quoted(FILE)}"
    counted = connection.sql(f"SELECT {quoted(FILE)}, count(*), {asked} FROM {by_file} {each}").fetchall()
    texts = ", ".join(f"nullif(trim(CAST({quoted(name)} AS VARCHAR)), '') AS {quoted(name)}" for name, _ in described)
    how = f"USING SAMPLE reservoir({SAMPLE_ROWS} ROWS) REPEATABLE (1)"
    sample = connection.sql(f"SELECT {texts} FROM (SELECT * FROM {reader} {how})").to_arrow_table()
    columns = []
    for at, (name, held) in enumerate(described):
        whole, *parts = ([row[1], *row[2 + len(FACTS) * at : 2 + len(FACTS) * (at + 1)]] for row in counted)
        column = _column(name, held, whole, sample.column(at))
        differs = _differing(held, {str(row[0]): part for row, part in zip(counted[1:], parts, strict=True)})
        columns.append(replace(column, differs=differs))
    return FileTable(family.source, int(counted[0][1]), tuple(columns), reader, family.apart)


def _differing(held: str, parts: Mapping[str, Sequence[float | None]]) -> str:
    """Of what type a column is in the files of one table, where that isn't the same in all that fill it."""
    found: dict[str, str] = {}
    for file, (_, filled, _, *shares) in parts.items():
        if filled:
            kind = _kind(held, *(float(share or 0) / filled for share in shares[:3]))
            found.setdefault(WORDS.get(kind, kind), Path(file).name)
    return ", ".join(f"{kind} in {file}" for kind, file in found.items()) if len(found) > 1 else ""


def _kind(held: str, whole: float, number: float, time: float) -> str:
    """What a column is by its type, and of texts by the shares that can be read as something else."""
    base = held.partition("(")[0]
    for known, kinds in (("int", INTEGERS), ("float", FRACTIONS), ("time", TIMES), ("boolean", {"BOOLEAN"})):
        if base in kinds:
            return known
    if base not in {"VARCHAR", "UUID", "ENUM"}:
        return "other"
    shares = {"int": whole, "float": number, "time": time}
    return next((known for known, share in shares.items() if share >= ENOUGH), "text")


def _column(name: str, held: str, facts: Sequence[float | None], sample: pa.ChunkedArray) -> ColumnFacts:
    rows, filled, distinct, *counts = (float(fact or 0) for fact in facts)
    length = counts.pop(3)
    whole, number, time, long_ago, kinds, purposes, answers = (count / filled if filled else 0.0 for count in counts)
    kind = _kind(held, whole, number, time)
    values = sample.drop_null().combine_chunks()
    contents = Contents() if kind == "time" else contents_of(values.cast(pa.string()), numbers=kind in {"int", "float"})
    share, unlike = filled / rows if rows else 0.0, min(1.0, distinct / filled) if filled else 0.0
    return ColumnFacts(name, kind, share, unlike, length, long_ago, kinds, purposes, answers, contents)
