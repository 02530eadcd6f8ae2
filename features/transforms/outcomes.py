"""Labels: what each customer did in the window after a cut-off, and who is in the population."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from .orders import DAY, KEYS, dated_cutoffs

__all__ = ["outcomes"]


def outcomes(happened: ir.Table, cutoffs: ir.Table, *, horizon_days: int, active_within_days: int | None) -> ir.Table:
    """Return who was a customer at each cut-off, and their next `horizon_days`.

    Columns: customer_token, event_timestamp, spend_in_horizon (net of returns, at least 0, currency),
    orders_in_horizon. The population bought before the cut-off, or, with `active_within_days`, in
    that many days before it, and this was known by then. The label window is [cut-off, cut-off + horizon).
    """
    dated = dated_cutoffs(cutoffs)
    close = ibis.literal(horizon_days * DAY, "int64")
    paired = happened.join(dated, [happened.second < dated.now + close], how="inner")
    before = paired.at < paired.event_timestamp
    known = before
    if "known" in paired.columns:
        known = before & (paired.known.isnull() | (paired.known < paired.event_timestamp))
    lead = paired.second - paired.now
    recent = known if active_within_days is None else known & (-lead <= active_within_days * DAY)
    summed = paired.group_by(*KEYS).agg(
        active=(paired.purchase & recent).sum(),
        spend=paired.value.sum(where=~before).fill_null(0),
        orders_in_horizon=(paired.purchase & ~before).sum(),
    )
    population = summed.filter(summed.active > 0)
    spend = ibis.greatest(population.spend.cast("float64") / 1e4, ibis.literal(0.0, "float64"))
    return population.select(*KEYS, spend_in_horizon=spend, orders_in_horizon=population.orders_in_horizon)
