"""The Ibis connection that transforms run on: DuckDB, in memory, in UTC.

Feature expressions never name DuckDB; replacing the engine means replacing this file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Final

import ibis

from .statements import SETTINGS

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa
    from ibis.backends.duckdb import Backend

__all__ = ["connect", "freeze", "place", "read_parquet", "recording", "stream"]

_RECORDED: Final[ContextVar[list[str] | None]] = ContextVar("recorded", default=None)


@contextmanager
def connect(*, threads: int | None = None) -> Iterator[Backend]:
    """Open an in-memory DuckDB for protected data; it never spills to disk.

    The session's zone is UTC. The connection is closed at the end, and with it every frozen table.
    """
    settings = dict(SETTINGS)
    if threads is not None:
        settings["threads"] = threads
    connection = ibis.duckdb.connect(**settings)
    try:
        yield connection
    finally:
        connection.disconnect()


@contextmanager
def recording() -> Iterator[list[str]]:
    """Give the list that every statement by which something is frozen in the block is added to."""
    statements: list[str] = []
    token = _RECORDED.set(statements)
    try:
        yield statements
    finally:
        _RECORDED.reset(token)


def read_parquet(connection: Backend, files: Sequence[Path], name: str) -> ir.Table:
    """Return the parquet `files` as one table called `name`; a column that one of them lacks is null there."""
    listed = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
    source = f"read_parquet([{listed}], union_by_name = true)"
    connection.raw_sql(f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM {source}")
    return connection.table(name)


def freeze(connection: Backend, expression: ir.Table, name: str) -> ir.Table:
    """Compute `expression` once and return the result as a table of the connection.

    Ibis 12's own create_table fails to parse on DuckDB 2.0, so the statement is ours.
    """
    statement = f"CREATE OR REPLACE TEMP TABLE {name} AS {connection.compile(expression)}"
    connection.raw_sql(statement)
    recorded = _RECORDED.get()
    if recorded is not None:
        recorded.append(statement)
    return connection.table(name)


def place(connection: Backend, table: pa.Table, name: str) -> ir.Table:
    """Return an Arrow table as a table of the connection, without copying it."""
    connection.con.register(name, table)
    return connection.table(name)


def stream(connection: Backend, expression: ir.Table, rows: int) -> pa.RecordBatchReader:
    """Return the result of `expression` as Arrow batches of at most about `rows` rows.

    Ibis 12's own to_pyarrow_batches calls a method that DuckDB 2.0 no longer has.
    """
    return connection.con.sql(connection.compile(expression)).to_arrow_reader(rows)
