"""What of a shop's quality an ingest can measure: which dimension of which column, and what stored tables allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, Literal

from privacy.classification import Sensitivity

from .inference import PRODUCT
from .references import Reference, references_of

if TYPE_CHECKING:
    from .tables import Table

__all__ = [
    "CREATED",
    "DIMENSIONS",
    "Dimension",
    "comparable",
    "is_linked",
    "is_timed",
    "measured",
    "stored_as",
    "unique_key",
]

Dimension = Literal["completeness", "validity", "uniqueness", "consistency", "timeliness", "volume"]
DIMENSIONS: Final[tuple[Dimension, ...]] = (
    "completeness",
    "validity",
    "uniqueness",
    "consistency",
    "timeliness",
    "volume",
)
CREATED: Final = "created"
CONSENTS: Final = "consents"
OPEN: Final = frozenset({Sensitivity.BEHAVIOURAL, Sensitivity.NON_PERSONAL})


def measured(tables: Mapping[str, Table], subject: str) -> set[tuple[str, str, Dimension]]:
    """Return every table, column and dimension that is scored; no column stands for whole rows.

    Volume is of tables only and always measured from the second ingest on, so it isn't among them.
    """
    found: set[tuple[str, str, Dimension]] = set()
    for name, table in tables.items():
        if name == CONSENTS:
            continue
        for column in table.columns:
            found |= {(name, column, "completeness"), (name, column, "validity")}
        if is_timed(table):
            found.add((name, CREATED, "timeliness"))
        key = unique_key(tables, name, subject)
        if not key or stored_as(table, key) is not None:
            found.add((name, key, "uniqueness"))
    found |= {(*reference.column, "consistency") for reference in comparable(tables, subject)}
    if "transactions" in tables and stored_as(tables["transactions"], "amount") is not None:
        found.add(("transactions", "amount", "consistency"))
    return found


def is_timed(table: Table) -> bool:
    """Whether the table tells when its rows happened and when they came into the books."""
    return table.event_column is not None and CREATED in table.columns and table.kind_of(CREATED) == "timestamp"


def unique_key(tables: Mapping[str, Table], name: str, subject: str) -> str:
    """The column of a table whose values may not repeat, empty where whole rows may not."""
    key = {"customers": subject, "products": PRODUCT}.get(name, "")
    return key if key in tables[name].columns else ""


def is_linked(tables: Mapping[str, Table], name: str) -> bool:
    """Whether two rows of a table of customers with one token may be of two ids, as where columns identify people."""
    return name == "customers" and any(each.identifies for table in tables.values() for each in table.columns.values())


def stored_as(table: Table, column: str) -> str | None:
    """Return what `column` is called in the protected table; None where its values are masked or kept out."""
    if column not in table.columns:
        return None
    role, said = table.role_of(column), table.columns[column]
    if role == "subject":
        return "customer_token"
    if role == "key":
        return f"{column.removesuffix('_id')}_token" if table.subject is not None else None
    return column if said.mask is None and said.sensitivity in OPEN else None


def comparable(tables: Mapping[str, Table], subject: str) -> Iterator[Reference]:
    """Yield the references whose both sides are stored so that equal values are still equal.

    A key becomes another token for every person and every name of a column, so its two sides have one name.
    """
    for reference in references_of(tables, subject):
        (name, column), (to, key) = reference.column, reference.to
        if CONSENTS in (name, to):
            continue
        roles = tables[name].role_of(column), tables[to].role_of(key)
        stored = stored_as(tables[name], column), stored_as(tables[to], key)
        if None not in stored and roles[0] == roles[1] and (roles[0] != "key" or column == key):
            yield reference
