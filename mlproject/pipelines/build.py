"""Protected -> FeatureTable -> online store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mlproject.pipelines.report import record
from mlproject.state import HomeState, save_state
from privacy.errors import BadInput

if TYPE_CHECKING:
    from features.datasets.descriptor import Descriptor
    from mlproject.stages import Stages
    from mlproject.wiring import House

__all__ = ["build_features", "data_time", "materialize_features"]


def data_time(state: HomeState, as_of: datetime | None) -> datetime:
    """Return the moment the data is looked at from: as asked, else as built, else the day after the last event."""
    moment = as_of or state.as_of or _day_after(state.last_event)
    if moment <= state.first_event:
        remedy = f"the first event is on {state.first_event.date()}"
        raise BadInput(f"no data before --as-of {moment.date()}", remedy=remedy)
    return moment


def build_features(house: House, stages: Stages, *, as_of: datetime | None = None) -> Iterator[str]:
    """Compute the features at the cut-offs of both models and at data time; register them with Feast."""
    from features.build import build

    state, descriptor = house.state, house.descriptor
    moment = data_time(state, as_of or _day_after(state.last_event))
    resource = f"dataset:{descriptor.name}"
    decision = house.permit("build", resource)
    with house.lock(), stages.stage("features"):
        cutoffs = _cutoffs(descriptor, state, moment)
        name, stores = descriptor.name, house.stores
        report = build(descriptor, stores.protected_store(name), stores.feature_store(name), cutoffs, moment)
        house.gateway.apply(descriptor)
        save_state(house.paths.state, replace(state, as_of=moment))
    house.note(decision, "build", resource, count=report.rows, detail={"digest": report.digest})
    shown = {"as_of": moment.isoformat(), "cutoffs": [c.isoformat() for c in cutoffs], "rows": report.rows}
    record(house, "features", {**shown, "columns": report.features, "digest": report.digest})
    record(house, "stages", stages)
    size = f"{report.features} columns, {report.rows:,} rows at {len(cutoffs)} cut-offs"
    yield f"features: {size}, as of {moment.date()}"


def materialize_features(house: House, stages: Stages, *, as_of: datetime | None = None) -> Iterator[str]:
    """Write everyone's features at data time into the online store."""
    state = house.state
    with house.lock(), stages.stage("online store"):
        people = house.gateway.materialize(house.operator(), data_time(state, as_of))
        if house.settings.online.url:  # rows that nobody reads or erases any more
            for end in ("", "-wal", "-shm"):
                house.paths.feast_online.with_name(house.paths.feast_online.name + end).unlink(missing_ok=True)
        save_state(house.paths.state, replace(state, online=True))
    record(house, "stages", stages)
    yield f"online store: {people:,} people, as of {data_time(state, as_of).date()}"


def _cutoffs(descriptor: Descriptor, state: HomeState, moment: datetime) -> list[datetime]:
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
        planned.update(plan_cutoffs(task, state.first_event, moment).all)
    return sorted(planned)


def _day_after(moment: datetime) -> datetime:
    # The midnight after the last event, so that every event lies before it and cut-offs fall on whole days.
    return moment.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
