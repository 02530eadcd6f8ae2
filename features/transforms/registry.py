"""What every feature is: declared once, by family, with unit, window and sensitivity."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from privacy.classification import Purpose, Sensitivity
from privacy.errors import Refused
from privacy.inference import RULE
from privacy.sensitive_words import named_in

__all__ = ["Feature", "Level", "Use", "Windows", "feature_set", "require_coarse", "windows_for"]


class Use(StrEnum):
    """Who a column is for: the models, the BTYD design and baselines, or the answer's status."""

    MODEL = "model"
    STATISTIC = "statistic"
    STATUS = "status"


class Level(StrEnum):
    """How finely a column tells what somebody buys: everything together, a department, a category, a product."""

    TOTAL = "total"
    DEPARTMENT = "department"
    CATEGORY = "category"
    PRODUCT = "product"


COARSE: Final = frozenset({Level.TOTAL, Level.DEPARTMENT})


@dataclass(frozen=True)
class Feature:
    """One column of the feature table; every one is a float64, null where it has no meaning."""

    name: str
    family: str
    unit: str
    window: str
    description: str
    use: Use = Use.MODEL
    dtype: str = "float64"
    sensitivity: Sensitivity = Sensitivity.BEHAVIOURAL
    level: Level = Level.TOTAL


@dataclass(frozen=True)
class Windows:
    """The look-back windows of a shop, in days, ascending; half-lives are the same for all."""

    days: tuple[int, int, int, int]
    half_lives: tuple[int, ...] = (14, 28, 84)

    @property
    def recent(self) -> int:
        """The window that stands for `lately`."""
        return self.days[1]

    @property
    def longest(self) -> int:
        """The window that baskets and tenure are cut at."""
        return self.days[-1]


FAST: Final = Windows((14, 28, 56, 84))
SLOW: Final = Windows((30, 60, 90, 180))


def windows_for(slow: bool) -> Windows:
    """Return the windows of a shop whose customers come often, or seldom (`slow`).

    >>> windows_for(False).longest
    84
    """
    return SLOW if slow else FAST


def feature_set(slow: bool = False, withheld: Collection[str] = ()) -> tuple[Feature, ...]:
    """List every feature in stored order, families together, but for those `withheld`.

    >>> names = [feature.name for feature in feature_set()]
    >>> len(names) == len(set(names)) and names[0]
    'recency_days'
    """
    windows = windows_for(slow)
    every = (*_rfm(windows), *_decay(windows), *_rhythm(windows), *_basket(windows), *_lifecycle())
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

    lives = windows.half_lives
    return (
        *(decay(f"decayed_orders_{days}", "orders", days, "purchases, fading with age") for days in lives),
        *(decay(f"decayed_spend_{days}", "currency", days, "net spend, fading with age") for days in lives),
        decay(
            "ewma_daily_spend_84", "currency/day", 84, "decayed net spend per decayed day, at least 14", Use.STATISTIC
        ),
    )


def _rhythm(windows: Windows) -> tuple[Feature, ...]:
    def rhythm(name: str, unit: str, window: str, description: str) -> Feature:
        return Feature(name, "rhythm", unit, window, description)

    gap = "time between one purchase and the next: "
    return (
        rhythm("gap_mean_days", "days", "all", gap + "mean"),
        rhythm("gap_std_days", "days", "all", gap + "sample standard deviation"),
        rhythm("gap_median_days", "days", "all", gap + "median"),
        rhythm("gap_max_days", "days", "all", gap + "longest"),
        rhythm("gap_last_days", "days", "last", gap + "last"),
        rhythm("gap_cv", "ratio", "all", gap + "standard deviation over mean"),
        rhythm("overdue_mean", "ratio", "all", "recency over the mean gap"),
        rhythm("overdue_max", "ratio", "all", "recency over the longest gap"),
        rhythm("overdue_z", "ratio", "all", "(recency - mean gap) / (standard deviation + 1 day)"),
        rhythm("active_weeks_share", "share", "84 d", "of the last 12 weeks, those with a purchase"),
        rhythm("weekly_spend_slope", "currency/week", "84 d", "trend of weekly net spend, later minus earlier"),
        rhythm("weekly_spend_std", "currency", "84 d", "spread of weekly net spend, empty weeks as 0"),
        rhythm("order_rate_trend", "ratio", f"{windows.recent} d", "recent purchase rate over the lifetime's"),
    )


def _basket(windows: Windows) -> tuple[Feature, ...]:
    def basket(name: str, unit: str, description: str) -> Feature:
        return Feature(name, "basket", unit, f"{windows.longest} d", description)

    return (
        basket("category_entropy", "nats", "spread of purchased lines over categories"),
        basket("discount_share", "share", "discount over spend before discount"),
        basket("coupon_share", "share", "coupons over spend before discount"),
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
