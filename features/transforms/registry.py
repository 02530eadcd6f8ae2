"""Every feature, declared once: by family, in stored order; and what a service of them must not be."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from privacy.classification import Purpose
from privacy.errors import Refused
from privacy.inference import RULE
from privacy.sensitive_words import named_in

from .feature import COARSE, MODELS, ORDERS, Feature, Level, Use, Windows, windows_for
from .vocabulary import GRID, KINDS, RFM_TIERS, STAGES, VALUE_TIERS

__all__ = [
    "Feature",
    "Level",
    "Use",
    "Windows",
    "every_feature",
    "families",
    "feature_set",
    "require_coarse",
    "require_purposes",
    "windows_for",
]


def feature_set(slow: bool = False, withheld: Collection[str] = ()) -> tuple[Feature, ...]:
    """List what the models' services hold, in stored order, families together, but for those `withheld`.

    >>> names = [feature.name for feature in feature_set()]
    >>> len(names) == len(set(names)) and names[0]
    'recency_days'
    """
    return tuple(feature for feature in every_feature(slow, withheld) if feature.use in MODELS)


def every_feature(slow: bool = False, withheld: Collection[str] = ()) -> tuple[Feature, ...]:
    """List every column that a feature table may have: the models', the bands that people plan with, engagement.

    >>> next(feature.bands for feature in every_feature() if feature.name == "stage")
    ('new', 'active', 'slipping', 'dormant', 'lost')
    """
    windows = windows_for(slow)
    numbers = (*_rfm(windows), *_decay(windows), *_rhythm(windows), *_basket(windows), *_lifecycle())
    every = (*numbers, *_insight(windows), *_engagement(windows))
    return tuple(feature for feature in every if feature.name not in withheld)


def require_coarse(
    service: str, features: Sequence[Feature], purposes: Sequence[Purpose], consented: Collection[Purpose] = ()
) -> None:
    """Refuse a service for profiling that is finer than departments, or a column named after what must not be inferred.

    Finer columns need a service with one purpose of its own that rests on consent (`consented`). Raises Refused.

    >>> share = Feature("milk_share", "basket", "share", "84 d", "of spend", level=Level.CATEGORY)
    >>> require_coarse("milk_v1", [share], [Purpose.MARKETING], consented=[Purpose.MARKETING])
    >>> require_coarse("churn_v1", [share], [Purpose.RETENTION])
    Traceback (most recent call last):
    privacy.errors.Refused: service churn_v1 has a feature finer than departments: milk_share (category); give it a \
service with one purpose of its own that rests on consent
    """
    for feature in features:
        if told := named_in(feature.name, disguised=True):
            what = f"feature {feature.name} tells of people what must not be inferred: {', '.join(told)} (rule {RULE})"
            raise Refused(what, remedy="leave it out")
        if feature.level not in COARSE and not (len(purposes) == 1 and purposes[0] in consented):
            raise Refused(
                f"service {service} has a feature finer than departments: {feature.name} ({feature.level})",
                remedy="give it a service with one purpose of its own that rests on consent",
            )


def require_purposes(service: str, features: Sequence[Feature], purposes: Sequence[Purpose]) -> None:
    """Refuse a service for a purpose that one of its features may not serve. Raises Refused.

    >>> require_purposes("clv_v1", feature_set(), [Purpose.RETENTION, Purpose.VALUE])
    >>> require_purposes("ads_v1", feature_set()[:1], [Purpose.MARKETING])
    Traceback (most recent call last):
    privacy.errors.Refused: service ads_v1 is for marketing, which feature recency_days may not serve; it may serve: \
retention, value
    """
    for feature in features:
        if beyond := [purpose for purpose in purposes if purpose not in feature.purposes]:
            what = f"service {service} is for {beyond[0]}, which feature {feature.name} may not serve"
            raise Refused(what, remedy=f"it may serve: {', '.join(feature.purposes)}")


def families(features: Sequence[Feature]) -> dict[str, list[Feature]]:
    """Group `features` by family, order kept."""
    grouped: dict[str, list[Feature]] = {}
    for feature in features:
        grouped.setdefault(feature.family, []).append(feature)
    return grouped


def _rfm(windows: Windows) -> tuple[Feature, ...]:
    def rfm(name: str, unit: str, window: str, description: str) -> Feature:
        return Feature(name, "rfm", unit, window, description)

    value = "value of a purchase when it was made: "
    return (
        rfm("recency_days", "days", "all", "since the last purchase"),
        rfm("tenure_days", "days", f"{windows.longest} d", "since the first purchase, cut at the window"),
        *(rfm(f"orders_{days}d", "orders", f"{days} d", "purchases") for days in windows.days),
        *(rfm(f"spend_{days}d", "currency", f"{days} d", "spend net of returns") for days in windows.days),
        rfm("order_rate", "orders/day", "all", "purchases per day since the first, over at least 14 days"),
        rfm("spend_rate", "currency/day", "all", "net spend per day since the first purchase, over at least 14 days"),
        rfm("order_value_mean", "currency", "all", value + "mean"),
        rfm("order_value_median", "currency", "all", value + "median"),
        rfm("order_value_std", "currency", "all", value + "sample standard deviation, null for one"),
        rfm("order_value_max", "currency", "all", value + "largest"),
        rfm("order_value_last", "currency", "last", value + "last"),
        rfm("order_value_last3", "currency", "last 3", value + "mean of the last three"),
        rfm("order_value_first", "currency", "first", value + "first"),
    )


def _decay(windows: Windows) -> tuple[Feature, ...]:
    def decay(name: str, unit: str, half_life: int, what: str, use: Use = Use.MODEL) -> Feature:
        return Feature(name, "decay", unit, f"half-life {half_life} d", what, use)

    faded = ", each counting half after every half-life"
    lives = windows.half_lives
    return (
        *(decay(f"decayed_orders_{days}", "orders", days, "purchases" + faded) for days in lives),
        *(decay(f"decayed_spend_{days}", "currency", days, "net spend" + faded) for days in lives),
        decay(
            "ewma_daily_spend_84", "currency/day", 84, "decayed net spend per decayed day, at least 14", Use.STATISTIC
        ),
    )


def _rhythm(windows: Windows) -> tuple[Feature, ...]:
    def rhythm(name: str, unit: str, window: str, description: str) -> Feature:
        return Feature(name, "rhythm", unit, window, description)

    gap = "time between one purchase and the next, null for one purchase: "
    return (
        rhythm("gap_mean_days", "days", "all", gap + "mean"),
        rhythm("gap_std_days", "days", "all", gap + "sample standard deviation, null for two"),
        rhythm("gap_median_days", "days", "all", gap + "median"),
        rhythm("gap_max_days", "days", "all", gap + "longest"),
        rhythm("gap_last_days", "days", "last", gap + "last"),
        rhythm("gap_cv", "ratio", "all", gap + "standard deviation over mean"),
        rhythm("overdue_mean", "ratio", "all", "recency over the mean gap"),
        rhythm("overdue_max", "ratio", "all", "recency over the longest gap"),
        rhythm("overdue_z", "ratio", "all", "(recency - mean gap) / (standard deviation + 1 day)"),
        rhythm("active_weeks_share", "share", "84 d", "of the last 12 weeks, those with a purchase"),
        rhythm("weekly_spend_slope", "currency/week", "84 d", "least squares line through weekly net spend: its rise"),
        rhythm("weekly_spend_std", "currency", "84 d", "sample standard deviation of weekly net spend, empty weeks 0"),
        rhythm("order_rate_trend", "ratio", f"{windows.recent} d", "recent purchase rate over the lifetime's"),
    )


def _basket(windows: Windows) -> tuple[Feature, ...]:
    def basket(name: str, unit: str, description: str, source: str | None = None) -> Feature:
        sources = ORDERS if source is None else (*ORDERS, f"transactions.{source}")
        return Feature(name, "basket", unit, f"{windows.longest} d", description, sources=sources)

    return (
        basket("category_entropy", "nats", "spread of purchased lines over categories: -sum p ln p", "category"),
        basket("discount_share", "share", "discount over spend before discount", "discount"),
        basket("coupon_share", "share", "coupons over spend before discount", "coupon"),
        basket("return_share", "share", "money returned over money spent"),
        basket("items_per_order", "lines", "order lines a purchase"),
        basket("price_mean", "currency", "mean price of an order line that is no return"),
    )


def _lifecycle() -> tuple[Feature, ...]:
    def lifecycle(name: str, unit: str, description: str, use: Use) -> Feature:
        return Feature(name, "lifecycle", unit, "all", description, use)

    return (
        lifecycle("btyd_x", "orders", "repeat purchases", Use.STATISTIC),
        lifecycle("btyd_t_x_days", "days", "from the first purchase to the last", Use.STATISTIC),
        lifecycle("btyd_T_days", "days", "from the first purchase to the cut-off", Use.STATISTIC),
        lifecycle("btyd_mean_value", "currency", "mean value of repeat purchases, 0 if none", Use.STATISTIC),
        lifecycle("lifetime_orders", "orders", "purchases ever", Use.STATUS),
    )


def _insight(windows: Windows) -> tuple[Feature, ...]:
    def insight(name: str, window: str, description: str, bands: tuple[str, ...]) -> Feature:
        purposes = (Purpose.VALUE, Purpose.MARKETING)
        return Feature(name, "insight", "band", window, description, Use.INSIGHT, purposes=purposes, bands=bands)

    recent, middle, longest = f"{windows.recent} d", f"{windows.days[2]} d", f"{windows.longest} d"
    fifth = "; equal values share the lower fifth"
    fifths = ("1", "2", "3", "4", "5")
    return (
        insight("recency_quintile", "all", "fifths of all customers by recency, 5 the latest" + fifth, fifths),
        insight("frequency_quintile", longest, "fifths of all customers by purchases, 5 the most" + fifth, fifths),
        insight("monetary_quintile", longest, "fifths of all customers by net spend, 5 the most" + fifth, fifths),
        insight("rfm_tier", longest, "a name for the three quintiles together", RFM_TIERS),
        insight("value_tier", "half-life 84 d", "the best 1, next 4, 15, 30 and 50 % by decayed spend", VALUE_TIERS),
        insight(
            "value_trend",
            "half-lives 28 and 84 d",
            "value tier x trend: the faster decayed spend a day over the slower, rising from 1.25, falling below 0.8",
            GRID,
        ),
        insight(
            "stage",
            longest,
            f"new within {recent} of the first purchase; else by the last purchase: active within {recent}, "
            f"slipping within {middle}, dormant within {longest}, lost beyond",
            STAGES,
        ),
    )


def _engagement(windows: Windows) -> tuple[Feature, ...]:
    def engagement(name: str, unit: str, window: str, description: str) -> Feature:
        sources = ("interactions.happened_at", "interactions.kind")
        return Feature(name, "engagement", unit, window, description, Use.ENGAGEMENT, sources=sources)

    longest = f"{windows.longest} d"
    counts = (engagement(f"{kind}_count_{windows.longest}d", "events", longest, what) for kind, what in KINDS.items())
    ages = (engagement(f"{kind}_recency_days", "days", "all", f"since the last of the {what}, null if none")
            for kind, what in KINDS.items())  # fmt: skip
    response = "coupon redemptions over campaign exposures, null without an exposure"
    return (*counts, *ages, engagement("coupon_response", "ratio", longest, response))
