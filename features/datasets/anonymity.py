"""What a descriptor asks of quasi-identifiers: which are generalised together, by what hierarchies, to what k."""

from __future__ import annotations

from typing import TYPE_CHECKING

from privacy.classification import Sensitivity
from privacy.errors import BadInput

if TYPE_CHECKING:
    from privacy.profile import ProfileRule

    from .tables import Table

__all__ = ["check_anonymity", "profile_rule"]


def profile_rule(table: Table) -> ProfileRule | None:
    """What becomes of the table's quasi-identifiers without a mask; None where nothing is asked: they are dropped."""
    from privacy.demands import Demands, Entropy  # the descriptor stays light to import
    from privacy.profile import ProfileRule

    asked = table.anonymity
    if asked is None:
        return None
    columns = tuple(name for name in asked.columns or _open_columns(table) if name not in asked.sensitive)
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
    asked = table.anonymity
    if asked is None:
        return
    if table.name != "customers":
        raise BadInput(f"table '{table.name}' can't have 'anonymity': only customers has one row a person", where=where)
    known = _open_columns(table)
    for name in asked.columns:
        if name not in known:
            remedy = "name quasi-identifiers without a mask"
            raise BadInput(f"anonymity of '{table.name}' can't generalise '{name}'", where=where, remedy=remedy)
    for name in asked.sensitive:
        if name not in table.columns or table.columns[name].mask is not None or name == table.subject:
            raise BadInput(f"anonymity of '{table.name}' names '{name}' as sensitive: no such column", where=where)
    if not [name for name in asked.columns or known if name not in asked.sensitive]:
        raise BadInput(f"anonymity of '{table.name}' has no quasi-identifier without a mask", where=where)
    wants = (asked.l, asked.entropy_l, asked.t)
    if asked.l is not None and asked.entropy_l is not None:
        raise BadInput(f"anonymity of '{table.name}' names both l and entropy_l", where=where, remedy="leave one out")
    if any(value is not None for value in wants) and not asked.sensitive:
        raise BadInput(f"anonymity of '{table.name}' has l or t, but no 'sensitive' column", where=where)


def _check_hierarchy(table: Table, name: str, where: str) -> None:
    from privacy.hierarchies import parse_hierarchy

    column = table.columns[name]
    if column.sensitivity is not Sensitivity.QUASI_IDENTIFIER or column.mask is not None or table.anonymity is None:
        remedy = "give the table 'anonymity', and the column no mask"
        raise BadInput(f"column '{table.name}.{name}' has a hierarchy that nothing uses", where=where, remedy=remedy)
    parse_hierarchy(column.hierarchy, f"{table.name}.{name}")


def _open_columns(table: Table) -> list[str]:
    return [
        name
        for name, column in table.columns.items()
        if column.sensitivity is Sensitivity.QUASI_IDENTIFIER and column.mask is None and not column.key
    ]
