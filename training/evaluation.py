"""How good predictions are: ranking, level and calibration; every figure hand-checked in the tests."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

from privacy.errors import BadInput, CheckFailed
from training.models._base import CHURN

__all__ = [
    "auc",
    "brier",
    "deciles",
    "ece",
    "evaluate",
    "gini",
    "lift",
    "log_loss",
    "mae",
    "rmse",
    "spearman",
    "total_bias",
]

_SAFE: Final = 1e-15


def evaluate(target: str, actual: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return all metrics of a target.

    Raises:
        BadInput: no rows, only one class, or nobody spent anything.
        CheckFailed: a prediction is not a finite number.
    """
    if not len(actual) or len(actual) != len(predicted):
        raise BadInput(f"{len(predicted)} predictions can't be compared with {len(actual)} outcomes")
    broken = int((~np.isfinite(predicted)).sum())
    if broken:
        raise CheckFailed(
            f"{broken} of {len(predicted)} {target} predictions are not finite numbers",
            remedy="nothing was promoted; report this, the data is not at fault",
        )
    if target == CHURN:
        return {
            "auc": auc(actual, predicted),
            "pr_auc": float(average_precision_score(actual, predicted)),
            "brier": brier(actual, predicted),
            "ece": ece(actual, predicted),
            "log_loss": log_loss(actual, predicted),
            "lift_top_decile": lift(actual, predicted),
            "base_rate": float(actual.mean()),
        }
    return {
        "gini": gini(actual, predicted),
        "mae": mae(actual, predicted),
        "rmse": rmse(actual, predicted),
        "spearman": spearman(actual, predicted),
        "total_bias": total_bias(actual, predicted),
        "lift_top_decile": lift(actual, predicted),
        "mean_actual": float(actual.mean()),
    }


def auc(label: np.ndarray, score: np.ndarray) -> float:
    """Return the area under the ROC curve: P(a churner scores higher), ties counting half.

    >>> auc(np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.5, 0.5]))
    0.875
    """
    positive = label > 0.5
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        raise BadInput(f"only one class: {n} of {n + m} customers churned", remedy="change the horizon")
    return float((rankdata(score)[positive].sum() - n * (n + 1) / 2) / (n * m))


def brier(label: np.ndarray, probability: np.ndarray) -> float:
    """Return the mean squared error of a probability."""
    return float(np.mean((probability - label) ** 2))


def log_loss(label: np.ndarray, probability: np.ndarray) -> float:
    """Return the mean negative log likelihood; probabilities are kept 1e-15 away from 0 and 1."""
    p = np.clip(probability, _SAFE, 1 - _SAFE)
    return float(-np.mean(label * np.log(p) + (1 - label) * np.log(1 - p)))


def ece(label: np.ndarray, probability: np.ndarray, bins: int = 10) -> float:
    """Return the expected calibration error over equally wide bins (Guo et al. 2017).

    >>> round(ece(np.array([0, 1]), np.array([0.1, 0.8])), 3)
    0.15
    """
    at = np.minimum((probability * bins).astype(int), bins - 1)
    gap = np.bincount(at, weights=probability - label, minlength=bins)
    return float(np.abs(gap).sum() / len(label))


def lift(actual: np.ndarray, score: np.ndarray, share: float = 0.1) -> float:
    """Return the mean outcome of the top `share` by score over that of all; ties share their outcome.

    >>> lift(np.array([1, 1, 0, 0]), np.array([4, 3, 2, 1]), share=0.5)
    2.0
    """
    mean = float(actual.mean())
    top = max(1, round(len(actual) * share))
    return float(_by_score(actual, score)[:top].mean() / mean) if mean else float("nan")


def gini(actual: np.ndarray, score: np.ndarray) -> float:
    """Return the normalised Gini: area above the diagonal of the gain curve over that of the perfect order.

    Outcomes are averaged within tied scores, so the order of the rows can't change the answer.

    >>> gini(np.array([3.0, 2.0, 1.0]), np.array([1.0, 1.0, 1.0]))
    0.0
    >>> gini(np.array([3.0, 2.0, 1.0]), np.array([9.0, 5.0, 2.0]))
    1.0
    """
    best = _gain_area(actual, actual)
    if actual.sum() <= 0 or abs(best) < 1e-12:
        raise BadInput("nobody differs in spend, so a ranking can't be judged", remedy="change the horizon")
    return round(_gain_area(actual, score) / best, 12) + 0.0


def mae(actual: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean absolute error."""
    return float(np.mean(np.abs(predicted - actual)))


def rmse(actual: np.ndarray, predicted: np.ndarray) -> float:
    """Return the root mean squared error."""
    return float(np.sqrt(np.mean((predicted - actual) ** 2)))


def spearman(actual: np.ndarray, predicted: np.ndarray) -> float:
    """Return Spearman's rank correlation; 0 where either side is constant."""
    left, right = rankdata(actual), rankdata(predicted)
    spread = float(left.std() * right.std())
    return float(np.mean((left - left.mean()) * (right - right.mean())) / spread) if spread else 0.0


def total_bias(actual: np.ndarray, predicted: np.ndarray) -> float:
    """Return predicted over actual total minus one: +0.05 is five per cent too much."""
    total = float(actual.sum())
    return float(predicted.sum() / total - 1.0) if total else float("nan")


def deciles(actual: np.ndarray, predicted: np.ndarray, fewest: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Return mean prediction and mean outcome of ten equal groups from highest to lowest prediction.

    There are fewer groups, down to one, where ten would hold less than `fewest` rows each.

    >>> deciles(np.arange(20.0), np.arange(20.0))[0].tolist()
    [14.5, 4.5]
    """
    order = np.argsort(-predicted, kind="stable")
    groups = np.array_split(order, max(1, min(10, len(order) // fewest)))
    return (
        np.array([predicted[group].mean() for group in groups]),
        np.array([actual[group].mean() for group in groups]),
    )


def _by_score(actual: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Outcomes from the highest score down, each replaced by the mean of its ties."""
    _, position, count = np.unique(-score, return_inverse=True, return_counts=True)
    mean = np.bincount(position, weights=actual) / count
    return mean[np.sort(position)]


def _gain_area(actual: np.ndarray, score: np.ndarray) -> float:
    gain = np.cumsum(_by_score(actual, score))
    return float(gain.sum() / gain[-1] - (len(actual) + 1) / 2) if gain[-1] else 0.0
