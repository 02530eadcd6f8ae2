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
    listed.add_many([some[3].as_py()])
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
    with pytest.raises(BadInput, match="1 tokens"):
        listed.add("fs_CANARY")
    assert not (home.root / "suppression.json").exists()


@pytest.mark.parametrize("how", ["shortened", "garbage", "gone"])
def test_a_changed_list_stops_service_instead_of_serving(home: Home, keyring: Keyring, how: str) -> None:
    path = home.root / "suppression.json"
    listed = SuppressionList(path, keyring)
    some = tokens(keyring, 2)
    listed.add_many(some.to_pylist())
    body = json.loads(path.read_text())
    if how == "gone":
        path.unlink()
    elif how == "garbage":
        path.write_text("{")
    else:
        path.write_text(json.dumps({**body, "macs": body["macs"][:1]}))
    with pytest.raises(EnvironmentFailed, match="suppression list"):
        listed.contains(some)
