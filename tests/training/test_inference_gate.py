"""The inference gate: it finds what is planted, lets chance pass, and fails closed."""

from __future__ import annotations

import datetime as dt
import json
import math

import numpy as np
import pyarrow as pa
import pytest

from privacy.errors import EnvironmentFailed
from tests.bench.inference import MOMENTS, Shop
from training.gates import passed
from training.inference_attack import Attacked, Interval, Target, _strata, _wins, attack
from training.inference_gate import GateLimits, Inferred, all_passed, as_verdicts, examine, not_tested

NOW = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


def shop_of(people: int, leak: float, seed: int = 0) -> tuple[pa.Table, pa.Table]:
    """Flagged people spend more; `leak` is how far one column gives the flag away beyond that."""
    draw = np.random.default_rng(seed)
    spend = draw.gamma(2, 50, people)
    flag = draw.random(people) < 0.1 + 0.2 * (spend > 100)
    published = pa.table(
        {
            "customer_token": [f"fs_{number}" for number in draw.permutation(people)],
            "event_timestamp": pa.array([NOW] * people, pa.timestamp("us", "UTC")),
            "spent": spend + draw.normal(0, 1, people),
            "telling": draw.normal(size=people) + leak * flag,
        }
    )
    return published, pa.table({"spend": spend, "infant": flag})


def test_what_only_spend_tells_passes_and_what_more_tells_fails() -> None:
    clean = examine("service:clean", *shop_of(2000, leak=0.0), "infant")
    leaky = examine("service:leaky", *shop_of(800, leak=1.5), "infant")
    assert clean.attacked is not None
    assert leaky.attacked is not None
    assert clean.attacked.overall.low > 0.55  # spend tells something, which is no disclosure
    assert clean.passed, clean.why
    assert not leaky.passed
    assert leaky.attacked.within.low > 0.75
    assert leaky.telling[0][0] == "telling"
    assert leaky.telling[0][1] > 0.75 > leaky.telling[1][1] >= 0.5
    assert clean.telling == ()
    assert passed(as_verdicts([clean]))
    assert not passed(as_verdicts([clean, leaky]))


def test_the_same_rows_in_another_order_under_other_tokens_give_the_same_figures() -> None:
    published, evidence = shop_of(300, leak=0.5)
    order = np.random.default_rng(9).permutation(300)
    renamed = published.set_column(0, "customer_token", pa.array([f"fs_other{number}" for number in range(300)]))
    again = examine("x", renamed.take(order), evidence.take(order), "infant")
    assert again == examine("x", published, evidence, "infant")


def test_too_few_flagged_people_are_not_passed() -> None:
    published, evidence = shop_of(400, leak=0.0)
    few = np.zeros(400, np.bool_)
    few[:7] = True
    found = examine("model:clv", published, evidence.set_column(1, "infant", pa.array(few)), "infant")
    assert (found.passed, found.people_flagged, found.attacked) == (False, 7, None)
    assert "7 flagged people are too few" in found.why
    assert not passed(as_verdicts([found]))
    json.dumps(found.to_dict())


def test_an_estimate_that_is_good_but_not_bounded_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    published, evidence = shop_of(250, leak=0.0)
    within = Interval(0.5, 0.4, 0.61)
    monkeypatch.setattr("training.inference_gate.attack", lambda *_: Attacked(within, within))
    found = examine("x", published, evidence, "infant")
    assert not found.passed
    assert examine("x", published, evidence, "infant", GateLimits(most_upper=0.62)).passed


@pytest.mark.parametrize("broken", ["other rows", "no flag", "a list"])
def test_what_cannot_be_tested_has_not_passed(broken: str) -> None:
    published, evidence = shop_of(100, leak=0.0)
    if broken == "other rows":
        evidence = evidence.slice(1)
    elif broken == "no flag":
        evidence = evidence.drop(["infant"])
    else:
        published = published.append_column("lists", pa.array([[1.0]] * 100))
    found = examine("x", published, evidence, "infant")
    assert not found.passed
    assert found.why.startswith("it could not be tested")


def test_a_missing_flag_file_is_told_and_nothing_at_all_has_not_passed() -> None:
    [found] = not_tested("service:x", ["infant"], EnvironmentFailed("the inference flags are gone"))
    assert (found.passed, found.why) == (False, "it could not be tested: the inference flags are gone")
    assert not all_passed([])
    assert math.isnan(as_verdicts([found])[0].value)


def test_texts_are_attacked_by_what_they_tell_apart() -> None:
    published, evidence = shop_of(300, leak=0.0)
    segment = pa.array(["b" if flag else "a" for flag in evidence["infant"].to_pylist()])
    found = examine("segment", published.append_column("segment", segment), evidence, "infant")
    assert found.attacked is not None
    assert found.attacked.within.value > 0.99


@pytest.mark.parametrize("name", ["spend", "moment", "flag"])
def test_a_published_column_may_have_the_name_of_the_evidence(name: str) -> None:
    published, evidence = shop_of(300, 0.0)
    telling = published.append_column(name, evidence["infant"].cast(pa.float64()))
    found = examine("x", telling, evidence, "infant")
    assert found.attacked is not None
    assert found.attacked.within.value > 0.99


def test_wins_count_pairs_of_one_stratum_and_halves_of_ties() -> None:
    score = np.array([1.0, 2.0, 2.0, 3.0, 9.0])
    flag = np.array([False, True, False, True, False])
    strata = np.array([0, 0, 0, 0, 1])
    weights = np.array([[1.0, 1, 1, 1, 1], [2.0, 1, 0, 1, 5]])
    won, pairs = _wins(score, flag, strata, weights)
    assert pairs.tolist() == [4.0, 4.0]  # 2 flagged x 2 others; the fifth row has nobody to be compared with
    assert won.tolist() == [3.5, 4.0]  # 2 beats 1, ties 2; 3 beats both


def test_strata_are_deciles_of_each_moment() -> None:
    spend = np.concatenate([np.arange(20.0), np.arange(20.0) * 1000])
    moment = np.repeat([5, 9], 20)
    target = Target(spend[:, None], spend > 3, spend, np.arange(40), moment)
    assert np.bincount(_strata(target)).tolist() == [2] * 20


def test_nobody_is_tested_by_what_was_fitted_on_them() -> None:
    """One column names each person, whose rows all have one flag: fitted on themselves, they would be found out."""
    draw = np.random.default_rng(1)
    person = np.repeat(np.arange(200), 4)
    flag = np.repeat(draw.random(200) < 0.3, 4)
    column = np.repeat(draw.permutation(200).astype(float), 4)
    target = Target(column[:, None], flag, draw.random(800), person, np.tile([1, 2, 3, 4], 200))
    assert attack(target).within.high < 0.65


@pytest.mark.slow
def test_shares_with_the_lines_inside_and_a_subtraction_give_infant_buyers_away() -> None:
    shop = Shop()
    for control, least in (
        ("department shares, infant lines inside the totals", 0.65),
        ("a department's total minus its published categories", 0.95),
    ):
        found = examine(control, *shop.published(control, MOMENTS[:1]), "infant")
        assert found.attacked is not None
        assert found.attacked.within.value > least
        assert not found.passed


def test_a_verdict_reads_as_a_line() -> None:
    interval = Interval(0.52, 0.49, 0.55)
    found = Inferred("model:churn", "infant", True, "AUC .52", 10, 3, Attacked(interval, interval))
    assert found.text() == "model:churn, infant: passed, AUC .52"
    assert as_verdicts([found])[0].text() == (
        "infant not inferred from model:churn: 0.52 <= 0.55 (attack within spend deciles): passed"
    )
