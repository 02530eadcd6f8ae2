"""The files of a folder as tables: which belong together, and what each column is like, in shares."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from features.checking.files import UTF_8, as_utf_8, header_is_data, written_in
from features.source_columns import FRACTIONS, INTEGERS, TIMES, quoted
from features.source_files import columns_of_file, format_of, listed, literally, matching
from privacy.errors import BadInput

from .contents import Contents, contents_of

__all__ = ["ColumnFacts", "FileTable", "is_order", "links_in", "tables_in"]

SAMPLE_ROWS: Final = 1_000
LONGEST_ID: Final = 40
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
)
"""What is counted of a column, as text; blanks are missing."""


@dataclass(frozen=True)
class ColumnFacts:
    """One column: `kind` is text, int, float, time, boolean or other; shares are of the filled values."""

    name: str
    kind: str
    filled: float
    distinct: float
    length: float
    long_ago: float
    contents: Contents

    @property
    def could_be_id(self) -> bool:
        """Whether orders could be told apart by it."""
        return (
            self.kind in {"int", "text"} and self.filled == 1 and not self.contents.part and self.length <= LONGEST_ID
        )

    @property
    def could_be_sum(self) -> bool:
        """Whether it could be money."""
        return self.kind == "float" and not self.contents.part


@dataclass(frozen=True)
class FileTable:
    """Files that are read as one table: `source` is a name or a glob, seen from the folder."""

    source: str
    files: tuple[Path, ...]
    rows: int
    columns: tuple[ColumnFacts, ...]
    origin: str = field(repr=False, default="")


def tables_in(place: Path, folder: Path) -> Iterator[FileTable]:
    """Yield the tables of a file, or of a folder and the folders in it; sources are written as seen from `folder`.

    Raises BadInput where there is nothing to read, or a file can't be read; nothing of a value is told.
    """
    for files in _grouped(place):
        with duckdb.connect(config={"temp_directory": "", "memory_limit": "1GB", "threads": 1}) as connection:
            names = listed(literally(files))
            how = "all_varchar = true, header = true, union_by_name = true"
            reader = (
                f"read_parquet({names}, union_by_name = true)"
                if format_of(files) == "parquet"
                else f"read_csv({names}, {how})"
            )
            try:
                yield _facts(connection, reader, files, _named(files, folder))
            except (duckdb.Error, OSError) as error:
                raise _unreadable(files[0], error) from None


def links_in(place: Path) -> int:
    """Count what is left out of a folder because it is a symbolic link: it may lead anywhere, out of the folder too."""
    looked_at = [path for path in _inside(place) if path.parent == place or not path.parent.is_symlink()]
    return sum(path.is_symlink() and (path.is_dir() or format_of([path]) is not None) for path in looked_at)


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


def _inside(place: Path) -> list[Path]:
    """What is in a folder, and in the folders in it."""
    return sorted(path for depth in ("*", "*/*") for path in place.glob(depth))


def _grouped(place: Path) -> list[tuple[Path, ...]]:
    """Files of one folder with equal columns and alike names belong together."""
    if place.is_file():
        files = [place]
    else:
        own = [path for path in _inside(place) if not path.is_symlink() and path.is_file()]
        files = [path for path in own if path.parent == place or not path.parent.is_symlink()]
        files = [path for path in files if format_of([path]) is not None and not path.name.startswith(".")]
    if not files or format_of(files[:1]) is None:
        raise BadInput(
            "there is nothing to read", where=str(place), remedy="give parquet, csv or csv.gz files, no links"
        )
    groups: dict[tuple[object, ...], list[Path]] = {}
    with duckdb.connect(config={"temp_directory": ""}) as connection:
        for path in files:
            try:
                if format_of([path]) == "csv" and (encoding := written_in(path)) != UTF_8:
                    remedy = as_utf_8(path, encoding)
                    raise BadInput(f"the file is not UTF-8 but {encoding}", where=path.name, remedy=remedy)
                columns = columns_of_file(connection, path)
            except (duckdb.Error, OSError, EOFError) as error:
                raise _unreadable(path, error) from None
            if header_is_data(columns):
                what, remedy = "the file has no header: its first line looks like data", "put names of columns first"
                raise BadInput(what, where=path.name, remedy=remedy)
            groups.setdefault((path.parent, format_of([path]), tuple(sorted(columns))), []).append(path)
    return [part for group in groups.values() for part in _alike(group)]


def _alike(group: Sequence[Path]) -> list[tuple[Path, ...]]:
    """Keep a group together if one pattern means it and nothing else; else every file is a table of its own."""
    pattern = _pattern(group)
    together = len(group) > 1 and pattern and matching(group[0].parent, pattern) == list(group)
    return [tuple(group)] if together else [(path,) for path in group]


def _pattern(files: Sequence[Path]) -> str:
    names = [file.name for file in files]
    before = _common(names).rstrip("0123456789")
    after = _common([name[::-1] for name in names])[::-1].lstrip("0123456789")
    return f"{before}*{after}" if before + after and not set("*?[") & set(before + after) else ""


def _common(names: Sequence[str]) -> str:
    """What all names begin with."""
    first, last = min(names), max(names)
    return first[: next((at for at, sign in enumerate(first) if last[at : at + 1] != sign), len(first))]


def _named(files: Sequence[Path], folder: Path) -> str:
    name = files[0].name if len(files) == 1 else _pattern(files)
    return Path(os.path.relpath(files[0].parent.resolve() / name, folder.resolve())).as_posix()


def _facts(connection: duckdb.DuckDBPyConnection, reader: str, files: Sequence[Path], source: str) -> FileTable:
    described = [(str(row[0]), str(row[1])) for row in connection.sql(f"DESCRIBE SELECT * FROM {reader}").fetchall()]
    asked = ", ".join(
        fact.format(c=f"nullif(trim(CAST({quoted(name)} AS VARCHAR)), '')") for name, _ in described for fact in FACTS
    )
    found = connection.sql(f"SELECT count(*), {asked} FROM {reader}").fetchall()[0]
    texts = ", ".join(f"nullif(trim(CAST({quoted(name)} AS VARCHAR)), '') AS {quoted(name)}" for name, _ in described)
    how = f"USING SAMPLE reservoir({SAMPLE_ROWS} ROWS) REPEATABLE (1)"
    sample = connection.sql(f"SELECT {texts} FROM (SELECT * FROM {reader} {how})").to_arrow_table()
    columns = [
        _column(name, held, found[0], found[1 + len(FACTS) * at : 1 + len(FACTS) * (at + 1)], sample.column(at))
        for at, (name, held) in enumerate(described)
    ]
    return FileTable(source, tuple(files), int(found[0]), tuple(columns), reader)


def _column(name: str, held: str, rows: int, facts: Sequence[float | None], sample: pa.ChunkedArray) -> ColumnFacts:
    filled, distinct, whole, number, time, length, long_ago = (float(fact or 0) for fact in facts)
    base = held.partition("(")[0]
    kind = "text" if base in {"VARCHAR", "UUID", "ENUM"} else "other"
    for known, kinds in (("int", INTEGERS), ("float", FRACTIONS), ("time", TIMES), ("boolean", {"BOOLEAN"})):
        kind = known if base in kinds else kind
    if kind == "text" and filled:
        shares = {"int": whole / filled, "float": number / filled, "time": time / filled}
        kind = next((known for known, share in shares.items() if share >= ENOUGH), "text")
    values = sample.drop_null().combine_chunks()
    contents = Contents() if kind == "time" else contents_of(values.cast(pa.string()), numbers=kind in {"int", "float"})
    return ColumnFacts(
        name,
        kind,
        filled / rows if rows else 0.0,
        min(1.0, distinct / filled) if filled else 0.0,
        length,
        long_ago / filled if filled else 0.0,
        contents,
    )


def _unreadable(file: Path, error: Exception) -> BadInput:
    what, remedy = f"the file can't be read ({type(error).__name__})", "check that it is whole and what its name says"
    return BadInput(what, where=file.name, remedy=remedy)
