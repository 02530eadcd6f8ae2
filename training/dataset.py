"""Snapshots from the gateway -> training sets that are the same in every home.

Tokens are random per home, so nothing here may depend on them: rows are sorted by cut-off and feature values,
customers are told apart by a hash of what is known of them, and the digest leaves tokens out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from privacy.consent import LEFT_OUT
from privacy.counted import counted
from privacy.errors import BadInput, CheckFailed
from training.cutoffs import CutoffPlan, Task, plan_cutoffs
from training.models._base import CHURN, feature_matrix
from training.models.purchase import PURCHASE_COLUMNS

__all__ = ["CutoffPlan", "Snapshots", "Task", "TrainingGateway", "TrainingSet", "fetch", "plan_cutoffs"]

READ: Final = "features.read"
"""What the policy calls the reading of features; whoever may attack need not be one who may train."""
_PERSON: Final = "customer_token"
_MOMENT: Final = "event_timestamp"
FEWEST_CUSTOMERS: Final = 30
FEWEST_A_SIDE: Final = 5
"""Customers of either outcome: below this a model, and every figure about it, would be about single people."""
_KEYS: Final = frozenset({_PERSON, _MOMENT, "created_timestamp", "audit_reference"})
_NOT_BOOSTED: Final = frozenset({*PURCHASE_COLUMNS, "lifetime_orders", "ewma_daily_spend_84"})
"""Cumulative counts grow with the window and mislead across cut-offs; the models use these in other ways."""


class TrainingGateway(Protocol):
    """What training needs of the feature gateway; `principal` is passed through, whatever its type."""

    def training_rows(
        self,
        principal: Any,
        service: str,
        cutoffs: Sequence[datetime],
        horizon_days: int,
        active_within_days: int | None,
        *,
        action: str,
    ) -> pa.Table: ...

    def historical(self, principal: Any, service: str, entities: pa.Table, *, action: str) -> pa.Table: ...


@dataclass(frozen=True)
class TrainingSet:
    """Rows of one or more cut-offs in canonical order.

    `frame` has float64 feature columns sorted by name; `label` is 1.0 for churn or the spend in the horizon;
    `customers` numbers people by the rank of their content hash; `digest` is 36 hexadecimal digits.
    """

    frame: pd.DataFrame
    label: np.ndarray
    cutoffs: np.ndarray
    customers: np.ndarray
    digest: str

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns trees may split on."""
        return tuple(name for name in self.frame.columns if name not in _NOT_BOOSTED)

    def folds(self, count: int) -> np.ndarray:
        """Return a fold per row: every row of a customer falls into the same one."""
        return self.customers % count

    def require(self, target: str, role: str) -> None:
        """Refuse what nothing can be learnt from.

        Raises:
            BadInput: too few customers, or too few of them churned, stayed or spent anything.
        """
        people = len(np.unique(self.customers))
        if people < FEWEST_CUSTOMERS:
            raise BadInput(
                f"{people} distinguishable customers in the {role} windows are too few to model {target}",
                remedy=f"at least {FEWEST_CUSTOMERS} are needed",
            )
        if target == CHURN and self.label.min() == self.label.max():
            which = "everybody" if self.label.max() else "nobody"
            raise BadInput(
                f"{which} of {people} customers churned in the {role} windows",
                remedy="choose another targets.churn.horizon_days or active_within_days",
            )
        did = {"stayed": self.label == 0, "churned": self.label > 0} if target == CHURN else {"spent": self.label > 0}
        for what, rows in did.items():
            found = len(np.unique(self.customers[rows]))
            if found < FEWEST_A_SIDE:
                raise BadInput(
                    f"{found or 'none'} of {people} customers {what} in the {role} windows",
                    remedy=f"at least {FEWEST_A_SIDE} are needed: choose another targets.{target}.horizon_days, "
                    "or check the amounts",
                )


@dataclass(frozen=True)
class Snapshots:
    """Everything a training job reads: three sets, and everyone's purchase statistics at two cut-offs."""

    train: TrainingSet
    test: TrainingSet
    closed: TrainingSet
    purchases_train: pd.DataFrame
    purchases_closed: pd.DataFrame
    feature_names: tuple[str, ...]
    without_consent: int | None = None
    """Rows of people who didn't consent or don't any more, left out; None for a purpose that rests on no consent."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a run is to tell of its data."""
        if self.without_consent is None:
            return ()
        left = counted(self.without_consent, "row is", "rows are")
        return (f"consent: {left} left out of people who didn't consent then, or don't now",)


def fetch(
    gateway: TrainingGateway, principal: object, service: str, task: Task, plan: CutoffPlan, *, action: str = READ
) -> Snapshots:
    """Read population, outcomes and features of every planned cut-off through the gateway, for the action named.

    The purchase model is fitted on everyone with an order before the latest training (later: closed) cut-off,
    so for churn, whose population is the active ones, these are read beside it.

    Raises:
        BadInput: a set is too small or has one outcome only.
        CheckFailed: the gateway returned other rows than asked for.
    """
    rows = gateway.training_rows(
        principal, service, plan.all, task.horizon_days, task.active_within_days, action=action
    )
    marks = (plan.train[-1], plan.closed[-1])
    outcomes = _frame(rows, rows.num_rows)
    asked = outcomes[[_PERSON, _MOMENT]]
    if task.active_within_days is not None:
        all_of = gateway.training_rows(principal, service, sorted(set(marks)), task.horizon_days, None, action=action)
        more = _frame(all_of, all_of.num_rows)[[_PERSON, _MOMENT]]
        asked = pd.concat([asked, more], ignore_index=True).drop_duplicates(ignore_index=True)
    if not len(outcomes):
        days = f"{plan.all[0].date()} to {plan.all[-1].date()}"
        raise BadInput(
            f"no customer is in any window of {task.target} ({days})",
            remedy="check the times of the ingested orders, then build again",
        )
    entities = pa.table(
        {
            _PERSON: pa.array(asked[_PERSON], pa.string()),
            _MOMENT: pa.array(asked[_MOMENT], pa.timestamp("us", tz="UTC")),
        }
    )
    wide = _frame(gateway.historical(principal, service, entities, action=action), len(asked))
    features = _numeric(wide)
    # Outcomes come first in `asked`, row by row, so positions match without a join.
    label = _label(task, outcomes)
    moments = asked[_MOMENT].to_numpy()
    sets = {
        role: _assemble(asked[_PERSON], features, moments, label, cutoffs)
        for role, cutoffs in (("training", plan.train), ("test", plan.test), ("closed", plan.closed))
    }
    for role, made in sets.items():
        made.require(task.target, role)
    purchases = [
        _canonical(features.loc[moments == _stamp(mark), list(PURCHASE_COLUMNS)]).reset_index(drop=True)
        for mark in marks
    ]
    left_out = (rows.schema.metadata or {}).get(LEFT_OUT)
    return Snapshots(
        sets["training"],
        sets["test"],
        sets["closed"],
        purchases[0],
        purchases[1],
        tuple(features.columns),
        None if left_out is None else int(left_out),
    )


def _frame(table: pa.Table, expected: int) -> pd.DataFrame:
    if table.num_rows != expected:
        raise CheckFailed(f"the gateway returned {table.num_rows} rows instead of {expected}")
    frame = table.to_pandas()
    frame[_MOMENT] = pd.to_datetime(frame[_MOMENT], utc=True).dt.tz_localize(None).astype("datetime64[us]")
    return frame


def _numeric(wide: pd.DataFrame) -> pd.DataFrame:
    names = sorted(name for name in wide.columns if name not in _KEYS)
    # Adding zero turns -0.0 into 0.0, which compare equal but hash apart.
    matrix = feature_matrix(wide, names) + 0.0
    matrix[np.isnan(matrix)] = np.nan
    return pd.DataFrame(matrix, columns=names)


def _label(task: Task, outcomes: pd.DataFrame) -> np.ndarray:
    if task.target == CHURN:
        return (feature_matrix(outcomes, ["orders_in_horizon"])[:, 0] == 0).astype(np.float64)
    return feature_matrix(outcomes, ["spend_in_horizon"], no_nulls=["spend_in_horizon"])[:, 0]


def _stamp(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.replace(tzinfo=None), "us")


def _assemble(
    tokens: pd.Series,
    features: pd.DataFrame,
    moments: np.ndarray,
    label: np.ndarray,
    cutoffs: Sequence[datetime],
) -> TrainingSet:
    chosen = np.flatnonzero(np.isin(moments[: len(label)], [_stamp(cutoff) for cutoff in cutoffs]))
    frame = features.iloc[chosen].assign(**{_MOMENT: moments[chosen].astype(np.int64), "": label[chosen]})
    hashes = _row_hashes(frame)
    people, _ = pd.factorize(tokens.iloc[chosen])
    # A sum is the same in any order; uint64 wraps around silently, as wanted here.
    content = np.zeros(people.max() + 1 if len(people) else 0, dtype=np.uint64)
    np.add.at(content, people, hashes)
    _, rank = np.unique(content, return_inverse=True)
    order = _order(frame)
    ordered = frame.iloc[order]
    digest = hashlib.sha256(",".join(frame.columns).encode())
    digest.update(hashes[order].tobytes())
    return TrainingSet(
        frame=ordered[list(features.columns)].reset_index(drop=True),
        label=ordered[""].to_numpy(),
        cutoffs=ordered[_MOMENT].to_numpy().astype("datetime64[us]"),
        customers=rank[people][order],
        digest=digest.hexdigest()[:36],
    )


def _canonical(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[_order(frame)]


def _order(frame: pd.DataFrame) -> np.ndarray:
    """Positions sorted by cut-off, then by every other column by name; equal rows are interchangeable."""
    names = sorted(frame.columns, key=lambda name: (name != _MOMENT, name))
    return np.lexsort([frame[name].to_numpy() for name in reversed(names)])


def _row_hashes(frame: pd.DataFrame) -> np.ndarray:
    return pd.util.hash_pandas_object(frame, index=False).to_numpy(dtype=np.uint64)
