"""The vault's generation: a counter that every change of who is who raises, with a history that can't be mistaken.

What is derived from the vault (its lookup index) notes the change it was made at. It still fits when that very
change, tag included, is in the vault's history and nobody was taken away since.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from privacy.vault_database import insert_new, reading, transaction
from privacy.vault_schema import changes, vault_meta

__all__ = [
    "State",
    "begin_change",
    "is_past",
    "meta_value",
    "note_change",
    "raise_counter",
    "settled_meta",
    "state_of",
]

_KEPT: Final = 4096
"""Changes that are remembered; an index further behind is made anew."""


@dataclass(frozen=True)
class State:
    """The vault after its change `number`: erasures begun, the latest removal, and how many identities it has."""

    number: int
    tag: bytes
    removals: int
    identities: int
    erasures: int


def state_of(connection: sa.Connection) -> State:
    """The state that this transaction sees."""
    erasures = sa.select(vault_meta.c.value).where(vault_meta.c.name == "erasure_counter").scalar_subquery()
    query = sa.select(changes, erasures).order_by(changes.c.number.desc()).limit(1)
    number, tag, removals, identities, begun = connection.execute(query).one()
    return State(int(number), bytes(tag), int(removals), int(identities), int(begun))


def is_past(connection: sa.Connection, number: int, tag: bytes) -> bool:
    """Whether that change is in this vault's history, and not only one of the same number."""
    found = connection.execute(sa.select(changes.c.tag).where(changes.c.number == number)).scalar_one_or_none()
    return found is not None and bytes(found) == tag


def begin_change(connection: sa.Connection) -> State:
    """Let one change follow another: who updates or deletes identities calls this first; the state before."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
        connection.exec_driver_sql("LOCK TABLE changes IN SHARE ROW EXCLUSIVE MODE")
    return state_of(connection)


def note_change(connection: sa.Connection, identities: int = 0, *, removal: bool = False) -> State:
    """Count a change that added (or took) `identities`; the state after it. The transaction's last step."""
    before = begin_change(connection)
    number = before.number + 1
    removals = number if removal else before.removals
    after = State(number, secrets.token_bytes(8), removals, before.identities + identities, before.erasures)
    insert_new(connection, changes, (after.number, after.tag, after.removals, after.identities))
    connection.execute(sa.delete(changes).where(changes.c.number <= number - _KEPT))
    return after


def settled_meta(engine: sa.Engine, table: sa.Table, fresh: Mapping[str, str], what: str) -> dict[str, str]:
    """What the database says of itself, now that it is made or since; written once only."""
    for again in (True, False):
        with reading(engine, what) as connection:
            stored = {name: meta_value(connection, table, name) for name in fresh}
        if again and not all(stored.values()):
            with transaction(engine, what) as connection:
                insert_new(connection, table, *fresh.items())
                if table is vault_meta:
                    _begin_history(connection)
    return stored


def meta_value(connection: sa.Connection, table: sa.Table, name: str) -> str:
    """A stored setting, empty when absent."""
    value = connection.execute(sa.select(table.c.value).where(table.c.name == name)).scalar_one_or_none()
    return "" if value is None else str(value)


def raise_counter(connection: sa.Connection, table: sa.Table, counter: int, name: str = "erasure_counter") -> None:
    """Set a counter, never downwards."""
    if int(meta_value(connection, table, name) or 0) < counter:
        connection.execute(sa.update(table).where(table.c.name == name).values(value=str(counter)))


def _begin_history(connection: sa.Connection) -> None:
    """Note the empty vault as change 0, unless there is a history."""
    if connection.execute(sa.select(changes.c.number).limit(1)).first() is None:
        insert_new(connection, changes, (0, secrets.token_bytes(8), 0, 0))
