"""The SQLite files that frameworks make for themselves: whole or not there, never half-made, never made by reading.

A framework makes its tables in many transactions. One killed in between, or by a full disk, leaves a file that it
refuses ever after; so ours are made elsewhere and put in place once complete.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from privacy.durable import locked, write_beside
from privacy.errors import EnvironmentFailed

__all__ = ["ensure_whole", "file_of", "is_whole", "reason_of"]


def file_of(url: str) -> Path | None:
    """Return the file of a SQLite URL; None for every other address.

    >>> file_of("sqlite:////srv/mlflow.db").as_posix()
    '/srv/mlflow.db'
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        return None
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


def is_whole(file: Path, last: str) -> bool:
    """Tell whether a database is there and was made to the end, when its table `last` got its first row.

    Raises:
        EnvironmentFailed: the file is there and can't be read as a database.
    """
    if not file.exists():
        return False
    try:
        # Opened for writing, as what a killed writer left is rolled back by whoever reads next; never created.
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=rw", uri=True, timeout=30)) as connection:
            known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (last,)).fetchone()
            return bool(known) and connection.execute(f'SELECT 1 FROM "{last}" LIMIT 1').fetchone() is not None
    except sqlite3.Error as error:
        remedy = "restore it from its backup, or move it away and run `custos train churn` and `custos train clv`"
        raise EnvironmentFailed(f"the database can't be read: {error}", where=str(file), remedy=remedy) from None


def ensure_whole(url: str, last: str, make: Callable[[str], object]) -> None:
    """Let `make` fill an empty database, by its URL, and put it at `url` unless a whole one is there.

    What an unfinished one holds is dropped: nothing was ever kept in it. Addresses of servers are left alone.
    """
    file = file_of(url)
    if file is None or is_whole(file, last):
        return
    with locked(file.with_name(f".{file.name}.lock")), tempfile.TemporaryDirectory() as scratch:
        if is_whole(file, last):
            return  # another process was faster
        for stale in file.parent.glob(f".{file.name}.*.tmp"):
            stale.unlink(missing_ok=True)
        part = Path(scratch) / file.name
        make(f"sqlite:///{part}")
        for tail in ("-journal", "-wal", "-shm"):
            # Those of the unfinished one would be played back into the new.
            file.with_name(file.name + tail).unlink(missing_ok=True)
        write_beside(file, part.read_bytes())


def reason_of(error: BaseException) -> str:
    """Return why a store failed as its database or the system says it, which quotes no value; else the error's kind."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, sqlite3.Error):
            return str(cause)
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(getattr(error, "error_code", None) or type(error).__name__)
