from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from privacy.audit import AuditLog
from privacy.classification import Purpose, Role
from privacy.errors import BadInput, CheckFailed, Refused
from privacy.keyring import Keyring
from privacy.policy import Principal
from privacy.tokens import Pseudonymiser
from privacy.vault import Vault

from .conftest import Home

OFFICER = Principal("olga", Role.PRIVACY_OFFICER, Purpose.RETENTION)


class Asked:
    """A Pseudonymiser with its log, and the last event in it."""

    def __init__(self, home: Home, keyring: Keyring, vault: Vault) -> None:
        self.log = AuditLog(home.root / "audit", keyring)
        self.door = Pseudonymiser(keyring, vault, audit=self.log)
        self.tokens = self.door.pseudonymise(pa.array(["CANARY-1", "CANARY-2", None, "CANARY-1"]), "retention")
        self._path = home.root / "audit" / "events.jsonl"

    def event(self, number: int) -> dict[str, object]:
        text = self._path.read_text()
        assert self.log.verify().events == number
        assert "CANARY" not in text
        assert not [token for token in self.tokens.to_pylist() if token and token[6:] in text]
        return json.loads(text.splitlines()[-1])


def test_identifying_is_audited_with_a_commitment_that_shows_whom(home: Home, keyring: Keyring, vault: Vault) -> None:
    asked = Asked(home, keyring, vault)
    asked.door.reidentify(asked.tokens, "retention", OFFICER, Purpose.RETENTION, "a complaint")
    event = asked.event(1)
    assert (event["outcome"], event["rule"], event["count"]) == ("allow", "identify-under-audit", 2)
    assert "reference" not in event
    salt, _, digest = str(event["commitment"]).partition(":")
    hashed = hashlib.sha256(bytes.fromhex(salt))
    for token in sorted({text for text in asked.tokens.to_pylist() if text}):
        hashed.update(len(token).to_bytes(4, "big") + token.encode())
    assert hashed.hexdigest() == digest


def test_a_single_person_is_named_by_the_reference(home: Home, keyring: Keyring, vault: Vault) -> None:
    asked = Asked(home, keyring, vault)
    asked.door.reidentify(asked.tokens.take([0, 3, 2]), "retention", OFFICER, Purpose.RETENTION, "a complaint")
    event = asked.event(1)
    reference = vault.audit_references(vault.find(pa.array(["CANARY-1"]))[0])[0]
    assert (event["count"], event["reference"]) == (1, reference)
    nobody = pa.array([None], pa.string())
    assert asked.door.reidentify(nobody, "retention", OFFICER, Purpose.RETENTION, "why").to_pylist() == [None]
    assert asked.event(2)["count"] == 0


@pytest.mark.parametrize(
    ("principal", "purpose", "reason", "rule"),
    [
        (Principal("ann", Role.ANALYST, Purpose.RETENTION), Purpose.RETENTION, "why", "only-oversight-identifies"),
        (Principal("olga", Role.PRIVACY_OFFICER, None), Purpose.RETENTION, "why", "gap"),
        (OFFICER, Purpose.VALUE, "why", "tokens-of-the-callers-purpose"),
        (OFFICER, Purpose.RETENTION, " ", "reason-required"),
    ],
)
def test_refusals_are_audited(
    home: Home, keyring: Keyring, vault: Vault, principal: Principal, purpose: Purpose, reason: str, rule: str
) -> None:
    asked = Asked(home, keyring, vault)
    with pytest.raises((Refused, BadInput)):
        asked.door.reidentify(asked.tokens, "retention", principal, purpose, reason)
    event = asked.event(1)
    assert event["outcome"] in ("deny", "gap")
    assert (event["rule"], event["count"]) == (rule, 2)
    assert event["commitment"]


def test_invalid_tokens_are_audited_and_nobody_is_identified(home: Home, keyring: Keyring, vault: Vault) -> None:
    asked = Asked(home, keyring, vault)
    mixed = pa.concat_arrays([asked.tokens, pa.array(["junk"])])
    with pytest.raises(BadInput, match="1 of 5 tokens"):
        asked.door.reidentify(mixed, "retention", OFFICER, Purpose.RETENTION, "why")
    assert asked.event(1)["rule"] == "valid-tokens-only"


def test_what_cannot_be_audited_is_not_identified(home: Home, keyring: Keyring, vault: Vault) -> None:
    asked = Asked(home, keyring, vault)
    asked.log.append(action="erase", principal=OFFICER, resource="vault", outcome="allow")
    (home.root / "audit" / "checkpoint").unlink()
    with pytest.raises(CheckFailed):
        asked.door.reidentify(asked.tokens, "retention", OFFICER, Purpose.RETENTION, "why")


def test_from_the_tombstone_on_nobody_is_identified_or_registered_again(
    home: Home, keyring: Keyring, vault: Vault
) -> None:
    asked = Asked(home, keyring, vault)
    who = pa.array(["CANARY-1"])
    handle = vault.find(who)[0][0].tobytes()
    vault.bury(who, datetime.now(UTC), "r1")

    def found() -> list[str | None]:
        return asked.door.reidentify(asked.tokens, "retention", OFFICER, Purpose.RETENTION, "a complaint").to_pylist()

    for step in range(2):  # begun, then done
        assert found() == [None, "CANARY-2", None, None]
        with pytest.raises(Refused, match="1 of 2 ids belong to erased people"):
            asked.door.pseudonymise(pa.array(["new", "CANARY-1"]), "retention")
        vault.sever(handle, "r1")
        assert len(vault) == 1, step
    vault.register(who)  # came back, as somebody new
    again = asked.door.pseudonymise(who, "retention")
    assert again[0] not in asked.tokens
    assert found() == [None, "CANARY-2", None, None]


def test_tokens_in_a_dictionary_that_holds_a_null(home: Home, keyring: Keyring, vault: Vault) -> None:
    asked = Asked(home, keyring, vault)
    coded = pa.DictionaryArray.from_arrays(pa.array([1, 0, None]), asked.tokens.take([2, 1]))
    assert asked.door.rekey(coded, "retention").to_pylist() == [asked.tokens[1].as_py(), None, None]
    found = asked.door.reidentify(coded, "retention", OFFICER, Purpose.RETENTION, "why")
    assert found.to_pylist() == ["CANARY-2", None, None]
