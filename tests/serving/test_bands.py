"""Bands: edges by hand, order by property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.bands import CHURN_BANDS, CLV_BANDS, Bands


@pytest.mark.parametrize(
    ("probability", "band"),
    [(0.0, "low"), (0.2499, "low"), (0.25, "medium"), (0.5, "high"), (0.7499, "high"), (0.75, "very_high"),
     (1, "very_high")],
)  # fmt: skip
def test_churn_edges(probability: float, band: str) -> None:
    assert CHURN_BANDS.of(probability) == band


@pytest.mark.parametrize(
    ("value", "band"),
    [(-1, "0-50"), (0, "0-50"), (49.99, "0-50"), (50, "50-100"), (249, "100-250"),
     (250, "250-500"), (999, "500-1000"), (1000, "1000+")],
)  # fmt: skip
def test_value_edges(value: float, band: str) -> None:
    assert CLV_BANDS.of(value) == band


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_a_higher_value_never_has_a_lower_band(one: float, other: float) -> None:
    low, high = sorted((one, other))
    for bands in (CHURN_BANDS, CLV_BANDS):
        assert bands.labels.index(bands.of(low)) <= bands.labels.index(bands.of(high))


@pytest.mark.parametrize(
    ("edges", "labels"), [((1.0,), ("a",)), ((2.0, 1.0), ("a", "b", "c")), ((1.0, 1.0), ("a", "b", "c"))]
)
def test_bands_that_do_not_fit_together_are_refused(edges: tuple[float, ...], labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="rising thresholds"):
        Bands(edges, labels)
