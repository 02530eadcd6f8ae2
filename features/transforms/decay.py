"""Counts and spend that fade with age: half of an event's weight is gone after one half-life."""

from __future__ import annotations

import math

import ibis
import ibis.expr.types as ir

from .feature import Windows
from .orders import DAY, KEYS, LEAST_TENURE_DAYS, MONEY, TERM, Snapshots, days

__all__ = ["decay"]

EWMA_HALF_LIFE = 84


def decay(snapshots: Snapshots, windows: Windows) -> ir.Table:
    """Return customer_token, event_timestamp and the decay family; one row for who has bought.

    Each faded term is rounded to 1e-6 before it is added, so that the sum is exact in any order.
    `ewma_daily_spend_84` divides the faded spend by the faded days since the first purchase,
    at least 14.
    """
    past = snapshots.events
    weights = {life: _weight(past.age, life) for life in windows.half_lives}
    faded = past.group_by(*KEYS).agg(
        orders=past.purchase.sum(),
        oldest=past.age.max(where=past.purchase),
        **{f"decayed_orders_{life}": _sum(weight, past.purchase) for life, weight in weights.items()},
        **{
            f"decayed_spend_{life}": _sum(past.value.cast("float64") / MONEY * weight, None)
            for life, weight in weights.items()
        },
    )
    lasting = faded.filter(faded.orders > 0)
    rate = math.log(2) / EWMA_HALF_LIFE
    seen = (1 - (days(ibis.greatest(lasting.oldest, LEAST_TENURE_DAYS * DAY)) * -rate).exp()) / rate
    return lasting.mutate(ewma_daily_spend_84=lasting[f"decayed_spend_{EWMA_HALF_LIFE}"] / seen).drop(
        "orders", "oldest"
    )


def _weight(age: ir.Value, half_life: int) -> ir.Value:
    # A power of two is exact after whole half-lives on every engine, so that a sum's last digit is the same on all.
    return ibis.literal(2.0, "float64") ** (days(age) / float(-half_life))


def _sum(term: ir.Value, where: ir.BooleanValue | None) -> ir.Value:
    exact = (term * TERM).round().cast("int64")
    total = exact.sum() if where is None else exact.sum(where=where)
    return total.fill_null(0).cast("float64") / ibis.literal(float(TERM), "float64")
