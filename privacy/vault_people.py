"""The living half of the vault: identity indexes to handles, handles to sealed records."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from privacy.vault_index import IdentityIndex
from privacy.vault_keys import KeyStore, meta_value
from privacy.vault_records import PersonRecord, new_data_key, open_record, seal_record
from privacy.vault_schema import LOOKUP_BLOCK, aliases, identities, insert_new, people, transaction, vault_meta

__all__ = ["People"]

Blocks = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

_WHAT = "vault"


class People:
    """Identities resident in memory, records read and written in bulk."""

    def __init__(self, engine: sa.Engine, key_store: KeyStore) -> None:
        self._engine, self._keys = engine, key_store
        self._index: IdentityIndex | None = None
        self._epoch = (-1, -1)

    def epoch(self) -> tuple[int, int]:
        """Erasures begun and people severed until now; what is resident is dropped when either has moved."""
        with transaction(self._engine, _WHAT) as connection:
            begun = int(meta_value(connection, vault_meta, "erasure_counter"))
            severed = int(meta_value(connection, vault_meta, "severances"))
        if (begun, severed) != self._epoch:
            self._epoch = (begun, severed)
            self._index = None
        return begun, severed

    def lookup(self, indexes: Blocks) -> tuple[Blocks, Flags]:
        """(n, 16) handles, zero where unknown, and who is known; other processes' newcomers included."""
        self.epoch()
        resident = self._index if self._index is not None else self._load()
        handles, known = resident.find(indexes)
        if not known.all():
            missing = np.unique(indexes[~known].view("V16").ravel())
            late = self._select([item.tobytes() for item in missing])
            if late:
                resident.add(_rows(late.keys()), _rows(late.values()))
                handles, known = resident.find(indexes)
        return handles, known

    def insert(self, indexes: Blocks, newcomers: Sequence[PersonRecord]) -> None:
        """Give new people handles, keys and records; who was registered meanwhile keeps the earlier handle."""
        fresh = [secrets.token_bytes(16) for _ in newcomers]
        keys = [new_data_key() for _ in newcomers]
        self._keys.add(list(zip(fresh, keys, strict=True)))
        sealed = [seal_record(*row) for row in zip(fresh, keys, newcomers, strict=True)]
        records: list[dict[str, object]] = [
            {"handle": handle, "record": record} for handle, record in sorted(zip(fresh, sealed, strict=True))
        ]
        known_by = {index.tobytes(): handle for index, handle in zip(indexes, fresh, strict=True)}
        links: list[dict[str, object]] = [
            {"idx": index, "handle": handle} for index, handle in sorted(known_by.items())
        ]
        with transaction(self._engine, _WHAT) as connection:
            connection.execute(sa.insert(people), records)
            insert_new(connection, identities, links)
            settled = _select_handles(connection, list(known_by))
            lost = sorted(handle for index, handle in known_by.items() if settled[index] != handle)
            for start in range(0, len(lost), LOOKUP_BLOCK):
                block = lost[start : start + LOOKUP_BLOCK]
                connection.execute(sa.delete(people).where(people.c.handle.in_(block)))
        if lost:
            self._keys.destroy(lost)
        if self._index is not None:
            self._index.add(_rows(settled.keys()), _rows(settled.values()))

    def renew(self, handles: Blocks, attributes: Sequence[Mapping[str, object]]) -> None:
        """Merge newer attributes into people's records and seal them again; the last row of a person wins."""
        given: dict[bytes, dict[str, object]] = {}
        for handle, row in zip(handles, attributes, strict=True):
            present = {name: value for name, value in row.items() if value is not None}
            given.setdefault(handle.tobytes(), {}).update(present)
        keys = self._keys.fetch(given)
        stored = self._sealed(keys)
        changed: list[dict[str, object]] = []
        for handle, sealed in sorted(stored.items()):
            record = open_record(handle, keys[handle], sealed).merged(given[handle])
            changed.append({"person": handle, "sealed": seal_record(handle, keys[handle], record)})
        if changed:
            statement = (
                sa.update(people).where(people.c.handle == sa.bindparam("person")).values(record=sa.bindparam("sealed"))
            )
            with transaction(self._engine, _WHAT) as connection:
                connection.execute(statement, changed)

    def records(self, handles: Iterable[bytes]) -> dict[bytes, PersonRecord]:
        """The records of those who have one, through aliases; CheckFailed when one was changed."""
        wanted = set(handles)
        canonical = self._canonical(wanted)
        keys = self._keys.fetch({canonical.get(handle, handle) for handle in wanted})
        opened = {handle: open_record(handle, keys[handle], sealed) for handle, sealed in self._sealed(keys).items()}
        resolved = {handle: canonical.get(handle, handle) for handle in wanted}
        return {handle: opened[home] for handle, home in resolved.items() if home in opened}

    def _load(self) -> IdentityIndex:
        with transaction(self._engine, _WHAT) as connection:
            rows = connection.execute(sa.select(identities.c.idx, identities.c.handle)).all()
        self._index = IdentityIndex(_rows(row[0] for row in rows), _rows(row[1] for row in rows))
        return self._index

    def _select(self, indexes: list[bytes]) -> dict[bytes, bytes]:
        with transaction(self._engine, _WHAT) as connection:
            return _select_handles(connection, indexes)

    def _sealed(self, handles: Iterable[bytes]) -> dict[bytes, bytes]:
        wanted = sorted(handles)
        found: dict[bytes, bytes] = {}
        with transaction(self._engine, _WHAT) as connection:
            for start in range(0, len(wanted), LOOKUP_BLOCK):
                query = sa.select(people).where(people.c.handle.in_(wanted[start : start + LOOKUP_BLOCK]))
                found |= {bytes(handle): bytes(record) for handle, record in connection.execute(query)}
        return found

    def _canonical(self, handles: Iterable[bytes]) -> dict[bytes, bytes]:
        wanted = sorted(handles)
        found: dict[bytes, bytes] = {}
        with transaction(self._engine, _WHAT) as connection:
            for start in range(0, len(wanted), LOOKUP_BLOCK):
                query = sa.select(aliases).where(aliases.c.old.in_(wanted[start : start + LOOKUP_BLOCK]))
                found |= {bytes(old): bytes(home) for old, home in connection.execute(query)}
        return found


def _select_handles(connection: sa.Connection, indexes: list[bytes]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for start in range(0, len(indexes), LOOKUP_BLOCK):
        query = sa.select(identities).where(identities.c.idx.in_(indexes[start : start + LOOKUP_BLOCK]))
        found |= {bytes(index): bytes(handle) for index, handle in connection.execute(query)}
    return found


def _rows(values: Iterable[bytes]) -> Blocks:
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, 16)
