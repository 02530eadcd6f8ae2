"""Every feature is declared once, completely, and may serve what its services are for."""

from __future__ import annotations

import pytest

from features.datasets.descriptor import load_descriptor
from features.services import SERVICES, Service
from features.transforms.registry import Feature, Use, every_feature, feature_set, require_purposes
from privacy.classification import Purpose, Sensitivity
from privacy.errors import Refused

WINDOWS = (14, 28, 56, 84)
LIVES = (14, 28, 84)
WANTED = {
    "recency": ["recency_days"],
    "tenure": ["tenure_days"],
    "orders in the last days": [f"orders_{days}d" for days in WINDOWS],
    "spend in the last days": [f"spend_{days}d" for days in WINDOWS],
    "decayed order count": [f"decayed_orders_{days}" for days in LIVES],
    "decayed spend": [f"decayed_spend_{days}" for days in LIVES],
    "order and spend rate": ["order_rate", "spend_rate"],
    "order value": [f"order_value_{part}" for part in ("mean", "median", "std", "max", "last", "last3", "first")],
    "time between purchases": ["gap_mean_days", "gap_std_days", "gap_median_days", "gap_max_days", "gap_last_days"],
    "its coefficient of variation": ["gap_cv"],
    "overdue": ["overdue_mean", "overdue_max", "overdue_z"],
    "share of weeks with an order": ["active_weeks_share"],
    "weekly spend": ["weekly_spend_slope", "weekly_spend_std"],
    "recent rate over long rate": ["order_rate_trend"],
    "category entropy": ["category_entropy"],
    "discount, coupon and return share": ["discount_share", "coupon_share", "return_share"],
    "items a basket": ["items_per_order"],
    "mean price": ["price_mean"],
}
"""What the models are to learn from; the two fitted BTYD features are the model's own, made of the statistics below."""
STATISTICS = ("btyd_x", "btyd_t_x_days", "btyd_T_days", "btyd_mean_value", "ewma_daily_spend_84")
INSIGHT = (
    "recency_quintile",
    "frequency_quintile",
    "monetary_quintile",
    "rfm_tier",
    "value_tier",
    "value_trend",
    "stage",
)
BY_NAME = {feature.name: feature for slow in (True, False) for feature in every_feature(slow)}


def names(use: Use) -> list[str]:
    return [feature.name for feature in every_feature() if feature.use is use]


def test_what_the_models_are_to_learn_from_is_there_and_nothing_else() -> None:
    wanted = [name for members in WANTED.values() for name in members]
    assert sorted(names(Use.MODEL)) == sorted(wanted)
    assert sorted(names(Use.STATISTIC)) == sorted(STATISTICS)
    assert names(Use.STATUS) == ["lifetime_orders"]
    assert names(Use.INSIGHT) == list(INSIGHT)
    kinds = ("campaign", "coupon", "service", "web")
    engagement = [*(f"{kind}_count_84d" for kind in kinds), *(f"{kind}_recency_days" for kind in kinds)]
    assert names(Use.ENGAGEMENT) == [*engagement, "coupon_response"]


@pytest.mark.parametrize("feature", BY_NAME.values(), ids=BY_NAME)
def test_a_declaration_is_complete(feature: Feature) -> None:
    assert all((feature.family, feature.unit, feature.window, feature.description, feature.purposes))
    assert feature.sensitivity is Sensitivity.BEHAVIOURAL
    assert feature.dtype == ("string" if feature.use is Use.INSIGHT else "float64")
    if feature.use is Use.ENGAGEMENT:
        assert feature.sources == ("interactions.happened_at", "interactions.kind")
        return
    lines = load_descriptor("complete_journey").tables["transactions"]
    assert set(feature.sources) <= {f"transactions.{name}" for name in lines.columns}
    assert {"transactions.ordered_at", "transactions.amount"} <= set(feature.sources)


def test_every_feature_has_a_service_and_may_serve_its_purposes() -> None:
    for slow in (True, False):
        listed = every_feature(slow)
        for service in SERVICES:
            require_purposes(service.name, service.holds(listed), service.purposes)
        assert {feature.name for service in SERVICES for feature in service.holds(listed)} == {f.name for f in listed}


def test_no_model_is_served_a_band() -> None:
    churn, clv, insight, _ = SERVICES
    assert churn.holds(every_feature()) == clv.holds(every_feature()) == list(feature_set())
    assert all(feature.bands for feature in insight.holds(every_feature()))
    assert not {Purpose.RETENTION} & set(insight.purposes)


def test_a_service_for_what_its_features_may_not_serve_is_refused() -> None:
    bad = Service("ads_v1", (Purpose.VALUE, Purpose.MARKETING), frozenset())
    with pytest.raises(Refused, match="service ads_v1 is for marketing, which feature recency_days may not serve"):
        require_purposes(bad.name, bad.holds(every_feature()), bad.purposes)


def test_what_is_withheld_is_in_no_service() -> None:
    listed = every_feature(withheld=("gap_cv", "stage"))
    assert not {"gap_cv", "stage"} & {feature.name for service in SERVICES for feature in service.holds(listed)}
