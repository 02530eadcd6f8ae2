from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from privacy.classification import Purpose, Role
from privacy.errors import BadInput
from privacy.policy import Policy, Principal, built_in_policy
from privacy.policy_explain import Explanation, explain

POLICY = Policy.load()
LINES = built_in_policy().read_text("utf-8").splitlines()


def asked(role: Role, purpose: Purpose | None, action: str, resource: str, policy: Policy = POLICY) -> Explanation:
    return explain(policy, Principal("p", role, purpose), action, resource)


def line_of(rule: str) -> int:
    return LINES.index(f"  - name: {rule}") + 1


def test_a_masked_answer_names_permit_and_mask_with_their_lines() -> None:
    made = asked(Role.ANALYST, Purpose.RETENTION, "predict", "model:churn")
    told = "\n".join(made.lines())
    permit, mask = "churn-for-retention", "bands-for-analysts-and-marketers"
    assert told.startswith("analyst for retention asks to predict model:churn: allowed, with fields masked\n")
    assert f"line {line_of(permit)}: {permit} permits it. Who may leave is asked in order to keep them." in told
    assert f"line {line_of(mask)}: {mask} masks by band what is tagged prediction: exact." in told
    assert f"masked: churn.probability by band ({mask})" in told
    assert "lawful basis of retention: legitimate_interest" in told
    assert made.to_dict()["masks"] == {"churn.probability": {"fn": "band", "rules": [mask]}}
    assert [each.rule for each in made.considered if each.decided] == [permit, mask]


def test_every_rule_says_why_it_was_not_written_for_the_case() -> None:
    made = asked(Role.MARKETER, Purpose.MARKETING, "predict", "model:churn")
    assert [each.rule for each in made.considered] == [rule.name for rule in POLICY.rules]
    why_not = {each.rule: each.why_not for each in made.considered}
    assert why_not["churn-for-retention"] == ("purpose marketing is not in retention",)
    assert why_not["churn-serves-retention-only"] == ()
    assert why_not["oversight-does-not-predict"] == ("role marketer is not in auditor, privacy_officer",)
    assert why_not["clv-serves-retention-and-value-only"] == (
        "resource model:churn is not in service:clv_v1, model:clv",
    )
    assert why_not["erasure"][0] == "action predict is not in erase"
    told = "\n".join(made.lines())
    assert "asks to predict model:churn: denied" in told
    assert "no-consent-ledger: marketing rests on consent" in told
    assert "yes bands-for-analysts-and-marketers" in told
    assert "written for this case, but what is forbidden stays forbidden" in told
    assert "23 other rules don't speak of predict" in told
    assert "erasure" not in told


def test_a_gap_is_told_apart_from_a_denial() -> None:
    made = asked(Role.ADMIN, None, "identify", "vault")
    told = "\n".join(made.lines())
    assert "admin without a purpose asks to identify vault: refused, for no rule was written for this (a gap)" in told
    assert "lawful basis" not in told
    assert (made.decision.outcome, made.to_dict()["lawful_basis"]) == ("gap", None)


def test_row_filters_are_told_in_words(tmp_path: Path) -> None:
    document = yaml.safe_load(built_in_policy().read_text("utf-8"))
    own = {"name": "regulars", "to": ["analyst"], "actions": ["predict"], "resources": ["service:*"],
           "row_filter": {"column": "lifetime_orders", "in": [2, 3.5]}}  # fmt: skip
    document["policies"].append(own)
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(document))
    policy = Policy.load(tmp_path / "policy.yaml")
    made = asked(Role.ANALYST, Purpose.RETENTION, "predict", "service:churn_v1", policy)
    told = list(made.lines())
    assert "  rows: only those that pass lifetime_orders in 2, 3.5 (regulars)" in told
    assert made.to_dict()["row_filters"] == [{"rule": "regulars", "passes": "lifetime_orders in 2, 3.5"}]
    of_model = list(asked(Role.ANALYST, Purpose.RETENTION, "predict", "model:churn", policy).lines())
    assert of_model[-1].strip().startswith("row filters are asked of the service")


def test_a_milder_mask_says_that_it_does_not_hold(tmp_path: Path) -> None:
    document = yaml.safe_load(built_in_policy().read_text("utf-8"))
    own = {"name": "nothing", "to": ["analyst"], "actions": ["predict"], "resources": ["model:*"],
           "column_mask": {"fn": "redact", "match": {"prediction": "exact"}}}  # fmt: skip
    document["policies"].append(own)
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(document))
    made = asked(Role.ANALYST, Purpose.RETENTION, "predict", "model:clv", Policy.load(tmp_path / "policy.yaml"))
    told = "\n".join(made.lines())
    assert "masked: clv.value by redact (nothing)" in told
    assert "but a stricter mask holds" in told


@pytest.mark.parametrize(
    ("action", "resource", "message"),
    [
        ("predikt", "model:churn", r"no action predikt; did you mean predict\?"),
        ("predict", "vault", "predict is never asked of vault; ask about model or service"),
        ("predict", "model", "model is no resource; write it as model:NAME"),
        ("erase", "vault:main", "vault:main is no resource; write it as vault"),
    ],
)
def test_what_nobody_can_ask_is_bad_input(action: str, resource: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        asked(Role.ADMIN, Purpose.VALUE, action, resource)
