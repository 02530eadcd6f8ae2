"""Intervals and the control's adjustment against figures computed by hand, and published ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.confidence import Rate, residual
from privacy.errors import BadInput

# z = 1.959964: z^2 = 3.841459. 8 of 10: centre (8 + 1.920729) / 13.841459 = .716740, margin
# 1.959964 / 13.841459 * sqrt(8 * 2 / 10 + .960365) = .226578. At 90 %, z = 1.644854.
WILSON = [
    (8, 10, 0.95, 0.490162, 0.943318),
    (0, 10, 0.95, 0.0, 0.277533),
    (10, 10, 0.95, 0.722467, 1.0),
    (1, 2, 0.95, 0.094531, 0.905469),
    (50, 100, 0.95, 0.403832, 0.596168),
    (50, 100, 0.90, 0.418845, 0.581155),
    (81, 263, 0.95, 0.2553, 0.3662),  # Newcombe (1998), table I
    (15, 148, 0.95, 0.0624, 0.1605),
]


@pytest.mark.parametrize(("successes", "attempts", "level", "low", "high"), WILSON)
def test_wilson_as_by_hand(successes: int, attempts: int, level: float, low: float, high: float) -> None:
    found = Rate(successes, attempts, level).estimate()
    assert found.value == successes / attempts
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)


def test_the_residual_as_by_hand() -> None:
    # 60 and 20 of 100 at 95 %: centres (60 + 1.920729) / 103.841459 = .596300, .211099; margins
    # z / (n + z^2) * sqrt(s f / n + z^2 / 4).
    attack, control = Rate(60, 100), Rate(20, 100)
    a, c = 61.920729 / 103.841459, 21.920729 / 103.841459
    da = 1.959964 / 103.841459 * math.sqrt(24 + 0.960365)
    dc = 1.959964 / 103.841459 * math.sqrt(16 + 0.960365)
    value = (a - c) / (1 - c)
    margin = math.sqrt((da / (1 - c)) ** 2 + (dc * (1 - a) / (1 - c) ** 2) ** 2)
    found = residual(attack, control)
    assert (found.value, found.low, found.high) == pytest.approx((value, value - margin, value + margin), abs=1e-6)


def test_a_control_attacked_better_leaves_no_risk() -> None:
    found = residual(Rate(5, 100), Rate(90, 100))
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
    assert residual(Rate(100, 100), Rate(0, 100)).high == 1.0


@given(st.integers(1, 10_000), st.data(), st.floats(0.5, 0.999))
def test_every_interval_holds_its_value(attempts: int, data: st.DataObject, level: float) -> None:
    found = Rate(data.draw(st.integers(0, attempts)), attempts, level).estimate()
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.binomial(50, 0.1, 4000).tolist()
    covered = [found.low <= 0.1 <= found.high for found in (Rate(n, 50).estimate() for n in drawn)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize(("successes", "attempts", "level"), [(2, 1, 0.95), (0, 0, 0.95), (-1, 2, 0.95), (1, 2, 1.0)])
def test_what_is_no_rate_is_refused(successes: int, attempts: int, level: float) -> None:
    with pytest.raises(BadInput):
        Rate(successes, attempts, level)
