"""Protected to features: one wide table, a row a customer and cut-off, and the events behind it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from privacy.errors import BadInput

from . import engine
from .datasets.descriptor import Descriptor
from .former import copy_former
from .profile import copy_profile, least_class
from .services import shop_features
from .small_bands import least_people, without_small_bands
from .storage import TableStore
from .transforms import orders
from .transforms.basket import basket
from .transforms.decay import decay
from .transforms.engagement import engagement
from .transforms.feature import Feature, Use, Windows, windows_for
from .transforms.insight import insight
from .transforms.lifecycle import lifecycle
from .transforms.rfm import rfm
from .transforms.rhythm import rhythm

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from ibis.backends.duckdb import Backend

__all__ = ["EVENTS", "FEATURES", "BuildReport", "build"]

FEATURES: Final = "customer_features"
EVENTS: Final = "order_events"
FAMILIES: Final = (rfm, decay, rhythm, basket, lifecycle)
CUTOFFS_AT_ONCE: Final = 26
UTC: Final = pa.timestamp("us", "UTC")


@dataclass(frozen=True)
class BuildReport:
    """What a build wrote: rows and feature columns of the feature table, cut-offs, digest without tokens."""

    rows: int
    features: int
    cutoffs: tuple[dt.datetime, ...]
    as_of: dt.datetime
    snapshot: str
    digest: str


def build(
    descriptor: Descriptor,
    protected: TableStore,
    features: TableStore,
    cutoffs: Sequence[dt.datetime],
    as_of: dt.datetime,
    progress: Callable[[str, int], None] | None = None,
) -> BuildReport:
    """Compute every feature of every customer at each cut-off and at `as_of`, into a new snapshot.

    A row uses order lines strictly before its cut-off. Raises BadInput for cut-offs after `as_of`,
    whose windows are not over, and when nobody had bought by then. The same data gives the same bits
    in any home.
    """
    moments = sorted({moment.astimezone(dt.UTC) for moment in (*cutoffs, as_of)})
    if moments[-1] > as_of:
        raise BadInput("a cut-off lies after as-of", remedy="give a later --as-of or earlier cut-offs")
    tell = progress or (lambda _name, _rows: None)
    people = protected.read("people", ["customer_token", "audit_reference"])
    listed = shop_features(descriptor)
    schema, least = _schema(listed), least_people(least_class(protected))
    with features.writer() as writer, protected.reading(), engine.connect() as connection:
        lines = engine.read_parquet(connection, protected.files("transactions"), "lines")
        happened = engine.freeze(connection, orders.events(lines), "events")
        _require_purchase(happened, as_of)
        sorts = orders.categories(lines)
        frozen_sorts = None if sorts is None else engine.freeze(connection, sorts, "sorts")
        writer.add(EVENTS, _events(connection, happened))
        persons = engine.place(connection, people, "people")
        late = lines if orders.come_late(lines) else None
        met = None
        if any(feature.use is Use.ENGAGEMENT for feature in listed):
            met = engine.read_parquet(connection, protected.files("interactions"), "interactions")
        job = _Job(connection, happened, frozen_sorts, late, met, persons, as_of, windows_for(descriptor.slow))
        parts = [moments[at : at + CUTOFFS_AT_ONCE] for at in range(0, len(moments), CUTOFFS_AT_ONCE)]
        safe = (without_small_bands(table, listed, least) for table in _tables(job, parts))
        rows = writer.add(FEATURES, _rows(safe, schema, tell), schema)
        digest = writer.digest_of(FEATURES)
        copy_profile(protected, writer, as_of)
        copy_former(protected, writer)
        notes = {
            "dataset": descriptor.name,
            "slow": descriptor.slow,
            "as_of": as_of.astimezone(dt.UTC).isoformat(),
            "cutoffs": [moment.isoformat() for moment in moments],
            "protected": protected.snapshot(),
            "digest": digest,
        }
        snapshot = writer.commit(notes)
    return BuildReport(rows, len(schema) - 4, tuple(moments), as_of, snapshot, digest)


@dataclass(frozen=True)
class _Job:
    """A build under way; `late` are the lines, where some come later than they are dated."""

    connection: Backend
    happened: ir.Table
    sorts: ir.Table | None
    late: ir.Table | None
    interactions: ir.Table | None
    people: ir.Table
    as_of: dt.datetime
    windows: Windows


def _require_purchase(happened: ir.Table, as_of: dt.datetime) -> None:
    first = happened.aggregate(first=happened.at.min(where=happened.purchase)).to_pyarrow()["first"][0].as_py()
    if first is None or first >= as_of:
        raise BadInput(
            "no order with a positive amount lies before as-of: there are no features to compute",
            remedy="check 'amount' in the descriptor, or give a later --as-of",
        )


def _schema(listed: Sequence[Feature]) -> pa.Schema:
    told = [pa.field(feature.name, pa.string() if feature.bands else pa.float64()) for feature in listed]
    keys = [pa.field("customer_token", pa.string()), pa.field("event_timestamp", UTC)]
    return pa.schema([*keys, pa.field("created_timestamp", UTC), *told, pa.field("audit_reference", pa.string())])


def cutoff_table(connection: Backend, moments: Sequence[dt.datetime]) -> ir.Table:
    """Return `moments` as a table with the column event_timestamp."""
    column = pa.array([moment.astimezone(dt.UTC) for moment in moments], UTC)
    return engine.place(connection, pa.table({"event_timestamp": column}), "cutoffs")


def _events(connection: Backend, happened: ir.Table) -> Iterator[pa.RecordBatch]:
    kinds = {
        "customer_token": pa.string(),
        "at": UTC,
        "second": pa.int64(),
        "value": pa.int64(),
        "purchase": pa.bool_(),
    }
    kinds |= {"known": UTC} if "known" in happened.columns else {}
    wanted = happened.select(*kinds)
    plain = wanted.mutate(value=wanted.value.cast("int64"))
    for batch in engine.stream(connection, plain, 1_000_000):
        yield batch.cast(pa.schema(kinds.items()))


def _tables(job: _Job, parts: Sequence[Sequence[dt.datetime]]) -> Iterator[pa.Table]:
    """Compute every feature of everybody, some cut-offs at a time; all people of a cut-off are in one table."""
    for moments in parts:
        cutoffs = cutoff_table(job.connection, moments)
        if job.late is None:
            paired = orders.snapshots(job.happened, job.sorts, cutoffs, longest_days=job.windows.longest)
        else:
            paired = orders.as_known(job.late, cutoffs, longest_days=job.windows.longest)
        past = engine.freeze(job.connection, paired.events, "past")
        kinds = paired.categories
        counted = None if kinds is None else engine.freeze(job.connection, kinds, "kinds")
        table = _join(job, orders.Snapshots(past, counted), cutoffs).to_pyarrow()
        yield table.append_column("created_timestamp", pa.array([job.as_of] * table.num_rows, UTC))


def _rows(tables: Iterable[pa.Table], schema: pa.Schema, tell: Callable[[str, int], None]) -> Iterator[pa.RecordBatch]:
    done = 0
    for table in tables:
        done += table.num_rows
        tell(FEATURES, done)
        yield from _finite(table.select(schema.names).cast(schema)).to_batches()


def _join(job: _Job, past: orders.Snapshots, cutoffs: ir.Table) -> ir.Table:
    keys = list(orders.KEYS)
    first, *others = (
        engine.freeze(job.connection, family(past, job.windows), f"family_{family.__name__}") for family in FAMILIES
    )
    joined = first
    for other in others:
        joined = joined.inner_join(other, keys)
    known = engine.freeze(job.connection, joined, "known")
    joined = known.inner_join(insight(known, job.windows), keys)
    if job.interactions is not None:
        joined = joined.inner_join(engagement(known, job.interactions, cutoffs, job.windows), keys)
    return joined.left_join(job.people, "customer_token", rname="{name}_person")


def _finite(table: pa.Table) -> pa.Table:
    """Say null, not NaN or infinity, where a number has no meaning."""
    for at, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):
            column = table.column(at)
            clean = pc.if_else(pc.is_finite(column), column, pa.scalar(None, pa.float64()))
            table = table.set_column(at, field, clean)
    return table
