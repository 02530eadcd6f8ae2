"""A vault restored from an older backup catches up with the erasures that were begun since."""

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
from privacy.vault_tombstones import upsert_tombstones

__all__ = ["catch_up"]

_WHAT: Final = "vault"


def catch_up(engine: sa.Engine, keyring: Keyring, key_store: KeyStore, links: Links) -> int:
    """Bury again whoever was erased since the backup that this vault comes from; how many erasures it was behind.

    EnvironmentFailed when the key store is behind too: then nobody knows any more who was erased.
    """
    with reading(engine, _WHAT) as connection:
        mine = state_of(connection).erasures
    counted = keyring.erasure_counter
    if mine > counted:  # killed between the two: the erasure will be resumed
        keyring.count_erasure(at_least=mine)
    if mine >= counted:
        return 0
    stones, kept = key_store.tombstones()
    if kept < counted:
        raise EnvironmentFailed(
            f"vault and key store are both older than the keyring: {counted - kept} erasures are in neither",
            where=str(engine.url.database or ""),
            remedy="restore the newest backup of the key store; the erasures since are then replayed",
        )
    with transaction(engine, _WHAT) as connection:
        upsert_tombstones(connection, tombstones, stones)
    alive = key_store.handles()
    with reading(engine, _WHAT) as connection:
        stored = [handle for (handle,) in connection.execute(sa.select(people.c.handle))]
    for handle in sorted(handle for handle in stored if handle not in alive):
        links.sever(handle, "")
    with transaction(engine, _WHAT) as connection:
        raise_counter(connection, vault_meta, kept)
    return counted - mine
