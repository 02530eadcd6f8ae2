"""Protected to features: one wide table, a row a customer and cut-off, and the events behind it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from privacy.errors import BadInput

from . import engine
from .assembly import FAMILIES, Assembly, Given, cutoff_table
from .datasets.descriptor import Descriptor
from .feature_table import EVENTS, FEATURES, UTC, schema_of, stored
from .profile import copy_profile, least_class
from .services import shop_features
from .small_bands import least_people, without_small_bands
from .statements import newest_of
from .storage import TableStore
from .transforms.feature import Feature, Use, Windows, windows_for

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from .snapshot_writer import SnapshotWriter

__all__ = ["EVENTS", "FAMILIES", "FEATURES", "BuildReport", "build", "cutoff_table"]

CUTOFFS_AT_ONCE: Final = 26


@dataclass(frozen=True)
class BuildReport:
    """What a build wrote: rows and feature columns of the feature table, cut-offs, digest without tokens.

    `carried` are those of the cut-offs whose rows were there already and still hold.
    """

    rows: int
    features: int
    cutoffs: tuple[dt.datetime, ...]
    as_of: dt.datetime
    snapshot: str
    digest: str
    carried: tuple[dt.datetime, ...] = ()


def build(
    descriptor: Descriptor,
    protected: TableStore,
    features: TableStore,
    cutoffs: Sequence[dt.datetime],
    as_of: dt.datetime,
    progress: Callable[[str, int], None] | None = None,
    since: dt.datetime | None = None,
) -> BuildReport:
    """Compute every feature of every customer at each cut-off and at `as_of`, into a new snapshot.

    A row uses order lines strictly before its cut-off. With `since`, rows at earlier cut-offs are carried over where
    they are built and nothing has come that counts there; the snapshot is that of a build of everything. Raises
    BadInput for cut-offs after `as_of`, whose windows are not over, and when nobody had bought by then. The same data
    gives the same bits in any home.
    """
    moments = sorted({moment.astimezone(dt.UTC) for moment in (*cutoffs, as_of)})
    if moments[-1] > as_of:
        raise BadInput("a cut-off lies after as-of", remedy="give a later --as-of or earlier cut-offs")
    tell = progress or (lambda _name, _rows: None)
    people = protected.read("people", ["customer_token", "audit_reference"])
    listed = shop_features(descriptor)
    schema, least = schema_of(listed), least_people(least_class(protected))
    held = _holding(protected, features, schema, moments, since)
    with features.writer() as writer, protected.reading(), engine.connect() as connection:
        lines = engine.read_parquet(connection, protected.files("transactions"), "lines")
        met = None
        if any(feature.use is Use.ENGAGEMENT for feature in listed):
            met = engine.read_parquet(connection, protected.files("interactions"), "interactions")
        given = Given(lines, engine.place(connection, people, "people"), met)
        work = Assembly.begun(connection, given, windows_for(descriptor.slow))
        _require_purchase(work.happened, as_of)
        writer.add(EVENTS, work.events())

        def rows(wanted: Sequence[dt.datetime], done: int) -> Iterator[pa.RecordBatch]:
            parts = [wanted[at : at + CUTOFFS_AT_ONCE] for at in range(0, len(wanted), CUTOFFS_AT_ONCE)]
            tables = (without_small_bands(work.features(part), listed, least) for part in parts)
            return _told(tables, schema, tell, done)

        count = _write(writer, features, schema, [m for m in moments if m not in held], held, rows)
        digest = writer.digest_of(FEATURES)
        copy_profile(protected, writer, as_of)
        notes = {
            "dataset": descriptor.name,
            "slow": descriptor.slow,
            "as_of": as_of.astimezone(dt.UTC).isoformat(),
            "cutoffs": [moment.isoformat() for moment in moments],
            "protected": protected.snapshot(),
            **_origin(protected),
            "digest": digest,
        }
        snapshot = writer.commit(notes)
    _ready_for_pushes(protected, features, listed, people.schema, windows_for(descriptor.slow))
    return BuildReport(count, len(schema) - 4, tuple(moments), as_of, snapshot, digest, tuple(held))


def _ready_for_pushes(
    protected: TableStore, features: TableStore, listed: Sequence[Feature], people: pa.Schema, windows: Windows
) -> None:
    """Leave what the newest features of a few people are computed by, so that the first push needn't compile it."""
    inputs = {
        "lines": protected.of("transactions", []),
        "people": people.empty_table(),
        "cutoffs": pa.table({"event_timestamp": pa.array([], UTC)}),
    }
    if any(feature.use is Use.ENGAGEMENT for feature in listed):
        inputs["interactions"] = protected.of("interactions", [])
    newest_of(inputs, listed, windows, features.root)


def _origin(protected: TableStore) -> dict[str, object]:
    """What tells the data of one ingest, with all that came since, from another's; and when the last event was."""
    manifest = protected.manifest()
    return {name: manifest.get(name) for name in ("lineage", "last_event")}


def _holding(
    protected: TableStore,
    features: TableStore,
    schema: pa.Schema,
    moments: Sequence[dt.datetime],
    since: dt.datetime | None,
) -> list[dt.datetime]:
    """Which of `moments` before `since` are built, and as a build would make them now.

    What was pushed since counts from the last event known before it came, so cut-offs up to that one stay as they
    are; when somebody was erased, ranks among all customers don't.
    """
    if since is None or features.snapshot() is None:
        return []
    was, now = features.manifest(), _origin(protected)
    same = now["lineage"] is not None and was.get("lineage") == now["lineage"] and was.get("digest") is not None
    if not same or protected.manifest()["digest"] is None or not was.get("last_event"):
        return []
    entry = was["tables"][FEATURES]
    if pq.read_schema(features.files(FEATURES)[0]).names != schema.names or not entry["rows"]:
        return []
    known = dt.datetime.fromisoformat(was["last_event"])
    built = {dt.datetime.fromisoformat(text) for text in was["cutoffs"]}
    return [moment for moment in moments if moment in built and moment <= known and moment < since]


def _write(
    writer: SnapshotWriter,
    features: TableStore,
    schema: pa.Schema,
    fresh: Sequence[dt.datetime],
    held: Sequence[dt.datetime],
    rows: Callable[[Sequence[dt.datetime], int], Iterator[pa.RecordBatch]],
) -> int:
    """Write the feature table: what is held is linked; the newest rows get files of their own, soon to be left out."""
    older, newest = fresh[:-1], fresh[-1:]
    if held:
        among = pc.field("event_timestamp").isin(pa.array(held, UTC))
        count = writer.carry(FEATURES, features.manifest()["tables"][FEATURES], among)
        count = writer.extend(FEATURES, rows(older, count)) if older else count
    else:
        count = writer.add(FEATURES, rows(older, 0), schema)
    return writer.extend(FEATURES, rows(newest, count)) if newest else count


def _require_purchase(happened: ir.Table, as_of: dt.datetime) -> None:
    first = happened.aggregate(first=happened.at.min(where=happened.purchase)).to_pyarrow()["first"][0].as_py()
    if first is None or first >= as_of:
        raise BadInput(
            "no order with a positive amount lies before as-of: there are no features to compute",
            remedy="check 'amount' in the descriptor, or give a later --as-of",
        )


def _told(
    tables: Iterable[pa.Table], schema: pa.Schema, tell: Callable[[str, int], None], done: int
) -> Iterator[pa.RecordBatch]:
    for table in tables:
        done += table.num_rows
        tell(FEATURES, done)
        yield from stored(table, schema).to_batches()
