"""Who is one person, found before anybody is protected: a pass over the tables whose columns identify people."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from privacy.classification import LinkKind
from privacy.link_rules import LinkReport
from privacy.linking import Linker
from privacy.token_tables import LATEST
from privacy.treatment import CUSTOMER_TOKEN, Protector

from . import sources
from .contracts import Contract
from .datasets.descriptor import Descriptor
from .datasets.identity import identifying
from .datasets.tables import Table
from .former import CANONICAL

if TYPE_CHECKING:
    from .spark_intake import SparkIntake

__all__ = ["find_links", "former_table"]

STAGE: Final = "identities"


def find_links(
    descriptor: Descriptor,
    protector: Protector,
    linker: Linker,
    now: dt.datetime,
    progress: Callable[[str, int], None],
    cluster: SparkIntake | None = None,
) -> LinkReport | None:
    """Meet everybody whom a table tells more ids of, and decide who is one person; None where no column identifies.

    Rows that the contract refuses and those of the erased show nothing. Raises BadInput as reading a source does.
    """
    tables = _telling(descriptor)
    if not tables:
        return None
    found = _Pass(descriptor, protector, linker, now, progress, cluster)
    for table in tables:
        found.read(table)
    lines = descriptor.tables["transactions"]
    if found.refused and lines not in tables:  # they are dated, so they alone tell who of the erased has come back
        for table in (lines, *tables):
            found.read(table)
    return linker.resolve()


@dataclass
class _Pass:
    """Everybody met so far, and how many rows of the erased were left out; rows may be met again."""

    descriptor: Descriptor
    protector: Protector
    linker: Linker
    now: dt.datetime
    progress: Callable[[str, int], None]
    cluster: SparkIntake | None = None
    rows: int = 0
    refused: int = 0

    def read(self, table: Table) -> None:
        """Meet whoever is in a table, by the rows that its contract lets pass."""
        ids, unique = identifying(table), _unique(self.descriptor, table)
        subject = self.descriptor.subject
        for rows in self._told(table, [*ids, *unique.values()]):
            if not rows.num_rows:
                continue
            found = [(f"{table.name}.{name}", kind, rows.column(name)) for name, kind in ids.items()]
            if _by_account(self.descriptor):  # the subject is an account that others may name
                found.append((f"{table.name}.{subject}", LinkKind.ACCOUNT, rows.column(subject)))
            self.linker.meet(rows.column(subject), found, {place: rows.column(name) for place, name in unique.items()})

    def _told(self, table: Table, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The good rows of a table that aren't of the erased; executors tell of `columns` alone, each row once."""
        subject, contract = self.descriptor.subject, Contract(table, self.now)
        splits = self.cluster.splits(table) if self.cluster is not None else []
        if self.cluster is not None and splits:
            from .spark_rows import EARLIEST  # who ingests without Spark needs none of it

            for rows in self.cluster.told_of(table, splits, columns).combine_chunks().to_batches():
                ids = rows.column(subject)
                self.refused += int(self.protector.tombstoned(ids, rows.column(EARLIEST)).sum())
                erased = self.protector.tombstoned(ids, rows.column(LATEST))
                yield rows.filter(pa.array(~erased))
            return
        for batch in sources.batches(self.descriptor, table):
            bad = pc.is_in(pa.array(range(batch.num_rows)), value_set=pc.unique(contract.failures(batch)["row"]))
            rows = batch.filter(pc.invert(bad))
            dates = rows.column(table.event_column) if table.event_column else None
            erased = self.protector.tombstoned(rows.column(subject), dates)
            self.refused += int(erased.sum())
            self.rows += batch.num_rows
            self.progress(STAGE, self.rows)
            yield rows.filter(pa.array(~erased))


def former_table(linker: Linker) -> pa.Table:
    """Each token of the feature store's from before a link, and the token of the person it is now."""
    former, now = linker.former_tokens()
    return pa.table({CUSTOMER_TOKEN: former, CANONICAL: now})


def _telling(descriptor: Descriptor) -> list[Table]:
    """The tables to read: with columns that identify or are unique; all about people where an account may be named."""
    ordered = sorted(descriptor.tables.values(), key=lambda table: table.name != "transactions")
    people = [table for table in ordered if table.subject is not None]
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
