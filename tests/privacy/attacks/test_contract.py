"""What holds for every attack: finds a copy, finds nothing in noise, minds no names, repeats by its seed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from privacy.attacks import Attack, Effort, inference, linkability, singling_out
from privacy.errors import BadInput

HOW = Effort(attempts=300, seed=3)
AWKWARD = ("age (years)", "city / zone", "class", "it's 5 > 3", "born")


def single_out(original: pa.Table, released: pa.Table, control: pa.Table, how: Effort = HOW) -> Attack:
    return singling_out(original, released, control, 3, how=how)


def link(original: pa.Table, released: pa.Table, control: pa.Table, how: Effort = HOW) -> Attack:
    names = released.column_names
    return linkability(original, released, control, (names[:2], names[2:]), how=how)


def infer(original: pa.Table, released: pa.Table, control: pa.Table, how: Effort = HOW) -> Attack:
    return inference(original, released, control, released.column_names[2], how=how)


ATTACKS = (single_out, link, infer)
each_attack = pytest.mark.parametrize("attack", ATTACKS)
Attacking = Callable[..., Attack]


def people(count: int, seed: int, names: tuple[str, ...] = AWKWARD) -> pa.Table:
    """Mixed columns, some of them missing, that have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    age = np.where(rng.random(count) < 0.1, np.nan, rng.uniform(18, 90, count))
    city = [f"zone {n}" if n else None for n in rng.integers(0, 40, count)]
    day = dt.date(1950, 1, 1)
    born = [day + dt.timedelta(days=int(n)) for n in rng.integers(0, 20_000, count)]
    columns = [pa.array(age, from_pandas=True), city, rng.integers(0, 9, count), rng.normal(size=count), born]
    return pa.table(dict(zip(names, columns, strict=True)))


def independent(table: pa.Table, seed: int = 5) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table({name: table[name].take(rng.permutation(table.num_rows)) for name in table.column_names})


ORIGINAL, CONTROL = people(400, 1), people(400, 2)


@each_attack
def test_a_copy_is_found(attack: Attacking) -> None:
    found = attack(ORIGINAL, ORIGINAL, CONTROL)
    assert found.success.value > 0.9
    assert found.risk.low > 0.8
    assert found.baseline.value < 0.3


@each_attack
def test_independent_columns_give_nothing_away(attack: Attacking) -> None:
    found = attack(ORIGINAL, independent(people(400, 9)), CONTROL)
    assert found.risk.low <= 0.01
    assert found.risk.value < 0.1


@each_attack
def test_half_a_copy_is_found_by_halves(attack: Attacking) -> None:
    # Singling out finds less: what fits one row of a half may fit a person of the other half too.
    released = pa.concat_tables([ORIGINAL[:200], people(200, 11)])
    found = attack(ORIGINAL, released, CONTROL).risk
    assert found.low > 0.2
    assert found.high < 0.65


@each_attack
def test_names_and_the_order_of_rows_change_nothing_that_matters(attack: Attacking) -> None:
    plain = ("a", "b", "c", "d", "e")
    named = [table.rename_columns(plain) for table in (ORIGINAL, ORIGINAL, CONTROL)]
    assert attack(*named).to_dict()["success"] == attack(ORIGINAL, ORIGINAL, CONTROL).to_dict()["success"]
    turned = ORIGINAL.take(np.arange(400)[::-1])
    assert attack(ORIGINAL, turned, CONTROL).risk.value == pytest.approx(
        attack(ORIGINAL, ORIGINAL, CONTROL).risk.value, abs=0.05
    )


@each_attack
def test_equal_seeds_give_equal_answers(attack: Attacking) -> None:
    released = pa.concat_tables([ORIGINAL[:200], people(200, 11)])
    assert attack(ORIGINAL, released, CONTROL) == attack(ORIGINAL, released, CONTROL)


@each_attack
def test_the_three_rates_and_the_level_are_told(attack: Attacking) -> None:
    wide, narrow = (attack(ORIGINAL, ORIGINAL, CONTROL, Effort(100, 0, level)) for level in (0.99, 0.5))
    assert wide.success.margin > narrow.success.margin
    told = wide.to_dict()
    assert set(told) == {"attack", "risk", "success", "control", "baseline"}
    assert told["risk"] == wide.risk.to_dict()


@each_attack
@pytest.mark.parametrize("damage", ["empty", "column", "infinite", "nested", "binary", "twice"])
def test_bad_tables_are_named(attack: Attacking, damage: str) -> None:
    released = {
        "empty": ORIGINAL[:0],
        "column": ORIGINAL.append_column("more", pa.array(range(400))),
        "infinite": ORIGINAL.set_column(0, AWKWARD[0], pa.array([np.inf] * 400)),
        "nested": ORIGINAL.set_column(0, AWKWARD[0], pa.array([[1]] * 400)),
        "binary": ORIGINAL.set_column(0, AWKWARD[0], pa.array([b"\xff"] * 400)),
        "twice": ORIGINAL.append_column(AWKWARD[0], pa.array(range(400))),
    }[damage]
    with pytest.raises(BadInput):
        attack(ORIGINAL, released, CONTROL)


@each_attack
def test_constant_and_all_missing_columns_are_no_matter(attack: Attacking) -> None:
    count = 60
    table = pa.table(
        {
            "one": pa.array([1.0] * count),
            "none": pa.array([None] * count, pa.float64()),
            "word": pa.array(["a"] * count),
            "gap": pa.array([None] * count, pa.string()),
        }
    )
    found = attack(table, table, table)
    assert found.risk.value < 0.05
