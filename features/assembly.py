"""From order lines to the events and features of whoever the lines are of: what a build and a push both compute."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from .data_time import in_utc
from .engine import Connection
from .feature_table import EVENT_COLUMNS
from .transforms import orders
from .transforms.basket import basket
from .transforms.decay import decay
from .transforms.engagement import engagement
from .transforms.feature import Windows
from .transforms.insight import insight
from .transforms.lifecycle import lifecycle
from .transforms.rfm import rfm
from .transforms.rhythm import rhythm

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["FAMILIES", "Beside", "Folded", "cutoff_table", "told_features"]

FAMILIES: Final = (rfm, decay, rhythm, basket, lifecycle)


@dataclass(frozen=True)
class Folded:
    """Some people's order lines, folded once; `late` are the lines of whom any came later than dated, if there are any.

    The others' are in `timely`. It holds until the next lines are folded on the same connection.
    """

    connection: Connection
    windows: Windows
    happened: ir.Table
    timely: orders.Snapshots | None
    late: ir.Table | None

    @classmethod
    def of(
        cls,
        connection: Connection,
        lines: ir.Table,
        windows: Windows,
        *,
        sorted_since: dt.datetime | None = None,
        few: bool = False,
    ) -> Folded:
        """Fold `lines`; of a `few` people all are taken for late where any may be.

        What was bought before `sorted_since` counts in nobody's categories.
        """
        happened = connection.freeze(orders.events(lines), "events")
        late_ones = orders.come_late(lines)
        if few and late_ones:
            return cls(connection, windows, happened, None, lines)
        kinds = orders.categories(lines if sorted_since is None else lines.filter(lines.ordered_at >= sorted_since))
        sorts = None if kinds is None else connection.freeze(kinds, "sorts")
        if not late_ones:
            return cls(connection, windows, happened, orders.Snapshots(happened, sorts), None)
        late = connection.freeze(orders.latecomers(lines), "latecomers")
        others = None if sorts is None else sorts.anti_join(late, "customer_token")
        timely = orders.Snapshots(happened.anti_join(late, "customer_token"), others)
        some = connection.read(late.aggregate(people=late.count()))["people"][0].as_py() > 0
        return cls(connection, windows, happened, timely, lines.semi_join(late, "customer_token") if some else None)

    @property
    def told_events(self) -> ir.Table:
        """Everybody's events as they are stored."""
        wanted = self.happened.select(*self._event_schema.names)
        return wanted.mutate(value=wanted.value.cast("int64"))

    def events(self) -> Iterator[pa.RecordBatch]:
        """Stream everybody's events as they are stored."""
        for batch in self.connection.stream(self.told_events, 1_000_000):
            yield batch.cast(self._event_schema)

    def numbers(self, cutoffs: ir.Table) -> ir.Table:
        """Compute every number at the `cutoffs`, of the people who had bought."""
        longest, paired = self.windows.longest, None
        if self.timely is not None:
            paired = orders.snapshots(self.timely.events, self.timely.categories, cutoffs, longest_days=longest)
        if self.late is not None:
            late = orders.as_known(self.late, cutoffs, longest_days=longest)
            paired = late if paired is None else orders.together(paired, late)
        if paired is None:
            raise ValueError("nobody is given")
        events = self.connection.freeze(paired.events, "past")
        kinds = paired.categories
        past = orders.Snapshots(events, None if kinds is None else self.connection.freeze(kinds, "kinds"))
        joined, *others = (
            self.connection.freeze(family(past, self.windows), f"family_{family.__name__}") for family in FAMILIES
        )
        for other in others:
            joined = joined.inner_join(other, list(orders.KEYS))
        return self.connection.freeze(joined, "known")

    @property
    def _event_schema(self) -> pa.Schema:
        """The columns of events as they are stored."""
        return pa.schema([field for field in EVENT_COLUMNS if field.name in self.happened.columns])


@dataclass(frozen=True)
class Beside:
    """What is told of people beside their order lines: references and, where features need them, interactions."""

    people: ir.Table
    interactions: ir.Table | None


def told_features(
    numbers: ir.Table, cutoffs: ir.Table, beside: Beside, windows: Windows, *, banded: bool = True
) -> ir.Table:
    """Every feature at the `cutoffs`; without the bands, which are among all people, where not all are given."""
    keys = list(orders.KEYS)
    joined = numbers.inner_join(insight(numbers, windows), keys) if banded else numbers
    if beside.interactions is not None:
        joined = joined.inner_join(engagement(numbers, beside.interactions, cutoffs, windows), keys)
    return joined.left_join(beside.people, "customer_token", rname="{name}_person")


def cutoff_table(connection: Connection, moments: Sequence[dt.datetime]) -> ir.Table:
    """Return `moments` as a table with the column event_timestamp."""
    return connection.place(pa.table({"event_timestamp": in_utc(moments)}), "cutoffs")
