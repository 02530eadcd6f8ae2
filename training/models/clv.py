"""CLV, design A: Tweedie boosting that starts from an anchor, so the level is right before the first tree.

The anchor is the mean of BG/NBD x Gamma-Gamma and of the exponentially weighted daily spend (half-life 84 days)
times the horizon; trees learn only the log ratio to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from training.models._base import CLV, feature_matrix, write_spec
from training.models.boosting import Trees
from training.models.churn import boosted_matrix, boosted_names
from training.models.purchase import PURCHASE_COLUMNS, PurchaseModel

__all__ = ["DAILY_SPEND", "AnchoredClv", "log_anchor"]

DAILY_SPEND: Final = "ewma_daily_spend_84"
_MOST: Final = 20.0
"""Cap on the log ratio to the anchor; only a damaged model would reach it."""


class AnchoredClv:
    """Net spend expected within the horizon."""

    target: Final = CLV
    name: Final = "anchored"

    def __init__(
        self, trees: Trees, inputs: tuple[str, ...], purchase: PurchaseModel, horizon_days: int, floor: float
    ) -> None:
        self.trees, self._inputs, self._purchase = trees, inputs, purchase
        self._horizon, self._floor = horizon_days, floor

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The columns `predict` needs."""
        return (*self._inputs, DAILY_SPEND, *PURCHASE_COLUMNS)

    @property
    def horizon_days(self) -> int:
        """Days the prediction looks ahead."""
        return self._horizon

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the expected net spend of each row, in the shop's currency; columns are found by name."""
        matrix, spend = boosted_matrix(frame, self._inputs, self._purchase, self._horizon)
        anchor = log_anchor(frame, spend, self._horizon, self._floor)
        return np.exp(anchor + np.clip(self.trees.raw(matrix), -_MOST, _MOST))

    def importance(self) -> dict[str, float]:
        """Return each feature's share of the total gain."""
        return self.trees.importance()

    def save(self, directory: Path) -> None:
        """Write `model.json` and `booster.txt`."""
        spec = {
            "booster": self.trees.save(directory),
            "inputs": list(self._inputs),
            "horizon_days": self._horizon,
            "floor": self._floor,
        }
        write_spec(directory, f"{self.target}/{self.name}", {**spec, "purchase": self._purchase.to_dict()})

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], directory: Path) -> AnchoredClv:
        """Rebuild from `save`."""
        purchase, inputs = PurchaseModel.from_dict(spec["purchase"]), tuple(spec["inputs"])
        horizon, floor = int(spec["horizon_days"]), float(spec["floor"])
        trees = Trees.load(directory, str(spec["booster"]), boosted_names(inputs))
        return cls(trees, inputs, purchase, horizon, floor)


def log_anchor(frame: pd.DataFrame, expected_spend: np.ndarray, horizon_days: int, floor: float) -> np.ndarray:
    """Return the log of the mean of both simple forecasts, at least log(`floor`) (returns can outweigh sales)."""
    daily = feature_matrix(frame, [DAILY_SPEND], no_nulls=[DAILY_SPEND])[:, 0]
    return np.log(np.maximum((expected_spend + daily * horizon_days) / 2.0, floor))
