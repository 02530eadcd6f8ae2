"""Nothing that comes at or after a cut-off reaches a feature at it: rows shifted, duplicated and delayed at random."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.datasets.descriptor import Descriptor
from features.gateway import FeatureGateway

from .conftest import AS_OF, CUTOFFS, Home, principal
from .tables import Found, entities, features_of, outcomes_of, utc

T = "2024-03-01 00:00:00"
DAY = 86_400
QUICK = settings(max_examples=4, deadline=None)
THOROUGH = settings(max_examples=50, deadline=None)


class Row(NamedTuple):
    """One order line: seconds after the cut-off, `delay` until it came into the books, None where that isn't told."""

    who: str
    order: int
    second: int
    cents: int
    kind: str
    delay: int | None

    @property
    def known(self) -> bool:
        """Whether it may have a part in features at the cut-off."""
        return self.second < 0 and self.second + (self.delay or 0) < 0


close = st.integers(-2, 2)
ROWS = st.lists(
    st.builds(
        Row,
        who=st.sampled_from("abc"),
        order=st.integers(1, 6),
        second=close | st.integers(-100 * DAY, -1) | st.integers(0, 40 * DAY),
        cents=st.integers(-2_000, 6_000),
        kind=st.sampled_from("xyz"),
        delay=st.none() | close.map(abs) | st.integers(0, 60 * DAY),
    ),
    min_size=1,
    max_size=40,
)


def table_of(rows: list[Row], *, created: bool, cutoff: str = T) -> pa.Table:
    moment, instant = utc(cutoff), pa.timestamp("us", "UTC")

    def after(seconds: int) -> dt.datetime:
        return moment + dt.timedelta(seconds=seconds)

    told = [None if row.delay is None else after(row.second + row.delay) for row in rows]
    columns = {
        "customer_token": pa.array([row.who for row in rows], pa.string()),
        "order_token": pa.array([f"{row.who}{row.order}" for row in rows], pa.string()),
        "ordered_at": pa.array([after(row.second) for row in rows], instant),
        "amount": pa.array([row.cents / 100 for row in rows], pa.float64()),
        "category": pa.array([row.kind for row in rows], pa.string()),
    }
    return pa.table(columns | ({"created": pa.array(told, instant)} if created else {}))


def features(rows: list[Row], *, created: bool = True, cutoff: str = T) -> Found:
    return features_of(table_of(rows, created=created, cutoff=cutoff), [cutoff])


def check_only_what_was_known_counts(rows: list[Row]) -> None:
    """Rows from the cut-off on, and rows that came from then on, are as if they were not there, bit for bit."""
    assert features(rows) == features([row for row in rows if row.known])


def check_nothing_later_counts_where_all_come_at_once(rows: list[Row]) -> None:
    past = [row for row in rows if row.second < 0]
    assert features(rows, created=False) == features(past, created=False)
    at_once = [row._replace(delay=0) for row in past]
    assert features(at_once) == features(past, created=False)


def check_more_of_what_is_to_come_changes_nothing(rows: list[Row], delay: int) -> None:
    """What is not known yet may come twice, or later still; what is known may be told to have come earlier."""
    more = [row for row in rows if not row.known] * 2
    later = [row._replace(delay=(row.delay or 0) + delay) for row in more]
    known = [row._replace(delay=None) for row in rows if row.known]
    assert features(known + more + later) == features(rows)


def check_only_ages_count(rows: list[Row], days: int) -> None:
    """Rows and cut-off shifted together, over months, leap days and years, give the same features."""
    then = (utc(T) + dt.timedelta(days=days)).replace(tzinfo=None).isoformat(" ")
    shifted = features(rows, cutoff=then)
    assert {(who, T): row for (who, _), row in shifted.items()} == features(rows)


@QUICK
@given(ROWS)
def test_only_what_was_known_counts(rows: list[Row]) -> None:
    check_only_what_was_known_counts(rows)


@QUICK
@given(ROWS)
def test_nothing_later_counts_where_all_come_at_once(rows: list[Row]) -> None:
    check_nothing_later_counts_where_all_come_at_once(rows)


@QUICK
@given(ROWS, st.integers(0, 30 * DAY))
def test_more_of_what_is_to_come_changes_nothing(rows: list[Row], delay: int) -> None:
    check_more_of_what_is_to_come_changes_nothing(rows, delay)


@QUICK
@given(ROWS, st.integers(-800, 800))
def test_only_ages_count(rows: list[Row], days: int) -> None:
    check_only_ages_count(rows, days)


@pytest.mark.slow
@THOROUGH
@given(ROWS, st.integers(0, 30 * DAY), st.integers(-800, 800))
def test_all_of_it_on_many_more_shops(rows: list[Row], delay: int, days: int) -> None:
    check_only_what_was_known_counts(rows)
    check_nothing_later_counts_where_all_come_at_once(rows)
    check_more_of_what_is_to_come_changes_nothing(rows, delay)
    check_only_ages_count(rows, days)


@settings(max_examples=4, deadline=None)
@given(ROWS, st.booleans())
def test_no_row_is_in_both_the_features_and_the_label(rows: list[Row], created: bool) -> None:
    """Leave out one row after another: what changes the features of a cut-off leaves the spend after it as it was."""
    one = [row._replace(who="a") for row in rows[:12]]
    without = [[row for other, row in enumerate(one) if other != left] for left in range(-1, len(one))]
    every = [row._replace(who=f"a{number:02d}") for number, copy in enumerate(without) for row in copy]
    table = table_of(every, created=created)
    found = {who: row for (who, _), row in features_of(table, [T]).items()}
    bands = [name for name in next(iter(found.values()), {}) if name.endswith(("quintile", "tier", "trend", "stage"))]
    for row in found.values():
        for name in bands:
            del row[name]  # a band is among all customers
    labels = outcomes_of(table, [T], 28)
    # Who is told a label has features: nobody is in the population before they are known.
    assert set(labels) <= set(found)
    for number in range(1, len(without)):
        before, after = "a00", f"a{number:02d}"
        if before in labels and after in labels and found[before] != found[after]:
            assert labels[before][0] == labels[after][0]


@settings(max_examples=2, deadline=None)
@given(asked=st.lists(st.tuples(st.integers(0, 44), st.integers(0, 7)), min_size=1, max_size=60))
def test_equal_row_counts_and_order_in_equal_row_counts_and_order_out(
    served: tuple[Home, FeatureGateway, Descriptor], asked: list[tuple[int, int]]
) -> None:
    """People may be asked for twice, in any order, before they bought, or be unknown."""
    home, gateway, _ = served
    tokens = [home.subject(f"c{1 + who:05d}").tokens[0] if who < 40 else f"fs_ab{who:034d}" for who, _ in asked]
    question = entities(tokens, [CUTOFFS[at] for _, at in asked])
    answer = gateway.historical(principal(), "churn_v1", question)
    assert answer.select(["customer_token", "event_timestamp"]).equals(question)
    once = {pair: row["lifetime_orders"] for pair, row in zip(asked, answer.to_pylist(), strict=True)}
    assert [row["lifetime_orders"] for row in answer.to_pylist()] == [once[pair] for pair in asked]
    assert AS_OF not in [CUTOFFS[at] for _, at in asked]
