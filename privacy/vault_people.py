"""The living half of the vault: identity indexes to handles, handles to sealed records, in bulk."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sqlalchemy as sa

from privacy.cmac import Mac
from privacy.errors import BadInput, EnvironmentFailed
from privacy.identifiers import canonical_ids, is_integer_source
from privacy.vault_changes import State, begin_change, note_change, state_of
from privacy.vault_database import insert_rows, reading, select_rows, transaction
from privacy.vault_identities import agree, identities_of, on_trial, taken_over
from privacy.vault_index import IdentityIndex, Stack
from privacy.vault_keys import KeyStore
from privacy.vault_records import PersonRecord, attributes_of, open_record, record_texts, seal_record
from privacy.vault_schema import aliases, identities, people
from privacy.vault_segment import Segment, blocks_of, distinct

__all__ = ["Arrivals", "Given", "OwnPeople", "People"]

Blocks = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]
Given = Mapping[str, Mapping[str, object]]
"""Newer attributes of one person, by the id they came with."""

_INSERTED: Final = 131_072
"""New people in one transaction; sorted within it, so that pages are written once."""
_RENEWED: Final = 16_384
_TRIES: Final = 20
_WHAT: Final = "vault"


@dataclass(frozen=True)
class Arrivals:
    """Rows to register: (n, 16) identity indexes, canonical ids without nulls, and attributes beside them."""

    indexes: Blocks
    ids: pa.Array
    integer: bool
    attributes: pa.RecordBatch | None = None

    @classmethod
    def of(cls, ids: pa.Array, records: pa.RecordBatch | Sequence[Mapping[str, object]] | None, mac: Mac) -> Arrivals:
        """BadInput for null ids, ValueError unless there is one record a row."""
        canonical = canonical_ids(ids)
        if canonical.null_count:
            raise BadInput(f"{canonical.null_count} ids are missing", remedy="drop rows without a customer id")
        if records is not None and len(records) != len(canonical):
            raise ValueError("one record a row is needed")
        attributes = None if records is None else attributes_of(records)
        return cls(mac.of_ids(canonical), canonical, is_integer_source(ids), attributes)

    def take(self, rows: Rows) -> Arrivals:
        """Some of the rows."""
        chosen = pa.array(rows)
        attributes = None if self.attributes is None else self.attributes.take(chosen)
        return Arrivals(self.indexes[rows], self.ids.take(chosen), self.integer, attributes)


@dataclass
class OwnPeople:
    """Whom one intake has registered, on trial: intake 0 registers for good and has none of its own."""

    intake: int = 0
    known: Stack = field(default_factory=Stack)
    since: int = -1

    def as_of(self, state: State) -> Stack:
        """Those it remembers; nobody after a removal, which may have been one of them."""
        if self.since != state.removals:
            self.known, self.since = Stack(), state.removals
        return self.known


class People:
    """Identities looked up through the index, records read and written in bulk."""

    def __init__(self, engine: sa.Engine, key_store: KeyStore, index: IdentityIndex) -> None:
        self._engine, self._keys, self._index = engine, key_store, index
        self._stray: list[bytes] = []  # whose key was stored, but whose record was not

    def state(self) -> State:
        """The vault's generation now."""
        with reading(self._engine, _WHAT) as connection:
            return state_of(connection)

    def find(self, indexes: Blocks) -> tuple[Blocks, Flags]:
        """(n, 16) handles, zero where unknown, and who is known; other processes' newcomers included."""
        state = self.state()
        handles, known = self._index.find(indexes, state)
        if not known.all():
            self._late(indexes, handles, known, state)
        return handles, known

    def register(self, arrivals: Arrivals, own: OwnPeople) -> tuple[Blocks, Rows]:
        """(n, 16) handles, and the rows whose attributes are still to be compared with the record.

        Those are the rows of people known before and the later rows of new ones.
        """
        state = self.state()
        handles, known = self._index.find(arrivals.indexes, state)
        mine = own.as_of(state)
        rest = np.flatnonzero(~known)
        if len(rest) and len(mine):
            handles[rest], known[rest] = mine.find(arrivals.indexes[rest])
        if not known.all() and not self._index.holds_all(state, len(mine)):
            self._late(arrivals.indexes, handles, known, state, own)
        if known.all():
            return handles, np.arange(len(known))
        rest = np.flatnonzero(~known)
        first, group = distinct(arrivals.indexes[rest])
        fresh, minted = self._settle(arrivals.take(rest[first]), own)
        handles[rest] = fresh[group]
        inserted = np.zeros(len(known), np.bool_)
        inserted[rest[first[minted]]] = True
        return handles, np.flatnonzero(~inserted)

    def renew(self, given: Mapping[bytes, Given]) -> None:
        """Merge newer attributes into people's records, sealed again where that changes them."""
        wanted = sorted(given)
        for start in range(0, len(wanted), _RENEWED):
            left = wanted[start : start + _RENEWED]
            for _ in range(_TRIES):  # again for whom another process renewed or linked in between
                left = self._renew_block(left, given)
                if not left:
                    break
            else:
                raise EnvironmentFailed("the vault's records keep changing", remedy="run again when others are done")

    def stale(self, given: Mapping[bytes, Given]) -> set[bytes]:
        """Whose record newer attributes would change; nothing is written."""
        found: set[bytes] = set()
        wanted = sorted(given)
        for start in range(0, len(wanted), _RENEWED):
            data_keys = self._keys.fetch(wanted[start : start + _RENEWED])
            for handle, sealed in self.sealed(data_keys).items():
                record = open_record(handle, data_keys[handle], sealed)
                if record.renewed(given[handle]) != record:
                    found.add(handle)
        return found

    def records(self, handles: Collection[bytes]) -> dict[bytes, PersonRecord]:
        """The records of those who have one, through aliases; CheckFailed when one was changed."""
        found: dict[bytes, PersonRecord] = {}
        for left in (set(handles), set(handles)):  # twice: a link may move a record while it is looked for
            left -= found.keys()
            homes = self.canonical(left)
            data_keys = self._keys.fetch(set(homes.values()))
            rows = self.sealed(data_keys)
            opened = {home: open_record(home, data_keys[home], sealed) for home, sealed in rows.items()}
            found |= {handle: opened[home] for handle, home in homes.items() if home in opened}
        return found

    def canonical(self, handles: Collection[bytes]) -> dict[bytes, bytes]:
        """The handle that each one leads to since links were found; mostly itself."""
        with reading(self._engine, _WHAT) as connection:
            moved = dict(select_rows(connection, sa.select(aliases), aliases.c.old, set(handles)))
        return {handle: moved.get(handle, handle) for handle in handles}

    def sealed(self, handles: Iterable[bytes]) -> dict[bytes, bytes]:
        """The sealed records of those handles."""
        wanted = sa.select(people.c.handle, people.c.record)
        with reading(self._engine, _WHAT) as connection:
            return dict(select_rows(connection, wanted, people.c.handle, set(handles)))

    def _late(self, indexes: Blocks, handles: Blocks, known: Flags, state: State, own: OwnPeople | None = None) -> None:
        """Fill in whom the database knows though the index doesn't.

        With `own`, whoever is on trial elsewhere is taken over for good: from now on somebody relies on them.
        """
        rest = np.flatnonzero(~known)
        first, group = distinct(indexes[rest])
        asked = indexes[rest[first]]
        with reading(self._engine, _WHAT) as connection:
            open_ones = on_trial(connection)
            found = identities_of(connection, [index.tobytes() for index in asked])
        trial = {index for index, (_, intake) in found.items() if intake in open_ones}
        if own is not None and (others := {index for index in trial if found[index][1] != own.intake}):
            with transaction(self._engine, _WHAT) as connection:
                begin_change(connection)
                taken = taken_over(connection, others)
            found = {index: row for index, row in found.items() if index not in others} | taken
            trial -= others
        if not found:
            return
        keys, values = blocks_of(found), blocks_of(handle for handle, _ in found.values())
        late, here = Segment.of(keys, values).find(asked)
        handles[rest], known[rest] = late[group], here[group]
        settled = np.array([index not in trial for index in found], np.bool_)
        if settled.any():
            self._index.add(keys[settled], values[settled], state)
        if own is not None and not settled.all():
            own.known = own.as_of(state).plus(Segment.of(keys[~settled], values[~settled]))

    def _settle(self, arrivals: Arrivals, own: OwnPeople) -> tuple[Blocks, Flags]:
        """Give new people (distinct) random handles; who was registered meanwhile keeps the earlier one."""
        total = len(arrivals.indexes)
        drawn = np.frombuffer(secrets.token_bytes(16 * total), np.uint8).reshape(-1, 16)
        order = np.argsort(drawn.view(">u8")[:, 0].astype(np.uint64))  # in handle order, so shuffled
        handles, minted = drawn.copy(), np.ones(total, np.bool_)
        for start in range(0, total, _INSERTED):
            rows = order[start : start + _INSERTED]
            handles[rows], minted[rows] = self._insert(arrivals.take(rows), drawn[rows], own)
        return handles, minted

    def _insert(self, arrivals: Arrivals, drawn: Blocks, own: OwnPeople) -> tuple[Blocks, Flags]:
        """One transaction: keys first and durably, then records and identities; killed between, keys of nobody stay."""
        self._tidy()
        state = self.state()
        handles, indexes = drawn.view("V16").ravel().tolist(), arrivals.indexes.view("V16").ravel().tolist()
        sealed = self._keys.seal_new(handles, record_texts(arrivals.ids, arrivals.integer, arrivals.attributes))
        by_index = np.argsort(arrivals.indexes.view(">u8")[:, 0].astype(np.uint64))
        ordered = (blocks[by_index].view("V16").ravel().tolist() for blocks in (arrivals.indexes, drawn))
        try:
            with transaction(self._engine, _WHAT) as connection:
                insert_rows(connection, people, handles, indexes, sealed)
                count = insert_rows(connection, identities, *ordered, [own.intake] * len(drawn), new=True)
                if count < len(handles):
                    count += agree(connection, indexes, handles, own.intake)
                note_change(connection, count)
        except EnvironmentFailed:
            self._stray += drawn.view("V16").ravel().tolist()
            with suppress(EnvironmentFailed):
                self._tidy()
            raise
        settled = blocks_of(handles)
        minted = np.asarray((settled == drawn).all(axis=1), np.bool_)
        if not minted.all():
            self._keys.destroy([drawn[row].tobytes() for row in np.flatnonzero(~minted)])
        if own.intake:
            own.known = own.as_of(state).plus(Segment.of(arrivals.indexes[minted], settled[minted]))
            self._index.add(arrivals.indexes[~minted], settled[~minted], state)
        else:
            self._index.add(arrivals.indexes, settled, state)
        return settled, minted

    def _tidy(self) -> None:
        """Destroy keys of nobody before more are made: on a full disk they would pile up."""
        if self._stray:
            self._keys.destroy(self._stray)
            self._stray = []

    def _renew_block(self, handles: list[bytes], given: Mapping[bytes, Given]) -> list[bytes]:
        """One pass over a block; those to try again, because their record was changed meanwhile."""
        homes = self.canonical(handles)
        data_keys = self._keys.fetch(set(homes.values()))
        stored = self.sealed(data_keys)
        before = {home: open_record(home, data_keys[home], sealed) for home, sealed in stored.items()}
        after = dict(before)
        for handle in handles:
            if (home := homes[handle]) in after:
                after[home] = after[home].renewed(given[handle])
        changed: list[dict[str, Any]] = [
            {"new": seal_record(home, data_keys[home], record), "home": home, "old": stored[home]}
            for home, record in sorted(after.items(), key=lambda pair: pair[0])  # or two processes lock crosswise
            if record != before[home]
        ]
        if not changed:
            return []
        same = sa.and_(people.c.handle == sa.bindparam("home"), people.c.record == sa.bindparam("old"))
        statement = sa.update(people).where(same).values(record=sa.bindparam("new"))
        with transaction(self._engine, _WHAT) as connection:
            count = connection.execute(statement, changed).rowcount
        return [] if count == len(changed) else handles
