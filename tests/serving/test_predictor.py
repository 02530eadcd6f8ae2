"""The use case against the real policy, keyring and audit: who gets what, and what is written down first."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privacy.audit import AuditLog
from privacy.classification import Purpose, Role
from privacy.errors import CheckFailed, EnvironmentFailed, Refused
from privacy.policy import Policy, Principal
from serving.champion import Champion
from serving.errors import ModelUnavailable, TokensRefused
from serving.predictor import Predictor, Shop
from tests.serving.shop import AS_OF, PEOPLE, UNKNOWN, Keys, LinearModel, Wired, token

CRM = Principal("crm", Role.CRM_SERVICE, Purpose.RETENTION)
ANALYST = Principal("ana", Role.ANALYST, Purpose.RETENTION)
BOTH = ["churn", "clv"]


def events(wired: Wired) -> list[dict[str, object]]:
    """Every line of the audit log, envelope or not, as one flat list of events."""
    lines = [
        json.loads(line)
        for path in sorted(wired.audit_directory.rglob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    return [line.get("event", line) for line in lines]


def test_exact_for_crm(wired: Wired) -> None:
    answer = wired.predictor.predict(CRM, [token(1)], BOTH)
    assert answer == {
        "as_of": AS_OF.isoformat(),
        "models": {"churn": "1", "clv": "1"},
        "results": [
            {
                "customer": token(1),
                "status": "ok",
                "churn": {"probability": 0.1, "band": "low", "horizon_days": 28},
                "clv": {"value": 200.0, "band": "100-250", "currency": "USD", "horizon_days": 112},
            }
        ],
    }


@pytest.mark.parametrize("role", [Role.ANALYST, Role.MARKETER])
def test_bands_only_for_analyst_and_marketer(wired: Wired, role: Role) -> None:
    answer = wired.predictor.predict(Principal("a", role, Purpose.RETENTION), [token(2)], BOTH)
    assert answer["results"][0]["churn"] == {"band": "high", "horizon_days": 28}
    assert answer["results"][0]["clv"] == {"band": "500-1000", "currency": "USD", "horizon_days": 112}


@pytest.mark.parametrize(
    ("number", "models", "status", "churn", "clv"),
    [
        (1, BOTH, "ok", 0.1, 200.0),
        (3, BOTH, "cold_start", 0.05, 40.0),
        (4, BOTH, "inactive", None, 120.0),
        (5, BOTH, "inactive", None, 20.0),
        (5, ["clv"], "cold_start", "absent", 20.0),
        (4, ["clv"], "ok", "absent", 120.0),
        (4, ["churn"], "inactive", None, "absent"),
        (6, BOTH, "ok", 0.56, 1200.0),
        (UNKNOWN, BOTH, "unknown", None, None),
        (UNKNOWN, ["clv"], "unknown", "absent", None),
    ],
)
def test_status_and_values(
    wired: Wired, number: int, models: list[str], status: str, churn: object, clv: object
) -> None:
    (result,) = wired.predictor.predict(CRM, [token(number)], models)["results"]
    assert result["status"] == status
    for model, field, expected in (("churn", "probability", churn), ("clv", "value", clv)):
        if expected == "absent":
            assert model not in result
        elif expected is None:
            assert result[model] is None
        else:
            assert result[model][field] == expected


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=st.lists(st.sampled_from([*PEOPLE, UNKNOWN]), min_size=1, max_size=30))
def test_order_and_duplicates_are_kept_and_a_batch_answers_as_singles_do(wired: Wired, numbers: list[int]) -> None:
    answer = wired.predictor.predict(CRM, [token(n) for n in numbers], BOTH)
    singles = {n: wired.predictor.predict(CRM, [token(n)], BOTH)["results"][0] for n in set(numbers)}
    assert answer["results"] == [singles[n] for n in numbers]


def test_one_batch_predict_a_model_over_distinct_active_people(wired: Wired) -> None:
    models = {target: wired.champions.current(target).model for target in BOTH}  # type: ignore[union-attr]
    for model in models.values():
        model.rows_seen.clear()  # type: ignore[attr-defined]
    wired.predictor.predict(CRM, [token(n) for n in (1, 1, 4, UNKNOWN, 2, 1)], BOTH)
    assert models["churn"].rows_seen == [2]  # type: ignore[attr-defined]  # 1 and 2: 4 is inactive
    assert models["clv"].rows_seen == [3]  # type: ignore[attr-defined]
    assert wired.gateway.calls[-2:] == [("churn_v1", 4), ("clv_v1", 4)]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("purpose", [*Purpose, None])
@pytest.mark.parametrize("model", BOTH)
def test_every_role_and_purpose_gets_what_the_policy_says_or_nothing(
    wired: Wired, role: Role, purpose: Purpose | None, model: str
) -> None:
    principal = Principal("p", role, purpose)
    served = {"churn": {"retention"}, "clv": {"retention", "value"}}[model]
    may = role not in (Role.AUDITOR, Role.PRIVACY_OFFICER) and purpose in served
    asked = [token(1, purpose or "retention")]
    if not may:
        with pytest.raises(Refused):
            wired.predictor.predict(principal, asked, [model])
        return
    (result,) = wired.predictor.predict(principal, asked, [model])["results"]
    exact = {"churn": "probability", "clv": "value"}[model]
    assert (exact in result[model]) == (role not in (Role.ANALYST, Role.MARKETER))
    assert "band" in result[model]


def test_asking_for_one_model_too_many_refuses_all(wired: Wired) -> None:
    with pytest.raises(Refused):
        wired.predictor.predict(Principal("v", Role.CRM_SERVICE, Purpose.VALUE), [token(1, "value")], BOTH)


def test_tokens_of_another_purpose_and_mistyped_ones_are_told_by_position_only(wired: Wired) -> None:
    typo = token(2)[:-1] + ("0" if token(2)[-1] != "0" else "1")
    asked = [token(1), token(1, "value"), typo, "", token(1, "value"), token(3, "features"), token(UNKNOWN)]
    with pytest.raises(TokensRefused) as refused:
        wired.predictor.predict(CRM, asked, BOTH)
    assert refused.value.errors() == [
        {"code": "token_mistyped", "count": 3, "positions": [2, 3, 5]},
        {"code": "token_of_another_purpose", "count": 2, "positions": [1, 4]},
    ]
    assert not any(each and each in str(refused.value) for each in asked)
    assert wired.gateway.calls == []  # not even looked up: it can't tell whether the person exists


def test_a_single_prediction_is_audited_by_the_persons_reference(wired: Wired) -> None:
    wired.predictor.predict(CRM, [token(1), token(1)], BOTH, "req-1")
    (event,) = events(wired)
    assert event["action"] == "predict"
    assert event["reference"] == "person-1"
    assert event["count"] == 1
    assert event["outcome"] == "allow"
    assert token(1) not in json.dumps(event)
    assert wired.audit.verify().events == 1


def test_a_batch_is_audited_by_count_and_commitment(wired: Wired) -> None:
    wired.predictor.predict(ANALYST, [token(1), token(2), token(1)], ["clv"])
    (event,) = events(wired)
    assert event["count"] == 2
    assert event["commitment"]
    assert not event.get("reference")
    assert event["outcome"] == "mask"
    assert "person-" not in json.dumps(event)


def test_a_refusal_is_audited(wired: Wired) -> None:
    with pytest.raises(Refused):
        wired.predictor.predict(Principal("o", Role.AUDITOR, Purpose.COMPLIANCE), [token(1)], ["clv"])
    (event,) = events(wired)
    assert (event["action"], event["outcome"], event["count"]) == ("predict", "deny", 1)


def test_refused_tokens_are_audited_without_a_token(wired: Wired) -> None:
    asked = [token(1), token(1, "value"), "nonsense"]
    with pytest.raises(TokensRefused):
        wired.predictor.predict(CRM, asked, BOTH, "req-2")
    (event,) = events(wired)
    assert (event["action"], event["outcome"], event["rule"], event["count"]) == ("predict", "deny", "", 3)
    assert event["resource"] == "model:churn,model:clv"
    assert event["detail"] == {
        "request_id": "req-2", "why": "1 mistyped and 1 of another purpose, of 3 customer tokens"
    }  # fmt: skip
    assert not any(each in json.dumps(event) for each in asked)


def test_the_gateways_own_refusal_is_a_deny(wired: Wired) -> None:
    wired.gateway.broken = Refused("churn_v1 does not serve this purpose")
    with pytest.raises(Refused):
        wired.predictor.predict(CRM, [token(1)], BOTH)
    (event,) = events(wired)
    assert (event["outcome"], event["rule"]) == ("deny", "")


@pytest.mark.parametrize(
    ("raised", "why"),
    [(EnvironmentFailed("the online store is stale"), "the online store is stale"), (KeyError("Ann Li"), "KeyError")],
    ids=["known", "unknown"],
)
def test_what_fails_after_the_policy_agreed_is_audited_as_an_error(wired: Wired, raised: Exception, why: str) -> None:
    wired.gateway.broken = raised
    with pytest.raises(type(raised)):
        wired.predictor.predict(CRM, [token(1), token(2)], BOTH, "req-3")
    (event,) = events(wired)
    assert (event["outcome"], event["rule"], event["count"]) == ("error", "", 2)
    assert event["detail"] == {"request_id": "req-3", "why": why}
    assert "Ann" not in json.dumps(event)
    assert wired.audit.verify().events == 1


class FullDisk:
    def append(self, **_: object) -> str:
        raise EnvironmentFailed("no space left")


def with_audit(wired: Wired, audit: object) -> Predictor:
    return Predictor(wired.gateway, Policy.load(), audit, wired.champions, Shop("USD", 56))  # type: ignore[arg-type]


def test_nothing_is_answered_that_the_audit_did_not_acknowledge(wired: Wired) -> None:
    with pytest.raises(EnvironmentFailed):
        with_audit(wired, FullDisk()).predict(CRM, [token(1)], BOTH)


def test_an_unwritable_audit_directory_fails_closed(wired: Wired, keys: Keys) -> None:
    path = wired.audit_directory.parent / "a-file"
    path.write_text("in the way")
    with pytest.raises((EnvironmentFailed, OSError)):
        with_audit(wired, AuditLog(path, keys.sealed)).predict(CRM, [token(1)], BOTH)


def test_a_gateway_that_is_away_answers_nothing_and_is_audited_as_such(wired: Wired) -> None:
    wired.gateway.broken = EnvironmentFailed("the online store is stale")
    with pytest.raises(EnvironmentFailed):
        wired.predictor.predict(CRM, [token(1)], BOTH)
    assert [event["outcome"] for event in events(wired)] == ["error"]


class NaNModel(LinearModel):
    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        return np.full(len(frame), math.nan)


def test_a_model_that_answers_nonsense_is_never_passed_on(wired: Wired) -> None:
    class Fixed:
        def current(self, target: str) -> Champion:
            return Champion(NaNModel("clv"), "1")

    predictor = Predictor(wired.gateway, Policy.load(), wired.audit, Fixed(), Shop("USD", 56))
    with pytest.raises(CheckFailed):
        predictor.predict(CRM, [token(1), token(2)], ["clv"])
    assert [event["outcome"] for event in events(wired)] == ["error"]


def test_without_a_champion_there_is_no_answer(wired: Wired) -> None:
    class Nobody:
        def current(self, target: str) -> None:
            return None

    predictor = Predictor(wired.gateway, Policy.load(), wired.audit, Nobody(), Shop("USD", 56))
    with pytest.raises(ModelUnavailable):
        predictor.predict(CRM, [token(1)], ["clv"])
    assert [event["outcome"] for event in events(wired)] == ["error"]


def test_ready_means_champions_and_features(wired: Wired) -> None:
    assert wired.predictor.unready() == []
    wired.gateway.broken = EnvironmentFailed("the online store is away")
    assert wired.predictor.unready() == ["the online store is away"]
    wired.gateway.broken = None
    champions = wired.parts.champions
    empty = Predictor(wired.gateway, Policy.load(), wired.audit, type(champions)(wired.registry), Shop("USD", 56))
    assert empty.unready() == ["no champion of churn is in service", "no champion of clv is in service"]


@pytest.mark.parametrize("lost", ["checkpoint", "events.jsonl"])
def test_ready_means_an_audit_log_that_takes_events(wired: Wired, lost: str) -> None:
    wired.predictor.predict(CRM, [token(1)], ["clv"])
    assert wired.predictor.unready() == []
    (wired.audit_directory / lost).unlink()
    (why,) = wired.predictor.unready()
    assert "audit" in why
    with pytest.raises(CheckFailed, match="audit"):
        wired.predictor.predict(CRM, [token(1)], ["clv"])


def test_a_shop_that_calls_nobody_inactive(wired: Wired) -> None:
    predictor = Predictor(wired.gateway, Policy.load(), wired.audit, wired.champions, Shop("USD", None))
    (result,) = predictor.predict(CRM, [token(4)], ["churn"])["results"]
    assert (result["status"], result["churn"]["probability"]) == ("ok", 0.57)
