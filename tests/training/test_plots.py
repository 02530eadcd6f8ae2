"""Pictures are drawn from groups, and no group is a handful of people."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes

from training.plots import Shown, draw


def axes_of(target: str, name: str, shown: Shown) -> Axes:
    (axes,) = draw(target, shown, {"recency_days": 1.0}, [(0, "complete", 0.4)])[name].axes
    return axes


def ramp(rows: int, snapshots: int = 1) -> Shown:
    return Shown(np.arange(rows) % 2.0, np.linspace(0.9, 0.1, rows), snapshots)


@pytest.mark.parametrize(
    ("rows", "snapshots", "points"), [(300, 1, 10), (100, 1, 10), (99, 1, 9), (35, 1, 3), (300, 2, 10), (100, 2, 5)]
)
def test_a_point_is_at_least_ten_people(rows: int, snapshots: int, points: int) -> None:
    axes = axes_of("churn", "calibration.png", ramp(rows, snapshots))
    perfect, model = axes.lines
    assert len(model.get_xdata()) == points
    assert ("by tenth" in axes.get_title(loc="left")) == (points == 10)
    assert perfect.get_label() == "perfect"
    assert len(axes_of("churn", "decile_lift.png", ramp(rows, snapshots)).patches) == points
    assert len(axes_of("clv", "predicted_vs_actual.png", ramp(rows, snapshots)).patches) == 2 * points


def test_each_target_has_its_own_first_picture() -> None:
    rest = {"decile_lift.png", "importance.png", "tuning.png"}
    assert set(draw("churn", ramp(50), {}, [])) == {"calibration.png", *rest}
    assert set(draw("clv", ramp(50), {}, [])) == {"predicted_vs_actual.png", *rest}
