"""A synthetic shop behind a hand-made gateway, and a fresh MLflow store a test."""

from __future__ import annotations

import os

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from training.cutoffs import Task
from training.registry import Registry
from training.tracking import Tracker, store_client

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
AS_OF = datetime(2025, 2, 24, tzinfo=UTC)
CHURN_TASK = Task("churn", 28, 56)
CLV_TASK = Task("clv", 56)


def snapshot(customers: int, moment: datetime, seed: int, *, telling: bool = True) -> pd.DataFrame:
    """Rows of one cut-off: buyers of different rates, of whom the weary (if telling) buy a tenth as much next."""
    random = np.random.default_rng([seed, (moment - FIRST).days])
    who = np.random.default_rng(seed)
    rate, worth = who.gamma(3.0, 0.02, customers) + 0.005, who.gamma(4.0, 5.0, customers) + 2.0
    age = np.full(customers, float(max((moment - FIRST).days, 1)))
    repeats = random.poisson(rate * age).astype(float)
    recency = np.minimum(random.exponential(1 / rate), age * 0.9)
    recency = np.where(repeats > 0, recency, age)
    weary = (random.random(customers) < 0.35).astype(float)
    pace = rate * np.where(weary > 0, 0.1, 1.3) if telling else np.full(customers, rate.mean())
    frame = pd.DataFrame(
        {
            "customer_token": [f"fs_{number:034x}" for number in range(customers)],
            "event_timestamp": pd.Series([moment] * customers, dtype="datetime64[us, UTC]"),
            "weary": weary,
            "recency_days": recency,
            "orders_28d": np.minimum(random.poisson(rate * 28), repeats + 1).astype(float),
            "order_value_mean": worth,
            "gap_mean_days": np.where(repeats > 0, age / np.maximum(repeats, 1), np.nan),
            "spend_rate": rate * worth,
            "decayed_orders_28": rate * 40 * random.uniform(0.7, 1.3, customers),
            "ewma_daily_spend_84": rate * worth * random.uniform(0.7, 1.3, customers),
            "btyd_x": repeats,
            "btyd_t_x_days": age - recency,
            "btyd_T_days": age,
            "btyd_mean_value": np.where(repeats > 0, worth, 0.0),
            "lifetime_orders": repeats + 1,
        }
    )
    for horizon in (28, 56):
        orders = random.poisson(pace * horizon)
        frame[f"orders_{horizon}"] = orders
        frame[f"spend_{horizon}"] = orders * worth * random.uniform(0.8, 1.2, customers)
    return frame


@dataclass
class TableGateway:
    """The two gateway methods that training uses, over snapshots made on demand; `shuffle` renames everyone."""

    customers: int = 150
    seed: int = 5
    telling: bool = True
    shuffle: int = 0
    change: Callable[[pd.DataFrame], pd.DataFrame] | None = None

    def rows(self, cutoffs: Sequence[datetime]) -> pd.DataFrame:
        """Every row of these cut-offs with outcomes, in an order of this home's own."""
        parts = [snapshot(self.customers, cutoff, self.seed, telling=self.telling) for cutoff in cutoffs]
        frame = pd.concat(parts, ignore_index=True)
        if self.change is not None:
            frame = self.change(frame)
        names = [f"fs_{number:034x}" for number in range(self.customers)]
        renamed = np.random.default_rng(self.shuffle).permutation(names)
        frame["customer_token"] = frame["customer_token"].map(dict(zip(names, renamed, strict=True)))
        return frame.sort_values(["customer_token", "event_timestamp"], ignore_index=True)

    def training_rows(
        self,
        principal: object,
        service: str,
        cutoffs: Sequence[datetime],
        horizon_days: int,
        active_within_days: int | None,
        *,
        action: str,
    ) -> pa.Table:
        """Population and outcomes."""
        frame = self.rows(cutoffs)
        if active_within_days is not None:
            frame = frame[frame["recency_days"] <= active_within_days]
        keys = frame[["customer_token", "event_timestamp"]]
        outcome = {
            "spend_in_horizon": frame[f"spend_{horizon_days}"].clip(lower=0.0),
            "orders_in_horizon": frame[f"orders_{horizon_days}"],
        }
        return pa.Table.from_pandas(keys.assign(**outcome), preserve_index=False)

    def historical(self, principal: object, service: str, entities: pa.Table, *, action: str) -> pa.Table:
        """Features in the order of the entities."""
        asked = entities.to_pandas()
        cutoffs = sorted({moment.to_pydatetime() for moment in asked["event_timestamp"]})
        frame = self.rows(cutoffs)
        frame = frame.drop(columns=[name for name in frame.columns if name.startswith("spend_") and name[6:].isdigit()])
        frame = frame.drop(columns=["orders_28", "orders_56"])
        joined = asked.merge(frame, on=["customer_token", "event_timestamp"], how="left", validate="one_to_one")
        return pa.Table.from_pandas(joined, preserve_index=False)


@dataclass(frozen=True)
class Store:
    """The stores of one home."""

    root: Path
    uri: str
    tracker: Tracker
    registry: Registry
    study_url: str


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables and nothing in them; making one takes seconds, copying it none."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    store_client(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def new_store(tmp_path: Path, empty_mlflow: Path) -> Callable[[str], Store]:
    """Make the stores of a further home."""

    def make(name: str) -> Store:
        root = tmp_path / name
        root.mkdir()
        shutil.copy(empty_mlflow, root / "mlflow.db")
        uri = f"sqlite:///{root / 'mlflow.db'}"
        return Store(root, uri, Tracker(uri, root / "artifacts"), Registry(uri), f"sqlite:///{root}/tuning/optuna.db")

    return make


@pytest.fixture
def store(new_store: Callable[[str], Store]) -> Store:
    """The stores of one home."""
    return new_store("home")


def days(*offsets: int) -> tuple[datetime, ...]:
    """Moments so many days after the first event."""
    return tuple(FIRST + timedelta(days=offset) for offset in offsets)
