"""From order lines to the events and features of whoever the lines are of: what a build and a push both compute."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from . import engine
from .transforms import orders
from .transforms.basket import basket
from .transforms.decay import decay
from .transforms.engagement import engagement
from .transforms.feature import Feature, Windows
from .transforms.insight import insight
from .transforms.lifecycle import lifecycle
from .transforms.rfm import rfm
from .transforms.rhythm import rhythm

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from ibis.backends.duckdb import Backend

__all__ = ["EVENTS", "FAMILIES", "FEATURES", "Assembly", "Given", "cutoff_table", "schema_of", "stored"]

FEATURES: Final = "customer_features"
EVENTS: Final = "order_events"
FAMILIES: Final = (rfm, decay, rhythm, basket, lifecycle)
UTC: Final = pa.timestamp("us", "UTC")


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
    timely: orders.Snapshots
    late: ir.Table | None

    @classmethod
    def begun(cls, connection: Backend, given: Given, windows: Windows) -> Assembly:
        """Fold the lines into events, once."""
        lines = given.lines
        happened = engine.freeze(connection, orders.events(lines), "events")
        kinds = orders.categories(lines)
        sorts = None if kinds is None else engine.freeze(connection, kinds, "sorts")
        if not orders.come_late(lines):
            return cls(connection, given, windows, happened, orders.Snapshots(happened, sorts), None)
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
        kinds = {
            "customer_token": pa.string(),
            "at": UTC,
            "second": pa.int64(),
            "value": pa.int64(),
            "purchase": pa.bool_(),
        }
        kinds |= {"known": UTC} if "known" in self.happened.columns else {}
        return pa.schema(kinds.items())

    def events(self) -> Iterator[pa.RecordBatch]:
        """Stream everybody's events as they are stored."""
        schema = self.event_schema
        wanted = self.happened.select(*schema.names)
        plain = wanted.mutate(value=wanted.value.cast("int64"))
        for batch in engine.stream(self.connection, plain, 1_000_000):
            yield batch.cast(schema)

    def features(self, moments: Sequence[dt.datetime], *, banded: bool = True) -> pa.Table:
        """Compute every feature at `moments`; bands are among all people given, so a part of them has none."""
        cutoffs = cutoff_table(self.connection, moments)
        longest = self.windows.longest
        paired = orders.snapshots(self.timely.events, self.timely.categories, cutoffs, longest_days=longest)
        if self.late is not None:
            paired = orders.together(paired, orders.as_known(self.late, cutoffs, longest_days=longest))
        past = engine.freeze(self.connection, paired.events, "past")
        kinds = paired.categories
        counted = None if kinds is None else engine.freeze(self.connection, kinds, "kinds")
        table = self._joined(orders.Snapshots(past, counted), cutoffs, banded=banded).to_pyarrow()
        # A row is made of what was known at its cut-off, whenever it is computed.
        return table.append_column("created_timestamp", table["event_timestamp"].cast(UTC))

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


def schema_of(listed: Sequence[Feature]) -> pa.Schema:
    """The columns of the feature table, in stored order."""
    told = [pa.field(feature.name, pa.string() if feature.bands else pa.float64()) for feature in listed]
    keys = [pa.field("customer_token", pa.string()), pa.field("event_timestamp", UTC)]
    return pa.schema([*keys, pa.field("created_timestamp", UTC), *told, pa.field("audit_reference", pa.string())])


def cutoff_table(connection: Backend, moments: Sequence[dt.datetime]) -> ir.Table:
    """Return `moments` as a table with the column event_timestamp."""
    column = pa.array([moment.astimezone(dt.UTC) for moment in moments], UTC)
    return engine.place(connection, pa.table({"event_timestamp": column}), "cutoffs")


def stored(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of `schema` as they are kept: null, not NaN or infinity, where a number has no meaning."""
    table = table.select(schema.names).cast(schema)
    for at, field in enumerate(schema):
        if pa.types.is_floating(field.type):
            column = table.column(at)
            clean = pc.if_else(pc.is_finite(column), column, pa.scalar(None, pa.float64()))
            table = table.set_column(at, field, clean)
    return table
