"""The online store's SQLite file as such: opened, looked through and emptied by key; Feast's tables, not its code."""

from __future__ import annotations

import datetime as dt
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
from google.protobuf.message import DecodeError

from privacy.errors import EnvironmentFailed

from .definitions import PROJECT
from .profile import PROFILE
from .small_classes import delete_small_classes

__all__ = [
    "OnlineSource",
    "connection_to",
    "delete_keys",
    "moment_of",
    "note_least_class",
    "stamp_of",
    "tables_in",
    "unusable",
]

TOLD: Final = f"{PROJECT}_{PROFILE}"


def moment_of(stored: int | str) -> dt.datetime:
    """Return the moment that Feast stored."""
    # Feast writes a naive UTC time as if it were the machine's own; reading it the same way undoes that.
    return dt.datetime.fromtimestamp(int(stored)).replace(tzinfo=dt.UTC)  # noqa: DTZ006


@dataclass(frozen=True)
class OnlineSource:
    """What is put online: everybody's latest features; what is told of people beside them, if anything, and its k."""

    features: pd.DataFrame
    profile: pa.Table
    k: int | None

    def of(self, view: str) -> pd.DataFrame:
        """The rows of a view."""
        return self.profile.to_pandas() if view == PROFILE else self.features


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
            connection.execute("PRAGMA temp_store = MEMORY")  # nobody's row goes to a temporary file
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


def note_least_class(path: Path, k: int) -> None:
    """Note the k that what is told of people keeps, in the file itself."""
    with connection_to(path) as connection:
        connection.execute(f"PRAGMA user_version = {k:d}")


def delete_keys(path: Path, keys: Sequence[bytes]) -> None:
    """Delete the rows of these entity keys from every view, overwriting their bytes, and sync.

    What is told of those whose class has fewer than k left goes in the same transaction.
    """
    if keys:
        with connection_to(path) as connection:
            for table in tables_in(connection):
                rows = [(key,) for key in keys]
                gone = connection.executemany(f'DELETE FROM "{table}" WHERE entity_key = ?', rows).rowcount
                if table == TOLD and gone:
                    delete_small_classes(connection, TOLD)
    with path.open("rb") as file:
        os.fsync(file.fileno())
