"""How regularly a customer comes, and how overdue the next visit is."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from .feature import Windows
from .orders import DAY, KEYS, LEAST_TENURE_DAYS, Snapshots, days, money, share, square, std

__all__ = ["rhythm"]

WEEKS = 12
SLOPE_SCALE = 143
"""Sum of squared distances of the weeks 0..11 from their middle."""


def rhythm(snapshots: Snapshots, windows: Windows) -> ir.Table:
    """Return customer_token, event_timestamp and the rhythm family; one row for who has bought.

    Gaps are null for one purchase; weeks count back from the cut-off, empty ones as 0.
    """
    past = snapshots.events
    bought = past.filter(past.purchase)
    group = ibis.window(group_by=[bought[key] for key in KEYS])
    placed = bought.mutate(total=bought.number.max().over(group))
    gaps = placed.group_by(*KEYS).agg(
        orders=placed.count(),
        recent=(placed.age <= windows.recent * DAY).sum(),
        newest=placed.age.min(),
        oldest=placed.age.max(),
        total=placed.gap.sum(),
        squares=square(placed.gap).sum(),
        middle=placed.gap.median(),
        shortest=placed.gap.min(),
        longest=placed.gap.max(),
        last=placed.gap.sum(where=placed.number == placed.total),
    )
    joined = gaps.left_join(_weekly(past), list(KEYS), rname="{name}_week")
    number = joined.orders - 1
    mean = (number > 0).ifelse(days(joined.total) / number.cast("float64"), ibis.null("float64"))
    spread = std(joined.total, joined.squares, number, joined.shortest == joined.longest) / ibis.literal(
        float(DAY), "float64"
    )
    recency = days(joined.newest)
    lifetime = joined.orders.cast("float64") / days(ibis.greatest(joined.oldest, LEAST_TENURE_DAYS * DAY))
    return joined.select(
        *KEYS,
        gap_mean_days=mean,
        gap_std_days=spread,
        gap_median_days=days(joined.middle),
        gap_max_days=days(joined.longest),
        gap_last_days=days(joined.last),
        gap_cv=share(spread, mean),
        overdue_mean=share(recency, mean),
        overdue_max=share(recency, days(joined.longest)),
        overdue_z=(recency - mean) / (spread.fill_null(0.0) + 1.0),
        active_weeks_share=joined.weeks.fill_null(0).cast("float64") / float(WEEKS),
        weekly_spend_slope=money(joined.lean.fill_null(0)) / float(2 * SLOPE_SCALE),
        weekly_spend_std=joined.weekly_spend_std.fill_null(0.0),
        order_rate_trend=joined.recent.cast("float64") / float(windows.recent) / lifetime,
    )


def _weekly(past: ir.Table) -> ir.Table:
    # Week 0 is the latest: an age of exactly w weeks closes week w - 1, as windows include their edge.
    week = ((past.age - 1).cast("float64") / float(7 * DAY)).floor().cast("int64")
    lately = past.filter(past.age <= WEEKS * 7 * DAY).mutate(week=ibis.greatest(week, 0))
    weekly = lately.group_by(*KEYS, "week").agg(
        value=lately.value.sum().cast("int64"), purchases=lately.purchase.sum().cast("int64")
    )
    summed = weekly.group_by(*KEYS).agg(
        weeks=(weekly.purchases > 0).sum(),
        value=weekly.value.sum(),
        squares=square(weekly.value).sum(),
        lean=((WEEKS - 1 - 2 * weekly.week) * weekly.value).sum(),
        filled=weekly.count(),
        least=weekly.value.min(),
        most=weekly.value.max(),
    )
    constant = (summed.filled == WEEKS) & (summed.least == summed.most)
    spread = std(summed.value, summed.squares, ibis.literal(WEEKS, "int64"), constant)
    return summed.select(*KEYS, "weeks", "lean", weekly_spend_std=spread / ibis.literal(1e4, "float64"))
