"""Every feature against numbers worked out by hand."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.transforms.registry import Use, every_feature, feature_set

from .tables import features_of, lines_table, outcomes_of

T = "2024-03-01 00:00:00"
A = [
    ("a", "1", "2024-01-01", 6.0),  # 60 days before T, across a leap day
    ("a", "1", "2024-01-01", 4.0),
    ("a", "2", "2024-02-10", 20.0),  # 20 days
    ("a", "1", "2024-02-20", -4.0),  # 10 days: a return under the first order's number
    ("a", "3", "2024-02-25 12:00", 30.0),  # 4.5 days
    ("a", "4", T, 99.0),  # not before T
]
OTHERS = [
    ("b", "5", "2024-02-29 23:59:59", 5.0),  # first day, one order
    ("c", "6", T, 8.0),  # not a customer yet
    ("d", "7", "2024-02-01", 0.0),  # a free order is no purchase
    ("d", "8", "2024-02-02", -3.0),  # nor is a return
]
TABLE = lines_table(
    [*A, *OTHERS],
    category=["x", "y", "x", "y", "x", "z", "x", "x", "x", "x"],
    discount=[1.0, 0.0, 2.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0],
    coupon=[0.0, 0.0, 2.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0],
)


def fade(days: float, half_life: float) -> float:
    return 2 ** (-days / half_life)


GAP_STD = 24.5 / math.sqrt(2)
WEEKLY = math.sqrt((1416 - 56**2 / 12) / 11)
EXPECTED = {
    "recency_days": 4.5,
    "tenure_days": 60,
    "orders_14d": 1,
    "orders_28d": 2,
    "orders_56d": 2,
    "orders_84d": 3,
    "spend_14d": 26,
    "spend_28d": 46,
    "spend_56d": 46,
    "spend_84d": 56,
    "order_rate": 3 / 60,
    "spend_rate": 56 / 60,
    "order_value_mean": 20,
    "order_value_median": 20,
    "order_value_std": 10,
    "order_value_max": 30,
    "order_value_last": 30,
    "order_value_last3": 20,
    "order_value_first": 10,
    **{f"decayed_orders_{h}": fade(60, h) + fade(20, h) + fade(4.5, h) for h in (14, 28, 84)},
    **{
        f"decayed_spend_{h}": 10 * fade(60, h) + 20 * fade(20, h) - 4 * fade(10, h) + 30 * fade(4.5, h)
        for h in (14, 28, 84)
    },
    "ewma_daily_spend_84": (10 * fade(60, 84) + 20 * fade(20, 84) - 4 * fade(10, 84) + 30 * fade(4.5, 84))
    / ((1 - fade(60, 84)) * 84 / math.log(2)),
    "gap_mean_days": 27.75,
    "gap_std_days": GAP_STD,
    "gap_median_days": 27.75,
    "gap_max_days": 40,
    "gap_last_days": 15.5,
    "gap_cv": GAP_STD / 27.75,
    "overdue_mean": 4.5 / 27.75,
    "overdue_max": 4.5 / 40,
    "overdue_z": (4.5 - 27.75) / (GAP_STD + 1),
    "active_weeks_share": 3 / 12,
    "weekly_spend_slope": (11 * 30 - 9 * 4 + 7 * 20 - 5 * 10) / 286,
    "weekly_spend_std": WEEKLY,
    "order_rate_trend": (2 / 28) / (3 / 60),
    "category_entropy": -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)),
    "discount_share": 3 / 63,
    "coupon_share": 2 / 63,
    "return_share": 4 / 60,
    "items_per_order": 4 / 3,
    "price_mean": 15,
    "btyd_x": 2,
    "btyd_t_x_days": 55.5,
    "btyd_T_days": 60,
    "btyd_mean_value": 25,
    "lifetime_orders": 3,
}


def test_expectations_cover_every_declared_feature() -> None:
    assert set(EXPECTED) == {feature.name for feature in feature_set()}
    assert sum(feature.use is Use.MODEL for feature in feature_set()) == 44


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_feature_by_hand(name: str, by_hand: dict[tuple[str, str], dict[str, float | str | None]]) -> None:
    assert by_hand["a", T][name] == pytest.approx(EXPECTED[name], rel=1e-6, abs=1e-6)


@pytest.fixture(scope="module")
def by_hand() -> dict[tuple[str, str], dict[str, float | str | None]]:
    return features_of(TABLE, [T])


def test_only_who_bought_before_the_cutoff_has_a_row(by_hand: dict[tuple[str, str], object]) -> None:
    assert set(by_hand) == {("a", T), ("b", T)}


def test_one_order_a_second_ago(by_hand: dict[tuple[str, str], dict[str, float | str | None]]) -> None:
    row = by_hand["b", T]
    gaps = [name for name in row if name.startswith(("gap_", "overdue_"))]
    assert len(gaps) == 9
    assert all(row[name] is None for name in gaps)
    assert row["order_value_std"] is None
    assert row["recency_days"] == row["tenure_days"] == pytest.approx(1 / 86_400)
    assert row["order_rate"] == pytest.approx(1 / 14)
    assert (row["btyd_x"], row["btyd_t_x_days"], row["btyd_mean_value"]) == (0, 0, 0)
    assert (row["order_value_last3"], row["lifetime_orders"], row["category_entropy"]) == (5, 1, 0)


def test_ties_in_time_go_by_value_not_by_token() -> None:
    tied = [("t", "p", "2024-02-01", 7.0), ("t", "q", "2024-02-01", 3.0), ("t", "r", "2024-02-03", 5.0)]
    renamed = [(who, {"p": "z", "q": "a", "r": "m"}[order], at, value) for who, order, at, value in tied]
    rows = [features_of(lines_table(table), [T])["t", T] for table in (tied, renamed[::-1])]
    assert rows[0] == rows[1]
    assert rows[0]["order_value_first"] == 3
    assert rows[0]["gap_mean_days"] == 1


def test_equal_values_have_no_spread() -> None:
    same = [("s", str(day), f"2024-02-{day:02d}", 0.1) for day in (1, 8, 15, 22)]
    row = features_of(lines_table(same), [T])["s", T]
    assert (row["order_value_std"], row["gap_std_days"], row["gap_cv"]) == (0, 0, 0)


def test_a_shop_without_optional_columns_gets_nulls() -> None:
    row = features_of(lines_table(A), [T])["a", T]
    assert row["category_entropy"] is row["discount_share"] is row["coupon_share"] is None
    assert row["return_share"] == pytest.approx(4 / 60)


def test_a_slow_shop_has_longer_windows() -> None:
    row = features_of(lines_table(A), [T], slow=True)["a", T]
    assert (row["orders_30d"], row["orders_60d"], row["spend_180d"]) == (2, 3, 56)
    declared = [feature for feature in every_feature(slow=True) if feature.use is not Use.ENGAGEMENT]
    assert {feature.name for feature in declared} == set(row)


def test_window_edges_are_inside() -> None:
    edges = [("e", "1", "2024-02-16", 1.0), ("e", "2", "2024-02-15 23:59:59", 1.0)]  # 14 d, and a second more
    row = features_of(lines_table(edges), [T])["e", T]
    assert (row["orders_14d"], row["orders_28d"]) == (1, 2)


@settings(max_examples=5, deadline=None)
@given(st.permutations(range(10)), st.integers(0, 9))
def test_neither_row_order_nor_names_change_a_bit(order: list[int], turn: int) -> None:
    renamed = {who: f"{(ord(who) * 7 + turn) % 10}{who}" for who in "abcd"}
    table = TABLE.take(order)
    names = pa.array([renamed[who] for who in table["customer_token"].to_pylist()])
    tokens = pa.array([str((int(text) * 3 + turn) % 31) for text in table["order_token"].to_pylist()])
    table = table.set_column(0, "customer_token", names).set_column(1, "order_token", tokens)
    found = features_of(table, [T])
    assert {(who, T): found[renamed[who], T] for who in "ab"} == features_of(TABLE, [T])


def test_outcomes_by_hand() -> None:
    assert outcomes_of(TABLE, [T], 28) == {"a": (99.0, 1), "b": (0.0, 0)}
    # [T, T + 10 d): the return falls in, the purchase at T + 15.5 d doesn't; spend is never negative.
    assert outcomes_of(TABLE, ["2024-02-10 00:00:01"], 10) == {"a": (0.0, 0)}
    assert outcomes_of(TABLE, ["2024-02-10"], 15) == {"a": (16.0, 1)}
    assert outcomes_of(TABLE, ["2024-02-10"], 16) == {"a": (46.0, 2)}


def test_the_churn_population_bought_lately() -> None:
    assert set(outcomes_of(TABLE, [T], 28, active_within_days=4)) == {"b"}
    assert set(outcomes_of(TABLE, [T], 28, active_within_days=5)) == {"a", "b"}
