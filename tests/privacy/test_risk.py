"""Linkage by equal values on tables small enough to count by hand, and the verdict over several attacks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.attacks import Effort
from privacy.errors import BadInput
from privacy.risk import EXACT, Coarsening, attack_release, linkage, strongest_columns

SHOP = pa.table(
    {
        "token": ["a", "b", "c", "d", "e"],
        "orders": [1, 1, 2, 2, 3],
        "spend": [10.001, 10.002, 20.0, 20.0, None],
        "store": [7.0, 7.0, 7.0, 7.0, 7.0],
    }
)


@pytest.mark.parametrize(
    ("columns", "coarsening", "linked"),
    [
        (["orders"], EXACT, 1),  # e alone has 3
        (["spend"], EXACT, 3),  # a, b, and e by what is missing
        (["spend"], Coarsening("decimals", 2), 1),
        (["spend"], Coarsening("decimals", 3), 3),
        (["spend"], Coarsening("significant", 4), 1),
        (["orders", "spend"], EXACT, 3),
        (["orders", "spend", "store"], EXACT, 3),
        (["store"], EXACT, 0),
        (["orders"], Coarsening("bands", 2), 0),
    ],
)
def test_links_as_counted_by_hand(columns: list[str], coarsening: Coarsening, linked: int) -> None:
    turned = SHOP.take([4, 2, 0, 1, 3])
    found = linkage(SHOP, turned, "token", columns, coarsening)
    assert (found.linked.successes, found.linked.attempts) == (linked, 5)
    assert found.baseline.value == pytest.approx(0.2)


def test_only_right_links_count() -> None:
    left = pa.table({"token": ["a", "b", "c"], "spend": [1.0, 2.0, 3.0]})
    right = pa.table({"token": ["b", "a", "x"], "spend": [1.0, 2.0, 3.0]})
    assert linkage(left, right, "token", ["spend"]).linked.successes == 0
    assert linkage(left, left[:1], "token", ["spend"]).linked.successes == 1


def test_unique_on_one_side_only_is_no_link() -> None:
    right = pa.table({"token": ["a", "z"], "spend": [1.0, 1.0]})
    assert linkage(right[:1], right, "token", ["spend"]).linked.successes == 0


@pytest.mark.parametrize(
    ("coarsening", "values", "told"),
    [
        (Coarsening("significant", 2), [0.0, 0.00123, -98765.0, 1.25], [0.0, 0.0012, -99000.0, 1.2]),
        (Coarsening("decimals", 0), [1.4, 2.6, -0.7], [1.0, 3.0, -1.0]),
        (Coarsening("bands", 2), [1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 1.0, 1.0]),
        (Coarsening("bands", 4), [5.0, 5.0, 5.0, 5.0], [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_coarser_values_as_by_hand(coarsening: Coarsening, values: list[float], told: list[float]) -> None:
    assert coarsening.of(np.array(values)) == pytest.approx(np.array(told))
    assert np.isnan(coarsening.of(np.array([*values, np.nan]))[-1])
    assert np.isnan(coarsening.of(np.array([np.nan]))).all()


tables = st.integers(2, 30).flatmap(
    lambda rows: st.lists(st.lists(st.integers(0, 3), min_size=rows, max_size=rows), min_size=2, max_size=4)
)


@settings(deadline=None, max_examples=50)
@given(tables)
def test_more_columns_never_link_fewer_and_the_strongest_link_all_that_can_be(columns: list[list[int]]) -> None:
    names = [f"c{at}" for at in range(len(columns))]
    people = pa.table({"token": range(len(columns[0])), **dict(zip(names, columns, strict=True))})
    counts = [linkage(people, people, "token", names[:count]).linked.successes for count in range(1, len(names) + 1)]
    assert counts == sorted(counts)
    rows = list(zip(*columns, strict=True))
    by_hand = sum(rows.count(row) == 1 for row in rows)
    assert counts[-1] == by_hand
    chosen = strongest_columns(people, names, len(names))
    best = max(linkage(people, people, "token", [name]).linked.successes for name in names)
    if chosen:
        assert linkage(people, people, "token", chosen[:1]).linked.successes == best
        assert linkage(people, people, "token", chosen).linked.successes == by_hand


@pytest.mark.parametrize(
    "ask",
    [
        lambda: linkage(SHOP, SHOP, "token", ["spending"]),
        lambda: linkage(SHOP, SHOP, "token", ["token"]),
        lambda: linkage(SHOP, SHOP, "token", []),
        lambda: linkage(SHOP[:0], SHOP, "token", ["spend"]),
        lambda: linkage(SHOP, SHOP, "tokens", ["spend"]),
        lambda: linkage(SHOP, SHOP.set_column(0, "token", pa.array([None, *"bcde"])), "token", ["spend"]),
        lambda: linkage(SHOP, pa.concat_tables([SHOP, SHOP]), "token", ["spend"]),
    ],
)
def test_questions_that_mean_nothing_are_refused(ask) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadInput):
        ask()


def test_a_copy_fails_as_a_whole_though_one_attack_finds_little() -> None:
    grid = pa.table({name: [f"w{(n // by) % 20}" for n in range(400)] for name, by in (("a", 20), ("b", 1))})
    other = pa.table({name: pa.array([f"v{v}" for v in grid[name].to_pylist()]) for name in "ab"})
    found = attack_release(grid, grid, other, secrets=["a"], how=Effort(400))
    by_name = {attack.name: attack.risk for attack in found.attacks}
    assert by_name["linkability"].value < 0.1
    assert found.worst.name == "singling out"
    assert found.worst.risk.low > 0.9
    told = found.to_dict()
    assert told["worst"] == "singling out"
    assert len(told["attacks"]) == 3  # type: ignore[arg-type]


def test_a_release_of_one_column_is_refused() -> None:
    with pytest.raises(BadInput, match="fewer than two columns"):
        attack_release(SHOP.select(["orders"]), SHOP.select(["orders"]), SHOP)
