"""The tables of a build: their names, and the columns of the feature table as they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from .transforms.feature import Feature

__all__ = ["EVENTS", "EVENT_COLUMNS", "FEATURES", "UTC", "schema_of", "stored"]

FEATURES: Final = "customer_features"
EVENTS: Final = "order_events"
UTC: Final = pa.timestamp("us", "UTC")
EVENT_COLUMNS: Final = pa.schema(
    [
        ("customer_token", pa.string()),
        ("at", UTC),
        ("second", pa.int64()),
        ("value", pa.int64()),
        ("purchase", pa.bool_()),
        ("known", UTC),
    ]
)
"""Of events; `known` only where lines come late."""


def schema_of(listed: Sequence[Feature]) -> pa.Schema:
    """The columns of the feature table, in stored order."""
    told = [pa.field(feature.name, pa.string() if feature.bands else pa.float64()) for feature in listed]
    keys = [pa.field("customer_token", pa.string()), pa.field("event_timestamp", UTC)]
    return pa.schema([*keys, pa.field("created_timestamp", UTC), *told, pa.field("audit_reference", pa.string())])


def stored(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of `schema` as they are kept: null, not NaN or infinity, where a number has no meaning.

    A row is made of what was known at its cut-off, whenever it is computed: that is when it was created.
    """
    table = table.append_column("created_timestamp", table["event_timestamp"].cast(UTC))
    table = table.select(schema.names).cast(schema)
    for at, field in enumerate(schema):
        if pa.types.is_floating(field.type):
            column = table.column(at)
            clean = pc.if_else(pc.is_finite(column), column, pa.scalar(None, pa.float64()))
            table = table.set_column(at, field, clean)
    return table
