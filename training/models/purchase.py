"""The fitted purchase model of a shop: BG/NBD and Gamma-Gamma over the columns the feature store computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from training.models._base import feature_matrix
from training.models.btyd import BgNbd, GammaGamma, PurchaseHistory

__all__ = ["EXPECTED_ORDERS", "EXPECTED_VALUE", "PURCHASE_COLUMNS", "PurchaseModel"]

PURCHASE_COLUMNS: Final = ("btyd_x", "btyd_t_x_days", "btyd_T_days", "btyd_mean_value")
"""Repeat orders, days from the first to the latest order, days since the first order, mean repeat order value."""

EXPECTED_ORDERS: Final = "btyd_expected_orders"
EXPECTED_VALUE: Final = "btyd_expected_value"
"""The two features a model adds itself: orders and spend expected within its horizon."""


@dataclass(frozen=True, slots=True)
class PurchaseModel:
    """BG/NBD (time in days) and Gamma-Gamma fitted on everyone who had bought at `fitted_at` (ISO day)."""

    orders: BgNbd
    value: GammaGamma
    fitted_at: str

    @classmethod
    def fit(cls, frame: pd.DataFrame, fitted_at: str) -> PurchaseModel:
        """Fit both on the statistics of one cut-off: only what was known then enters.

        Raises:
            BadInput: too few customers or no repeat orders, or a column is missing or empty.
        """
        history = _history(frame)
        return cls(BgNbd.fit(history), GammaGamma.fit(history), fitted_at)

    def expected(self, frame: pd.DataFrame, horizon_days: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the orders and the spend expected of each row within the horizon."""
        history = _history(frame)
        orders = self.orders.expected_orders(history, float(horizon_days))
        return orders, orders * self.value.expected_value(history)

    def to_dict(self) -> dict[str, object]:
        """Return the parameters and the day they were fitted at."""
        return {
            "bg_nbd": self.orders.to_dict(),
            "gamma_gamma": self.value.to_dict(),
            "fitted_at": self.fitted_at,
        }

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any]) -> PurchaseModel:
        """Rebuild from `to_dict`."""
        orders = BgNbd(**{name: float(value) for name, value in spec["bg_nbd"].items()})
        value = GammaGamma(**{name: float(value) for name, value in spec["gamma_gamma"].items()})
        return cls(orders, value, str(spec["fitted_at"]))


def _history(frame: pd.DataFrame) -> PurchaseHistory:
    # The mean value may be empty where there was no second order; the other three never are.
    matrix = feature_matrix(frame, PURCHASE_COLUMNS, no_nulls=PURCHASE_COLUMNS[:3])
    repeats, last, age, value = matrix.T
    return PurchaseHistory(repeats, last, age, value)
