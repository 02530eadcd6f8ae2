"""Each attack on tables small enough to see by eye what it must find."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from privacy.attacks import Effort, inference, linkability, singling_out
from privacy.errors import BadInput

TEN = pa.table({"age": range(10), "city": [f"c{n}" for n in range(10)]})
OTHERS = pa.table({"age": range(100, 110), "city": [f"d{n}" for n in range(10)]})


def test_two_people_alike_are_not_singled_out() -> None:
    pairs = pa.table({"age": [n // 2 for n in range(20)], "city": ["x"] * 20})
    # The ends of a number single out nobody either: the two oldest are of one age.
    found = singling_out(pairs, pairs, OTHERS.take([n % 10 for n in range(20)]), 2, how=Effort(50))
    assert found.success.value == 0.0


def test_a_description_that_fits_one_released_row_but_two_people_fails() -> None:
    twice = pa.concat_tables([TEN, TEN])
    control = pa.concat_tables([OTHERS, OTHERS])
    assert singling_out(twice, TEN, control, 2, how=Effort(20)).success.value == 0.0
    assert singling_out(TEN, TEN, OTHERS, 2, how=Effort(10)).success.value == 1.0


def test_descriptions_that_cannot_be_found_count_as_failed() -> None:
    # One column of ten different words: ten descriptions, all right, of a thousand attempts.
    words = TEN.select(["city"])
    found = singling_out(words, words, OTHERS.select(["city"]), 1, how=Effort(1000))
    assert (found.success.successes, found.success.attempts) == (10, 1000)


def test_a_larger_control_is_cut_and_a_smaller_refused() -> None:
    many = pa.concat_tables([OTHERS, OTHERS, TEN])
    assert singling_out(TEN, TEN, many, 2, how=Effort(20)).control.attempts == 20
    with pytest.raises(BadInput, match="fewer than the 10"):
        singling_out(TEN, TEN, OTHERS[:9], 2)


def test_linkability_of_rare_halves_is_low_in_an_exact_copy_though_singling_out_is_total() -> None:
    # Halves that many share link few: a copy must never pass because one of the three scores is low.
    grid = pa.table({"a": [n // 20 for n in range(400)], "b": [n % 20 for n in range(400)]})
    other = pa.table({"a": [n // 20 + 50 for n in range(400)], "b": [n % 20 + 50 for n in range(400)]})
    words = [pa.table({name: pa.array([f"w{v}" for v in t[name].to_pylist()]) for name in "ab"}) for t in (grid, other)]
    assert linkability(words[0], words[0], words[1], (["a"], ["b"])).success.value < 0.1
    assert singling_out(words[0], words[0], words[1], 2, how=Effort(400)).risk.low > 0.9


def test_columns_that_cannot_be_compared_are_refused_instead_of_found_safe() -> None:
    ranges = pa.array([f"{n // 5 * 5} to {n // 5 * 5 + 4}" for n in range(10)])
    released = pa.table({"age": ranges, "city": TEN["city"]})
    masked = pa.table({"age": TEN["age"], "city": [f"masked {n}" for n in range(10)]})
    for attack in (
        lambda release: singling_out(TEN, release, OTHERS, 2, how=Effort(20)),
        lambda release: linkability(TEN, release, OTHERS, (["age"], ["city"])),
        lambda release: inference(TEN, release, OTHERS, "city", ["age"]),
    ):
        with pytest.raises(BadInput, match="'age' is a number or date in one table and text in another"):
            attack(released)
        with pytest.raises(BadInput, match="'city' shares no value with the original"):
            attack(masked)
    alike = TEN.set_column(0, "age", ranges)
    assert inference(alike, released, alike, "city", ["age"]).success.value < 1.0


def test_a_copy_is_singled_out_by_its_unique_dates_and_numbers() -> None:
    draw = np.random.default_rng(4)
    days = np.datetime64("1940-01-01") + draw.permutation(25_000)[:800]
    people = pa.table({"born": pa.array(days), "pay": draw.permutation(90_000)[:800], "kids": draw.integers(0, 4, 800)})
    found = singling_out(people[:400], people[:400], people[400:], 2, how=Effort(300))
    assert found.risk.low > 0.9
    noisy = people[:400].set_column(1, "pay", pa.array(people["pay"][:400].to_numpy() + 0.25))
    noisy = noisy.set_column(0, "born", pa.array(days[:400] + draw.integers(1, 3, 400)))
    # Values that equal nothing don't hide what their sides give away.
    assert singling_out(people[:400], noisy, people[400:], 2, how=Effort(300)).success.value > 0.02


@pytest.mark.parametrize(("guess", "right"), [(100.0, 1.0), (104.9, 1.0), (95.2, 1.0), (106.0, 0.0), (90.0, 0.0)])
def test_a_number_is_right_within_a_twentieth_of_its_size(guess: float, right: float) -> None:
    for sign in (1, -1):
        people = pa.table({"id": [1], "secret": [100.0 * sign]})
        released = pa.table({"id": [1], "secret": [guess * sign]})
        assert inference(people, released, people, "secret").success.value == right


def test_the_naive_guess_is_the_most_common_value() -> None:
    released = pa.table({"age": range(10), "ill": ["no"] * 7 + ["yes"] * 3})
    found = inference(released, released, released, "ill")
    assert (found.success.value, found.baseline.value) == (1.0, 0.7)


def test_missing_equals_missing() -> None:
    people = pa.table({"age": pa.array([None, 30], pa.int64()), "ill": pa.array(["yes", None])})
    assert inference(people, people, people, "ill").success.value == 1.0


@pytest.mark.parametrize(
    "attack",
    [
        lambda: linkability(TEN, TEN, OTHERS, (["age"], ["age"])),
        lambda: linkability(TEN, TEN, OTHERS, (["age"], [])),
        lambda: linkability(TEN, TEN, OTHERS, (["age"], ["town"])),
        lambda: inference(TEN, TEN, OTHERS, "town"),
        lambda: inference(TEN, TEN, OTHERS, "age", ["age", "city"]),
        lambda: singling_out(TEN, TEN, OTHERS, 3),
        lambda: singling_out(TEN, TEN, OTHERS, 0),
        lambda: Effort(attempts=0),
        lambda: Effort(level=0.0),
    ],
)
def test_questions_that_mean_nothing_are_refused(attack) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadInput):
        attack()
