"""Bad input and faults: a named error or a defined result, never a part of a write."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa

from privacy import vault_people
from privacy.errors import BadInput, EnvironmentFailed
from privacy.keyring import Keyring
from privacy.tokens import Pseudonymiser
from privacy.vault import Vault
from tests.postgres import LOCKED, Server, running
from tests.small_disk import all_but, mounted

from .conftest import Home
from .forked import exit_status, kill_at, killed

BROKEN = pa.array([b"ok", b"\xff\xfeCANARY"], pa.binary()).view(pa.string())
MIXED = pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["CANARY", "b"])])


def ids(first: int, last: int) -> pa.Array:
    return pa.array([f"person {number}" for number in range(first, last)])


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (pa.array(["CANARY", "", "", None]), "2 ids are empty text"),
        (pa.array([1.0, 2.5]), "no one spelling"),
        (MIXED, "not accepted"),
        (pa.array([b"CANARY"]), "not accepted"),
        (pa.array([["CANARY"]]), "not accepted"),
        (BROKEN, "UTF-8"),
        (pa.chunked_array([pa.array(["CANARY"]), BROKEN]), "UTF-8"),
        (pa.array(["CANARY", ""]).dictionary_encode(), "1 ids are empty text"),
    ],
)
def test_bad_ids_are_told_by_number_and_nobody_is_registered(
    home: Home, keyring: Keyring, vault: Vault, bad: pa.Array, told: str
) -> None:
    for call in (vault.register, vault.find, lambda who: Pseudonymiser(keyring, vault).pseudonymise(who, "value")):
        with pytest.raises(BadInput, match=told) as caught:
            call(bad)
        assert "CANARY" not in str(caught.value)
    assert (len(vault), vault.keys_held()) == (0, 0)


def test_odd_ids_are_people_like_others(keyring: Keyring, vault: Vault) -> None:
    door = Pseudonymiser(keyring, vault)
    odd = pa.array(["12", "１２", "x" * 10_000, "客户" * 3000, " 12", "12", None, "1２", "a\x00b", "a"])
    tokens = door.pseudonymise(odd, "retention")
    texts = tokens.to_pylist()
    assert texts[6] is None
    assert texts[0] == texts[5]
    assert len({text for text in texts if text}) == 8
    assert len(vault) == 8
    assert vault.source_ids(vault.find(odd.drop_null())[0]).to_pylist() == odd.drop_null().to_pylist()
    for other in (odd.cast(pa.large_string()), odd.dictionary_encode(), pa.chunked_array([odd[:4], odd[4:]])):
        assert door.pseudonymise(other, "retention").equals(tokens)


def test_a_batch_of_one_person_a_thousand_times(vault: Vault) -> None:
    handles = vault.register(pa.array(["ann"] * 1000), [{"n": number} for number in range(1000)])
    assert (handles == handles[0]).all()
    record = vault.record(handles[0].tobytes())
    assert record is not None
    assert record.attributes == {"n": 999}


def _told(vault: Vault, who: pa.Array) -> str:
    """What registering them fails with, if it does."""
    try:
        vault.register(who, [{"name": "x" * 200}] * len(who))
    except EnvironmentFailed as error:
        return str(error)
    return ""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", 24_000) as disk:
        yield disk


def test_a_full_disk_leaves_a_whole_vault(home: Home, small_disk: Path) -> None:
    (home.root / "vault").symlink_to(small_disk)
    vault = home.open_vault()
    known = vault.register(ids(0, 100))
    failures = 0
    for kilobytes in range(16, 24_000, 900):
        before = len(vault)
        with all_but(small_disk, 1024 * kilobytes):
            told = _told(vault, ids(100, 8100))
        if not told:
            break
        assert "disk is full" in told or "could not be read or written" in told
        failures += 1
        assert len(vault) == before
        assert (vault.find(ids(0, 100))[0] == known).all()
        assert not vault.find(ids(100, 8100))[1].any()
    assert 1 < failures < 30
    vault.close()
    again = home.open_vault()
    assert again.find(ids(0, 8100))[1].all()
    assert len(again) == 8100
    again.close()


def test_a_limit_on_file_sizes_leaves_a_whole_vault(home: Home) -> None:
    home.open_vault().register(ids(0, 100))

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        vault = home.open_vault()
        with pytest.raises(EnvironmentFailed, match=r"could not be|disk is full"):
            vault.register(ids(100, 20_000))
        assert vault.find(ids(0, 200))[1].tolist() == [True] * 100 + [False] * 100

    assert exit_status(limited) == 0
    vault = home.open_vault()
    assert len(vault) == 100
    vault.register(ids(0, 20_000))
    assert len(vault) == 20_000
    vault.close()


@pytest.mark.parametrize(
    ("module", "step", "event", "people", "keys"),
    [
        ("vault_records", "seal_new", "return", 0, 5000),
        ("vault_keys", "seal_new", "return", 0, 10_000),  # half of them nobody's
        ("vault_changes", "note_change", "return", 0, 10_000),
        ("vault_index", "add", "call", 5000, 5000),
    ],
)
def test_killed_between_key_store_and_vault_the_next_process_goes_on(
    home: Home, module: str, step: str, event: str, people: int, keys: int
) -> None:
    home.open_vault().close()

    def register() -> None:
        vault = home.open_vault()
        kill_at(lambda frame, _event: frame.f_code.co_name == step, within=f"/privacy/{module}.py", events=[event])
        vault.register(ids(0, 5000), [{"name": "n"}] * 5000)

    assert killed(register)
    vault = home.open_vault()
    assert len(vault) == people
    handles = vault.register(ids(0, 5000), [{"name": "n"}] * 5000)
    assert len(set(vault.audit_references(handles))) == len(vault) == 5000
    assert vault.keys_held() == keys
    assert vault.sever(handles[0].tobytes()) == {"key": 1, "identities": 1, "record": 1}
    vault.close()


def test_a_locked_database_is_told(home: Home, keyring: Keyring) -> None:
    home.open_vault().register(ids(0, 3))
    vault = Vault.open(f"{home.vault_url}?timeout=0.1", keyring, home.url("keystore"), index=home.index)
    holder = sa.create_engine(home.vault_url)
    with holder.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(EnvironmentFailed, match="the vault is locked by another process"):
            vault.register(ids(0, 5))
        assert vault.find(ids(0, 5))[1].tolist() == [True] * 3 + [False] * 2
    assert vault.register(ids(0, 5)).any(axis=1).all()
    assert len(vault) == 5
    vault.close()


def test_a_locked_table_of_a_server_is_told(home: Home, keyring: Keyring, postgres: Server) -> None:
    here = Home(home.root, postgres)
    here.open_vault().register(ids(0, 3))
    impatient = f"{here.vault_url}%20-clock_timeout%3D100"
    vault = Vault.open(impatient, keyring, here.url("keystore"), index=here.index)
    holder = sa.create_engine(here.vault_url.replace("postgresql:", "postgresql+psycopg:"))
    with holder.connect() as connection:
        connection.exec_driver_sql("LOCK TABLE people IN EXCLUSIVE MODE")
        with pytest.raises(EnvironmentFailed, match="the vault is locked by another process"):
            vault.register(ids(0, 5))
    assert vault.register(ids(0, 5)).any(axis=1).all()
    assert len(vault) == 5
    vault.close()


def test_a_server_that_refuses_the_login_is_told_from_one_that_is_gone(
    home: Home, keyring: Keyring, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.lock("CANARY")
    monkeypatch.setenv("PGPASSFILE", "/nonexistent")
    url = postgres.url(postgres.database()).replace("custos@", f"{LOCKED}:CANARI@")
    with pytest.raises(EnvironmentFailed, match="on a server that refuses the login") as refusal:
        Vault.open(url, keyring, home.url("keystore"))
    assert "CANARI" not in str(refusal.value)


def test_a_server_that_is_gone_is_told_in_one_line(home: Home, keyring: Keyring, postgres: Server) -> None:
    with pytest.raises(EnvironmentFailed) as caught:
        Vault.open("postgresql://custos:CANARY@/none?host=/nowhere", keyring, home.url("keystore"))
    assert "CANARY" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "the vault can't be reached on its server" in str(caught.value)


def test_a_server_that_stops_in_mid_write_leaves_a_whole_vault(
    keyring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running() as server:
        urls = [server.url(server.database()) for _ in range(2)]
        vault = Vault.open(urls[0], keyring, urls[1], index=tmp_path / "index")
        known, note = vault.register(ids(0, 100)), vault_people.note_change

        def last_note(connection: sa.Connection, rows: int) -> object:
            noted = note(connection, rows)
            server.stop()  # what was inserted isn't committed yet
            return noted

        with monkeypatch.context() as patched:
            patched.setattr(vault_people, "note_change", last_note)
            told = _told(vault, ids(100, 3100))
        assert "can't be reached on its server" in told
        assert "\n" not in told
        assert "can't be reached on its server" in _told(vault, ids(100, 101))  # still away
        server.start()
        assert (vault.find(ids(0, 100))[0] == known).all()
        assert not vault.find(ids(100, 3100))[1].any()
        assert _told(vault, ids(100, 3100)) == ""
        assert (len(vault), vault.find(ids(0, 3100))[1].all()) == (3100, True)
        vault.close()


def test_who_only_reads_waits_for_nobody(home: Home, keyring: Keyring) -> None:
    home.open_vault().register(ids(0, 3))
    holders = [sa.create_engine(home.url(name)).connect() for name in ("vault", "keystore")]
    for holder in holders:
        holder.exec_driver_sql("BEGIN IMMEDIATE")
    impatient = [f"{home.url(name)}?timeout=0.1" for name in ("vault", "keystore")]
    vault = Vault.open(impatient[0], keyring, impatient[1], index=home.index)
    handles, known = vault.find(ids(0, 5))
    assert known.tolist() == [True] * 3 + [False] * 2
    assert vault.source_ids(handles[:3]).equals(ids(0, 3))
    assert not vault.tombstoned(ids(0, 5)).any()
    for holder in holders:
        holder.close()
    vault.close()
