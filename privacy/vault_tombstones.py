"""Tombstones: whose ids were erased and when, so that rows from before are refused; no id, only its MAC."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sqlalchemy as sa

from privacy.cmac import Mac
from privacy.errors import BadInput
from privacy.identifiers import canonical_ids
from privacy.vault_changes import State
from privacy.vault_database import delete_rows, insert_new, reading
from privacy.vault_schema import tombstones
from privacy.vault_segment import Segment

__all__ = ["LAST_MOMENT", "Tombstone", "Tombstones", "settle_tombstones", "upsert_tombstones"]

Blocks = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

_WHAT = "vault"
LAST_MOMENT = 253_402_300_799_999_999
"""The end of the year 9999 in microseconds: an erasure under way refuses every row."""


@dataclass(frozen=True, repr=False)
class Tombstone:
    """An erasure that began: the erased id's MAC, when (microseconds, UTC), its receipt, and if it is done."""

    mac: bytes
    erased_at: int
    receipt: str
    severed: bool

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> Tombstone:
        """From a row of either table."""
        return cls(bytes(row[0]), int(row[1]), str(row[2]), bool(row[3]))


class Tombstones:
    """The vault's tombstones, resident; read again when any process began or finished an erasure."""

    def __init__(self, engine: sa.Engine, mac: Mac) -> None:
        self._engine, self._mac = engine, mac
        self._epoch = (-1, -1)
        self._stones: Segment | None = None

    def refused(
        self, ids: pa.Array, dates: pa.Array | None, state: State, returned: Callable[[pa.Array], Flags]
    ) -> Flags:
        """(n,) bool: rows of somebody as they were before an erasure, as `Vault.tombstoned` says.

        `returned` tells of ids which are in the vault again.
        """
        refused = np.zeros(len(ids), np.bool_)
        rows, erased_at, severed = self._buried(ids, state)
        if not len(rows):
            return refused
        moments, dated = _microseconds(dates, len(ids))
        back = returned(ids.take(pa.array(rows)))
        refused[rows] = np.where(dated[rows], moments[rows] <= erased_at, ~back) | (severed == 0)
        return refused

    def until(self, ids: pa.Array, state: State) -> pa.Array:
        """(n,) timestamp[us, UTC]: the last moment that `refused` refuses of each, null where there is none."""
        moments = np.zeros(len(ids), np.int64)
        rows, erased_at, severed = self._buried(ids, state)
        moments[rows] = np.where(severed == 0, LAST_MOMENT, erased_at)
        free = np.ones(len(ids), np.bool_)
        free[rows] = False
        return pa.array(moments, pa.timestamp("us", "UTC"), mask=free)

    def _buried(self, ids: pa.Array, state: State) -> tuple[Rows, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The rows whose person was erased, when (microseconds, UTC), and whether that is done."""
        stones, nothing = self._resident(state), np.zeros(0, np.int64)
        if stones is None:  # most vaults: nobody has to look at the ids
            return np.zeros(0, np.intp), nothing, nothing
        ids = canonical_ids(ids)
        found, buried = stones.find(self._mac.of_ids(ids))
        if ids.null_count:
            buried &= ids.is_valid().to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(buried)
        erased_at, severed = found[rows].view("<i8").reshape(-1, 2).T
        return rows, erased_at, severed

    def of_ids(self, ids: pa.Array) -> list[Tombstone | None]:
        """The tombstone of each id, read from the database."""
        macs = [mac.tobytes() for mac in self._mac.of_ids(ids)]
        with reading(self._engine, _WHAT) as connection:
            rows = connection.execute(sa.select(tombstones).where(tombstones.c.mac.in_(macs)))
            found = {stone.mac: stone for stone in map(Tombstone.of_row, rows)}
        return [found.get(mac) for mac in macs]

    def made(self, ids: pa.Array, erased_at: datetime, receipt: str) -> list[Tombstone]:
        """A tombstone for each id, not yet stored. Of two erasures the later moment counts: clocks can go back."""
        moment = int(erased_at.timestamp() * 1_000_000)
        macs = [mac.tobytes() for mac in self._mac.of_ids(ids)]
        earlier = [0 if stone is None else stone.erased_at for stone in self.of_ids(ids)]
        return [Tombstone(mac, max(moment, at), receipt, severed=False) for mac, at in zip(macs, earlier, strict=True)]

    def _resident(self, state: State) -> Segment | None:
        epoch = (state.erasures, state.removals)
        if epoch != self._epoch:
            with reading(self._engine, _WHAT) as connection:
                stones = [Tombstone.of_row(row) for row in connection.execute(sa.select(tombstones))]
            macs = np.frombuffer(b"".join(stone.mac for stone in stones), np.uint8).reshape(-1, 16)
            facts = np.array([(stone.erased_at, stone.severed) for stone in stones], "<i8")
            self._stones = Segment.of(macs, facts.view(np.uint8).reshape(-1, 16)) if stones else None
            self._epoch = epoch
        return self._stones


def upsert_tombstones(connection: sa.Connection, table: sa.Table, stones: Iterable[Tombstone]) -> None:
    """Write tombstones over older ones of the same ids."""
    fresh = {stone.mac: stone for stone in stones}
    delete_rows(connection, table, table.c.mac, fresh.keys())
    insert_new(connection, table, *(astuple(stone) for stone in fresh.values()))


def settle_tombstones(connection: sa.Connection, table: sa.Table, receipt: str) -> None:
    """The erasure of that receipt is done."""
    connection.execute(sa.update(table).where(table.c.receipt == receipt).values(severed=True))


def _microseconds(dates: pa.Array | None, rows: int) -> tuple[npt.NDArray[np.int64], Flags]:
    """Moments in microseconds since 1970 UTC, and which rows have one."""
    if dates is None:
        return np.zeros(rows, np.int64), np.zeros(rows, np.bool_)
    array = dates.combine_chunks() if isinstance(dates, pa.ChunkedArray) else dates
    if not (pa.types.is_timestamp(array.type) or pa.types.is_date(array.type)):
        raise BadInput(f"event times of type {array.type} are not dates", remedy="parse them to timestamps")
    moments = array.cast(pa.timestamp("us", tz=getattr(array.type, "tz", None)), safe=False)
    dated = moments.is_valid().to_numpy(zero_copy_only=False)
    return moments.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False), dated
