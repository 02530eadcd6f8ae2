"""Protected to features: one wide table, a row a customer and cut-off, and the events behind it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
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
from .table_writer import TableWriter
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
LINES_AT_ONCE: Final = 2_500_000
ROWS_AT_ONCE: Final = 2_000_000
"""What bounds memory: order lines folded together, and rows of features that are in it at once."""
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
    listed = shop_features(descriptor)
    schema, least = _schema(listed), least_people(least_class(protected))
    with features.writer() as writer, protected.reading(), engine.connect() as connection:
        job = _job(descriptor, listed, protected, connection, moments)
        with writer.adding(EVENTS) as events:
            safe = (without_small_bands(table, listed, least) for table in _tables(job, moments, events))
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
    """A build under way; `groups` are files of order lines, each of whole people; `late` says that lines come late."""

    connection: Backend
    groups: Sequence[Sequence[Path]]
    late: bool
    interactions: ir.Table | None
    people: ir.Table
    size: int
    as_of: dt.datetime
    windows: Windows
    sorted_since: dt.datetime
    """What was bought earlier counts in nobody's categories."""


def _job(
    descriptor: Descriptor,
    listed: Sequence[Feature],
    protected: TableStore,
    connection: Backend,
    moments: Sequence[dt.datetime],
) -> _Job:
    people = protected.read("people", ["customer_token", "audit_reference"])
    groups = protected.groups("transactions", LINES_AT_ONCE)
    late = orders.come_late(engine.read_parquet(connection, groups[0], "lines"))
    met = None
    if any(feature.use is Use.ENGAGEMENT for feature in listed):
        met = engine.read_parquet(connection, protected.files("interactions"), "interactions")
    placed = engine.place(connection, people, "people")
    windows = windows_for(descriptor.slow)
    since = moments[0] - dt.timedelta(days=windows.longest + 1)
    return _Job(connection, groups, late, met, placed, people.num_rows, moments[-1], windows, since)


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


def _tables(job: _Job, moments: Sequence[dt.datetime], written: TableWriter) -> Iterator[pa.Table]:
    """Compute every feature of everybody, some cut-offs at a time; all people of a cut-off are in one table.

    Numbers are computed for some people at a time, bands of everybody together. Events go to `written`.
    """
    at_once = min(CUTOFFS_AT_ONCE, max(1, ROWS_AT_ONCE // max(job.size, 1)))
    parts = [moments[at : at + at_once] for at in range(0, len(moments), at_once)]
    bought, folded = False, None
    for part in parts:
        cutoffs = cutoff_table(job.connection, part)
        known: list[pa.Table] = []
        for group in job.groups:
            if folded is None or len(job.groups) > 1:
                folded = _fold(job, group)
                if part is parts[0]:
                    bought |= _bought(folded.happened, job.as_of)
                    for batch in _events(job.connection, folded.happened):
                        written.write(batch)
            numbers = _numbers(job, folded, cutoffs)
            if len(job.groups) > 1:
                known.append(numbers.to_pyarrow())
        if not bought:
            raise BadInput(
                "no order with a positive amount lies before as-of: there are no features to compute",
                remedy="check 'amount' in the descriptor, or give a later --as-of",
            )
        everybody = engine.place(job.connection, pa.concat_tables(known), "everybody") if known else numbers
        table = _told(job, everybody, cutoffs).to_pyarrow()
        yield table.append_column("created_timestamp", pa.array([job.as_of] * table.num_rows, UTC))


@dataclass(frozen=True)
class _Folded:
    """The order lines of some people, and what is made of them: events, and lines by category where there are any."""

    lines: ir.Table
    happened: ir.Table
    sorts: ir.Table | None


def _fold(job: _Job, files: Sequence[Path]) -> _Folded:
    lines = engine.read_parquet(job.connection, files, "lines")
    happened = engine.freeze(job.connection, orders.events(lines), "events")
    sorts = orders.categories(lines.filter(lines.ordered_at >= job.sorted_since))
    return _Folded(lines, happened, None if sorts is None else engine.freeze(job.connection, sorts, "sorts"))


def _bought(happened: ir.Table, as_of: dt.datetime) -> bool:
    first = happened.aggregate(first=happened.at.min(where=happened.purchase)).to_pyarrow()["first"][0].as_py()
    return first is not None and first < as_of


def _numbers(job: _Job, folded: _Folded, cutoffs: ir.Table) -> ir.Table:
    """Every number of some people at each cut-off."""
    if job.late:
        paired = orders.as_known(folded.lines, cutoffs, longest_days=job.windows.longest)
    else:
        paired = orders.snapshots(folded.happened, folded.sorts, cutoffs, longest_days=job.windows.longest)
    events = engine.freeze(job.connection, paired.events, "past")
    kinds = paired.categories
    past = orders.Snapshots(events, None if kinds is None else engine.freeze(job.connection, kinds, "kinds"))
    joined, *others = (
        engine.freeze(job.connection, family(past, job.windows), f"family_{family.__name__}") for family in FAMILIES
    )
    for other in others:
        joined = joined.inner_join(other, list(orders.KEYS))
    return engine.freeze(job.connection, joined, "known")


def _rows(tables: Iterable[pa.Table], schema: pa.Schema, tell: Callable[[str, int], None]) -> Iterator[pa.RecordBatch]:
    done = 0
    for table in tables:
        done += table.num_rows
        tell(FEATURES, done)
        yield from _finite(table.select(schema.names).cast(schema)).to_batches()


def _told(job: _Job, known: ir.Table, cutoffs: ir.Table) -> ir.Table:
    """The numbers of everybody with the bands made of them, their engagement and their audit references."""
    keys = list(orders.KEYS)
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
