"""A vault or a key store restored from an older backup catches up with the erasures that were begun since."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from privacy.errors import EnvironmentFailed
from privacy.keyring import Keyring
from privacy.vault_changes import raise_counter, state_of
from privacy.vault_database import reading, transaction
from privacy.vault_keys import KeyStore
from privacy.vault_links import Links
from privacy.vault_schema import people, tombstones, vault_meta
from privacy.vault_tombstones import Tombstone, upsert_tombstones

__all__ = ["catch_up"]

_WHAT: Final = "vault"


def catch_up(engine: sa.Engine, keyring: Keyring, key_store: KeyStore, links: Links) -> int:
    """Bury again whoever was erased since the backup that vault or key store come from; how many erasures it missed.

    An erasure counts in the key store, then the vault, then the keyring, so who is behind the keyring comes from a
    backup. EnvironmentFailed when both are: then nobody knows any more who was erased.
    """
    counted, kept = keyring.erasure_counter, key_store.erasure_counter()  # in the order opposite to an erasure's
    with reading(engine, _WHAT) as connection:
        mine = state_of(connection).erasures
    if mine > counted:  # killed between the two: the erasure will be resumed
        keyring.count_erasure(at_least=mine)
    if min(mine, kept) >= counted:
        return 0
    if max(mine, kept) < counted:
        raise EnvironmentFailed(
            f"vault and key store are both older than the keyring: {counted - max(mine, kept)} erasures are in neither",
            where=str(engine.url.database or ""),
            remedy="restore the newest backup of the key store; the erasures since are then replayed",
        )
    if mine < counted:
        _bury_in_vault(engine, key_store, links)
    else:
        _bury_in_key_store(engine, key_store, mine)
    return counted - min(mine, kept)


def _bury_in_vault(engine: sa.Engine, key_store: KeyStore, links: Links) -> None:
    """Whoever has no key any more is gone."""
    stones, kept = key_store.tombstones()
    with transaction(engine, _WHAT) as connection:
        upsert_tombstones(connection, tombstones, stones)
    alive = key_store.handles()
    for handle in sorted(_everyone(engine) - alive):
        links.sever(handle, "")
    with transaction(engine, _WHAT) as connection:
        raise_counter(connection, vault_meta, kept)


def _bury_in_key_store(engine: sa.Engine, key_store: KeyStore, counter: int) -> None:
    """Keys that came back for people whom the vault has no more are destroyed again."""
    with reading(engine, _WHAT) as connection:
        stones = [Tombstone.of_row(row) for row in connection.execute(sa.select(tombstones))]
    key_store.destroy(key_store.handles() - _everyone(engine))
    key_store.bury(stones, counter)


def _everyone(engine: sa.Engine) -> set[bytes]:
    with reading(engine, _WHAT) as connection:
        return {handle for (handle,) in connection.execute(sa.select(people.c.handle))}
