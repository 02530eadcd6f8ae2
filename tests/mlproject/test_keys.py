"""`custos keys`: what an operator does with the keyring, on a home that has been ingested."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from features.inbox import Inbox
from mlproject.cli import main
from mlproject.wiring import House
from privacy.keyring import SealedKeyring
from privacy.kms import LocalKms
from privacy.tokens import handles_to_tokens
from tests.canaries import write_shop


class Operator:
    """Runs commands on one home and returns what they printed."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self._capsys = home, capsys

    def __call__(self, *arguments: str, expect: int = 0) -> str:
        assert main([*arguments, "--home", str(self.home)]) == expect
        shown = self._capsys.readouterr()
        assert "Traceback" not in shown.err
        return shown.out if expect == 0 else shown.err

    def listed(self) -> list[dict[str, object]]:
        return json.loads(self("keys", "list", "--json"))


@pytest.fixture
def operator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Operator:
    return Operator(tmp_path / "home", capsys)


def test_a_keyring_can_be_made_before_anything_else_and_only_once(operator: Operator) -> None:
    assert "keyring.json" in operator("keys", "create")
    [only] = operator.listed()
    assert (only["version"], only["state"], only["service_holds_it"], only["stores"]) == (1, "primary", True, [])
    assert "exists already" in operator("keys", "create", expect=2)
    assert json.loads(operator("audit", "verify", "--json"))["events"] == 1


@pytest.mark.parametrize(
    "verb", [["rotate"], ["disable", "ab"], ["enable", "ab"], ["destroy", "ab", "--yes"], ["seal"]]
)
def test_a_mistyped_home_is_not_filled_with_keys(operator: Operator, verb: list[str]) -> None:
    assert "no keys yet" in operator("keys", *verb, expect=2)
    assert not operator.home.exists()


def test_a_key_that_events_wait_under_stays_until_they_were_added(operator: Operator) -> None:
    operator("keys", "create")
    keyring, inbox = House.open(operator.home).keyring, Inbox(operator.home / "inbox")
    [former] = [str(row["key"]) for row in operator.listed()]
    handle = np.arange(16, dtype=np.uint8).reshape(1, 16)
    [token] = handles_to_tokens(keyring, handle, "features").to_pylist()
    event = {"event": "0" * 32, "customer_token": token, "ordered_at": "2026-01-01T00:00:00+00:00", "lines": []}
    inbox.put([event])
    operator("keys", "rotate")
    told = operator("keys", "disable", former, expect=2)
    assert f"events in the inbox hold tokens under key {former}" in told
    assert "custos push --inbox" in told
    assert [row["stores"] for row in operator.listed()] == [["events in the inbox"], []]
    [(file, _)] = inbox.waiting()
    inbox.keep(file, [])
    operator("keys", "disable", former)


@pytest.mark.slow
def test_a_key_in_use_stays_until_the_stores_were_written_anew(operator: Operator, tmp_path: Path) -> None:
    shop = str(write_shop(tmp_path / "shop", customers=15))
    operator("ingest", shop)
    former = str(operator.listed()[0]["key"])
    operator("keys", "rotate")
    told = operator("keys", "disable", former, expect=2)
    assert "protected tables hold tokens under key" in told
    assert "custos run DATASET" in told
    operator("ingest", shop)
    assert [row["stores"] for row in operator.listed()] == [[], ["protected tables"]]
    operator("keys", "disable", former)
    assert "add --yes" in operator("keys", "destroy", former, expect=2)
    operator("keys", "destroy", former, "--yes")
    assert [row["state"] for row in operator.listed()] == ["destroyed", "primary"]
    assert "can't become enabled" in operator("keys", "enable", former, expect=2)
    actions = [
        json.loads(line) for line in (operator.home / "audit").rglob("*.jsonl").__next__().read_text().splitlines()
    ]
    managed = [(e["detail"]["step"], e["detail"]["stage"]) for e in actions if e["action"] == "keys.manage"]
    assert managed == [
        *((step, stage) for step in ("rotate", "disabled", "destroyed") for stage in ("begun", "done")),
        ("enabled", "begun"),  # which was refused
    ]


@pytest.mark.slow
def test_a_stolen_key_can_be_disabled_at_once(operator: Operator, tmp_path: Path) -> None:
    operator("ingest", str(write_shop(tmp_path / "shop", customers=15)))
    former = str(operator.listed()[0]["key"])
    operator("keys", "rotate")
    assert "can't be read until" in operator("keys", "disable", former, "--even-if-in-use")
    assert [row["state"] for row in operator.listed()] == ["disabled", "primary"]


def test_a_sealed_sub_keyring_holds_what_was_asked_for(operator: Operator, tmp_path: Path) -> None:
    operator("keys", "create")
    out = tmp_path / "crm.json"
    told = operator("keys", "seal", "--purpose", "retention", "--out", str(out))
    assert "keys of retention" in told
    opened = SealedKeyring.open(out, LocalKms.from_file(tmp_path / "crm.json.passphrase"))
    assert opened.domains == {"retention", "features"}
    assert out.stat().st_mode & 0o777 == 0o600
    assert "no purpose is named" in operator("keys", "seal", "--out", str(out), expect=2)
    own = operator.home / "keys" / "service.json"
    assert "the home's own" in operator("keys", "seal", "--purpose", "value", "--out", str(own), expect=2)
    operator("keys", "seal", "--purpose", "value")
    assert set(operator("keys", "seal").split("keys of ")[1].split(",")[0].split()) == {"value"}


@pytest.mark.parametrize(("role", "allowed"), [("auditor", True), ("privacy_officer", True), ("analyst", False)])
def test_only_the_operator_changes_keys_and_oversight_may_look(operator: Operator, role: str, allowed: bool) -> None:
    operator("keys", "create")
    (operator.home / "settings.yaml").write_text(yaml.safe_dump({"role": role}))
    assert "may not keys.manage" in operator("keys", "rotate", expect=3)
    operator("keys", "list", expect=0 if allowed else 3)


@pytest.mark.parametrize("kind", ["key_file", "environment"])
def test_other_guards_of_the_keyring(operator: Operator, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUSTOS_PASSPHRASE", "correct horse battery")
    monkeypatch.setenv("CUSTOS_SERVICE_PASSPHRASE", "another horse battery")
    operator.home.mkdir()
    settings = operator.home / "settings.yaml"
    settings.write_text(yaml.safe_dump({"kms": {"kind": kind}}))
    operator("keys", "create")
    operator("keys", "rotate")
    names = {path.name for path in (operator.home / "keys").iterdir() if not path.name.startswith(".")}
    files = {"root.key", "service.key"} if kind == "key_file" else set()
    assert names - {"keyring.lock"} == {"keyring.json", "service.json"} | files
    settings.unlink()
    assert "the passphrase file is missing" in operator("keys", "list", expect=4)
    settings.write_text("kms: {kind: magic}")
    assert "kms" in operator("keys", "list", expect=2)
