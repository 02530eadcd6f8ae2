from __future__ import annotations

import multiprocessing
import shutil
import sqlite3
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from privacy.errors import BadInput, CheckFailed, EnvironmentFailed
from privacy.keyring import Keyring
from privacy.vault import Vault

from .conftest import Home

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)


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


def test_source_ids_come_back_typed(vault: Vault) -> None:
    numbers = vault.register(pa.array([7, 8]))
    texts = vault.register(pa.array(["007"]))
    assert vault.source_ids(numbers).equals(pa.array([7, 8]))
    assert vault.source_ids(np.concatenate([texts, numbers[:1]])).equals(pa.array(["007", "7"]))
    assert vault.source_ids(np.zeros((1, 16), np.uint8)).to_pylist() == [None]


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


def test_missing_ids_are_bad_input(vault: Vault) -> None:
    with pytest.raises(BadInput, match="1 ids are missing"):
        vault.register(pa.array(["a", None]))


def _files(home: Home) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((home.root / "vault").rglob("*")) if path.is_file())


def test_files_hold_no_value_and_are_private(home: Home, vault: Vault) -> None:
    vault.register(pa.array(["CANARY-ID"]), [{"name": "CANARY-NAME"}])
    assert b"CANARY" not in _files(home)
    for path in (home.root / "vault").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0


def test_records_are_padded(home: Home, vault: Vault) -> None:
    vault.register(pa.array(["a", "a-much-longer-id"]))
    with sqlite3.connect(home.root / "vault" / "vault.db") as connection:
        sizes = {len(record) for (record,) in connection.execute("SELECT record FROM people")}
    assert sizes == {12 + 64 + 16}


def test_a_record_moved_to_another_row_is_refused(home: Home, vault: Vault) -> None:
    handles = vault.register(pa.array(["a", "b"]))
    with sqlite3.connect(home.root / "vault" / "vault.db") as connection:
        other = connection.execute("SELECT record FROM people WHERE handle=?", (handles[1].tobytes(),)).fetchone()
        connection.execute("UPDATE people SET record=? WHERE handle=?", (other[0], handles[0].tobytes()))
    connection.close()
    with pytest.raises(CheckFailed):
        vault.source_ids(handles[:1])


def test_audit_references_are_stable_and_die_with_the_person(home: Home, vault: Vault) -> None:
    handles = vault.register(pa.array(["a", "b"]))
    references = vault.audit_references(handles)
    assert len(set(references)) == 2
    assert home.open_vault().audit_references(handles) == references
    vault.sever(handles[0].tobytes())
    assert vault.audit_references(handles) == ["", references[1]]


def test_severing_leaves_nothing_and_is_repeatable(home: Home, vault: Vault) -> None:
    handles = vault.register(pa.array(["a", "b"]))
    handle = handles[0].tobytes()
    assert vault.sever(handle) == {"key": 1, "identities": 1, "record": 1}
    assert vault.sever(handle) == {"key": 0, "identities": 0, "record": 0}
    assert vault.source_ids(handles).to_pylist() == [None, "b"]
    assert handle not in _files(home)
    assert handles[1].tobytes() in _files(home)


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


def _backup(home: Home, name: str) -> None:
    shutil.copytree(home.root / "vault", home.root / name)


def test_a_restored_older_vault_refuses_until_replayed(home: Home, keyring: Keyring) -> None:
    vault = home.open_vault(keyring)
    handles = vault.register(pa.array(["a", "b"]))
    vault.close()
    _backup(home, "backup")
    vault = home.open_vault(keyring)
    vault.bury(pa.array(["a"]), NOW, "r1")
    vault.sever(handles[0].tobytes(), "r1")
    vault.close()
    for path in (home.root / "vault").glob("vault.db*"):
        path.unlink()
    shutil.copy(home.root / "backup" / "vault.db", home.root / "vault" / "vault.db")
    with pytest.raises(EnvironmentFailed, match="1 erasures are not in it"):
        home.open_vault()
    replayed = Vault.open(home.vault_url, home.open_keyring(), replay=True)
    assert replayed.find(pa.array(["a", "b"]))[1].tolist() == [False, True]
    assert replayed.tombstoned(pa.array(["a", "b"])).tolist() == [True, False]
    replayed.close()
    home.open_vault().close()


def test_when_the_key_store_is_old_too_replay_is_refused(home: Home, keyring: Keyring) -> None:
    home.open_vault(keyring).close()
    _backup(home, "backup")
    vault = home.open_vault(keyring)
    vault.bury(pa.array(["a"]), NOW, "r1")
    vault.close()
    shutil.rmtree(home.root / "vault")
    shutil.copytree(home.root / "backup", home.root / "vault")
    with pytest.raises(EnvironmentFailed, match="key store is older"):
        Vault.open(home.vault_url, home.open_keyring(), replay=True)


def _lose(home: Home, name: str) -> None:
    for path in (home.root / "vault").glob(f"{name}.db*"):
        path.unlink()


@pytest.mark.parametrize("lost", ["vault", "keystore"])
@pytest.mark.parametrize("create", [True, False])
def test_a_lost_database_is_told_and_not_made_anew(home: Home, keyring: Keyring, lost: str, create: bool) -> None:
    vault = home.open_vault(keyring)
    vault.register(pa.array(["a", "b"]))
    vault.close()
    _lose(home, lost)
    with pytest.raises(EnvironmentFailed, match=r"is missing.*restore it from its backup"):
        Vault.open(home.vault_url, keyring, create=create)
    assert not (home.root / "vault" / f"{lost}.db").exists()


def test_without_create_an_empty_place_stays_empty(home: Home, keyring: Keyring) -> None:
    with pytest.raises(EnvironmentFailed, match="key store is missing"):
        Vault.open(home.vault_url, keyring, create=False)
    assert not (home.root / "vault").exists()
    home.open_vault(keyring).close()
    Vault.open(home.vault_url, keyring, create=False).close()


def test_a_home_killed_between_its_two_databases_goes_on(home: Home, keyring: Keyring) -> None:
    home.open_vault(keyring).close()
    _lose(home, "vault")
    vault = home.open_vault(keyring)
    vault.register(pa.array(["a"]))
    assert len(vault) == 1
    vault.close()


def test_keys_held_tells_a_key_store_that_is_behind(home: Home, vault: Vault) -> None:
    handles = vault.register(pa.array(["a", "b"]))
    assert (len(vault), vault.keys_held()) == (2, 2)
    vault.sever(handles[0].tobytes())
    assert (len(vault), vault.keys_held()) == (1, 1)
    with sqlite3.connect(home.root / "vault" / "keystore.db") as connection:
        connection.execute("DELETE FROM keys")
    assert (len(vault), vault.keys_held()) == (1, 0)


def test_a_clock_that_went_back_does_not_weaken_a_tombstone(vault: Vault) -> None:
    vault.bury(pa.array(["a"]), NOW, "r1")
    vault.sever(bytes(16), "r1")
    vault.bury(pa.array(["a"]), NOW - timedelta(days=9), "r2")
    vault.sever(bytes(16), "r2")
    assert vault.tombstoned(pa.array(["a"]), pa.array([NOW])).all()


def test_a_vault_of_another_keyring_is_bad_input(home: Home, vault: Vault, tmp_path: Path) -> None:
    other = Keyring.create(tmp_path / "other.json", home.kms())
    with pytest.raises(BadInput, match="another keyring"):
        home.open_vault(other)


def test_database_failures_are_one_line_without_values(home: Home, keyring: Keyring) -> None:
    home.open_vault(keyring).close()
    (home.root / "vault" / "vault.db").write_bytes(b"not a database, CANARY" * 100)
    with pytest.raises(EnvironmentFailed) as caught:
        home.open_vault(keyring)
    assert "\n" not in str(caught.value)
    assert "CANARY" not in str(caught.value)
    with pytest.raises(BadInput, match="not a database URL"):
        Vault.open("nonsense", keyring)
    with pytest.raises(BadInput, match="no key store is named"):
        Vault.open("postgresql://custos:CANARY@127.0.0.1/vault", keyring)


def _register(root: Path, first: int, queue: object) -> None:
    vault = Home(root).open_vault()
    ids = pa.array([str(number) for number in range(first, first + 300)])
    handles = vault.register(ids)
    queue.put(dict(zip(ids.to_pylist(), [h.tobytes() for h in handles], strict=True)))  # type: ignore[attr-defined]


def test_processes_registering_the_same_people_agree(home: Home) -> None:
    home.open_vault().close()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_register, args=(home.root, first, queue)) for first in (0, 150)]
    for worker in workers:
        worker.start()
    one, other = queue.get(timeout=60), queue.get(timeout=60)
    for worker in workers:
        worker.join()
    both = one.keys() & other.keys()
    assert len(both) == 150
    assert all(one[name] == other[name] for name in both)
    with sqlite3.connect(home.root / "vault" / "vault.db") as vault_db:
        assert vault_db.execute("SELECT count(*) FROM people").fetchone() == (450,)
    with sqlite3.connect(home.root / "vault" / "keystore.db") as key_store:
        assert key_store.execute("SELECT count(*) FROM keys").fetchone() == (450,)
