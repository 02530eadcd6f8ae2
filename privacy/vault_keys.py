"""The key store: each person's wrapped data key, and a copy of the tombstones, in a database of its own.

It is backed up apart from the vault and for a shorter time. A person without a key here is gone, whatever
an older vault still holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from privacy.ciphers import Sealer
from privacy.errors import BadInput, EnvironmentFailed
from privacy.keyring import Keyring
from privacy.secret_key_access import SecretKey
from privacy.vault_records import unwrap, wrap
from privacy.vault_schema import (
    KEY_STORE,
    LOOKUP_BLOCK,
    checkpoint,
    has_database,
    insert_new,
    key_store_meta,
    key_store_tombstones,
    keys,
    open_database,
    transaction,
)

__all__ = ["KeyStore", "Tombstone", "meta_value", "open_key_store", "raise_counter", "upsert_tombstone"]

_WHAT = "key store"


@dataclass(frozen=True, repr=False)
class Tombstone:
    """An erasure that began: the erased id's MAC, when (microseconds, UTC), its receipt, and if it is done."""

    mac: bytes
    erased_at: int
    receipt: str
    severed: bool

    def row(self) -> dict[str, object]:
        """As the tables hold it."""
        return {
            "mac": self.mac,
            "erased_at": self.erased_at,
            "receipt": self.receipt,
            "severed": self.severed,
        }


class KeyStore:
    """Wrapped data keys by handle; deleting one destroys the person's record wherever it is copied."""

    def __init__(self, url: str, sealer: Sealer, keyset_id: str) -> None:
        self._engine = open_database(url, KEY_STORE, _WHAT)
        self._sealer = sealer
        with transaction(self._engine, _WHAT) as connection:
            insert_new(connection, key_store_meta, [{"name": "keyset_id", "value": keyset_id}])
            insert_new(connection, key_store_meta, [{"name": "erasure_counter", "value": "0"}])
            stored = meta_value(connection, key_store_meta, "keyset_id")
        if stored != keyset_id:
            raise BadInput("the key store belongs to another keyring", remedy="open it with the keyring of its home")

    def add(self, fresh: Sequence[tuple[bytes, SecretKey]]) -> None:
        """Store new people's keys, durably, before the vault names them."""
        rows: list[dict[str, object]] = [
            {"handle": handle, "wrapped": wrap(self._sealer, handle, key)} for handle, key in _by_handle(fresh)
        ]
        with transaction(self._engine, _WHAT) as connection:
            insert_new(connection, keys, rows)

    def fetch(self, handles: Iterable[bytes]) -> dict[bytes, SecretKey]:
        """The data keys of those handles that still have one; CheckFailed when one was changed."""
        wanted = sorted(set(handles))
        found: dict[bytes, SecretKey] = {}
        with transaction(self._engine, _WHAT) as connection:
            for start in range(0, len(wanted), LOOKUP_BLOCK):
                query = sa.select(keys).where(keys.c.handle.in_(wanted[start : start + LOOKUP_BLOCK]))
                for handle, wrapped in connection.execute(query):
                    found[bytes(handle)] = unwrap(self._sealer, bytes(handle), bytes(wrapped))
        return found

    def handles(self) -> set[bytes]:
        """Everyone who has a key."""
        with transaction(self._engine, _WHAT) as connection:
            return {bytes(handle) for (handle,) in connection.execute(sa.select(keys.c.handle))}

    def __len__(self) -> int:
        """How many people have a key."""
        with transaction(self._engine, _WHAT) as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(keys)).scalar_one())

    def destroy(self, handles: Iterable[bytes]) -> int:
        """Delete keys for good; how many there were."""
        wanted = sorted(set(handles))
        count = 0
        with transaction(self._engine, _WHAT) as connection:
            for start in range(0, len(wanted), LOOKUP_BLOCK):
                block = wanted[start : start + LOOKUP_BLOCK]
                count += connection.execute(sa.delete(keys).where(keys.c.handle.in_(block))).rowcount
        checkpoint(self._engine, _WHAT)
        return count

    def bury(self, tombstone: Tombstone, counter: int) -> None:
        """Keep a copy of a tombstone, to replay it on a vault restored from an older backup."""
        with transaction(self._engine, _WHAT) as connection:
            upsert_tombstone(connection, key_store_tombstones, tombstone)
            raise_counter(connection, key_store_meta, counter)

    def mark_severed(self, receipt: str) -> None:
        """The erasure of that receipt is done."""
        with transaction(self._engine, _WHAT) as connection:
            table = key_store_tombstones
            connection.execute(sa.update(table).where(table.c.receipt == receipt).values(severed=True))

    def tombstones(self) -> tuple[list[Tombstone], int]:
        """All copies, and the erasure counter they belong to."""
        with transaction(self._engine, _WHAT) as connection:
            rows = [
                Tombstone(bytes(m), int(at), r, bool(s))
                for m, at, r, s in connection.execute(sa.select(key_store_tombstones))
            ]
            return rows, int(meta_value(connection, key_store_meta, "erasure_counter"))

    def close(self) -> None:
        """Release the database."""
        self._engine.dispose()


def open_key_store(url: str, key_store_url: str, keyring: Keyring, *, create: bool) -> KeyStore:
    """The key store of the vault at `url`; EnvironmentFailed when one of the two is lost, or none may be made."""
    vault_there = has_database(url, "vault")  # first: who made it had made the key store before
    if not has_database(key_store_url, _WHAT) and (vault_there or not create):
        raise _missing(_WHAT, key_store_url)
    key_store = KeyStore(key_store_url, keyring.key_store, keyring.keyset_id)
    held = len(key_store)  # first: who stored keys had made the vault before
    if (held or not create) and not has_database(url, "vault"):
        key_store.close()
        raise _missing("vault", url)
    return key_store


def _missing(what: str, url: str) -> EnvironmentFailed:
    address = sa.make_url(url)
    return EnvironmentFailed(
        f"the {what} is missing",
        where=str(address.database or address.host or ""),
        remedy="restore it from its backup; a new one is made only by the first ingest of a new home",
    )


def _by_handle(fresh: Sequence[tuple[bytes, SecretKey]]) -> list[tuple[bytes, SecretKey]]:
    """In the order of random handles, so that insertion keeps nothing of the source's order."""
    return sorted(fresh, key=lambda pair: pair[0])


def meta_value(connection: sa.Connection, table: sa.Table, name: str) -> str:
    """A stored setting, empty when absent."""
    value = connection.execute(sa.select(table.c.value).where(table.c.name == name)).scalar_one_or_none()
    return "" if value is None else str(value)


def raise_counter(connection: sa.Connection, table: sa.Table, counter: int, name: str = "erasure_counter") -> None:
    """Set a counter, never downwards."""
    if int(meta_value(connection, table, name) or 0) < counter:
        connection.execute(sa.update(table).where(table.c.name == name).values(value=str(counter)))


def upsert_tombstone(connection: sa.Connection, table: sa.Table, tombstone: Tombstone) -> None:
    """Write a tombstone over an older one of the same id."""
    row: Mapping[str, object] = tombstone.row()
    insert_new(connection, table, [dict(row)])
    connection.execute(sa.update(table).where(table.c.mac == tombstone.mac).values(**row))
