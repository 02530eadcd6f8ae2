"""CSV files: what DuckDB guesses of a whole file, and what is made of it."""

from __future__ import annotations

from typing import Final

import duckdb

from privacy.errors import BadInput

from .datasets.tables import Table

__all__ = ["TEXT", "csv_sql"]

TEXT: Final = "text "
"""A CSV column's text, as written, has this before its name."""
NUMBERS_SHARE: Final = 0.9
"""A column is one of numbers if this share of its filled cells are; the others are bad cells, not another type."""


def csv_sql(connection: duckdb.DuckDBPyConnection, table: Table, listed: str) -> str:
    """Give text files both ways: `from` reads the text as written, `sql` and `where` see numbers.

    `listed` is a SQL list of paths. An id keeps its leading zeros, and `quantity * price` can be computed.
    Ids that are all plain integers are integers, as whoever reads the file will take them. Raises BadInput for files
    without a row: of what type their columns would be can't be guessed.
    """
    options = "header = true, union_by_name = true"
    guessed = connection.sql(f"DESCRIBE SELECT * FROM read_csv({listed}, {options}, sample_size = -1)")
    kinds = {str(row[0]): str(row[1]) for row in guessed.fetchall()}
    texts = f"read_csv({listed}, {options}, all_varchar = true)"
    if not connection.sql(f"SELECT 1 FROM {texts} LIMIT 1").fetchall():
        raise BadInput(f"table '{table.name}' is empty", where=table.place, remedy="give a file with rows")
    mixed = _mostly_numbers(connection, [name for name, kind in kinds.items() if kind == "VARCHAR"], texts)
    columns = []
    for name, kind in kinds.items():
        quoted, number = _quoted(name), "DOUBLE" if name in mixed else kind
        # Without trim, DuckDB moves the cast into the scan, where it fails instead of giving null.
        seen = f"TRY_CAST(trim({quoted}) AS {number})" if number in {"BIGINT", "DOUBLE"} else quoted
        written = seen if kind == "BIGINT" and _plain_ids(connection, table, name, texts) else quoted
        columns.append(f"{seen} AS {quoted}, {written} AS {_quoted(TEXT + name)}")
    return f"(SELECT {', '.join(columns)} FROM {texts})"


def _mostly_numbers(connection: duckdb.DuckDBPyConnection, names: list[str], texts: str) -> set[str]:
    """Return the text columns in which a few bad cells hide a number."""
    if not names:
        return set()
    shares = ", ".join(
        f"count(TRY_CAST(trim({_quoted(name)}) AS DOUBLE)) / nullif(count({_quoted(name)}), 0)" for name in names
    )
    found = connection.sql(f"SELECT {shares} FROM {texts}").fetchall()[0]
    return {name for name, share in zip(names, found, strict=True) if share is not None and share >= NUMBERS_SHARE}


def _plain_ids(connection: duckdb.DuckDBPyConnection, table: Table, name: str, texts: str) -> bool:
    """Say whether a text column is the subject's id and holds integers only, written as Python would."""
    subject = table.subject
    if subject is None or table.columns[subject].source != name:
        return False
    quoted = _quoted(name)
    again = f"CAST(TRY_CAST(trim({quoted}) AS BIGINT) AS VARCHAR)"
    plain = f"bool_and({quoted} IS NULL OR {again} IS NOT DISTINCT FROM {quoted})"
    return bool(connection.sql(f"SELECT {plain} FROM {texts}").fetchall()[0][0])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
