"""Pictures of a training job, drawn from aggregates of at least a tenth of the customers: no point is a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.evaluation import deciles
from training.models._base import CHURN

__all__ = ["draw"]

_INK: Final = "#1f4e79"
_PALE: Final = "#9fbad6"
_GREY: Final = "#8a8a8a"
_SHOWN: Final = 20


def draw(
    target: str,
    actual: np.ndarray,
    predicted: np.ndarray,
    importance: Mapping[str, float],
    history: Sequence[tuple[int, str, float | None]],
) -> dict[str, Figure]:
    """Return the figures of a job by file name."""
    figures = {
        "decile_lift.png": _lift(actual, predicted),
        "tuning.png": _history(history),
        "importance.png": _importance(importance),
    }
    first = _calibration if target == CHURN else _levels
    name = "calibration.png" if target == CHURN else "predicted_vs_actual.png"
    return {name: first(actual, predicted), **figures}


def _calibration(actual: np.ndarray, predicted: np.ndarray) -> Figure:
    figure, axes = _blank("Calibration by tenth of the test customers")
    expected, seen = deciles(actual, predicted)
    most = float(max(expected.max(), seen.max())) * 1.05 or 1.0
    axes.plot([0, most], [0, most], color=_GREY, linestyle="--", linewidth=1, label="perfect")
    axes.plot(expected, seen, color=_INK, marker="o", label="model")
    axes.set_xlabel("predicted probability of churn")
    axes.set_ylabel("share that churned")
    axes.legend(frameon=False)
    return figure


def _levels(actual: np.ndarray, predicted: np.ndarray) -> Figure:
    figure, axes = _blank("Spend predicted and actual, by tenth of the test customers")
    expected, seen = deciles(actual, predicted)
    at = np.arange(1, len(expected) + 1)
    axes.bar(at - 0.2, expected, width=0.4, color=_PALE, label="predicted")
    axes.bar(at + 0.2, seen, width=0.4, color=_INK, label="actual")
    axes.set_xlabel("tenth, highest prediction first")
    axes.set_ylabel("mean spend in the horizon")
    axes.legend(frameon=False)
    return figure


def _lift(actual: np.ndarray, predicted: np.ndarray) -> Figure:
    figure, axes = _blank("Lift by tenth of the test customers")
    _, seen = deciles(actual, predicted)
    mean = float(actual.mean()) or 1.0
    axes.bar(np.arange(1, len(seen) + 1), seen / mean, color=_INK)
    axes.axhline(1.0, color=_GREY, linestyle="--", linewidth=1)
    axes.set_xlabel("tenth, highest prediction first")
    axes.set_ylabel("outcome relative to the average")
    return figure


def _history(history: Sequence[tuple[int, str, float | None]]) -> Figure:
    figure, axes = _blank("Held-out loss by trial (trial 0 is the default)")
    complete = [(number, value) for number, state, value in history if state == "complete" and value is not None]
    if complete:
        numbers, values = (np.array(part) for part in zip(*complete, strict=True))
        axes.scatter(numbers, values, color=_PALE, label="trial")
        axes.plot(numbers, np.minimum.accumulate(values), color=_INK, label="best so far")
        axes.legend(frameon=False)
    axes.set_xlabel(f"trial ({len(history) - len(complete)} of {len(history)} were pruned)")
    axes.set_ylabel("mean loss over the folds")
    return figure


def _importance(importance: Mapping[str, float]) -> Figure:
    figure, axes = _blank("Importance: share of the total gain")
    top = sorted(importance.items(), key=lambda item: item[1])[-_SHOWN:]
    axes.barh([name for name, _ in top], [share for _, share in top], color=_INK)
    axes.tick_params(axis="y", labelsize=8)
    return figure


def _blank(title: str) -> tuple[Figure, Axes]:
    # A Figure of its own, without pyplot: no global state, no display, safe in threads.
    figure = Figure(figsize=(7.0, 4.2), dpi=90, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
