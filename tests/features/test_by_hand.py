"""Every feature of seven awkward customers, worked out by hand."""

from __future__ import annotations

from math import log, sqrt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import sources
from features.datasets.descriptor import load_descriptor
from features.transforms.registry import feature_set
from tests.shops import shop_document, write_descriptor

from .tables import Found, features_of, lines_table

T = "2024-03-01 00:00:00"
S = 1 / 86_400
"""One second, in days."""
CASES = ("one_order", "leap_year", "ties", "returns", "free", "edges", "several_times_a_day")
LINES = [  # customer, order, time, amount, category, discount, coupon
    ("one_order", "1", "2024-02-29 12:00", 6.0, "x", 1.0, 0.5),  # half a day ago, on the leap day
    ("one_order", "1", "2024-02-29 12:00", 4.0, "y", 0.0, 0.0),
    ("leap_year", "1", "2023-03-01", 8.0, "y", 2.0, 0.0),  # 366 days ago
    ("leap_year", "2", "2024-02-01", 12.0, "x", 0.0, 0.0),  # 29 days ago
    ("ties", "p", "2024-02-20", 7.0, "x", 0.0, 0.0),  # 10 days ago, two orders at once: the lesser value first
    ("ties", "q", "2024-02-20", 3.0, "y", 0.0, 0.0),
    ("ties", "r", "2024-02-25", 5.0, "x", 0.0, 0.0),  # 5 days ago
    ("returns", "1", "2024-02-10", 20.0, "x", 0.0, 0.0),  # 20 days ago
    ("returns", "1", "2024-02-10", 5.0, "y", 0.0, 0.0),
    ("returns", "1", "2024-02-15", -5.0, "y", 0.0, 0.0),  # 15 days ago: brought back, under the same number
    ("returns", "2", "2024-02-20", 10.0, "x", 0.0, 0.0),  # 10 days ago: cancelled at the till, no purchase
    ("returns", "2", "2024-02-20", -10.0, "x", 0.0, 0.0),
    ("returns", "3", "2024-02-22", -3.0, "x", 0.0, 0.0),  # 8 days ago: a return under its own number
    ("returns", "4", "2024-02-26", 30.0, "x", 0.0, 0.0),  # 4 days ago
    ("free", "1", "2024-02-05", 0.0, "x", 4.0, 4.0),  # 25 days ago: given away, no purchase
    ("free", "2", "2024-02-15", 9.0, "y", 0.0, 0.0),  # 15 days ago
    ("free", "3", "2024-02-28", 0.0, "x", 0.0, 0.0),
    ("edges", "1", "2023-12-07 23:59:59", 4.0, "x", 8.0, 8.0),  # 84 days and a second ago: outside
    ("edges", "2", "2023-12-08", 2.0, "y", 0.0, 0.0),  # 84 days ago: inside
    ("edges", "3", "2024-02-16", 1.0, "x", 0.0, 0.0),  # 14 days ago: inside
    ("edges", "4", T, 99.0, "z", 9.0, 9.0),  # not before the cut-off
    ("several_times_a_day", "1", "2024-02-27 06:00", 2.0, "x", 0.0, 0.0),  # 2.75 days ago
    ("several_times_a_day", "2", "2024-02-27 12:00", 2.0, "x", 0.0, 0.0),  # 2.5
    ("several_times_a_day", "3", "2024-02-27 18:00", 2.0, "x", 0.0, 0.0),  # 2.25
    ("several_times_a_day", "4", "2024-02-28 00:00", 4.0, "x", 0.0, 0.0),  # 2
    ("never", "1", "2024-02-28", 0.0, "x", 0.0, 0.0),
    ("never", "2", "2024-02-28", -1.0, "x", 0.0, 0.0),
    ("later", "1", T, 5.0, "x", 0.0, 0.0),
]


def f(days: float, half_life: float = 84) -> float:
    return 2 ** (-days / half_life)


def faded(half_life: float, spend: bool) -> tuple[float, ...]:
    """Age in days and value of each event of each case; only spend knows what is no purchase."""
    returned = ((-5, 15), (-3, 8)) if spend else ()
    events = (
        ((10, 0.5),),
        ((8, 366), (12, 29)),
        ((7, 10), (3, 10), (5, 5)),
        ((25, 20), (30, 4), *returned),
        ((9, 15),),
        ((4, 84 + S), (2, 84), (1, 14)),
        ((2, 2.75), (2, 2.5), (2, 2.25), (4, 2)),
    )
    return tuple(sum((value if spend else 1) * f(age, half_life) for value, age in case) for case in events)


SEEN = tuple((1 - f(days)) * 84 / log(2) for days in (14, 366, 14, 20, 15, 84 + S, 14))
"""Faded days since the first purchase, at least 14."""
M = (70 + S) / 2
D = (70 - S) / sqrt(2)
EXPECTED: dict[str, tuple[float | None, ...]] = {
    #                     one_order, leap_year, ties, returns, free, edges, several_times_a_day
    "recency_days": (0.5, 29, 5, 4, 15, 14, 2),
    "tenure_days": (0.5, 84, 10, 20, 15, 84, 2.75),
    "orders_14d": (1, 0, 3, 1, 0, 1, 4),
    "orders_28d": (1, 0, 3, 2, 1, 1, 4),
    "orders_56d": (1, 1, 3, 2, 1, 1, 4),
    "orders_84d": (1, 1, 3, 2, 1, 2, 4),
    "spend_14d": (10, 0, 15, 27, 0, 1, 10),
    "spend_28d": (10, 0, 15, 47, 9, 1, 10),
    "spend_56d": (10, 12, 15, 47, 9, 1, 10),
    "spend_84d": (10, 12, 15, 47, 9, 3, 10),
    "order_rate": (1 / 14, 2 / 366, 3 / 14, 2 / 20, 1 / 15, 3 / (84 + S), 4 / 14),
    "spend_rate": (10 / 14, 20 / 366, 15 / 14, 47 / 20, 9 / 15, 7 / (84 + S), 10 / 14),
    "order_value_mean": (10, 10, 5, 27.5, 9, 7 / 3, 2.5),
    "order_value_median": (10, 10, 5, 27.5, 9, 2, 2),
    "order_value_std": (None, sqrt(8), 2, sqrt(12.5), None, sqrt(7 / 3), 1),
    "order_value_max": (10, 12, 7, 30, 9, 4, 4),
    "order_value_last": (10, 12, 5, 30, 9, 1, 4),
    "order_value_last3": (10, 10, 5, 27.5, 9, 7 / 3, 8 / 3),
    "order_value_first": (10, 8, 3, 25, 9, 4, 2),
    **{f"decayed_orders_{life}": faded(life, spend=False) for life in (14, 28, 84)},
    **{f"decayed_spend_{life}": faded(life, spend=True) for life in (14, 28, 84)},
    "ewma_daily_spend_84": tuple(spend / days for spend, days in zip(faded(84, spend=True), SEEN, strict=True)),
    "gap_mean_days": (None, 337, 2.5, 16, None, M, 0.25),
    "gap_std_days": (None, None, 2.5 * sqrt(2), None, None, D, 0),
    "gap_median_days": (None, 337, 2.5, 16, None, M, 0.25),
    "gap_max_days": (None, 337, 5, 16, None, 70, 0.25),
    "gap_last_days": (None, 337, 5, 16, None, 70, 0.25),
    "gap_cv": (None, None, sqrt(2), None, None, D / M, 0),
    "overdue_mean": (None, 29 / 337, 2, 4 / 16, None, 14 / M, 8),
    "overdue_max": (None, 29 / 337, 1, 4 / 16, None, 0.2, 8),
    "overdue_z": (None, 29 - 337, 2.5 / (2.5 * sqrt(2) + 1), 4 - 16, None, (14 - M) / (D + 1), 1.75),
    "active_weeks_share": (1 / 12, 1 / 12, 2 / 12, 2 / 12, 1 / 12, 2 / 12, 1 / 12),
    # Week 0 is the latest; weights are 11, 9, 7 .. -11, over 286. Returns' weeks hold 30, -3 and 20.
    "weekly_spend_slope": (110 / 286, 36 / 286, 145 / 286, 443 / 286, 63 / 286, -13 / 286, 110 / 286),
    "weekly_spend_std": (
        sqrt(100 / 12),
        sqrt(12),
        sqrt((125 - 15**2 / 12) / 11),
        sqrt((1309 - 47**2 / 12) / 11),
        sqrt(81 / 12),
        sqrt((5 - 3**2 / 12) / 11),
        sqrt(100 / 12),
    ),
    "order_rate_trend": (0.5, 0, 0.5, 20 / 28, 15 / 28, (84 + S) / 84, 0.5),
    "category_entropy": (log(2), 0, log(3) - 2 / 3 * log(2), 2 * log(2) - 0.75 * log(3), 0, log(2), 0),
    "discount_share": (1 / 11, 0, 0, 0, 4 / 13, 0, 0),
    "coupon_share": (0.5 / 11, 0, 0, 0, 4 / 13, 0, 0),
    "return_share": (0, 0, 0, 18 / 65, 0, 0, 0),
    "items_per_order": (2, 1, 1, 2, 1, 1, 1),
    "price_mean": (5, 12, 5, 65 / 4, 9, 1.5, 2.5),
    "btyd_x": (0, 1, 2, 1, 0, 2, 3),
    "btyd_t_x_days": (0, 337, 5, 16, 0, 70 + S, 0.75),
    "btyd_T_days": (0.5, 366, 10, 20, 15, 84 + S, 2.75),
    "btyd_mean_value": (0, 12, 6, 30, 0, 1.5, 8 / 3),
    "lifetime_orders": (1, 2, 3, 2, 1, 3, 4),
}


@pytest.fixture(scope="module")
def found() -> Found:
    extra = {"category": 4, "discount": 5, "coupon": 6}
    table = lines_table(
        [line[:4] for line in LINES], **{name: [line[at] for line in LINES] for name, at in extra.items()}
    )
    return features_of(table, [T])


def test_the_table_holds_every_number_there_is() -> None:
    assert set(EXPECTED) == {feature.name for feature in feature_set()}
    assert all(len(row) == len(CASES) for row in EXPECTED.values())


def test_only_who_has_bought_has_a_row(found: Found) -> None:
    assert set(found) == {(case, T) for case in CASES}


@pytest.mark.parametrize("case", CASES)
def test_a_customer_by_hand(case: str, found: Found) -> None:
    expected = {name: row[CASES.index(case)] for name, row in EXPECTED.items()}
    row = {name: found[case, T][name] for name in EXPECTED}
    assert {name for name, value in row.items() if value is None} == {
        n for n, value in expected.items() if value is None
    }
    known = {name: value for name, value in expected.items() if value is not None}
    assert {name: row[name] for name in known} == pytest.approx(known, rel=1e-6, abs=1e-6)


ZONES = {  # zone: (the shop's own clock, the instants in UTC)
    "Asia/Shanghai": (["2024-03-01 07:30", "2024-03-01 08:00"], ["2024-02-29 23:30", "2024-03-01 00:00"]),
    # The clocks go forward at 2024-03-31 02:00: two minutes, not an hour and two.
    "Europe/Berlin": (["2024-03-31 01:59", "2024-03-31 03:01"], ["2024-03-31 00:59", "2024-03-31 01:01"]),
    "America/New_York": (["2024-02-29 18:59:59", "2024-02-29 19:00"], ["2024-02-29 23:59:59", "2024-03-01 00:00"]),
}


@pytest.mark.parametrize("zone", ZONES)
def test_times_are_of_the_shops_own_zone(zone: str, tmp_path: Path) -> None:
    local, instants = ZONES[zone]
    document = shop_document()
    document["tables"] = {"transactions": document["tables"]["transactions"]}
    columns = document["tables"]["transactions"]["columns"]
    kept = ("customer_id", "order_id", "ordered_at", "amount")
    document["tables"]["transactions"]["columns"] = {name: columns[name] for name in kept}
    rows = [
        {"customer": "c", "invoice": str(at), "ts": time, "quantity": 1.0, "price": 2.0}
        for at, time in enumerate(local)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "lines.parquet")
    descriptor = load_descriptor(str(write_descriptor(tmp_path, {**document, "time_zone": zone})))
    lines = pa.Table.from_batches(list(sources.batches(descriptor, descriptor.tables["transactions"]))).select(kept)
    table = lines.rename_columns(["customer_token", "order_token", "ordered_at", "amount"])
    cutoffs = [T, "2024-04-01 00:00:00"]
    assert features_of(table, cutoffs) == features_of(
        lines_table([("c", str(at), time, 2.0) for at, time in enumerate(instants)]), cutoffs
    )
