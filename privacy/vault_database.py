"""How the vault's databases are opened, and rows moved in bulk: SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from privacy.errors import BadInput, EnvironmentFailed
from privacy.postgres_login import login_refused

__all__ = [
    "checkpoint",
    "default_key_store",
    "delete_rows",
    "file_of",
    "has_database",
    "insert_new",
    "insert_rows",
    "open_database",
    "reading",
    "select_rows",
    "transaction",
]

_BLOCK: Final = 500
"""Values in one IN (...): below every database's limit."""
_INSERT_ROWS: Final = 16_384
"""Rows in one statement to PostgreSQL, so that a statement stays small."""
_PATIENCE_SECONDS: Final = 30.0
_BEGIN: Final = "custos_begin"
_SQLITE: Final = (
    "page_size=8192",
    "journal_mode=WAL",
    "synchronous=FULL",
    "secure_delete=ON",
    "cache_size=-65536",
    "wal_autocheckpoint=8192",
)
"""Large pages, a cache and a log of 64 MB: rows with random keys touch every page of a big table."""
_AWAY: Final = "can't be reached on its server"
_REASONS: Final = {
    "57P": _AWAY,
    "SQLITE_BUSY": "is locked by another process",
    "SQLITE_LOCKED": "is locked by another process",
    "55P03": "is locked by another process",
    "40P01": "is locked by another process",
    "SQLITE_FULL": "could not be written: the disk is full",
    "SQLITE_IOERR": "could not be read or written",
    "53100": "could not be written: the disk is full",
    "SQLITE_CORRUPT": "is damaged",
    "SQLITE_NOTADB": "is damaged",
    "SQLITE_READONLY": "may not be written",
    "SQLITE_CANTOPEN": "can't be opened",
}
"""SQLite's result code or PostgreSQL's SQLSTATE -> what to say."""


def open_database(url: str, metadata: sa.MetaData, what: str) -> Engine:
    """An engine with the tables made; SQLite gets WAL, secure deletion and mode 0600."""
    parsed = _parsed(url, what)
    engine = _engine(parsed, what)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        path = file_of(url)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not path.exists():
                path.touch(mode=0o600)
    with reading(engine, what) as connection:
        there = set(sa.inspect(connection).get_table_names())
    if not there >= metadata.tables.keys():  # else nothing waits for whoever is writing just now
        with transaction(engine, what) as connection:
            metadata.create_all(connection)
    return engine


def has_database(url: str, what: str) -> bool:
    """Whether its tables were made there before; nothing is created."""
    parsed = _parsed(url, what)
    if parsed.get_backend_name() == "sqlite":
        path = file_of(url)
        return path is not None and path.is_file() and path.stat().st_size > 0
    engine = _engine(parsed, what)
    try:
        with transaction(engine, what) as connection:
            return bool(sa.inspect(connection).has_table("meta"))
    finally:
        engine.dispose()


def file_of(url: str) -> Path | None:
    """The file of a SQLite database; None for one in memory or on a server."""
    parsed = _parsed(url, "vault")
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return None
    return Path(parsed.database)


def default_key_store(url: str) -> str:
    """Where the key store lies when nobody says: `keystore.db` beside a SQLite vault."""
    path = file_of(url)
    if path is None:
        raise BadInput("no key store is named", remedy="give key_store_url; it is a database of its own")
    name = "keystore.db" if path.stem == "vault" else f"{path.stem}.keystore.db"
    return _parsed(url, "vault").set(database=str(path.with_name(name))).render_as_string(hide_password=False)


@contextmanager
def transaction(engine: Engine, what: str) -> Iterator[Connection]:
    """One writing transaction; database failures become EnvironmentFailed without the statement or its values."""
    try:
        with engine.begin() as connection:
            yield connection
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise EnvironmentFailed(
            f"the {what} {_reason(error)}",
            where=str(engine.url.database or engine.url.host or ""),
            remedy="check disk space, permissions and that nobody holds it, then run again; nothing was half-written",
        ) from None


@contextmanager
def reading(engine: Engine, what: str) -> Iterator[Connection]:
    """One transaction that sees one moment and writes nothing; failures as in `transaction`."""
    options = {_BEGIN: "BEGIN"} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with transaction(engine.execution_options(**options), what) as connection:
        yield connection


def insert_rows(connection: Connection, table: sa.Table, *columns: Iterable[Any], new: bool = False) -> int:
    """Insert whole columns, in the table's order, past SQLAlchemy's own work per row; how many rows went in.

    With `new`, rows whose primary key is there already are left out.
    """
    ignore = " ON CONFLICT DO NOTHING" if new else ""
    if connection.dialect.name != "postgresql":
        places = ", ".join("?" * len(table.columns))
        cursor: Any = connection.connection.cursor()
        # a zip makes no million tuples at once, which the garbage collector would go through again and again
        cursor.executemany(f"INSERT INTO {table.name} VALUES ({places}){ignore}", zip(*columns, strict=True))
        return max(cursor.rowcount, 0)
    kinds = [column.type.compile(connection.dialect) for column in table.columns]
    arrays = ", ".join(f"%b::{kind}[]" for kind in kinds)
    statement = f"INSERT INTO {table.name} SELECT * FROM unnest({arrays}){ignore}"
    rows, count = zip(*columns, strict=True), 0
    while block := list(islice(rows, _INSERT_ROWS)):
        values = tuple(list(column) for column in zip(*block, strict=True))
        count += connection.exec_driver_sql(statement, values).rowcount
    return count


def select_rows(
    connection: Connection, wanted: sa.Select[Any], key: sa.Column[Any], values: Collection[bytes]
) -> Iterator[Any]:
    """The rows of `wanted` whose `key` is among `values`, asked for in blocks."""
    ordered = sorted(values)
    for start in range(0, len(ordered), _BLOCK):
        yield from connection.execute(wanted.where(key.in_(ordered[start : start + _BLOCK])))


def delete_rows(connection: Connection, table: sa.Table, key: sa.Column[Any], values: Collection[bytes]) -> int:
    """Delete the rows whose `key` is among `values`; how many there were."""
    ordered = sorted(values)
    blocks = (ordered[start : start + _BLOCK] for start in range(0, len(ordered), _BLOCK))
    return sum(connection.execute(sa.delete(table).where(key.in_(block))).rowcount for block in blocks)


def insert_new(connection: Connection, table: sa.Table, *rows: tuple[Any, ...]) -> None:
    """Insert the rows whose primary key isn't there yet; the others are left as they are."""
    insert_rows(connection, table, *zip(*rows, strict=True), new=True)


def checkpoint(engine: Engine, what: str) -> None:
    """After a deletion: fold SQLite's log into the file and empty it, so no copy of the rows stays there.

    EnvironmentFailed when another process reads for so long that the log can't be emptied; run again then.
    """
    if engine.dialect.name != "sqlite":
        return
    patience = time.monotonic() + _PATIENCE_SECONDS
    while True:
        with transaction(engine.execution_options(**{_BEGIN: ""}), what) as connection:
            busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar_one()
        if not busy:
            return
        if time.monotonic() > patience:
            raise EnvironmentFailed(
                f"the log of the {what} can't be emptied while another process reads it",
                where=str(engine.url.database or ""),
                remedy="let the other process finish, then run again",
            )
        time.sleep(0.02)  # SQLite doesn't wait for another's checkpoint by itself


def _engine(parsed: URL, what: str) -> Engine:
    try:
        # hide_parameters: a database error must not quote a handle or a record
        return sa.create_engine(parsed, hide_parameters=True, connect_args=_connect_arguments(parsed))
    except ImportError:
        raise EnvironmentFailed(
            f"no driver for the {what}'s database is installed", remedy="install the extra custos[postgres]"
        ) from None


def _parsed(url: str, what: str) -> URL:
    """The URL, if its kind of database is known; never quoted in the error, since it may hold a password."""
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")  # the driver of the extra
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError):
        raise BadInput(
            f"the {what}'s address is not a database URL", remedy="such as sqlite:////home/vault/vault.db"
        ) from None
    except ImportError:
        return parsed
    return parsed


def _connect_arguments(url: URL) -> dict[str, object]:
    """Wait for half a minute for others, unless the URL itself says how long."""
    name, seconds = (
        ("timeout", _PATIENCE_SECONDS)
        if url.get_backend_name() == "sqlite"
        else ("connect_timeout", int(_PATIENCE_SECONDS))
    )
    return {} if name in url.query else {name: seconds}


def _reason(error: Exception) -> str:
    cause = getattr(error, "orig", error)
    name = str(getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or "")
    for code, reason in _REASONS.items():
        if name.startswith(code):
            return reason
    if login_refused(cause):
        return "is on a server that refuses the login (user, password or database)"
    if not name and hasattr(cause, "sqlstate"):  # no answer of the server's, but that there was none
        return _AWAY
    return f"failed ({type(error).__name__})"


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes late, and never before a read
    cursor = connection.cursor()
    for pragma in _SQLITE:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # Writers take the lock at once: a reader that turns writer would fail instead of waiting its turn.
    begin = str(connection.get_execution_options().get(_BEGIN, "BEGIN IMMEDIATE"))
    if begin:
        connection.exec_driver_sql(begin)
