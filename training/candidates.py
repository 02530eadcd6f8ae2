"""Fit every model of a target on one training set: the baselines, and the boosted one at a given setting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pandas as pd

from privacy.errors import BadInput
from training.dataset import TrainingSet
from training.gates import Verdict
from training.models._base import CHURN, CLV, CustomerModel
from training.models.baselines import CHURN_SCORES, CLV_RATES, PurchaseBaseline, RateClv, ScoreChurn
from training.models.boosting import Folds, Hyperparameters, Trees
from training.models.churn import ChurnTrees, boosted_matrix, boosted_names
from training.models.clv import AnchoredClv, log_anchor
from training.models.linear import LinearChurn
from training.models.purchase import PurchaseModel
from training.tuning import Tuned

__all__ = ["Bench", "Candidate", "Tested"]

_FOLDS = 3
_FLOOR_SHARE = 1e-3


@dataclass(frozen=True)
class Candidate:
    """A model that may become champion, with the setting it was grown by (None: nothing to choose)."""

    model: ChurnTrees | AnchoredClv | LinearChurn
    setting: str
    chosen: Hyperparameters | None = None
    rounds: int = 0


@dataclass(frozen=True)
class Tested:
    """The candidate and the baselines with their out-of-time figures and the verdicts on them.

    `setting` tells how the boosted design's setting was chosen.
    """

    candidate: Candidate
    metrics: dict[str, float]
    models: dict[str, CustomerModel]
    baselines: dict[str, dict[str, float]]
    verdicts: tuple[Verdict, ...]
    tuned: Tuned
    setting: str


class Bench:
    """One training set prepared once: purchase model, boosting matrix, anchor, folds.

    `purchases` are everyone's statistics at `fitted_at`, the set's latest cut-off: nothing later enters.
    """

    def __init__(
        self, target: str, data: TrainingSet, purchases: pd.DataFrame, fitted_at: datetime, horizon_days: int
    ) -> None:
        self.target, self._data, self._horizon = target, data, horizon_days
        self.purchase = PurchaseModel.fit(purchases, f"{fitted_at:%Y-%m-%d}")
        matrix, spend = boosted_matrix(data.frame, data.inputs, self.purchase, horizon_days)
        label = data.label
        init: np.ndarray | None = None
        self._floor = 0.0
        if target == CLV:
            label = np.maximum(label, 0.0)
            self._floor = float(label.mean()) * _FLOOR_SHARE
            init = log_anchor(data.frame, spend, horizon_days, self._floor)
        names = boosted_names(data.inputs)
        self.folds = Folds(target, matrix, label, init, data.folds(_FOLDS), names)

    def boosted(self, chosen: Hyperparameters, rounds: int, seed: int, setting: str = "default") -> Candidate:
        """Fit the boosted design of the target on all rows."""
        trees = Trees.fit(self.folds, chosen, rounds, seed)
        inputs = self._data.inputs
        model: ChurnTrees | AnchoredClv
        if self.target == CHURN:
            model = ChurnTrees(trees, inputs, self.purchase, self._horizon)
        else:
            model = AnchoredClv(trees, inputs, self.purchase, self._horizon, self._floor)
        return Candidate(model, setting, chosen, rounds)

    def challenger(self) -> Candidate | None:
        """Fit the other design that may win: logistic regression for churn, none for CLV."""
        if self.target == CLV:
            return None
        data = self._data
        model = LinearChurn.fit(self.folds.matrix, data.label, data.inputs, self.purchase, self._horizon)
        return Candidate(model, "challenger")

    def again(self, candidate: Candidate, seed: int) -> CustomerModel:
        """Fit a candidate of another set anew on this one, with the same setting."""
        if candidate.chosen is None:
            found = self.challenger()
            return candidate.model if found is None else found.model
        return self.boosted(candidate.chosen, candidate.rounds, seed).model

    def fitting(
        self, name: str, chosen: Hyperparameters | None, rounds: int
    ) -> Callable[[np.ndarray, int], np.ndarray]:
        """Return what trains a design on some rows of this set with a seed, and predicts all of them.

        Raises:
            BadInput: it is a baseline's name.
        """
        folds, data = self.folds, self._data
        if name == LinearChurn.name:
            fixed = data.inputs, self.purchase, self._horizon
            return lambda rows, _: LinearChurn.fit(folds.matrix[rows], folds.label[rows], *fixed).predict(data.frame)
        if chosen is None or name not in (ChurnTrees.name, AnchoredClv.name):
            remedy = f"`custos train {self.target}` on more history may make another champion"
            raise BadInput(f"{name} keeps a few numbers only, and is no model to attack", remedy=remedy)

        def fit(rows: np.ndarray, seed: int) -> np.ndarray:
            init = None if folds.init is None else folds.init[rows]
            part = replace(folds, matrix=folds.matrix[rows], label=folds.label[rows], init=init, fold=folds.fold[rows])
            raw = Trees.fit(part, chosen, rounds, seed).raw(folds.matrix)
            return 1.0 / (1.0 + np.exp(-raw)) if folds.init is None else np.exp(folds.init + raw)

        return fit

    def named(self, name: str) -> CustomerModel:
        """Fit the baseline or challenger of this name."""
        rival = self.challenger()
        return rival.model if rival is not None and rival.model.name == name else self.baselines()[name]

    def baselines(self) -> dict[str, CustomerModel]:
        """Fit every baseline of the target, by name."""
        frame, label, horizon = self._data.frame, self._data.label, self._horizon
        models: list[CustomerModel] = [PurchaseBaseline(self.target, horizon, self.purchase)]
        if self.target == CLV:
            models += [RateClv(name, horizon) for name in CLV_RATES]
        else:
            models += [ScoreChurn.fit(name, frame, label, horizon) for name in CHURN_SCORES]
        return {model.name: model for model in models}
