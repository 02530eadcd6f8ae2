"""Predictions with a status, the same for a batch file and for the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from training.models._base import CHURN, CustomerModel, feature_matrix

__all__ = ["COLD_START", "INACTIVE", "OK", "STATUS_COLUMNS", "ScoredRows", "score_rows"]

OK: Final = "ok"
COLD_START: Final = "cold_start"
INACTIVE: Final = "inactive"
STATUS_COLUMNS: Final = ("btyd_x", "recency_days")
"""Repeat orders (none: cold start) and days since the latest order (too many: inactive)."""


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """One entry a row of the frame that was scored; `value` is NaN exactly where the status is `inactive`."""

    status: np.ndarray
    value: np.ndarray


def score_rows(model: CustomerModel, frame: pd.DataFrame, active_within_days: int | None = None) -> ScoredRows:
    """Predict every row and say what kind of answer it is.

    `inactive` applies to churn alone: its model knows only people who bought within `active_within_days`.
    Someone with one order is `cold_start` and still gets a value.

    Raises:
        BadInput: a feature or status column is missing, not numeric or infinite.
    """
    repeats, recency = feature_matrix(frame, STATUS_COLUMNS, no_nulls=STATUS_COLUMNS).T
    status = np.where(repeats == 0, COLD_START, OK).astype(object)
    active = np.ones(len(frame), dtype=bool)
    if model.target == CHURN and active_within_days is not None:
        active = recency <= active_within_days
        status[~active] = INACTIVE
    value = np.full(len(frame), np.nan)
    if active.any():
        value[active] = model.predict(frame.loc[active] if not active.all() else frame)
    return ScoredRows(status, value)
