"""Two ids turn out to be one person."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from privacy import vault_links
from privacy.classification import Purpose, Role
from privacy.errors import BadInput, CheckFailed, Refused
from privacy.keyring import Keyring
from privacy.policy import Principal
from privacy.tokens import Pseudonymiser
from privacy.vault import Vault
from tests.postgres import Server

from .conftest import Home, on_both
from .forked import after, kill_at, killed

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
OFFICER = Principal("olga", Role.PRIVACY_OFFICER, Purpose.RETENTION)


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Server | None:
    return on_both(request)


def link(vault: Vault, *pairs: tuple[str, str]) -> np.ndarray:
    return vault.link(pa.array([one for one, _ in pairs]), pa.array([other for _, other in pairs]))


def groups(vault: Vault, names: Sequence[str]) -> list[list[str]]:
    """Who is one person."""
    found: dict[bytes, list[str]] = {}
    for name, handle in zip(names, vault.find(pa.array(names))[0], strict=True):
        found.setdefault(handle.tobytes(), []).append(name)
    return sorted(found.values())


def test_tokens_from_before_a_link_still_identify(keyring: Keyring, vault: Vault) -> None:
    door = Pseudonymiser(keyring, vault)
    ids = pa.array(["ann@x", "A-17", "bob"])
    tokens = door.pseudonymise(ids, "retention")
    handles = vault.find(ids)[0]
    canonical = link(vault, ("ann@x", "A-17"))[0]
    assert canonical.tobytes() == min(handles[0].tobytes(), handles[1].tobytes())
    assert groups(vault, ids.to_pylist()) == [["ann@x", "A-17"], ["bob"]]
    assert door.reidentify(tokens, "retention", OFFICER, Purpose.RETENTION, "why").equals(ids)
    now = door.pseudonymise(ids, "retention")
    assert now[0] == now[1]
    assert now[0] in (tokens[0], tokens[1])
    assert now[2] == tokens[2]
    assert vault.audit_references(handles)[0] == vault.audit_references(handles)[1] != ""


def test_the_record_keeps_every_id_attribute_and_reference(home: Home, vault: Vault) -> None:
    rows = [{"mail": "a@x", "name": "Ann"}, {"mail": "b@y"}, {"phone": "1"}]
    handles = vault.register(pa.array(["a", "b", "c"]), rows)
    references = vault.audit_references(handles)
    link(vault, ("a", "b"))
    link(vault, ("b", "c"))
    canonical = vault.find(pa.array(["a"]))[0][0].tobytes()
    record = vault.record(canonical)
    assert record is not None
    known = {one.subject_id: (one.handle, one.reference, one.attributes) for one in record.identities}
    expected = {
        name: (b"", "", row) if handle.tobytes() == canonical else (handle.tobytes(), reference, row)
        for name, handle, reference, row in zip("abc", handles, references, rows, strict=True)
    }
    assert known == expected
    assert vault.record(handles[1].tobytes()) == record
    assert (len(vault), vault.keys_held()) == (1, 1)
    vault.register(pa.array(["b", "c"]), [{"mail": "new@y"}, {"phone": None, "city": "X"}])
    again = vault.record(canonical)
    assert again is not None
    assert {one.subject_id: one.attributes for one in again.identities} == {
        "a": rows[0],
        "b": {"mail": "new@y"},
        "c": {"phone": "1", "city": "X"},
    }
    assert home.rows("vault", "SELECT count(*) FROM people") == [(1,)]


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=8),
    order=st.randoms(use_true_random=False),
    batch=st.integers(1, 4),
)
def test_links_depend_on_neither_order_nor_direction_nor_repetition(
    home: Home, vault: Vault, pairs: list[tuple[int, int]], order: object, batch: int
) -> None:
    run = os.urandom(4).hex()
    named = [(f"{run} {one}", f"{run} {other}") for one, other in pairs]
    names = [f"{run} {number}" for number in range(7)]
    handles = vault.register(pa.array(names))
    expected: list[set[str]] = [{name} for name in names]
    for one, other in named:
        joined = [group for group in expected if group & {one, other}]
        expected = [group for group in expected if group not in joined] + [set.union(*joined)]
    mixed = [pair[::-1] if number % 2 else pair for number, pair in enumerate([*named, *named])]
    order.shuffle(mixed)  # type: ignore[attr-defined]
    for start in range(0, len(mixed), batch):
        link(vault, *mixed[start : start + batch])
    found, known = vault.find(pa.array(names))
    assert known.all()
    by_name = dict(zip(names, [handle.tobytes() for handle in handles], strict=True))
    for name, handle in zip(names, found, strict=True):
        group = next(group for group in expected if name in group)
        assert handle.tobytes() == min(by_name[one] for one in group)
    assert vault.source_ids(handles).to_pylist() == names
    aliased = dict(home.rows("vault", "SELECT old, canonical FROM aliases"))
    assert not {bytes(home) for home in aliased.values()} & {bytes(old) for old in aliased}  # no chains


def test_while_a_server_merges_records_nobody_renews_them(
    home: Home, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.register(pa.array(["a", "b"]))

    def joined(*arguments: object) -> object:
        if home.server is not None:  # SQLite has one writer anyway
            with pytest.raises(OperationalError, match="could not obtain lock"):
                home.rows("vault", "SELECT handle FROM people FOR UPDATE NOWAIT")
        return join(*arguments)

    join = vault_links._joined
    monkeypatch.setattr(vault_links, "_joined", joined)
    link(vault, ("a", "b"))
    assert groups(vault, ["a", "b"]) == [["a", "b"]]


def test_whoever_opens_the_vault_later_sees_the_link(home: Home) -> None:
    vault, reader = home.open_vault(), home.open_vault()
    names = [f"person {number}" for number in range(6000)]
    handles = vault.register(pa.array(names))
    assert reader.find(pa.array(names))[1].all()
    link(vault, (names[10], names[20]), (names[20], names[30]))
    home.rows("vault", "DELETE FROM identities")  # so that only the index can tell
    third = home.open_vault()
    for asked in (vault, reader, third):
        found = asked.find(pa.array(names))[0]
        assert (found[[10, 20, 30]] == found[10]).all()
        assert (np.delete(found, [10, 20, 30], 0) == np.delete(handles, [10, 20, 30], 0)).all()
        asked.close()


def test_severing_a_linked_person_removes_all_of_it(home: Home, vault: Vault) -> None:
    handles = vault.register(pa.array(["a", "b", "c", "d"]))
    link(vault, ("a", "b"), ("b", "c"))
    canonical = vault.find(pa.array(["a"]))[0][0].tobytes()
    old = next(handle.tobytes() for handle in handles[:3] if handle.tobytes() != canonical)
    assert set(vault.members(old)) == {handle.tobytes() for handle in handles[:3]}
    assert vault.sever(old) == {"key": 1, "identities": 3, "record": 1}
    assert vault.find(pa.array(["a", "b", "c", "d"]))[1].tolist() == [False, False, False, True]
    assert vault.source_ids(handles).to_pylist() == [None, None, None, "d"]
    assert home.rows("vault", "SELECT * FROM aliases") == []
    assert (len(vault), vault.keys_held()) == (1, 1)


def test_every_id_of_a_linked_person_gets_a_tombstone(vault: Vault) -> None:
    ids = pa.array(["a", "b", "c"])
    vault.register(ids)
    link(vault, ("a", "b"))
    vault.bury(pa.array(["b"]), NOW, "r1")
    vault.sever(vault.find(pa.array(["b"]))[0][0].tobytes(), "r1")
    assert vault.tombstoned(ids).tolist() == [True, True, False]
    with pytest.raises(Refused, match="2 of 4 ids belong to erased people"):
        link(vault, ("c", "a"), ("c", "b"))


def test_ids_that_nobody_has_are_told_and_nobody_is_linked(vault: Vault) -> None:
    vault.register(pa.array(["a", "b"]))
    with pytest.raises(BadInput, match="1 of 4 ids are unknown") as caught:
        link(vault, ("a", "b"), ("a", "CANARY"))
    assert "CANARY" not in str(caught.value)
    with pytest.raises(BadInput, match="1 of 2 ids are unknown"):
        vault.link(pa.array(["a"]), pa.array([None], pa.string()))
    with pytest.raises(BadInput, match="as many ids"):
        vault.link(pa.array(["a"]), pa.array(["a", "b"]))
    assert groups(vault, ["a", "b"]) == [["a"], ["b"]]


def test_people_without_a_key_are_not_linked(home: Home, vault: Vault) -> None:
    vault.register(pa.array(["a", "b"]))
    home.rows("keystore", "DELETE FROM keys")
    with pytest.raises(CheckFailed, match="2 of 2"):
        link(vault, ("a", "b"))
    assert groups(vault, ["a", "b"]) == [["a"], ["b"]]
    assert home.rows("vault", "SELECT * FROM aliases") == []


def test_integers_and_texts_link_and_come_back(vault: Vault) -> None:
    numbers = vault.register(pa.array([7, 8]))
    texts = vault.register(pa.array(["seven"]))
    vault.link(pa.array([7]), pa.array(["seven"]))
    assert vault.source_ids(np.concatenate([numbers, texts])).to_pylist() == ["7", "8", "seven"]
    assert vault.source_ids(numbers).to_pylist() == [7, 8]


@pytest.mark.slow
def test_killed_anywhere_a_link_is_whole_or_not_there(home: Home, keyring: Keyring) -> None:
    for attempt in range(200):
        one, other = f"one {attempt}", f"other {attempt}"
        vault = home.open_vault(keyring)
        handles = vault.register(pa.array([one, other]), [{"x": 1}, {"x": 2}])
        vault.close()
        again = _killed_after(home, (one, other), 3 + 67 * attempt)
        vault = home.open_vault(keyring)
        assert vault.find(pa.array([one, other]))[1].all()
        assert vault.source_ids(handles).to_pylist() == [one, other]
        link(vault, (one, other))
        assert groups(vault, [one, other]) == [[one, other]]
        assert vault.source_ids(handles).to_pylist() == [one, other]
        assert len(vault) == vault.keys_held() == attempt + 1
        vault.close()
        if not again:
            break
    assert 5 < attempt < 199


def _killed_after(home: Home, pair: tuple[str, str], steps: int) -> bool:
    """Link in a child that kills itself at its n-th step inside the vault; whether it got that far."""

    def work() -> None:
        vault = home.open_vault()
        kill_at(after(steps), within="/privacy/vault")
        link(vault, pair)

    return killed(work)
