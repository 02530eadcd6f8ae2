"""Raw to protected: read, hold to the contract, quarantine, protect, store; all or nothing."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from privacy.consent import ConsentLedger
from privacy.errors import BadInput, EnvironmentFailed
from privacy.link_rules import LinkReport
from privacy.linking import Linker
from privacy.profile import PROFILE, release_profile
from privacy.table_plan import CUSTOMER_TOKEN, TablePlan
from privacy.treatment import Protector

from . import sources
from .datasets.anonymity import profile_rule
from .datasets.descriptor import Descriptor
from .datasets.identity import link_rules
from .datasets.measured import is_linked
from .datasets.tables import CONSENTS, Table
from .expressions import check_expressions
from .former import FORMER
from .identities import find_links, former_table
from .inference_flags import InferenceFlags
from .ingest_report import IngestReport, TableReport
from .intake import TableIntake
from .marking import MARKS, Marking
from .quality.history import QualityHistory
from .quality.judge import judged
from .quality.meter import Meter
from .quality.thresholds import refusal
from .quality.told import Card
from .quarantine import Quarantine
from .storage import SnapshotWriter, TableStore

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from .spark_intake import SparkIntake

__all__ = ["PEOPLE", "Destinations", "IngestReport", "TableReport", "digest_of", "ingest"]

# Transactions first: they are dated, so they alone can tell that an erased person came back, and their ids are what
# `identify` gives back.
ORDER: Final = ("transactions", "customers", "interactions", "products")
PEOPLE: Final = "people"
GENERALISATION: Final = "generalisation.json"
Progress = Callable[[str, int], None]
Noted = Callable[[int, str], None]


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
    cluster: SparkIntake | None = None
    tables: dict[str, TableReport] = field(default_factory=dict)
    meters: dict[str, Meter] = field(default_factory=dict)
    bad: dict[str, list[pa.Table]] = field(default_factory=dict)
    flags: list[pa.Table] = field(default_factory=list)
    first: dt.datetime | None = None
    last: dt.datetime | None = None


@dataclass(frozen=True)
class Destinations:
    """What an ingest writes: tables, bad rows, marks, consents and, where there is one, the history of scorecards."""

    store: TableStore
    quarantine: Quarantine
    flags: InferenceFlags
    consents: ConsentLedger
    history: QualityHistory | None = None


def ingest(
    descriptor: Descriptor,
    *,
    protector: Protector,
    into: Destinations,
    progress: Progress | None = None,
    noted: Noted | None = None,
    now: dt.datetime | None = None,
    spark: SparkSession | None = None,
) -> IngestReport:
    """Read every table of the shop into a new protected snapshot, without the lines that are marked.

    `progress(table, rows so far)` is called once a batch; `now` (default: the real time) bounds dates; `noted` is told,
    before anybody is linked, how many people become one with another, and a commitment to their tokens. With a
    `spark` session, its executors read, check and mask the rows of files.
    Raises BadInput when a source is missing or empty or over a tenth of its rows are bad, CheckFailed when the
    scorecard breaches what the descriptor stops for: the tables, the quarantine, the consents and the vault then stay
    as they were. Only somebody whom another ingest met meanwhile stays registered. Killed, it leaves people in the
    vault whom no table names; the next ingest finds them there. Whoever turns out to be one person is one in every
    table, and linked in the vault just before these are published. A history that can't take the scorecard of what is
    published by then fails nothing: the report says so.
    """
    check_expressions(descriptor)
    rows_before = into.history.rows_before() if into.history else {}  # before anything is done: it may be damaged
    with protector.on_trial(link_rules(descriptor.identity)) as linker, into.store.writer() as writer:
        moment = now or dt.datetime.now(dt.UTC)
        run = _Run(descriptor, protector, into.quarantine, progress or _silent, moment, writer, Marking.of(descriptor))
        if spark is not None:
            from .spark_intake import SparkIntake  # who ingests without it needs none of it

            run.cluster = SparkIntake(spark, descriptor, protector, run.marking, moment, run.progress)
        links = find_links(descriptor, protector, linker, moment, run.progress, run.cluster)
        for name in ORDER:
            if name in descriptor.tables:
                _ingest_table(run, descriptor.tables[name])
                _release_profile(run, descriptor.tables[name], into.store.root / GENERALISATION)
        given = _take_consents(run)
        people = protector.people()
        run.progress(PEOPLE, people.num_rows)
        writer.add(PEOPLE, people.to_batches(), people.schema)
        former = former_table(linker)
        if former.num_rows:
            writer.add(FORMER, former.to_batches(), former.schema)
        if run.first is None or run.last is None:
            raise BadInput("table 'transactions' has no row left", remedy="all of it was erased before, or is marked")
        digest = digest_of(descriptor, {name: writer.digest_of(name) for name in _told(run)})
        card = _scored(run, rows_before, digest, into.history)
        notes = {
            "dataset": descriptor.name,
            "descriptor": descriptor.digest(),
            "digest": digest,
            "first_event": run.first.isoformat(),
            "last_event": run.last.isoformat(),
            "lineage": secrets.token_hex(8),
        }
        run.marking.keep(into.store.root / MARKS)
        into.quarantine.replace(descriptor.name, {**run.bad})
        into.flags.replace(descriptor.name, run.flags)
        # Links first: erased in between, somebody is erased from the tables of before by every token of theirs.
        snapshot = writer.commit(notes, partial(_settle, linker, links, noted, given, into.consents))
    unkept = _unkept(card, into.history)
    told, events = run.marking.unmatched(), (run.first, run.last)
    return IngestReport(
        descriptor.name, run.tables, people.num_rows, *events, snapshot, digest, card, told, links, unkept
    )


def _unkept(card: Card, history: QualityHistory | None) -> str:
    """Add the card to the history, or say why it can't be: that is no failure of its tables, which are published."""
    try:
        if history is not None:
            history.append(card)
    except EnvironmentFailed as error:
        return str(error)
    return ""


def _settle(
    linker: Linker, links: LinkReport | None, noted: Noted | None, given: pa.Table | None, consents: ConsentLedger
) -> None:
    """What can't be taken back: links, then consents, which are of whoever is one person by then."""
    commitment = linker.commitment()
    if noted is not None and links is not None and commitment is not None:
        noted(links.joined, commitment)
    linker.settle()
    if given is not None:
        consents.append(given)
    consents.share(*linker.former_tokens())


def _scored(run: _Run, rows_before: Mapping[str, int], digest: str, history: QualityHistory | None) -> Card:
    """Score what is about to be published; where it is too bad for that, keep the card and refuse the rest."""
    run.progress("quality", 0)
    files = {name: run.writer.files_of(name) for name in run.meters if name != CONSENTS}  # the ledger alone keeps those
    card = judged(run.descriptor, run.meters, files, rows_before, digest, run.now)
    refused = refusal(card.breaches)
    if refused is not None:
        if history is not None:
            history.append(card)
        raise refused
    return card


def _ingest_table(run: _Run, table: Table) -> None:
    intake = _intake(run, table)
    tally, done = intake.tally, intake.done
    plan = replace(table.plan(), marks=run.marking.of_table(table.name))
    safe = _protected(run, intake, plan)
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


def _take_consents(run: _Run) -> pa.Table | None:
    """Protect the table `consents` for the ledger, which alone keeps it; None where the shop has none.

    Raises BadInput where a row is bad: a withdrawal that is left out would pass for consent.
    """
    table = run.descriptor.tables.get(CONSENTS)
    if table is None:
        return None
    intake = _intake(run, table)
    good = list(_protected(run, intake, table.plan()))
    kept = sum(batch.num_rows for batch in good)
    run.tables[table.name] = TableReport(rows_in=intake.tally.rows, tombstoned=intake.done.tombstoned, kept=kept)
    return pa.Table.from_batches(good) if good else None


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


def _intake(run: _Run, table: Table) -> TableIntake:
    """Begin to take in `table`: its bad rows and what the scorecard is made of are the run's."""
    late, by_id = run.descriptor.quality.late_after_days, is_linked(run.descriptor.tables, table.name)
    meter = run.meters[table.name] = Meter(table, run.now, late, by_id=by_id)
    intake = TableIntake(table, run.protector, run.quarantine, run.now, meter)
    run.bad[table.name] = intake.bad
    return intake


def _protected(run: _Run, intake: TableIntake, plan: TablePlan) -> Iterator[pa.RecordBatch]:
    """Protected batches of a table: of rows that executors read where there are any, else that this process reads."""
    splits = run.cluster.splits(intake.table) if run.cluster is not None else []
    if run.cluster is not None and splits:
        return run.cluster.protected(splits, intake, plan)
    return run.protector.protect(_checked(run, intake), plan, intake.done)


def _checked(run: _Run, intake: TableIntake) -> Iterator[pa.RecordBatch]:
    """Pass on the good rows of a table; refuse it at its end if too few were good."""
    table = intake.table
    for batch in sources.batches(run.descriptor, table):
        run.marking.meet(table.name, batch)
        good = intake.admit(batch)
        run.progress(table.name, intake.tally.rows)
        if good.num_rows or intake.tally.rows == 0:
            yield good
    intake.tally.check()


def _dated(run: _Run, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if batch.num_rows:
            bounds = pc.min_max(batch.column("ordered_at")).as_py()
            run.first = min(bounds["min"], run.first or bounds["min"])
            run.last = max(bounds["max"], run.last or bounds["max"])
        yield batch


def _told(run: _Run) -> list[str]:
    """The tables that the digest of the data is made of: those of the shop that are stored."""
    stored = {name: table for name, table in run.tables.items() if name != CONSENTS}
    return [name for name, table in stored.items() if table.anonymity is None or table.kept]


def digest_of(descriptor: Descriptor, digests: Mapping[str, str]) -> str:
    """Return the digest of a shop's protected tables, by theirs: equal in every home with the same data."""
    parts = [descriptor.digest(), *(f"{name}={digests[name]}" for name in sorted(digests))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _silent(_table: str, _rows: int) -> None:
    return
