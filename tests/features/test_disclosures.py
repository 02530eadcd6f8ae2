"""What the audit log learns of reads: how many people, and a way to show later who they were."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from features.datasets.descriptor import Descriptor
from features.gateway import FeatureGateway
from privacy.classification import Role
from privacy.errors import Refused

from .conftest import AS_OF, CUTOFFS, Home, principal
from .tables import entities, last_event

Served = tuple[Home, FeatureGateway, Descriptor]


def is_commitment_to(event: dict[str, Any], tokens: Iterable[str]) -> bool:
    """Check an event's commitment as an auditor would who is told the tokens."""
    salt, _, digest = event["commitment"].partition(":")
    hashed = hashlib.sha256(bytes.fromhex(salt))
    for token in sorted(set(tokens)):
        hashed.update(len(token).to_bytes(4, "big") + token.encode())
    return bool(hashed.hexdigest() == digest)


def test_reads_are_audited_with_who_was_in_the_answer(served: Served) -> None:
    home, gateway, _ = served
    who = principal()
    rows = gateway.training_rows(who, "churn_v1", CUTOFFS[:3], 28, 56)
    event, people = last_event(home.root / "audit"), rows["customer_token"].to_pylist()
    assert (event["action"], event["outcome"], event["resource"]) == ("features.read", "allow", "service:churn_v1")
    assert event["rule"]
    assert (event["count"], event["detail"]) == (len(set(people)), {"rows": rows.num_rows})
    assert is_commitment_to(event, people)
    assert not is_commitment_to(event, people[1:2])

    snapshot = gateway.snapshot_rows(who, "churn_v1", AS_OF)
    assert last_event(home.root / "audit")["count"] == 40
    assert is_commitment_to(last_event(home.root / "audit"), snapshot["customer_token"].to_pylist())

    subject = home.subject("c00001")
    gateway.historical(who, "churn_v1", entities([subject.tokens[0]] * 2, [CUTOFFS[5], CUTOFFS[6]]))
    [reference] = home.vault.audit_references(np.frombuffer(subject.handle, np.uint8).reshape(1, 16))
    event = last_event(home.root / "audit")
    assert (event["count"], event["reference"], event["detail"]["rows"]) == (1, reference, 2)
    assert "commitment" not in event


def test_online_reads_count_the_people_found(served: Served) -> None:
    home, gateway, _ = served
    tokens = home.tokens(["c00001", "c00002", "c00001"], "retention")
    answer = gateway.online(principal(), "churn_v1", [*tokens, "nonsense"])
    event = last_event(home.root / "audit")
    assert (event["count"], event["detail"]["rows"]) == (2, 4)
    assert is_commitment_to(event, tokens)
    gateway.online(principal(), "churn_v1", tokens[:1])
    assert last_event(home.root / "audit")["reference"] == answer.references[0]
    gateway.online(principal(), "churn_v1", ["nonsense"])
    event = last_event(home.root / "audit")
    assert (event["count"], event["detail"]["rows"], "commitment" in event, "reference" in event) == (
        0,
        1,
        False,
        False,
    )


def test_a_prediction_is_audited_by_the_predictor_alone(served: Served) -> None:
    home, gateway, _ = served
    before = home.audit.verify().events
    gateway.online(principal(Role.CRM_SERVICE), "churn_v1", home.tokens(["c00001"], "retention"), action="predict")
    assert home.audit.verify().events == before
    with pytest.raises(Refused):
        gateway.online(principal(Role.AUDITOR), "churn_v1", ["nonsense"] * 3, action="predict")
    event = last_event(home.root / "audit")
    assert (event["action"], event["outcome"] != "allow", event["count"]) == ("predict", True, 3)
