"""What is in the basket: variety, discounts, coupons, returns, size and price."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from .feature import Windows
from .orders import DAY, KEYS, TERM, Snapshots, money, share

__all__ = ["basket"]


def basket(snapshots: Snapshots, windows: Windows) -> ir.Table:
    """Return customer_token, event_timestamp and the basket family; one row for who has bought.

    Everything is over the longest window; null where nothing was bought in it or the shop has no
    such column.
    """
    past = snapshots.events
    within = past.age <= windows.longest * DAY
    sums = past.group_by(*KEYS).agg(
        orders=past.purchase.sum(),
        recent=(past.purchase & within).sum(),
        gained=past.gained.sum(where=within).fill_null(0),
        returned=past.returned.sum(where=within).fill_null(0),
        discount=past.discount.sum(where=within),
        coupon=past.coupon.sum(where=within),
        lines=past.lines.sum(where=within).fill_null(0),
    )
    lasting = sums.filter(sums.orders > 0)
    joined = _with_entropy(lasting, snapshots.categories)
    listed = joined.gained + joined.discount.fill_null(0)
    return joined.select(
        *KEYS,
        category_entropy=joined.category_entropy,
        discount_share=share(joined.discount, listed),
        coupon_share=share(joined.coupon, listed),
        return_share=share(joined.returned, joined.gained),
        items_per_order=share(joined.lines, joined.recent),
        price_mean=share(money(joined.gained), joined.lines),
    )


def _with_entropy(sums: ir.Table, categories: ir.Table | None) -> ir.Table:
    if categories is None:
        return sums.mutate(category_entropy=ibis.null("float64"))
    count = categories.lines.cast("float64")
    term = (count * count.ln() * TERM).round().cast("int64")
    spread = categories.group_by(*KEYS).agg(total=categories.lines.sum(), terms=term.sum())
    total = spread.total.cast("float64")
    entropy = total.ln() - spread.terms.cast("float64") / float(TERM) / total
    # One category has no spread at all; rounding must not say otherwise.
    clean = ibis.greatest(entropy.round(9), ibis.literal(0.0, "float64"))
    return sums.left_join(spread.select(*KEYS, category_entropy=clean), list(KEYS), rname="{name}_entropy")
