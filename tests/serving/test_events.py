"""POST /v1/events: who may, what fits, and that nothing but tokens comes in and nothing is kept of the refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import features.inbox as inbox_module
from features.inbox import Inbox
from features.own_tokens import OwnTokens
from privacy.audit import verify_audit
from privacy.classification import Purpose, Role
from privacy.rights import Subject
from privacy.suppression import SuppressionList
from privacy.tokens import handles_to_tokens
from serving.edge import Limits
from serving.receiver import Receiver
from tests.serving.conftest import web
from tests.serving.shop import SECRET, Bearer, Client, Keys, Wired, problem

HANDLES = np.random.default_rng(4).integers(0, 256, (3, 16), np.uint8)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Taking:
    client: Client
    inbox: Inbox
    suppression: SuppressionList
    keys: Keys
    wired: Wired

    def token(self, number: int, domain: str = "retention") -> str:
        return str(handles_to_tokens(self.keys.root, HANDLES, domain)[number].as_py())

    def event(self, number: int = 0, **changes: object) -> dict[str, Any]:
        lines = [{"amount": 3.5, "category": "dairy"}]
        event = {"event": f"{number + 1:032x}", "customer": self.token(number), "lines": lines}
        return {**event, "ordered_at": "2026-11-21T10:00:00+01:00", **changes}

    def post(self, bearer: str, *events: dict[str, Any], body: object = None) -> httpx.Response:
        headers = {"content-type": "application/json", "authorization": f"Bearer {bearer}"}
        content = json.dumps({"events": events} if body is None else body)
        return self.client.request("POST", "/v1/events", headers=headers, content=content)

    def waiting(self) -> list[dict[str, Any]]:
        return [dict(event) for _, events in self.inbox.waiting() for event in events]


@pytest.fixture
def taking(wired: Wired, keys: Keys, tmp_path: Path) -> Taking:
    suppression = SuppressionList(tmp_path / "suppression.json", keys.sealed)
    inbox, own = Inbox(tmp_path / "inbox"), OwnTokens(keys.sealed, suppression)
    receiver = Receiver(
        wired.parts.policy, wired.audit, "shop", own, inbox, {"amount", "category", "product_id"}, lambda: NOW
    )
    wired.parts = replace(wired.parts, receiver=receiver)
    client = web(wired, Limits(body_seconds=60.0, answer_seconds=60.0))
    return Taking(client, inbox, SuppressionList(tmp_path / "suppression.json", keys.root), keys, wired)


def test_events_wait_by_the_feature_stores_own_tokens(taking: Taking, bearer: Bearer) -> None:
    response = taking.post(bearer(), taking.event(0), taking.event(1, lines=[{"amount": -1.5, "product_id": 7}]))
    assert (response.status_code, response.json()) == (202, {"accepted": 2})
    first, second = sorted(taking.waiting(), key=lambda event: event["event"])
    assert first == {
        "event": f"{1:032x}", "customer_token": taking.token(0, "features"),
        "ordered_at": "2026-11-21T09:00:00+00:00", "lines": [{"amount": 3.5, "category": "dairy"}],
    }  # fmt: skip
    assert second["lines"] == [{"amount": -1.5, "product_id": 7}]
    files = [file for file, _ in taking.inbox.waiting()]
    assert [file.stat().st_mode & 0o077 for file in files] == [0] * len(files)
    assert taking.token(0) not in "".join(file.read_text() for file in files)
    log = (taking.wired.audit_directory / "events.jsonl").read_text()
    assert '"push"' in log
    assert taking.token(0) not in log
    assert verify_audit(taking.wired.audit_directory, taking.keys.sealed.audit_public_key).events >= 1


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("purpose", [Purpose.RETENTION, Purpose.VALUE, None])
def test_roles_by_purposes(taking: Taking, bearer: Bearer, role: Role, purpose: Purpose | None) -> None:
    event = taking.event(customer=taking.token(0, purpose or "retention"))
    response = taking.post(bearer(role, purpose), event)
    if role in (Role.ADMIN, Role.CRM_SERVICE) and purpose is not None:
        assert response.status_code == 202
        assert len(taking.waiting()) == 1
    else:
        problem(response, "policy_refused")
        assert taking.waiting() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"customer_id": SECRET},
        {"event": "A-7001"},
        {"event": SECRET},
        {"ordered_at": "2026-11-21T10:00:00"},
        {"ordered_at": "soon"},
        {"ordered_at": 1},
        {"lines": []},
        {"lines": [{"category": "dairy"}]},
        {"lines": [{"amount": "3.5"}]},
        {"lines": [{"amount": 1e11}]},
        {"lines": [{"amount": 1, "email": SECRET}]},
        {"lines": [{"amount": 1, "category": "x" * 65}]},
        {"ordered_at": "2026-11-24T10:00:00+00:00"},
        {"lines": [{"amount": 1, "quantity": 2}]},
    ],
)
def test_what_does_not_fit_is_refused_and_not_quoted(taking: Taking, bearer: Bearer, changes: dict[str, Any]) -> None:
    body = problem(taking.post(bearer(), taking.event(1), taking.event(**changes)), "request_invalid")
    assert SECRET not in json.dumps(body)
    assert taking.waiting() == []


def test_ids_and_tokens_of_another_purpose_are_no_customers(taking: Taking, bearer: Bearer) -> None:
    events = [taking.event(0), taking.event(1, customer="C-1001"), taking.event(2, customer=taking.token(2, "value"))]
    body = problem(taking.post(bearer(), *events), "tokens_invalid")
    assert body["errors"] == [
        {"code": "token_mistyped", "count": 1, "positions": [1]},
        {"code": "token_of_another_purpose", "count": 1, "positions": [2]},
    ]
    assert taking.waiting() == []


def test_whoever_must_not_be_served_is_left_out_without_a_word(taking: Taking, bearer: Bearer) -> None:
    taking.suppression.add(taking.token(0, "features"))
    response = taking.post(bearer(), taking.event(0), taking.event(1))
    assert (response.status_code, response.json()) == (202, {"accepted": 2})
    assert [event["event"] for event in taking.waiting()] == [f"{2:032x}"]
    assert taking.post(bearer(), taking.event(0)).json() == {"accepted": 1}
    assert len(taking.waiting()) == 1


def test_a_full_inbox_tells_nobody_apart_and_counts_what_files_take(
    taking: Taking, bearer: Bearer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "MOST_BYTES", 2 * inbox_module.BLOCK_BYTES)
    taking.suppression.add(taking.token(0, "features"))
    for _ in range(3):  # each of two hundred bytes, in a block of the disk
        assert taking.post(bearer(), taking.event(1)).status_code == 202
    answers = [taking.post(bearer(), taking.event(number)) for number in (0, 1)]
    for answer in answers:
        problem(answer, "dependency_failed")
    assert len(taking.waiting()) == 3


def test_a_service_without_an_inbox_says_so(client: Client, wired: Wired, bearer: Bearer) -> None:
    headers = {"content-type": "application/json", "authorization": f"Bearer {bearer()}"}
    event = {"event": "0" * 32, "customer": "x", "ordered_at": "2026-11-21T10:00:00Z", "lines": [{"amount": 1}]}
    problem(client.request("POST", "/v1/events", headers=headers, content=json.dumps({"events": [event]})), "not_ready")


def test_an_erased_persons_events_leave_the_inbox(taking: Taking, bearer: Bearer) -> None:
    taking.post(bearer(), taking.event(0), taking.event(1))
    taking.post(bearer(), taking.event(0, event="c" * 32))
    subject = Subject((taking.token(0, "features"),), HANDLES[0].tobytes(), ())
    assert taking.inbox.count(subject) == 2
    assert {row["event"] for row in taking.inbox.export(subject)} == {f"{1:032x}", "c" * 32}
    assert all("customer_token" not in row for row in taking.inbox.export(subject))
    assert (taking.inbox.erase(subject), taking.inbox.erase(subject), taking.inbox.verify(subject)) == (2, 0, 0)
    assert [event["event"] for event in taking.waiting()] == [f"{2:032x}"]
