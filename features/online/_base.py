"""Rows of bytes, one a person and view, each with its moment: what every online database can do with them."""

from __future__ import annotations

import hashlib
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from features.packing import Layout
from privacy.errors import BadInput, EnvironmentFailed

__all__ = ["LOGIN", "Batch", "Damaged", "Found", "PackedRows", "Writer", "mark_of"]

Found = tuple[int, bytes] | None
"""A row's moment in microseconds since 1970 and its bytes, or that there is none."""
LOGIN: Final = "mend the setting online, or the password in the variable that its password_env names, then repeat"
"""What to do where a server answers and lets nobody in; a password of PostgreSQL's may also be in ~/.pgpass."""
_PROJECT: Final = re.compile(r"[a-z][a-z0-9_]{0,40}")


class Damaged(EnvironmentFailed):
    """What is stored can't be read any more; it was made of tables that are kept, so it may be discarded."""


@dataclass(frozen=True)
class Batch:
    """Rows of one view: entity keys, moments in microseconds since 1970, and bytes of one layout, as many of each."""

    view: str
    layout: Layout
    keys: Sequence[bytes]
    moments: Sequence[int]
    rows: Sequence[bytes]
    least: int = 0
    """How many people must have equal rows of the view: those of fewer go when somebody is erased."""


class Writer(ABC):
    """What is written in one go: nobody sees a part of it where the database has transactions."""

    @abstractmethod
    def put(self, batch: Batch) -> None:
        """Write rows; an older one never replaces a newer one, and nobody erased comes back."""

    @abstractmethod
    def drop_newer(self, than: int) -> None:
        """Remove rows from after `than`, which a writer of all rows knows to be the end of data time."""

    @abstractmethod
    def drop_others(self, until: int) -> None:
        """Remove every row that this writer didn't write and that isn't newer than `until`."""


class PackedRows(ABC):
    """The rows of one Feast project in one database.

    Every call raises EnvironmentFailed where the database is away, full or damaged; the next call tries anew.
    """

    def __init__(self, project: str) -> None:
        if not _PROJECT.fullmatch(project):
            raise BadInput("a project's name is a letter, then letters, digits and underscores, all small")
        self.project = project
        self._layouts: dict[bytes, Layout] = {}
        self._clocks: dict[str, tuple[float, int | None]] = {}

    @abstractmethod
    def writing(self) -> AbstractContextManager[Writer]:
        """Begin to write; all of it is there when the block ends, none of it (or, on Redis, a part) when it fails."""

    @abstractmethod
    def read(self, keys: Sequence[bytes], views: Sequence[str]) -> list[list[Found]]:
        """Return, by view, a row or None for each key."""

    @abstractmethod
    def erase(self, keys: Sequence[bytes]) -> int:
        """Delete the rows of these keys in every view and let nobody write them again; return how many went.

        With them go, in views that say how many people must have equal rows, the rows that fewer are left to have.
        """

    @abstractmethod
    def of(self, key: bytes) -> list[tuple[str, int, bytes]]:
        """Return one person's rows: view, moment, bytes."""

    @abstractmethod
    def people(self, view: str) -> int:
        """Count a view's rows."""

    @abstractmethod
    def any_key(self, view: str) -> bytes | None:
        """Return the entity key of one row of a view, None without a row."""

    @abstractmethod
    def newest(self, view: str) -> int | None:
        """Return the newest moment of a view, None without a row."""

    @abstractmethod
    def stamp(self) -> Hashable:
        """Return something that differs when anything was written since; None where nothing was ever written."""

    @abstractmethod
    def runs(self) -> int | None:
        """Return how often anything was written; None where nothing ever was."""

    @abstractmethod
    def discard(self) -> None:
        """Remove every row, readable or not; where it can still be read, who was erased stays refused."""

    @abstractmethod
    def drop(self, views: Collection[str]) -> None:
        """Remove these views' rows."""

    @abstractmethod
    def _stored_layouts(self) -> dict[bytes, str]:
        """Return the layouts ever written, by id."""

    def clock(self, view: str) -> int | None:
        """Return the newest moment of a view, None without a row; up to a second old."""
        now = time.monotonic()
        if view not in self._clocks or self._clocks[view][0] < now:
            self._clocks[view] = (now + 1.0, self.newest(view))
        return self._clocks[view][1]

    def by_layout(self, rows: Sequence[tuple[int, bytes]]) -> Iterator[tuple[Layout, list[tuple[int, bytes]]]]:
        """Part numbered rows by layout; Damaged where one has none that is known: its person isn't unknown."""
        kinds = {row[1][:8] for row in rows}
        for kind in kinds:
            mine = list(rows) if len(kinds) == 1 else [row for row in rows if row[1].startswith(kind)]
            layout = self.layout_of(mine[0][1])
            if layout is None:
                what = f"{len(mine)} of {len(rows)} online rows can't be read: nobody knows how they were packed"
                raise Damaged(what, remedy="run `custos materialize`, which writes them anew")
            yield layout, mine

    def common_layout(self, rows: Sequence[bytes]) -> Layout | None:
        """Return the layout that all rows were packed with; None where there are several, or none is known."""
        layout = self.layout_of(rows[0]) if rows else None
        return layout if layout is not None and all(row.startswith(layout.id) for row in rows) else None

    def layout_of(self, row: bytes) -> Layout | None:
        """Return the layout that a row was packed with, None where nobody knows it."""
        wanted = row[:8]
        if wanted not in self._layouts:
            self._layouts = {key: Layout.parse(spec) for key, spec in self._stored_layouts().items()}
        return self._layouts.get(wanted)


def mark_of(key: bytes) -> bytes:
    """Return what is kept of an erased person's key, so that it is refused for good: 16 bytes that tell nothing.

    The key holds a random token, so a digest of it can't be found by trying.
    """
    return hashlib.sha256(b"erased\0" + key).digest()[:16]
