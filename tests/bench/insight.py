"""What insight is worth on Complete Journey: how much of what is to come value tiers and life-cycle stages tell.

Value tiers are held against as many equal groups by the model's own EWMA of spend: the share of the variance of
spend in the next 112 days that lies between groups, on the fixed test cut-off. Stages are held against the marginal:
log loss of the stage 28 days later, the transition matrix learned on weeks 16 to 44 and told for 48 and 52.

Example: python -m tests.bench.insight
"""

from __future__ import annotations

import datetime as dt
import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from features import sources
from features.build import FAMILIES, cutoff_table
from features.datasets.descriptor import load_descriptor
from features.engine import DuckDb
from features.transforms import orders
from features.transforms.feature import windows_for
from features.transforms.insight import insight, transitions
from features.transforms.outcomes import outcomes
from features.transforms.vocabulary import STAGES
from tests.bench.bars import Bar, tell

VARIANCE, LOG_LOSS = 1.0, 0.85
START = dt.datetime(2017, 1, 1, tzinfo=dt.UTC)
WEEKS = (16, 20, 24, 28, 32, 36, 40, 44, 48, 52)
TESTED_FROM = 44
HORIZON, STEP = 112, 28


@dataclass(frozen=True)
class Told:
    """Complete Journey as insight sees it: people at the test cut-off and their spend after it; pairs of stages."""

    people: pd.DataFrame
    learned: np.ndarray
    tested: np.ndarray


def bars() -> list[Bar]:
    """Both figures; each a ratio to its baseline on the same rows."""
    told = measured()
    return [
        Bar("value tiers, variance told over quintiles'", variance_ratio(told.people), VARIANCE, False),
        Bar("life-cycle stage, log loss over marginal's", log_loss_ratio(told.learned, told.tested), LOG_LOSS, True),
    ]


def measured() -> Told:
    """Compute what the figures need from the order lines themselves; what the shop withholds is no part of it."""
    descriptor = load_descriptor("complete_journey")
    names = {"customer_id": "customer_token", "order_id": "order_token", "ordered_at": "ordered_at", "amount": "amount"}
    batches = sources.batches(descriptor, descriptor.tables["transactions"])
    lines = pa.Table.from_batches(batch.select(list(names)) for batch in batches).rename_columns(list(names.values()))
    moments = [START + dt.timedelta(weeks=week) for week in WEEKS]
    [tested] = descriptor.targets.clv.test_cutoffs
    windows, keys = windows_for(descriptor.slow), list(orders.KEYS)
    with DuckDb().connect() as connection:
        happened = connection.freeze(orders.events(connection.place(lines, "lines")), "happened")
        cutoffs = cutoff_table(connection, moments)
        paired = orders.snapshots(happened, None, cutoffs, longest_days=windows.longest)
        past = orders.Snapshots(connection.freeze(paired.events, "past"), None)
        known, *others = (connection.freeze(family(past, windows), family.__name__) for family in FAMILIES)
        for other in others:
            known = known.inner_join(other, keys)
        known = connection.freeze(known, "known")
        banded = connection.freeze(insight(known, windows), "banded")
        rate = known.select(*keys, "ewma_daily_spend_84")
        now = banded.inner_join(rate, keys).filter(banded.event_timestamp == tested)
        ahead = outcomes(happened, cutoff_table(connection, [tested]), horizon_days=HORIZON, active_within_days=None)
        people = now.inner_join(ahead.select(*keys, "spend_in_horizon"), keys).to_pandas()
        early = banded.event_timestamp <= START + dt.timedelta(weeks=TESTED_FROM)
        late = banded.event_timestamp >= START + dt.timedelta(weeks=TESTED_FROM)
        learned, told = (transitions(banded.filter(part), STEP).to_pandas() for part in (early, late))
    return Told(people, _matrix(learned), _matrix(told))


def variance_ratio(people: pd.DataFrame) -> float:
    """Share of the variance of spend to come between value tiers, over that between fifths by EWMA."""
    order = people["ewma_daily_spend_84"].rank(method="min") - 1
    fifth = (5 * order // len(people)).astype(int)
    return _between(people, people["value_tier"]) / _between(people, fifth)


def log_loss_ratio(learned: np.ndarray, tested: np.ndarray) -> float:
    """Log loss of the later stage by the learned transition matrix, over that by the learned marginal."""
    rows, marginal = learned + 1, learned.sum(axis=0) + 1
    by_stage = np.log(rows / rows.sum(axis=1, keepdims=True))
    by_marginal = np.log(marginal / marginal.sum())
    return float((tested * by_stage).sum() / (tested.sum(axis=0) * by_marginal).sum())


def _between(people: pd.DataFrame, groups: pd.Series) -> float:
    spend = people["spend_in_horizon"]
    means = spend.groupby(groups).transform("mean")
    return float(((means - spend.mean()) ** 2).sum() / ((spend - spend.mean()) ** 2).sum())


def _matrix(pairs: pd.DataFrame) -> np.ndarray:
    matrix = pairs.pivot_table(index="stage", columns="later", values="times", fill_value=0)
    return matrix.reindex(index=STAGES, columns=STAGES, fill_value=0).to_numpy(np.float64)


if __name__ == "__main__":
    sys.exit(tell(bars()))
