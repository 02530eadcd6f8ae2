"""Who is one person, found before anybody is protected: a pass over the tables whose columns identify people."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from privacy.classification import LinkKind
from privacy.link_rules import LinkReport
from privacy.linking import Linker
from privacy.treatment import CUSTOMER_TOKEN, Protector

from . import sources
from .contracts import Contract
from .datasets.descriptor import Descriptor
from .datasets.identity import identifying
from .datasets.tables import Table
from .former import CANONICAL

__all__ = ["find_links", "former_table"]

STAGE: Final = "identities"


def find_links(
    descriptor: Descriptor,
    protector: Protector,
    linker: Linker,
    now: dt.datetime,
    progress: Callable[[str, int], None],
) -> LinkReport | None:
    """Meet everybody whom a table tells more ids of, and decide who is one person; None where no column identifies.

    Rows that the contract refuses and those of the erased show nothing. Raises BadInput as reading a source does.
    """
    tables = _telling(descriptor)
    if not tables:
        return None
    rows = 0
    for table in tables:
        ids, unique = identifying(table), _unique(descriptor, table)
        for batch in _good(descriptor, table, protector, now):
            if not batch.num_rows:
                continue
            subjects = batch.column(descriptor.subject)
            found = [(f"{table.name}.{name}", kind, batch.column(name)) for name, kind in ids.items()]
            if _by_account(descriptor):  # the subject is an account that others may name
                found.append((f"{table.name}.{descriptor.subject}", LinkKind.ACCOUNT, subjects))
            linker.meet(subjects, found, {place: batch.column(name) for place, name in unique.items()})
            rows += batch.num_rows
            progress(STAGE, rows)
    return linker.resolve()


def former_table(linker: Linker) -> pa.Table:
    """Each token of the feature store's from before a link, and the token of the person it is now."""
    former, now = linker.former_tokens()
    return pa.table({CUSTOMER_TOKEN: former, CANONICAL: now})


def _telling(descriptor: Descriptor) -> list[Table]:
    """The tables to read: with columns that identify or are unique; all about people where an account may be named."""
    people = [table for table in descriptor.tables.values() if table.subject is not None]
    if not any(identifying(table) for table in people):
        return []
    everybody = _by_account(descriptor)
    return [table for table in people if everybody or identifying(table) or _unique(descriptor, table)]


def _by_account(descriptor: Descriptor) -> bool:
    return any(LinkKind.ACCOUNT in identifying(table).values() for table in descriptor.tables.values())


def _unique(descriptor: Descriptor, table: Table) -> dict[str, str]:
    """Place -> column of `table` in which two customers who are one person can't differ."""
    places = (place.partition(".") for place in descriptor.identity.unique)
    return {f"{name}.{column}": column for name, _, column in places if name == table.name}


def _good(descriptor: Descriptor, table: Table, protector: Protector, now: dt.datetime) -> Iterator[pa.RecordBatch]:
    contract = Contract(table, now)
    for batch in sources.batches(descriptor, table):
        bad = pc.unique(contract.failures(batch)["row"])
        good = pc.invert(pc.is_in(pa.array(range(batch.num_rows)), value_set=bad))
        rows = batch.filter(good)
        dates = rows.column(table.event_column) if table.event_column else None
        yield rows.filter(pa.array(~protector.tombstoned(rows.column(descriptor.subject), dates)))
