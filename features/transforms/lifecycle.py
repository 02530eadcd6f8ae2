"""Where a customer stands: the sufficient statistics of buy-till-you-die models, and the status.

Source: Fader, Hardie and Lee 2005 (BG/NBD): x repeat purchases, t_x, T; Fader and Hardie 2013
(Gamma-Gamma): mean value of the repeat purchases.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from .feature import Windows
from .orders import KEYS, Snapshots, days, money

__all__ = ["lifecycle"]


def lifecycle(snapshots: Snapshots, windows: Windows) -> ir.Table:  # noqa: ARG001  one shape for all families
    """Return customer_token, event_timestamp and the lifecycle family; one row for who has bought."""
    past = snapshots.events
    bought = past.filter(past.purchase)
    known = bought.group_by(*KEYS).agg(
        orders=bought.count(),
        newest=bought.age.min(),
        oldest=bought.age.max(),
        repeated=bought.value.sum(where=bought.number > 1).fill_null(0),
    )
    repeats = known.orders - 1
    mean = (repeats > 0).ifelse(money(known.repeated) / repeats.cast("float64"), ibis.literal(0.0))
    return known.select(
        *KEYS,
        btyd_x=repeats.cast("float64"),
        btyd_t_x_days=days(known.oldest - known.newest),
        btyd_T_days=days(known.oldest),
        btyd_mean_value=mean,
        lifetime_orders=known.orders.cast("float64"),
    )
