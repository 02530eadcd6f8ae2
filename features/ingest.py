"""Raw to protected: read, hold to the contract, quarantine, protect, store; all or nothing."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from privacy.errors import BadInput
from privacy.profile import PROFILE, release_profile
from privacy.treatment import CUSTOMER_TOKEN, Protector

from . import sources
from .admission import Admission
from .datasets.anonymity import profile_rule
from .datasets.descriptor import Descriptor
from .datasets.tables import Table
from .expressions import check_expressions
from .inference_flags import InferenceFlags
from .marking import MARKS, Marking
from .quarantine import Quarantine
from .storage import SnapshotWriter, TableStore

__all__ = ["PEOPLE", "IngestReport", "TableReport", "digest_of", "ingest"]

# Transactions first: they are dated, so they alone can tell that an erased person came back, and their ids are what
# `identify` gives back.
ORDER: Final = ("transactions", "customers", "interactions", "products")
PEOPLE: Final = "people"
GENERALISATION: Final = "generalisation.json"
Progress = Callable[[str, int], None]


@dataclass
class TableReport:
    """What became of one table's rows: kept, quarantined (by `column: reason`), tombstoned (good or bad) or marked.

    `marked_by` counts the marked ones by what they would tell; one row may tell several things.
    """

    rows_in: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)
    tombstoned: int = 0
    marked: int = 0
    marked_by: dict[str, int] = field(default_factory=dict)
    kept: int = 0
    columns_dropped: list[str] = field(default_factory=list)
    anonymity: dict[str, object] | None = None


@dataclass
class IngestReport:
    """What an ingest did; `digest` is of the data without tokens, so equal in every home.

    `unmatched` lists the marked values of the descriptor that no line held.
    """

    dataset: str
    tables: dict[str, TableReport]
    people: int
    first_event: dt.datetime
    last_event: dt.datetime
    snapshot: str
    digest: str
    unmatched: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, object]:
        """Return the report as JSON values."""
        plain = asdict(self)
        return {**plain, "first_event": self.first_event.isoformat(), "last_event": self.last_event.isoformat()}


@dataclass
class _Run:
    """One ingest under way."""

    descriptor: Descriptor
    protector: Protector
    quarantine: Quarantine
    progress: Progress
    now: dt.datetime
    writer: SnapshotWriter
    marking: Marking
    tables: dict[str, TableReport] = field(default_factory=dict)
    bad: dict[str, list[pa.Table]] = field(default_factory=dict)
    flags: list[pa.Table] = field(default_factory=list)
    first: dt.datetime | None = None
    last: dt.datetime | None = None


def ingest(
    descriptor: Descriptor,
    *,
    protector: Protector,
    store: TableStore,
    quarantine: Quarantine,
    flags: InferenceFlags,
    progress: Progress | None = None,
    now: dt.datetime | None = None,
) -> IngestReport:
    """Read every table of the shop into a new protected snapshot, without the lines that are marked.

    `progress(table, rows so far)` is called once a batch; `now` (default: the real time) bounds dates.
    Raises BadInput when a source is missing or empty or over a tenth of its rows are bad: the tables, the
    quarantine and the vault then stay as they were. Only somebody whom another ingest met meanwhile stays
    registered. Killed, it leaves people in the vault whom no table names; the next ingest finds them there.
    """
    _refuse_consents(descriptor)
    check_expressions(descriptor)
    with protector.on_trial(), store.writer() as writer:
        moment = now or dt.datetime.now(dt.UTC)
        run = _Run(descriptor, protector, quarantine, progress or _silent, moment, writer, Marking.of(descriptor))
        for name in ORDER:
            if name in descriptor.tables:
                _ingest_table(run, descriptor.tables[name])
                _release_profile(run, descriptor.tables[name], store.root / GENERALISATION)
        people = protector.people()
        run.progress(PEOPLE, people.num_rows)
        writer.add(PEOPLE, people.to_batches(), people.schema)
        if run.first is None or run.last is None:
            raise BadInput("table 'transactions' has no row left", remedy="all of it was erased before, or is marked")
        written = sorted(name for name, table in run.tables.items() if table.anonymity is None or table.kept)
        digest = digest_of(descriptor, {name: writer.digest_of(name) for name in written})
        notes = {
            "dataset": descriptor.name,
            "descriptor": descriptor.digest(),
            "digest": digest,
            "first_event": run.first.isoformat(),
            "last_event": run.last.isoformat(),
            "lineage": secrets.token_hex(8),
        }
        run.marking.keep(store.root / MARKS)
        quarantine.replace(descriptor.name, {**run.bad})
        flags.replace(descriptor.name, run.flags)
        snapshot = writer.commit(notes)
    return IngestReport(
        descriptor.name, run.tables, people.num_rows, run.first, run.last, snapshot, digest, run.marking.unmatched()
    )


def _ingest_table(run: _Run, table: Table) -> None:
    admission = Admission(table, run.protector, run.quarantine, run.now)
    run.bad[table.name], tally, done = admission.bad, admission.tally, admission.done
    plan = replace(table.plan(), marks=run.marking.of_table(table.name))
    safe = run.protector.protect(_checked(run, table, admission), plan, done)
    if table.name == "transactions":
        safe = _dated(run, safe)
    kept = run.writer.add(table.name, safe)
    if table.name == "transactions":
        run.flags = done.flags
    run.tables[table.name] = TableReport(
        rows_in=tally.rows,
        quarantined=tally.by_reason(),
        tombstoned=done.tombstoned,
        marked=done.marked,
        marked_by=done.marked_by,
        kept=kept,
        columns_dropped=list(done.columns_dropped),
    )


def _release_profile(run: _Run, table: Table, kept: Path) -> None:
    """Generalise what `table` held back of everybody, and write it as a table of its own; nothing raw is written."""
    rule, raw = profile_rule(table), run.protector.take_held()
    if rule is None or raw is None:
        return
    profile = release_profile(raw, CUSTOMER_TOKEN, rule, kept)
    told, k = profile.table, rule.demands.k
    rows = 0 if told is None else run.writer.add(PROFILE, told.to_batches(), told.schema, k)
    own = run.tables[table.name]
    own.columns_dropped = [name for name in own.columns_dropped if name not in rule.columns]
    people = len(pc.unique(raw[CUSTOMER_TOKEN]))
    run.tables[PROFILE] = TableReport(rows_in=people, kept=rows, anonymity={"k": k, **profile.told()})


def _checked(run: _Run, table: Table, admission: Admission) -> Iterator[pa.RecordBatch]:
    """Pass on the good rows of `table`; refuse the table at its end if too few were good."""
    for batch in sources.batches(run.descriptor, table):
        run.marking.meet(table.name, batch)
        good = admission.admit(batch)
        run.progress(table.name, admission.tally.rows)
        if good.num_rows or admission.tally.rows == 0:
            yield good
    admission.tally.check()


def _dated(run: _Run, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if batch.num_rows:
            bounds = pc.min_max(batch.column("ordered_at")).as_py()
            run.first = min(bounds["min"], run.first or bounds["min"])
            run.last = max(bounds["max"], run.last or bounds["max"])
        yield batch


def digest_of(descriptor: Descriptor, digests: Mapping[str, str]) -> str:
    """Return the digest of a shop's protected tables, by theirs: equal in every home with the same data."""
    parts = [descriptor.digest(), *(f"{name}={digests[name]}" for name in sorted(digests))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _refuse_consents(descriptor: Descriptor) -> None:
    table = descriptor.tables.get("consents")
    if table is None:
        return
    if any(batch.num_rows for batch in sources.batches(descriptor, table)):
        raise BadInput(
            "table 'consents' has rows, and there is no consent ledger yet",
            remedy="leave the table out; purposes then rest on the lawful bases of the settings",
        )


def _silent(_table: str, _rows: int) -> None:
    return
