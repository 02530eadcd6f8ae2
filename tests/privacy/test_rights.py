from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

import pyarrow as pa
import pytest

from privacy.audit import AuditLog
from privacy.classification import Role
from privacy.durable import write_beside
from privacy.errors import BadInput, CheckFailed
from privacy.policy import Principal
from privacy.rights import Receipt, Rights, Subject
from privacy.suppression import SuppressionList
from privacy.tokens import handles_to_tokens
from privacy.vault import Vault

from .conftest import Home

OFFICER = Principal("olga", Role.PRIVACY_OFFICER, None)
T0 = datetime(2025, 6, 1, tzinfo=UTC)


class RowFile:
    """A subject store in one JSON file: token -> number of rows; `stubborn` never lets go."""

    def __init__(self, path: Path, *, stubborn: bool = False) -> None:
        self.name, self._path, self._stubborn = path.stem, path, stubborn

    def rows(self) -> dict[str, int]:
        return json.loads(self._path.read_text()) if self._path.exists() else {}

    def put(self, token: str, rows: int) -> None:
        write_beside(self._path, json.dumps({**self.rows(), token: rows}).encode())

    def count(self, subject: Subject) -> int:
        return self.rows().get(subject.token, 0)

    def export(self, subject: Subject) -> list[dict[str, object]]:
        return [{"rows": self.count(subject)}]

    def erase(self, subject: Subject) -> int:
        before = self.count(subject)
        if not self._stubborn:
            write_beside(self._path, json.dumps({t: n for t, n in self.rows().items() if t != subject.token}).encode())
        return before

    def verify(self, subject: Subject) -> int:
        return self.count(subject)


class Shop:
    """Everything of one home that an erasure touches, opened as a process would."""

    def __init__(self, home: Home, *, stubborn: bool = False, now: datetime = T0) -> None:
        self.home = home
        self.keyring = home.open_keyring()
        self.vault: Vault = home.open_vault(self.keyring)
        self.audit = AuditLog(home.root / "audit", self.keyring)
        self.suppression = SuppressionList(home.root / "suppression.json", self.keyring)
        self.stores = [RowFile(home.root / "features.json", stubborn=stubborn), RowFile(home.root / "online.json")]
        self.receipts = home.root / "receipts"
        self.rights = Rights(
            self.vault, self.keyring, self.audit, self.suppression, self.stores, self.receipts, lambda: now
        )

    def customer(self, name: str, rows: int = 3) -> str:
        handle = self.vault.register(pa.array([name]), [{"name": f"CANARY {name}"}])
        token = handles_to_tokens(self.keyring, handle, "features")[0].as_py()
        for store in self.stores:
            store.put(token, rows)
        return token

    def erase(self, name: str = "ann") -> Receipt:
        return self.rights.erase(name, OFFICER, "she asked")

    def suppressed(self, *tokens: str) -> list[bool]:
        return self.suppression.contains(pa.array(tokens)).tolist()


def test_erasure_empties_every_store_and_leaves_the_others_alone(home: Home) -> None:
    shop = Shop(home)
    ann, bob = shop.customer("ann"), shop.customer("bob")
    receipt = shop.erase()
    assert [(s.name, s.before, s.after) for s in receipt.stores] == [
        ("features", 3, 0),
        ("online", 3, 0),
        ("vault", 1, 0),
    ]
    assert shop.suppressed(ann, bob) == [True, False]
    assert shop.stores[0].rows() == {bob: 3}
    assert shop.vault.find(pa.array(["ann", "bob"]))[1].tolist() == [False, True]
    assert shop.vault.tombstoned(pa.array(["ann", "bob"])).tolist() == [True, False]
    assert shop.keyring.erasure_counter == 1


def test_the_receipt_is_signed_and_says_nothing_of_the_person(home: Home) -> None:
    shop = Shop(home)
    token = shop.customer("ann-CANARY")
    receipt = shop.erase("ann-CANARY")
    stored = (shop.receipts / f"{receipt.id}.json").read_text()
    assert Receipt.from_dict(json.loads(stored)) == receipt
    assert receipt.is_genuine(shop.keyring.audit_public_key)
    assert not dataclasses.replace(receipt, completed_at="2020").is_genuine(shop.keyring.audit_public_key)
    for value in ("CANARY", token, token[5:], "olga"):
        assert value not in stored + receipt.text() + repr(receipt)
    assert receipt.id in receipt.text()
    log = (home.root / "audit" / "audit.jsonl").read_text()
    assert receipt.audit_event in log
    assert "CANARY" not in log


def test_erasing_again_gives_the_same_receipt(home: Home) -> None:
    shop = Shop(home)
    shop.customer("ann")
    first = shop.erase()
    assert shop.erase() == first
    assert Shop(home).erase() == first
    assert shop.keyring.erasure_counter == 1
    assert shop.audit.verify().events == 1


def test_unknown_people_and_empty_reasons_are_bad_input(home: Home) -> None:
    shop = Shop(home)
    with pytest.raises(BadInput, match="nobody") as caught:
        shop.erase("CANARY")
    assert "CANARY" not in str(caught.value)
    with pytest.raises(BadInput, match="reason"):
        shop.rights.erase("ann", OFFICER, " ")
    assert shop.keyring.erasure_counter == 0


def test_who_comes_back_is_a_new_person_who_can_be_erased_again(home: Home) -> None:
    shop = Shop(home)
    old = shop.customer("ann")
    first = shop.erase()
    new = shop.customer("ann")
    assert new != old
    assert shop.suppressed(old, new) == [True, False]
    second = Shop(home, now=T0 + timedelta(days=1)).erase()
    assert second.id != first.id
    assert shop.suppressed(old, new) == [True, True]
    assert Shop(home).erase() == second
    assert len(list(shop.receipts.glob("er_*.json"))) == 2


def test_a_store_that_keeps_rows_fails_the_check_and_can_be_run_again(home: Home) -> None:
    Shop(home).customer("ann")
    with pytest.raises(CheckFailed, match="3 rows remain in store features"):
        Shop(home, stubborn=True).erase()
    shop = Shop(home)
    assert shop.vault.find(pa.array(["ann"]))[1].all()
    assert shop.vault.tombstoned(pa.array(["ann"])).all()
    assert [(s.before, s.after) for s in shop.erase().stores] == [(3, 0), (3, 0), (1, 0)]


def test_a_changed_receipt_is_noticed(home: Home) -> None:
    shop = Shop(home)
    shop.customer("ann")
    path = shop.receipts / f"{shop.erase().id}.json"
    path.write_text(path.read_text().replace('"before": 3', '"before": 0'))
    with pytest.raises(CheckFailed, match="receipt was changed"):
        shop.erase()


def test_subjects_hide_in_reprs() -> None:
    assert repr(Subject("fs_secret", b"secret", (b"secret",))) == "<Subject>"


def test_killed_anywhere_then_run_again_ends_the_same(home: Home) -> None:
    """Each person dies at another step, a bit further on, until a run gets through."""
    names = [f"customer {number}" for number in range(200)]
    killed = 0
    for attempt, name in enumerate(names):
        shop = Shop(home)
        token = shop.customer(name)
        shop.vault.close()
        again = _killed_after(home, name, 5 + 89 * attempt)
        shop = Shop(home)
        receipt = shop.erase(name)
        assert [(s.name, s.before, s.after) for s in receipt.stores] == [
            ("features", 3, 0),
            ("online", 3, 0),
            ("vault", 1, 0),
        ]
        assert shop.suppressed(token) == [True]
        assert not shop.vault.find(pa.array([name]))[1].any()
        assert shop.vault.tombstoned(pa.array([name])).all()
        assert shop.erase(name) == receipt
        assert len(list(shop.receipts.glob("er_*.json"))) == attempt + 1
        assert not list(shop.receipts.glob(".er_*"))
        shop.audit.verify()
        shop.vault.close()
        if not again:
            break
        killed += 1
    assert 5 < killed < len(names)


def _killed_after(home: Home, name: str, calls: int) -> bool:
    """Erase in a child that kills itself at its n-th step inside privacy; whether it got that far."""
    child = os.fork()
    if child == 0:
        seen = 0

        def count(frame: FrameType, event: str, _argument: object) -> None:
            nonlocal seen
            if event in ("call", "return") and "/privacy/" in frame.f_code.co_filename:
                seen += 1
                if seen >= calls:
                    os.kill(os.getpid(), signal.SIGKILL)

        shop = Shop(home)
        sys.setprofile(count)
        shop.erase(name)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
