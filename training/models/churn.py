"""Churn by regularised LightGBM over the feature service's columns and the two of the purchase model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from training.models._base import CHURN, feature_matrix, write_spec
from training.models.boosting import Trees
from training.models.purchase import EXPECTED_ORDERS, EXPECTED_VALUE, PURCHASE_COLUMNS, PurchaseModel

__all__ = ["ChurnTrees", "boosted_matrix", "boosted_names"]


class ChurnTrees:
    """Probability of no purchase within the horizon."""

    target: Final = CHURN
    name: Final = "lightgbm"

    def __init__(self, trees: Trees, inputs: tuple[str, ...], purchase: PurchaseModel, horizon_days: int) -> None:
        self.trees, self._inputs, self._purchase, self._horizon = trees, inputs, purchase, horizon_days

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The columns `predict` needs."""
        return (*self._inputs, *PURCHASE_COLUMNS)

    @property
    def horizon_days(self) -> int:
        """Days the prediction looks ahead."""
        return self._horizon

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the probability of churn of each row; columns are found by name."""
        matrix, _ = boosted_matrix(frame, self._inputs, self._purchase, self._horizon)
        return 1.0 / (1.0 + np.exp(-self.trees.raw(matrix)))

    def importance(self) -> dict[str, float]:
        """Return each feature's share of the total gain."""
        return self.trees.importance()

    def save(self, directory: Path) -> None:
        """Write `model.json` and `booster.txt`."""
        digest = self.trees.save(directory)
        write_spec(
            directory,
            f"{self.target}/{self.name}",
            {
                "booster": digest,
                "inputs": list(self._inputs),
                "horizon_days": self._horizon,
                "purchase": self._purchase.to_dict(),
            },
        )

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], directory: Path) -> ChurnTrees:
        """Rebuild from `save`."""
        purchase, inputs = PurchaseModel.from_dict(spec["purchase"]), tuple(spec["inputs"])
        trees = Trees.load(directory, str(spec["booster"]), boosted_names(inputs))
        return cls(trees, inputs, purchase, int(spec["horizon_days"]))


def boosted_matrix(
    frame: pd.DataFrame, inputs: tuple[str, ...], purchase: PurchaseModel, horizon_days: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrix a booster sees (`inputs`, then expected orders and spend) and the expected spend."""
    orders, spend = purchase.expected(frame, horizon_days)
    return np.column_stack([feature_matrix(frame, inputs), orders, spend]), spend


def boosted_names(inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the columns of `boosted_matrix`."""
    return (*inputs, EXPECTED_ORDERS, EXPECTED_VALUE)
