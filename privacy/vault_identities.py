"""Rows of `identities`: who is there already, and who is on trial."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from privacy.vault_changes import begin_change
from privacy.vault_database import delete_rows, insert_rows, select_rows
from privacy.vault_schema import identities, intakes, people

__all__ = ["agree", "identities_of", "on_trial", "taken_over"]


def on_trial(connection: sa.Connection) -> set[int]:
    """The intakes that are open: the people they registered may still be taken back."""
    return {number for (number,) in connection.execute(sa.select(intakes.c.number))}


def agree(connection: sa.Connection, indexes: Sequence[bytes], handles: list[bytes], intake: int) -> int:
    """Where an identity was there already, put its handle in place of the new one; how many more were inserted.

    `indexes` and `handles` are the rows that were to be inserted for `intake`.
    """
    begin_change(connection)
    fresh, more = dict(zip(indexes, handles, strict=True)), 0
    while True:
        open_ones = on_trial(connection)
        found = identities_of(connection, indexes)
        # withdrawn since they stood in the way
        missing = sorted((index, fresh[index], intake) for index in fresh.keys() - found.keys())
        if not missing:
            break
        more += insert_rows(connection, identities, *zip(*missing, strict=True), new=True)
    earlier = {index for index, (handle, _) in found.items() if handle != fresh[index]}
    taken_over(connection, {index for index in earlier if found[index][1] in open_ones})
    delete_rows(connection, people, people.c.handle, [fresh[index] for index in earlier])
    handles[:] = [found[index][0] for index in indexes]
    return more


def taken_over(connection: sa.Connection, indexes: Collection[bytes]) -> dict[bytes, tuple[bytes, int]]:
    """Make people whom another intake has on trial stay for good; those who are still there."""
    found = identities_of(connection, indexes)
    if found:
        ordered = [{"taken": index} for index in sorted(found)]
        connection.execute(
            sa.update(identities).where(identities.c.idx == sa.bindparam("taken")).values(intake=0), ordered
        )
    return {index: (handle, 0) for index, (handle, _) in found.items()}


def identities_of(connection: sa.Connection, indexes: Collection[bytes]) -> dict[bytes, tuple[bytes, int]]:
    """index -> handle and the intake that registered it."""
    rows = select_rows(connection, sa.select(identities), identities.c.idx, indexes)
    return {index: (handle, intake) for index, handle, intake in rows}
