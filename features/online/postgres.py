"""Packed rows in PostgreSQL: copied into a table of the moment, then merged by one statement in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import sql

from privacy.errors import EnvironmentFailed
from privacy.postgres_login import login_refused

from ._base import LOGIN, Batch, Found, PackedRows, Writer, mark_of

__all__ = ["PostgresRows"]

_TABLES: Final = (
    (
        "CREATE TABLE IF NOT EXISTS {rows} (entity_key bytea, view text, moment bigint NOT NULL, value bytea NOT NULL,"
        " written bigint NOT NULL, PRIMARY KEY (entity_key, view))"
    ),
    "CREATE TABLE IF NOT EXISTS {layouts} (id bytea PRIMARY KEY, spec text NOT NULL)",
    "CREATE TABLE IF NOT EXISTS {erased} (mark bytea PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS {views} (view text PRIMARY KEY, newest bigint, least int NOT NULL)",
    "CREATE TABLE IF NOT EXISTS {stamp} (single boolean PRIMARY KEY CHECK (single), run bigint NOT NULL)",
    "CREATE SEQUENCE IF NOT EXISTS {runs}",
)
_LOCK: Final = 0x637573746F730001
"""Writers take turns: an advisory lock by this number, held to the end of the transaction."""
_MERGE: Final = (
    "INSERT INTO {rows} SELECT entity_key, %s, moment, value, %s FROM arriving"
    " ON CONFLICT (entity_key, view) DO UPDATE SET written = excluded.written,"
    " value = CASE WHEN excluded.moment >= {rows}.moment THEN excluded.value ELSE {rows}.value END,"
    " moment = greatest(excluded.moment, {rows}.moment)"
)

_SMALL: Final = (
    "DELETE FROM {rows} USING (SELECT view, value FROM {rows} JOIN {views} USING (view) WHERE least > 1"
    " GROUP BY view, value, least HAVING count(*) < least) AS small"
    " WHERE {rows}.view = small.view AND {rows}.value = small.value"
)
_NEWEST: Final = (
    "INSERT INTO {views} VALUES (%s, %s, %s) ON CONFLICT (view) DO UPDATE"
    " SET newest = greatest({views}.newest, excluded.newest), least = excluded.least"
)


class PostgresRows(PackedRows):
    """The rows of a project in one PostgreSQL schema (the URL's search path), a connection a thread."""

    def __init__(self, project: str, url: str) -> None:
        super().__init__(project)
        self._url = url
        self._threads = threading.local()
        self._names = {
            part: sql.Identifier(f"{project}_{part}")
            for part in ("rows", "layouts", "erased", "views", "stamp", "runs")
        }
        self._one = self.statement("SELECT view, moment, value FROM {rows} WHERE entity_key = %s")
        self._many = self.statement("SELECT entity_key, view, moment, value FROM {rows} WHERE entity_key = ANY(%s)")

    def statement(self, text: str) -> sql.Composed:
        """Return a statement on this project's tables."""
        return sql.SQL(text).format(**self._names, runs_name=sql.Literal(f"{self.project}_runs"))

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        with self._changing() as (connection, run):
            yield _PostgresWriter(self, connection, run)

    def read(self, keys: Sequence[bytes], views: Sequence[str]) -> list[list[Found]]:
        with self._using() as connection:
            if len(keys) == 1:
                mine = {view: (moment, value) for view, moment, value in connection.execute(self._one, [keys[0]])}
                return [[mine.get(view)] for view in views]
            asked = connection.execute(self._many, [list(keys)], binary=True)
            found: dict[tuple[bytes, str], Found] = {(key, view): (at, value) for key, view, at, value in asked}
        return [[found.get((key, view)) for key in keys] for view in views]

    def erase(self, keys: Sequence[bytes]) -> int:
        with self._changing() as (connection, _):
            text = self.statement("INSERT INTO {erased} VALUES (%s) ON CONFLICT DO NOTHING")
            connection.cursor().executemany(text, [(mark_of(key),) for key in keys])
            gone = self.statement("DELETE FROM {rows} WHERE entity_key = ANY(%s)")
            number = int(connection.execute(gone, [list(keys)]).rowcount)
            if number:
                connection.execute(self.statement(_SMALL))
            return number

    def of(self, key: bytes) -> list[tuple[str, int, bytes]]:
        return self._all("SELECT view, moment, value FROM {rows} WHERE entity_key = %s ORDER BY view", key)

    def people(self, view: str) -> int:
        return sum(count for (count,) in self._all("SELECT count(*) FROM {rows} WHERE view = %s", view))

    def any_key(self, view: str) -> bytes | None:
        found = self._all("SELECT entity_key FROM {rows} WHERE view = %s LIMIT 1", view)
        return bytes(found[0][0]) if found else None

    def newest(self, view: str) -> int | None:
        found = self._all("SELECT newest FROM {views} WHERE view = %s", view)
        return None if not found or found[0][0] is None else int(found[0][0])

    def stamp(self) -> Hashable:
        return self.runs()

    def runs(self) -> int | None:
        found = self._all("SELECT run FROM {stamp} WHERE single = %s", True)
        return int(found[0][0]) if found else None

    def discard(self) -> None:
        with self._changing() as (connection, _):
            connection.execute(self.statement("TRUNCATE {rows}, {layouts}, {views}"))

    def drop(self, views: Collection[str]) -> None:
        if not views or not self._there():
            return
        with self._changing() as (connection, _):
            for table in ("rows", "views"):
                connection.execute(self.statement(f"DELETE FROM {{{table}}} WHERE view = ANY(%s)"), [list(views)])

    def _stored_layouts(self) -> dict[bytes, str]:
        return {bytes(key): spec for key, spec in self._all("SELECT id, spec FROM {layouts} WHERE id <> %s", b"")}

    @contextmanager
    def _changing(self) -> Iterator[tuple[Any, int]]:
        """Hold the one transaction that may write, with the number of its run; others see both at once, or neither."""
        with self._using() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            for text in _TABLES:
                connection.execute(self.statement(text))
            # A sequence alone would tell of the run before its rows are there.
            text = "INSERT INTO {stamp} VALUES (true, nextval({runs_name}))"
            stamped = self.statement(text + " ON CONFLICT (single) DO UPDATE SET run = excluded.run RETURNING run")
            yield connection, connection.execute(stamped).fetchone()[0]

    def _there(self) -> bool:
        with self._using() as connection:
            name = f"{self.project}_rows"
            return connection.execute("SELECT to_regclass(%s) IS NOT NULL", [name]).fetchone()[0] is True

    def _all(self, text: str, asked: object) -> list[Any]:
        """Ask one question; nothing is found where nothing was ever written."""
        try:
            with self._using() as connection:
                return list(connection.execute(self.statement(text), [asked]))
        except _NothingThere:
            return []

    @contextmanager
    def _using(self) -> Iterator[Any]:
        """Use this thread's connection; a broken one is dropped, and the next call opens another."""
        try:
            connection = getattr(self._threads, "connection", None)
            if connection is None or connection.closed:
                connection = self._threads.connection = psycopg.connect(self._url, autocommit=True, connect_timeout=10)
            yield connection
        except psycopg.errors.UndefinedTable:
            raise _NothingThere("there are no online features yet", remedy="run `custos materialize`") from None
        except psycopg.Error as error:
            broken = self._threads.__dict__.pop("connection", None)
            if broken is not None:
                broken.close()
            raise _failed(error) from None


def _failed(error: psycopg.Error) -> EnvironmentFailed:
    """Return what to tell; the server's own words may quote a value."""
    if login_refused(error):
        return EnvironmentFailed("the online store on PostgreSQL refuses the login", remedy=LOGIN)
    what = f"the online store on PostgreSQL can't be used ({type(error).__name__})"
    remedy = "see that the server runs there and has space, then repeat; what was there stays"
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        remedy = "let its role read and write there, and create tables in its schema"
    elif isinstance(error, psycopg.errors.ProgrammingError):  # of another shape than what is made here
        remedy = "drop the tables named custos_ there, or name an empty schema, then run `custos materialize`"
    return EnvironmentFailed(what, remedy=remedy)


class _NothingThere(EnvironmentFailed):
    """No table was ever made."""


class _PostgresWriter(Writer):
    """One transaction."""

    def __init__(self, rows: PostgresRows, connection: Any, run: int) -> None:
        self._rows, self._connection, self._run = rows, connection, run
        self._erased = {bytes(mark) for (mark,) in connection.execute(rows.statement("SELECT mark FROM {erased}"))}

    def put(self, batch: Batch) -> None:
        do, rows = self._connection.execute, self._rows
        layout = rows.statement("INSERT INTO {layouts} VALUES (%s, %s) ON CONFLICT DO NOTHING")
        do(layout, [batch.layout.id, batch.layout.spec])
        do("CREATE TEMP TABLE IF NOT EXISTS arriving (entity_key bytea, moment bigint, value bytea) ON COMMIT DROP")
        do("TRUNCATE arriving")
        with self._connection.cursor().copy("COPY arriving FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["bytea", "int8", "bytea"])
            for row in zip(batch.keys, batch.moments, batch.rows, strict=True):
                if not self._erased or mark_of(row[0]) not in self._erased:
                    copy.write_row(row)
        do(rows.statement(_MERGE), [batch.view, self._run])
        if batch.moments:
            do(rows.statement(_NEWEST), [batch.view, max(batch.moments), batch.least])

    def drop_newer(self, than: int) -> None:
        self._connection.execute(self._rows.statement("DELETE FROM {rows} WHERE moment > %s"), [than])

    def drop_others(self, until: int) -> None:
        do, rows = self._connection.execute, self._rows
        do(rows.statement("DELETE FROM {rows} WHERE written <> %s AND moment <= %s"), [self._run, until])
        newest = "(SELECT max(moment) FROM {rows} WHERE {rows}.view = {views}.view)"
        do(rows.statement("UPDATE {views} SET newest = " + newest))
