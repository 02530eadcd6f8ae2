"""Tables of the vault and of its key store, and how their databases are opened.

Every table is keyed by something random or keyed-hashed and has no row id, so no page keeps arrival order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from privacy.errors import BadInput, EnvironmentFailed

__all__ = [
    "KEY_STORE",
    "LOOKUP_BLOCK",
    "SCHEMA_VERSION",
    "VAULT",
    "aliases",
    "checkpoint",
    "default_key_store",
    "has_database",
    "identities",
    "insert_new",
    "key_store_meta",
    "key_store_tombstones",
    "keys",
    "open_database",
    "people",
    "tombstones",
    "transaction",
    "vault_meta",
]

SCHEMA_VERSION: Final = 1
LOOKUP_BLOCK: Final = 500
"""Values in one IN (...): below every database's limit."""

VAULT: Final = sa.MetaData()
KEY_STORE: Final = sa.MetaData()


def _table(name: str, metadata: sa.MetaData, *columns: sa.Column[Any]) -> sa.Table:
    return sa.Table(name, metadata, *columns, sqlite_with_rowid=False)


people: Final = _table(
    "people",
    VAULT,
    sa.Column("handle", sa.LargeBinary(16), primary_key=True),
    sa.Column("record", sa.LargeBinary, nullable=False),
)
identities: Final = _table(
    "identities",
    VAULT,
    sa.Column("idx", sa.LargeBinary(16), primary_key=True),
    sa.Column("handle", sa.LargeBinary(16), sa.ForeignKey(people.c.handle), nullable=False, index=True),
)
aliases: Final = _table(
    "aliases",
    VAULT,
    sa.Column("old", sa.LargeBinary(16), primary_key=True),
    sa.Column("canonical", sa.LargeBinary(16), nullable=False, index=True),
)


def _tombstones(metadata: sa.MetaData) -> sa.Table:
    return _table(
        "tombstones",
        metadata,
        sa.Column("mac", sa.LargeBinary(16), primary_key=True),
        sa.Column("erased_at", sa.BigInteger, nullable=False),  # microseconds since 1970, UTC
        sa.Column("receipt", sa.String(40), nullable=False),
        sa.Column("severed", sa.Boolean, nullable=False),
    )


def _meta(metadata: sa.MetaData) -> sa.Table:
    return _table(
        "meta",
        metadata,
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("value", sa.String(200), nullable=False),
    )


tombstones: Final = _tombstones(VAULT)
vault_meta: Final = _meta(VAULT)
keys: Final = _table(
    "keys",
    KEY_STORE,
    sa.Column("handle", sa.LargeBinary(16), primary_key=True),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
)
key_store_tombstones: Final = _tombstones(KEY_STORE)
key_store_meta: Final = _meta(KEY_STORE)


def open_database(url: str, metadata: sa.MetaData, what: str) -> Engine:
    """An engine with the tables made; SQLite gets WAL, secure deletion, foreign keys and mode 0600."""
    parsed = _parsed(url, what)
    engine = _engine(parsed, what)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
        if parsed.database and parsed.database != ":memory:":
            path = Path(parsed.database)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not path.exists():
                path.touch(mode=0o600)
    with transaction(engine, what) as connection:
        metadata.create_all(connection)
    return engine


def has_database(url: str, what: str) -> bool:
    """Whether its tables were made there before; nothing is created."""
    parsed = _parsed(url, what)
    if parsed.get_backend_name() == "sqlite":
        path = Path(parsed.database or ":memory:")
        return path.is_file() and path.stat().st_size > 0
    engine = _engine(parsed, what)
    try:
        with transaction(engine, what) as connection:
            return bool(sa.inspect(connection).has_table("meta"))
    finally:
        engine.dispose()


def default_key_store(url: str) -> str:
    """Where the key store lies when nobody says: `keystore.db` beside a SQLite vault."""
    parsed = _parsed(url, "vault")
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise BadInput("no key store is named", remedy="give key_store_url; it is a database of its own")
    path = Path(parsed.database)
    name = "keystore.db" if path.stem == "vault" else f"{path.stem}.keystore.db"
    return parsed.set(database=str(path.with_name(name))).render_as_string(hide_password=False)


@contextmanager
def transaction(engine: Engine, what: str) -> Iterator[Connection]:
    """One transaction; database failures become EnvironmentFailed without the statement or its values."""
    try:
        with engine.begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise EnvironmentFailed(
            f"the {what} failed ({type(error).__name__})",
            where=str(engine.url.database or engine.url.host or ""),
            remedy="check disk space, permissions and that it is not damaged; nothing was half-written",
        ) from None


def insert_new(connection: Connection, table: sa.Table, rows: Sequence[dict[str, object]]) -> None:
    """Insert the rows whose primary key isn't there yet; the others are left as they are."""
    if rows:
        make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        connection.execute(make(table).on_conflict_do_nothing(), rows)


def checkpoint(engine: Engine, what: str) -> None:
    """After a deletion: fold SQLite's log into the file and empty it, so no copy of the rows stays there."""
    if engine.dialect.name == "sqlite":
        outside = engine.execution_options(isolation_level="AUTOCOMMIT")
        with transaction(outside, what) as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


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
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError):
        raise BadInput(
            f"the {what}'s address is not a database URL", remedy="such as sqlite:////home/vault/vault.db"
        ) from None
    except ImportError:
        return make_url(url)
    return parsed


def _connect_arguments(url: URL) -> dict[str, object]:
    return {"timeout": 30.0} if url.get_backend_name() == "sqlite" else {}


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
