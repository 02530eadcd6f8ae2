"""Interactions as features, by hand: each kind counted and dated, nothing later, nothing that came later."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.build import cutoff_table
from features.datasets.descriptor import Descriptor, load_descriptor
from features.engine import DuckDb
from features.services import shop_features
from features.transforms.engagement import engagement
from features.transforms.feature import Use, windows_for
from privacy.classification import Purpose
from privacy.errors import BadInput, Refused
from tests.shops import make_shop, shop_document

from .conftest import AS_OF, Home, principal

T = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
UTC = pa.timestamp("us", "UTC")


def day(back: float) -> dt.datetime:
    return T - dt.timedelta(days=back)


def engaged(people: list[str], met: list[tuple[str, float, str, float | None]]) -> dict[str, dict[str, Any]]:
    """Features at T of `people`, of interactions (who, days before T, kind, days before T when it came)."""
    who, back, kind, came = zip(*met, strict=True)
    interactions = pa.table({
        "customer_token": who, "happened_at": pa.array(map(day, back), UTC), "kind": kind,
        "created": pa.array([None if days is None else day(days) for days in came], UTC),
    })  # fmt: skip
    known = pa.table({"customer_token": people, "event_timestamp": pa.array([T] * len(people), UTC)})
    with DuckDb(threads=1).connect() as connection:
        tables = [connection.place(known, "known"), connection.place(interactions, "interactions")]
        found = engagement(*tables, cutoff_table(connection, [T]), windows_for(False)).to_pyarrow().to_pylist()
    assert len(found) == len(people)
    return {row.pop("customer_token"): row for row in found if row.pop("event_timestamp") == T}


def test_interactions_by_hand() -> None:
    rows = engaged(
        ["met", "quiet"],
        [
            ("met", 84, "campaign", None),  # the edge is inside
            ("met", 84.5, "campaign", None),  # beyond the window
            ("met", 3, "Campaign", None),  # in any case
            ("met", 2, "campaign", 0),  # came at the cut-off: not known
            ("met", 0, "campaign", None),  # not before it
            ("met", 10, "coupon", 10),
            ("met", 100, "service", None),
            ("met", 1, "newsletter", None),  # of no kind that counts
            ("never bought", 1, "web", None),
        ],
    )
    assert rows["met"] == {
        "campaign_count_84d": 2, "coupon_count_84d": 1, "service_count_84d": 0, "web_count_84d": 0,
        "campaign_recency_days": 3, "coupon_recency_days": 10, "service_recency_days": 100, "web_recency_days": None,
        "coupon_response": 0.5,
    }  # fmt: skip
    assert set(rows) == {"met", "quiet"}
    assert {name: value for name, value in rows["quiet"].items() if value is not None} == {
        f"{kind}_count_84d": 0 for kind in ("campaign", "coupon", "service", "web")
    }


def shop_with_interactions(directory: Path, **happened: Any) -> Descriptor:
    document = shop_document()
    columns = {
        "customer_id": {"from": "customer", "sensitivity": "direct_identifier"},
        "happened_at": {"from": "ts", "sensitivity": "behavioural", **happened},
        "kind": {"from": "what", "sensitivity": "behavioural"},
    }
    path = make_shop(directory, customers=8, tables={
        **document["tables"], "interactions": {"source": "met.parquet", "columns": columns},
    })  # fmt: skip
    rows = [{"customer": "c00001", "ts": AS_OF - dt.timedelta(days=5), "what": "service"}] * 2
    pq.write_table(pa.Table.from_pylist(rows), directory / "met.parquet")
    return load_descriptor(str(path))


@pytest.mark.slow
def test_a_shop_that_tells_has_a_service_of_them(home: Home, tmp_path: Path) -> None:
    descriptor = shop_with_interactions(tmp_path / "shop")
    home.ingest(descriptor)
    home.build(descriptor)
    gateway = home.gateway()
    gateway.apply(descriptor)
    rows = gateway.snapshot_rows(principal(), "engagement_v1", AS_OF)
    own = home.subject("c00001").tokens[0]
    contacts = {
        row["customer_token"]: (row["service_count_84d"], row["service_recency_days"]) for row in rows.to_pylist()
    }
    assert contacts.pop(own) == (2, 5)
    assert set(contacts.values()) == {(0, None)}
    assert not set(rows.column_names[2:]) & set(gateway.snapshot_rows(principal(), "churn_v1", AS_OF).column_names[2:])
    with pytest.raises(Refused, match="does not serve the purpose marketing"):
        gateway.snapshot_rows(principal(purpose=Purpose.MARKETING), "engagement_v1", AS_OF)


def test_a_shop_without_them_builds_none(shop: Any) -> None:
    assert not [feature for feature in shop_features(shop(customers=1)) if feature.use is Use.ENGAGEMENT]


def test_a_moment_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"'interactions\.happened_at' must be a timestamp"):
        shop_with_interactions(tmp_path / "shop", type="date")
