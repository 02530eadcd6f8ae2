"""Verdicts by hand on both sides of every bound."""

from __future__ import annotations

import pytest

from privacy.errors import EnvironmentFailed
from training import gates

CHURN = {"recency": {"auc": 0.75}, "bgnbd": {"auc": 0.80}, "ewma_orders": {"auc": 0.84}}
CLV = {
    "naive": {"gini": 0.85, "mae": 223.0},
    "ewma84": {"gini": 0.867, "mae": 208.0},
    "bgnbd": {"gini": 0.851, "mae": 219.0},
}


@pytest.mark.parametrize(
    ("auc", "failing"),
    [
        (0.85, []),
        (0.8385, []),
        (0.837, ["auc not below best"]),
        (0.80, ["auc beats BTYD", "auc not below best"]),
        (0.70, ["auc beats naive", "auc beats BTYD", "auc not below best"]),
        (float("nan"), ["auc beats naive", "auc beats BTYD", "auc not below best"]),
    ],
)
def test_churn_gates(auc: float, failing: list[str]) -> None:
    verdicts = gates.judge("churn", {"auc": auc}, CHURN)
    assert [verdict.gate for verdict in verdicts if not verdict.passed] == failing
    assert gates.passed(verdicts) is (not failing)


@pytest.mark.parametrize(
    ("gini", "mae", "failing"),
    [
        (0.868, 209.0, []),
        (0.867, 212.16, []),
        (0.868, 212.2, ["mae near best"]),
        (0.866, 200.0, ["gini not below best"]),
        (0.85, 208.0, ["gini beats naive", "gini beats BTYD", "gini not below best"]),
        (0.9, float("nan"), ["mae near best"]),
    ],
)
def test_clv_gates(gini: float, mae: float, failing: list[str]) -> None:
    verdicts = gates.judge("clv", {"gini": gini, "mae": mae}, CLV)
    assert [verdict.gate for verdict in verdicts if not verdict.passed] == failing


def test_no_verdict_is_no_pass() -> None:
    assert gates.passed(()) is False


@pytest.mark.parametrize(("metrics", "baselines"), [({}, CLV), ({"gini": 0.9, "mae": 1.0}, {}), ({"gini": 0.9}, CLV)])
def test_a_missing_figure_is_told(metrics: dict[str, float], baselines: dict[str, dict[str, float]]) -> None:
    with pytest.raises(EnvironmentFailed, match=r"lacks a figure.*custos train clv"):
        gates.judge("clv", metrics, baselines)


def test_tuned_must_beat_the_default() -> None:
    assert gates.beats("churn", {"auc": 0.851}, {"auc": 0.85})
    assert not gates.beats("churn", {"auc": 0.85}, {"auc": 0.85})
    default = {"gini": 0.8, "mae": 10.0}
    assert gates.beats("clv", {"gini": 0.8, "mae": 9.0}, default)
    assert not gates.beats("clv", {"gini": 0.81, "mae": 10.1}, default)
    assert not gates.beats("clv", default, default)


def test_best_baseline_balances_ranking_and_level() -> None:
    assert gates.best_baseline("churn", CHURN) == "ewma_orders"
    assert gates.best_baseline("clv", CLV) == "ewma84"
    nothing = {
        "naive": {"gini": 0.0, "mae": 1.0},
        "bgnbd": {"gini": 0.8, "mae": 2.0},
        "ewma84": {"gini": 0.7, "mae": 3.0},
    }
    assert gates.best_baseline("clv", nothing) == "bgnbd"
