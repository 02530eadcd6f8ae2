"""Rotating the keyring under a store in service: old rows are served, found and erased; a lost key fails closed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from features.datasets.descriptor import Descriptor
from features.gateway import FeatureGateway
from privacy.errors import EnvironmentFailed
from privacy.keyset import KeyState
from privacy.rights import Subject
from privacy.tokens import stored_tokens

from .conftest import AS_OF, Home, principal

Served = tuple[Home, FeatureGateway, Descriptor]
PEOPLE = ["c00001", "c00004"]


def both_keys(home: Home, customer: str) -> Subject:
    """The person under every key, as `Rights` asks for them."""
    subject = home.subject(customer)
    return Subject(stored_tokens(home.keyring, subject.handle, "features"), subject.handle, subject.indexes)


def test_tokens_of_either_key_read_rows_of_either_key(own: Served) -> None:
    home, gateway, descriptor = own
    old = home.tokens(PEOPLE, "retention")
    before = gateway.online(principal(), "churn_v1", old)
    former = home.keyring.keys[0].key_id
    fresh = home.keyring.rotate().key_id
    new = home.tokens(PEOPLE, "retention")
    assert not set(old) & set(new)
    assert set(gateway.stored_keys().values()) == {former}
    for asked in (old, new):
        answer = gateway.online(principal(), "churn_v1", asked)
        assert answer.present.all()
        np.testing.assert_array_equal(answer.values, before.values)
    home.ingest(descriptor)
    home.build(descriptor)
    gateway.materialize(principal(), AS_OF)
    assert set(gateway.stored_keys().values()) == {fresh}
    for asked in (old, new):
        assert gateway.online(principal(), "churn_v1", asked).present.all()
    home.keyring.set_state(former, KeyState.DISABLED)
    assert not gateway.online(principal(), "churn_v1", old).present.any()
    assert gateway.online(principal(), "churn_v1", new).present.all()


def test_erasing_finds_rows_under_a_former_and_a_disabled_key(own: Served) -> None:
    home, gateway, _ = own
    former = home.keyring.keys[0].key_id
    home.keyring.rotate()
    home.keyring.set_state(former, KeyState.DISABLED)
    subject = both_keys(home, "c00002")
    assert subject.tokens[0][3:5] != former
    for store in gateway.subject_stores():
        assert store.count(subject) > 0, store.name
        assert store.erase(subject) > 0, store.name
        assert store.count(subject) == store.verify(subject) == 0, store.name


def test_a_store_under_a_disabled_key_is_refused_not_served_unchecked(own: Served) -> None:
    home, gateway, _ = own
    former = home.keyring.keys[0].key_id
    home.suppression.add(home.subject("c00005").tokens[0])
    home.keyring.rotate()
    home.keyring.set_state(former, KeyState.DISABLED)
    doors: list[Callable[[], object]] = [
        lambda: gateway.online(principal(), "churn_v1", home.tokens(PEOPLE, "retention")),
        lambda: gateway.materialize(principal(), AS_OF),
        lambda: gateway.snapshot_rows(principal(), "churn_v1", AS_OF),
    ]
    for door in doors:
        with pytest.raises(EnvironmentFailed, match=r"under (a )?key.* that isn't enabled|, which isn't enabled"):
            door()
