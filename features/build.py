"""Protected to features: one wide table, a row a customer and cut-off, and the events behind it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import ibis
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from privacy.errors import BadInput

from .assembly import FAMILIES, Beside, Folded, cutoff_table, told_features
from .datasets.descriptor import Descriptor
from .engine import Connection, DuckDb, Engine
from .feature_table import EVENTS, FEATURES, UTC, schema_of, stored
from .former import copy_former
from .profile import copy_profile, least_class
from .services import shop_features
from .small_bands import least_people, without_small_bands
from .statements import newest_of, transforms_digest
from .storage import TableStore
from .table_writer import TableWriter
from .transforms.feature import Feature, Use, Windows, windows_for

__all__ = ["EVENTS", "FAMILIES", "FEATURES", "BuildReport", "build", "cutoff_table"]

CUTOFFS_AT_ONCE: Final = 26
LINES_AT_ONCE: Final = 2_500_000
ROWS_AT_ONCE: Final = 2_000_000
"""What bounds memory: order lines folded together, and rows of features that are in it at once."""


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
    engine: Engine | None = None,
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
    listed = shop_features(descriptor)
    schema, least = schema_of(listed), least_people(least_class(protected))
    engine = engine or DuckDb()
    made_by = transforms_digest(windows_for(descriptor.slow), engine.name)
    held = _holding(protected, features, schema, made_by, moments, since)
    with features.writer() as writer, protected.reading(), engine.connect() as connection:
        fresh, done = [moment for moment in moments if moment not in held], 0
        job = _job(descriptor, listed, protected, connection, fresh, as_of)
        if held:
            among = pc.field("event_timestamp").isin(pa.array(held, UTC))
            done = writer.carry(FEATURES, features.manifest()["tables"][FEATURES], among)
        with writer.adding(EVENTS) as events, writer.adding(FEATURES, schema) as rows:
            for table in _tables(job, _Crowd(job, events)):
                _write(rows, stored(without_small_bands(table, listed, least), schema), moments[-1])
                done += table.num_rows
                tell(FEATURES, done)
        digest = writer.digest_of(FEATURES)
        copy_profile(protected, writer, as_of)
        copy_former(protected, writer)
        notes = {
            "dataset": descriptor.name,
            "slow": descriptor.slow,
            "as_of": as_of.astimezone(dt.UTC).isoformat(),
            "cutoffs": [moment.isoformat() for moment in moments],
            "protected": protected.snapshot(),
            **_origin(protected),
            "transforms": made_by,
            "digest": digest,
        }
        snapshot = writer.commit(notes)
    _ready_for_pushes(protected, features, listed, job.windows)
    return BuildReport(done, len(schema) - 4, tuple(moments), as_of, snapshot, digest, tuple(held))


def _ready_for_pushes(protected: TableStore, features: TableStore, listed: Sequence[Feature], windows: Windows) -> None:
    """Leave what the newest features of a few people are computed by, so that the first push needn't compile it."""
    inputs = {
        "lines": protected.of("transactions", []),
        "people": protected.of("people", []),
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
    made_by: str,
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
    if was.get("transforms") != made_by:
        return []  # a feature of the same name may be another
    entry = was["tables"][FEATURES]
    if pq.read_schema(features.files(FEATURES)[0]).names != schema.names or not entry["rows"]:
        return []
    known = dt.datetime.fromisoformat(was["last_event"])
    built = {dt.datetime.fromisoformat(text) for text in was["cutoffs"]}
    return [moment for moment in moments if moment in built and moment <= known and moment < since]


@dataclass(frozen=True)
class _Job:
    """A build under way; `groups` are files of order lines, each of whole people, who are `size` in all."""

    connection: Connection
    groups: Sequence[Sequence[Path]]
    columns: ibis.Schema
    """Of the order lines of all groups: what a group lacks is null there."""
    beside: Beside
    size: int
    moments: Sequence[dt.datetime]
    as_of: dt.datetime
    windows: Windows


def _job(
    descriptor: Descriptor,
    listed: Sequence[Feature],
    protected: TableStore,
    connection: Connection,
    moments: Sequence[dt.datetime],
    as_of: dt.datetime,
) -> _Job:
    people = protected.read("people", ["customer_token", "audit_reference"])
    groups = protected.groups("transactions", LINES_AT_ONCE)
    columns = connection.read_parquet(protected.files("transactions"), "lines").schema()
    met = None
    if any(feature.use is Use.ENGAGEMENT for feature in listed):
        met = connection.read_parquet(protected.files("interactions"), "interactions")
    beside, windows = Beside(connection.place(people, "people"), met), windows_for(descriptor.slow)
    return _Job(connection, groups, columns, beside, people.num_rows, moments, as_of, windows)


class _Crowd:
    """Everybody's order lines, folded a group of people at a time; the first time, events go to `written`."""

    def __init__(self, job: _Job, written: TableWriter) -> None:
        self._job, self._written = job, written
        self.parted = len(job.groups) > 1
        self._whole: Folded | None = None
        self._told = False

    def __iter__(self) -> Iterator[Folded]:
        """Yield each group, which holds until the next; BadInput at the end when nobody of all had bought."""
        bought = self._told
        for group in self._job.groups:
            folded = self._whole or self._fold(group)
            self._whole = None if self.parted else folded
            if not self._told:
                bought |= _bought(folded, self._job.as_of)
                for batch in folded.events():
                    self._written.write(batch)
            yield folded
        if not bought:
            raise BadInput(
                "no order with a positive amount lies before as-of: there are no features to compute",
                remedy="check 'amount' in the descriptor, or give a later --as-of",
            )
        self._told = True

    def _fold(self, files: Sequence[Path]) -> Folded:
        job = self._job
        lines = job.connection.read_parquet(files, "lines")
        lacking = {name: ibis.null(kind) for name, kind in job.columns.items() if name not in lines.columns}
        first = job.moments[0] if job.moments else job.as_of
        since = first - dt.timedelta(days=job.windows.longest + 1)
        return Folded.of(job.connection, lines.mutate(**lacking) if lacking else lines, job.windows, sorted_since=since)


def _bought(folded: Folded, as_of: dt.datetime) -> bool:
    happened = folded.happened
    earliest = happened.aggregate(first=happened.at.min(where=happened.purchase))
    first = folded.connection.read(earliest)["first"][0].as_py()
    return first is not None and first < as_of


def _tables(job: _Job, crowd: _Crowd) -> Iterator[pa.Table]:
    """Compute every feature of everybody, some cut-offs at a time; all people of a cut-off are in one table.

    Numbers are computed for a group of people at a time, bands of everybody together.
    """
    at_once = min(CUTOFFS_AT_ONCE, max(1, ROWS_AT_ONCE // max(job.size, 1)))
    for at in range(0, len(job.moments), at_once):
        cutoffs = cutoff_table(job.connection, job.moments[at : at + at_once])
        if crowd.parted:
            known = pa.concat_tables([job.connection.read(folded.numbers(cutoffs)) for folded in crowd])
            everybody = job.connection.place(known, "everybody")
        else:
            [everybody] = [folded.numbers(cutoffs) for folded in crowd]
        yield job.connection.read(told_features(everybody, cutoffs, job.beside, job.windows))
    if not job.moments:  # all rows are carried over, events never
        list(crowd)


def _write(rows: TableWriter, table: pa.Table, newest: dt.datetime) -> None:
    """Write features; the rows of the `newest` moment get files of their own, soon to be left out."""
    parted = [(batch, pc.equal(batch["event_timestamp"], pa.scalar(newest, UTC))) for batch in table.to_batches()]
    for batch, is_newest in parted:
        rows.write(_those(batch, pc.invert(is_newest)))
    if any(pc.any(is_newest).as_py() for _, is_newest in parted):
        rows.end_run()
        for batch, is_newest in parted:
            rows.write(_those(batch, is_newest))


def _those(batch: pa.RecordBatch, wanted: pa.BooleanArray) -> pa.RecordBatch:
    return batch if pc.all(wanted).as_py() else batch.filter(wanted)
