"""The online store's SQLite file as such: opened, looked through and emptied by key; Feast's tables, not its code."""

from __future__ import annotations

import datetime as dt
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
from google.protobuf.message import DecodeError

from privacy.errors import EnvironmentFailed

from .definitions import PROJECT
from .profile import PROFILE

__all__ = ["OnlineSource", "connection_to", "delete_keys", "moment_of", "stamp_of", "tables_in", "unusable"]


def moment_of(stored: int | str) -> dt.datetime:
    """Return the moment that Feast stored."""
    # Feast writes a naive UTC time as if it were the machine's own; reading it the same way undoes that.
    return dt.datetime.fromtimestamp(int(stored)).replace(tzinfo=dt.UTC)  # noqa: DTZ006


@dataclass(frozen=True)
class OnlineSource:
    """What is put online: everybody's latest features, and what is told of people beside them, if anything is."""

    features: pd.DataFrame
    profile: pa.Table | None = None

    def of(self, view: str) -> pd.DataFrame:
        """The rows of a view."""
        return self.profile.to_pandas() if view == PROFILE and self.profile is not None else self.features


def stamp_of(path: Path) -> tuple[int, int]:
    """Return inode and time of change, which tell one version of a file from another; zeros where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return (0, 0)
    return (status.st_ino, status.st_mtime_ns)


@contextmanager
def connection_to(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file for one transaction that overwrites what it deletes; EnvironmentFailed when it can't be used."""
    try:
        with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
            connection.execute("PRAGMA secure_delete = ON")
            yield connection
    except (sqlite3.Error, DecodeError):
        raise unusable(path) from None


def unusable(path: Path) -> EnvironmentFailed:
    """What to raise when the file is damaged, or something else lies in its place."""
    remedy = "run `custos materialize`, which writes it anew"
    return EnvironmentFailed("the online store can't be used", where=str(path), remedy=remedy)


def tables_in(connection: sqlite3.Connection) -> list[str]:
    """List the views' tables."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return sorted(row[0] for row in rows if row[0].startswith(f"{PROJECT}_"))


def delete_keys(path: Path, keys: Sequence[bytes]) -> None:
    """Delete the rows of these entity keys from every view, overwriting their bytes, and sync."""
    if keys:
        with connection_to(path) as connection:
            for table in tables_in(connection):
                rows = [(key,) for key in keys]
                connection.executemany(f'DELETE FROM "{table}" WHERE entity_key = ?', rows)
    with path.open("rb") as file:
        os.fsync(file.fileno())
