from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import privacy.policy
from privacy.classification import LawfulBasis, Purpose, Role
from privacy.errors import BadInput, Refused
from privacy.policy import Policy, Principal

BUILT_IN = Path(privacy.policy.__file__).with_name("policy.yaml")
POLICY = Policy.load()
PREDICTORS = {Role.ADMIN, Role.DATA_SCIENTIST, Role.CRM_SERVICE, Role.ANALYST, Role.MARKETER}


def decide(role: Role, purpose: Purpose | None, action: str, resource: str) -> tuple[str, str]:
    decision = POLICY.decide(Principal("p", role, purpose), action, resource)
    return decision.outcome, decision.rule


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("purpose", list(Purpose))
@pytest.mark.parametrize(("model", "served"), [("churn", {"retention"}), ("clv", {"retention", "value"})])
def test_who_may_predict_what(role: Role, purpose: Purpose, model: str, served: set[str]) -> None:
    decision = POLICY.decide(Principal("p", role, purpose), "predict", f"model:{model}")
    exact = {"churn": "churn.probability", "clv": "clv.value"}[model]
    if role not in PREDICTORS or purpose not in served:
        assert decision.outcome == "deny"
        assert not decision.allowed
    elif role in (Role.ANALYST, Role.MARKETER):
        assert decision.outcome == "mask"
        assert decision.masks == {exact: "band"}
        assert decision.rule == "bands-for-analysts-and-marketers"
    else:
        assert decision.outcome == "allow"
        assert decision.masks == {}
    assert POLICY.decide(Principal("p", role, purpose), "predict", f"service:{model}_v1") == decision


def test_identify_and_erase_are_for_oversight_and_the_operator() -> None:
    for role in Role:
        outcome = decide(role, Purpose.RETENTION, "identify", "vault")[0]
        assert outcome == ("allow" if role in (Role.PRIVACY_OFFICER, Role.ADMIN) else "deny")
        assert decide(role, None, "erase", "vault")[0] == outcome
    assert decide(Role.ADMIN, None, "identify", "vault") == ("gap", "gap")


def test_the_pipeline_of_the_operator() -> None:
    for action in ("ingest", "build", "materialize", "train", "promote"):
        assert decide(Role.ADMIN, None, action, "dataset:complete_journey")[0] == "allow"
    assert decide(Role.DATA_SCIENTIST, None, "ingest", "dataset:x") == ("gap", "gap")
    assert decide(Role.ADMIN, None, "grant", "access")[0] == "allow"
    assert decide(Role.AUDITOR, None, "audit.read", "audit")[0] == "allow"
    assert decide(Role.MARKETER, None, "audit.read", "audit")[0] == "gap"
    assert decide(Role.ADMIN, Purpose.RETENTION, "nonsense", "vault")[0] == "gap"


def test_refusals_name_role_purpose_action_and_rule() -> None:
    marketer = Principal("secret person", Role.MARKETER, Purpose.MARKETING)
    with pytest.raises(Refused) as caught:
        POLICY.require(marketer, "predict", "model:churn")
    text = str(caught.value)
    for word in ("marketer", "marketing", "predict", "model:churn", "churn-serves-retention-only"):
        assert word in text
    assert "secret person" not in text
    with pytest.raises(Refused, match="no rule was written"):
        POLICY.require(marketer, "ingest", "dataset:x")


def test_lawful_bases() -> None:
    assert POLICY.lawful_basis(Purpose.MARKETING) is LawfulBasis.CONSENT
    assert POLICY.lawful_basis(Purpose.RETENTION) is LawfulBasis.LEGITIMATE_INTEREST


READS_PEOPLE = ("features.read", "materialize", "predict", "score", "train")


@pytest.mark.parametrize("action", READS_PEOPLE)
def test_a_purpose_on_consent_is_served_to_nobody_without_a_ledger(action: str) -> None:
    policy = Policy.load(None, {"retention": LawfulBasis.CONSENT})
    assert policy.lawful_basis(Purpose.RETENTION) is LawfulBasis.CONSENT
    for role in Role:
        for resource in ("service:clv_v1", "model:clv", "service:churn_v1", "model:churn"):
            assert not policy.decide(Principal("p", role, Purpose.RETENTION), action, resource).allowed
    admin = Principal("p", Role.ADMIN, Purpose.RETENTION)
    assert policy.decide(admin, action, "service:clv_v1").rule == "no-consent-ledger"
    with pytest.raises(Refused, match=r"rule no-consent-ledger.*retention rests on consent"):
        policy.require(admin, action, "service:clv_v1")
    for purpose in (None, Purpose.VALUE):
        untouched = Principal("p", Role.ADMIN, purpose)
        assert policy.decide(untouched, action, "model:clv") == POLICY.decide(untouched, action, "model:clv")


def test_consent_does_not_hinder_rights_and_oversight() -> None:
    policy = Policy.load(None, {"retention": LawfulBasis.CONSENT})
    for action in ("erase", "identify"):
        assert policy.decide(Principal("p", Role.PRIVACY_OFFICER, Purpose.RETENTION), action, "vault").allowed


def test_the_built_in_consent_purpose_is_not_trained_on_either() -> None:
    assert decide(Role.DATA_SCIENTIST, Purpose.MARKETING, "train", "model:churn") == ("deny", "no-consent-ledger")


def test_effective_bases_replace_those_of_the_file_and_change_the_version() -> None:
    same = Policy.load(None, {"marketing": LawfulBasis.CONSENT})
    assert same.version == POLICY.version
    other = Policy.load(None, {"marketing": LawfulBasis.LEGITIMATE_INTEREST})
    assert other.version != POLICY.version
    assert other.decide(Principal("p", Role.DATA_SCIENTIST, Purpose.MARKETING), "train", "model:churn").allowed
    with pytest.raises(BadInput, match="unknown purpose"):
        Policy.load(None, {"retension": LawfulBasis.CONSENT})


def document() -> dict[str, object]:
    return yaml.safe_load(BUILT_IN.read_text())


def load(tmp_path: Path, body: object) -> Policy:
    path = tmp_path / "policy.yaml"
    path.write_text(body if isinstance(body, str) else yaml.safe_dump(body))
    return Policy.load(path)


def test_forbid_wins_whatever_the_order(tmp_path: Path) -> None:
    permit = {"name": "yes", "to": ["admin"], "actions": ["erase"], "resources": ["vault"]}
    forbid = {"name": "no", "forbid": True, "actions": ["erase"], "resources": ["vault"]}
    for rules in ([permit, forbid], [forbid, permit]):
        policy = load(tmp_path, {**document(), "policies": rules})
        assert policy.decide(Principal("p", Role.ADMIN, None), "erase", "vault").rule == "no"


def test_a_mask_alone_permits_nothing(tmp_path: Path) -> None:
    mask = {
        "name": "bands",
        "to": ["admin"],
        "actions": ["predict"],
        "resources": ["model:*"],
        "column_mask": {"fn": "band", "match": {"prediction": "exact"}},
    }
    policy = load(tmp_path, {**document(), "policies": [mask]})
    assert policy.decide(Principal("p", Role.ADMIN, None), "predict", "model:churn").outcome == "gap"


def test_the_version_follows_the_text(tmp_path: Path) -> None:
    assert load(tmp_path, BUILT_IN.read_text()).version == POLICY.version
    assert load(tmp_path, BUILT_IN.read_text() + "\n# changed").version != POLICY.version


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"to": ["admn"]}, "role admn is unknown"),
        ({"purposes": ["retension"]}, "purpose retension is unknown"),
        ({"actions": ["predikt"]}, "action predikt is unknown"),
        ({"resources": ["modell:*"]}, "unknown resource modell"),
        ({"purpose": ["retention"]}, "unknown key purpose"),
        ({"forbid": "yes please"}, "true or false"),
        ({"to": "admin"}, "list is missing"),
        ({"to": ["admin"], "except": ["admin"]}, "no role is left"),
        ({"column_mask": {"fn": "blur", "match": {"a": "b"}}}, "mask blur is unknown"),
        ({"column_mask": {"fn": "band"}}, "must match tags"),
        ({"name": "erasure"}, "two policies are named erasure"),
        ({"name": ""}, "no name"),
        ({"name": "gap"}, "decisions use for themselves"),
        ({"name": "no-consent-ledger"}, "decisions use for themselves"),
        ({"column_mask": {"fn": "band", "match": {"prediction": "exat"}}}, "mine: column_mask matches the tags of no"),
    ],
)
def test_typos_are_bad_input_naming_the_rule(tmp_path: Path, change: dict[str, object], message: str) -> None:
    body = document()
    rule = {"name": "mine", "to": ["admin"], "actions": ["erase"], "resources": ["vault"], **change}
    body["policies"].append(rule)  # type: ignore[attr-defined]
    with pytest.raises(BadInput, match=message) as caught:
        load(tmp_path, body)
    assert "policy.yaml" in str(caught.value)


def test_broken_files(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="missing"):
        Policy.load(tmp_path / "none.yaml")
    with pytest.raises(BadInput, match="not readable YAML"):
        load(tmp_path, "a: [")
    with pytest.raises(BadInput, match="must be a mapping"):
        load(tmp_path, "[]")
    with pytest.raises(BadInput, match="version must be 1"):
        load(tmp_path, {**document(), "version": 2})
    with pytest.raises(BadInput, match="unknown key polices"):
        load(tmp_path, {**document(), "polices": []})
    with pytest.raises(BadInput, match="has no lawful basis"):
        load(tmp_path, {**document(), "purposes": {}})
