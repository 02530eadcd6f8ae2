"""People on trial: kept or taken back, whoever else is at work and wherever the process dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pyarrow as pa
import pytest

from privacy.errors import BadInput
from privacy.keyring import Keyring
from privacy.vault import Vault
from privacy.vault_index import PUBLISH_ROWS
from privacy.vault_intake import Intake
from tests.postgres import Server

from .conftest import Home, on_both
from .forked import after, kill_at, killed


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Server | None:
    return on_both(request)


def ids(first: int, last: int) -> pa.Array:
    return pa.array([f"person {number}" for number in range(first, last)])


def people(home: Home) -> dict[str, list[tuple[object, ...]]]:
    """Everything about people, as stored."""
    asked = [("vault", "people"), ("vault", "identities"), ("vault", "renewals"), ("keystore", "keys")]
    return {table: home.rows(name, f"SELECT * FROM {table} ORDER BY 1") for name, table in asked}


@contextmanager
def refused(vault: Vault) -> Iterator[Intake]:
    """An intake that fails at its end."""
    with suppress(BadInput), vault.intake() as intake:
        yield intake
        raise BadInput("refused")


def test_a_refused_intake_leaves_the_vault_as_it_was(home: Home, vault: Vault) -> None:
    known = vault.register(ids(0, 50), [{"mail": "old"}] * 50)
    before = people(home)
    with refused(vault) as intake:
        handles = intake.register(ids(0, 100), [{"mail": "new", "name": "n"}] * 100)
        assert (handles[:50] == known).all()
        assert (intake.register(ids(40, 120), [{"name": "m"}] * 80)[:60] == handles[40:]).all()
        assert len(vault) == 120
    assert people(home) == before
    assert vault.find(ids(0, 120))[1].tolist() == [True] * 50 + [False] * 70
    assert not (vault.register(ids(50, 100)) == handles[50:]).all(axis=1).any()


def test_a_kept_intake_keeps_people_and_their_newest_attributes(home: Home, vault: Vault) -> None:
    known = vault.register(ids(0, 2), [{"mail": "old", "city": "X"}] * 2)
    with vault.intake() as intake:
        handles = intake.register(ids(0, 3), [{"mail": "new"}, {"mail": "old"}, {"mail": "mine"}])
        intake.register(ids(0, 1), [{"mail": "old"}])  # the source changes its mind
        intake.register(ids(0, 3), [{"mail": None, "name": "A"}, {"name": None}, {"name": "C"}])
        first = vault.record(known[0].tobytes())
        assert first is not None
        assert first.attributes == {"mail": "old", "city": "X"}
    records = [vault.record(handle.tobytes()) for handle in handles]
    assert [record and record.attributes for record in records] == [
        {"mail": "old", "city": "X", "name": "A"},
        {"mail": "old", "city": "X"},
        {"mail": "mine", "name": "C"},
    ]
    assert people(home)["renewals"] == []
    assert home.rows("vault", "SELECT * FROM intakes") == []


def test_the_shared_index_gets_people_only_once_they_are_kept(home: Home, vault: Vault) -> None:
    reader = home.open_vault()
    with vault.intake() as intake:
        handles = intake.register(ids(0, 2 * PUBLISH_ROWS))
        assert reader.find(ids(0, 10))[1].all()
        assert len(list(home.index.glob("*.segment"))) == 0
    home.rows("vault", "DELETE FROM identities")
    assert (reader.find(ids(0, 2 * PUBLISH_ROWS))[0] == handles).all()
    reader.close()


def test_whom_somebody_else_registers_meanwhile_stays(home: Home, vault: Vault) -> None:
    other = home.open_vault()
    with refused(vault) as intake:
        handles = intake.register(ids(0, 10))
        assert (other.register(ids(3, 5)) == handles[3:5]).all()
    assert other.find(ids(0, 10))[1].tolist() == [number in (3, 4) for number in range(10)]
    assert (vault.register(ids(3, 5)) == handles[3:5]).all()
    assert (len(vault), vault.keys_held()) == (2, 2)
    other.close()


def test_two_intakes_of_the_same_people_one_refused(home: Home, vault: Vault) -> None:
    other = home.open_vault()
    with other.intake() as kept:
        with refused(vault) as intake:
            intake.register(ids(0, 5))
        with refused(vault) as intake:
            first = intake.register(ids(5, 10))
            assert (kept.register(ids(0, 10))[5:] == first).all()
    assert vault.find(ids(0, 10))[1].all()
    assert (len(vault), vault.keys_held()) == (10, 10)
    other.close()


def test_somebody_erased_during_an_intake_stays_erased(home: Home, vault: Vault) -> None:
    with vault.intake() as intake:
        handles = intake.register(ids(0, 3))
        home_again = home.open_vault()
        home_again.sever(handles[1].tobytes())
        home_again.close()
        again = intake.register(ids(0, 3))
    assert (again[[0, 2]] == handles[[0, 2]]).all()
    assert (again[1] != handles[1]).any()
    assert vault.source_ids(handles).to_pylist() == ["person 0", None, "person 2"]
    assert (len(vault), vault.keys_held()) == (3, 3)


def test_somebody_linked_during_an_intake_stays_when_it_is_refused(vault: Vault) -> None:
    vault.register(ids(0, 1))
    with refused(vault) as intake:
        intake.register(ids(1, 3))
        vault.link(ids(0, 1), ids(1, 2))
    assert vault.find(ids(0, 3))[1].tolist() == [True, True, False]
    assert len(vault) == 1


def test_a_forgotten_intake_no_longer_takes_anybody_back(home: Home, vault: Vault) -> None:
    with refused(vault) as intake:
        intake.register(ids(0, 3))
        home.rows("vault", "UPDATE intakes SET begun_at = 0")
        with vault.intake():
            pass
    assert vault.find(ids(0, 3))[1].all()


def test_numbers_of_intakes_are_never_used_again(home: Home, vault: Vault) -> None:
    with vault.intake() as intake:
        intake.register(ids(0, 3))
    with refused(vault) as intake:
        intake.register(ids(3, 6))
    assert vault.find(ids(0, 6))[1].tolist() == [True] * 3 + [False] * 3


@pytest.mark.slow
def test_killed_anywhere_the_vault_opens_and_the_next_intake_agrees(home: Home, keyring: Keyring) -> None:
    vault = home.open_vault(keyring)
    known = vault.register(ids(0, 3), [{"mail": "old"}] * 3)
    vault.close()
    for attempt in range(200):
        again = _killed_after(home, 3 + 97 * attempt)
        vault = home.open_vault(keyring)
        assert (vault.find(ids(0, 3))[0] == known).all()
        with vault.intake() as intake:
            handles = intake.register(ids(0, 8), [{"mail": "old"}] * 8)
        records = [vault.record(handle.tobytes()) for handle in handles]
        assert [record and record.attributes["mail"] for record in records] == ["old"] * 8
        assert len(set(vault.audit_references(handles))) == 8
        assert len(vault) == 8
        for handle in handles[3:]:
            vault.sever(handle.tobytes())
        vault.close()
        if not again:
            break
    assert 5 < attempt < 199


def _killed_after(home: Home, steps: int) -> bool:
    """Run a refused intake in a child that kills itself at its n-th step inside the vault; whether it got that far."""

    def work() -> None:
        vault = home.open_vault()
        kill_at(after(steps), within="/privacy/vault")
        with refused(vault) as intake:
            intake.register(ids(0, 6))
            intake.register(ids(4, 8))

    return killed(work)
