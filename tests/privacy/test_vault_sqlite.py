"""What only the files of the default database can show, and how a vault is addressed."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from privacy import Keyring, LocalKms, Pseudonymiser, Vault
from privacy.errors import BadInput, EnvironmentFailed
from tests.postgres import Server

from .conftest import Home


def test_the_public_names_work_with_their_defaults(home: Home) -> None:
    keyring = Keyring.create(home.root / "own.json", LocalKms(passphrase="correct horse battery"))
    vault = Vault.open(f"sqlite:///{home.root / 'own' / 'vault.db'}", keyring)
    tokens = Pseudonymiser(keyring, vault).pseudonymise(pa.array(["客户", None, "b"]), "retention")
    vault.close()
    assert sorted(path.name for path in (home.root / "own").iterdir()) == ["keystore.db", "vault.db", "vault.index"]
    again = Vault.open(f"sqlite:///{home.root / 'own' / 'vault.db'}", keyring)
    assert Pseudonymiser(keyring, again).pseudonymise(pa.array(["客户", None, "b"]), "retention").equals(tokens)
    again.close()


def test_files_hold_no_value_and_are_private(home: Home, vault: Vault) -> None:
    vault.register(pa.array(["CANARY-ID"]), [{"name": "CANARY-NAME"}])
    home.open_vault().close()
    assert b"CANARY" not in home.files()
    paths = [path for path in (home.root / "vault").rglob("*") if not path.name.endswith("-shm")]
    assert any(path.is_dir() for path in paths)
    for path in paths:
        assert path.stat().st_mode & 0o077 == 0


def test_records_are_padded(home: Home, vault: Vault) -> None:
    vault.register(pa.array(["a", "a-much-longer-id"]))
    sizes = {len(record) for (record,) in home.rows("vault", "SELECT record FROM people")}
    assert sizes == {12 + 64 + 16}


def test_a_severed_handle_is_in_no_byte_of_the_folder(home: Home, vault: Vault) -> None:
    handles = vault.register(pa.array([f"person {number}" for number in range(5000)]))
    vault.bury(pa.array(["person 7"]), datetime.now(UTC), "r1")
    index = vault.indexes_of(handles[7].tobytes())[0]
    assert handles[7].tobytes() in home.files()
    vault.sever(handles[7].tobytes(), "r1")
    for gone in (handles[7].tobytes(), index, index[::-1], index[:8][::-1]):
        assert gone not in home.files()
    assert handles[8].tobytes() in home.files()


def test_nothing_keeps_the_order_of_arrival(home: Home, vault: Vault) -> None:
    vault.register(pa.array([f"{number:05d}" for number in range(300)]))
    stored = [row[0] for row in home.rows("vault", "SELECT handle FROM people")]
    assert stored == sorted(stored)
    arrived = [handle.tobytes() for handle in vault.find(pa.array([f"{number:05d}" for number in range(300)]))[0]]
    assert arrived != sorted(arrived)


def test_without_create_an_empty_place_stays_empty(home: Home, keyring: Keyring) -> None:
    with pytest.raises(EnvironmentFailed, match="key store is missing"):
        home.open_vault(keyring, create=False)
    assert not (home.root / "vault").exists()
    home.open_vault(keyring).close()
    home.open_vault(keyring, create=False).close()


def test_database_failures_are_one_line_without_values(home: Home, keyring: Keyring) -> None:
    home.open_vault(keyring).close()
    (home.root / "vault" / "vault.db").write_bytes(b"not a database, CANARY" * 100)
    with pytest.raises(EnvironmentFailed, match="the vault is damaged") as caught:
        home.open_vault(keyring)
    assert "\n" not in str(caught.value)
    assert "CANARY" not in str(caught.value)
    with pytest.raises(BadInput, match="not a database URL"):
        Vault.open("nonsense", keyring)
    with pytest.raises(BadInput, match="no key store is named"):
        Vault.open("postgresql://custos:CANARY@127.0.0.1/vault", keyring)


def test_a_vault_on_a_server_keeps_its_index_beside_a_local_key_store(
    home: Home, keyring: Keyring, postgres: Server
) -> None:
    url = postgres.url(postgres.database())
    local = f"sqlite:///{home.root / 'vault' / 'keystore.db'}"
    with closing(Vault.open(url, keyring, local)) as vault:
        handles = vault.register(pa.array(["a", "b"]))
    assert (home.root / "vault" / "keystore.index" / "manifest.json").exists()
    with closing(Vault.open(url, keyring, local)) as vault:
        assert (vault.find(pa.array(["b", "a"]))[0] == handles[[1, 0]]).all()


def test_with_both_on_a_server_the_index_is_resident(home: Home, keyring: Keyring, postgres: Server) -> None:
    urls = [postgres.url(postgres.database()) for _ in range(2)]
    with closing(Vault.open(urls[0], keyring, urls[1])) as vault:
        handles = vault.register(pa.array(["a", "b"]))
        assert vault.sever(handles[0].tobytes())["identities"] == 1
        assert vault.find(pa.array(["a", "b"]))[1].tolist() == [False, True]
    with closing(Vault.open(urls[0], keyring, urls[1])) as vault:
        assert vault.find(pa.array(["a", "b"]))[1].tolist() == [False, True]
    assert not (home.root / "vault").exists()
