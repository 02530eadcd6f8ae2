"""From order lines to the events and features of whoever the lines are of: what a build and a push both compute."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from . import engine
from .feature_table import EVENT_COLUMNS, UTC
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
    from ibis.backends.duckdb import Backend

__all__ = ["FAMILIES", "Assembly", "Given", "cutoff_table"]

FAMILIES: Final = (rfm, decay, rhythm, basket, lifecycle)


@dataclass(frozen=True)
class Given:
    """What features are computed from: order lines, people's references and, where features need them, interactions."""

    lines: ir.Table
    people: ir.Table
    interactions: ir.Table | None


@dataclass(frozen=True)
class Assembly:
    """Features under way; `late` are the lines of whom any came later than dated, the others are in `timely`."""

    connection: Backend
    given: Given
    windows: Windows
    happened: ir.Table
    timely: orders.Snapshots | None
    late: ir.Table | None

    @classmethod
    def begun(cls, connection: Backend, given: Given, windows: Windows, *, few: bool = False) -> Assembly:
        """Fold the lines into events, once; of a `few` people all are taken for late where any may be."""
        lines = given.lines
        happened = engine.freeze(connection, orders.events(lines), "events")
        kinds = orders.categories(lines)
        sorts = None if kinds is None else engine.freeze(connection, kinds, "sorts")
        if not orders.come_late(lines):
            return cls(connection, given, windows, happened, orders.Snapshots(happened, sorts), None)
        if few:
            return cls(connection, given, windows, happened, None, lines)
        late = engine.freeze(connection, orders.latecomers(lines), "latecomers")
        others = None if sorts is None else sorts.anti_join(late, "customer_token")
        timely = orders.Snapshots(happened.anti_join(late, "customer_token"), others)
        some = late.count().to_pyarrow().as_py() > 0
        return cls(
            connection, given, windows, happened, timely, lines.semi_join(late, "customer_token") if some else None
        )

    @property
    def event_schema(self) -> pa.Schema:
        """The columns of events as they are stored."""
        return pa.schema([field for field in EVENT_COLUMNS if field.name in self.happened.columns])

    @property
    def told_events(self) -> ir.Table:
        """Everybody's events as they are stored."""
        wanted = self.happened.select(*self.event_schema.names)
        return wanted.mutate(value=wanted.value.cast("int64"))

    def events(self) -> Iterator[pa.RecordBatch]:
        """Stream everybody's events as they are stored."""
        for batch in engine.stream(self.connection, self.told_events, 1_000_000):
            yield batch.cast(self.event_schema)

    def features(self, moments: Sequence[dt.datetime]) -> pa.Table:
        """Compute every feature at `moments`; bands are among all people given."""
        return self.told_features(cutoff_table(self.connection, moments)).to_pyarrow()

    def told_features(self, cutoffs: ir.Table, *, banded: bool = True) -> ir.Table:
        """Every feature at the `cutoffs`, for the people who had bought; without the bands where not all are given."""
        longest, paired = self.windows.longest, None
        if self.timely is not None:
            paired = orders.snapshots(self.timely.events, self.timely.categories, cutoffs, longest_days=longest)
        if self.late is not None:
            late = orders.as_known(self.late, cutoffs, longest_days=longest)
            paired = late if paired is None else orders.together(paired, late)
        if paired is None:
            raise ValueError("nobody is given")
        past = engine.freeze(self.connection, paired.events, "past")
        kinds = paired.categories
        counted = None if kinds is None else engine.freeze(self.connection, kinds, "kinds")
        return self._joined(orders.Snapshots(past, counted), cutoffs, banded=banded)

    def _joined(self, past: orders.Snapshots, cutoffs: ir.Table, *, banded: bool) -> ir.Table:
        keys = list(orders.KEYS)
        first, *others = (
            engine.freeze(self.connection, family(past, self.windows), f"family_{family.__name__}")
            for family in FAMILIES
        )
        joined = first
        for other in others:
            joined = joined.inner_join(other, keys)
        known = engine.freeze(self.connection, joined, "known")
        joined = known.inner_join(insight(known, self.windows), keys) if banded else known
        met = self.given.interactions
        if met is not None:
            joined = joined.inner_join(engagement(known, met, cutoffs, self.windows), keys)
        return joined.left_join(self.given.people, "customer_token", rname="{name}_person")


def cutoff_table(connection: Backend, moments: Sequence[dt.datetime]) -> ir.Table:
    """Return `moments` as a table with the column event_timestamp."""
    column = pa.array([moment.astimezone(dt.UTC) for moment in moments], UTC)
    return engine.place(connection, pa.table({"event_timestamp": column}), "cutoffs")
