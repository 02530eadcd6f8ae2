from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

import pyarrow as pa
import pytest

from privacy.errors import BadInput, CheckFailed
from privacy.rights import Receipt, Subject

from .conftest import Home
from .shop import NOWHERE_BUT_IN_QUARANTINE, OFFICER, T0, Shop


def test_erasure_empties_every_store_and_leaves_the_others_alone(home: Home) -> None:
    shop = Shop(home)
    ann, bob = shop.customer("ann"), shop.customer("bob")
    receipt = shop.erase()
    assert [(s.name, s.before, s.after) for s in receipt.stores] == [
        ("features", 3, 0),
        ("online", 3, 0),
        ("quarantine", 0, 0),
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
    log = (home.root / "audit" / "events.jsonl").read_text()
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


def test_somebody_of_whom_only_bad_rows_exist_is_erased(home: Home) -> None:
    shop = Shop(home)
    bob = shop.customer("bob")
    shop.bad_row("bob", 2)
    shop.bad_row("CANARY")
    receipt = shop.erase("CANARY")
    assert [(s.name, s.before, s.after) for s in receipt.stores] == NOWHERE_BUT_IN_QUARANTINE
    assert receipt.is_genuine(shop.keyring.audit_public_key)
    assert len(shop.bad_rows.rows()) == 1
    assert shop.stores[0].rows() == {bob: 3}
    assert shop.vault.tombstoned(pa.array(["CANARY", "bob"])).tolist() == [True, False]
    assert not shop.vault.find(pa.array(["CANARY"]))[1].any()
    assert shop.erase("CANARY") == receipt
    assert shop.audit.verify().events == 1
    assert "CANARY" not in (home.root / "audit" / "events.jsonl").read_text()
    assert [(s.name, s.before, s.after) for s in shop.erase("bob").stores][2:] == [
        ("quarantine", 2, 0),
        ("vault", 1, 0),
    ]


def test_rows_that_came_back_after_an_erasure_are_erased_anew(home: Home) -> None:
    shop = Shop(home)
    shop.customer("ann")
    first = shop.erase()
    shop.bad_row("ann")
    later = T0 + timedelta(days=2)
    second = Shop(home, now=later).erase()
    assert second.id != first.id
    assert [(s.name, s.before, s.after) for s in second.stores] == NOWHERE_BUT_IN_QUARANTINE
    assert Shop(home).erase() == second
    shop = Shop(home)
    assert shop.vault.tombstoned(pa.array(["ann"] * 2), pa.array([later, later + timedelta(seconds=1)])).tolist() == [
        True,
        False,
    ]
    assert shop.audit.verify().events == 2


def test_a_stranger_who_registers_later_is_erased_as_a_known_person(home: Home) -> None:
    shop = Shop(home)
    shop.bad_row("ann")
    shop.erase()
    token = shop.customer("ann")
    second = Shop(home, now=T0 + timedelta(days=1)).erase()
    assert [(s.name, s.before, s.after) for s in second.stores][-1] == ("vault", 1, 0)
    assert shop.suppressed(token) == [True]


def test_the_erase_event_names_the_rule_and_dies_with_the_key(home: Home) -> None:
    shop = Shop(home)
    shop.customer("ann")
    reference = shop.vault.audit_references(shop.vault.find(pa.array(["ann"]))[0])[0]
    receipt = shop.erase()
    event = json.loads((home.root / "audit" / "events.jsonl").read_text())
    assert (event["id"], event["rule"], event["reference"]) == (receipt.audit_event, "erasure", reference)


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
    assert [(s.before, s.after) for s in shop.erase().stores] == [(3, 0), (3, 0), (0, 0), (1, 0)]


def test_a_changed_receipt_is_noticed(home: Home) -> None:
    shop = Shop(home)
    shop.customer("ann")
    path = shop.receipts / f"{shop.erase().id}.json"
    path.write_text(path.read_text().replace('"before": 3', '"before": 0'))
    with pytest.raises(CheckFailed, match="receipt was changed"):
        shop.erase()


def test_subjects_hide_in_reprs() -> None:
    assert repr(Subject(("fs_secret",), b"secret", (b"secret",))) == "<Subject>"


def test_erasing_a_linked_person_empties_every_store_of_every_token(home: Home) -> None:
    shop = Shop(home)
    tokens = [shop.customer(name) for name in ("ann", "bob", "eve")]
    shop.bad_row("ann")
    shop.bad_row("bob")
    shop.vault.link(pa.array(["ann"]), pa.array(["bob"]))
    receipt = shop.erase("bob")
    assert [(store.name, store.before, store.after) for store in receipt.stores] == [
        ("features", 6, 0),
        ("online", 6, 0),
        ("quarantine", 2, 0),
        ("vault", 1, 0),
    ]
    assert shop.suppressed(*tokens) == [True, True, False]
    assert shop.erase("ann") == receipt
    assert shop.vault.tombstoned(pa.array(["ann", "bob", "eve"])).tolist() == [True, True, False]
    shop.vault.close()
