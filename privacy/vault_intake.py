"""People on trial: what an ingest registers stays when it is kept, and is taken back when it is refused.

Until then they are in the database, so that concurrent ingests agree on their handles, but not in the shared
index. Whoever registers one of them meanwhile finds them in the database, and thereby keeps them for good.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sqlalchemy as sa

from privacy.cmac import Mac
from privacy.vault_changes import begin_change, meta_value, note_change, raise_counter
from privacy.vault_database import checkpoint, delete_rows, insert_new, insert_rows, reading, select_rows, transaction
from privacy.vault_index import IdentityIndex, Stack
from privacy.vault_keys import KeyStore
from privacy.vault_links import Links
from privacy.vault_people import Arrivals, Given, OwnPeople, People
from privacy.vault_records import open_renewal, seal_renewal
from privacy.vault_schema import identities, intakes, people, renewals, vault_meta
from privacy.vault_segment import Segment, blocks_of

__all__ = ["Intake", "renewals_of"]

Blocks = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.intp]

_FORGOTTEN_SECONDS: Final = 7 * 86_400
"""An intake this old was killed: its people stay, as if it had been kept."""
_FETCHED: Final = 16_384
_WHAT: Final = "vault"


class Intake:
    """One trial, begun by `Vault.intake`; ended by `keep` or `withdraw`. Killed before, it counts as kept."""

    def __init__(
        self, engine: sa.Engine, key_store: KeyStore, index: IdentityIndex, population: People, links: Links, mac: Mac
    ) -> None:
        self._engine, self._keys, self._index, self._people, self._mac = engine, key_store, index, population, mac
        self._links, self._part = links, 0
        now = int(time.time())
        with transaction(engine, _WHAT) as connection:
            begin_change(connection)
            old = sa.select(intakes.c.number).where(intakes.c.begun_at < now - _FORGOTTEN_SECONDS)
            connection.execute(sa.delete(renewals).where(renewals.c.intake.in_(old)))
            connection.execute(sa.delete(intakes).where(intakes.c.begun_at < now - _FORGOTTEN_SECONDS))
            number = int(meta_value(connection, vault_meta, "intakes")) + 1
            raise_counter(connection, vault_meta, number, "intakes")  # never used again: rows of kept people name it
            insert_new(connection, intakes, (number, now))
        self._own = OwnPeople(number)

    def register(self, ids: pa.Array, records: pa.RecordBatch | Sequence[Mapping[str, object]] | None = None) -> Blocks:
        """As `Vault.register`; newer attributes of people known before wait until the intake is kept."""
        arrivals = Arrivals.of(ids, records, self._mac)
        handles, rows = self._people.register(arrivals, self._own)
        if arrivals.attributes is not None and len(rows):
            mine = self._own.known.find(arrivals.indexes[rows])[1]
            self._people.renew(renewals_of(arrivals.take(rows[mine]), handles[rows[mine]]))
            self._put_off(renewals_of(arrivals.take(rows[~mine]), handles[rows[~mine]]))
        return handles

    def aliases(self) -> tuple[Blocks, Blocks]:
        """(n, 16) handles from before a link, and the one that each leads to."""
        found = self._links.aliases()
        return blocks_of(old for old, _ in found), blocks_of(home for _, home in found)

    def link(self, handles: Blocks, others: Blocks) -> dict[bytes, bytes]:
        """Each of `handles` is the same person as the one of `others` beside it; older handle -> the one that counts.

        For good: nobody who is linked is on trial any more, so it is the last step before an intake is kept.
        """
        before = self._people.state()
        mine = self._own.as_of(before)
        moved = self._links.link((one.tobytes(), other.tobytes()) for one, other in zip(handles, others, strict=True))
        after = self._people.state()
        if moved and after.number == before.number + 1:  # else somebody else may have been taken away too
            led = Segment.of(blocks_of(moved.keys()), blocks_of(moved.values()))
            parts = []
            for keys, values in (part.rows() for part in mine.segments):
                found, known = led.find(values)
                parts.append(Segment.of(keys, np.where(known[:, None], found, values)))
            self._own.known, self._own.since = Stack(tuple(parts), 0), after.removals
        return moved

    def keep(self) -> None:
        """Everybody stays, and newer attributes go into the records."""
        number = self._own.intake
        for handles in self._put_off_handles():
            self._people.renew(self._opened(handles))
        with transaction(self._engine, _WHAT) as connection:
            state = begin_change(connection)
            connection.execute(sa.delete(renewals).where(renewals.c.intake == number))
            connection.execute(sa.delete(intakes).where(intakes.c.number == number))
        for part in self._own.as_of(state).segments:
            self._index.add(*part.rows(), state)

    def withdraw(self) -> int:
        """Take back everybody whom this intake alone has registered: record, key and identity; how many.

        People known before stay as they were, and so does whom somebody else has registered meanwhile. The
        records go first: killed in between, data keys of nobody are left.
        """
        number = self._own.intake
        with transaction(self._engine, _WHAT) as connection:
            begin_change(connection)
            connection.execute(sa.delete(renewals).where(renewals.c.intake == number))
            if not connection.execute(sa.delete(intakes).where(intakes.c.number == number)).rowcount:
                return 0
            mine = sa.select(identities.c.handle).where(identities.c.intake == number)
            handles = [handle for (handle,) in connection.execute(mine)]
            connection.execute(sa.delete(identities).where(identities.c.intake == number))
            delete_rows(connection, people, people.c.handle, handles)
            note_change(connection, -len(handles))
        checkpoint(self._engine, _WHAT)
        self._keys.destroy(handles)
        self._own = OwnPeople(number)
        return len(handles)

    def _put_off(self, given: Mapping[bytes, Given]) -> None:
        """Keep, sealed, what would change the records of people known before; later parts go over earlier ones."""
        known = self._put_off_among(given)
        stale = self._people.stale({handle: row for handle, row in given.items() if handle not in known})
        data_keys = self._keys.fetch(known | stale)
        self._part += 1
        rows = [
            (self._own.intake, handle, self._part, seal_renewal(handle, key, given[handle]))
            for handle, key in sorted(data_keys.items(), key=lambda pair: pair[0])
        ]
        if rows:
            with transaction(self._engine, _WHAT) as connection:
                insert_rows(connection, renewals, *zip(*rows, strict=True))

    def _put_off_among(self, handles: Iterable[bytes]) -> set[bytes]:
        wanted = sa.select(renewals.c.handle).where(renewals.c.intake == self._own.intake)
        with reading(self._engine, _WHAT) as connection:
            if connection.execute(wanted.limit(1)).first() is None:
                return set()
            return {handle for (handle,) in select_rows(connection, wanted, renewals.c.handle, set(handles))}

    def _put_off_handles(self) -> Iterable[list[bytes]]:
        wanted = sa.select(renewals.c.handle).where(renewals.c.intake == self._own.intake).distinct()
        with reading(self._engine, _WHAT) as connection:
            handles = [handle for (handle,) in connection.execute(wanted)]
        return (handles[start : start + _FETCHED] for start in range(0, len(handles), _FETCHED))

    def _opened(self, handles: list[bytes]) -> dict[bytes, Given]:
        """What was put off for people who still have a key; those who have none were erased or linked."""
        data_keys = self._keys.fetch(handles)
        wanted = sa.select(renewals.c.handle, renewals.c.attributes).where(renewals.c.intake == self._own.intake)
        found: dict[bytes, dict[str, dict[str, object]]] = {}
        with reading(self._engine, _WHAT) as connection:
            ordered = wanted.order_by(renewals.c.handle, renewals.c.part)
            for handle, sealed in select_rows(connection, ordered, renewals.c.handle, set(data_keys)):
                for who, row in open_renewal(handle, data_keys[handle], sealed).items():
                    found.setdefault(handle, {}).setdefault(who, {}).update(row)
        return dict(found)


def renewals_of(arrivals: Arrivals, handles: Blocks) -> dict[bytes, Given]:
    """Attributes by person and id, the last row of a person winning; missing ones say nothing."""
    found: dict[bytes, dict[str, dict[str, object]]] = {}
    rows = arrivals.attributes.to_pylist() if arrivals.attributes is not None else []
    for handle, who, row in zip(handles, arrivals.ids.to_pylist(), rows, strict=True):
        given = {name: value for name, value in row.items() if value is not None}
        if given:
            found.setdefault(handle.tobytes(), {}).setdefault(who, {}).update(given)
    return dict(found)
