"""Lines that came into the shop's books late: unknown before they came, from the source to what the gateway tells."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.datasets.descriptor import load_descriptor
from privacy.errors import BadInput
from tests.shops import shop_document, write_descriptor

from .conftest import AS_OF, CUTOFFS, Home, principal
from .tables import entities

FIRST, SECOND = CUTOFFS[-2:]
BEFORE = FIRST - dt.timedelta(days=3)
BETWEEN = FIRST + dt.timedelta(days=1)


def late_shop(directory: Path, **column: Any) -> Path:
    """Nine customers who buy in time; `late`, whose only line came after the first cut-off, and `second`, whose
    second order did; one line claims to come from the future."""
    document = shop_document()
    document["tables"] = {"transactions": document["tables"]["transactions"]}
    columns = document["tables"]["transactions"]["columns"]
    columns["created"] = {"from": "loaded", "sensitivity": "behavioural", **column}
    rows = [(f"c{number}", BEFORE, None) for number in range(9)]
    rows += [("late", BEFORE, BETWEEN), ("second", BEFORE, BEFORE), ("second", BEFORE + dt.timedelta(days=1), BETWEEN)]
    rows += [("c0", BEFORE, dt.datetime(2030, 1, 1, tzinfo=dt.UTC))]
    lines = [
        {"customer": who, "invoice": f"{who}-{number}", "ts": at, "loaded": loaded, "quantity": 1.0, "price": 2.0,
         "stock": 1, "department": "dairy", "discount": 0.0}
        for number, (who, at, loaded) in enumerate(rows)
    ]  # fmt: skip
    directory.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(lines), directory / "lines.parquet")
    return write_descriptor(directory, document)


@pytest.mark.slow
def test_a_line_counts_from_when_it_came(home: Home, tmp_path: Path) -> None:
    descriptor = load_descriptor(str(late_shop(tmp_path / "shop")))
    report = home.ingest(descriptor)
    assert report.tables["transactions"].quarantined == {"created: in the future": 1}
    home.build(descriptor)
    gateway, who = home.gateway(), principal()
    gateway.apply(descriptor)
    late, second = (home.subject(customer).tokens[0] for customer in ("late", "second"))
    asked = entities([late, late, second, second], [FIRST, SECOND, FIRST, SECOND])
    found = gateway.historical(who, "churn_v1", asked)
    assert found["lifetime_orders"].to_pylist() == [None, 1, 1, 2]
    assert found["recency_days"].to_pylist() == [None, 31, 3, 30]
    known = {moment: gateway.snapshot_rows(who, "churn_v1", moment) for moment in (FIRST, SECOND, AS_OF)}
    assert [rows.num_rows for rows in known.values()] == [10, 11, 11]
    assert late not in known[FIRST]["customer_token"].to_pylist()
    population = gateway.training_rows(who, "churn_v1", [FIRST, SECOND], 28, None)
    people = [(row["customer_token"], row["event_timestamp"]) for row in population.to_pylist()]
    assert (late, FIRST) not in people
    assert {(late, SECOND), (second, FIRST), (second, SECOND)} <= set(people)


@pytest.mark.parametrize("column", [{"type": "string"}, {"type": "date"}, {"sensitivity": "sensitive"}])
def test_a_moment_that_cannot_be_compared_is_refused(column: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"'transactions\.created' must be a timestamp and behavioural or non_personal"):
        load_descriptor(str(late_shop(tmp_path / "shop", **column)))
