"""What transforms run on: an engine opens connections that give Ibis tables; DuckDB, in memory, in UTC, by default.

Feature expressions never name an engine. `features/engine_spark.py` is the other one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import ibis

from .source_files import listed
from .statements import SETTINGS

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa
    from ibis.backends.duckdb import Backend

__all__ = ["Connection", "DuckDb", "DuckDbConnection", "Engine"]


class Connection(Protocol):
    """Tables by name, for as long as it is open; sessions are in UTC."""

    def read_parquet(self, files: Sequence[Path], name: str) -> ir.Table:
        """Return the parquet `files` as one table called `name`; a column that one of them lacks is null there."""

    def place(self, table: pa.Table, name: str) -> ir.Table:
        """Return an Arrow table as a table of the connection."""

    def freeze(self, expression: ir.Table, name: str) -> ir.Table:
        """Compute `expression` once; return the result, which takes the place of an earlier one of that name."""

    def read(self, expression: ir.Table) -> pa.Table:
        """Return the result of `expression`."""

    def stream(self, expression: ir.Table, rows: int) -> Iterable[pa.RecordBatch]:
        """Return the result of `expression` as Arrow batches of at most about `rows` rows."""


class Engine(Protocol):
    """Opens connections; it holds settings, and no data."""

    name: ClassVar[str]

    def offline_store(self, folder: Path) -> Mapping[str, Any]:
        """Return how Feast's own offline store is configured; its files, if it has any, lie in `folder`."""

    def connect(self) -> AbstractContextManager[Connection]:
        """Open a connection, which is closed at the end, and with it every table of it."""


@dataclass(frozen=True)
class DuckDb:
    """DuckDB in this process, on so many `threads`, None for all cores; it never spills to disk.

    >>> with DuckDb().connect() as connection:
    ...     connection.read(ibis.memtable({"n": [1]}))["n"].to_pylist()
    [1]
    """

    name: ClassVar[str] = "duckdb"
    threads: int | None = None

    def offline_store(self, folder: Path) -> Mapping[str, Any]:  # noqa: ARG002  it writes no files
        """Return how Feast's own offline store is configured."""
        return {"type": "duckdb"}

    @contextmanager
    def connect(self) -> Iterator[DuckDbConnection]:
        """Open a database in memory for protected data."""
        threads = {} if self.threads is None else {"threads": self.threads}
        backend = ibis.duckdb.connect(**SETTINGS, **threads)
        try:
            yield DuckDbConnection(backend)
        finally:
            backend.disconnect()


class DuckDbConnection:
    """A `Connection` to a DuckDB; `statements` are those by which something was frozen, in order."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.statements: list[str] = []

    def read_parquet(self, files: Sequence[Path], name: str) -> ir.Table:
        """Return the files as a view, which is read anew by whatever asks it."""
        source = f"read_parquet({listed(files)}, union_by_name = true)"
        self.backend.raw_sql(f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM {source}")
        return self.backend.table(name)

    def place(self, table: pa.Table, name: str) -> ir.Table:
        """Return an Arrow table as a table of the connection, without copying it."""
        self.backend.con.register(name, table)
        return self.backend.table(name)

    def freeze(self, expression: ir.Table, name: str) -> ir.Table:
        """Compute `expression` once.

        Ibis 12's own create_table fails to parse on DuckDB 2.0, so the statement is ours.
        """
        statement = f"CREATE OR REPLACE TEMP TABLE {name} AS {self.backend.compile(expression)}"
        self.backend.raw_sql(statement)
        self.statements.append(statement)
        return self.backend.table(name)

    def read(self, expression: ir.Table) -> pa.Table:
        """Return the result of `expression`."""
        return self.backend.to_pyarrow(expression)

    def stream(self, expression: ir.Table, rows: int) -> pa.RecordBatchReader:
        """Return the result in batches.

        Ibis 12's own to_pyarrow_batches calls a method that DuckDB 2.0 no longer has.
        """
        return self.backend.con.sql(self.backend.compile(expression)).to_arrow_reader(rows)
