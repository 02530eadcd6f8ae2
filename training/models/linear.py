"""Logistic regression over all features: the permanent challenger of boosted churn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from training.models._base import CHURN, write_spec
from training.models.churn import boosted_matrix, boosted_names
from training.models.purchase import PURCHASE_COLUMNS, PurchaseModel

__all__ = ["LinearChurn"]

_FITTED: Final = ("median", "centre", "spread", "weight", "intercept")
_CLIP: Final = 5.0
"""Standardised values beyond this are pulled in: one fuel purchase must not decide a prediction."""


class LinearChurn:
    """sigmoid(w . standardise(signed log(features)) + b); an empty feature counts as its training median."""

    target: Final = CHURN
    name: Final = "logistic"

    def __init__(
        self, inputs: tuple[str, ...], purchase: PurchaseModel, horizon_days: int, fitted: Mapping[str, list[float]]
    ) -> None:
        self._inputs, self._purchase, self._horizon, self._fitted = inputs, purchase, horizon_days, dict(fitted)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The columns `predict` needs."""
        return (*self._inputs, *PURCHASE_COLUMNS)

    @property
    def horizon_days(self) -> int:
        """Days the prediction looks ahead."""
        return self._horizon

    @classmethod
    def fit(
        cls, matrix: np.ndarray, label: np.ndarray, inputs: tuple[str, ...], purchase: PurchaseModel, horizon: int
    ) -> LinearChurn:
        """Fit with ridge strength 1/0.1 on a matrix made by `boosted_matrix`."""
        logs = _signed_log(matrix)
        known = ~np.isnan(logs).all(axis=0)
        median = np.zeros(logs.shape[1])
        median[known] = np.nanmedian(logs[:, known], axis=0)
        filled = np.where(np.isnan(logs), median, logs)
        centre, spread = filled.mean(axis=0), filled.std(axis=0)
        spread[spread < 1e-12] = 1.0
        scaled = np.clip((filled - centre) / spread, -_CLIP, _CLIP)
        model = LogisticRegression(C=0.1, max_iter=500).fit(scaled, label)
        fitted = {
            "median": median.tolist(),
            "centre": centre.tolist(),
            "spread": spread.tolist(),
            "weight": model.coef_[0].tolist(),
            "intercept": [float(model.intercept_[0])],
        }
        return cls(inputs, purchase, horizon, fitted)

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the probability of churn of each row; columns are found by name."""
        matrix, _ = boosted_matrix(frame, self._inputs, self._purchase, self._horizon)
        logs = _signed_log(matrix)
        part = {name: np.asarray(values) for name, values in self._fitted.items()}
        filled = np.where(np.isnan(logs), part["median"], logs)
        scaled = np.clip((filled - part["centre"]) / part["spread"], -_CLIP, _CLIP)
        # einsum adds in the same order for one row as for many; BLAS does not.
        logit = np.einsum("ij,j->i", scaled, part["weight"]) + part["intercept"][0]
        return 1.0 / (1.0 + np.exp(-logit))

    def importance(self) -> dict[str, float]:
        """Return each feature's share of the absolute weights (of standardised values)."""
        size = np.abs(self._fitted["weight"])
        share = size / (float(size.sum()) or 1.0)
        return dict(zip(boosted_names(self._inputs), share.tolist(), strict=True))

    def save(self, directory: Path) -> None:
        """Write `model.json`."""
        write_spec(
            directory,
            f"{self.target}/{self.name}",
            {
                "inputs": list(self._inputs),
                "horizon_days": self._horizon,
                "purchase": self._purchase.to_dict(),
                "fitted": self._fitted,
            },
        )

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], _directory: Path) -> LinearChurn:
        """Rebuild from `save`."""
        purchase, inputs = PurchaseModel.from_dict(spec["purchase"]), tuple(spec["inputs"])
        columns = len(boosted_names(inputs))
        fitted = {name: [float(value) for value in spec["fitted"][name]] for name in _FITTED}
        if any(len(values) != (1 if name == "intercept" else columns) for name, values in fitted.items()):
            raise ValueError("its numbers are of other columns")
        return cls(inputs, purchase, int(spec["horizon_days"]), fitted)


def _signed_log(matrix: np.ndarray) -> np.ndarray:
    return np.sign(matrix) * np.log1p(np.abs(matrix))
