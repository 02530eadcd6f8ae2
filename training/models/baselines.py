"""The simple models that a boosted one has to beat, on the same split, stored and served like any other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from training.models._base import CHURN, CLV, feature_matrix, write_spec
from training.models.clv import DAILY_SPEND
from training.models.purchase import PURCHASE_COLUMNS, PurchaseModel

__all__ = ["CHURN_SCORES", "CLV_RATES", "PurchaseBaseline", "RateClv", "ScoreChurn"]

CLV_RATES: Final[Mapping[str, str]] = {"naive": "spend_rate", "ewma84": DAILY_SPEND}
"""CLV baseline -> the daily spend it extrapolates: over the whole lifetime, or with half-life 84 days."""

CHURN_SCORES: Final[Mapping[str, str]] = {"recency": "recency_days", "ewma_orders": "decayed_orders_28"}
"""Churn baseline -> the one column it ranks by; two numbers turn it into a probability."""


class _Baseline:
    """What all baselines share."""

    def __init__(self, target: str, name: str, horizon_days: int, columns: tuple[str, ...]) -> None:
        self._target, self._name, self._horizon, self._columns = target, name, horizon_days, columns

    @property
    def target(self) -> str:
        """`churn` or `clv`."""
        return self._target

    @property
    def name(self) -> str:
        """The baseline's name in reports."""
        return self._name

    @property
    def horizon_days(self) -> int:
        """Days the prediction looks ahead."""
        return self._horizon

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The columns `predict` needs."""
        return self._columns

    def _save(self, directory: Path, extra: Mapping[str, object]) -> None:
        write_spec(directory, f"{self._target}/{self._name}", {"horizon_days": self._horizon, **extra})


class RateClv(_Baseline):
    """A daily spend rate times the horizon, never below zero."""

    def __init__(self, name: str, horizon_days: int) -> None:
        super().__init__(CLV, name, horizon_days, (CLV_RATES[name],))

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the extrapolated spend of each row; nothing where the rate is unknown."""
        rate = feature_matrix(frame, self._columns)[:, 0]
        return np.maximum(np.nan_to_num(rate), 0.0) * self._horizon

    def save(self, directory: Path) -> None:
        """Write `model.json`."""
        self._save(directory, {})

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], _directory: Path) -> RateClv:
        """Rebuild from `save`."""
        return cls(str(spec["design"]).partition("/")[2], int(spec["horizon_days"]))


class ScoreChurn(_Baseline):
    """One column as a churn score: sigmoid(intercept + slope * log1p(value))."""

    def __init__(self, name: str, horizon_days: int, intercept: float, slope: float) -> None:
        super().__init__(CHURN, name, horizon_days, (CHURN_SCORES[name],))
        self._line = (intercept, slope)

    @classmethod
    def fit(cls, name: str, frame: pd.DataFrame, label: np.ndarray, horizon_days: int) -> ScoreChurn:
        """Fit the two numbers by maximum likelihood on the training rows (Platt 1999)."""
        score = _log_score(frame, CHURN_SCORES[name])
        intercept, slope = _platt(score, label)
        return cls(name, horizon_days, intercept, slope)

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the probability of churn of each row."""
        intercept, slope = self._line
        return _sigmoid(intercept + slope * _log_score(frame, self._columns[0]))

    def save(self, directory: Path) -> None:
        """Write `model.json`."""
        self._save(directory, {"intercept": self._line[0], "slope": self._line[1]})

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], _directory: Path) -> ScoreChurn:
        """Rebuild from `save`."""
        name = str(spec["design"]).partition("/")[2]
        return cls(name, int(spec["horizon_days"]), float(spec["intercept"]), float(spec["slope"]))


class PurchaseBaseline(_Baseline):
    """BG/NBD: exp(-orders expected) as churn, orders expected times Gamma-Gamma value as CLV.

    Not 1 - P(alive): that is 0 for everyone with one order and useless where hardly anybody drops out.
    """

    def __init__(self, target: str, horizon_days: int, purchase: PurchaseModel) -> None:
        super().__init__(target, "bgnbd", horizon_days, PURCHASE_COLUMNS)
        self._purchase = purchase

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the probability of churn or the expected spend of each row."""
        orders, spend = self._purchase.expected(frame, self._horizon)
        return np.exp(-orders) if self._target == CHURN else spend

    def save(self, directory: Path) -> None:
        """Write `model.json`."""
        self._save(directory, {"purchase": self._purchase.to_dict()})

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], _directory: Path) -> PurchaseBaseline:
        """Rebuild from `save`."""
        target = str(spec["design"]).partition("/")[0]
        return cls(target, int(spec["horizon_days"]), PurchaseModel.from_dict(spec["purchase"]))


def _log_score(frame: pd.DataFrame, column: str) -> np.ndarray:
    return np.log1p(np.maximum(np.nan_to_num(feature_matrix(frame, [column])[:, 0]), 0.0))


def _platt(score: np.ndarray, label: np.ndarray) -> tuple[float, float]:
    centre, spread = float(score.mean()), float(score.std()) or 1.0
    scaled = (score - centre) / spread

    def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
        logit = line[0] + line[1] * scaled
        # The small ridge keeps a perfectly separating score finite.
        value = np.mean(np.logaddexp(0.0, logit) - label * logit) + 1e-6 * line @ line
        error = _sigmoid(logit) - label
        return float(value), np.array([error.mean(), (error * scaled).mean()]) + 2e-6 * line

    found = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B").x
    return float(found[0] - found[1] * centre / spread), float(found[1] / spread)


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(logit, -500.0, 500.0)))
