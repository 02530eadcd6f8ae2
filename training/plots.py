"""Pictures of a training job, for whoever may read the run.

Predictions and outcomes appear as means of equal groups of test customers: ten groups, or fewer where one would
hold less than ten people. The other pictures show losses of trials and shares of gain, nothing of a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from privacy.demands import GROUP_FLOOR
from training.evaluation import deciles
from training.models._base import CHURN

__all__ = ["Shown", "draw"]

_INK: Final = "#1f4e79"
_PALE: Final = "#9fbad6"
_GREY: Final = "#8a8a8a"
_MOST_BARS: Final = 20


@dataclass(frozen=True, slots=True)
class Shown:
    """Outcomes and predictions of the test rows, in which nobody appears more than `snapshots` times."""

    actual: np.ndarray
    predicted: np.ndarray
    snapshots: int = 1

    def groups(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean prediction and mean outcome of groups of at least ten people, highest prediction first."""
        return deciles(self.actual, self.predicted, GROUP_FLOOR * self.snapshots)


def draw(
    target: str, shown: Shown, importance: Mapping[str, float], history: Sequence[tuple[int, str, float | None]]
) -> dict[str, Figure]:
    """Return the figures of a job by file name."""
    figures = {
        "decile_lift.png": _lift(shown),
        "tuning.png": _history(history),
        "importance.png": _importance(importance),
    }
    first = _calibration if target == CHURN else _levels
    name = "calibration.png" if target == CHURN else "predicted_vs_actual.png"
    return {name: first(shown), **figures}


def _calibration(shown: Shown) -> Figure:
    expected, seen = shown.groups()
    figure, axes = _blank(f"Calibration by {_part(len(seen))} of the test customers")
    most = float(max(expected.max(), seen.max())) * 1.05 or 1.0
    axes.plot([0, most], [0, most], color=_GREY, linestyle="--", linewidth=1, label="perfect")
    axes.plot(expected, seen, color=_INK, marker="o", label="model")
    axes.set_xlabel("predicted probability of churn")
    axes.set_ylabel("share that churned")
    axes.legend(frameon=False)
    return figure


def _levels(shown: Shown) -> Figure:
    expected, seen = shown.groups()
    figure, axes = _blank(f"Spend predicted and actual, by {_part(len(seen))} of the test customers")
    at = np.arange(1, len(expected) + 1)
    axes.bar(at - 0.2, expected, width=0.4, color=_PALE, label="predicted")
    axes.bar(at + 0.2, seen, width=0.4, color=_INK, label="actual")
    axes.set_xlabel("group, highest prediction first")
    axes.set_ylabel("mean spend in the horizon")
    axes.legend(frameon=False)
    return figure


def _lift(shown: Shown) -> Figure:
    _, seen = shown.groups()
    figure, axes = _blank(f"Lift by {_part(len(seen))} of the test customers")
    mean = float(shown.actual.mean()) or 1.0
    axes.bar(np.arange(1, len(seen) + 1), seen / mean, color=_INK)
    axes.axhline(1.0, color=_GREY, linestyle="--", linewidth=1)
    axes.set_xlabel("group, highest prediction first")
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
    top = sorted(importance.items(), key=lambda item: item[1])[-_MOST_BARS:]
    axes.barh([name for name, _ in top], [share for _, share in top], color=_INK)
    axes.tick_params(axis="y", labelsize=8)
    return figure


def _part(groups: int) -> str:
    return "tenth" if groups == 10 else f"1/{groups}"


def _blank(title: str) -> tuple[Figure, Axes]:
    # A Figure of its own, without pyplot: no global state, no display, safe in threads.
    figure = Figure(figsize=(7.0, 4.2), dpi=90, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
