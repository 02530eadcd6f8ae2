"""The web layer: roles x purposes, paths, limits of time, and that no error answer quotes what was sent."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime, timedelta
from threading import Event

import pytest

from privacy.classification import Purpose, Role
from privacy.errors import EnvironmentFailed
from serving.app import build_app, openapi_document
from serving.edge import Limits
from serving.parts import Slot
from serving.problems import CODES
from serving.schemas import PredictResponse
from tests.serving.conftest import web
from tests.serving.shop import GOOD, SECRET, UNKNOWN, Bearer, Client, Wired, problem, token


def test_a_prediction_fits_the_published_schema(client: Client, bearer: Bearer) -> None:
    asked = [token(number) for number in (1, 4, UNKNOWN, 3, 1)]
    response = client.predict(bearer(), {"customers": asked, "models": ["churn", "clv"]})
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    PredictResponse.model_validate_json(response.content)
    results = response.json()["results"]
    assert [result["customer"] for result in results] == asked
    assert [result["status"] for result in results] == ["ok", "inactive", "unknown", "cold_start", "ok"]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("purpose", [*Purpose, None])
@pytest.mark.parametrize("models", [["churn"], ["clv"], ["churn", "clv"]], ids="+".join)
def test_roles_by_purposes_by_models(
    client: Client, bearer: Bearer, role: Role, purpose: Purpose | None, models: list[str]
) -> None:
    served = {"churn": {"retention"}, "clv": {"retention", "value"}}
    may = role not in (Role.AUDITOR, Role.PRIVACY_OFFICER) and all(purpose in served[m] for m in models)
    body = {"customers": [token(1, purpose or "retention")], "models": models}
    response = client.predict(bearer(role, purpose), body)
    if not may:
        problem(response, "policy_refused")
        return
    (result,) = response.json()["results"]
    exact = {"churn": "probability", "clv": "value"}
    seen = {model for model in models if exact[model] in result[model]}
    assert seen == (set() if role in (Role.ANALYST, Role.MARKETER) else set(models))


def test_the_same_customer_for_crm_and_analyst(client: Client, bearer: Bearer) -> None:
    crm = client.predict(bearer("crm_service"), GOOD).json()["results"][0]
    analyst = client.predict(bearer("analyst"), GOOD).json()["results"][0]
    assert crm["clv"].pop("value") == 200.0
    assert crm["churn"].pop("probability") == 0.1
    assert analyst == crm


def test_tokens_of_another_domain(client: Client, bearer: Bearer) -> None:
    asked = [token(1), token(1, "value"), token(UNKNOWN, "value"), SECRET]
    body = problem(client.predict(bearer(), {"customers": asked, "models": ["clv"]}), "tokens_invalid")
    assert body["errors"] == [
        {"code": "token_mistyped", "count": 1, "positions": [3]},
        {"code": "token_of_another_purpose", "count": 2, "positions": [1, 2]},
    ]
    assert not any(each in json.dumps(body) for each in asked)


def test_who_is_not_let_in(client: Client, bearer: Bearer) -> None:
    expired = bearer(now=datetime.now(UTC) - timedelta(hours=2), ttl=timedelta(hours=1))
    early = bearer(now=datetime.now(UTC) + timedelta(hours=1))
    for bad, code in ((expired, "bearer_expired"), (early, "bearer_invalid"), (SECRET, "bearer_invalid")):
        response = client.predict(bad, GOOD)
        problem(response, code)
        assert 'error="invalid_token"' in response.headers["www-authenticate"]
        assert bad not in response.text
    problem(client.predict(None, GOOD), "bearer_missing")
    for header in ("", "Bearer", "Bearer ", "Basic abc", bearer(), f"Token {bearer()}"):
        assert client.request("POST", "/v1/predict", json=GOOD, headers={"authorization": header}).status_code == 401
    doubled = [("authorization", f"Bearer {bearer()}")] * 2
    assert client.request("POST", "/v1/predict", json=GOOD, headers=doubled).status_code == 401
    assert client.request("POST", f"/v1/predict?access_token={bearer()}", json=GOOD).status_code == 401


@pytest.mark.parametrize(
    "path",
    ["/nope", "/v1", "/v1/", "/v1/predict/", "//v1/predict", "/v1/../metrics", "/v1/%2e%2e/metrics", "/V1/predict", "",
     "/predict", "/metrics/", "/static_content/x.js", "/v1/docs", "/v1/openapi.json", "/docs", "/livez/x",
     "/metrics\x00", "/metrics;x", "*", "http://other/metrics", f"/{SECRET}"],
)  # fmt: skip
def test_every_other_path_is_nothing(client: Client, bearer: Bearer, path: str) -> None:
    for method in ("GET", "POST"):
        problem(client.as_written(method, path, bearer("admin")), "not_found")


def test_other_methods(client: Client, bearer: Bearer) -> None:
    headers = {"authorization": f"Bearer {bearer()}"}
    for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "X" * 50):
        response = client.request(method, "/v1/predict", headers=headers)
        problem(response, "method_not_allowed")
        assert response.headers["allow"] == "POST"
    problem(client.request("POST", "/", json=GOOD), "method_not_allowed")


def test_no_origin_is_ever_allowed(client: Client, bearer: Bearer) -> None:
    response = client.predict(bearer(), GOOD, headers={"origin": "https://elsewhere.example"})
    assert not [name for name in response.headers if name.startswith("access-control")]


def counted(client: Client, bearer: Bearer, series: str) -> float:
    """Read one series; a library loaded before may have put prometheus_client's counters in files they share."""
    response = client.request("GET", "/metrics", headers={"authorization": f"Bearer {bearer('admin', None)}"})
    lines = [line for line in response.text.splitlines() if line.startswith(f"{series} ")]
    return float(lines[0].split()[-1]) if lines else 0.0


def test_metrics_count_answers_and_tell_nothing_else(client: Client, bearer: Bearer) -> None:
    answers, strays = 'custos_results_total{status="ok"}', 'custos_http_requests_total{route="other",status="404"}'

    def ask() -> list[float]:
        assert client.predict(bearer(), GOOD).status_code == 200
        client.request("GET", f"/{SECRET}")
        return [counted(client, bearer, series) for series in (answers, strays)]

    before = ask()
    assert ask() == [before[0] + 1, before[1] + 1]


def test_readiness_says_what_is_missing(client: Client, wired: Wired) -> None:
    answer = client.request("GET", "/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "why": []})
    wired.gateway.broken = EnvironmentFailed("the online store is away")
    answer = client.request("GET", "/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "why": ["the online store is away"]})


def test_a_mistyped_model_is_told_what_there_is(client: Client, bearer: Bearer) -> None:
    body = {"customers": [token(1)], "models": ["chrun"]}
    answer = client.request("POST", "/v1/predict", json=body, headers={"authorization": f"Bearer {bearer()}"})
    assert answer.json()["errors"] == [{"at": "body.models.0", "type": "literal_error", "expected": "'churn' or 'clv'"}]
    assert "chrun" not in answer.text


def test_metrics_are_for_admin_and_auditor(client: Client, bearer: Bearer) -> None:
    client.predict(bearer(), GOOD)
    client.request("GET", f"/{SECRET}")
    problem(client.request("GET", "/metrics"), "bearer_missing")
    for role in Role:
        response = client.request("GET", "/metrics", headers={"authorization": f"Bearer {bearer(role, None)}"})
        if role in (Role.ADMIN, Role.AUDITOR):
            assert 'custos_champion{model="clv",version="1"} 1.0' in response.text
            assert SECRET not in response.text
            assert token(1) not in response.text
        else:
            problem(response, "policy_refused")


def test_labels_stay_few_however_many_paths_are_tried(client: Client, bearer: Bearer) -> None:
    headers = {"authorization": f"Bearer {bearer('admin')}"}
    before = client.request("GET", "/metrics", headers=headers).text.count("\n")
    for number in range(50):
        client.request("GET", f"/path-{number}")
    series = client.request("GET", "/metrics", headers=headers).text
    assert series.count("\n") - before < 60  # two new routes' worth, not fifty


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (EnvironmentFailed(f"can't open {SECRET}"), "dependency_failed"),
        (KeyError(SECRET), "internal_error"),
        (ValueError(SECRET), "internal_error"),
        (OSError(28, SECRET), "internal_error"),
        (RecursionError(SECRET), "internal_error"),
    ],
    ids=repr,
)
def test_what_goes_wrong_inside_is_not_told(
    client: Client, wired: Wired, bearer: Bearer, raised: Exception, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    wired.gateway.broken = raised
    with caplog.at_level(logging.DEBUG):
        response = client.predict(bearer(), GOOD)
    problem(response, code)
    assert SECRET not in caplog.text
    if code == "dependency_failed":
        assert response.headers["retry-after"] == "5"


def test_an_answer_that_takes_too_long_is_given_up(wired: Wired, bearer: Bearer) -> None:
    client = web(wired, Limits(answer_seconds=0.2))
    wired.gateway.held = Event()
    try:
        response = client.predict(bearer(), GOOD)
    finally:
        wired.gateway.held.set()
    assert response.status_code == 504
    assert problem(response, "timeout")["detail"] == "within 0.2 s"
    assert response.headers["retry-after"] == "5"
    counted = client.request("GET", "/metrics", headers={"authorization": f"Bearer {bearer('admin')}"}).text
    assert 'custos_http_requests_total{route="/v1/predict",status="504"} 1.0' in counted


def test_before_start_up_there_is_no_answer(bearer: Bearer) -> None:
    from serving.edge import Edge

    slot = Slot()
    app = build_app(slot)
    client = Client(Edge(app, slot, {"/v1/predict": frozenset({"POST"})}, dict))
    problem(client.predict(bearer(), GOOD), "not_ready")


def test_the_application_without_its_edge_lets_nobody_in(client: Client, wired: Wired) -> None:
    slot = Slot()
    app = build_app(slot)
    slot.fill(wired.parts)
    response = Client(app).request("POST", "/predict", json=GOOD, headers={"authorization": "Bearer x"})
    assert response.json()["code"] == "bearer_missing"


def test_the_access_log_names_no_caller_token_or_query(
    client: Client, bearer: Bearer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        client.predict(bearer(), GOOD)
        client.request("POST", f"/v1/predict?q={SECRET}", json=GOOD)
    lines = [json.loads(record.message) for record in caplog.records if record.name == "custos.access"]
    assert [line["status"] for line in lines] == [200, 401]
    assert set(lines[0]) == {"request_id", "route", "status", "code", "milliseconds"}
    ours = "".join(record.message for record in caplog.records if not record.name.startswith("httpx"))
    for hidden in (SECRET, token(1), "tester", bearer()[:40]):
        assert hidden not in ours


def test_the_landing_page_loads_nothing(client: Client) -> None:
    response = client.request("GET", "/")
    assert response.status_code == 200
    assert "docs.json" in response.text
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//|<script|@import|url\(", response.text)
    assert "default-src 'none'" in response.headers["content-security-policy"]


def test_the_document_has_the_security_scheme_every_error_and_examples(client: Client) -> None:
    document = client.request("GET", "/docs.json").json()
    operation = document["paths"]["/v1/predict"]["post"]
    assert operation["security"] == [{"bearer": []}]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert {int(status) for status in operation["responses"]} == {200} | {
        kind.status for code, kind in CODES.items() if code != "not_found"
    }
    examples = [code for answer in operation["responses"].values()
                for content in answer["content"].values() for code in content.get("examples", [])]  # fmt: skip
    assert set(examples) == set(CODES) - {"not_found"}
    request = document["components"]["schemas"]["PredictRequest"]
    assert request["additionalProperties"] is False
    assert request["examples"]
    assert request["properties"]["customers"]["maxItems"] == 1000
    assert "http" not in json.dumps(document).replace('"http"', "").replace("HTTPBearer", "")


def test_every_reference_of_the_document_resolves() -> None:
    document = openapi_document(build_app(Slot()))
    for reference in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
        assert reference in document["components"]["schemas"]
