"""The likelihood-ratio attack on models whose memory is known: total, none, and graded."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from privacy.errors import BadInput
from privacy.membership import lira
from tests.bench.risk import DESIGNS, fitting, generated

ROWS = 400
LABEL = np.random.default_rng(0).integers(0, 2, ROWS).astype(np.float64)
VALUE = np.random.default_rng(1).gamma(1.0, 100.0, ROWS)


def by_heart(rows: np.ndarray, seed: int) -> np.ndarray:
    """A classifier that knows its own rows and tosses a coin elsewhere."""
    told = np.random.default_rng(seed).uniform(0.3, 0.7, ROWS)
    told[rows] = np.where(LABEL[rows] > 0, 0.95, 0.05)
    return told


def knows_nothing(rows: np.ndarray, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.3, 0.7, ROWS)


def near_its_own(rows: np.ndarray, seed: int) -> np.ndarray:
    """A regressor that errs less on its own rows."""
    told = VALUE * np.random.default_rng(seed).uniform(0.5, 1.5, ROWS)
    told[rows] = VALUE[rows] * np.random.default_rng(seed).uniform(0.95, 1.05, len(rows))
    return told


def test_a_model_that_learns_by_heart_is_found_out() -> None:
    found = lira(LABEL, by_heart, "classification")
    for telling in (found.lira, found.threshold):
        assert telling.auc.low > 0.98
        assert telling.caught.low > 0.9
        assert telling.advantage.low > 0.9
    assert (found.people, found.shadows) == (ROWS, 8)


def test_a_model_that_knows_nothing_tells_nothing() -> None:
    found = lira(LABEL, knows_nothing, "classification")
    for telling in (found.lira, found.threshold):
        assert telling.auc.low <= 0.5 <= telling.auc.high
        assert telling.caught.high < 0.1
        assert telling.advantage.low < found.guessing.advantage.value
    assert found.guessing.auc.value == 0.5
    assert found.guessing.caught.value == 0.01
    # The largest of many differences is never 0: two samples of 200, sqrt(pi / 8 * 2 / 200).
    assert found.guessing.advantage.value == pytest.approx(0.06267, abs=1e-5)


def test_a_regressor_is_attacked_by_its_residuals() -> None:
    found = lira(VALUE, near_its_own, "regression")
    assert found.lira.auc.low > 0.75
    assert lira(VALUE, lambda rows, seed: np.full(ROWS, 100.0), "regression").lira.auc.value == pytest.approx(0.5)


def test_some_rows_are_harder_to_fit_and_only_their_own_models_show_it() -> None:
    # A hard row that was learnt looks like an easy one that wasn't: a threshold can't tell, the row's own history can.
    hard = np.arange(ROWS) % 2 == 0

    def fit(rows: np.ndarray, seed: int) -> np.ndarray:
        margin = np.where(hard, -2.0, 2.0) + np.random.default_rng(seed).normal(0, 0.1, ROWS)
        margin[rows] += 1.0
        return 1.0 / (1.0 + np.exp(-np.where(LABEL > 0, margin, -margin)))

    found = lira(LABEL, fit, "classification")
    assert found.lira.auc.value > 0.99
    assert found.threshold.auc.value < 0.8


def test_a_person_is_in_or_out_with_all_their_rows_and_their_evidence_adds_up() -> None:
    people = np.arange(ROWS) // 4
    halves: list[np.ndarray] = []

    def fit(rows: np.ndarray, seed: int) -> np.ndarray:
        halves.append(rows)
        told = np.random.default_rng(seed).normal(0, 1, ROWS)
        told[rows] += 1.0
        return 1.0 / (1.0 + np.exp(-np.where(LABEL > 0, told, -told)))

    together = lira(LABEL, fit, "classification", people=people)
    for rows in halves:
        assert set(np.bincount(people[rows])) <= {0, 4}
    assert len(np.unique(people[halves[-1]])) == 50
    inside = np.sum([np.isin(np.arange(100), people[rows]) for rows in halves[:8]], axis=0)
    assert set(inside) == {4}
    assert together.people == 100
    assert together.lira.auc.value > lira(LABEL, fit, "classification").lira.auc.value + 0.05


def test_equal_seeds_give_equal_figures_and_another_seed_others() -> None:
    first, again = (lira(LABEL, by_heart, "classification", seed=3) for _ in range(2))
    assert first == again
    assert lira(VALUE, near_its_own, "regression", seed=4) != lira(VALUE, near_its_own, "regression", seed=3)


def test_progress_counts_every_training() -> None:
    seen: list[tuple[int, int]] = []
    lira(LABEL, by_heart, "classification", shadows=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("rows", "shadows", "fit"),
    [
        (19, 8, by_heart),
        (0, 8, by_heart),
        (ROWS, 7, by_heart),
        (ROWS, 0, by_heart),
        (ROWS, 2, lambda rows, seed: np.zeros(3)),
        (ROWS, 2, lambda rows, seed: np.full(ROWS, np.nan)),
    ],
)
def test_what_cannot_be_attacked_is_refused(rows: int, shadows: int, fit) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadInput):
        lira(LABEL[:rows], fit, "classification", shadows=shadows)


def aucs(names: list[str], rows: int) -> list[float]:
    matrix, label = generated(rows)
    return [lira(label, fitting(matrix, label, DESIGNS[name]), "classification").lira.auc.value for name in names]


def test_boosted_trees_tell_the_more_the_less_they_are_held_back() -> None:
    default, regularised = aucs(["default", "regularised"], 1000)
    assert default > regularised + 0.2


@pytest.mark.slow
def test_boosted_trees_tell_the_more_the_more_they_overfit() -> None:
    found = aucs(["overfit", "default", "tuned", "regularised"], 6000)
    assert all(high > low + 0.03 for high, low in pairwise(found)), found
    assert found[0] > 0.95
