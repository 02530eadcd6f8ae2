"""Two ids turn out to be one person, and a person leaves: what redirects or takes away identities."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import sqlalchemy as sa

from privacy.errors import CheckFailed
from privacy.secret_key_access import SecretKey
from privacy.vault_changes import begin_change, note_change
from privacy.vault_database import checkpoint, delete_rows, insert_rows, reading, select_rows, transaction
from privacy.vault_index import IdentityIndex
from privacy.vault_keys import KeyStore
from privacy.vault_records import (
    Identity,
    PersonRecord,
    named_identities,
    open_renewal,
    seal_record,
    seal_renewal,
)
from privacy.vault_schema import aliases, identities, people, renewals, tombstones
from privacy.vault_segment import blocks_of
from privacy.vault_tombstones import settle_tombstones

__all__ = ["Links"]

_WHAT: Final = "vault"


class Links:
    """Changes of who is who, each one transaction; the index forgets first, so it is never behind."""

    def __init__(self, engine: sa.Engine, key_store: KeyStore, index: IdentityIndex) -> None:
        self._engine, self._keys, self._index = engine, key_store, index

    def link(self, pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
        """Make each pair of handles one person, whose handle is the smallest of them; old handle -> that one.

        Chains and cycles collapse. The merged record keeps every id with its attributes, its old handle and its
        old audit reference. Raises CheckFailed, and changes nothing, for people whose record can't be opened.
        """
        asked = [tuple(pair) for pair in pairs]
        with self._index.held():
            with transaction(self._engine, _WHAT) as connection:
                begin_change(connection)
                everyone = {handle for pair in asked for handle in pair}
                homes = _homes(connection, everyone)
                target = _smallest([(homes[one], homes[other]) for one, other in asked])
                moved = {old: new for old, new in target.items() if old != new}
                if moved:
                    keys, redirected = self._merge(connection, moved)
                    after = note_change(connection, removal=True)
                # all, not only theirs: who was killed before the next line left some
                spent = {old for (old,) in connection.execute(sa.select(aliases.c.old))}
            if moved:
                self._index.settle(after)
                self._index.add(blocks_of(keys), blocks_of(redirected), after)
        if spent:
            self._keys.destroy(spent)  # last: one data key remains, under which the merged record is sealed
        return moved

    def aliases(self) -> list[tuple[bytes, bytes]]:
        """Every older handle, and the one that it leads to."""
        with reading(self._engine, _WHAT) as connection:
            return [(old, home) for old, home in connection.execute(sa.select(aliases).order_by(aliases.c.old))]

    def members(self, handle: bytes) -> tuple[bytes, ...]:
        """The person's handle and those that were linked to it, in that order; `handle` may be any of them."""
        with reading(self._engine, _WHAT) as connection:
            home = _homes(connection, [handle])[handle]
            return (home, *sorted(_aliases_of(connection, [home])))

    def indexes_of(self, handle: bytes) -> tuple[bytes, ...]:
        """The identity indexes that lead to a person, sorted."""
        with reading(self._engine, _WHAT) as connection:
            homes = _homes(connection, [handle])
            return tuple(sorted(index for found in _indexes(connection, homes.values()).values() for index in found))

    def sever(self, handle: bytes, receipt: str) -> dict[str, int]:
        """Destroy keys first, then record, identities, aliases and what waits for them; settle the tombstones."""
        with self._index.held():
            with transaction(self._engine, _WHAT) as connection:
                begin_change(connection)
                home = _homes(connection, [handle])[handle]
                members = {home, handle, *_aliases_of(connection, [home])}
                counts = {"key": self._keys.destroy(members)}
                gone = [index for found in _indexes(connection, members).values() for index in found]
                self._index.erase(blocks_of(gone))
                counts["identities"] = delete_rows(connection, identities, identities.c.idx, gone)
                counts["record"] = delete_rows(connection, people, people.c.handle, members)
                delete_rows(connection, renewals, renewals.c.handle, members)
                delete_rows(connection, aliases, aliases.c.canonical, [home])
                settle_tombstones(connection, tombstones, receipt)
                after = note_change(connection, -counts["identities"], removal=True)
            self._index.settle(after)
        checkpoint(self._engine, _WHAT)
        self._keys.mark_severed(receipt)
        return counts

    def _merge(self, connection: sa.Connection, moved: Mapping[bytes, bytes]) -> tuple[list[bytes], list[bytes]]:
        """One record for each new whole; the identity indexes that lead elsewhere now, and where."""
        everyone = {*moved, *moved.values()}
        indexes = _indexes(connection, everyone)
        data_keys = self._keys.fetch(everyone)
        # locked on a server, or a renewal between reading and writing would be lost
        wanted = sa.select(people.c.handle, people.c.record).order_by(people.c.handle).with_for_update()
        rows = dict(select_rows(connection, wanted, people.c.handle, everyone))
        if not data_keys.keys() >= rows.keys() >= everyone:
            raise CheckFailed(
                "people to be linked have no record or no data key",
                where=f"{len(everyone - (rows.keys() & data_keys.keys()))} of {len(everyone)}",
                remedy="restore vault and key store from backups of one time",
            )
        whole: list[dict[str, object]] = []
        redirected: list[dict[str, object]] = []
        for home, older in _families(moved).items():
            family = [home, *older]
            record = _joined([named_identities(one, data_keys[one], rows[one]) for one in family], home)
            found = [index for handle in family for index in indexes[handle]]
            sealed = seal_record(home, data_keys[home], record)
            whole.append({"home": home, "sealed": sealed, "found": b"".join(found)})
            redirected += [{"one": index, "home": home} for index in found]
        bound = sa.bindparam
        merged = sa.update(people).where(people.c.handle == bound("home"))
        connection.execute(merged.values(record=bound("sealed"), indexes=bound("found")), whole)
        # Nobody is on trial any more: a link relies on them.
        led = sa.update(identities).where(identities.c.idx == bound("one"))
        connection.execute(led.values(handle=bound("home"), intake=0), redirected)
        led_here = list(select_rows(connection, sa.select(aliases), aliases.c.canonical, moved.keys()))
        if led_here:
            on = sa.update(aliases).where(aliases.c.old == bound("older"))
            leads = [{"older": old, "home": moved[home]} for old, home in sorted(led_here)]
            connection.execute(on.values(canonical=bound("home")), leads)
        _take_along(connection, moved, data_keys)
        insert_rows(connection, aliases, moved.keys(), moved.values())
        delete_rows(connection, people, people.c.handle, moved.keys())
        old = [(index, new) for handle, new in moved.items() for index in indexes[handle]]
        gone, homes = [index for index, _ in old], [new for _, new in old]
        self._index.erase(blocks_of(gone))
        return gone, homes


def _families(moved: Mapping[bytes, bytes]) -> dict[bytes, list[bytes]]:
    """Each handle that others are led to -> those, sorted."""
    found: dict[bytes, list[bytes]] = {}
    for old, home in sorted(moved.items()):
        found.setdefault(home, []).append(old)
    return found


def _take_along(connection: sa.Connection, moved: Mapping[bytes, bytes], data_keys: Mapping[bytes, SecretKey]) -> None:
    """Lead attributes that wait for an intake's end to the person's new handle, under its data key."""
    waiting = list(select_rows(connection, sa.select(renewals), renewals.c.handle, moved.keys()))
    if not waiting:
        return
    last = int(connection.execute(sa.select(sa.func.max(renewals.c.part))).scalar_one())
    again = []
    for part, (intake, old, _, sealed) in enumerate(sorted(waiting), last + 1):  # in the order they came in
        home = moved[old]
        again.append(
            (intake, home, part, seal_renewal(home, data_keys[home], open_renewal(old, data_keys[old], sealed)))
        )
    delete_rows(connection, renewals, renewals.c.handle, moved.keys())
    insert_rows(connection, renewals, *zip(*again, strict=True))


def _joined(families: Sequence[list[Identity]], home: bytes) -> PersonRecord:
    """One record; the ids of `home` itself come first and need no older handle."""
    everyone = sorted((one for family in families for one in family), key=lambda one: (one.handle != home, one.handle))
    own = [replace(one, handle=b"", reference="") if one.handle == home else one for one in everyone]
    return PersonRecord(tuple(own))


def _smallest(pairs: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Each handle -> the smallest one that pairs connect it with."""
    parent: dict[bytes, bytes] = {}

    def root(handle: bytes) -> bytes:
        parent.setdefault(handle, handle)
        while parent[handle] != handle:
            parent[handle] = parent[parent[handle]]
            handle = parent[handle]
        return handle

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return {handle: root(handle) for handle in list(parent)}


def _homes(connection: sa.Connection, handles: Collection[bytes]) -> dict[bytes, bytes]:
    moved = dict(select_rows(connection, sa.select(aliases), aliases.c.old, set(handles)))
    return {handle: moved.get(handle, handle) for handle in handles}


def _aliases_of(connection: sa.Connection, handles: Collection[bytes]) -> set[bytes]:
    return {old for (old,) in select_rows(connection, sa.select(aliases.c.old), aliases.c.canonical, set(handles))}


def _indexes(connection: sa.Connection, handles: Collection[bytes]) -> dict[bytes, list[bytes]]:
    wanted = sa.select(people.c.handle, people.c.indexes)
    rows = select_rows(connection, wanted, people.c.handle, set(handles))
    return {handle: [joined[at : at + 16] for at in range(0, len(joined), 16)] for handle, joined in rows}
