"""A shop built, asked about and put online on Spark, as on DuckDB: with Feast's own offline store too."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from feast import FeatureStore

from features import build as building
from features import sources, table_writer
from features.build import EVENTS, FEATURES, build
from features.datasets.descriptor import Descriptor, load_descriptor
from features.definitions import repo_config
from features.engine import DuckDb
from features.engine_spark import Spark
from features.gateway import FeatureGateway, GatewaySettings
from features.point_in_time import as_known, population
from features.storage import TableStore
from privacy.policy import Policy
from tests.feast_stores import quietly

from .conftest import AS_OF, CUTOFFS, Home
from .pushes import event_of, push
from .test_spark import assert_equal, everything

pytestmark = pytest.mark.slow
TTL = dt.timedelta(days=35)


@pytest.fixture
def late_shop(home: Home, shop: Callable[..., Descriptor], monkeypatch: pytest.MonkeyPatch) -> tuple[Home, Descriptor]:
    """A shop whose lines are folded in groups of people, one of whom has a line that came late."""
    monkeypatch.setattr(table_writer, "BUCKET_ROWS", 100)
    descriptor = shop(customers=12)
    home.ingest(descriptor)
    late = {"customer": "c00001", "invoice": "late-1", "ts": CUTOFFS[6] - dt.timedelta(days=3), "quantity": 1.0,
            "price": 7.0, "stock": 3, "department": "dairy", "discount": 0.0}  # fmt: skip
    push(home, descriptor, [event_of(late)])
    monkeypatch.setattr(building, "LINES_AT_ONCE", 400)
    return home, descriptor


def test_a_build_in_groups_is_as_on_duckdb(late_shop: tuple[Home, Descriptor], spark: Spark) -> None:
    home, descriptor = late_shop
    protected = home.paths.protected_store(descriptor.name)
    assert len(protected.groups("transactions", building.LINES_AT_ONCE)) > 1
    mine, other = (TableStore(home.root / name) for name in ("spark", "duckdb"))
    build(descriptor, protected, mine, CUTOFFS[-2:], AS_OF, engine=spark)
    build(descriptor, protected, other, CUTOFFS[-2:], AS_OF)
    for table in (FEATURES, EVENTS):
        assert_equal(mine.read(table), other.read(table))
    assert_equal(population(mine, CUTOFFS[-2:], 28, 56, spark), population(other, CUTOFFS[-2:], 28, 56))


def test_feast_on_spark_tells_what_it_tells_on_duckdb(
    home: Home, shop: Callable[..., Descriptor], spark: Spark
) -> None:
    descriptor = shop(customers=12)
    home.ingest(descriptor)
    home.build(descriptor)
    own, known = historical(home, descriptor, spark)
    assert_equal(own, historical(home, descriptor, None)[0])
    assert_equal(own, known)  # Feast's own, and the gateway's
    online = materialized(home, descriptor, spark)
    assert online == materialized(home, descriptor, None)
    assert len(online["customer_token"]) == 12
    assert None not in online["recency_days"]


def test_households_of_complete_journey_are_as_on_duckdb(spark: Spark) -> None:
    descriptor = load_descriptor("complete_journey")
    columns = ["customer_id", "order_id", "ordered_at", "amount", "category", "discount", "coupon"]
    batches = sources.batches(descriptor, descriptor.tables["transactions"])
    kept = [_of_a_tenth(batch.select(columns)) for batch in batches]
    lines = pa.Table.from_batches(kept).rename_columns(["customer_token", "order_token", *columns[2:]])
    lines = lines.set_column(0, "customer_token", lines["customer_token"].cast(pa.string()))
    assert lines.num_rows > 100_000
    moments = list(descriptor.targets.clv.test_cutoffs or ()) + list(descriptor.targets.churn.test_cutoffs or ())[:1]
    mine, other = (everything(engine, lines, moments) for engine in (spark, DuckDb()))
    for name, table in mine.items():
        assert_equal(table, other[name])
    assert mine["features"].num_rows > 400


def _of_a_tenth(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The lines of the households whose number ends in 7."""
    return batch.filter(pc.ends_with(batch["customer_id"].cast(pa.string()), "7"))


def gateway_on(home: Home, engine: Spark | None) -> FeatureGateway:
    settings = replace(GatewaySettings(home.paths), engine=engine)
    return FeatureGateway(settings, home.keyring, Policy.load(), home.audit, home.suppression, home.consents)


def historical(home: Home, descriptor: Descriptor, engine: Spark | None) -> tuple[pa.Table, pa.Table]:
    """What Feast itself tells of people at some moments, and what the gateway does."""
    gateway = gateway_on(home, engine)
    gateway.apply(descriptor)
    store = home.paths.feature_store(descriptor.name)
    people = sorted(set(store.read(FEATURES, ["customer_token"])["customer_token"].to_pylist()))
    moments = [moment for moment in (CUTOFFS[0], CUTOFFS[-1], AS_OF) for _ in people]
    asked = pa.table({"customer_token": people * 3, "event_timestamp": pa.array(moments, pa.timestamp("us", "UTC"))})
    info = next(info for info in gateway.services() if info.name == "churn_v1")
    feast = FeatureStore(config=repo_config(home.paths.registry, home.paths.online, engine))
    with quietly():
        job = feast.get_historical_features(asked.to_pandas(), feast.get_feature_service("churn_v1"))
        frame = job.to_df()
    own = pa.table(
        {
            "customer_token": pa.array(frame["customer_token"], pa.string()),
            "event_timestamp": _moments(pa.array(frame["event_timestamp"])),
            **{name: pa.array(frame[name].to_numpy(np.float64), from_pandas=True) for name in info.features},
        }
    )
    known = as_known(store, info, asked, TTL, engine)
    return own, known.select(own.column_names)


def _moments(column: pa.Array) -> pa.Array:
    """Moments in UTC: Feast's Spark store tells them without a zone."""
    naive = column.cast(pa.timestamp("us")) if column.type.tz is None else column
    return naive.cast(pa.timestamp("us", "UTC"))


def materialized(home: Home, descriptor: Descriptor, engine: Spark | None) -> dict[str, list[object]]:
    """What Feast tells of everybody online after its own `materialize`."""
    gateway = gateway_on(home, engine)
    gateway.apply(descriptor)
    Path(home.online_file).unlink(missing_ok=True)
    feast = FeatureStore(config=repo_config(home.paths.registry, home.paths.online, engine))
    with quietly():
        feast.materialize(AS_OF - TTL, AS_OF + dt.timedelta(days=1))
    tokens = home.paths.feature_store(descriptor.name).read(FEATURES, ["customer_token"])["customer_token"].to_pylist()
    rows = [{"customer_token": token} for token in sorted(set(tokens))]
    found = feast.get_online_features(feast.get_feature_service("churn_v1"), rows).to_dict()
    assert gateway.online_size() == len(rows)
    return found
