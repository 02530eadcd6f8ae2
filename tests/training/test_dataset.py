"""Training sets are the same in every home, and refuse what can't be learnt from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from privacy.consent import LEFT_OUT
from privacy.errors import BadInput, CheckFailed
from tests.training.conftest import CHURN_TASK, CLV_TASK, TableGateway, days
from training.cutoffs import CutoffPlan, Task
from training.dataset import Snapshots, fetch

TRAIN, TEST = days(120, 148), days(180)
PLAN = CutoffPlan(TRAIN, TEST, (*TRAIN, *TEST), 28, "descriptor")


def read(gateway: TableGateway, task: Task = CHURN_TASK) -> Snapshots:
    return fetch(gateway, None, "churn_v1", task, PLAN)


def test_another_home_gives_the_same_sets() -> None:
    one, other = read(TableGateway()), read(TableGateway(shuffle=1))
    for left, right in ((one.train, other.train), (one.test, other.test), (one.closed, other.closed)):
        assert left.digest == right.digest
        pd.testing.assert_frame_equal(left.frame, right.frame, check_exact=True)
        assert left.label.tolist() == right.label.tolist()
        assert left.folds(3).tolist() == right.folds(3).tolist()
    pd.testing.assert_frame_equal(one.purchases_train, other.purchases_train, check_exact=True)


class OnConsent(TableGateway):
    """Tells, as the real one does, that rows were left out."""

    def training_rows(self, *arguments: Any, **named: Any) -> pa.Table:
        return super().training_rows(*arguments, **named).replace_schema_metadata({LEFT_OUT: b"1234"})


def test_rows_left_out_for_want_of_consent_are_noted() -> None:
    told = "consent: 1,234 rows are left out of people who didn't consent then, or don't now"
    assert read(OnConsent()).notes == (told,)
    assert read(TableGateway()).notes == ()


def test_one_changed_value_changes_the_digest() -> None:
    def nudge(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[frame.index[frame["recency_days"] < 50][-1], "order_value_mean"] += 1e-9
        return frame

    one, other = read(TableGateway()), read(TableGateway(change=nudge))
    assert one.test.digest != other.test.digest
    assert len(one.train.digest) == 36


def test_folds_keep_customers_together() -> None:
    data = read(TableGateway()).closed
    gateway = TableGateway().rows(PLAN.closed)
    worth = data.frame["order_value_mean"]  # constant for a customer, different between them
    for _, rows in data.frame.groupby(worth):
        assert len(np.unique(data.folds(3)[rows.index])) == 1
    assert sorted(np.unique(data.folds(3))) == [0, 1, 2]
    assert len(data.frame) < len(gateway)


def test_sets_hold_their_cutoffs_and_labels() -> None:
    data = read(TableGateway())
    assert set(data.train.cutoffs) == {np.datetime64(moment.replace(tzinfo=None), "us") for moment in TRAIN}
    assert (data.train.cutoffs == np.sort(data.train.cutoffs)).all()
    rows = TableGateway().rows(TEST)
    active = rows[rows["recency_days"] <= 56]
    assert len(data.test.label) == len(active)
    assert data.test.label.sum() == (active["orders_28"] == 0).sum()
    assert "customer_token" not in data.train.frame
    assert not {"lifetime_orders", "btyd_x"} & set(data.train.inputs)


def test_purchase_statistics_cover_the_inactive_too() -> None:
    rows = TableGateway().rows(TRAIN[-1:])
    data = read(TableGateway())
    assert len(data.purchases_train) == len(rows) > (rows["recency_days"] <= 56).sum()
    assert data.purchases_train["btyd_x"].sum() == rows["btyd_x"].sum()


def test_clv_labels_are_the_spend() -> None:
    plan = replace(PLAN, train=days(120), test=days(180), closed=days(120, 180), horizon_days=56)
    data = fetch(TableGateway(), None, "clv_v1", CLV_TASK, plan)
    assert data.test.label.sum() == pytest.approx(TableGateway().rows(days(180))["spend_56"].sum())


def only(count: int, frame: pd.DataFrame, column: str, theirs: float, others: float) -> pd.DataFrame:
    """Give the first `count` customers, who are active throughout, another outcome than everybody else."""
    chosen = frame["customer_token"].isin([f"fs_{number:034x}" for number in range(count)])
    frame.loc[chosen, "recency_days"] = 1.0 + frame["order_value_mean"] / 1000
    return frame.assign(**{column: np.where(chosen, theirs, others)})


@pytest.mark.parametrize(
    ("gateway", "task", "says"),
    [
        (TableGateway(10), CHURN_TASK, "customers in the training windows are too few"),
        (TableGateway(change=lambda frame: frame.assign(orders_28=0)), CHURN_TASK, "everybody of"),
        (TableGateway(change=lambda frame: frame.assign(orders_28=3)), CHURN_TASK, "nobody of"),
        (TableGateway(change=lambda f: only(4, f, "orders_28", 0, 3)), CHURN_TASK, r"4 of \d+ customers churned"),
        (TableGateway(change=lambda f: only(1, f, "orders_28", 3, 0)), CHURN_TASK, r"1 of \d+ customers stayed"),
        (TableGateway(change=lambda frame: frame.assign(spend_28=0.0)), Task("clv", 28), "none of 150 customers spent"),
        (TableGateway(change=lambda f: f.assign(spend_28=-4.0)), Task("clv", 28), "none of 150 customers spent"),
        (TableGateway(change=lambda f: only(2, f, "spend_28", 9.0, 0.0)), Task("clv", 28), "2 of 150 customers"),
        (TableGateway(change=lambda frame: frame.assign(recency_days=99.0)), CHURN_TASK, "no customer is in any"),
        (TableGateway(change=lambda frame: frame.assign(weary="yes")), CHURN_TASK, "'weary' is not numeric"),
    ],
)
def test_hopeless_data_is_refused(gateway: TableGateway, task: Task, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read(gateway, task)


def test_a_gateway_that_loses_rows_is_caught() -> None:
    class Losing(TableGateway):
        def historical(self, principal: object, service: str, entities: pa.Table, *, action: str) -> pa.Table:
            return super().historical(principal, service, entities, action=action).slice(1)

    with pytest.raises(CheckFailed, match="rows instead of"):
        read(Losing())
