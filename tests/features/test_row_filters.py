"""Row filters, held to by the guarded store with real Feast: who doesn't pass is absent online, left out offline."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from features.build import FEATURES
from features.datasets.descriptor import Descriptor
from features.gateway import FeatureGateway
from features.gateway_types import GatewaySettings
from privacy.classification import Role
from privacy.errors import Refused
from privacy.policy import Policy, built_in_policy
from privacy.policy_file import parse_policy

from .conftest import AS_OF, CUTOFFS, Home, principal
from .tables import last_event

Served = tuple[Home, FeatureGateway, Descriptor]
ACTIONS = ["features.read", "score", "predict"]


def filtered(home: Home, *filters: dict[str, Any]) -> FeatureGateway:
    """A gateway of the same home whose policy also holds `filters`, each for the roles it names, else everyone."""
    document = yaml.safe_load(built_in_policy().read_text("utf-8"))
    for at, own in enumerate(filters):
        rule = {"name": f"filter-{at}", "actions": ACTIONS, "resources": ["service:*"], **own}
        document["policies"].append(rule)
    policy = Policy(parse_policy(yaml.safe_dump(document).encode(), "policy.yaml").usable())
    return FeatureGateway(GatewaySettings(home.paths), home.keyring, policy, home.audit, home.suppression)


def row_filter(column: str, **comparison: Any) -> dict[str, Any]:
    return {"row_filter": {"column": column, **comparison}}


def latest(served: Served) -> dict[str, dict[str, Any]]:
    """Customer -> features at data time, read from the stored table itself."""
    home, _, descriptor = served
    rows = home.paths.feature_store(descriptor.name).read(FEATURES).to_pylist()
    own = {row["customer_token"]: row for row in rows if row["event_timestamp"] == AS_OF}
    return {name: own[home.subject(name).tokens[0]] for name in (f"c{number:05}" for number in range(1, 41))}


def between(values: list[float]) -> float:
    """A threshold that some of `values` pass and some don't."""
    ordered = sorted(set(values))
    return ordered[len(ordered) // 2]


def test_a_filtered_row_is_as_absent_online_as_an_unknown_one(served: Served) -> None:
    home, open_gateway, _ = served
    people = latest(served)
    least = between([row["lifetime_orders"] for row in people.values()])
    gateway = filtered(home, row_filter("lifetime_orders", at_least=least))
    passing = [name for name, row in people.items() if row["lifetime_orders"] >= least]
    failing = [name for name in people if name not in passing]
    assert passing
    assert failing
    tokens = [*home.tokens([failing[0], passing[0], failing[1]], "retention"), "nonsense"]
    answer, unfiltered = (
        gateway.online(principal(), "churn_v1", tokens),
        open_gateway.online(principal(), "churn_v1", tokens),
    )
    assert unfiltered.present.tolist() == [True, True, True, False]
    assert answer.present.tolist() == [False, True, False, False]
    assert np.isnan(answer.values[[0, 2, 3]]).all()
    np.testing.assert_array_equal(answer.values[1], unfiltered.values[1])
    assert answer.references == [None, unfiltered.references[1], None, None]
    assert (answer.columns, answer.as_of) == (unfiltered.columns, unfiltered.as_of)


def test_the_log_counts_what_was_filtered_and_names_the_rules(served: Served) -> None:
    home, _, _ = served
    people = latest(served)
    least = between([row["lifetime_orders"] for row in people.values()])
    failing = [name for name, row in people.items() if row["lifetime_orders"] < least]
    gateway = filtered(home, row_filter("lifetime_orders", at_least=least))
    gateway.online(principal(), "churn_v1", [*home.tokens(failing, "retention"), "nonsense"])
    event = last_event(home.root / "audit")
    assert event["count"] == 0
    assert event["detail"] == {"rows": len(failing) + 1, "filtered": len(failing), "filters": ["filter-0"]}
    assert "reference" not in event
    gateway.snapshot_rows(principal(), "churn_v1", AS_OF)
    event = last_event(home.root / "audit")
    assert event["count"] == len(people) - len(failing) == event["detail"]["rows"]
    assert event["detail"]["filtered"] == len(failing)


@pytest.mark.slow
def test_offline_the_rows_of_each_moment_are_left_out(served: Served) -> None:
    home, open_gateway, _ = served
    every = open_gateway.training_rows(principal(), "churn_v1", CUTOFFS, 28, None)
    wide = open_gateway.historical(principal(), "churn_v1", every)
    orders = wide["lifetime_orders"].to_pylist()
    least = between(orders)
    kept = pa.array([value >= least for value in orders])
    gateway = filtered(home, row_filter("lifetime_orders", at_least=least))
    rows = gateway.training_rows(principal(), "churn_v1", CUTOFFS, 28, None)
    assert rows.equals(every.filter(kept))
    assert 0 < rows.num_rows < every.num_rows
    people = set(every["customer_token"].to_pylist())
    late = {token for token in people if 0 < rows["customer_token"].to_pylist().count(token) < 8}
    assert late, "nobody came back often enough in the course of the cut-offs"
    assert gateway.historical(principal(), "churn_v1", every).equals(wide.filter(kept))
    assert gateway.historical(principal(), "churn_v1", rows).num_rows == rows.num_rows


@pytest.mark.parametrize(
    ("comparison", "passes"),
    [
        ({"equals": 3}, lambda value: value == 3),
        ({"in": [2, 4, 6]}, lambda value: value in {2, 4, 6}),
        ({"at_most": 5}, lambda value: value <= 5),
        ({"at_least": 2, "at_most": 6}, lambda value: 2 <= value <= 6),
    ],
    ids=["equals", "in", "at_most", "range"],
)
def test_each_comparison(served: Served, comparison: dict[str, Any], passes: Callable[[float], bool]) -> None:
    home, _, _ = served
    gateway = filtered(home, row_filter("lifetime_orders", **comparison))
    rows = gateway.snapshot_rows(principal(), "clv_v1", AS_OF)
    wanted = {row["customer_token"] for row in latest(served).values() if passes(row["lifetime_orders"])}
    assert set(rows["customer_token"].to_pylist()) == wanted


def test_a_null_never_passes(served: Served) -> None:
    home, open_gateway, _ = served
    every = open_gateway.snapshot_rows(principal(), "clv_v1", AS_OF)
    [column] = [
        name for name in every.column_names[2:] if 0 < every[name].null_count < every.num_rows
    ][:1]  # fmt: skip
    gateway = filtered(home, row_filter(column, at_least=-(10**12)))
    rows = gateway.snapshot_rows(principal(), "clv_v1", AS_OF)
    assert rows.num_rows == every.num_rows - every[column].null_count
    people = latest(served)
    null = next(name for name, row in people.items() if row[column] is None or math.isnan(row[column]))
    assert gateway.online(principal(), "clv_v1", home.tokens([null], "retention")).present.tolist() == [False]


def test_several_filters_must_all_pass_and_each_holds_for_its_own(served: Served) -> None:
    home, _, _ = served
    people = latest(served)
    orders = between([row["lifetime_orders"] for row in people.values()])
    recency = between([row["recency_days"] for row in people.values()])
    gateway = filtered(
        home,
        row_filter("lifetime_orders", at_least=orders),
        row_filter("recency_days", at_most=recency) | {"to": ["admin"]},
    )
    both = {
        row["customer_token"]
        for row in people.values()
        if row["lifetime_orders"] >= orders and row["recency_days"] <= recency
    }
    first = {row["customer_token"] for row in people.values() if row["lifetime_orders"] >= orders}
    assert both < first
    assert set(gateway.snapshot_rows(principal(), "clv_v1", AS_OF)["customer_token"].to_pylist()) == both
    scientist = principal(Role.DATA_SCIENTIST)
    assert set(gateway.snapshot_rows(scientist, "clv_v1", AS_OF)["customer_token"].to_pylist()) == first


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_has_its_own_filters(served: Served, action: str) -> None:
    home, _, _ = served
    nobody = row_filter("lifetime_orders", at_least=10**9) | {"actions": [action]}
    gateway = filtered(home, nobody)
    tokens = home.tokens([*latest(served)][:3], "retention")
    found = {
        "features.read": gateway.snapshot_rows(principal(), "churn_v1", AS_OF).num_rows,
        "score": gateway.snapshot_rows(principal(), "churn_v1", AS_OF, action="score").num_rows,
        "predict": int(gateway.online(principal(), "churn_v1", tokens, action="predict").present.sum()),
    }
    assert [name for name, count in found.items() if count == 0] == [action]


def test_a_filter_by_a_column_that_the_service_lacks_refuses_everything(served: Served) -> None:
    home, _, _ = served
    gateway = filtered(home, row_filter("lifetime_order", at_least=2) | {"to": ["admin"]})
    asks: list[Callable[[], object]] = [
        lambda: gateway.online(principal(), "churn_v1", ["nonsense"]),
        lambda: gateway.online(principal(), "churn_v1", ["nonsense"], action="predict"),
        lambda: gateway.snapshot_rows(principal(), "churn_v1", AS_OF),
        lambda: gateway.training_rows(principal(), "churn_v1", CUTOFFS, 28, None),
    ]
    for ask in asks:
        with pytest.raises(Refused, match="service:churn_v1 has no column lifetime_order, by which rule filter-0"):
            ask()
        event = last_event(home.root / "audit")
        assert (event["outcome"], event["rule"]) == ("deny", "filter-0")
    assert gateway.snapshot_rows(principal(Role.DATA_SCIENTIST), "churn_v1", AS_OF).num_rows == 40
