"""MLflow's registry door: versions of `churn` and `clv`, and the aliases champion, previous and challenger.

A reader only ever follows `champion`, which moves in one statement once the version behind it is complete;
`previous` is for an operator who wants to go back, nothing here reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from privacy.errors import BadInput, CheckFailed, EnvironmentFailed
from privacy.json_files import parse_object
from training.models import CustomerModel, load
from training.models._base import CHURN, TARGETS
from training.tracking import pointed_at, store_client, store_errors

__all__ = ["EVALUATION_FILE", "ChampionRef", "Registry"]

EVALUATION_FILE: Final = "evaluation.json"
_DATA: Final = Path("data") / "model"
_CHAMPION: Final = "champion"
_PREVIOUS: Final = "previous"
_CHALLENGER: Final = "challenger"
_MISSING: Final = "RESOURCE_DOES_NOT_EXIST"
_DESCRIPTIONS: Final = {
    CHURN: "Probability that a customer who bought lately makes no purchase within the horizon.",
    "clv": "Net spend expected of a customer within the horizon, in the shop's currency.",
}


@dataclass(frozen=True, slots=True)
class ChampionRef:
    """A registered version: where its files are, and which run tested it."""

    target: str
    version: int
    run_id: str
    design: str
    tags: Mapping[str, str]
    path: Path


class Registry:
    """The model registry of one home, by absolute tracking URI."""

    def __init__(self, tracking_uri: str) -> None:
        self._uri = tracking_uri
        self._known: MlflowClient | None = None

    @property
    def _client(self) -> MlflowClient:
        # Opened on first use: making a client creates the database.
        if self._known is None:
            with store_errors("model registry"):
                self._known = store_client(self._uri)
        return self._known

    def register(self, target: str, model_uri: str, run_id: str, tags: Mapping[str, str], note: str) -> int:
        """Add a version of a logged model and return its number."""
        # The client looks the logged model up by MLflow's own address, not by the client's.
        with store_errors("model registry"), pointed_at(self._uri):
            if self._aliases(target) is None:
                self._client.create_registered_model(target, description=_DESCRIPTIONS[target])
            made = self._client.create_model_version(
                target, source=model_uri, run_id=run_id, tags=dict(tags), description=note
            )
        return int(made.version)

    def challenge(self, target: str, version: int) -> None:
        """Let `challenger` point at a version."""
        with store_errors("model registry"):
            self._client.set_registered_model_alias(target, _CHALLENGER, str(version))

    def crown(self, target: str, version: int) -> None:
        """Make a version champion and remember the former one as `previous`.

        The order matters to a reader and to a killed process: champion moves once, last but for clearing up.
        """
        with store_errors("model registry"):
            aliases = self._aliases(target) or {}
            former = aliases.get(_CHAMPION)
            if former is not None and int(former) != version:
                self._client.set_registered_model_alias(target, _PREVIOUS, str(former))
            self._client.set_registered_model_alias(target, _CHAMPION, str(version))
            if int(aliases.get(_CHALLENGER, -1)) == version:
                self._client.delete_registered_model_alias(target, _CHALLENGER)

    def drop_challenger(self, target: str) -> None:
        """Remove the alias `challenger`, if it is there."""
        with store_errors("model registry"):
            if _CHALLENGER in (self._aliases(target) or {}):
                self._client.delete_registered_model_alias(target, _CHALLENGER)

    def champion(self, target: str) -> ChampionRef | None:
        """Return the champion of a target, or None before there is one."""
        return self._behind(target, _CHAMPION)

    def challenger(self, target: str) -> ChampionRef | None:
        """Return the version waiting for promotion, if any."""
        return self._behind(target, _CHALLENGER)

    def load_champion(self, target: str) -> tuple[CustomerModel, int]:
        """Return the champion's model and its version.

        Raises:
            BadInput: nothing was trained yet.
            EnvironmentFailed: the registry does not answer, or the files behind the alias are gone.
        """
        found = self.champion(target)
        if found is None:
            raise BadInput(f"there is no champion of {target} yet", remedy=f"custos train {target}")
        return load(found.path, f"{target}/{found.design}"), found.version

    def evaluation(self, ref: ChampionRef) -> dict[str, Any]:
        """Return what the run behind a version measured: metrics, baselines, verdicts, cut-offs."""
        with store_errors("artifact store"), pointed_at(self._uri):
            local = mlflow.artifacts.download_artifacts(run_id=ref.run_id, artifact_path=EVALUATION_FILE)
            data = Path(local).read_bytes()
        try:
            told = parse_object(data)
        except ValueError:
            told = {}
        baselines = told.get("baselines")
        whole = isinstance(baselines, dict) and all(map(_measured, (told.get("metrics"), *baselines.values())))
        if not whole or not isinstance(told.get("design"), str):
            what, remedy = f"{EVALUATION_FILE} of the run is damaged", f"custos train {ref.target}"
            raise EnvironmentFailed(what, where=f"run {ref.run_id}", remedy=remedy)
        return told

    def champion_metrics(self, ref: ChampionRef) -> Mapping[str, float]:
        """Return the out-of-time metrics of the design that a version has, as the run behind it measured them.

        Raises:
            CheckFailed: that run measured no model of this design.
            EnvironmentFailed: the run's evaluation can't be read.
        """
        told = self.evaluation(ref)
        if told["design"] == ref.design:
            return dict(told["metrics"])
        if ref.design not in told["baselines"]:
            raise CheckFailed(
                f"the run behind {ref.target} version {ref.version} measured no {ref.design}",
                remedy=f"custos train {ref.target}",
            )
        return dict(told["baselines"][ref.design])

    def _aliases(self, target: str) -> dict[str, str] | None:
        if target not in TARGETS:
            raise BadInput(f"unknown model {target!r}", remedy=f"use one of {', '.join(TARGETS)}")
        try:
            return dict(self._client.get_registered_model(target).aliases)
        except MlflowException as error:
            if error.error_code == _MISSING:
                return None
            raise

    def _behind(self, target: str, alias: str) -> ChampionRef | None:
        with store_errors("model registry"):
            number = (self._aliases(target) or {}).get(alias)
            if number is None:
                return None
            found = self._client.get_model_version(target, str(number))
            place = self._local(found)
        return ChampionRef(
            target=target,
            version=int(found.version),
            run_id=str(found.run_id),
            design=found.tags.get("design", ""),
            tags=dict(found.tags),
            path=place,
        )

    def _local(self, found: ModelVersion) -> Path:
        """Folder with the model's files; artifacts on this disk are read in place, others are fetched."""
        with pointed_at(self._uri):
            root = Path(mlflow.artifacts.download_artifacts(artifact_uri=str(found.source)))
        if not (root / _DATA).is_dir():
            raise EnvironmentFailed(
                f"the files of {found.name} version {found.version} are gone", remedy="train again or restore them"
            )
        return root / _DATA


def _measured(metrics: object) -> bool:
    return isinstance(metrics, dict) and all(isinstance(value, int | float) for value in metrics.values())
