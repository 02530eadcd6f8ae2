"""Features as they were known: the gateway's join against Feast's own, and by hand."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from feast import FeatureStore

from features.definitions import repo_config
from features.gateway_types import ServiceInfo
from features.point_in_time import as_known
from features.storage import TableStore
from privacy.classification import Purpose
from privacy.errors import CheckFailed

from .conftest import AS_OF, CUTOFFS, principal

UTC = pa.timestamp("us", "UTC")
DAY = dt.timedelta(days=1)
TTL = dt.timedelta(days=14)
INFO = ServiceInfo("churn_v1", (Purpose.RETENTION,), ("spend", "tier"), "shop", frozenset({"tier"}))


def test_the_gateway_knows_what_feast_knows(served) -> None:  # type: ignore[no-untyped-def]
    home, gateway, descriptor = served
    people = gateway.snapshot_rows(principal(), "churn_v1", AS_OF)["customer_token"].to_pylist()
    drawn = np.random.default_rng(7)
    asked = pa.table(
        {
            "customer_token": drawn.choice([*people, "fs_nobody"], 200).tolist(),
            "event_timestamp": pa.array(drawn.choice([*CUTOFFS, AS_OF], 200).tolist(), UTC),
        }
    )
    info = next(info for info in gateway.services() if info.name == "churn_v1")
    store = home.paths.feature_store(descriptor.name)
    mine = as_known(store, info, asked, dt.timedelta(days=35))
    feast = FeatureStore(config=repo_config(home.paths.registry, home.paths.online))
    frame = asked.to_pandas().assign(row=range(200))
    own = feast.get_historical_features(frame, feast.get_feature_service("churn_v1")).to_df().sort_values("row")
    assert mine["customer_token"].to_pylist() == own["customer_token"].tolist()
    for name in info.features:
        np.testing.assert_array_equal(mine[name].to_numpy(), own[name].to_numpy(np.float64))
    assert mine["recency_days"].null_count < 200


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    """One person's rows of the 1st, the 8th and the 29th, another's of the 8th."""
    rows = pa.table(
        {
            "customer_token": ["fs_a", "fs_a", "fs_a", "fs_b"],
            "event_timestamp": pa.array([AS_OF, AS_OF + 7 * DAY, AS_OF + 28 * DAY, AS_OF + 7 * DAY], UTC),
            "spend": [1.0, 2.0, 3.0, None],
            "tier": ["tin", "gold", None, "tin"],
        }
    )
    return stored(tmp_path / "features", rows)


def stored(root: Path, rows: pa.Table) -> TableStore:
    made = TableStore(root)
    with made.writer() as writer:
        writer.add("customer_features", rows.to_batches())
        writer.commit({})
    return made


@pytest.mark.parametrize(
    ("after", "spend", "tier"),
    [
        (-1, None, None),  # before the first
        (0, 1.0, "tin"),  # at its very moment
        (6, 1.0, "tin"),
        (7, 2.0, "gold"),
        (21, 2.0, "gold"),  # as old as may be
        (22, None, None),  # too old
        (28, 3.0, None),
        (42, 3.0, None),
        (43, None, None),
    ],
)
def test_the_newest_row_counts_as_long_as_it_is_fresh(
    store: TableStore, after: int, spend: float | None, tier: str | None
) -> None:
    asked = pa.table({"customer_token": ["fs_a"], "event_timestamp": pa.array([AS_OF + after * DAY], UTC)})
    told = as_known(store, INFO, asked, TTL)
    assert told["spend"].to_pylist() == [spend]
    assert told["tier"].to_pylist() == [tier]


def test_every_question_comes_back_once_and_in_order(store: TableStore) -> None:
    tokens = ["fs_b", "fs_nobody", "fs_a", "fs_b", "fs_a", "fs_b"]
    moments = [AS_OF + after * DAY for after in (7, 7, 0, 8, 7, 6)]
    asked = pa.table({"customer_token": tokens, "event_timestamp": pa.array(moments, UTC)})
    told = as_known(store, INFO, asked, TTL)
    assert told.column_names == ["customer_token", "event_timestamp", "spend", "tier"]
    assert told["customer_token"].to_pylist() == tokens
    assert told["event_timestamp"].to_pylist() == moments
    assert told["tier"].to_pylist() == ["tin", None, "tin", "tin", "gold", None]
    assert as_known(store, INFO, asked.slice(0, 0), TTL).num_rows == 0


def test_two_rows_of_one_moment_are_refused(tmp_path: Path) -> None:
    moments = pa.array([AS_OF, AS_OF], UTC)
    rows = pa.table(
        {"customer_token": ["fs_a", "fs_a"], "event_timestamp": moments, "spend": [1.0, 2.0], "tier": ["a", "b"]}
    )
    with pytest.raises(CheckFailed, match="1 row asked of churn_v1, some came back more than once"):
        as_known(stored(tmp_path / "features", rows), INFO, rows.select([0, 1]).slice(0, 1), TTL)
