"""Features through the masks of a policy, online and offline, with real Feast."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml

from features.datasets.descriptor import Descriptor
from features.gateway import FeatureGateway
from features.gateway_types import GatewaySettings
from privacy.errors import BadInput
from privacy.policy import Policy, built_in_policy
from privacy.policy_file import parse_policy

from .conftest import AS_OF, CUTOFFS, Home, principal
from .tables import last_event

Served = tuple[Home, FeatureGateway, Descriptor]
SERVICE = "service:churn_v1"


def masked(home: Home, **masks: Any) -> FeatureGateway:
    """A gateway of the same home whose policy masks the columns named."""
    document = yaml.safe_load(built_in_policy().read_text("utf-8"))
    for column, mask in masks.items():
        document["tags"][f"{SERVICE}.{column}"] = {"column": column}
        rule = {"name": f"mask-{column}", "actions": ["features.read"], "resources": [SERVICE]}
        document["policies"].append(rule | {"column_mask": {**mask, "match": {"column": column}}})
    policy = Policy(parse_policy(yaml.safe_dump(document).encode(), "policy.yaml").usable())
    return FeatureGateway(GatewaySettings(home.paths), home.keyring, policy, home.audit, home.suppression)


MASKS = {
    "lifetime_orders": {"fn": "band", "edges": [2, 10]},
    "recency_days": {"fn": "rounded", "decimals": -1},
    "lifetime_spend": {"fn": "redact"},
}


def test_online_a_feature_is_told_as_its_mask_leaves_it(served: Served) -> None:
    home, open_gateway, _ = served
    tokens = [*home.tokens([f"c{number:05}" for number in range(1, 9)], "retention"), "nonsense"]
    exact, answer = (each.online(principal(), "churn_v1", tokens) for each in (open_gateway, masked(home, **MASKS)))
    before = {name: exact.values[:, at] for at, name in enumerate(exact.columns)}
    assert "lifetime_spend" not in {*answer.columns, *answer.texts}
    bands = [None if np.isnan(n) else "below 2" if n < 2 else "2 to 10" if n < 10 else "10 and above"
             for n in before["lifetime_orders"]]  # fmt: skip
    assert answer.texts == {"lifetime_orders": bands}
    np.testing.assert_array_equal(
        answer.values[:, answer.columns.index("recency_days")], np.round(before["recency_days"], -1)
    )
    assert set(answer.columns) == set(exact.columns) - {"lifetime_orders", "lifetime_spend"}
    rest = [name for name in answer.columns if name != "recency_days"]
    for name in rest:
        np.testing.assert_array_equal(answer.values[:, answer.columns.index(name)], before[name])
    assert answer.present.tolist() == exact.present.tolist() == [True] * 8 + [False]
    event = last_event(home.root / "audit")
    assert (event["outcome"], event["rule"]) == ("mask", "mask-lifetime_orders")


def test_offline_too_and_what_is_no_feature_stays(served: Served) -> None:
    home, open_gateway, _ = served
    exact = open_gateway.snapshot_rows(principal(), "churn_v1", AS_OF)
    rows = masked(home, **MASKS).snapshot_rows(principal(), "churn_v1", AS_OF)
    assert set(rows.column_names) == set(exact.column_names) - {"lifetime_spend"}
    assert rows["customer_token"].equals(exact["customer_token"])
    assert set(rows["lifetime_orders"].to_pylist()) <= {"below 2", "2 to 10", "10 and above", None}
    assert all(days is None or days % 10 == 0 for days in rows["recency_days"].to_pylist())
    scored = masked(home, **MASKS).snapshot_rows(principal(), "churn_v1", AS_OF, action="score")
    assert scored.equals(open_gateway.snapshot_rows(principal(), "churn_v1", AS_OF, action="score"))
    keyed = masked(home, customer_token={"fn": "redact"}).snapshot_rows(principal(), "churn_v1", AS_OF)
    assert keyed.equals(exact)


def test_a_mask_that_cannot_read_the_feature_answers_nobody(served: Served) -> None:
    home, _, _ = served
    gateway = masked(home, recency_days={"fn": "email"})
    with pytest.raises(BadInput, match="mask email can't read a column of double"):
        gateway.online(principal(), "churn_v1", home.tokens(["c00001"], "retention"))
    with pytest.raises(BadInput, match="mask email can't read a column of double"):
        gateway.snapshot_rows(principal(), "churn_v1", AS_OF)
    assert gateway.training_rows(principal(), "churn_v1", CUTOFFS[:1], 28, None).num_rows
