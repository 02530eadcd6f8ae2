"""The key store: one wrapped data key a person, kept in a database of its own and backed up apart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import sqlalchemy as sa

from privacy.ciphers import Sealer
from privacy.errors import BadInput, EnvironmentFailed
from privacy.keyring import Keyring
from privacy.secret_key_access import SecretKey
from privacy.vault_changes import meta_value, raise_counter, settled_meta
from privacy.vault_database import (
    checkpoint,
    delete_rows,
    file_of,
    has_database,
    insert_rows,
    open_database,
    reading,
    select_rows,
    transaction,
)
from privacy.vault_records import seal_new, unwrap
from privacy.vault_schema import KEY_STORE, key_store_meta, key_store_tombstones, keys
from privacy.vault_tombstones import Tombstone, settle_tombstones, upsert_tombstones

__all__ = ["KeyStore", "open_key_store"]

_WHAT = "key store"


class KeyStore:
    """Wrapped data keys by handle; deleting one destroys the person's record wherever it is copied."""

    def __init__(self, url: str, sealer: Sealer, keyset_id: str) -> None:
        self._engine = open_database(url, KEY_STORE, _WHAT)
        self._sealer = sealer
        fresh = {"erasure_counter": "0", "keyset_id": keyset_id}
        if settled_meta(self._engine, key_store_meta, fresh, _WHAT)["keyset_id"] != keyset_id:
            raise BadInput("the key store belongs to another keyring", remedy="open it with the keyring of its home")

    def seal_new(self, handles: Sequence[bytes], texts: Sequence[bytes]) -> list[bytes]:
        """New people's records, each sealed under a fresh data key that is stored here, durably, before it is used.

        Fastest in the order of handles.
        """
        sealed, wrapped = seal_new(self._sealer, handles, texts)
        with transaction(self._engine, _WHAT) as connection:
            insert_rows(connection, keys, handles, wrapped)
        return sealed

    def fetch(self, handles: Iterable[bytes]) -> dict[bytes, SecretKey]:
        """The data keys of those handles that still have one; CheckFailed when one was changed."""
        with reading(self._engine, _WHAT) as connection:
            rows = list(select_rows(connection, sa.select(keys), keys.c.handle, set(handles)))
        return {handle: unwrap(self._sealer, handle, wrapped) for handle, wrapped in rows}

    def handles(self) -> set[bytes]:
        """Everyone who has a key."""
        with reading(self._engine, _WHAT) as connection:
            return {handle for (handle,) in connection.execute(sa.select(keys.c.handle))}

    def __len__(self) -> int:
        """How many people have a key."""
        with reading(self._engine, _WHAT) as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(keys)).scalar_one())

    def in_use(self) -> bool:
        """Whether anybody has a key; reads one row."""
        with reading(self._engine, _WHAT) as connection:
            return connection.execute(sa.select(keys.c.handle).limit(1)).first() is not None

    def destroy(self, handles: Collection[bytes]) -> int:
        """Delete keys for good; how many there were."""
        with transaction(self._engine, _WHAT) as connection:
            count = delete_rows(connection, keys, keys.c.handle, set(handles))
        checkpoint(self._engine, _WHAT)
        return count

    def bury(self, stones: Sequence[Tombstone], counter: int) -> None:
        """Keep copies of tombstones, to replay them on a vault restored from an older backup."""
        with transaction(self._engine, _WHAT) as connection:
            upsert_tombstones(connection, key_store_tombstones, stones)
            raise_counter(connection, key_store_meta, counter)

    def mark_severed(self, receipt: str) -> None:
        """The erasure of that receipt is done."""
        with transaction(self._engine, _WHAT) as connection:
            settle_tombstones(connection, key_store_tombstones, receipt)

    def erasure_counter(self) -> int:
        """How many erasures have begun here."""
        with reading(self._engine, _WHAT) as connection:
            return int(meta_value(connection, key_store_meta, "erasure_counter"))

    def tombstones(self) -> tuple[list[Tombstone], int]:
        """All copies, and the erasure counter they belong to."""
        with reading(self._engine, _WHAT) as connection:
            rows = [Tombstone.of_row(row) for row in connection.execute(sa.select(key_store_tombstones))]
            return rows, int(meta_value(connection, key_store_meta, "erasure_counter"))

    def close(self) -> None:
        """Release the database."""
        self._engine.dispose()


def open_key_store(url: str, key_store_url: str, keyring: Keyring, *, create: bool) -> KeyStore:
    """The key store of the vault at `url`; EnvironmentFailed when one of the two is lost, or none may be made."""
    if _place(url) == _place(key_store_url):
        raise BadInput("the key store is the vault itself", remedy="give it a database of its own, backed up apart")
    vault_there = has_database(url, "vault")  # first: who made it had made the key store before
    if not has_database(key_store_url, _WHAT) and (vault_there or not create):
        raise _missing(_WHAT, key_store_url)
    key_store = KeyStore(key_store_url, keyring.key_store, keyring.keyset_id)
    held = key_store.in_use()  # first: who stored keys had made the vault before
    if (held or not create) and not has_database(url, "vault"):
        key_store.close()
        raise _missing("vault", url)
    return key_store


def _place(url: str) -> Path | sa.URL:
    path = file_of(url)
    return path.resolve() if path else sa.make_url(url)


def _missing(what: str, url: str) -> EnvironmentFailed:
    address = sa.make_url(url)
    return EnvironmentFailed(
        f"the {what} is missing",
        where=str(address.database or address.host or ""),
        remedy="restore it from its backup; a new one is made only by the first ingest of a new home",
    )
