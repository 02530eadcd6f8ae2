"""Which columns of a shop's tables hold the keys of others: as declared, or by what they are called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .inference import PRODUCT

if TYPE_CHECKING:
    from .tables import Table

__all__ = ["Place", "Reference", "references_of"]

Place = tuple[str, str]
"""A table and one of its columns."""


@dataclass(frozen=True)
class Reference:
    """`column` of a table holds values of the key `to`; `declared` in the descriptor, or by what the tables are."""

    column: Place
    to: Place
    declared: bool


def references_of(tables: Mapping[str, Table], subject: str) -> Iterator[Reference]:
    """Yield every reference between `tables`, whose people are named by the column `subject`."""
    for name, table in tables.items():
        for column, said in table.columns.items():
            if said.references is not None:
                to, _, key = said.references.partition(".")
                if to in tables and key in tables[to].columns:
                    yield Reference((name, column), (to, key), declared=True)
            elif (name, column) != (own := _implied(tables, subject, column)) and own is not None:
                yield Reference((name, column), own, declared=False)


def _implied(tables: Mapping[str, Table], subject: str, column: str) -> Place | None:
    """The key that a column means by what it is called."""
    to = "customers" if column == subject else "products" if column == PRODUCT else ""
    return (to, column) if to in tables and column in tables[to].columns else None
