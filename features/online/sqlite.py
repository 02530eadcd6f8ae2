"""Packed rows in a SQLite file: read while it is written (write-ahead log), deleted bytes overwritten."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from features.private_files import make_private
from privacy.errors import EnvironmentFailed

from ._base import Batch, Damaged, Found, PackedRows, Writer, mark_of

__all__ = ["SqliteRows"]

BLOCK: Final = 500
"""Keys a question: SQLite's least limit of variables is 999."""
TIMEOUT_SECONDS: Final = 30.0
REMEDY: Final = "run `custos materialize`, which writes it anew"
_CREATE: Final = (
    (
        "CREATE TABLE IF NOT EXISTS {0}_rows (entity_key BLOB, view TEXT, moment INTEGER NOT NULL,"
        " value BLOB NOT NULL, written INTEGER NOT NULL, PRIMARY KEY (entity_key, view)) WITHOUT ROWID"
    ),
    "CREATE TABLE IF NOT EXISTS {0}_layouts (id BLOB PRIMARY KEY, spec TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS {0}_views (view TEXT PRIMARY KEY, newest INTEGER, least INTEGER) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS {0}_erased (mark BLOB PRIMARY KEY) WITHOUT ROWID",
)
_PUT: Final = (
    "INSERT INTO {0}_rows VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET written = excluded.written,"
    " value = iif(excluded.moment >= moment, excluded.value, value), moment = max(excluded.moment, moment)"
)


class SqliteRows(PackedRows):
    """The rows in the file at `path`, a connection a thread.

    `written` is the number of the transaction that wrote a row last; SQLite keeps the latest as its user_version.
    """

    def __init__(self, project: str, path: Path) -> None:
        super().__init__(project)
        self._path, self._name = path, str(path)
        self._threads = threading.local()
        self._held_to = f"SELECT view, least FROM {project}_views WHERE least > 1"
        self._small = (
            f"DELETE FROM {project}_rows WHERE view = ? AND value IN"
            f" (SELECT value FROM {project}_rows WHERE view = ? GROUP BY value HAVING count(*) < ?)"
        )
        self._one = f"SELECT view, moment, value FROM {project}_rows WHERE entity_key = ?"

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        make_private(self._path.parent)
        with self._transaction() as connection:
            run = int(connection.execute("PRAGMA user_version").fetchone()[0]) + 1
            yield _SqliteWriter(connection, self.project, run)
            connection.execute(f"PRAGMA user_version = {run}")
        # What is committed stands; that the file stands alone is a kindness, which readers or a full disk may hinder.
        with suppress(sqlite3.OperationalError):
            self._connection(create=False).execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def read(self, keys: Sequence[bytes], views: Sequence[str]) -> list[list[Found]]:
        try:  # not `_using`: a context manager costs a fifth of reading one person
            connection = self._connection(create=False)
            if len(keys) == 1:
                mine = {view: (moment, value) for view, moment, value in connection.execute(self._one, keys)}
                return [[mine.get(view)] for view in views]
            held: dict[str, dict[bytes, Found]] = {view: {} for view in views}
            for start in range(0, len(keys), BLOCK):
                part = keys[start : start + BLOCK]
                marks = ",".join("?" * len(part))
                text = f"SELECT entity_key, view, moment, value FROM {self.project}_rows WHERE entity_key IN ({marks})"
                for key, view, moment, value in connection.execute(text, part):
                    if view in held:
                        held[view][key] = (moment, value)
        except sqlite3.Error as error:
            raise self._failed(error) from None
        return [list(map(held[view].get, keys)) for view in views]

    def erase(self, keys: Sequence[bytes]) -> int:
        if not self._path.exists():
            return 0
        with self._transaction() as connection:
            connection.executemany(
                f"INSERT OR IGNORE INTO {self.project}_erased VALUES (?)", [(mark_of(key),) for key in keys]
            )
            text = f"DELETE FROM {self.project}_rows WHERE entity_key = ?"
            gone = sum(connection.execute(text, [key]).rowcount for key in keys)
            if gone:
                self._drop_small(connection)
        with self._using() as connection:
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            what = "the rows are gone, but their bytes stay in the log beside the file while others read it"
            raise EnvironmentFailed(what, where=str(self._path), remedy="stop what reads it for long, then repeat")
        return gone

    def _drop_small(self, connection: sqlite3.Connection) -> None:
        for view, least in connection.execute(self._held_to).fetchall():
            connection.execute(self._small, (view, view, least))

    def of(self, key: bytes) -> list[tuple[str, int, bytes]]:
        return self._all(self._one, key)

    def people(self, view: str) -> int:
        [(count,)] = self._all(f"SELECT count(*) FROM {self.project}_rows WHERE view = ?", view) or [(0,)]
        return int(count)

    def any_key(self, view: str) -> bytes | None:
        found = self._all(f"SELECT entity_key FROM {self.project}_rows WHERE view = ? LIMIT 1", view)
        return found[0][0] if found else None

    def newest(self, view: str) -> int | None:
        found = self._all(f"SELECT newest FROM {self.project}_views WHERE view = ?", view)
        return None if not found or found[0][0] is None else int(found[0][0])

    def stamp(self) -> Hashable:
        file, runs = self._file(), self.runs()
        return None if runs is None else (*file, runs)

    def runs(self) -> int | None:
        if not self._file()[0]:
            return None
        with self._using() as connection:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])

    def discard(self) -> None:
        self._close()
        for end in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + end).unlink(missing_ok=True)

    def drop(self, views: Collection[str]) -> None:
        if views and self._path.exists():
            with self._transaction() as connection:
                for view in views:
                    connection.execute(f"DELETE FROM {self.project}_rows WHERE view = ?", [view])
                    connection.execute(f"DELETE FROM {self.project}_views WHERE view = ?", [view])

    def _stored_layouts(self) -> dict[bytes, str]:
        with self._using() as connection:
            return dict(connection.execute(f"SELECT id, spec FROM {self.project}_layouts").fetchall())

    def _all(self, text: str, asked: object) -> list[Any]:
        """Ask one question; nothing is found in a file that isn't there."""
        if not self._path.exists():
            return []
        with self._using() as connection:
            return connection.execute(text, [asked]).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._using(create=True) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                for statement in _CREATE:
                    connection.execute(statement.format(self.project))
                self._drop_feasts(connection)
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _drop_feasts(self, connection: sqlite3.Connection) -> None:
        """Drop the tables of Feast's own store, which an older make wrote: no erasure looks into them any more."""
        text = (
            "SELECT name FROM sqlite_master AS it WHERE type = 'table' AND name GLOB ? AND EXISTS"
            " (SELECT 1 FROM pragma_table_info(it.name) AS said WHERE said.name = 'feature_name')"
        )
        for (name,) in connection.execute(text, [f"{self.project}_*"]).fetchall():
            connection.execute(f'DROP TABLE "{name}"')

    @contextmanager
    def _using(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        """Use this thread's connection; one on a file that somebody else put or wrote there is opened anew."""
        try:
            yield self._connection(create=create)
        except sqlite3.Error as error:
            raise self._failed(error) from None

    def _connection(self, *, create: bool) -> sqlite3.Connection:
        file = self._file()
        mine: tuple[tuple[int, int], sqlite3.Connection] | None = getattr(self._threads, "mine", None)
        if mine is None or mine[0] != file:
            self._close()
            connection = self._open(create)
            mine = self._threads.mine = (self._file(), connection)
        return mine[1]

    def _file(self) -> tuple[int, int]:
        try:
            status = os.stat(self._name)  # noqa: PTH116 - asked at every read, and a Path takes twice as long
        except FileNotFoundError:
            return (0, 0)
        return (status.st_ino, status.st_mtime_ns)

    def _failed(self, error: sqlite3.Error) -> EnvironmentFailed:
        """Give up the connection; return what to tell."""
        self._close()
        if not self._path.exists():
            return EnvironmentFailed("there are no online features yet", remedy="run `custos materialize`")
        if "full" in str(error) or "disk I/O" in str(error):
            what, remedy = (
                f"the online store can't be written: {error}",
                "free space, then repeat; what was there stays",
            )
            return EnvironmentFailed(what, where=str(self._path), remedy=remedy)
        kind = EnvironmentFailed if isinstance(error, sqlite3.OperationalError) else Damaged
        if "no such table" in str(error):
            kind = Damaged
        return kind("the online store can't be used", where=str(self._path), remedy=REMEDY)

    def _open(self, create: bool) -> sqlite3.Connection:
        if create:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        uri = f"file:{quote(str(self._path))}?mode=rw"
        connection = sqlite3.connect(
            uri, uri=True, timeout=TIMEOUT_SECONDS, isolation_level=None, cached_statements=256
        )
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "secure_delete = ON", "mmap_size = 268435456"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _close(self) -> None:
        mine = self._threads.__dict__.pop("mine", None)
        if mine is not None:
            mine[1].close()


class _SqliteWriter(Writer):
    """One transaction."""

    def __init__(self, connection: sqlite3.Connection, project: str, run: int) -> None:
        self._connection, self._project, self._run = connection, project, run
        self._put = _PUT.format(project)
        self._erased = {mark for (mark,) in connection.execute(f"SELECT mark FROM {project}_erased")}

    def put(self, batch: Batch) -> None:
        layout = (batch.layout.id, batch.layout.spec)
        self._connection.execute(f"INSERT OR IGNORE INTO {self._project}_layouts VALUES (?, ?)", layout)
        rows: Iterator[tuple[bytes, str, int, bytes, int]] = (
            (key, batch.view, moment, value, self._run)
            for key, moment, value in zip(batch.keys, batch.moments, batch.rows, strict=True)
        )
        if self._erased:
            rows = (row for row in rows if mark_of(row[0]) not in self._erased)
        self._connection.executemany(self._put, rows)
        if batch.moments:
            text = (
                f"INSERT INTO {self._project}_views VALUES (?, ?, ?) ON CONFLICT DO UPDATE"
                " SET newest = max(coalesce(newest, excluded.newest), excluded.newest), least = excluded.least"
            )
            self._connection.execute(text, (batch.view, max(batch.moments), batch.least))

    def drop_newer(self, than: int) -> None:
        self._connection.execute(f"DELETE FROM {self._project}_rows WHERE moment > ?", [than])

    def drop_others(self, until: int) -> None:
        text = f"DELETE FROM {self._project}_rows WHERE written <> ? AND moment <= ?"
        self._connection.execute(text, (self._run, until))
        rows, views = f"{self._project}_rows", f"{self._project}_views"
        newest = f"SELECT max(moment) FROM {rows} WHERE {rows}.view = {views}.view"
        self._connection.execute(f"UPDATE {views} SET newest = ({newest})")
