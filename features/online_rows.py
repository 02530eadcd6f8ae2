"""People's online rows as the gateway reads, writes and erases them: packed rows, without Feast in between."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from privacy.errors import CheckFailed
from privacy.rights import Subject
from privacy.tokens import parse_token

from .gateway_types import OnlineColumns
from .online import Damaged, PackedRows
from .online_store import EPOCH, MICROSECOND, layout_of, microseconds
from .packed_views import ENTITY, PERSON, ROWS, Destination, key_prefix, keys_of, put_batches
from .packing import Layout

__all__ = ["OnlineRows"]

TOKEN_LENGTH: Final = len("fs_") + 2 + 34
_BEFORE: Final = key_prefix(ENTITY)


@dataclass(frozen=True)
class _Known:
    """What is online: the data time of the newest row, and the id of the key that made its tokens."""

    as_of: dt.datetime | None = None
    key_id: str | None = None


class OnlineRows:
    """The online rows of one home; a SubjectStore, and what a service reads.

    `note` is the file that says what needn't be written again: whoever meets damaged rows takes it away.
    """

    def __init__(self, rows: PackedRows, note: Path | None = None) -> None:
        self._rows, self._note = rows, note
        self._known: tuple[Hashable, _Known] | None = None

    @property
    def name(self) -> str:
        """What a receipt calls this store."""
        return "online features"

    def replace(
        self,
        views: Sequence[Any],
        tables: Callable[[str], tuple[pa.Table, int]],
        as_of: dt.datetime,
        clock: dt.datetime,
        *,
        whole: bool = True,
    ) -> int:
        """Write rows of each view, all at once; if `whole`, who isn't among them leaves, unless newer than `as_of`.

        `tables` gives a view's table with customer_token, event_timestamp and its features, and how many people must
        have equal ones (0 for any); it is asked when nobody can be erased meanwhile. Nothing is kept from after
        `clock`, where data time ends. Returns how many people.
        """
        try:
            return self._replace(views, tables, microseconds(as_of), microseconds(clock), whole)
        except Damaged:
            if not whole:
                raise
            self._rows.discard()
            return self._replace(views, tables, microseconds(as_of), microseconds(clock), whole)

    def read(
        self,
        views: Sequence[tuple[str, tuple[str, ...]]],
        tokens: Sequence[str],
        oldest: dt.datetime,
        answer: OnlineColumns,
        places: npt.NDArray[np.int64],
    ) -> None:
        """Fill `answer` at `places` with the views' columns of `tokens`, as far as a row isn't older than `oldest`.

        Raises Damaged or CheckFailed where a row can't be read; the next materialisation then writes everything.
        """
        try:
            self._read(views, tokens, microseconds(oldest), answer, places)
        except (Damaged, CheckFailed):
            if self._note is not None:
                self._note.unlink(missing_ok=True)
            raise

    def _read(
        self,
        views: Sequence[tuple[str, tuple[str, ...]]],
        tokens: Sequence[str],
        limit: int,
        answer: OnlineColumns,
        places: npt.NDArray[np.int64],
    ) -> None:
        keys = keys_of(_BEFORE, [token.encode() for token in tokens])
        found = self._rows.read(keys, [view for view, _ in views])
        for (_, names), rows in zip(views, found, strict=True):
            fresh = [row[1] for row in rows if row is not None and row[0] >= limit]
            layout = self._rows.common_layout(fresh) if len(fresh) == answer.count else None
            if layout is not None:
                answer.take(None, layout, fresh, names)
                continue
            numbered = [(at, row[1]) for at, row in enumerate(rows) if row is not None and row[0] >= limit]
            for layout, mine in self._rows.by_layout(numbered):
                answer.take(places[[place for place, _ in mine]], layout, [row for _, row in mine], names)

    def as_of(self) -> dt.datetime | None:
        """Return the data time of the newest row, or None before the first materialisation."""
        return self._held().as_of

    def key_id(self) -> str | None:
        """Return the id of the key that made the tokens online, or None while nobody is."""
        return self._held().key_id

    def written(self) -> bool:
        """Say whether anything was ever written."""
        return self._rows.stamp() is not None

    def size(self) -> int:
        """Count the people online."""
        return self._rows.people(PERSON)

    def count(self, subject: Subject) -> int:
        """Count the views that hold a row of the person."""
        return sum(len(self._rows.of(key)) for key in _keys(subject))

    def export(self, subject: Subject) -> list[dict[str, object]]:
        """List the person's rows, one a view."""
        told: list[dict[str, object]] = []
        for key in _keys(subject):
            for view, moment, row in self._rows.of(key):
                layout = self._rows.layout_of(row) or Layout(())
                values = {name: column[0] for name, column in zip(layout.names, layout.lists([row]), strict=True)}
                told.append({"view": view, "as_of": _moment(moment).isoformat(), **values})
        return told

    def erase(self, subject: Subject) -> int:
        """Delete the person's rows, overwrite their bytes and let nobody write them again; return how many views."""
        return self._rows.erase(_keys(subject))

    def verify(self, subject: Subject) -> int:
        """Count what remains of the person."""
        return self.count(subject)

    def _replace(
        self, views: Sequence[Any], tables: Callable[[str], tuple[pa.Table, int]], as_of: int, clock: int, whole: bool
    ) -> int:
        people = 0
        with self._rows.writing() as writer:
            writer.drop_newer(clock)
            for view in views:
                table, least = tables(view.name)
                if table.num_rows == 0:  # of nobody, perhaps without the view's columns
                    continue
                into = Destination(writer, view.name, layout_of(view), least)
                put_batches(into, table.to_batches(max_chunksize=ROWS), ENTITY, "event_timestamp")
                people += table.num_rows if view.name == PERSON else 0
            if whole:
                writer.drop_others(as_of)
        return people

    def _held(self) -> _Known:
        stamp = self._rows.stamp()
        if self._known is None or self._known[0] != stamp:
            newest = self._rows.newest(PERSON)
            known = _Known()
            if newest is not None:
                key = self._rows.any_key(PERSON)
                known = _Known(_moment(newest), None if key is None else _key_id(key))
            self._known = (stamp, known)
        return self._known[1]


def _keys(subject: Subject) -> list[bytes]:
    return keys_of(_BEFORE, [token.encode() for token in subject.tokens])


def _key_id(key: bytes) -> str:
    return parse_token(key[-TOKEN_LENGTH:].decode("ascii")).key_id


def _moment(stored: int) -> dt.datetime:
    return EPOCH + stored * MICROSECOND
