from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from privacy.errors import BadInput, EnvironmentFailed
from privacy.keyring import Keyring, SealedKeyring
from privacy.suppression import SuppressionList
from privacy.tokens import handles_to_tokens

from .conftest import Home


def tokens(keyring: Keyring, count: int) -> pa.Array:
    handles = np.arange(16 * count, dtype=np.uint64).astype(np.uint8).reshape(-1, 16) + 1
    return handles_to_tokens(keyring, handles.astype(np.uint8), "features")


def test_members_are_found_and_others_are_not(home: Home, keyring: Keyring) -> None:
    path = home.root / "suppression.json"
    listed = SuppressionList(path, keyring)
    some = tokens(keyring, 5)
    assert not listed.contains(some).any()
    listed.add(some[1].as_py())
    listed.add(some[1].as_py())
    listed.add(some[3].as_py())
    asked = pa.concat_arrays([some, pa.array([None, "junk"])])
    assert listed.contains(asked).tolist() == [False, True, False, True, False, False, False]
    assert len(listed) == 2
    assert some[1].as_py() not in path.read_text()


def test_other_processes_see_additions_without_the_root(home: Home, keyring: Keyring) -> None:
    keyring.seal(home.root / "service.json", home.kms(), [])
    service = SuppressionList(
        home.root / "suppression.json", SealedKeyring.open(home.root / "service.json", home.kms())
    )
    mine = SuppressionList(home.root / "suppression.json", keyring)
    some = tokens(keyring, 3)
    for position in range(3):
        mine.add(some[position].as_py())
        assert service.contains(some).sum() == position + 1


def test_invalid_tokens_are_bad_input(home: Home, keyring: Keyring) -> None:
    listed = SuppressionList(home.root / "suppression.json", keyring)
    with pytest.raises(BadInput, match="not a valid feature store token"):
        listed.add("fs_CANARY")
    assert not (home.root / "suppression.json").exists()


@pytest.mark.parametrize("how", ["shortened", "garbage", "gone"])
def test_a_changed_list_stops_service_instead_of_serving(home: Home, keyring: Keyring, how: str) -> None:
    path = home.root / "suppression.json"
    listed = SuppressionList(path, keyring)
    some = tokens(keyring, 2)
    for token in some.to_pylist():
        listed.add(token)
    body = json.loads(path.read_text())
    if how == "gone":
        path.unlink()
    elif how == "garbage":
        path.write_text("{")
    else:
        path.write_text(json.dumps({**body, "macs": body["macs"][:1]}))
    with pytest.raises(EnvironmentFailed, match="suppression list"):
        listed.contains(some)


def test_a_begun_list_that_is_missing_stops_every_door(home: Home, keyring: Keyring) -> None:
    path = home.root / "suppression.json"
    some = tokens(keyring, 2)
    begun = SuppressionList.begin(path, keyring)
    assert not begun.contains(some).any()
    begun.add(some[0].as_py())
    assert SuppressionList.begin(path, keyring).contains(some).tolist() == [True, False]  # what is there stays
    path.unlink()
    fresh = SuppressionList(path, keyring, must_exist=True)
    for door in (lambda: fresh.contains(some), lambda: len(fresh), lambda: fresh.add(some[1].as_py())):
        with pytest.raises(EnvironmentFailed, match=r"is missing.*restore it from its backup"):
            door()
    assert not path.exists()


def test_an_older_list_is_noticed_by_who_read_the_newer(home: Home, keyring: Keyring) -> None:
    path = home.root / "suppression.json"
    listed = SuppressionList.begin(path, keyring)
    empty = path.read_bytes()
    some = tokens(keyring, 1)
    listed.add(some[0].as_py())
    path.write_bytes(empty)
    with pytest.raises(EnvironmentFailed, match="older than it was"):
        listed.contains(some)


def test_begin_does_not_bless_a_list_of_another_keyring(home: Home, keyring: Keyring) -> None:
    path = home.root / "suppression.json"
    SuppressionList.begin(path, Keyring.create(home.root / "other.json", home.kms()))
    with pytest.raises(EnvironmentFailed, match="another keyring"):
        SuppressionList.begin(path, keyring)
