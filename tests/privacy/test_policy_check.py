"""What `check_policy` finds: each finding planted in an otherwise clean policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from privacy.classification import LawfulBasis, Purpose, Role
from privacy.policy import Policy, built_in_policy
from privacy.policy_check import Names, all_cases, check_policy
from privacy.policy_file import parse_policy, read_policy
from privacy.policy_rules import Finding

TAGS = {
    "churn.probability": {"prediction": "exact"},
    "churn.band": {"prediction": "banded"},
    "clv.value": {"prediction": "exact"},
}
NAMES = Names(
    {
        "model": frozenset({"churn", "clv"}),
        "service": frozenset({"churn_v1", "clv_v1", "engagement_v1", "insight_v1", "profile_v1"}),
    },
    {"churn_v1": frozenset({"lifetime_orders", "recency_days"}), "clv_v1": frozenset({"lifetime_orders"})},
)
PERMIT = {"name": "permit", "to": ["analyst", "marketer"], "purposes": ["retention"], "actions": ["predict"],
          "resources": ["model:churn", "service:churn_v1"]}  # fmt: skip
EXACT = {"prediction": "exact"}


def found(*rules: dict[str, Any], bases: dict[str, LawfulBasis] | None = None) -> Iterator[tuple[str, str, str]]:
    """Level, text and the name of the rule at whose line a finding is."""
    purposes = {purpose.value: {"lawful_basis": "legitimate_interest"} for purpose in Purpose}
    document = {"version": 1, "purposes": purposes, "tags": TAGS, "policies": list(rules)}
    text = yaml.safe_dump(document, sort_keys=False)
    lines = text.splitlines()
    read = parse_policy(text.encode(), "policy.yaml")
    for finding in check_policy(read, Policy(read, bases), NAMES):
        yield finding.level, finding.what, lines[finding.line - 1].removeprefix("- name: ")


def test_the_built_in_policy_is_clean() -> None:
    text = read_policy(built_in_policy())
    columns = dict.fromkeys(NAMES.columns, frozenset[str]())
    assert check_policy(text, Policy(text), Names(NAMES.resources, columns)) == []


def test_the_clean_policy_of_these_tests_is_clean() -> None:
    forbid = {"name": "guard", "forbid": True, "except": ["admin"], "actions": ["identify"], "resources": ["vault"]}
    assert list(found(PERMIT, forbid)) == []


def test_a_permit_that_forbids_cover_together_permits_nothing() -> None:
    asked = {"forbid": True, "actions": ["predict"], "resources": ["model:*", "service:*"]}
    halves = [{"name": "no-ann", "to": ["analyst"], **asked}, {"name": "no-max", "to": ["marketer"], **asked}]
    assert list(found(PERMIT, halves[0])) == []
    whole = {"name": "nobody", **asked}
    [(level, what, where)] = found(PERMIT, whole)
    assert (level, what, where) == (
        "warning", "policy permit permits nothing: each of its cases is denied by nobody", "permit"
    )  # fmt: skip
    assert list(found(PERMIT, *halves)) == [
        ("warning", "policy permit permits nothing: each of its cases is denied by no-ann, no-max", "permit")
    ]


def test_a_permit_for_a_purpose_on_consent_permits_nothing() -> None:
    told = list(found(PERMIT, bases={"retention": LawfulBasis.CONSENT}))
    assert told == [
        ("warning", "policy permit permits nothing: each of its cases is denied by no-consent-ledger", "permit")
    ]


@pytest.mark.parametrize("reordered", [False, True])
def test_a_permit_and_a_forbid_of_the_same_cases_contradict(reordered: bool) -> None:
    forbid = {**PERMIT, "name": "forbid", "forbid": True, "to": ["marketer", "analyst"]}
    rules = [forbid, PERMIT] if reordered else [PERMIT, forbid]
    [(level, what, where)] = found(*rules)
    assert (level, where) == ("warning", "permit")
    assert what.startswith("policy permit permits exactly what forbid forbids (line ")
    assert what.endswith("forbid wins")


@pytest.mark.parametrize(
    ("rule", "does"),
    [
        ({"resources": ["model:*"], "column_mask": {"fn": "band", "match": EXACT}}, "masks"),
        ({"resources": ["service:*"], "row_filter": {"column": "lifetime_orders", "at_least": 2}}, "filters"),
    ],
)
def test_a_mask_or_filter_of_what_nobody_permits_does_nothing(rule: dict[str, Any], does: str) -> None:
    elsewhere = {"name": "vain", "to": ["analyst"], "purposes": ["value"], "actions": ["predict"], **rule}
    assert list(found(PERMIT, elsewhere)) == [
        ("warning", f"policy vain {does} nothing: no rule permits any of its cases", "vain")
    ]
    assert list(found(PERMIT, {**elsewhere, "purposes": ["value", "retention"]})) == []


def test_masks_that_meet_are_told_with_the_one_that_holds() -> None:
    asked = {"actions": ["predict"], "resources": ["model:*"]}
    band = {"name": "band", **asked, "column_mask": {"fn": "band", "match": EXACT}}
    redact = {"name": "redact", "to": ["analyst"], **asked, "column_mask": {"fn": "redact", "match": EXACT}}
    assert list(found(PERMIT, redact, band)) == [
        ("warning", "policies redact and band mask churn.probability differently; redact holds", "band")
    ]
    apart = {**redact, "column_mask": {"fn": "redact", "match": {"prediction": "banded"}}, "resources": ["model:churn"]}
    assert list(found(PERMIT, apart, band)) == []
    assert list(found(PERMIT, {**redact, "to": ["marketer"]}, {**band, "to": ["analyst"]})) == []


def test_what_is_said_twice_is_told_whatever_its_words() -> None:
    again = {
        **PERMIT,
        "name": "again",
        "to": ["marketer", "analyst"],
        "resources": [*PERMIT["resources"], "model:churn"],
    }
    [(level, what, where)] = found(PERMIT, again)
    assert (level, where) == ("warning", "again")
    assert what.startswith("policy again says the same as permit (line ")
    row_filter = {"name": "f", "actions": ["predict"], "resources": ["service:*"],
                  "row_filter": {"column": "lifetime_orders", "at_least": 2}}  # fmt: skip
    other = {**row_filter, "name": "g", "row_filter": {"column": "lifetime_orders", "at_least": 3}}
    assert list(found(PERMIT, row_filter, other)) == []
    assert [where for *_, where in found(PERMIT, row_filter, {**row_filter, "name": "g"})] == ["g"]


def filters(*comparisons: dict[str, Any]) -> list[dict[str, Any]]:
    asked = {"actions": ["predict"], "resources": ["service:churn_v1"]}
    return [
        {"name": f"f{at}", **asked, "row_filter": {"column": "lifetime_orders", **comparison}}
        for at, comparison in enumerate(comparisons)
    ]


@pytest.mark.parametrize(
    ("comparisons", "nobody"),
    [
        (({"at_least": 3}, {"at_most": 2}), True),
        (({"at_least": 2}, {"at_most": 2}), False),
        (({"equals": 1}, {"in": [2, 3]}), True),
        (({"in": [1, 2]}, {"in": [2, 3]}, {"at_least": 3}), True),
        (({"in": [1, 2]}, {"in": [2, 3]}, {"at_most": 2}), False),
    ],
)
def test_filters_that_nobody_passes_are_a_danger(comparisons: tuple[dict[str, Any], ...], nobody: bool) -> None:
    told = [(level, what) for level, what, _ in found(PERMIT, *filters(*comparisons))]
    names = ", ".join(f"f{at}" for at in range(len(comparisons)))
    expected = ("danger", f"nobody passes the row filters {names} together, so nobody is answered about")
    assert told == ([expected] if nobody else [])


def test_filters_of_other_people_do_not_meet() -> None:
    first, second = filters({"at_least": 3}, {"at_most": 2})
    assert list(found(PERMIT, {**first, "to": ["analyst"]}, {**second, "to": ["marketer"]})) == []


def test_names_unknown_above_are_warnings_of_permits_and_dangers_of_protections() -> None:
    permit = {**PERMIT, "resources": [*PERMIT["resources"], "model:chrun"]}
    forbid = {"name": "forbid", "forbid": True, "to": ["admin"], "actions": ["score"], "resources": ["service:clv_v2"]}
    told = list(found(permit, forbid))
    assert ("danger", "policy forbid: there is no service:clv_v2 here", "forbid") in told
    assert ("warning", "policy permit: there is no model:chrun here", "permit") in told
    assert len(told) == 2


def test_a_filter_by_an_unknown_column_is_a_danger_for_each_service_it_reaches() -> None:
    [rule] = filters({"at_least": 2})
    assert list(found(PERMIT, {**rule, "resources": ["service:*"]})) == []
    [(level, what, _)] = found(
        PERMIT, {**rule, "row_filter": {"column": "recency_days", "at_most": 9}, "resources": ["service:*"]}
    )
    assert (level, what) == (
        "danger", "policy f0: service:clv_v1 has no column recency_days; every read of it is refused"
    )  # fmt: skip


def test_errors_come_first_and_name_their_lines() -> None:
    text = built_in_policy().read_text("utf-8").replace("to: [admin]", "to: [admn]", 1)
    read = parse_policy(text.encode(), "policy.yaml")
    findings = check_policy(read, Policy(read), NAMES)
    line = next(at for at, own in enumerate(text.splitlines(), 1) if "admn" in own)
    what = "policy operator-runs-the-pipeline: role admn is unknown"
    assert findings[0] == Finding("error", line, what, "did you mean admin?")


def test_every_case_is_looked_at() -> None:
    policy = Policy.load()
    cases = list(all_cases(policy))
    assert len(cases) == len(set(cases))
    assert {case[0] for case in cases} == set(Role)
    assert {case[1] for case in cases} == {None, *Purpose}
    for rule in policy.rules:
        assert any(not rule.why_not(case) for case in cases), rule.name
