"""Evidence becomes links in a real vault: on trial until the end, for good afterwards, nothing lost on the way."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import pyarrow as pa
import pytest

from privacy.classification import LinkKind, Purpose, Role
from privacy.errors import BadInput
from privacy.keyring import Keyring
from privacy.link_rules import LinkReport, LinkRules
from privacy.linking import Linker
from privacy.policy import Principal
from privacy.tokens import Pseudonymiser
from privacy.treatment import Protector
from privacy.vault import Vault
from tests.postgres import Server

from .conftest import Home, on_both

OFFICER = Principal("olga", Role.PRIVACY_OFFICER, Purpose.RETENTION)
RULES = LinkRules(region="CN")


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Server | None:
    return on_both(request)


@pytest.fixture
def protector(vault: Vault, keyring: Keyring) -> Protector:
    return Protector(vault, keyring)


def meet(linker: Linker, unique: Mapping[str, list[str | None]] | None = None, **mails: str | None) -> None:
    """Customers by name, each with an address."""
    column = ("customers.email", LinkKind.EMAIL, pa.array(list(mails.values()), pa.string()))
    told = {place: pa.array(values, pa.string()) for place, values in (unique or {}).items()}
    linker.meet(pa.array(list(mails)), [column], told)


def people(vault: Vault, *names: str) -> int:
    handles, known = vault.find(pa.array(names))
    assert known.all()
    return len({handle.tobytes() for handle in handles})


def test_one_address_makes_one_person_with_one_handle_and_every_id(protector: Protector, vault: Vault) -> None:
    with protector.on_trial(RULES) as linker:
        meet(linker, a="Ann@shop.cn", b=" ann@SHOP.cn", c="eve@shop.cn", d=None)
        assert linker.resolve().joined == 1
        handles = linker.register(pa.array(["a", "b", "c", "b"]), [{"name": who} for who in "abcb"])
        assert (handles[0] == handles[1]).all()
        assert (handles[0] != handles[2]).any()
        assert linker.commitment()
        linker.settle()
    assert people(vault, "a", "b", "c", "d") == 3
    assert vault.find(pa.array(["b"]))[0][0].tobytes() == handles[0].tobytes()
    record = vault.record(handles[0].tobytes())
    assert record is not None
    assert {one.subject_id: one.attributes for one in record.identities} == {"a": {"name": "a"}, "b": {"name": "b"}}
    assert len(vault) == vault.keys_held() == 3


def test_a_refused_ingest_takes_people_and_links_back(protector: Protector, vault: Vault) -> None:
    vault.register(pa.array(["a", "b"]))
    before = vault.find(pa.array(["a", "b"]))[0]
    with suppress(BadInput), protector.on_trial(RULES) as linker:
        meet(linker, a="ann@shop.cn", b="ann@shop.cn", c="ann@shop.cn")
        assert linker.resolve().joined == 2
        raise BadInput("refused")
    handles, known = vault.find(pa.array(["a", "b", "c"]))
    assert known.tolist() == [True, True, False]
    assert (handles[:2] == before).all()


def test_a_link_found_later_keeps_tokens_attributes_and_who_is_on_trial(
    home: Home, protector: Protector, keyring: Keyring
) -> None:
    vault = home.open_vault(keyring)
    door = Pseudonymiser(keyring, vault)
    tokens = door.pseudonymise(pa.array(["a", "b"]), "retention")
    vault.register(pa.array(["a", "b"]), [{"name": "old a"}, {"name": "old b"}])
    with Protector(vault, keyring).on_trial(RULES) as linker:
        meet(linker, a="ann@shop.cn", b="ann@shop.cn", c="eve@shop.cn")
        linker.resolve()
        linker.register(pa.array(["a", "b", "c"]), [{"name": "new a"}, {"name": "new b"}, {"name": "new c"}])
        former, now = linker.former_tokens()
        assert len(former) == 1
        linker.settle()
    assert door.reidentify(tokens, "retention", OFFICER, Purpose.RETENTION, "why").to_pylist() == ["a", "b"]
    record = vault.record(vault.find(pa.array(["a"]))[0][0].tobytes())
    assert record is not None
    assert {one.subject_id: one.attributes["name"] for one in record.identities} == {"a": "new a", "b": "new b"}
    again = door.pseudonymise(pa.array(["a", "b", "c"]), "features")
    assert again[0] == again[1] == now[0]
    assert again[2] != now[0]
    assert home.rows("vault", "SELECT count(*) FROM renewals") == [(0,)]
    vault.close()


def test_the_next_ingest_finds_nothing_new(protector: Protector, vault: Vault) -> None:
    reports: list[LinkReport] = []
    for _ in range(2):
        with protector.on_trial(RULES) as linker:
            meet(linker, a="ann@shop.cn", b="ann@shop.cn")
            reports.append(linker.resolve())
            assert len(linker.former_tokens()[0]) == 1
            linker.settle()
    assert [report.joined for report in reports] == [1, 0]
    assert people(vault, "a", "b") == 1


def test_a_link_beside_an_earlier_one_leads_older_handles_on(protector: Protector, vault: Vault) -> None:
    ids = pa.array(["a", "b", "c"])
    older = vault.register(ids)
    for mails in ({"a": "x@shop.cn", "b": "x@shop.cn"}, {"b": "y@shop.cn", "c": "y@shop.cn"}):
        with protector.on_trial(RULES) as linker:
            meet(linker, **mails)
            linker.resolve()
            former, now = linker.former_tokens()
            linker.settle()
    assert people(vault, "a", "b", "c") == 1
    assert len(former) == 2
    assert now[0] == now[1]
    assert vault.find(ids)[0][0].tobytes() == min(handle.tobytes() for handle in older)


def test_an_id_that_more_customers_have_at_each_ingest_joins_no_more_than_it_may(
    protector: Protector, vault: Vault
) -> None:
    names = [f"c{number}" for number in range(6)]
    for count in range(2, 7):
        with protector.on_trial(RULES) as linker:
            meet(linker, **dict.fromkeys(names[:count], "family@shop.cn"))
            report = linker.resolve()
            linker.settle()
        assert report.too_shared == ({"email": 1} if count > 3 else {})
    assert people(vault, *names) == 4


def test_unique_fields_and_junk_are_counted(protector: Protector, vault: Vault) -> None:
    with protector.on_trial(RULES) as linker:
        meet(linker, {"customers.born": ["1990-01-01", "1985-01-01"]}, a="ann@shop.cn", b="ann@shop.cn")
        meet(linker, {"customers.born": ["1990-01-01"] * 2}, c="test@shop.cn", d="test@shop.cn")
        report = linker.resolve()
        linker.settle()
    assert (report.joined, report.conflicts, report.junk) == (0, {"email: customers.born": 2}, {"email": 1})
    assert people(vault, "a", "b", "c", "d") == 4


def test_the_place_of_a_column_without_ids_is_named_but_no_value(protector: Protector) -> None:
    with pytest.raises(BadInput, match="double") as caught, protector.on_trial(RULES) as linker:
        linker.meet(pa.array(["a"]), [("customers.card", LinkKind.CARD, pa.array([4711.5]))], {})
    assert caught.value.where == "customers.card"
    assert "4711" not in str(caught.value)


def test_whoever_is_on_trial_and_linked_is_in_the_index_afterwards(home: Home, keyring: Keyring) -> None:
    vault = home.open_vault(keyring)
    names = [f"c{number}" for number in range(50)]
    with Protector(vault, keyring).on_trial(RULES) as linker:
        meet(linker, **{name: f"m{number // 2}@shop.cn" for number, name in enumerate(names)})
        assert linker.resolve().persons == 25
        linker.settle()
    state = vault._people.state()
    assert vault._index.holds_all(state)
    assert people(vault, *names) == 25
    vault.close()
    again = home.open_vault(keyring)
    assert people(again, *names) == 25
    assert len(again) == again.keys_held() == 25
    again.close()
