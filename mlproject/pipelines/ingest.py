"""raw -> Validated -> Protected: the one pipeline that reads a source."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import yaml

from mlproject.pipelines.quality import breach_lines, table_scores
from mlproject.pipelines.report import marked_told, record
from mlproject.settings import environment
from mlproject.state import HomeState, save_state
from privacy.classification import Sensitivity
from privacy.counted import counted
from privacy.durable import write_beside
from privacy.errors import BadInput, EnvironmentFailed
from privacy.json_files import read_object

if TYPE_CHECKING:
    from features.datasets.descriptor import Descriptor
    from features.ingest import Destinations, IngestReport
    from mlproject.stages import Stages
    from mlproject.wiring import House

__all__ = ["contact_columns", "ingest_dataset"]

_CONTACT: Final = re.compile(r"e.?mail|phone|mobile|address|passport|national_?id|birth", re.IGNORECASE)


def ingest_dataset(house: House, dataset: str, stages: Stages) -> Iterator[str]:
    """Validate and protect a dataset's tables; publish them as one snapshot; yield what to tell the user."""
    from features.datasets.descriptor import load_descriptor
    from features.engine_spark import Spark
    from features.ingest import ingest
    from privacy.treatment import Protector

    descriptor = load_descriptor(dataset, environment())
    _one_dataset(house, descriptor)
    resource = f"dataset:{descriptor.name}"
    decision = house.permit("ingest", resource)
    _ = house.keyring  # made on the first run, and the log with it
    house.audit.check()  # refuse before anything is stored if it is damaged
    spark = house.engine.session() if isinstance(house.engine, Spark) else None
    with house.lock(), stages.stage("validate and protect"):
        _one_dataset(house, descriptor)  # again: another first ingest may have come before
        on_record = house.paths.consents.exists()
        pushed = _pushed_rows(house, descriptor.name)
        report = ingest(
            descriptor,
            protector=Protector(house.vault, house.keyring),
            into=_destinations(house, descriptor.name),
            progress=lambda table, rows: stages.progress(table, rows, 0),
            noted=lambda count, whose: house.note(decision, "link", resource, count=count, commitment=whose),
            spark=spark,
        )
        _keep_descriptor(house, descriptor)
        home = str(house.paths.root.resolve())
        online = house.paths.feast_online.exists() or _kept_state(house).get("online") is True
        state = HomeState(home, descriptor.name, report.first_event, report.last_event, online=online)
        save_state(house.paths.state, state)
        if house.paths.consents.exists() and not on_record:
            house.forget_sealed()  # and what the policy decided while nobody had consented
    rows = sum(table.kept for table in report.tables.values())
    house.note(decision, "ingest", resource, count=rows, detail={"digest": report.digest})
    told = {} if report.links is None else {"links": report.links.to_dict()}
    record(house, "dataset", {"name": descriptor.name, "digest": report.digest, **state.to_dict(), **told})
    record(house, "tables", {name: asdict(table) for name, table in report.tables.items()})
    warnings = list(breach_lines(report.quality.breaches))
    record(house, "quality", {**table_scores(report.quality), "breaches": warnings})
    record(house, "stages", stages)
    yield from _lines(report.tables)
    for links in told.values():
        yield from _link_lines(links)
    yield from _minds(report, descriptor, pushed, warnings)


def _minds(report: IngestReport, descriptor: Descriptor, pushed: int, warnings: Sequence[str]) -> Iterator[str]:
    for value in report.unmatched:
        yield f"Mind: nothing in the data is {value}, which the descriptor marks (inference)"
    for column in contact_columns(descriptor):
        yield f"Mind: {column} is stored as it is; if it tells who somebody is, declare it direct_identifier"
    yield from warnings
    if pushed:
        rows = counted(pushed, "row")
        yield f"Mind: {rows} had been pushed since the last ingest; of these only what the source has is there"
    if report.unkept:
        yield f"Mind: the tables are published, but their scorecard isn't in the history: {report.unkept}"


def _destinations(house: House, dataset: str) -> Destinations:
    from features.ingest import Destinations
    from features.quality.history import QualityHistory

    return Destinations(
        store=house.stores.protected_store(dataset),
        quarantine=house.quarantine,
        flags=house.inference_flags,
        consents=house.consents,
        history=QualityHistory(house.paths.quality),
    )


def _pushed_rows(house: House, dataset: str) -> int:
    """How many rows were pushed into what this ingest is to replace."""
    from features.push import PUSHED_ROWS

    store = house.stores.protected_store(dataset)
    return 0 if store.snapshot() is None else int(store.manifest().get(PUSHED_ROWS) or 0)


def contact_columns(descriptor: Descriptor) -> list[str]:
    """List the stored columns that are named like contact details: their names are looked at, not their values."""
    return [
        f"{name}.{column}"
        for name, table in descriptor.tables.items()
        for column, declared in table.columns.items()
        if declared.sensitivity in (Sensitivity.BEHAVIOURAL, Sensitivity.NON_PERSONAL)
        and _CONTACT.search(f"{column} {declared.source or ''}")
    ]


def _one_dataset(house: House, descriptor: Descriptor) -> None:
    # Two shops may give two people the same id, and a vault can't tell them apart.
    kept = [path.stem for path in sorted(house.paths.descriptors.glob("*.yaml"))]  # also when the state is lost
    state = _kept_state(house)
    held = state.get("dataset", kept[0] if kept else descriptor.name)
    if held != descriptor.name:
        remedy = f"use another --home for {descriptor.name}"
        raise BadInput(f"this home holds the dataset {held}", where=str(house.paths.root), remedy=remedy)


def _kept_state(house: House) -> dict[str, Any]:
    try:
        return read_object(house.paths.state, "the home's state", remedy="") or {}
    except EnvironmentFailed:
        return {}  # a damaged one must not keep an ingest from writing a new one


def _keep_descriptor(house: House, descriptor: Descriptor) -> None:
    # Later commands read what was ingested, whatever becomes of the shop's own file; its sources stay where they are.
    kept = house.kept_descriptor(descriptor.name)
    content = descriptor.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if any(table.is_relative for table in descriptor.tables.values()):
        folder = os.path.relpath(descriptor.base_dir.resolve(), kept.parent.resolve())
        content = {"name": content["name"], "folder": folder, **content}
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
    write_beside(kept, text.encode())


def _link_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """What was found of people who have several ids."""
    kinds = _counted(told["by_kind"])
    shares = f", by what they share: {kinds}" if kinds else ""
    yield f"identity: {told['joined']} customers turned out to be another one ({told['persons']} people){shares}"
    if told["conflicts"]:
        yield f"  kept apart by a unique field: {_counted(told['conflicts'])}"
    if told["too_many"]:
        yield f"  {told['too_many']} customers are too many to be one person, and stay apart"
    if told["too_shared"]:
        yield f"  ids of too many customers, which link nobody: {_counted(told['too_shared'])}"
    if told["junk"]:
        yield f"  ids that say nothing, which link nobody: {_counted(told['junk'])}"


def _counted(counts: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _profile_lines(name: str, table: Any) -> Iterator[str]:
    """What became of the quasi-identifiers that were generalised together."""
    told, found = table.anonymity, table.anonymity["figures"]
    if table.kept:
        yield (
            f"{name}: {table.kept:,} of {counted(table.rows_in, 'person', 'people')} generalised to k={told['k']}:"
            f" {counted(found['classes'], 'class', 'classes')} of {found['average_class']:.1f},"
            f" {found['suppressed_share']:.1%} suppressed, GB/T 42460 grade {found['gb_t_42460_grade']}"
        )
    else:
        yield f"{name}: nobody's quasi-identifiers are told"
    for column, why in told["dropped"].items():
        yield f"  not in the table {name}: {column} ({why})"


def _lines(tables: Any) -> Iterator[str]:
    for name, table in tables.items():
        if table.anonymity is not None:
            yield from _profile_lines(name, table)
            continue
        bad = sum(table.quarantined.values())
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(table.quarantined.items()))
        line = f"{name}: {counted(table.rows_in, 'row')} in, {table.kept:,} kept, {bad:,} quarantined"
        yield (
            line
            + (f" ({reasons})" if reasons else "")
            + (f", {table.tombstoned:,} of the erased refused" if table.tombstoned else "")
            + (f", {marked_told(table.marked, table.marked_by)}" if table.marked else "")
        )
        if table.columns_dropped:
            kept_out = ", ".join(table.columns_dropped)
            why = "identifiers are in the vault, sensitive columns stay out whatever their mask, others lack one"
            yield f"  not in the protected table: {kept_out} ({why})"
