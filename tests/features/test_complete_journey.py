"""Complete Journey: the counts of the models note, and contact details that are made up."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from features import sources
from features.build import cutoff_table
from features.contracts import Contract, Tally
from features.datasets import sample_shop
from features.datasets.descriptor import load_descriptor
from features.engine import DuckDb
from features.transforms import orders
from features.transforms.outcomes import outcomes


def test_the_fixed_splits_have_the_published_counts() -> None:
    descriptor = load_descriptor("complete_journey")
    table = descriptor.tables["transactions"]
    tally, contract = Tally(table.name), Contract(table, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    kept = []
    for batch in sources.batches(descriptor, table):
        assert contract.failures(batch).num_rows == 0
        tally.rows += batch.num_rows
        kept.append(batch.select(["customer_id", "order_id", "ordered_at", "amount"]))
    assert tally.rows == 1_469_307
    lines = pa.Table.from_batches(kept).rename_columns(["customer_token", "order_token", "ordered_at", "amount"])
    churn, clv = descriptor.targets.churn, descriptor.targets.clv
    with DuckDb().connect() as connection:
        happened = connection.freeze(orders.events(connection.place(lines, "lines")), "happened")

        def population(moments: tuple[dt.datetime, ...] | None, horizon: int, active: int | None) -> pa.Table:
            cutoffs = cutoff_table(connection, moments or ())
            found = outcomes(happened, cutoffs, horizon_days=horizon, active_within_days=active)
            return found.to_pyarrow()

        assert population(clv.train_cutoffs, 112, None).num_rows == 11_575
        test = population(clv.test_cutoffs, 112, None)["spend_in_horizon"].to_pylist()
        assert len(test) == 2_439
        assert sum(test) / len(test) == pytest.approx(581.80, abs=0.005)
        assert sum(spend > 0 for spend in test) / len(test) == pytest.approx(0.953, abs=5e-4)
        left = population(churn.test_cutoffs, 28, 56)["orders_in_horizon"].to_pylist()
        assert len(left) == 4_443
        assert left.count(0) / len(left) == pytest.approx(0.131, abs=5e-4)


def test_contact_details_are_made_up_but_well_formed() -> None:
    people = sample_shop.customers()
    assert people.num_rows == 2_469
    rows = people.to_pylist()
    chinese = [row for row in rows if "-" not in row["national_id"]]
    assert 0.45 < len(chinese) / len(rows) < 0.55
    for row in chinese:
        digits = row["national_id"]
        total = sum(int(digit) * weight for digit, weight in zip(digits, sample_shop.ID_WEIGHTS, strict=False))
        assert digits[17] == sample_shop.ID_CHECKS[total % 11]
        assert digits[6:14] == f"{row['birth_date']:%Y%m%d}"
    assert all(row["email"].endswith("@example.com") for row in rows)
    assert people.slice(0, 50).equals(sample_shop.customers().slice(0, 50))


def test_the_national_id_of_the_standard() -> None:
    # GB 11643-1999 gives 11010519491231002X as its example.
    digits = "11010519491231002"
    total = sum(int(digit) * weight for digit, weight in zip(digits, sample_shop.ID_WEIGHTS, strict=True))
    assert sample_shop.ID_CHECKS[total % 11] == "X"
