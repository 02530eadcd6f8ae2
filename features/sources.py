"""Reading a shop's own files: DuckDB streams the declared columns, typed, and never spills to disk.

A value that can't be cast becomes null in its column and stays as text in the column `NAME raw`,
so that the contract can refuse the row and the quarantine keep what was written.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from privacy.durable import expanded
from privacy.errors import BadInput

from .datasets.descriptor import Descriptor
from .datasets.tables import Table
from .text_files import TEXT, csv_sql

__all__ = ["RAW", "batches"]

RAW: Final = " raw"
BATCH_ROWS: Final = 131_072
MEMORY: Final = "1GB"
CALLABLE: Final = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
DUCK_TYPES: Final = {
    "string": "VARCHAR",
    "int": "BIGINT",
    "float": "DOUBLE",
    "timestamp": "TIMESTAMPTZ",
    "date": "DATE",
    "boolean": "BOOLEAN",
}
INTEGERS: Final = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "HUGEINT"}
)
FRACTIONS: Final = frozenset({"FLOAT", "DOUBLE", "DECIMAL"})
TIMES: Final = frozenset(
    {"DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"}
)
MOMENTS: Final = frozenset({"TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"})


@dataclass(frozen=True)
class _Source:
    """One table of a shop, opened: its origin in SQL and what each column is in the source."""

    table: Table
    origin: str
    kinds: dict[str, str]
    prefix: str = ""


def batches(descriptor: Descriptor, table: Table) -> Iterator[pa.RecordBatch]:
    """Stream the declared columns of `table`, typed, times in UTC, and the `raw` texts beside them.

    Naive times are the shop's own time zone, and a `date` that orders are dated by is midnight there.
    Raises BadInput for a missing file or column, or a file that can't be read.
    """
    with _connection(descriptor) as connection:
        source = _open(connection, descriptor, table)
        columns = ", ".join(_column_sql(source, name) for name in table.columns)
        query = f"SELECT {columns} FROM {source.origin}{_where(table)}"
        try:
            for batch in connection.sql(query).to_arrow_reader(BATCH_ROWS):
                yield _in_utc(batch)
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise _unreadable(table, error) from None


def _connection(descriptor: Descriptor) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": "", "threads": 2})
    connection.execute(f"SET TimeZone = '{descriptor.time_zone}'")
    return connection


def _open(connection: duckdb.DuckDBPyConnection, descriptor: Descriptor, table: Table) -> _Source:
    origin, prefix = _origin(connection, descriptor, table)
    # From here on the descriptor's own SQL runs: it reads these files and nothing else, and changes no setting.
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    try:
        present = {row[0].lower() for row in connection.sql(f"DESCRIBE SELECT * FROM {origin}").fetchall()}
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise _unreadable(table, error) from None
    for name, column in table.columns.items():
        if column.source is not None and column.source.lower() not in present:
            raise BadInput(
                f"the source of table '{table.name}' has no column '{column.source}' for '{name}'",
                where=table.source,
                remedy="mend the descriptor or the file",
            )
    source = _Source(table, origin, {}, prefix)
    listed = ", ".join(f"{_expression(source, name)} AS {_quoted(name)}" for name in table.columns)
    try:
        rows = connection.sql(f"DESCRIBE SELECT {listed} FROM {origin}{_where(table)}").fetchall()
    except duckdb.Error as error:
        raise _bad_sql(table, error) from None
    return _Source(table, origin, {row[0]: row[1].partition("(")[0] for row in rows}, prefix)


def _origin(connection: duckdb.DuckDBPyConnection, descriptor: Descriptor, table: Table) -> tuple[str, str]:
    """Return what to select from, and what a column of `from` is prefixed with there."""
    found = _call(table) if CALLABLE.match(table.source) else table.source
    if not isinstance(found, str):
        connection.register("arrow_source", found)
        return "arrow_source", ""
    files = sorted(_matching(descriptor.base_dir, found))
    if not files:
        raise BadInput(f"table '{table.name}': no file '{table.source}'", remedy="put it beside the descriptor")
    listed = "[" + ", ".join("'" + str(file).replace("'", "''") + "'" for file in files) + "]"
    connection.execute(f"SET allowed_paths = {listed}")
    names = [file.name.lower() for file in files]
    kinds = {".csv.gz" if name.endswith(".csv.gz") else Path(name).suffix for name in names}
    if kinds == {".parquet"}:
        return f"read_parquet({listed}, union_by_name = true)", ""
    if kinds <= {".csv", ".csv.gz"}:
        try:
            return csv_sql(connection, table, listed), TEXT
        except (duckdb.Error, OSError) as error:
            raise _unreadable(table, error) from None
    raise BadInput(f"table '{table.name}': can't read '{table.source}'", remedy="give parquet, csv or csv.gz")


def _call(table: Table) -> str | pa.Table | pa.RecordBatchReader:
    module_name, _, function = table.source.partition(":")
    try:
        loader = getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError, SyntaxError):
        raise BadInput(f"table '{table.name}': there is no loader '{table.source}'") from None
    try:
        loaded = loader()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the shop's own code may raise anything, quoting anything
        what = f"table '{table.name}': the loader '{table.source}' failed ({type(error).__name__})"
        raise BadInput(what, remedy="run it by itself to see why") from None
    if isinstance(loaded, Path):
        return str(loaded.absolute())
    if isinstance(loaded, str | pa.Table | pa.RecordBatchReader):
        return loaded
    raise BadInput(f"table '{table.name}': '{table.source}' must return a path or an Arrow table or reader")


def _matching(base_dir: Path, pattern: str) -> list[Path]:
    path = expanded(Path(pattern))
    if not path.is_absolute():
        path = base_dir / path
    if any(mark in pattern for mark in "*?["):
        anchor = Path(path.anchor)
        return [file for file in anchor.glob(str(path.relative_to(anchor))) if file.is_file()]
    return [path] if path.is_file() else []


def _where(table: Table) -> str:
    return f" WHERE ({table.where})" if table.where else ""


def _expression(source: _Source, name: str) -> str:
    column = source.table.columns[name]
    return f"({column.sql})" if column.sql is not None else _quoted(f"{source.prefix}{column.source}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _column_sql(source: _Source, name: str) -> str:
    """Cast one column; where a cast can fail, keep the text it failed on."""
    table, held = source.table, source.kinds[name]
    expression, wanted = _expression(source, name), _wanted(source, name)
    by_day = _is_day(table, name)
    if held == wanted and not by_day:
        return f"{expression} AS {_quoted(name)}"
    cast = f"TRY_CAST({expression} AS {wanted})"
    if wanted == "BIGINT" and held in FRACTIONS:
        cast = f"CASE WHEN {expression} = trunc({expression}) THEN {cast} END"
    elif wanted == "BIGINT" and held == "VARCHAR":
        cast = rf"CASE WHEN regexp_full_match(trim({expression}), '[+-]?\d+') THEN {cast} END"
    elif wanted in MOMENTS | {"DATE"} and held not in TIMES | {"VARCHAR"}:
        raise BadInput(
            f"column '{table.name}.{name}' is no time in the source",
            remedy="write its sql so that it gives a timestamp",
        )
    elif wanted in MOMENTS and (held == "DATE" or by_day):
        cast = f"TRY_CAST(TRY_CAST(TRY_CAST({expression} AS DATE) AS TIMESTAMP) AS TIMESTAMPTZ)"
    if wanted in MOMENTS and held == "VARCHAR":
        # 'infinity' and the year 290000 are moments to DuckDB, and to nothing after it.
        cast = f"CASE WHEN isfinite({cast}) AND year({cast}) BETWEEN 1 AND 9999 THEN {cast} END"
    text = f"CASE WHEN {expression} IS NOT NULL AND {cast} IS NULL THEN CAST({expression} AS VARCHAR) END"
    return f"{cast} AS {_quoted(name)}, {text} AS {_quoted(name + RAW)}"


def _wanted(source: _Source, name: str) -> str:
    table, held = source.table, source.kinds[name]
    kind = table.kind_of(name)
    if kind is not None:
        wanted = DUCK_TYPES["timestamp" if _is_day(table, name) else kind]
    elif held in INTEGERS:
        wanted = "BIGINT"
    elif held in FRACTIONS:
        wanted = "DOUBLE"
    elif held in TIMES:
        wanted = "DATE" if held == "DATE" else "TIMESTAMPTZ"
    elif held == "BOOLEAN":
        wanted = held
    elif held in {"VARCHAR", "UUID", "ENUM"}:
        wanted = "VARCHAR"
    else:
        raise BadInput(f"column '{table.name}.{name}' has a type that can't be used", remedy="give it a type")
    if name == table.event_column and wanted not in MOMENTS | {"DATE"}:
        raise BadInput(f"column '{table.name}.{name}' dates the rows but is no time", remedy="add 'type: timestamp'")
    if table.role_of(name) != "attribute" and wanted not in {"BIGINT", "VARCHAR"}:
        raise BadInput(
            f"column '{table.name}.{name}' is an id but neither an integer nor a text",
            remedy="add 'type: int' or 'type: string'",
        )
    return "TIMESTAMP WITH TIME ZONE" if wanted == "TIMESTAMPTZ" and held == "TIMESTAMP WITH TIME ZONE" else wanted


def _is_day(table: Table, name: str) -> bool:
    """Say whether orders are dated by the day; features need instants."""
    return table.name == "transactions" and name == "ordered_at" and table.kind_of(name) == "date"


def _in_utc(batch: pa.RecordBatch) -> pa.RecordBatch:
    utc = pa.timestamp("us", "UTC")
    columns = [column.cast(utc) if pa.types.is_timestamp(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _bad_sql(table: Table, error: duckdb.Error) -> BadInput:
    # Bound before any row is read: DuckDB's words name columns of the source, no value.
    missing = re.search(r'[Rr]eferenced column "([^"]+)" (?:was )?not found', str(error))
    what = f"no column '{missing[1]}' in its source" if missing else "its sql or where can't be understood"
    return BadInput(f"table '{table.name}': {what}", where=table.source, remedy="mend the descriptor")


def _unreadable(table: Table, error: Exception) -> BadInput:
    # The cause's own text may quote a value, so only its class is told.
    return BadInput(
        f"table '{table.name}' can't be read ({type(error).__name__})",
        where=table.source,
        remedy="check that the file is whole, UTF-8 and of the type its name says",
    )
