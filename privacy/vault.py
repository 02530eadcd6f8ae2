"""The identity vault: who is behind a handle, in sealed records; everyone else sees random handles only."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from privacy.errors import BadInput, CustosError, Refused
from privacy.identifiers import canonical_ids
from privacy.keyring import Keyring
from privacy.vault_changes import raise_counter, settled_meta
from privacy.vault_database import default_key_store, file_of, open_database, reading, transaction
from privacy.vault_index import IdentityIndex
from privacy.vault_intake import Intake, renewals_of
from privacy.vault_keys import KeyStore, open_key_store
from privacy.vault_links import Links
from privacy.vault_people import Arrivals, OwnPeople, People
from privacy.vault_records import PersonRecord, audit_reference
from privacy.vault_replay import catch_up
from privacy.vault_schema import SCHEMA_VERSION, VAULT, people, tombstones, vault_meta
from privacy.vault_tombstones import LAST_MOMENT, Tombstone, Tombstones, upsert_tombstones

__all__ = ["Vault"]

Blocks = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
_WHAT: Final = "vault"


class Vault:
    """People by random handle; make one with `Vault.open`."""

    def __init__(self, engine: sa.Engine, keyring: Keyring, key_store: KeyStore, index: IdentityIndex) -> None:
        self._engine, self._keyring, self._keys, self._index = engine, keyring, key_store, index
        self._people = People(engine, key_store, index)
        self._links = Links(engine, key_store, index)
        self._tombstones = Tombstones(engine, keyring.tombstone)
        self.replayed = 0

    @classmethod
    def open(
        cls,
        url: str,
        keyring: Keyring,
        key_store_url: str | None = None,
        *,
        index: Path | None = None,
        create: bool = True,
    ) -> Vault:
        """Open the vault at a database URL, or make it unless `create` is False; its key store lies beside it
        unless named. One of the two without the other is never made up for.

        The lookup index is kept in the directory `index`, by default beside a SQLite vault, else beside a SQLite
        key store; with both on a server and no `index`, it is held in memory. It is derived and may be deleted.
        A vault or key store with fewer erasures than the keyring has counted comes from a backup: whoever was erased
        since is buried again before it opens, and `replayed` says how many erasures that were. Raises BadInput for
        another keyring's vault, EnvironmentFailed for a database that is missing or fails, and for a vault and key
        store that are both from before an erasure.
        """
        key_store_url = key_store_url or default_key_store(url)
        key_store = open_key_store(url, key_store_url, keyring, create=create)
        engine = open_database(url, VAULT, _WHAT)
        stored = _begun(engine, keyring)
        if stored["keyset_id"] != keyring.keyset_id:
            raise BadInput("the vault belongs to another keyring", remedy="open it with the keyring of its home")
        if stored["schema_version"] != str(SCHEMA_VERSION):
            raise BadInput("the vault has another schema version", remedy="use the Custos that wrote it")
        beside = file_of(url) or file_of(key_store_url)
        directory = index or (beside.with_suffix(".index") if beside else None)
        owner = hashlib.sha256(f"{stored['vault_id']}|{keyring.keyset_id}".encode()).digest()
        vault = cls(engine, keyring, key_store, IdentityIndex(engine, directory, owner))
        vault.replayed = catch_up(engine, keyring, key_store, vault._links)
        return vault

    @property
    def erasure_counter(self) -> int:
        """How many erasures this vault has begun."""
        return self._people.state().erasures

    def register(self, ids: pa.Array, records: pa.RecordBatch | Sequence[Mapping[str, object]] | None = None) -> Blocks:
        """(n, 16) uint8 handles; who is new gets a random one, a data key and a sealed record.

        `records` (direct identifiers of each row, a column or an entry an attribute) also renews the records of
        known people, the last row of a person winning. Processes that register the same people agree. BadInput
        for null ids.
        """
        arrivals = Arrivals.of(ids, records, self._keyring.index)
        handles, rows = self._people.register(arrivals, OwnPeople())
        if arrivals.attributes is not None and len(rows):
            self._people.renew(renewals_of(arrivals.take(rows), handles[rows]))
        return handles

    @contextmanager
    def intake(self) -> Iterator[Intake]:
        """Register people on trial: an exception inside takes back everybody whom this alone has registered.

        The vault is then as before, but for people whom somebody else has registered meanwhile too. Newer
        attributes of people known before go into their records at the end. Killed inside, everybody stays.
        """
        trial = Intake(self._engine, self._keys, self._index, self._people, self._links, self._keyring.index)
        kept = False
        try:
            yield trial
            kept = True
        finally:
            if not kept:
                with suppress(CustosError):  # what was raised inside matters more; who isn't taken back does no harm
                    trial.withdraw()
        trial.keep()

    def link(self, ids: pa.Array, others: pa.Array) -> Blocks:
        """Each of `ids` turns out to be the same person as the one of `others` beside it; (n, 16) handles.

        All their ids lead to one handle from now on, tokens already issued still identify, the one record keeps
        every id and attribute, and one data key remains. Linking again changes nothing, and the order of links
        doesn't matter. Tables keep older tokens until they are next written. Raises Refused for erased people,
        BadInput for ids that are missing or unknown; then nobody is linked.
        """
        if len(ids) != len(others):
            raise BadInput("both sides of a link need as many ids", where=f"{len(ids)} and {len(others)}")
        both = pa.concat_arrays([canonical_ids(side).cast(pa.string()) for side in (ids, others)])
        erased = int(self.tombstoned(both).sum())
        if erased:
            raise Refused(f"{erased} of {len(both)} ids belong to erased people", remedy="leave them out")
        handles, known = self.find(both)
        if not known.all():
            raise BadInput(f"{int((~known).sum())} of {len(both)} ids are unknown", remedy="register them first")
        pairs = [(one.tobytes(), other.tobytes()) for one, other in zip(*np.split(handles, 2), strict=True)]
        self._links.link(pairs)
        return self.find(both)[0][: len(ids)]

    def find(self, ids: pa.Array) -> tuple[Blocks, Flags]:
        """(n, 16) uint8 handles, zero where unknown, and who is known; null ids are unknown."""
        canonical = canonical_ids(ids)
        if not canonical.null_count:
            return self._people.find(self._keyring.index.of_ids(canonical))
        handles, known = np.zeros((len(canonical), 16), np.uint8), np.zeros(len(canonical), np.bool_)
        rows = np.flatnonzero(canonical.is_valid().to_numpy(zero_copy_only=False))
        handles[rows], known[rows] = self._people.find(self._keyring.index.of_ids(canonical.drop_null()))
        return handles, known

    def source_ids(self, handles: Blocks) -> pa.Array:
        """The ids as in the source (int64 when it held integers, else text); null for the erased.

        A handle from before a link gives the id that it was made for.
        """
        distinct = {handle.tobytes() for handle in handles}
        records = {handle: record.identity_of(handle) for handle, record in self._people.records(distinct).items()}
        found = [records.get(handle.tobytes()) for handle in handles]
        if found and all(identity is None or identity.integer for identity in found):
            numbers = pa.array([None if one is None else one.subject_id for one in found], pa.string())
            return _as_integers(numbers)
        return pa.array([None if identity is None else identity.subject_id for identity in found], pa.string())

    def record(self, handle: bytes) -> PersonRecord | None:
        """A person's record, for an access request; None when erased."""
        return self._people.records({handle}).get(handle)

    def audit_references(self, handles: Blocks) -> list[str]:
        """32 hex digits a person, which die with the person's data key; empty for the erased."""
        homes = self._people.canonical({handle.tobytes() for handle in handles})
        data_keys = self._keys.fetch(homes.values())
        named = {home: audit_reference(home, data_key) for home, data_key in data_keys.items()}
        return [named.get(homes[handle.tobytes()], "") for handle in handles]

    def members(self, handle: bytes) -> tuple[bytes, ...]:
        """The person's handle, then the older ones that links have led to it."""
        return self._links.members(handle)

    def indexes_of(self, handle: bytes) -> tuple[bytes, ...]:
        """The identity indexes that lead to a person, sorted."""
        return self._links.indexes_of(handle)

    def tombstoned(self, ids: pa.Array, dates: pa.Array | None = None) -> Flags:
        """(n,) bool: rows to refuse, because they belong to somebody as they were before an erasure.

        Those are rows dated at or before it, undated ones unless the person has since come back, and all
        while the erasure is still under way. `dates` are timestamps or dates; naive ones are UTC.
        """
        return self._tombstones.refused(ids, dates, self._people.state(), lambda who: self.find(who)[1])

    def refused_until(self, ids: pa.Array, *, dated: bool) -> pa.Array:
        """(n,) timestamp[us, UTC]: the last date that `tombstoned` refuses of each id, null where it refuses none.

        Of rows that aren't `dated` it refuses all of a person's or none: the end of time, or null.
        """
        until = self._tombstones.until(ids, self._people.state())
        if dated or until.null_count == len(until):
            return until
        ages = pa.scalar(LAST_MOMENT, until.type)
        return pc.if_else(pa.array(self.tombstoned(ids)), ages, pa.scalar(None, until.type))

    def tombstone_of(self, customer_id: pa.Array) -> Tombstone | None:
        """The tombstone of one id (an array of length 1), read from the database."""
        return self._tombstones.of_ids(canonical_ids(customer_id))[0]

    def bury(self, customer_id: pa.Array, erased_at: datetime, receipt: str) -> Tombstone:
        """Begin an erasure: from here on every id of the person is refused at every door.

        Key store first, keyring last. Of two erasures of one id the later moment counts, should the clock have
        gone back.
        """
        who = canonical_ids(customer_id).cast(pa.string())
        handles, known = self.find(who)
        record = self.record(handles[0].tobytes()) if known[0] else None
        linked = [identity.subject_id for identity in record.identities] if record else []
        stones = self._tombstones.made(
            pc.unique(pa.concat_arrays([who, pa.array(linked, pa.string())])), erased_at, receipt
        )
        counter = max(self.erasure_counter, self._keyring.erasure_counter) + 1
        self._keys.bury(stones, counter)
        with transaction(self._engine, _WHAT) as connection:
            upsert_tombstones(connection, tombstones, stones)
            raise_counter(connection, vault_meta, counter)
        self._keyring.count_erasure(at_least=counter)
        return stones[0]

    def sever(self, handle: bytes, receipt: str = "") -> dict[str, int]:
        """Destroy a person's keys, record, identities and links, and settle the tombstones of `receipt`. Repeatable.

        Returns how many of each there were; none for a handle that nobody has, as of somebody never registered,
        whose tombstone is settled all the same. SQLite overwrites what it deletes and its log is emptied; on
        PostgreSQL, which keeps old rows until it vacuums, and in any copy, only the key's destruction counts.
        """
        return self._links.sever(handle, receipt)

    def __len__(self) -> int:
        """How many people it knows; counts the rows."""
        with reading(self._engine, _WHAT) as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(people)).scalar_one())

    def keys_held(self) -> int:
        """How many people the key store has a key for; as many as the vault knows, when both are whole."""
        return len(self._keys)

    def close(self) -> None:
        """Publish who waits for the index, and release both databases."""
        self._index.publish()
        self._engine.dispose()
        self._keys.close()


def _begun(engine: sa.Engine, keyring: Keyring) -> dict[str, str]:
    """What the vault says of itself, now or since it was made."""
    fresh = {
        "erasure_counter": "0",
        "intakes": "0",
        "keyset_id": keyring.keyset_id,
        "schema_version": str(SCHEMA_VERSION),
        "vault_id": secrets.token_hex(8),
    }
    return settled_meta(engine, vault_meta, fresh, _WHAT)


def _as_integers(numbers: pa.Array) -> pa.Array:
    """Decimal text as int64, else as uint64; as it is when neither holds them all."""
    for kind in (pa.int64(), pa.uint64()):
        with suppress(pa.ArrowInvalid):
            return numbers.cast(kind)
    return numbers
