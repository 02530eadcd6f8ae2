"""What people plan with: bands of customers among all customers at the same cut-off, never of one alone.

Sources: RFM quintiles and named segments, Hughes 1994 (Strategic Database Marketing); the customer pyramid, Curry and
Curry 2000; life-cycle stages as a Markov chain, Pfeifer and Carraway 2000.
"""

from __future__ import annotations

from typing import Final

import ibis
import ibis.expr.types as ir

from .feature import Windows
from .orders import KEYS, share
from .vocabulary import STAGES, VALUE_TIERS

__all__ = ["insight", "transitions"]

BEST_SHARES: Final = (1, 5, 20, 50)
"""Per cent of all customers that are in a tier or a better one; the rest are the base: 1, 4, 15, 30 and 50 %."""
RISING, FALLING = 1.25, 0.8
FAST_LIFE, SLOW_LIFE = 28, 84


def insight(known: ir.Table, windows: Windows) -> ir.Table:
    """Return customer_token, event_timestamp and the insight family, from the other families' columns in `known`.

    Everybody of a cut-off must be in `known`: ranks are among them. Equal values get equal bands, so that no band
    depends on a token.
    """
    everybody = ibis.window(group_by=[known.event_timestamp])
    ranked = known.select(
        *KEYS,
        recency=known.recency_days,
        tenure=known.tenure_days,
        people=known.count().over(everybody),
        r=_below(known, -known.recency_days),
        f=_below(known, known[f"orders_{windows.longest}d"]),
        m=_below(known, known[f"spend_{windows.longest}d"]),
        worth=_below(known, known[f"decayed_spend_{SLOW_LIFE}"]),
        pace=share(known[f"decayed_spend_{FAST_LIFE}"], known[f"decayed_spend_{SLOW_LIFE}"]).fill_null(0.0)
        * ibis.literal(SLOW_LIFE / FAST_LIFE, "float64"),
    )
    fifths = ranked.mutate(**{name: _fifth(ranked[name], ranked.people) for name in ("r", "f", "m")})
    tier = _value_tier(fifths.people - fifths.worth, fifths.people)
    return fifths.select(
        *KEYS,
        recency_quintile=fifths.r.cast("string"),
        frequency_quintile=fifths.f.cast("string"),
        monetary_quintile=fifths.m.cast("string"),
        rfm_tier=_rfm_tier(fifths.r, fifths.f, fifths.m),
        value_tier=tier,
        value_trend=tier + " " + _trend(fifths.pace),
        stage=_stage(fifths.recency, fifths.tenure, windows),
    )


def transitions(stages: ir.Table, days: int) -> ir.Table:
    """Count by `stage` at a cut-off and the stage `days` later, over all pairs of cut-offs so far apart.

    `stages` has customer_token, event_timestamp and stage. Columns: stage, later, `times` (pairs), `people`: of each
    who was ever in a stage only the last pair counts, so that the cells of a stage add up to different people.
    """
    dated = stages.select("customer_token", "stage", moment=stages.event_timestamp.epoch_seconds().cast("int64"))
    ahead = dated.select("customer_token", later=dated.stage, moment=dated.moment - days * 86_400)
    both = dated.inner_join(ahead, ["customer_token", "moment"])
    known = both.filter(both.stage.notnull() & both.later.notnull())
    each = ibis.window(group_by=[known.customer_token, known.stage])
    marked = known.mutate(latest=known.moment == known.moment.max().over(each))
    return marked.group_by("stage", "later").agg(times=marked.count(), people=marked.latest.sum())


def _below(known: ir.Table, value: ir.Value) -> ir.Value:
    """How many people of the cut-off have less."""
    return ibis.rank().over(ibis.window(group_by=[known.event_timestamp], order_by=[value])).cast("int64")


def _fifth(below: ir.Value, people: ir.Value) -> ir.Value:
    return ((below * 5).cast("float64") / people.cast("float64")).floor().cast("int64") + 1


def _value_tier(place: ir.Value, people: ir.Value) -> ir.Value:
    # `place` counts whoever has as much or more: of equals, all are in the lower tier.
    best = [(place * 100 <= people * most, tier) for most, tier in zip(BEST_SHARES, VALUE_TIERS, strict=False)]
    return ibis.cases(*best, else_=VALUE_TIERS[-1])


def _trend(pace: ir.Value) -> ir.Value:
    return ibis.cases((pace >= RISING, "rising"), (pace < FALLING, "falling"), else_="steady")


def _rfm_tier(r: ir.Value, f: ir.Value, m: ir.Value) -> ir.Value:
    return ibis.cases(
        ((r >= 4) & (f >= 4) & (m >= 4), "champions"),
        ((r >= 3) & (f >= 4), "loyal"),
        ((r >= 3) & (m >= 4), "big spenders"),
        (r >= 4, "promising"),
        (r == 3, "steady"),
        ((f >= 4) | (m >= 4), "at risk"),
        else_="hibernating",
    )


def _stage(recency: ir.Value, tenure: ir.Value, windows: Windows) -> ir.Value:
    limits = zip((windows.recent, windows.days[2], windows.longest), STAGES[1:], strict=False)
    return ibis.cases(
        (tenure <= windows.recent, "new"), *((recency <= days, stage) for days, stage in limits), else_="lost"
    )
