"""The main job: everything from the raw tables to the champions, one stage after the other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from mlproject.pipelines.build import build_features, materialize_features
from mlproject.pipelines.ingest import ingest_dataset
from mlproject.pipelines.report import make_report, metric_table
from mlproject.pipelines.train import train_targets
from mlproject.pipelines.verdicts import gate_lines

if TYPE_CHECKING:
    from mlproject.stages import Stages
    from mlproject.wiring import House

__all__ = ["run_all"]


def run_all(
    house: House, dataset: str, stages: Stages, *, as_of: datetime | None, trials: int, seed: int
) -> Iterator[str]:
    """Run every stage; each can be killed and run again. Yield what to tell the user."""
    from features.datasets.descriptor import load_descriptor

    load_descriptor(dataset)  # refuse early: the frameworks take longer to load than a typo to find
    with stages.stage("load the frameworks"):
        # Their imports take as long as the work does; named, so that nobody wonders.
        import training.job  # noqa: F401
    yield from ingest_dataset(house, dataset, stages)
    yield from build_features(house, stages, as_of=as_of)
    yield from materialize_features(house, stages)
    targets = ("churn", "clv")
    list(train_targets(house, targets, stages, trials=trials, seed=seed))
    report = make_report(house)
    for target in targets:
        yield ""
        yield from metric_table(target, report["models"][target])
    yield ""
    yield from gate_lines(report["inference"])
    yield from report.get("quality", {}).get("breaches", [])  # again: those of a long job's beginning are out of sight
