from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from privacy.classification import LawfulBasis, Purpose, Role
from privacy.errors import BadInput, Refused
from privacy.policy import Policy, Principal, built_in_policy

BUILT_IN = built_in_policy()
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
        assert {field: str(mask) for field, mask in decision.masks.items()} == {exact: "band"}
        assert decision.rule == "bands-for-analysts-and-marketers"
        assert decision.masked_by == {exact: ("bands-for-analysts-and-marketers",)}
    else:
        assert decision.outcome == "allow"
        assert decision.masks == {}
    rows = POLICY.decide(Principal("p", role, purpose), "predict", f"service:{model}_v1")
    assert (rows.allowed, rows.rules, rows.masks) == (decision.allowed, decision.rules, {})


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


READS_PEOPLE = ("attack", "count", "features.read", "materialize", "predict", "score", "train")


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


def test_with_a_ledger_consent_is_asked_of_the_people_and_not_of_the_policy() -> None:
    without, kept = (Policy.load(None, {"retention": LawfulBasis.CONSENT}, ledger=ledger) for ledger in (False, True))
    free = Policy.load()
    assert (kept.version, kept.awaits_consent(Purpose.RETENTION, "score")) == (without.version, False)
    for action in READS_PEOPLE:
        for role in Role:
            asked = Principal("p", role, Purpose.RETENTION), action, "service:churn_v1"
            made, before = kept.decide(*asked), free.decide(*asked)
            assert (made.outcome, made.rules, made.on_consent) == (before.outcome, before.rules, made.allowed)
            assert not before.on_consent
    assert not kept.decide(Principal("p", Role.ADMIN, Purpose.RETENTION), "identify", "vault").on_consent


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


def rule(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "to": ["analyst"], **more}


def test_of_two_masks_the_stricter_holds_and_each_field_names_who_masked_it(tmp_path: Path) -> None:
    asked = {"actions": ["predict"], "resources": ["model:churn"]}
    rules = [
        rule("permit", **asked),
        rule("b-bands", **asked, column_mask={"fn": "band", "match": {"prediction": "exact"}}),
        rule("a-bands", **asked, column_mask={"fn": "band", "match": {"prediction": "exact"}}),
    ]
    bands = rule("c-bands", **asked, column_mask={"fn": "band", "match": {"prediction": "banded"}})
    redact = rule("d-redacts", **asked, column_mask={"fn": "redact", "match": {"prediction": "exact"}})
    ann = Principal("p", Role.ANALYST, Purpose.RETENTION)
    made = load(tmp_path, {**document(), "policies": rules}).decide(ann, "predict", "model:churn")
    assert (made.rule, made.rules) == ("a-bands", ("permit",))
    assert made.masked_by == {"churn.probability": ("a-bands", "b-bands")}
    made = load(tmp_path, {**document(), "policies": [*rules, bands, redact]}).decide(ann, "predict", "model:churn")
    masks = {field: str(mask) for field, mask in made.masks.items()}
    assert masks == {"churn.probability": "redact", "churn.band": "band"}
    assert made.masked_by == {"churn.probability": ("d-redacts",), "churn.band": ("c-bands",)}
    assert made.rule == "c-bands"


def test_row_filters_of_all_matching_rules_come_with_the_decision(tmp_path: Path) -> None:
    asked = {"actions": ["predict"], "resources": ["service:churn_v1"]}
    rules = [
        rule("permit", **asked),
        rule("young", **asked, row_filter={"column": "tenure_days", "at_most": 90}),
        rule("regular", **asked, row_filter={"column": "lifetime_orders", "at_least": 2}),
        rule("else", **{**asked, "resources": ["service:clv_v1"]}, row_filter={"column": "x", "equals": 1}),
        rule("others", **asked, row_filter={"column": "x", "equals": 1}) | {"to": ["marketer"]},
    ]
    policy = load(tmp_path, {**document(), "policies": rules})
    made = policy.decide(Principal("p", Role.ANALYST, Purpose.RETENTION), "predict", "service:churn_v1")
    assert (made.outcome, made.rule, [each.rule for each in made.filters]) == ("allow", "permit", ["regular", "young"])
    assert [each.text() for each in made.filters] == ["lifetime_orders at least 2", "tenure_days at most 90"]
    gap = policy.decide(Principal("p", Role.MARKETER, Purpose.RETENTION), "predict", "service:churn_v1")
    assert (gap.outcome, gap.filters) == ("gap", ())


def test_every_forbid_that_holds_is_named(tmp_path: Path) -> None:
    forbids = [
        {"name": name, "forbid": True, "actions": ["predict"], "resources": ["model:*"]} for name in ("z", "b", "m")
    ]
    policy = load(tmp_path, {**document(), "policies": forbids})
    made = policy.decide(Principal("p", Role.ANALYST, Purpose.MARKETING), "predict", "model:churn")
    assert (made.outcome, made.rule, made.rules) == ("deny", "b", ("b", "m", "no-consent-ledger", "z"))


def test_the_version_follows_the_text(tmp_path: Path) -> None:
    assert load(tmp_path, BUILT_IN.read_text()).version == POLICY.version
    assert load(tmp_path, BUILT_IN.read_text() + "\n# changed").version != POLICY.version


MASKED = {"actions": ["predict"], "resources": ["model:*"],
          "column_mask": {"fn": "band", "match": {"prediction": "exact"}}}  # fmt: skip
FILTERED = {"actions": ["predict"], "resources": ["service:*"], "row_filter": {"column": "orders", "at_least": 2}}


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
        ({**MASKED, "column_mask": {"fn": "blur", "match": {"a": "b"}}}, "mask blur is unknown"),
        ({**MASKED, "column_mask": {"fn": "band"}}, "must match tags"),
        ({**MASKED, "column_mask": {"fn": "band", "match": {"prediction": [1]}}}, "must match tags"),
        ({**MASKED, "column_mask": []}, "column_mask must be a mapping"),
        ({**MASKED, "actions": ["promote"]}, "the answers of promote are not masked"),
        ({**MASKED, "resources": ["service:*"]}, "answers of predict are masked by their model, not by service"),
        ({**MASKED, "forbid": True}, "only do one of forbid, column_mask and row_filter"),
        ({**MASKED, "resources": ["model:churm"]}, "matches the tags of no field of model:churm"),
        ({**FILTERED, "row_filter": {"at_least": 2}}, "row_filter names no column"),
        ({**FILTERED, "row_filter": {"column": "orders"}}, "row_filter needs one comparison"),
        (
            {**FILTERED, "row_filter": {"column": "orders", "equals": 1, "at_most": 2}},
            "row_filter needs one comparison",
        ),
        ({**FILTERED, "row_filter": {"column": "orders", "at_least": "2"}}, "compares with numbers only"),
        ({**FILTERED, "row_filter": {"column": "orders", "equals": True}}, "compares with numbers only"),
        ({**FILTERED, "row_filter": {"column": "orders", "at_most": float("nan")}}, "compares with numbers only"),
        ({**FILTERED, "row_filter": {"column": "orders", "at_most": float("inf")}}, "compares with numbers only"),
        ({**FILTERED, "row_filter": {"column": "orders", "at_most": 10**400}}, "compares with numbers only"),
        ({**FILTERED, "row_filter": {"column": "orders", "in": []}}, "a list is missing under `in`"),
        ({**FILTERED, "row_filter": {"column": "orders", "in": 3}}, "a list is missing under `in`"),
        ({**FILTERED, "row_filter": {"column": "orders", "at_least": 3, "at_most": 2}}, "lets nobody pass"),
        ({**FILTERED, "row_filter": {"column": "orders", "atleast": 3}}, "unknown key atleast.*did you mean at_least"),
        (
            {**FILTERED, "resources": ["model:churn"]},
            "answers of predict are filtered by their service, not by model",
        ),
        ({**FILTERED, "actions": ["materialize"]}, "the answers of materialize are not filtered"),
        ({"purposes": []}, "a list is missing under `purposes`"),
        ({"to": []}, "a list is missing under `to`"),
        ({"except": ["marketer"]}, "role marketer is excepted, but not named"),
        ({"actions": ["predict"]}, "predict is never asked of vault"),
        ({"resources": ["vault", "report"]}, "report is never asked for erase"),
        ({"resources": ["vault:main"]}, "there is one vault only"),
        ({"resources": ["model:ch*"]}, "neither kind, kind:name nor kind:"),
        ({"resources": [["vault"]]}, "neither kind, kind:name nor kind:"),
        ({"to": [{"admin": 1}]}, "role .no word. is unknown"),
        ({"name": "two\nlines"}, "other signs than letters"),
        ({"name": "a,b"}, "other signs than letters"),
        ({"why": 3}, "`why` must be text"),
        ({"name": "erasure"}, "two policies are named erasure"),
        ({"name": ""}, "no name"),
        ({"name": "gap"}, "decisions use for themselves"),
        ({"name": "no-consent-ledger"}, "decisions use for themselves"),
        ({**MASKED, "column_mask": {"fn": "band", "match": {"prediction": "exat"}}}, "mine: column_mask matches the"),
    ],
)
def test_typos_are_bad_input_naming_the_rule(tmp_path: Path, change: dict[str, object], message: str) -> None:
    body = document()
    rule = {"name": "mine", "to": ["admin"], "actions": ["erase"], "resources": ["vault"], **change}
    body["policies"].append(rule)  # type: ignore[attr-defined]
    with pytest.raises(BadInput, match=message) as caught:
        load(tmp_path, body)
    assert "policy.yaml" in str(caught.value)


def test_what_is_near_is_proposed_and_all_faults_are_counted(tmp_path: Path) -> None:
    body = document()
    rule = {"name": "mine", "to": ["admn"], "actions": ["erase", "identfy"], "resources": ["vault"]}
    body["policies"].append(rule)  # type: ignore[attr-defined]
    with pytest.raises(BadInput) as caught:
        load(tmp_path, body)
    lines = (tmp_path / "policy.yaml").read_text().splitlines()
    line = max(at for at, text in enumerate(lines, 1) if "actions:" in text)
    assert "policy mine: action identfy is unknown, and 1 more" in str(caught.value)
    assert f"policy.yaml, line {line})" in str(caught.value)
    assert "did you mean identify?; `custos policy check` lists them" in str(caught.value)


def test_broken_files(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="missing"):
        Policy.load(tmp_path / "none.yaml")
    for broken in ("a: [", "a: 2024-13-45", "? [a, b]\n: c", "a: \0", "[" * 1500, "a: &a [*a, *b]"):
        with pytest.raises(BadInput, match="the policy can't be read as YAML"):
            load(tmp_path, broken)
    with pytest.raises(BadInput, match=r"the policy has the key version twice .*line 2"):
        load(tmp_path, "version: 1\nversion: 1")
    for empty in ("", "[]", "7"):
        with pytest.raises(BadInput, match="the policy must be a mapping"):
            load(tmp_path, empty)
    with pytest.raises(BadInput, match="version must be 1"):
        load(tmp_path, {**document(), "version": 2})
    with pytest.raises(BadInput, match="unknown key polices"):
        load(tmp_path, {**document(), "polices": []})
    with pytest.raises(BadInput, match="has no lawful basis"):
        load(tmp_path, {**document(), "purposes": {}})
    for tags in ({"churn": {"a": "b"}}, {"churn.x": []}, {"churn.x": {"a": [1]}}, {"churn.x": {}}):
        with pytest.raises(BadInput, match=r"tags.*(is no field|must be a mapping|must map words to words)"):
            load(tmp_path, {**document(), "tags": tags, "policies": []})


def test_values_that_hold_themselves_a_billion_times_are_not_written_out(tmp_path: Path) -> None:
    names = "abcdefghij"
    text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in pairwise(names)
    )
    own = "version: *j\npolicies: [{name: x, to: *j, why: *j, actions: *j, resources: *j, column_mask: {fn: *j}}]\n"
    with pytest.raises(BadInput) as caught:
        load(tmp_path, text + own + "tags: *j\npurposes: *j\n")
    assert len(str(caught.value)) < 400
