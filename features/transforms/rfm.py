"""Recency, frequency and money: how lately, how often and for how much a customer buys."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from .feature import Windows
from .orders import DAY, KEYS, LEAST_TENURE_DAYS, Snapshots, days, money, square, std

__all__ = ["rfm"]


def rfm(snapshots: Snapshots, windows: Windows) -> ir.Table:
    """Return customer_token, event_timestamp and the rfm family; one row for who has bought."""
    past = snapshots.events
    bought, value = past.purchase, past.value
    counts = {f"orders_{span}d": (bought & (past.age <= span * DAY)).sum().cast("float64") for span in windows.days}
    spends = {f"spend_{span}d": money(value.sum(where=past.age <= span * DAY).fill_null(0)) for span in windows.days}
    totals = past.group_by(*KEYS).agg(
        orders=bought.sum(),
        newest=past.age.min(where=bought),
        oldest=past.age.max(where=bought),
        net=value.sum(),
        gross=value.sum(where=bought),
        squares=square(value).sum(where=bought),
        least=value.min(where=bought),
        most=value.max(where=bought),
        middle=bought.ifelse(value, ibis.null("int64")).median(),  # Ibis's own `where` is wrong on Spark
        **counts,
        **spends,
    )
    lasting = totals.filter(totals.orders > 0)
    joined = lasting.left_join(_last_and_first(past), list(KEYS), rname="{name}_edge")
    tenure = ibis.greatest(joined.oldest, LEAST_TENURE_DAYS * DAY)
    return joined.select(
        *KEYS,
        recency_days=days(joined.newest),
        tenure_days=days(ibis.least(joined.oldest, windows.longest * DAY)),
        **{name: joined[name] for name in (*counts, *spends)},
        order_rate=joined.orders.cast("float64") / days(tenure),
        spend_rate=money(joined.net) / days(tenure),
        order_value_mean=money(joined.gross) / joined.orders.cast("float64"),
        order_value_median=money(joined.middle),
        order_value_std=std(joined.gross, joined.squares, joined.orders, joined.least == joined.most)
        / ibis.literal(1e4, "float64"),
        order_value_max=money(joined.most),
        order_value_last=money(joined.last),
        order_value_last3=money(joined.last3) / ibis.least(joined.orders, 3).cast("float64"),
        order_value_first=money(joined.first),
    )


def _last_and_first(past: ir.Table) -> ir.Table:
    bought = past.filter(past.purchase)
    group = ibis.window(group_by=[bought[key] for key in KEYS])
    placed = bought.mutate(total=bought.number.max().over(group))
    rank = placed.total - placed.number
    return placed.group_by(*KEYS).agg(
        last=placed.value.sum(where=rank == 0),
        last3=placed.value.sum(where=rank < 3),
        first=placed.value.sum(where=placed.number == 1),
    )
