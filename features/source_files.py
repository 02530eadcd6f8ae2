"""The files of a source: which a name or a glob means, in a steady order, and whether their columns are equal."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import duckdb

from privacy.durable import expanded
from privacy.errors import BadInput

__all__ = ["format_of", "listed", "literally", "matching", "unequal"]

MARKS: Final = "*?["
MARK: Final = re.compile(r"[*?\[]")
CSV_OPTIONS: Final = "header = true, all_varchar = true"
FAMILIES: Final = {"VARCHAR": "text", "UUID": "text", "BLOB": "bytes", "BOOLEAN": "yes or no"}
"""Types that can't be read together with others; all numbers can, and dates with times."""


def matching(base_dir: Path, pattern: str) -> list[Path]:
    """Return the files that `pattern` means, seen from `base_dir`, sorted; empty where there is none.

    Raises BadInput for a pattern that means nothing and for a folder that can't be looked into.
    """
    path = expanded(Path(pattern))
    if not path.is_absolute():
        path = base_dir / path
    try:
        if not any(mark in pattern for mark in MARKS) or path.is_file():
            return [path] if path.is_file() else []
        anchor = Path(path.anchor)
        found = sorted(file for file in anchor.glob(str(path.relative_to(anchor))) if file.is_file())
    except (ValueError, NotImplementedError, OSError):
        raise BadInput(f"'{pattern}' is no pattern of files", remedy="write one such as orders/*.csv.gz") from None
    if not found:
        _look_into(path)
    return found


def _look_into(path: Path) -> None:
    """Refuse a folder that hides its files: a glob finds nothing in it, without a word."""
    fixed = Path(*path.parts[: next(at for at, part in enumerate(path.parts) if any(mark in part for mark in MARKS))])
    if fixed.is_dir() and not os.access(fixed, os.R_OK | os.X_OK):
        raise BadInput("the folder can't be looked into", where=str(fixed), remedy="mend its permissions")


def format_of(files: Sequence[Path]) -> Literal["parquet", "csv"] | None:
    """Say how the files are written, by their names; None for a mixture or anything else."""
    kinds = {".csv.gz" if file.name.lower().endswith(".csv.gz") else file.suffix.lower() for file in files}
    if kinds == {".parquet"}:
        return "parquet"
    return "csv" if kinds and kinds <= {".csv", ".csv.gz"} else None


def literally(files: Sequence[Path]) -> list[Path]:
    """Return patterns of DuckDB that mean these files and no others.

    >>> literally([Path("lines[1].csv")])
    [PosixPath('lines[[]1].csv')]
    """
    return [Path(MARK.sub(r"[\g<0>]", str(file))) for file in files]


def listed(files: Sequence[Path]) -> str:
    """Return the files as a SQL list of texts.

    >>> listed([Path("it's.csv")])
    "['it''s.csv']"
    """
    return "[" + ", ".join("'" + str(file).replace("'", "''") + "'" for file in files) + "]"


def unequal(connection: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> list[str]:
    """Tell, a file and column at a time, in what files differ from the first of them: names, and kinds of parquet."""
    if len(files) < 2:
        return []
    first, *others = ((file, columns_of_file(connection, file)) for file in files)
    told = []
    for file, columns in others:
        told += [f"'{file.name}' has no column '{name}'" for name in first[1] if name not in columns]
        told += [f"'{first[0].name}' has no column '{name}'" for name in columns if name not in first[1]]
        for name, kind in columns.items():
            before = first[1].get(name, kind)
            if "NULL" not in (kind, before) and kind != before:
                told.append(f"'{file.name}' has {kind} in column '{name}', '{first[0].name}' has {before}")
    return list(dict.fromkeys(told))


def columns_of_file(connection: duckdb.DuckDBPyConnection, file: Path) -> dict[str, str]:
    """Return each column of one file, in lower case, with the family of its type; duckdb.Error if it can't be read."""
    reader = "read_parquet({})" if format_of([file]) == "parquet" else f"read_csv({{}}, {CSV_OPTIONS})"
    rows = connection.sql(f"DESCRIBE SELECT * FROM {reader.format(listed(literally([file])))}").fetchall()
    return {str(row[0]).lower(): _family(str(row[1])) for row in rows}


def _family(kind: str) -> str:
    if kind.strip('"') == "NULL":
        return "NULL"
    if kind.startswith(("DATE", "TIME")):
        return "times"
    return FAMILIES.get(kind, "another type" if kind.endswith(("]", ")")) and "DECIMAL" not in kind else "numbers")
