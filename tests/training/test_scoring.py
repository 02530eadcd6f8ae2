"""Statuses and values by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from privacy.errors import BadInput
from training.models.baselines import RateClv, ScoreChurn
from training.scoring import score_rows

FRAME = pd.DataFrame(
    {
        "btyd_x": [0.0, 3.0, 3.0, 0.0],
        "recency_days": [10.0, 56.0, 56.1, 80.0],
        "spend_rate": [1.0, 2.0, 0.5, 0.0],
    },
    index=[7, 7, 8, 9],
)


def test_churn_has_no_value_for_the_inactive() -> None:
    model = ScoreChurn("recency", 28, intercept=-1.0, slope=0.5)
    found = score_rows(model, FRAME, active_within_days=56)
    assert found.status.tolist() == ["cold_start", "ok", "inactive", "inactive"]
    assert np.isnan(found.value).tolist() == [False, False, True, True]
    assert found.value[1] == pytest.approx(1 / (1 + np.exp(1 - 0.5 * np.log(57))))


def test_clv_scores_everyone() -> None:
    found = score_rows(RateClv("naive", 10), FRAME, active_within_days=56)
    assert found.status.tolist() == ["cold_start", "ok", "ok", "cold_start"]
    assert found.value.tolist() == [10.0, 20.0, 5.0, 0.0]


def test_nobody_active_needs_no_prediction() -> None:
    found = score_rows(ScoreChurn("recency", 28, 0.0, 1.0), FRAME.iloc[2:], active_within_days=56)
    assert found.status.tolist() == ["inactive", "inactive"]
    assert np.isnan(found.value).all()
    assert len(score_rows(RateClv("naive", 10), FRAME.iloc[:0]).status) == 0


@pytest.mark.parametrize("column", ["btyd_x", "recency_days"])
def test_status_columns_are_needed(column: str) -> None:
    with pytest.raises(BadInput, match=column):
        score_rows(RateClv("naive", 10), FRAME.drop(columns=column))
    with pytest.raises(BadInput, match=f"{column}.*4 empty"):
        score_rows(RateClv("naive", 10), FRAME.assign(**{column: np.nan}))
