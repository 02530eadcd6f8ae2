"""FeatureTable -> TrainingSet -> Candidate -> Champion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlproject.pipelines.inference import about, gate, keep, marks_of
from mlproject.pipelines.quality import score_tags
from mlproject.pipelines.report import champion_of, metric_table, record
from mlproject.pipelines.targets import SERVICES
from privacy.errors import BadInput, EnvironmentFailed

if TYPE_CHECKING:
    from mlproject.stages import Stages
    from mlproject.wiring import House
    from training.job import TrainResult

__all__ = ["promote_target", "train_target", "train_targets"]


def train_target(
    house: House, target: str, stages: Stages, *, trials: int, seed: int, promote: bool = True
) -> Iterator[str]:
    """Train one target on the built features and pass it through the inference gate; yield what to tell the user."""
    yield from train_targets(house, [target], stages, trials=trials, seed=seed, promote=promote)


def train_targets(
    house: House, targets: Sequence[str], stages: Stages, *, trials: int, seed: int, promote: bool = True
) -> Iterator[str]:
    """Train each target, then attack what is published; only then a version may serve. Yield what to tell the user."""
    made = {target: _fitted(house, target, stages, trials=trials, seed=seed, promote=promote) for target in targets}
    results = {target: result for target, (result, _) in made.items()}
    if house.descriptor.inference:
        results = _through_the_gate(house, results, stages, promote=promote)
    else:
        keep(house, [])
    for target, result in results.items():
        _, lost = made[target]
        reported = {**_reported(result), "notes": [*result.notes, *lost]}
        record(house, "models", {target: reported}, merge=True)
        record(house, "stages", stages)
        yield from metric_table(target, reported)
        if house.project is not None:
            house.tracker.link(*house.project, result.run_id)


def _fitted(
    house: House, target: str, stages: Stages, *, trials: int, seed: int, promote: bool
) -> tuple[TrainResult, list[str]]:
    """Train one target; where something is marked, what came of it waits for the inference gate."""
    from training.cutoffs import Task
    from training.job import TrainRequest, train

    state, descriptor = house.state, house.descriptor
    if state.as_of is None:
        raise BadInput("no features were built yet", where=str(house.paths.root), remedy="run `custos build` first")
    service, purpose = SERVICES[target]
    principal = house.operator(purpose)
    decision = house.permit("train", f"service:{service}", purpose)
    lost = _lost_registry(house, target)
    with house.lock(), stages.stage(f"train {target}"):
        request = TrainRequest(
            task=Task.of(target, getattr(descriptor.targets, target)),
            principal=principal,
            service=service,
            dataset=state.dataset,
            first_event=state.first_event,
            as_of=state.planned or state.as_of,  # whose cut-offs are built
            trials=trials,
            seed=seed,
            promote=promote and not descriptor.inference,
            tags={"keyset": house.sealed.keyset_id, "policy": house.policy.version[:12], **score_tags(house)},
            progress=stages.progress,
        )
        result = train(request, house.gateway, house.tracker, house.registry, f"sqlite:///{house.paths.studies}")
    detail = {"version": result.version, "outcome": result.outcome}
    house.note(decision, "train", f"model:{target}", purpose, detail=detail)
    return result, lost


def _through_the_gate(
    house: House, results: Mapping[str, TrainResult], stages: Stages, *, promote: bool
) -> dict[str, TrainResult]:
    """Attack the services and what was tested; crown what passed, and audit which version that was."""
    from training.settling import settle

    decisions = {
        target: house.permit("promote", f"model:{target}", SERVICES[target][1])
        for target in (results if promote else ())
    }
    with house.lock(), stages.stage("inference gate"):
        found = gate(house, {target: _out_of_time(house, result) for target, result in results.items()})
        keep(house, found)
        settled = {
            target: settle(
                result, about(target, found), house.tracker, house.registry, marks=marks_of(house), promote=promote
            )
            for target, result in results.items()
        }
    for target, decision in decisions.items():
        result = settled[target]
        detail = {"version": result.version, "outcome": result.outcome}
        house.note(decision, "promote", f"model:{target}", SERVICES[target][1], detail=detail)
    return settled


def _out_of_time(house: House, result: TrainResult) -> int:
    """The version fitted on the training windows alone, of the design that waits or is compared."""
    return int(house.registry.version(result.target, result.version).tags.get("refit_of", result.version))


def promote_target(house: House, target: str) -> Iterator[str]:
    """Move the champion alias to the latest challenger; CheckFailed with the reasons when a gate refuses."""
    from training.job import promote
    from training.settling import require_not_inferring

    purpose = SERVICES[target][1]
    decision = house.permit("promote", f"model:{target}", purpose)
    with house.lock():
        if house.descriptor.inference:
            require_not_inferring(target, house.registry, marks_of(house))
        promotion = promote(target, house.registry)
    champion = promotion.champion
    house.note(decision, "promote", f"model:{target}", purpose, detail={"version": champion.version})
    already = "" if promotion.changed else " already; nothing waits for promotion"
    yield f"{target}: version {champion.version} ({champion.design}) is champion{already}"


def _lost_registry(house: House, target: str) -> list[str]:
    """Return a note where the whole database is gone, which a training makes anew; one that is damaged is an error."""
    if house.paths.mlflow_database.exists():
        return []
    try:
        champion_of(house, target)
    except EnvironmentFailed as error:
        return [f"registry: begun anew, as {error.what}"]
    return []


def _reported(result: TrainResult) -> dict[str, Any]:
    champion = result.champion
    return {
        "champion": {"version": champion.version, "design": champion.design} if champion else None,
        "outcome": result.outcome,
        "message": result.message,
        "tested": {"version": result.tested_version, "design": result.design},
        "metrics": dict(result.metrics),
        "champion_metrics": dict(result.champion_metrics),
        "baselines": {name: dict(metrics) for name, metrics in result.baselines.items()},
        "gates": [verdict.to_dict() for verdict in result.verdicts],
        "cutoffs": result.plan.describe(),
        "digest": result.digest,
    }
