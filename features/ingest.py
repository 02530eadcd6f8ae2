"""Raw to protected: read, hold to the contract, quarantine, protect, store; all or nothing."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from privacy.consent import ConsentLedger
from privacy.errors import BadInput
from privacy.link_rules import LinkReport
from privacy.linking import Linker
from privacy.profile import PROFILE, release_profile
from privacy.treatment import CUSTOMER_TOKEN, Protector, ProtectReport

from . import sources
from .contracts import Contract, Tally, first_reasons
from .datasets.anonymity import profile_rule
from .datasets.descriptor import Descriptor
from .datasets.identity import link_rules
from .datasets.tables import CONSENTS, Table
from .expressions import check_expressions
from .former import FORMER
from .identities import find_links, former_table
from .inference_flags import InferenceFlags
from .ingest_report import IngestReport, TableReport
from .marking import Marking
from .quality.history import QualityHistory
from .quality.judge import judged
from .quality.meter import Meter
from .quality.thresholds import refusal
from .quality.told import Card
from .quarantine import Quarantine, written_ids
from .storage import SnapshotWriter, TableStore

__all__ = ["Destinations", "IngestReport", "TableReport", "ingest"]

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
) -> IngestReport:
    """Read every table of the shop into a new protected snapshot, without the lines that are marked.

    `progress(table, rows so far)` is called once a batch; `now` (default: the real time) bounds dates; `noted` is told,
    before anybody is linked, how many people become one with another, and a commitment to their tokens.
    Raises BadInput when a source is missing or empty or over a tenth of its rows are bad, CheckFailed when the
    scorecard breaches what the descriptor stops for: the tables, the quarantine, the consents and the vault then stay
    as they were. Only somebody whom another ingest met meanwhile stays registered. Killed, it leaves people in the
    vault whom no table names; the next ingest finds them there. Whoever turns out to be one person is one in every
    table, and linked in the vault just before these are published.
    """
    check_expressions(descriptor)
    rows_before = into.history.rows_before() if into.history else {}  # before anything is done: it may be damaged
    with protector.on_trial(link_rules(descriptor.identity)) as linker, into.store.writer() as writer:
        moment = now or dt.datetime.now(dt.UTC)
        run = _Run(descriptor, protector, into.quarantine, progress or _silent, moment, writer, Marking.of(descriptor))
        links = find_links(descriptor, protector, linker, moment, run.progress)
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
        digest = _digest(descriptor, run)
        card = _scored(run, rows_before, digest, into.history)
        notes = {
            "dataset": descriptor.name,
            "descriptor": descriptor.digest(),
            "digest": digest,
            "first_event": run.first.isoformat(),
            "last_event": run.last.isoformat(),
        }
        into.quarantine.replace(descriptor.name, {**run.bad})
        into.flags.replace(descriptor.name, run.flags)
        # Links first: erased in between, somebody is erased from the tables of before by every token of theirs.
        snapshot = writer.commit(notes, partial(_settle, linker, links, noted, given, into.consents))
    if into.history is not None:
        into.history.append(card)
    told, events = run.marking.unmatched(), (run.first, run.last)
    return IngestReport(descriptor.name, run.tables, people.num_rows, *events, snapshot, digest, card, told, links)


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
    tally, done = Tally(table.name), ProtectReport()
    run.bad[table.name] = []
    checked = _checked(run, table, tally, done)
    plan = replace(table.plan(), marks=run.marking.of_table(table.name))
    safe = run.protector.protect(checked, plan, done)
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
    tally, done = Tally(table.name), ProtectReport()
    run.bad[table.name] = []
    good = list(run.protector.protect(_checked(run, table, tally, done), table.plan(), done))
    kept = sum(batch.num_rows for batch in good)
    run.tables[table.name] = TableReport(rows_in=tally.rows, tombstoned=done.tombstoned, kept=kept)
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


def _checked(run: _Run, table: Table, tally: Tally, done: ProtectReport) -> Iterator[pa.RecordBatch]:
    """Pass on the good rows of `table`; refuse the table at its end if too few were good."""
    contract = Contract(table, run.now)
    meter = run.meters[table.name] = Meter(table, run.now, run.descriptor.quality.late_after_days)
    for batch in sources.batches(run.descriptor, table):
        failures = contract.failures(batch)
        found = first_reasons(failures)
        meter.meet(batch, failures)
        tally.rows += batch.num_rows
        run.marking.meet(table.name, batch)
        run.progress(table.name, tally.rows)
        good = batch
        if found.num_rows:
            mask = pc.is_in(pa.array(range(batch.num_rows), pa.int64()), value_set=found["row"].combine_chunks())
            good = batch.filter(pc.invert(mask))
            held = _not_of_the_erased(run, table, batch, found)
            done.tombstoned += found.num_rows - held.num_rows
            tally.add(held)
            if held.num_rows:
                run.bad[table.name].append(run.quarantine.pack(batch, held, table))
        meter.keep(good)
        if good.num_rows or tally.rows == 0:
            yield good.select(list(table.columns))
    tally.check()


def _not_of_the_erased(run: _Run, table: Table, batch: pa.RecordBatch, found: pa.Table) -> pa.Table:
    """Leave out the bad rows of erased people: they must not come back, not even sealed."""
    if table.subject is None:
        return found
    bad = batch.take(found["row"].combine_chunks())
    dates = None
    if table.event_column is not None:
        written = bad.column(table.event_column).cast(pa.timestamp("us", "UTC"))
        # A bad row's date in the future is no proof that the person came back.
        credible = pc.less_equal(written, pa.scalar(run.now, written.type))
        dates = pc.if_else(credible, written, pa.scalar(None, written.type))
    refused = run.protector.tombstoned(written_ids(bad, table.subject), dates)
    return found.filter(pa.array(~refused))


def _dated(run: _Run, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if batch.num_rows:
            bounds = pc.min_max(batch.column("ordered_at")).as_py()
            run.first = min(bounds["min"], run.first or bounds["min"])
            run.last = max(bounds["max"], run.last or bounds["max"])
        yield batch


def _digest(descriptor: Descriptor, run: _Run) -> str:
    stored = {name: table for name, table in run.tables.items() if name != CONSENTS}
    written = sorted(name for name, table in stored.items() if table.anonymity is None or table.kept)
    parts = [descriptor.digest(), *(f"{name}={run.writer.digest_of(name)}" for name in written)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _silent(_table: str, _rows: int) -> None:
    return
