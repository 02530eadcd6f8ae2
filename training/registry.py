"""MLflow's registry door: versions of `churn` and `clv`, and the aliases champion, previous and challenger.

A reader only ever follows `champion`, which moves in one statement once the version behind it is complete;
`previous` is for an operator who wants to go back, nothing here reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from privacy.errors import BadInput, CheckFailed, EnvironmentFailed
from privacy.json_files import parse_object
from training.databases import file_of, is_whole
from training.tracking import EXPERIMENT_TABLE, pointed_at, store_client, store_errors

if TYPE_CHECKING:
    from training.models import CustomerModel

__all__ = ["EVALUATION_FILE", "INFERENCE_TAG", "ChampionRef", "Registry"]

EVALUATION_FILE: Final = "evaluation.json"
INFERENCE_TAG: Final = "inference"
"""The tag of runs and versions: `passed` or `failed`; without it a version hasn't been through the gate."""
_DATA: Final = Path("data") / "model"
_CHAMPION: Final = "champion"
_PREVIOUS: Final = "previous"
_CHALLENGER: Final = "challenger"
_MISSING: Final = "RESOURCE_DOES_NOT_EXIST"
_DESCRIPTIONS: Final = {
    "churn": "Probability that a customer who bought lately makes no purchase within the horizon.",
    "clv": "Net spend expected of a customer within the horizon, in the shop's currency.",
}


@dataclass(frozen=True, slots=True)
class ChampionRef:
    """A registered version: where MLflow says its files are, and which run tested it."""

    target: str
    version: int
    run_id: str
    design: str
    tags: Mapping[str, str]
    source: str


class Registry:
    """The model registry of one home, by absolute tracking URI; asking never makes a database that isn't there."""

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

    def version(self, target: str, number: int) -> ChampionRef:
        """Return a version by its number; EnvironmentFailed where the registry has none such."""
        with store_errors("model registry"):
            return self._ref(target, number)

    def tag(self, target: str, version: int, tags: Mapping[str, str]) -> None:
        """Note on a version what was found out about it after it was registered."""
        with store_errors("model registry"):
            for name, value in tags.items():
                self._client.set_model_version_tag(target, str(version), name, value)

    def load_champion(self, target: str) -> tuple[CustomerModel, int]:
        """Return the champion's model and its version.

        Raises:
            BadInput: nothing was trained yet.
            EnvironmentFailed: the registry does not answer, or the files behind the alias are gone.
        """
        found = self.champion(target)
        if found is None:
            raise self.no_champion(target)
        return self.load(found), found.version

    def no_champion(self, target: str) -> BadInput:
        """Return what to raise where a champion is needed and there is none: it may be that one only waits."""
        waiting = self.challenger(target)
        if waiting is None:
            return BadInput(f"there is no champion of {target} yet", remedy=f"custos train {target}")
        what = f"there is no champion of {target}: version {waiting.version} waits for promotion"
        if waiting.tags.get(INFERENCE_TAG) == "failed":
            return BadInput(f"{what}, which the inference gate refuses", remedy="`custos report` says what leaks")
        return BadInput(what, remedy=f"custos promote {target}")

    def load(self, ref: ChampionRef) -> CustomerModel:
        """Return the model of a version; raises EnvironmentFailed where its files are gone or damaged."""
        from training.models import load

        return load(self.files(ref), f"{ref.target}/{ref.design}")

    def files(self, ref: ChampionRef) -> Path:
        """Folder with the model's files; artifacts on this disk are read in place, others are fetched.

        Raises:
            EnvironmentFailed: they are gone; names where they were.
        """
        try:
            with pointed_at(self._uri):
                root = Path(mlflow.artifacts.download_artifacts(artifact_uri=ref.source))
        except (MlflowException, SQLAlchemyError, OSError):
            root = None
        if root is None or not (root / _DATA).is_dir():
            what = f"the files of {ref.target} version {ref.version} are gone"
            raise EnvironmentFailed(what, where=self._place(ref), remedy=_again(ref.target))
        return root / _DATA

    def evaluation(self, ref: ChampionRef) -> dict[str, Any]:
        """Return what the run behind a version measured: metrics, baselines, verdicts, cut-offs.

        Raises:
            EnvironmentFailed: that file is gone or damaged.
        """
        try:
            with pointed_at(self._uri):
                local = mlflow.artifacts.download_artifacts(run_id=ref.run_id, artifact_path=EVALUATION_FILE)
            told = parse_object(Path(local).read_bytes())
            if all(map(_measured, (told["metrics"], *told["baselines"].values()))) and isinstance(told["design"], str):
                return told
            raise ValueError
        except (MlflowException, SQLAlchemyError, OSError, AttributeError, LookupError, TypeError, ValueError):
            what = f"{EVALUATION_FILE} of the run behind {ref.target} version {ref.version} is gone or damaged"
            raise EnvironmentFailed(what, where=f"MLflow run {ref.run_id}", remedy=_again(ref.target)) from None

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

    def parameters(self, ref: ChampionRef) -> Mapping[str, str]:
        """Return the parameters of the run behind a version, as MLflow keeps them."""
        with store_errors("model registry"):
            return dict(self._client.get_run(ref.run_id).data.params)

    def _aliases(self, target: str) -> dict[str, str] | None:
        if target not in _DESCRIPTIONS:
            raise BadInput(f"unknown model {target!r}", remedy=f"use one of {', '.join(_DESCRIPTIONS)}")
        file = file_of(self._uri)
        if file is not None and not is_whole(file, EXPERIMENT_TABLE):
            return None
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
            return self._ref(target, int(number))

    def _ref(self, target: str, number: int) -> ChampionRef:
        found = self._client.get_model_version(target, str(number))
        return ChampionRef(
            target=target,
            version=int(found.version),
            run_id=str(found.run_id),
            design=found.tags.get("design", ""),
            tags=dict(found.tags),
            source=str(found.source),
        )

    def _place(self, ref: ChampionRef) -> str:
        """Where the files of a version were, for a person to look."""
        with store_errors("model registry"):
            place = ref.source
            if place.startswith("models:/"):
                place = str(self._client.get_logged_model(place.removeprefix("models:/")).artifact_location)
        return url2pathname(urlsplit(place).path) if place.startswith("file:") else place


def _measured(metrics: object) -> bool:
    return isinstance(metrics, dict) and all(isinstance(value, int | float) for value in metrics.values())


def _again(target: str) -> str:
    return f"restore it from its backup, or run `custos train {target}`"
