"""Protected -> FeatureTable -> online store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from mlproject.pipelines.report import record
from mlproject.state import HomeState, save_state
from privacy.counted import counted
from privacy.errors import BadInput

if TYPE_CHECKING:
    from features.datasets.descriptor import Descriptor
    from features.storage import TableStore
    from mlproject.stages import Stages
    from mlproject.wiring import House

__all__ = ["brought_back", "build_features", "data_time", "materialize_features", "up_to_date"]

KEPT_FOR: Final = timedelta(days=7)
"""How long cut-offs stay where a build only adds to what is there."""


def data_time(state: HomeState, as_of: datetime | None) -> datetime:
    """Return the moment the data is looked at from: as asked, else as built, else the day after the last event."""
    from features.data_time import day_after

    moment = as_of or state.as_of or day_after(state.last_event)
    if moment <= state.first_event:
        remedy = f"the first event is on {state.first_event.date()}"
        raise BadInput(f"no data before --as-of {moment.date()}", remedy=remedy)
    return moment


def build_features(
    house: House, stages: Stages, *, as_of: datetime | None = None, since: datetime | None = None
) -> Iterator[str]:
    """Compute the features at the cut-offs of both models and at data time; register them with Feast.

    With `since`, rows at earlier cut-offs are carried over where they are built and still hold; cut-offs that were
    chosen within a week before stay, for they would move with each day.
    """
    from features.build import build
    from features.data_time import day_after

    descriptor = house.descriptor
    resource = f"dataset:{descriptor.name}"
    decision = house.permit("build", resource)
    with house.lock(), stages.stage("features"):
        state = up_to_date(house)
        moment = data_time(state, as_of or day_after(state.last_event))
        planned = moment if since is None else _planned(state, moment)
        cutoffs = _cutoffs(descriptor, state, moment, planned)
        protected, features = house.stores.protected_store(state.dataset), house.stores.feature_store(state.dataset)
        back = _taken_out_again(house, protected, resource)
        report = build(
            descriptor,
            protected,
            features,
            cutoffs,
            moment,
            since=since,
            progress=lambda table, rows: stages.progress(table, rows, 0),
            engine=house.engine,
        )
        house.gateway.apply(descriptor)
        save_state(house.paths.state, replace(state, as_of=moment, planned=planned))
    house.note(decision, "build", resource, count=report.rows, detail={"digest": report.digest})
    shown = {"as_of": moment.isoformat(), "cutoffs": [c.isoformat() for c in cutoffs], "rows": report.rows}
    record(house, "features", {**shown, "columns": report.features, "digest": report.digest})
    record(house, "stages", stages)
    if back:
        people = counted(back, "person who had been erased was", "people who had been erased were")
        yield f"Mind: {people} in the tables (by a backup?) and taken out again"
    built = counted(report.features, "column"), counted(report.rows, "row")
    size = f"{', '.join(built)} at {counted(len(cutoffs), 'cut-off')}"
    kept = f", {len(report.carried)} of them as they were" if since is not None else ""
    if since is not None and not report.carried:
        kept += " (cut-offs move with data time; an ingest, an erasure or other transforms make all of them new)"
    yield f"features: {size}{kept}, as of {moment.date()}"


def brought_back(house: House, protected: TableStore) -> list[str]:
    """Return the tokens of people in the tables who had been erased: a backup brought them back.

    They mustn't be served and the vault doesn't know them, which it is asked only where somebody mustn't be.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from features.ingest import PEOPLE
    from features.own_tokens import TOKEN, OwnTokens
    from privacy.classification import FEATURE_STORE
    from privacy.tokens import tokens_to_handles

    people = protected.read(PEOPLE, [TOKEN])[TOKEN].combine_chunks()
    unserved = pa.array(OwnTokens(house.sealed, house.suppression).suppressed(people), pa.string())
    if not len(unserved):
        return []
    handles, _ = tokens_to_handles(house.keyring, unserved, FEATURE_STORE)
    references = pa.array(house.vault.audit_references(handles), pa.string())
    return [str(token) for token in unserved.filter(pc.equal(pc.utf8_length(references), 0)).to_pylist()]


def _taken_out_again(house: House, protected: TableStore, resource: str) -> int:
    """Erase whom a backup brought back: by their id nobody can any more. Return how many people."""
    from privacy.rights import Subject

    back = brought_back(house, protected)
    if back:
        who, rule = house.operator(), "a-restored-table-replays-erasures"
        house.audit.append(
            action="replay", principal=who, resource=resource, outcome="allow", rule=rule, count=len(back)
        )
        protected.erase(Subject(tuple(back), b"", ()))
    return len(back)


def materialize_features(house: House, stages: Stages, *, as_of: datetime | None = None) -> Iterator[str]:
    """Write everyone's features at data time into the online store; those that are there already stay."""
    state = house.state
    with house.lock(), stages.stage("online store"):
        moment = data_time(state, as_of or _clock(house, state))
        people = house.gateway.materialize(house.operator(), moment)
        if house.settings.online.url:  # rows that nobody reads or erases any more
            for end in ("", "-wal", "-shm"):
                house.paths.feast_online.with_name(house.paths.feast_online.name + end).unlink(missing_ok=True)
        save_state(house.paths.state, replace(house.state, online=True))
    record(house, "stages", stages)
    yield f"online store: {counted(people, 'person', 'people')}, as of {moment.date()}"


def up_to_date(house: House) -> HomeState:
    """Return the state with the dates of what is stored: a push that was killed may not have got to keep them.

    To be called with the home locked.
    """
    state = house.state
    manifest = house.stores.protected_store(state.dataset).manifest("first_event", "last_event")
    first, last = (datetime.fromisoformat(manifest[name]) for name in ("first_event", "last_event"))
    fresh = replace(state, first_event=first, last_event=last)
    if fresh != state:
        save_state(house.paths.state, fresh)
    return fresh


def _clock(house: House, state: HomeState) -> datetime | None:
    """Where data time ends: as built, or as pushed events have moved it."""
    store = house.stores.feature_store(state.dataset)
    if state.as_of is None or store.snapshot() is None:
        return None
    return max(state.as_of, datetime.fromisoformat(store.manifest("as_of")["as_of"]))


def _planned(state: HomeState, moment: datetime) -> datetime:
    """The day that cut-offs are chosen for, when what is built is to be kept."""
    known = state.planned
    return known if known is not None and timedelta() <= moment - known < KEPT_FOR else moment


def _cutoffs(descriptor: Descriptor, state: HomeState, moment: datetime, day: datetime) -> list[datetime]:
    """The cut-offs that both models want on `day`, and `moment`, at which everybody is told of."""
    from training.cutoffs import Task, plan_cutoffs

    planned = {moment}
    silent = (moment - state.last_event).days
    for target in ("churn", "clv"):
        task = Task.of(target, getattr(descriptor.targets, target))
        if silent > task.horizon_days:  # a whole window of nothing would teach that everybody leaves
            raise BadInput(
                f"--as-of {moment.date()} is {silent} days after the last event, more than the "
                f"{task.horizon_days} days of {target}: its windows would be empty for want of data",
                remedy=f"the last event is on {state.last_event.date()}; ingest newer data or give an earlier --as-of",
            )
        planned.update(plan_cutoffs(task, state.first_event, day).all)
    return sorted(planned)
