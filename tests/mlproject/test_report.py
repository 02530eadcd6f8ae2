"""What `custos report` tells a person of attacks on membership, by figures written out by hand."""

from __future__ import annotations

from typing import Any

from mlproject.pipelines.report import attack_lines


def figure(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def attacked(version: int) -> dict[str, Any]:
    guessing = {"auc": figure(0.5, 0.5, 0.5), "tpr_at_1_percent_fpr": figure(0.01, 0.01, 0.01)}
    lira = {"auc": figure(0.568, 0.547, 0.59), "tpr_at_1_percent_fpr": figure(0.0147, 0.009, 0.023)}
    return {
        "version": version,
        "design": "lightgbm",
        "lira": lira | {"advantage": figure(0.12, 0.08, 0.157)},
        "guessing": guessing | {"advantage": figure(0.025, 0.025, 0.025)},
    }


def test_each_model_is_told_with_interval_baseline_and_meaning() -> None:
    lines = list(attack_lines({"churn": attacked(2)}, {"churn": {"champion": {"version": 2}}}))
    meaning = (
        "churn: shown one person it was trained on and one it wasn't, the attack picks the right one 57 times in 100"
    )
    assert lines == [
        "Membership in the training set, attacked by shadow models (LiRA), with 95 % intervals",
        "  model                             AUC                   TPR at 1 % FPR        largest advantage",
        "  churn version 2 (lightgbm)        0.568 [0.547, 0.590]  0.015 [0.009, 0.023]  0.120 [0.080, 0.157]",
        "    guessing                        0.500                 0.010                 0.025",
        f"  {meaning}; a coin 50.",
    ]


def test_an_attack_on_an_earlier_champion_says_so() -> None:
    lines = list(attack_lines({"churn": attacked(2)}, {"churn": {"champion": {"version": 3}}}))
    assert lines[-1] == "  churn version 3 is champion since: `custos risk membership churn`"
    assert len(list(attack_lines({"churn": attacked(2)}, {"churn": {"champion": None}}))) == len(lines) - 1
