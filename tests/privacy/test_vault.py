"""What the vault promises, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from privacy.errors import BadInput, CheckFailed, EnvironmentFailed
from privacy.keyring import Keyring
from privacy.vault import Vault
from tests.postgres import Server

from .conftest import Home, on_both

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Server | None:
    return on_both(request)


def test_people_keep_their_random_handle(home: Home, vault: Vault) -> None:
    handles = vault.register(pa.array(["ann", "bob", "ann"]))
    assert (handles[0] == handles[2]).all()
    assert (handles[0] != handles[1]).any()
    again = home.open_vault()
    assert (again.register(pa.array(["bob", "ann"])) == handles[[1, 0]]).all()
    again.close()


def test_find_registers_nobody(vault: Vault) -> None:
    known = vault.register(pa.array([1]))
    handles, found = vault.find(pa.array(["1", "2", None]))
    assert found.tolist() == [True, False, False]
    assert (handles[0] == known[0]).all()
    assert not handles[1:].any()
    assert not vault.find(pa.array(["2"]))[1].any()
    assert len(vault) == 1


def test_source_ids_come_back_typed(vault: Vault) -> None:
    numbers = vault.register(pa.array([7, 8]))
    texts = vault.register(pa.array(["007"]))
    assert vault.source_ids(numbers).equals(pa.array([7, 8]))
    assert vault.source_ids(np.concatenate([texts, numbers[:1]])).equals(pa.array(["007", "7"]))
    assert vault.source_ids(np.zeros((1, 16), np.uint8)).to_pylist() == [None]
    huge = vault.register(pa.array([2**64 - 1], pa.uint64()))
    assert vault.source_ids(huge).equals(pa.array([2**64 - 1], pa.uint64()))


def test_records_are_merged_and_the_last_row_wins(vault: Vault) -> None:
    ids = pa.array(["a", "b", "a"])
    handles = vault.register(ids, [{"name": "安娜", "mail": "x"}, {"name": None}, {"name": "Anna"}])
    first = vault.record(handles[0].tobytes())
    assert first is not None
    assert first.attributes == {"name": "Anna", "mail": "x"}
    vault.register(pa.array(["a"]), [{"mail": "y"}])
    second = vault.record(handles[0].tobytes())
    assert second is not None
    assert second.attributes == {"name": "Anna", "mail": "y"}


def test_attributes_of_every_type_come_back(vault: Vault) -> None:
    rows = [
        {"text": 'a "quote"\\ and\nlines\t\x01', "count": 3, "share": 0.5, "vip": True, "born": date(1990, 1, 2)},
        {"text": "普通话", "count": None, "share": None, "vip": False, "born": None},
    ]
    handles = vault.register(pa.array(["a", "b\n"]), rows)
    mixed = vault.register(pa.array(["c", "d"]), [{"x": 1}, {"x": "one"}])
    found = [vault.record(handle.tobytes()) for handle in np.concatenate([handles, mixed])]
    assert [record and record.attributes for record in found] == [
        {**rows[0], "born": "1990-01-02"},
        {"text": "普通话", "vip": False},
        {"x": "1"},
        {"x": "one"},
    ]
    assert vault.source_ids(handles).to_pylist() == ["a", "b\n"]


def test_attributes_of_every_layout_come_back_and_are_not_newer_when_repeated(home: Home, vault: Vault) -> None:
    columns = {
        "amount": pa.array([Decimal("1.10"), None]),
        "born": pa.array([date(1990, 1, 2), None]),
        "coded": pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["x", None])),
        "missing": pa.array([float("nan"), 0.5]),
        "runs": pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array(["r"])),
        "view": pa.array(["v", None], pa.string_view()),
    }
    ids, batch = pa.array(["a", "b"]), pa.RecordBatch.from_pydict(columns)
    handles = vault.register(ids, batch)
    first = {"amount": "1.10", "born": "1990-01-02", "coded": "x", "runs": "r", "view": "v"}
    found = [vault.record(handle.tobytes()) for handle in handles]
    assert [record and record.attributes for record in found] == [first, {"missing": 0.5, "runs": "r"}]
    sealed = sorted(home.rows("vault", "SELECT record FROM people"))
    vault.register(ids, batch)
    assert sorted(home.rows("vault", "SELECT record FROM people")) == sealed


def test_attributes_that_are_no_text_are_told_by_column_and_nobody_is_registered(vault: Vault) -> None:
    broken = pa.array([b"Jos\xe9"]).view(pa.string())
    for records in (pa.RecordBatch.from_pydict({"name": broken}), [{"name": "\ud800"}]):
        with pytest.raises(BadInput, match=r"an attribute can't be written as text \(name\)"):
            vault.register(pa.array(["a"]), records)
    assert len(vault) == 0


def test_missing_ids_are_bad_input(vault: Vault) -> None:
    with pytest.raises(BadInput, match="1 ids are missing"):
        vault.register(pa.array(["a", None]))
    assert len(vault) == 0


def test_a_record_moved_to_another_row_is_refused(home: Home, vault: Vault) -> None:
    handles = vault.register(pa.array(["a", "b"]))
    other = home.rows("vault", f"SELECT record FROM people WHERE handle = {_literal(home, handles[1].tobytes())}")[0][0]
    target = _literal(home, handles[0].tobytes())
    home.rows("vault", f"UPDATE people SET record = {_literal(home, other)} WHERE handle = {target}")
    with pytest.raises(CheckFailed):
        vault.source_ids(handles[:1])


def test_audit_references_are_stable_and_die_with_the_person(home: Home, vault: Vault) -> None:
    handles = vault.register(pa.array(["a", "b"]))
    references = vault.audit_references(handles)
    assert len(set(references)) == 2
    again = home.open_vault()
    assert again.audit_references(handles) == references
    again.close()
    vault.sever(handles[0].tobytes())
    assert vault.audit_references(handles) == ["", references[1]]


def test_severing_leaves_nothing_and_is_repeatable(home: Home, vault: Vault) -> None:
    handles = vault.register(pa.array(["a", "b"]))
    handle = handles[0].tobytes()
    assert vault.sever(handle) == {"key": 1, "identities": 1, "record": 1}
    assert vault.sever(handle) == {"key": 0, "identities": 0, "record": 0}
    assert vault.source_ids(handles).to_pylist() == [None, "b"]
    for name, table in (("vault", "people"), ("vault", "identities"), ("keystore", "keys")):
        assert {bytes(row[0]) for row in home.rows(name, f"SELECT handle FROM {table}")} == {handles[1].tobytes()}


def test_another_process_notices_an_erasure(home: Home, vault: Vault) -> None:
    other = home.open_vault()
    handles = other.register(pa.array(["a"]))
    assert vault.find(pa.array(["a"]))[1].all()
    other.bury(pa.array(["a"]), NOW, "r1")
    assert vault.tombstoned(pa.array(["a"])).all()
    other.sever(handles[0].tobytes(), "r1")
    assert not vault.find(pa.array(["a"]))[1].any()
    other.close()


def test_tombstones_refuse_what_is_older_than_the_erasure(vault: Vault) -> None:
    ids = pa.array(["a", "a", "a", "a", "b"])
    dates = pa.array([NOW - timedelta(days=1), NOW, NOW + timedelta(seconds=1), None, NOW])
    handle = vault.register(pa.array(["a"]))[0].tobytes()
    assert not vault.tombstoned(ids, dates).any()
    vault.bury(pa.array(["a"]), NOW, "r1")
    assert vault.tombstoned(ids, dates).tolist() == [True, True, True, True, False]  # all, while under way
    vault.sever(handle, "r1")
    assert vault.tombstoned(ids, dates).tolist() == [True, True, False, True, False]
    assert vault.tombstoned(ids).tolist() == [True] * 4 + [False]
    newcomer = vault.register(pa.array(["a"]))[0].tobytes()
    assert newcomer != handle
    assert vault.tombstoned(ids, dates).tolist() == [True, True, False, False, False]
    days = pa.array([date(2025, 6, 1), date(2025, 6, 2)])
    assert vault.tombstoned(pa.array(["a", "a"]), days).tolist() == [True, False]
    with pytest.raises(BadInput, match="not dates"):
        vault.tombstoned(pa.array(["a"]), pa.array(["2025"]))


def test_a_clock_that_went_back_does_not_weaken_a_tombstone(vault: Vault) -> None:
    vault.bury(pa.array(["a"]), NOW, "r1")
    vault.sever(bytes(16), "r1")
    vault.bury(pa.array(["a"]), NOW - timedelta(days=9), "r2")
    vault.sever(bytes(16), "r2")
    assert vault.tombstoned(pa.array(["a"]), pa.array([NOW])).all()


def test_a_restored_older_vault_replays_before_it_opens(home: Home, keyring: Keyring) -> None:
    vault = home.open_vault(keyring)
    handles = vault.register(pa.array(["a", "b"]))
    vault.close()
    home.backup("vault")
    vault = home.open_vault(keyring)
    vault.bury(pa.array(["a"]), NOW, "r1")
    vault.sever(handles[0].tobytes(), "r1")
    vault.close()
    home.restore("vault")
    replayed = home.open_vault()
    assert replayed.replayed == 1
    assert len(replayed) == replayed.keys_held() == 1
    assert replayed.find(pa.array(["a", "b"]))[1].tolist() == [False, True]
    assert (replayed.find(pa.array(["b"]))[0] == handles[1]).all()
    assert replayed.tombstoned(pa.array(["a", "b"])).tolist() == [True, False]
    replayed.close()
    again = home.open_vault()
    assert again.replayed == 0
    again.close()


def test_when_the_key_store_is_old_too_nothing_opens(home: Home, keyring: Keyring) -> None:
    home.open_vault(keyring).close()
    home.backup("vault")
    home.backup("keystore")
    vault = home.open_vault(keyring)
    vault.bury(pa.array(["a"]), NOW, "r1")
    vault.close()
    home.restore("vault")
    home.restore("keystore")
    with pytest.raises(EnvironmentFailed, match="both older than the keyring: 1 erasures are in neither"):
        home.open_vault()


def test_a_restored_older_key_store_brings_nobody_back(home: Home, keyring: Keyring) -> None:
    vault = home.open_vault(keyring)
    vault.register(pa.array(["a", "b", "c"]))
    vault.close()
    home.backup("vault")
    home.backup("keystore")
    _erase(home, "a")
    home.restore("keystore")
    replayed = home.open_vault()
    assert replayed.replayed == 1
    assert (len(replayed), replayed.keys_held()) == (2, 2)
    replayed.close()
    _erase(home, "b")
    home.restore("vault")
    restored = home.open_vault()
    assert restored.find(pa.array(["a", "b", "c"]))[1].tolist() == [False, False, True]
    assert restored.tombstoned(pa.array(["a", "b", "c"])).tolist() == [True, True, False]
    restored.close()


@pytest.mark.parametrize("lost", ["vault", "keystore"])
@pytest.mark.parametrize("create", [True, False])
def test_a_lost_database_is_told_and_not_made_anew(home: Home, keyring: Keyring, lost: str, create: bool) -> None:
    vault = home.open_vault(keyring)
    vault.register(pa.array(["a", "b"]))
    vault.close()
    home.lose(lost)
    with pytest.raises(EnvironmentFailed, match=r"is missing.*restore it from its backup"):
        home.open_vault(keyring, create=create)
    if home.server is None:
        assert not (home.root / "vault" / f"{lost}.db").exists()


def test_a_home_killed_between_its_two_databases_goes_on(home: Home, keyring: Keyring) -> None:
    home.open_vault(keyring).close()
    home.lose("vault")
    vault = home.open_vault(keyring)
    vault.register(pa.array(["a"]))
    assert len(vault) == 1
    vault.close()


def test_keys_held_tells_a_key_store_that_is_behind(home: Home, vault: Vault) -> None:
    handles = vault.register(pa.array(["a", "b"]))
    assert (len(vault), vault.keys_held()) == (2, 2)
    vault.sever(handles[0].tobytes())
    assert (len(vault), vault.keys_held()) == (1, 1)
    home.rows("keystore", "DELETE FROM keys")
    assert (len(vault), vault.keys_held()) == (1, 0)


def test_a_vault_of_another_keyring_is_bad_input(home: Home, vault: Vault, tmp_path: Path) -> None:
    other = Keyring.create(tmp_path / "other.json", home.kms())
    with pytest.raises(BadInput, match="another keyring"):
        home.open_vault(other)


def test_the_key_store_is_a_database_of_its_own(home: Home, keyring: Keyring) -> None:
    with pytest.raises(BadInput, match="the key store is the vault itself"):
        Vault.open(home.vault_url, keyring, home.vault_url)
    if home.server is None:
        (home.root / "vault").mkdir()
        with pytest.raises(BadInput, match="the key store is the vault itself"):
            Vault.open(home.vault_url, keyring, f"sqlite:///{home.root}/vault/../vault/vault.db?timeout=1")
    with pytest.raises(BadInput, match="is not a database URL") as caught:
        Vault.open(home.vault_url, keyring, "no address: SECRET")
    assert "SECRET" not in str(caught.value)


def _literal(home: Home, value: bytes) -> str:
    return f"x'{value.hex()}'" if home.server is None else f"'\\x{value.hex()}'"


def _erase(home: Home, who: str) -> None:
    vault = home.open_vault()
    handle = vault.find(pa.array([who]))[0][0].tobytes()
    vault.bury(pa.array([who]), NOW, f"r-{who}")
    vault.sever(handle, f"r-{who}")
    vault.close()
