"""The identity vault: who is behind a handle, in sealed records; everyone else sees random handles only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sqlalchemy as sa

from privacy.errors import BadInput, EnvironmentFailed
from privacy.identifiers import canonical_ids, is_integer_source
from privacy.keyring import Keyring
from privacy.vault_index import SortedIndex
from privacy.vault_keys import KeyStore, Tombstone, meta_value, open_key_store, raise_counter, upsert_tombstone
from privacy.vault_people import People
from privacy.vault_records import PersonRecord, audit_reference
from privacy.vault_schema import (
    SCHEMA_VERSION,
    VAULT,
    aliases,
    checkpoint,
    default_key_store,
    identities,
    insert_new,
    open_database,
    people,
    tombstones,
    transaction,
    vault_meta,
)

__all__ = ["Vault"]

Blocks = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

_WHAT: Final = "vault"


class Vault:
    """People by random handle; make one with `Vault.open`."""

    def __init__(self, engine: sa.Engine, keyring: Keyring, key_store: KeyStore) -> None:
        self._engine, self._keyring, self._keys = engine, keyring, key_store
        self._people = People(engine, key_store)
        self._buried: tuple[tuple[int, int], SortedIndex, list[Tombstone]] | None = None

    @classmethod
    def open(
        cls,
        url: str,
        keyring: Keyring,
        key_store_url: str | None = None,
        *,
        replay: bool = False,
        create: bool = True,
    ) -> Vault:
        """Open the vault at a database URL, or make it unless `create` is False; its key store lies beside it
        unless named. One of the two without the other is never made up for.

        A vault with fewer erasures than the keyring has counted comes from a backup: it is refused until
        opened with `replay`, which buries again whoever was erased since. Raises BadInput for another
        keyring's vault, EnvironmentFailed for a database that is missing or fails.
        """
        key_store = open_key_store(url, key_store_url or default_key_store(url), keyring, create=create)
        engine = open_database(url, VAULT, _WHAT)
        vault = cls(engine, keyring, key_store)
        with transaction(engine, _WHAT) as connection:
            fresh = {
                "keyset_id": keyring.keyset_id,
                "schema_version": str(SCHEMA_VERSION),
                "erasure_counter": "0",
                "severances": "0",
            }
            insert_new(connection, vault_meta, [{"name": name, "value": fresh[name]} for name in sorted(fresh)])
            stored = {name: meta_value(connection, vault_meta, name) for name in fresh}
        if stored["keyset_id"] != keyring.keyset_id:
            raise BadInput("the vault belongs to another keyring", remedy="open it with the keyring of its home")
        if stored["schema_version"] != str(SCHEMA_VERSION):
            raise BadInput("the vault has another schema version", remedy="use the Custos that wrote it")
        vault._catch_up(replay=replay)
        return vault

    @property
    def erasure_counter(self) -> int:
        """How many erasures this vault has begun."""
        return self._people.epoch()[0]

    def register(self, ids: pa.Array, records: Sequence[Mapping[str, object]] | None = None) -> Blocks:
        """(n, 16) uint8 handles; who is new gets a random one, a data key and a sealed record.

        `records` (one mapping of direct identifiers a row) also renews the records of known people, the last
        row of a person winning. Processes that register the same people agree. BadInput for null ids.
        """
        canonical = canonical_ids(ids)
        if canonical.null_count:
            raise BadInput(f"{canonical.null_count} ids are missing", remedy="drop rows without a customer id")
        if records is not None and len(records) != len(canonical):
            raise ValueError("one record a row is needed")
        indexes = self._keyring.index.of_ids(canonical)
        handles, known = self._people.lookup(indexes)
        integer = is_integer_source(ids)
        unknown = np.flatnonzero(~known)
        if len(unknown):
            _, first = np.unique(indexes[unknown].view("V16").ravel(), return_index=True)
            newcomers = unknown[first]
            texts = canonical.take(pa.array(newcomers)).to_pylist()
            self._people.insert(indexes[newcomers], [PersonRecord(text, integer) for text in texts])
            handles, known = self._people.lookup(indexes)
        if records is not None:
            self._people.renew(handles, records)
        return handles

    def find(self, ids: pa.Array) -> tuple[Blocks, Flags]:
        """(n, 16) uint8 handles, zero where unknown, and who is known; null ids are unknown."""
        canonical = canonical_ids(ids)
        handles, known = self._people.lookup(self._keyring.index.of_ids(canonical))
        if canonical.null_count:
            known &= canonical.is_valid().to_numpy(zero_copy_only=False)
            handles[~known] = 0
        return handles, known

    def source_ids(self, handles: Blocks) -> pa.Array:
        """The ids as in the source (int64 when it held integers, else text); null for the erased."""
        records = self._people.records({handle.tobytes() for handle in handles})
        found = [records.get(handle.tobytes()) for handle in handles]
        if found and all(record is None or record.integer for record in found):
            return pa.array([None if record is None else int(record.subject_id) for record in found], pa.int64())
        return pa.array([None if record is None else record.subject_id for record in found], pa.string())

    def record(self, handle: bytes) -> PersonRecord | None:
        """A person's record, for an access request; None when erased."""
        return self._people.records({handle}).get(handle)

    def audit_references(self, handles: Blocks) -> list[str]:
        """32 hex digits a person, which die with the person's data key; empty for the erased."""
        keys = self._keys.fetch(handle.tobytes() for handle in handles)
        named = {handle: audit_reference(handle, key) for handle, key in keys.items()}
        return [named.get(handle.tobytes(), "") for handle in handles]

    def indexes_of(self, handle: bytes) -> tuple[bytes, ...]:
        """The identity indexes that lead to a person, sorted."""
        with transaction(self._engine, _WHAT) as connection:
            rows = connection.execute(sa.select(identities.c.idx).where(identities.c.handle == handle))
            return tuple(sorted(bytes(index) for (index,) in rows))

    def tombstoned(self, ids: pa.Array, dates: pa.Array | None = None) -> Flags:
        """(n,) bool: rows to refuse, because they belong to somebody as they were before an erasure.

        Those are rows dated at or before it, undated ones unless the person has since come back, and all
        while the erasure is still under way. `dates` are timestamps or dates; naive ones are UTC.
        """
        canonical = canonical_ids(ids)
        index, stones = self._tombstones()
        refused = np.zeros(len(canonical), np.bool_)
        if not stones:
            return refused
        positions, buried = index.find(self._keyring.tombstone.of_ids(canonical))
        if canonical.null_count:
            buried &= canonical.is_valid().to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(buried)
        if not len(rows):
            return refused
        moments, dated = _microseconds(dates, len(canonical))
        _, returned = self.find(canonical)
        erased_at = np.array([stone.erased_at for stone in stones], np.int64)[positions[rows]]
        severed = np.array([stone.severed for stone in stones], np.bool_)[positions[rows]]
        before = np.where(dated[rows], moments[rows] <= erased_at, ~returned[rows])
        refused[rows] = before | ~severed
        return refused

    def tombstone_of(self, customer_id: pa.Array) -> Tombstone | None:
        """The tombstone of one id (an array of length 1), read from the database."""
        mac = self._keyring.tombstone.of_ids(customer_id)[0].tobytes()
        with transaction(self._engine, _WHAT) as connection:
            row = connection.execute(sa.select(tombstones).where(tombstones.c.mac == mac)).one_or_none()
        return None if row is None else Tombstone(bytes(row[0]), int(row[1]), str(row[2]), bool(row[3]))

    def bury(self, customer_id: pa.Array, erased_at: datetime, receipt: str) -> Tombstone:
        """Begin an erasure: from here on the id is refused at every door. Key store first, keyring last.

        Of two erasures of one id the later moment counts, should the clock have gone back.
        """
        mac = self._keyring.tombstone.of_ids(customer_id)[0].tobytes()
        earlier = self.tombstone_of(customer_id)
        moment = max(int(erased_at.timestamp() * 1_000_000), 0 if earlier is None else earlier.erased_at)
        stone = Tombstone(mac, moment, receipt, severed=False)
        counter = max(self.erasure_counter, self._keyring.erasure_counter) + 1
        self._keys.bury(stone, counter)
        with transaction(self._engine, _WHAT) as connection:
            upsert_tombstone(connection, tombstones, stone)
            raise_counter(connection, vault_meta, counter)
        self._keyring.count_erasure(at_least=counter)
        return stone

    def sever(self, handle: bytes, receipt: str = "") -> dict[str, int]:
        """Destroy a person's key, record and identities, and settle the tombstone of `receipt`. Repeatable.

        Returns how many of each there were; none for a handle that nobody has, as of somebody never
        registered, whose tombstone is settled all the same.
        """
        members = [handle, *self._aliases_of(handle)]
        counts = {"key": self._keys.destroy(members)}
        with transaction(self._engine, _WHAT) as connection:
            counts["identities"] = connection.execute(
                sa.delete(identities).where(identities.c.handle.in_(members))
            ).rowcount
            counts["record"] = connection.execute(sa.delete(people).where(people.c.handle.in_(members))).rowcount
            raise_counter(connection, vault_meta, self._people.epoch()[1] + 1, "severances")
            connection.execute(sa.delete(aliases).where(aliases.c.canonical == handle))
            connection.execute(sa.update(tombstones).where(tombstones.c.receipt == receipt).values(severed=True))
        checkpoint(self._engine, _WHAT)
        self._keys.mark_severed(receipt)
        return counts

    def __len__(self) -> int:
        """How many people it knows."""
        with transaction(self._engine, _WHAT) as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(people)).scalar_one())

    def keys_held(self) -> int:
        """How many people the key store has a key for; as many as the vault knows, when both are whole."""
        return len(self._keys)

    def close(self) -> None:
        """Release both databases."""
        self._engine.dispose()
        self._keys.close()

    def _aliases_of(self, handle: bytes) -> list[bytes]:
        with transaction(self._engine, _WHAT) as connection:
            rows = connection.execute(sa.select(aliases.c.old).where(aliases.c.canonical == handle))
            return [bytes(old) for (old,) in rows]

    def _tombstones(self) -> tuple[SortedIndex, list[Tombstone]]:
        """Resident, in the index's order; read again when any process began or finished an erasure."""
        epoch = self._people.epoch()
        if self._buried is not None and self._buried[0] == epoch:
            return self._buried[1], self._buried[2]
        with transaction(self._engine, _WHAT) as connection:
            rows = connection.execute(sa.select(tombstones).order_by(tombstones.c.mac)).all()
        stones = [Tombstone(bytes(mac), int(at), str(receipt), bool(done)) for mac, at, receipt, done in rows]
        macs = np.frombuffer(b"".join(stone.mac for stone in stones), np.uint8).reshape(-1, 16)
        index = SortedIndex(macs)
        ordered = [stones[position] for position in index.order]
        self._buried = (epoch, index, ordered)
        return index, ordered

    def _catch_up(self, *, replay: bool) -> None:
        """Compare the erasure counters; a vault that is behind comes from a backup."""
        mine, counted = self.erasure_counter, self._keyring.erasure_counter
        if mine > counted:  # killed between the two: the erasure will be resumed
            self._keyring.count_erasure(at_least=mine)
        if mine >= counted:
            return
        if not replay:
            raise EnvironmentFailed(
                f"the vault is older than the keyring: {counted - mine} erasures are not in it",
                where=str(self._engine.url.database or ""),
                remedy="it comes from a backup; replay the key store's tombstones (open with replay)",
            )
        stones, kept = self._keys.tombstones()
        if kept < counted:
            raise EnvironmentFailed(
                "the key store is older than the keyring too, so erasures can't be replayed",
                remedy="restore the newest key store backup, then replay",
            )
        with transaction(self._engine, _WHAT) as connection:
            for stone in stones:
                upsert_tombstone(connection, tombstones, stone)
        gone = self._restored_without_key()
        for handle in gone:
            self.sever(handle)
        with transaction(self._engine, _WHAT) as connection:
            raise_counter(connection, vault_meta, kept)

    def _restored_without_key(self) -> list[bytes]:
        alive = self._keys.handles()
        with transaction(self._engine, _WHAT) as connection:
            stored = [bytes(handle) for (handle,) in connection.execute(sa.select(people.c.handle))]
        return sorted(handle for handle in stored if handle not in alive)


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
