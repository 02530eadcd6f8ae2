"""FeatureTable -> TrainingSet -> Candidate -> Champion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mlproject.pipelines.report import record
from privacy.classification import Purpose
from privacy.errors import BadInput

if TYPE_CHECKING:
    from training.job import TrainResult

    from mlproject.stages import Stages
    from mlproject.wiring import House

__all__ = ["SERVICES", "promote_target", "train_target"]

SERVICES = {"churn": ("churn_v1", Purpose.RETENTION.value), "clv": ("clv_v1", Purpose.VALUE.value)}
"""Target -> the feature service it learns from and the purpose it is trained for."""


def train_target(house: House, target: str, stages: Stages, *, trials: int, seed: int) -> Iterator[str]:
    """Train one target on the built features; yield what to tell the user."""
    from training.job import TrainRequest, train

    state, descriptor = house.state, house.descriptor
    wanted = getattr(descriptor.targets, target)
    if wanted is None:
        raise BadInput(f"the descriptor has no target {target}", where=descriptor.name, remedy=f"add targets.{target}")
    if state.as_of is None:
        raise BadInput("no features were built yet", where=str(house.paths.root), remedy="run `custos build` first")
    service, purpose = SERVICES[target]
    principal = house.operator(purpose)
    house.policy.require(principal, "train", f"service:{service}")
    house.paths.studies.parent.mkdir(parents=True, exist_ok=True)
    with house.lock(), stages.stage(f"train {target}"):
        request = TrainRequest(
            target=target,
            principal=principal,
            service=service,
            settings=wanted,
            dataset=state.dataset,
            first_event=state.first_event,
            as_of=state.as_of,
            trials=trials,
            seed=seed,
            progress=stages.progress,
        )
        result = train(request, house.gateway, house.tracker, house.registry, f"sqlite:///{house.paths.studies}")
    house.audit.append(
        action="train",
        principal=principal,
        resource=f"model:{target}",
        outcome="allow",
        detail={"version": str(result.version), "champion": str(result.champion)},
    )
    record(house, "models", {target: result.to_dict()}, merge=True)
    record(house, "stages", stages)
    yield from result_lines(target, result)


def promote_target(house: House, target: str) -> Iterator[str]:
    """Move the champion alias to the latest challenger; CheckFailed with the reasons when a gate refuses."""
    from training.job import promote

    principal = house.operator(SERVICES[target][1])
    house.policy.require(principal, "promote", f"model:{target}")
    with house.lock():
        champion = promote(target, house.registry)
    house.audit.append(
        action="promote",
        principal=principal,
        resource=f"model:{target}",
        outcome="allow",
        detail={"version": str(champion.version)},
    )
    yield f"{target}: version {champion.version} ({champion.design}) is champion"


def result_lines(target: str, result: TrainResult) -> Iterator[str]:
    """Tell a training's outcome: the verdicts, and the metrics beside every baseline's."""
    made: dict[str, Any] = result.to_dict()
    yield f"{target}: champion is version {made['champion']['version']} ({made['champion']['design']}). {made['outcome']}"
