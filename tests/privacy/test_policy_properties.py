"""What holds of every policy: more rules against never allow more, order means nothing, the unknown is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.classification import LawfulBasis, Purpose, Role
from privacy.masking import mask_of
from privacy.policy import Decision, Policy, Principal
from privacy.policy_entry import Entry, read_rule
from privacy.policy_rules import Finding, RowFilter

from .policies import PLAUSIBLE, PRINCIPALS, comparisons, documents, policy_of, rules


def decisions(policy: Policy) -> dict[tuple[Principal, str, str], Decision]:
    return {(who, *asked): policy.evaluate(who, *asked) for who in PRINCIPALS for asked in PLAUSIBLE}


def with_rule(document: dict[str, Any], rule: dict[str, Any]) -> dict[str, Any]:
    return {**document, "policies": [*document["policies"], rule]}


@settings(max_examples=30, deadline=None)
@given(documents(), rules("added", "forbid"))
def test_a_forbid_never_allows_more_nor_changes_what_stays(document: dict[str, Any], rule: dict[str, Any]) -> None:
    before, after = decisions(policy_of(document)), decisions(policy_of(with_rule(document, rule)))
    for case, made in after.items():
        assert before[case].allowed or not made.allowed
        if made.allowed or "added" not in made.rules:
            assert made == before[case]


@settings(max_examples=30, deadline=None)
@given(documents(), st.data())
def test_removing_a_permit_never_allows_more(document: dict[str, Any], data: st.DataObject) -> None:
    document = with_rule(document, data.draw(rules("permit", "permit")))
    permits = [rule for rule in document["policies"] if not {"forbid", "column_mask", "row_filter"} & set(rule)]
    gone = data.draw(st.sampled_from(permits))
    fewer = {**document, "policies": [rule for rule in document["policies"] if rule is not gone]}
    before, after = decisions(policy_of(document)), decisions(policy_of(fewer))
    assert all(before[case].allowed for case, made in after.items() if made.allowed)


@settings(max_examples=30, deadline=None)
@given(documents(), st.sampled_from(["mask", "filter"]), st.data())
def test_masks_and_filters_only_ever_take_away(document: dict[str, Any], effect: str, data: st.DataObject) -> None:
    before = decisions(policy_of(document))
    after = decisions(policy_of(with_rule(document, data.draw(rules("added", effect)))))
    for case, made in after.items():
        assert made.allowed == before[case].allowed
        assert made.rules == before[case].rules
        assert set(made.filters) >= set(before[case].filters)
        for tagged, mask in before[case].masks.items():
            assert made.masks[tagged] in (mask, mask_of("redact"))


@settings(max_examples=30, deadline=None)
@given(documents(), st.randoms(use_true_random=False))
def test_the_order_of_the_rules_means_nothing(document: dict[str, Any], random: Any) -> None:
    shuffled = list(document["policies"])
    random.shuffle(shuffled)
    assert decisions(policy_of(document)) == decisions(policy_of({**document, "policies": shuffled}))


@settings(max_examples=30, deadline=None)
@given(documents(), st.text(max_size=12), st.text(max_size=12), st.text(max_size=12))
def test_who_or_what_is_unknown_is_never_allowed(
    document: dict[str, Any], role: str, purpose: str, action: str
) -> None:
    policy = policy_of(document)
    assert not policy.decide(Principal("p", f"x{role}", Purpose.VALUE), "predict", "model:churn").allowed  # type: ignore[arg-type]
    assert not policy.decide(Principal("p", Role.ADMIN, f"x{purpose}"), "predict", "model:churn").allowed  # type: ignore[arg-type]
    assert not policy.decide(Principal("p", Role.ADMIN, None), f"x{action}", "model:churn").allowed
    for who in PRINCIPALS[::5]:
        for resource in (f"x{action}", "modelx:churn", "services", ""):
            assert not policy.decide(who, "predict", resource).allowed


@settings(max_examples=15, deadline=None)
@given(documents())
def test_what_is_remembered_is_what_is_decided(document: dict[str, Any]) -> None:
    policy = policy_of(document)
    fresh = decisions(policy)
    for _ in range(2):
        assert all(policy.decide(*case) == made for case, made in fresh.items())


@settings(max_examples=30, deadline=None)
@given(documents())
def test_consent_denies_readers_and_nobody_else(document: dict[str, Any]) -> None:
    resting = {who for who, basis in document["purposes"].items() if basis["lawful_basis"] == LawfulBasis.CONSENT}
    for (who, action, _), made in decisions(policy_of(document)).items():
        awaits = who.purpose in resting and action in ("features.read", "materialize", "predict", "score", "train")
        assert ("no-consent-ledger" in made.rules) == awaits


NUMBERS = (
    st.none()
    | st.sampled_from([-3, -1.25, 0, 0.5, 1, 2, 3])
    | st.floats(-5, 5)
    | st.sampled_from([math.inf, -math.inf])
)


def passes_by_hand(comparison: dict[str, Any], value: float | None) -> bool:
    if value is None or math.isnan(value):
        return False
    asked = {"equals": float.__eq__, "at_least": float.__ge__, "at_most": float.__le__}
    return all(
        float(value) in wanted if key == "in" else asked[key](float(value), float(wanted))
        for key, wanted in comparison.items()
    )


@settings(max_examples=200, deadline=None)
@given(comparisons(), st.lists(NUMBERS, max_size=8))
def test_row_filters_pass_what_a_loop_passes(comparison: dict[str, Any], values: list[float | None]) -> None:
    findings: list[Finding] = []
    stated = {"name": "f", "actions": ["predict"], "resources": ["service:*"]}
    rule = read_rule(Entry({**stated, "row_filter": {"column": "orders", **comparison}}, None, "policy 1", findings))
    assert rule is not None
    assert rule.row_filter is not None
    array = np.array([math.nan if value is None else value for value in values], np.float64)
    assert rule.row_filter.passes(array).tolist() == [passes_by_hand(comparison, value) for value in values]


def test_each_comparison_by_hand() -> None:
    values = np.array([-1, 0, 1, 2, 3, math.nan, math.inf])
    table = {
        (1.0,): RowFilter("f", "c", one_of=(1,)),
        (-1.0, 2.0, 3.0): RowFilter("f", "c", one_of=(3, 2, -1)),
        (2.0, 3.0, math.inf): RowFilter("f", "c", least=2),
        (-1.0, 0.0): RowFilter("f", "c", most=0),
        (0.0, 1.0, 2.0): RowFilter("f", "c", least=0, most=2),
    }
    for passing, row_filter in table.items():
        assert tuple(values[row_filter.passes(values)].tolist()) == passing


@pytest.mark.parametrize("comparison", [{"equals": 0}, {"in": [0, 1]}, {"at_least": -9e99}, {"at_most": 9e99}])
def test_a_null_never_passes(comparison: dict[str, Any]) -> None:
    stated = {"name": "f", "actions": ["predict"], "resources": ["service:*"]}
    rule = read_rule(Entry({**stated, "row_filter": {"column": "orders", **comparison}}, None, "policy 1", []))
    assert rule is not None
    assert rule.row_filter is not None
    assert rule.row_filter.passes(np.array([math.nan, 0.0])).tolist() == [False, True]
