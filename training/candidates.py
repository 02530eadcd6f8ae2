"""Fit every model of a target on one training set: the baselines, and the boosted one at a given setting."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

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

__all__ = ["Bench", "Boosted", "Tested"]

_FOLDS = 3
_FLOOR_SHARE = 1e-3


@dataclass(frozen=True)
class Boosted:
    """A boosted model with what it was grown by."""

    model: ChurnTrees | AnchoredClv
    chosen: Hyperparameters
    rounds: int


@dataclass(frozen=True)
class Tested:
    """The candidate and the baselines with their out-of-time figures and the verdicts on them."""

    candidate: Boosted
    setting: str
    metrics: dict[str, float]
    models: dict[str, CustomerModel]
    baselines: dict[str, dict[str, float]]
    verdicts: tuple[Verdict, ...]
    tuned: Tuned


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

    def boosted(self, chosen: Hyperparameters, rounds: int, seed: int) -> Boosted:
        """Fit the boosted design of the target on all rows."""
        trees = Trees.fit(self.folds, chosen, rounds, seed)
        inputs = self._data.inputs
        model: ChurnTrees | AnchoredClv
        if self.target == CHURN:
            model = ChurnTrees(trees, inputs, self.purchase, self._horizon)
        else:
            model = AnchoredClv(trees, inputs, self.purchase, self._horizon, self._floor)
        return Boosted(model, chosen, rounds)

    def baselines(self) -> dict[str, CustomerModel]:
        """Fit every baseline of the target, and for churn the logistic challenger, by name."""
        frame, label, horizon = self._data.frame, self._data.label, self._horizon
        models: list[CustomerModel] = [PurchaseBaseline(self.target, horizon, self.purchase)]
        if self.target == CLV:
            models += [RateClv(name, horizon) for name in CLV_RATES]
        else:
            models += [ScoreChurn.fit(name, frame, label, horizon) for name in CHURN_SCORES]
            models.append(LinearChurn.fit(self.folds.matrix, label, self._data.inputs, self.purchase, horizon))
        return {model.name: model for model in models}
