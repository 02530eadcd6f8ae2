"""Several ids of one person: declared, linked, counted as one customer, found by tokens of before, and erased."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features.datasets.descriptor import load_descriptor
from features.datasets.measured import measured
from features.former import FORMER
from privacy.classification import Purpose
from privacy.errors import BadInput, EnvironmentFailed
from privacy.tokens import Pseudonymiser
from tests.identities import Row, document, line, write_identities

from .conftest import AS_OF, principal
from .linked_shop import APART, LINES, OFFICER, TOGETHER, Shop, nothing_remains
from .tables import entities


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_two_accounts_orders_are_one_customers(shop: Shop) -> None:
    shop.serve(TOGETHER)
    assert shop.people("web-1", "till-9", "web-2") == 2
    rows = shop.features()
    assert len(rows) == 2
    ann = rows[shop.token("till-9")]
    assert (ann["lifetime_orders"], ann["recency_days"]) == (3, 15.5)
    assert ann["spend_84d"] == pytest.approx(60)
    assert ann["tenure_days"] == 35.5
    assert rows[shop.token("web-2")]["lifetime_orders"] == 1


def test_without_a_shared_id_they_are_two(shop: Shop) -> None:
    shop.serve(APART)
    rows = shop.features()
    assert sorted(row["lifetime_orders"] for row in rows.values()) == [1, 1, 2]


@pytest.mark.slow
def test_a_link_found_later_keeps_every_token_of_before_working(shop: Shop) -> None:
    shop.serve(APART)
    names = ["web-1", "till-9", "web-2"]
    issued = [shop.token(name, "retention") for name in names]
    stored = [shop.token(name) for name in names]
    report = shop.ingest(TOGETHER)
    assert report.links is not None
    assert (report.links.joined, report.links.by_kind) == (1, {"phone": 2})
    assert report.links.to_dict()["joined"] == "<10"
    door = Pseudonymiser(shop.home.keyring, shop.home.vault)
    known = door.reidentify(pa.array(issued), "retention", OFFICER, Purpose.RETENTION, "why")
    assert known.to_pylist() == names

    gateway = shop.serve(TOGETHER)
    answer = gateway.online(principal(), "churn_v1", issued)
    orders = answer.values[:, answer.columns.index("lifetime_orders")]
    assert answer.present.tolist() == [True] * 3
    assert orders.tolist() == [3, 3, 1]
    asked = entities([stored[1], stored[0], stored[2], stored[1]], [AS_OF] * 4)
    offline = gateway.historical(principal(), "churn_v1", asked)
    assert offline.select(["customer_token", "event_timestamp"]).equals(asked)
    assert offline["lifetime_orders"].to_pylist() == [3, 3, 1, 3]
    assert gateway.online_size() == 2


def test_a_withdrawal_counts_by_every_token_as_soon_as_the_link_is_made(shop: Shop) -> None:
    shop.serve(APART)
    home, moments = shop.home, pa.array([AS_OF] * 3, pa.timestamp("us", "UTC"))
    names = ("web-1", "till-9", "web-2")
    given = {
        "customer_token": [shop.token(name) for name in names],
        "purpose": ["marketing"] * 3,
        "granted": [True, False, True],  # the till was told to stop
        "at": pa.array([AS_OF.replace(year=2023)] * 3, pa.timestamp("us", "UTC")),
    }
    home.consents.append(pa.table(given))
    before = pa.array(given["customer_token"])
    assert home.consents.consented(before, "marketing", moments).tolist() == [True, False, True]
    shop.ingest(TOGETHER)
    now = pa.array([shop.token(name) for name in names])
    for tokens in (before, now):
        assert home.consents.consented(tokens, "marketing", moments).tolist() == [False, False, True]


def test_customers_who_are_one_person_are_no_repeated_rows_and_an_id_that_repeats_is_one(shop: Shop) -> None:
    linked = shop.descriptor(TOGETHER)
    assert ("customers", linked.subject, "uniqueness") in measured(linked.tables, linked.subject)
    rows = [{"customer": f"x-{number}"} for number in range(37)]
    repeated = (*rows[:10], rows[0], rows[0])
    report = shop.ingest((*TOGETHER, *rows, *repeated))
    assert report.links is not None
    assert report.links.joined == 1
    card = report.quality.tables["customers"]
    score = card.columns["customer_id"].scores["uniqueness"]
    assert (card.rows.rows, score.value, score.bound) == (52, pytest.approx(40 / 52, abs=1e-6), "exact")
    again = shop.ingest((*TOGETHER, *rows, *repeated))  # linked in the vault by now
    assert again.quality.tables["customers"].columns["customer_id"].scores["uniqueness"] == score


@pytest.mark.parametrize("named", ["web-1", "till-9"])
@pytest.mark.parametrize("rebuilt", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_erasing_either_id_leaves_nothing_of_either(shop: Shop, named: str, rebuilt: bool) -> None:
    gateway = shop.serve(APART)
    names = ["web-1", "till-9", "web-2"]
    issued, stored = [[shop.token(name, domain) for name in names] for domain in ("retention", "features")]
    shop.ingest(TOGETHER)
    if rebuilt:
        gateway = shop.serve(TOGETHER)
    receipt = shop.rights(gateway).erase(named, OFFICER, "request")
    assert all(store.after == 0 for store in receipt.stores)
    assert nothing_remains(shop, stored[:2])
    assert not nothing_remains(shop, stored[2:])
    assert gateway.online(principal(), "churn_v1", issued).present.tolist() == [False, False, True]
    assert shop.home.vault.find(pa.array(names))[1].tolist() == [False, False, True]
    assert shop.home.suppression.contains(pa.array(stored)).tolist() == [True, True, False]
    again = shop.ingest(TOGETHER)
    assert (again.people, again.tables["transactions"].tombstoned) == (1, 3)
    assert again.links is not None
    assert again.links.joined == 0
    assert FORMER not in shop.home.paths.protected_store("till_and_web").manifest()["tables"]


def test_who_came_back_after_an_erasure_is_linked_at_once(shop: Shop) -> None:
    gateway = shop.serve(APART)
    shop.rights(gateway).erase("web-1", OFFICER, "request")
    later = [*LINES, line("web-1", "o9", dt.date(2025, 1, 1), 4.0)]
    joined = []
    for _ in range(2):
        report = shop.ingest(TOGETHER, later)
        assert (report.people, report.tables["transactions"].tombstoned) == (2, 1)
        assert report.links is not None
        joined.append(report.links.joined)
    assert joined == [1, 0]
    assert shop.people("web-1", "till-9", "web-2") == 2


def test_who_differs_in_a_unique_field_stays_apart(shop: Shop) -> None:
    born = [dt.date(1990, 1, 1), dt.date(1985, 1, 1), None]
    people = [{**row, "born": day} for row, day in zip(TOGETHER, born, strict=True)]
    report = shop.ingest(people)
    assert report.links is not None
    assert report.links.conflicts == {"phone: customers.born": 2}
    assert report.links.joined == 0
    assert shop.people("web-1", "till-9") == 2
    assert shop.ingest(people, identity={"region": "CN"}).links.joined == 1  # type: ignore[union-attr]


def test_ids_of_many_and_ids_that_say_nothing_link_nobody(shop: Shop) -> None:
    people: list[Row] = [{"customer": f"c{n}", "phone": "010-65520000", "card": "000000"} for n in range(4)]
    people += [{"customer": f"d{n}", "email": "front@shop.cn"} for n in range(2)]
    report = shop.ingest(people, identity={"region": "CN", "junk": {"email": ["Front@shop.cn"]}})
    assert report.links is not None
    assert (report.links.joined, report.links.too_shared) == (0, {"phone": 1})
    assert report.links.junk == {"card": 1, "email": 1}
    wider = shop.ingest(people, identity={"region": "CN", "shared_by": 4})
    assert wider.links is not None
    assert (wider.links.joined, wider.links.persons) == (4, 2)


def test_an_account_may_name_another_account(shop: Shop) -> None:
    tables = document()["tables"]
    tables["customers"]["columns"]["card"]["identifies"] = "account"
    people: list[Row] = [{"customer": "new", "card": "web-1"}, {"customer": "other", "card": "nobody-known"}]
    assert shop.ingest(people, tables=tables).links.by_kind == {"account": 2}  # type: ignore[union-attr]
    assert shop.people("new", "web-1") == 1
    assert shop.people("other", "web-2", "till-9", "web-1") == 4


def test_a_device_links_only_together_with_another_and_stays_a_key(shop: Shop) -> None:
    tables = document()["tables"]
    columns = tables["customers"]["columns"]
    columns["device_id"] = {"from": "card", "sensitivity": "behavioural", "identifies": "device"}
    del columns["card"]
    seen = [("a", "d-71"), ("a", "d-72"), ("b", "d-71"), ("b", "d-72"), ("c", "d-72")]
    people: list[Row] = [{"customer": who, "card": device} for who, device in seen]
    report = shop.ingest(people, tables=tables)
    assert report.links is not None
    assert report.links.by_kind == {"device": 2}
    assert (shop.people("a", "b"), shop.people("a", "b", "c")) == (1, 2)
    stored = shop.home.paths.protected_store("till_and_web").read("customers")
    assert "device_token" in stored.column_names
    assert not {device for _, device in seen} & set(stored["device_token"].to_pylist())


def test_a_refused_ingest_takes_links_back_and_the_next_one_makes_them(shop: Shop) -> None:
    shop.ingest(APART)
    before = [shop.token(name) for name in ("web-1", "till-9")]
    bad = [{**line("web-1", f"x{n}", dt.date(1960, 1, 1), 1.0)} for n in range(3)]
    with pytest.raises(BadInput, match="before 1970"):
        shop.ingest(TOGETHER, [*LINES, *bad])
    assert [shop.token(name) for name in ("web-1", "till-9")] == before
    assert shop.people("web-1", "till-9") == 2
    shop.ingest(TOGETHER)
    assert shop.people("web-1", "till-9") == 1


def test_a_snapshot_that_cannot_be_written_links_nobody(shop: Shop) -> None:
    shop.ingest(APART)
    descriptor = shop.descriptor(TOGETHER)
    flags = shop.home.root / "inference"
    shutil.rmtree(flags)
    flags.write_text("no folder")
    with pytest.raises(EnvironmentFailed):
        shop.home.ingest(descriptor)
    assert shop.people("web-1", "till-9") == 2


def test_rows_in_another_order_give_the_same_people(shop: Shop, tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    people: list[Row] = [
        {"customer": f"c{n}", "email": f"m{draw.integers(60)}@shop.cn", "card": f"77{draw.integers(600, 690)}"}
        for n in range(60)
    ]
    lines = [line(f"c{n}", f"o{n}", dt.date(2024, 1, 1 + n % 28), 5.0) for n in range(60)]
    names = [str(row["customer"]) for row in people]
    first = shop.ingest(people, lines)
    other = Shop(tmp_path / "other")
    turned = {name: document()["tables"][name] for name in ("customers", "transactions")}
    second = other.ingest([*reversed(people)], [*reversed(lines)], tables=turned)
    assert first.links is not None
    assert first.links == second.links
    assert first.links.joined > 5
    assert first.people == second.people == 60 - first.links.joined
    groups = []
    for each in (shop, other):
        handles = [handle.tobytes() for handle in each.home.vault.find(pa.array(names))[0]]
        groups.append({frozenset(np.flatnonzero([one == handle for one in handles]).tolist()) for handle in handles})
    assert groups[0] == groups[1]


def test_a_shop_that_declares_nothing_reports_nothing(shop: Shop) -> None:
    tables = document()["tables"]
    for column in tables["customers"]["columns"].values():
        column.pop("identifies", None)
    given = {key: value for key, value in document().items() if key != "identity"} | {"tables": tables}
    report = shop.home.ingest(load_descriptor(str(write_identities(shop.folder / "plain", TOGETHER, LINES, given))))
    assert (report.links, report.people) == (None, 3)
