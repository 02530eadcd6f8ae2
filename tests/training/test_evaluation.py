"""Metrics against figures worked out by hand, and against what must not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from privacy.errors import BadInput, CheckFailed
from training import evaluation

LABEL = np.array([1.0, 0.0, 1.0, 0.0])
PROBABILITY = np.array([0.8, 0.4, 0.4, 0.2])
SPEND = np.array([0.0, 10.0, 30.0, 60.0])
FORECAST = np.array([10.0, 10.0, 20.0, 40.0])


def test_churn_metrics_by_hand() -> None:
    found = evaluation.evaluate("churn", LABEL, PROBABILITY)
    assert found["auc"] == 0.875  # pairs: 1, 1, 1 and a tie
    assert found["brier"] == pytest.approx((0.04 + 0.16 + 0.36 + 0.04) / 4)
    assert found["log_loss"] == pytest.approx(-(2 * math.log(0.8) + math.log(0.6) + math.log(0.4)) / 4)
    # Bins .2, .4 (two, one of them a churner), .8: |.2-0| + |.8-1| + |.2| over four.
    assert found["ece"] == pytest.approx((0.2 + 0.2 + 0.2) / 4)
    assert found["pr_auc"] == pytest.approx(0.5 * 1.0 + 0.5 * (2 / 3))
    assert found["lift_top_decile"] == pytest.approx(2.0)
    assert found["base_rate"] == 0.5


def test_clv_metrics_by_hand() -> None:
    found = evaluation.evaluate("clv", SPEND, FORECAST)
    assert found["mae"] == pytest.approx((10 + 0 + 10 + 20) / 4)
    assert found["rmse"] == pytest.approx(math.sqrt((100 + 0 + 100 + 400) / 4))
    assert found["total_bias"] == pytest.approx(-0.2)
    # Gains 60, 90, 95, 100 (the tie shares 5 each) against 60, 90, 100, 100; both minus 2.5 totals.
    assert found["gini"] == pytest.approx((345 / 100 - 2.5) / (350 / 100 - 2.5))
    assert found["spearman"] == pytest.approx(0.9486832980505138)
    assert found["mean_actual"] == 25.0


def test_deciles_are_ordered_by_prediction() -> None:
    expected, seen = evaluation.deciles(np.arange(20.0), np.arange(20.0)[::-1], fewest=2)
    assert expected.tolist() == [18.5, 16.5, 14.5, 12.5, 10.5, 8.5, 6.5, 4.5, 2.5, 0.5]
    assert seen.tolist() == [0.5, 2.5, 4.5, 6.5, 8.5, 10.5, 12.5, 14.5, 16.5, 18.5]


@pytest.mark.parametrize(("rows", "groups"), [(1, 1), (19, 1), (20, 2), (99, 9), (100, 10), (5000, 10)])
def test_small_tests_are_shown_in_fewer_groups(rows: int, groups: int) -> None:
    expected, seen = evaluation.deciles(np.arange(float(rows)), np.arange(float(rows)))
    assert len(expected) == len(seen) == groups
    assert expected.tolist() == seen.tolist()


_pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=4, max_size=40)


@given(_pairs, st.randoms(use_true_random=False))
def test_row_order_never_matters(pairs: list[tuple[int, int]], random: object) -> None:
    spend, score = np.array(pairs, dtype=float).T
    if spend.sum() == 0 or len(set(spend)) == 1:
        return
    order = np.array(sorted(range(len(spend)), key=lambda _: random.random()))  # type: ignore[attr-defined]
    assert evaluation.gini(spend, score) == pytest.approx(evaluation.gini(spend[order], score[order]), abs=1e-12)
    assert evaluation.lift(spend, score) == pytest.approx(evaluation.lift(spend[order], score[order]))


@given(_pairs)
def test_auc_agrees_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    first, score = np.array(pairs, dtype=float).T
    label = (first > 2).astype(float)
    if label.min() == label.max():
        with pytest.raises(BadInput, match="only one class"):
            evaluation.auc(label, score)
        return
    assert evaluation.auc(label, score) == pytest.approx(roc_auc_score(label, score))


@pytest.mark.parametrize(
    ("actual", "predicted", "says"),
    [
        (np.zeros(0), np.zeros(0), "0 predictions"),
        (SPEND, np.array([1.0, 2.0, np.nan, 4.0]), "1 of 4 clv predictions"),
        (np.zeros(4), FORECAST, "nobody differs"),
    ],
)
def test_what_cannot_be_judged_is_refused(actual: np.ndarray, predicted: np.ndarray, says: str) -> None:
    with pytest.raises((BadInput, CheckFailed), match=says):
        evaluation.evaluate("clv", actual, predicted)
