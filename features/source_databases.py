"""The rows of a query, streamed: one read-only transaction, a cursor on the server, typed as parquet would be."""

from __future__ import annotations

import decimal
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pyarrow as pa

from privacy.durable import expanded
from privacy.errors import BadInput, CustosError, EnvironmentFailed
from privacy.postgres_login import login_refused

from .datasets.database import Database
from .source_columns import quoted

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

__all__ = ["Answer", "asked"]

ROWS: Final = 16_384
"""Rows that are fetched together: some tens of megabytes as Python objects."""
PATIENCE_SECONDS: Final = 30
UTC_TIME: Final = pa.timestamp("us", "UTC")
LOOSE: Final = pa.decimal128(38, 18)
"""What `numeric` without a precision becomes: 20 digits before the point, 18 behind it."""
POSTGRES_TYPES: Final[dict[int, pa.DataType]] = {
    16: pa.bool_(),
    **dict.fromkeys((20, 21, 23, 26), pa.int64()),
    **dict.fromkeys((700, 701), pa.float64()),
    **dict.fromkeys((18, 19, 25, 1042, 1043, 2950), pa.string()),
    1082: pa.date32(),
    1114: pa.timestamp("us"),
    1184: UTC_TIME,
}
"""Type oids of PostgreSQL (pg_type.dat); `uuid` is text, as in parquet."""
NUMERIC: Final = 1700
OWN_TYPES: Final = 16_384
"""Oids from here on are a database's own types, such as enums, which come as text."""
UNFIT: Final = (ArithmeticError, TypeError, ValueError)
"""What Python and Arrow raise for a value that a column can't hold."""
STORAGE: Final = ("integer", "real", "text", "blob")
"""What SQLite may hold in any cell, whatever was declared (sqlite.org/datatype3.html)."""


class Answer:
    """What a query answers; `failure` says why the stream broke, which the reader's own error can't."""

    def __init__(
        self, schema: pa.Schema, rows: Iterator[Sequence[Sequence[Any]]], fail: Callable[[Exception], CustosError]
    ) -> None:
        self.failure: CustosError | None = None
        self._schema, self._rows, self._fail = schema, rows, fail

    def reader(self) -> pa.RecordBatchReader:
        """Return the rows as a stream that can be read once."""
        return pa.RecordBatchReader.from_batches(self._schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            for rows in self._rows:
                columns = zip(*rows, strict=True)
                arrays = [_array(values, field.type) for values, field in zip(columns, self._schema, strict=True)]
                yield pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        except (SQLAlchemyError, sqlite3.Error, pa.ArrowException, *UNFIT) as error:
            self.failure = self._fail(error)
            raise


@contextmanager
def asked(database: Database, base_dir: Path, environment: Mapping[str, str], table: str) -> Iterator[Answer]:
    """Ask the query of `database`; a SQLite file is seen from `base_dir`, a password's variable in `environment`.

    Raises BadInput for a query that can't be asked or a type that can't be used, EnvironmentFailed for a server that
    doesn't answer. No error quotes the address, the query or a value.
    """
    from sqlalchemy.exc import SQLAlchemyError

    def failed(error: Exception) -> CustosError:
        return _failure(error, database, table)

    with ExitStack() as stack:
        try:
            engine = _engine(database, base_dir, environment, table)
            stack.callback(engine.dispose)
            connection = stack.enter_context(engine.connect())
            if database.file is not None:
                answer = _sqlite_answer(connection, database, table, failed)
            else:
                answer = _postgres_answer(connection, database, table, failed)
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise failed(error) from None
        yield answer


def _engine(database: Database, base_dir: Path, environment: Mapping[str, str], table: str) -> Engine:
    import sqlalchemy as sa

    url = database.address
    if database.password_env is not None:
        if not environment.get(database.password_env):
            what = f"table '{table}': the variable {database.password_env} is not set"
            raise BadInput(what, where=database.place, remedy="put the database's password into it")
        url = url.set(password=environment[database.password_env])
    options: dict[str, Any] = {"poolclass": sa.pool.NullPool, "hide_parameters": True}
    if database.file is not None:
        path = base_dir / expanded(database.file)
        if not path.is_file():
            raise BadInput(f"table '{table}': no file '{database.file}'", remedy="put it beside the descriptor")
        return sa.create_engine("sqlite://", creator=lambda: _sqlite_connection(path.absolute()), **options)
    waiting = {} if "connect_timeout" in url.query else {"connect_timeout": PATIENCE_SECONDS}
    try:
        return sa.create_engine(url, connect_args=waiting, **options)
    except ImportError:
        what, remedy = f"table '{table}': no driver for its database is installed", "install the extra custos[postgres]"
        raise EnvironmentFailed(what, where=database.place, remedy=remedy) from None


def _sqlite_connection(path: Path) -> sqlite3.Connection:
    # DuckDB pulls rows in a thread of its own. `mode=ro` neither makes a file nor changes one.
    uri = f"file:{quote(str(path))}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=PATIENCE_SECONDS, check_same_thread=False, isolation_level=None)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA temp_store = MEMORY")  # a sort must not put rows on the disk
    return connection


def _sqlite_answer(
    connection: Connection, database: Database, table: str, failed: Callable[[Exception], CustosError]
) -> Answer:
    """SQLite types cells, not columns: one pass sees what a column holds, another gives it, both of one moment."""
    cursor: Any = connection.connection.cursor()
    cursor.execute("BEGIN")
    names = _names([row[0] for row in cursor.execute(database.query).description], table)
    seen = ", ".join(f"max(typeof({quoted(name)}) = '{kind}')" for name in names for kind in STORAGE)
    held = cursor.execute(f"SELECT {seen} FROM (\n{database.query}\n)").fetchone()
    schema = pa.schema(
        [
            (name, _storage_type(table, name, [bool(flag) for flag in held[4 * at : 4 * at + 4]]))
            for at, name in enumerate(names)
        ]
    )
    cursor.execute(database.query)
    rows = iter(lambda: cursor.fetchmany(ROWS), [])
    return Answer(schema, rows, failed)


def _storage_type(table: str, name: str, held: Sequence[bool]) -> pa.DataType:
    integer, real, text, blob = held
    if blob:
        raise _no_use(table, name, "holds bytes")
    if text:
        return pa.string()  # numbers among texts are texts
    return pa.float64() if real else pa.int64() if integer else pa.string()


def _postgres_answer(
    connection: Connection, database: Database, table: str, failed: Callable[[Exception], CustosError]
) -> Answer:
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True, "no_parameters": True}
    connection = connection.execution_options(**options)
    connection.exec_driver_sql("SET default_transaction_read_only = on")
    result = connection.execution_options(stream_results=True, max_row_buffer=ROWS).exec_driver_sql(database.query)
    described: Any = result.cursor.description if result.cursor is not None else None
    if not described:
        raise _no_use(table, "", "gives no columns")
    names = _names([column.name for column in described], table)
    schema = pa.schema(
        [(name, _postgres_type(table, name, column)) for name, column in zip(names, described, strict=True)]
    )
    return Answer(schema, result.partitions(ROWS), failed)


def _postgres_type(table: str, name: str, column: Any) -> pa.DataType:
    if column.type_code == NUMERIC:
        precision, scale = column.precision, column.scale
        exact = precision is not None and scale is not None and 0 <= scale <= precision <= 38
        return pa.decimal128(precision, scale) if exact else LOOSE
    if column.type_code >= OWN_TYPES:
        return pa.string()
    if column.type_code not in POSTGRES_TYPES:
        raise _no_use(table, name, "holds bytes" if column.type_code == 17 else "has a type that can't be used")
    return POSTGRES_TYPES[column.type_code]


def _names(names: Sequence[str], table: str) -> list[str]:
    lowered = [name.lower() for name in names]
    for name, low in zip(names, lowered, strict=True):
        if lowered.count(low) > 1:
            raise _no_use(table, name, "is there twice")
    return list(names)


def _no_use(table: str, name: str, why: str) -> BadInput:
    what = f"table '{table}': column '{name}' of the query {why}" if name else f"table '{table}': the query {why}"
    return BadInput(what, remedy="mend the query: leave it out, give it a name, or cast it there")


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if kind == LOOSE:
        context = decimal.Context(prec=38)
        step = decimal.Decimal(1).scaleb(-LOOSE.scale)
        values = [None if value is None else value.quantize(step, context=context) for value in values]
    elif pa.types.is_string(kind):
        values = [value if value is None or isinstance(value, str) else str(value) for value in values]
    elif pa.types.is_floating(kind):
        values = [None if value is None else float(value) for value in values]
    return pa.array(values, kind)


def _failure(error: Exception, database: Database, table: str) -> CustosError:
    """What is wrong, from the class and code of an error whose text may quote a value or an address."""
    from sqlalchemy.exc import DataError

    cause = getattr(error, "orig", None) or error
    state = str(getattr(cause, "sqlstate", None) or "")
    code = str(getattr(cause, "sqlite_errorname", None) or "")
    where = database.place
    if state == "25006" or (code == "SQLITE_READONLY" and database.file):
        return BadInput(f"table '{table}': its query would write", where=where, remedy="only read there")
    if state.startswith(("42", "0A", "26")) or code == "SQLITE_ERROR":
        told = f" (SQLSTATE {state})" if state else ""
        remedy = "try the query with the database's own client: its tables, columns, words and your rights there"
        return BadInput(f"table '{table}': the database refuses its query{told}", where=where, remedy=remedy)
    if state.startswith("22") or isinstance(error, DataError) or isinstance(cause, UNFIT):
        remedy = "cast it in the query: dates to the years 1 to 9999, numbers to double precision, bytes to text"
        return BadInput(f"table '{table}': its query gives a value that can't be used", where=where, remedy=remedy)
    if state.startswith("28") or login_refused(cause):
        held = f"the variable {database.password_env}" if database.password_env else "~/.pgpass or by 'password_env'"
        remedy = f"see that user, database and the password in {held} are right"
        return EnvironmentFailed(f"table '{table}': its database refuses the login", where=where, remedy=remedy)
    what = f"table '{table}': its database can't be read ({type(cause).__name__})"
    return EnvironmentFailed(what, where=where, remedy="see that it answers there and lets this user in")
