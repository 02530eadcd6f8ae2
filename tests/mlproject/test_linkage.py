"""`custos risk linkage`: what is refused before anybody's row is read."""

from __future__ import annotations

import pytest

from features.gateway_types import ServiceInfo
from mlproject.pipelines.linkage import _check_shared
from privacy.classification import Purpose
from privacy.errors import BadInput


def test_services_without_a_shared_number_are_refused_by_name() -> None:
    churn = ServiceInfo("churn_v1", (Purpose.RETENTION,), ("orders", "home"), "shop", frozenset({"home"}))
    profile = ServiceInfo("profile_v1", (Purpose.RESEARCH,), ("home",), "shop", frozenset({"home"}))
    told = r"churn_v1 \(retention\) and profile_v1 \(research\) share no numeric column"
    with pytest.raises(BadInput, match=told):
        _check_shared([churn, profile], ("retention", "research"), ("churn_v1", "profile_v1"))
    _check_shared([churn, churn], ("retention", "value"), ("churn_v1", "churn_v1"))
