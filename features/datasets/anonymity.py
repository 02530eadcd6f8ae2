"""What a descriptor asks of quasi-identifiers: which are generalised together, by what hierarchies, to what k."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from privacy.classification import Sensitivity
from privacy.errors import BadInput

if TYPE_CHECKING:
    from privacy.profile import ProfileRule

    from .tables import Anonymity, Table

__all__ = ["check_anonymity", "profile_rule"]

PEOPLE: Final = "customers"
"""The table that has one row a person; quasi-identifiers of others are kept out."""


def profile_rule(table: Table) -> ProfileRule | None:
    """What becomes of the table's quasi-identifiers without a mask; None where none of them is told.

    `anonymity` only overrides what holds without it: all of them, classes of the platform's floor, defaults by type.
    """
    from privacy.demands import Demands, Entropy  # the descriptor stays light to import
    from privacy.profile import ProfileRule

    asked = _asked(table)
    columns = _told(table, asked)
    if table.name != PEOPLE or not columns:
        return None
    given = {name: table.columns[name].hierarchy for name in columns}
    return ProfileRule(
        columns,
        Demands(asked.k, asked.l if asked.entropy_l is None else Entropy(asked.entropy_l), asked.t),
        asked.sensitive,
        {name: hierarchy for name, hierarchy in given.items() if hierarchy is not None},
        asked.max_suppression,
    )


def check_anonymity(table: Table, where: str) -> None:
    """Refuse, naming the column, what can't be generalised as the descriptor says."""
    for name, column in table.columns.items():
        if column.hierarchy is not None:
            _check_hierarchy(table, name, where)
    if table.anonymity is None:
        return
    asked = table.anonymity
    if table.name != PEOPLE:
        raise BadInput(f"table '{table.name}' can't have 'anonymity': only customers has one row a person", where=where)
    known = _open_columns(table)
    for name in asked.columns or ():
        if name not in known:
            remedy = "name quasi-identifiers without a mask"
            raise BadInput(f"anonymity of '{table.name}' can't generalise '{name}'", where=where, remedy=remedy)
    for name in asked.sensitive:
        if name not in table.columns or table.columns[name].mask is not None or name == table.subject:
            raise BadInput(f"anonymity of '{table.name}' names '{name}' as sensitive: no such column", where=where)
    if not _told(table, asked) and asked.columns != ():
        raise BadInput(f"anonymity of '{table.name}' has no quasi-identifier without a mask", where=where)
    wants = (asked.l, asked.entropy_l, asked.t)
    if asked.l is not None and asked.entropy_l is not None:
        raise BadInput(f"anonymity of '{table.name}' names both l and entropy_l", where=where, remedy="leave one out")
    if any(value is not None for value in wants) and not asked.sensitive:
        raise BadInput(f"anonymity of '{table.name}' has l or t, but no 'sensitive' column", where=where)


def _check_hierarchy(table: Table, name: str, where: str) -> None:
    from privacy.hierarchies import parse_hierarchy

    if table.name != PEOPLE or name not in _open_columns(table):
        remedy = f"hierarchies are for quasi-identifiers of {PEOPLE} that have no mask"
        raise BadInput(f"column '{table.name}.{name}' has a hierarchy that nothing uses", where=where, remedy=remedy)
    parse_hierarchy(table.columns[name].hierarchy, f"{table.name}.{name}")


def _asked(table: Table) -> Anonymity:
    from .tables import Anonymity

    return table.anonymity or Anonymity()


def _told(table: Table, asked: Anonymity) -> tuple[str, ...]:
    names = _open_columns(table) if asked.columns is None else asked.columns
    return tuple(name for name in names if name not in asked.sensitive)


def _open_columns(table: Table) -> list[str]:
    return [
        name
        for name, column in table.columns.items()
        if column.sensitivity is Sensitivity.QUASI_IDENTIFIER
        and column.mask is None
        and table.role_of(name) == "attribute"
    ]
