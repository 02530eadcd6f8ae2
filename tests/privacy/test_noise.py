"""Noise held to its distribution: against the exact probabilities, not against how it looks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from privacy.errors import BadInput
from privacy.noise import Bounds, DiscreteLaplace, histogram, noised_counts, noised_sum

FALSE_ALARM = 1e-7
"""The draws can't be seeded: how seldom a test may fail though all is well."""


def probability(k: int, scale: float) -> float:
    p = math.exp(-1.0 / scale)
    return (1.0 - p) / (1.0 + p) * p ** abs(k)


@pytest.mark.parametrize(("epsilon", "sensitivity"), [(0.5, 1), (2.0, 1), (1.0, 3)])
def test_the_noise_is_discrete_laplace(epsilon: float, sensitivity: int) -> None:
    noise, draws = DiscreteLaplace(epsilon, sensitivity), 20_000
    drawn = np.array(noise.added_to([7] * draws)) - 7
    reach = 1
    while draws * probability(reach + 1, noise.scale) >= 20:
        reach += 1
    inner = [int((drawn == k).sum()) for k in range(-reach, reach + 1)]
    seen = [int((drawn < -reach).sum()), *inner, int((drawn > reach).sum())]
    likely = [probability(k, noise.scale) for k in range(-reach, reach + 1)]
    tail = (1.0 - sum(likely)) / 2.0
    expected = draws * np.array([tail, *likely, tail])
    assert stats.chisquare(seen, expected).pvalue > FALSE_ALARM
    # A test that can fail: the same draws are not of a neighbouring epsilon.
    other = DiscreteLaplace(epsilon * 1.25, sensitivity).scale
    wrong = [probability(k, other) for k in range(-reach, reach + 1)]
    rest = (1.0 - sum(wrong)) / 2.0
    assert stats.chisquare(seen, draws * np.array([rest, *wrong, rest])).pvalue < FALSE_ALARM


def test_one_customer_changes_no_answers_odds_by_more_than_epsilon() -> None:
    # The promise itself, from the exact probabilities: neighbouring counts differ by one.
    scale = DiscreteLaplace(0.3).scale
    ratios = [probability(k, scale) / probability(k - 1, scale) for k in range(-50, 50)]
    assert max(abs(math.log(ratio)) for ratio in ratios) <= 0.3 + 1e-12


@settings(max_examples=60, deadline=None)
@given(st.floats(0.001, 50), st.sampled_from([1, 2, 1000]), st.sampled_from([0.05, 0.01, 0.5]))
def test_the_accuracy_is_the_least_that_holds(epsilon: float, sensitivity: int, alpha: float) -> None:
    noise = DiscreteLaplace(epsilon, sensitivity)
    p = math.exp(-1.0 / noise.scale)

    def beyond(a: int) -> float:
        return 2.0 * p ** (a + 1) / (1.0 + p)

    found = noise.accuracy(alpha)
    assert beyond(found) <= alpha * (1 + 1e-9)
    assert found == 0 or beyond(found - 1) > alpha * (1 - 1e-9)


def test_the_accuracy_is_opendps() -> None:
    import opendp.prelude as dp

    for epsilon in (0.01, 0.1, 1.0, 3.0):
        # Theirs is what the noise reaches with probability alpha or less, ours what it doesn't exceed.
        theirs = dp.discrete_laplacian_scale_to_accuracy(scale=1.0 / epsilon, alpha=0.05)
        assert DiscreteLaplace(epsilon).accuracy() == math.ceil(theirs) - 1


def test_noised_counts_are_whole_never_negative_and_near() -> None:
    counts = [0] * 200 + [1000] * 200
    noised = noised_counts(counts, 1.0)
    assert all(isinstance(value, int) and value >= 0 for value in noised)
    assert 0 in noised[:200]
    assert max(abs(value - 1000) for value in noised[200:]) < 40  # P(|k| > 39) = 2e-18 a count
    assert noised_counts([], 1.0) == []


def test_no_more_is_spent_than_was_said() -> None:
    for epsilon in (0.1, 0.3, 1 / 3, 0.7, 2.9):
        for sensitivity in (1, 3, 50_000):
            noise = DiscreteLaplace(epsilon, sensitivity)
            assert noise._measurement().map(sensitivity) <= epsilon


def test_a_histogram_counts_everybody_once() -> None:
    values = np.array([-1.0, 0.25, 0.2499, 0.5, 0.75, 99.0, np.nan, np.nan])
    assert histogram(values, [0.25, 0.5, 0.75]) == [2, 1, 1, 2, 2]
    assert histogram(np.zeros(0), [1.0]) == [0, 0, 0]


def test_sums_are_of_clipped_values_around_the_middle() -> None:
    bounds = Bounds(0.0, 10.0, unit=1.0)
    values = np.array([-100.0, 100.0, 7.0, np.nan])  # -5 + 5 + 2
    assert noised_sum(values, bounds, 100.0) == pytest.approx(2, abs=2)  # P(|k| > 2) = e^-60
    assert bounds.half_span == 5
    assert Bounds(-10.0, 30.0, unit=0.5).half_span == 40


@given(st.lists(st.floats(-1e9, 1e9), max_size=20), st.floats(-1e9, 1e9))
def test_one_customer_moves_the_sum_by_no_more_than_the_sensitivity(values: list[float], more: float) -> None:
    bounds = Bounds(-3.0, 1000.0, unit=0.01)

    def exact(values: list[float]) -> int:
        clipped = np.clip(np.array(values), bounds.low, bounds.high)
        return int(np.rint((clipped - bounds.middle) / bounds.unit).astype(np.int64).sum())

    assert abs(exact([*values, more]) - exact(values)) <= bounds.half_span


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan, math.inf, 1e-9, 1e9])
def test_an_epsilon_that_is_none_is_refused(epsilon: float) -> None:
    with pytest.raises(BadInput, match="epsilon must be a positive number"):
        noised_counts([1], epsilon)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DiscreteLaplace(1.0, 0),
        lambda: noised_counts([-1], 1.0),
        lambda: histogram(np.zeros(1), []),
        lambda: histogram(np.zeros(1), [1.0, 1.0]),
        lambda: histogram(np.zeros(1), [1.0, math.inf]),
        lambda: Bounds(1.0, 1.0),
        lambda: Bounds(0.0, math.inf),
        lambda: Bounds(0.0, math.nan),
        lambda: Bounds(0.0, 1.0, unit=0.0),
        lambda: Bounds(0.0, 1e12, unit=0.01),
    ],
)
def test_what_means_nothing_is_refused(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadInput):
        make()


@pytest.mark.parametrize("bounds", [(-1e308, 1e308), (0.0, 1e308), (0.0, 1e12)])
def test_bounds_too_far_apart_are_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(BadInput, match="too far apart"):
        Bounds(*bounds)
