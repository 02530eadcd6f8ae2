"""What people met beside their purchases: campaigns, coupons, the service, the web; of shops that tell."""

from __future__ import annotations

import ibis.expr.types as ir

from .feature import Windows
from .orders import CREATED, DAY, KEYS, dated_cutoffs, days, seconds_of, share
from .vocabulary import KINDS

__all__ = ["engagement"]


def engagement(people: ir.Table, interactions: ir.Table, cutoffs: ir.Table, windows: Windows) -> ir.Table:
    """Return customer_token, event_timestamp and the engagement family; one row for each of `people`.

    An interaction counts at cut-offs strictly after it, and after it came into the books where `created` tells.
    """
    dated, longest = dated_cutoffs(cutoffs), windows.longest
    rules = [interactions.happened_at < dated.event_timestamp]
    if CREATED in interactions.columns:
        rules.append(interactions[CREATED].isnull() | (interactions[CREATED] < dated.event_timestamp))
    seen = interactions.join(dated, rules, how="inner")
    past = seen.mutate(age=seen.now - seconds_of(seen.happened_at), kind=seen.kind.lower())
    recent = past.age <= longest * DAY
    counts = {f"{kind}_count_{longest}d": ((past.kind == kind) & recent).sum() for kind in KINDS}
    ages = {f"{kind}_recency_days": days(past.age.min(where=past.kind == kind)) for kind in KINDS}
    met = people.select(*KEYS).left_join(past.group_by(*KEYS).agg(**counts, **ages), list(KEYS), rname="{name}_met")
    told = {name: met[name].fill_null(0).cast("float64") for name in counts}
    response = share(told[f"coupon_count_{longest}d"], told[f"campaign_count_{longest}d"])
    return met.select(*KEYS, **told, **{name: met[name] for name in ages}, coupon_response=response)
