"""Bad rows: sealed, found by identity index alone, and never a way back for the erased."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import quarantine
from features.datasets.descriptor import Descriptor, load_descriptor
from features.ingest_report import TableReport
from privacy.rights import Subject
from tests.shops import make_shop, shop_document, write_descriptor

from .conftest import NOW, Home
from .pushes import push
from .test_ingest import Make, change_lines


def spoil_lines_of(
    person: str, column: str, value: Any, rows: int | None = 2
) -> Callable[[list[dict[str, Any]]], object]:
    def spoil(lines: list[dict[str, Any]]) -> None:
        for row in [line for line in lines if line["customer"] == person][:rows]:
            row[column] = value

    return spoil


def nobody(home: Home, customer: str) -> Subject:
    """Someone whom only the source id can find."""
    return Subject((), b"", (home.keyring.index.of_ids(pa.array([customer]))[0].tobytes(),))


def accounted(report: TableReport) -> bool:
    return report.rows_in == report.kept + sum(report.quarantined.values()) + report.tombstoned


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("ts", None),
        ("price", None),
        ("ts", NOW + dt.timedelta(days=900)),
        ("ts", dt.datetime(1950, 1, 1, tzinfo=dt.UTC)),
    ],
    ids=["undated", "dated", "future", "past"],
)
def test_bad_rows_of_the_erased_stay_out(home: Home, shop: Make, column: str, value: Any) -> None:
    descriptor = shop(customers=12)
    change_lines(descriptor.base_dir, spoil_lines_of("c00002", column, value))
    change_lines(descriptor.base_dir, spoil_lines_of("c00003", column, value, 1))
    first = home.ingest(descriptor).tables["transactions"]
    subject = home.subject("c00002")
    assert (home.quarantine.count(subject), sum(first.quarantined.values()), first.tombstoned) == (2, 3, 0)
    home.vault.bury(pa.array(["c00002"]), NOW - dt.timedelta(days=1), "r-1")
    assert home.quarantine.erase(subject) == 2
    home.vault.sever(subject.handle, "r-1")

    again = home.ingest(descriptor).tables["transactions"]
    assert home.quarantine.count(nobody(home, "c00002")) == 0
    assert home.quarantine.count(home.subject("c00003")) == 1
    lines = pq.read_table(descriptor.base_dir / "lines.parquet", columns=["customer"])["customer"].to_pylist()
    assert again.tombstoned == lines.count("c00002")
    assert sum(again.quarantined.values()) == 1
    assert accounted(first)
    assert accounted(again)


def test_somebody_with_bad_rows_only_is_found_by_index(home: Home, shop: Make) -> None:
    descriptor = shop(customers=20)
    change_lines(descriptor.base_dir, lambda lines: lines.append({**lines[0], "customer": "ghost", "ts": None}))
    home.ingest(descriptor)
    ghost = nobody(home, "ghost")
    assert not home.vault.find(pa.array(["ghost"]))[1].any()
    assert home.quarantine.count(ghost) == 1
    assert home.quarantine.export(ghost)[0]["customer_id"] == "ghost"
    assert (home.quarantine.erase(ghost), home.quarantine.verify(ghost)) == (1, 0)


def test_the_other_stores_know_nobody_without_a_token(home: Home, shop: Make) -> None:
    descriptor = shop(customers=4)
    stores = [*home.gateway().subject_stores(), home.paths.protected_store("none_yet")]
    home.ingest(descriptor)
    home.build(descriptor)
    stores += home.gateway().subject_stores()
    assert len(stores) == 5
    ghost = nobody(home, "ghost")
    before = home.paths.protected_store(descriptor.name).snapshot()
    for store in stores:
        assert (store.count(ghost), store.export(ghost), store.erase(ghost), store.verify(ghost)) == (0, [], 0, 0)
    assert home.paths.protected_store(descriptor.name).snapshot() == before
    assert not (home.root / "protected" / "none_yet").exists()


@pytest.mark.parametrize(("column", "told"), [("customer", "customer_id: blank"), ("invoice", "order_id: blank")])
def test_an_empty_id_or_key_is_a_bad_row(home: Home, shop: Make, column: str, told: str) -> None:
    descriptor = shop(customers=8)
    change_lines(descriptor.base_dir, lambda lines: lines[0].update({column: ""}))
    report = home.ingest(descriptor).tables["transactions"]
    assert report.quarantined == {told: 1}
    held = home.quarantine.read(descriptor.name, "transactions")
    assert held is not None
    assert held[told.partition(":")[0]].to_pylist() == [""]


def test_no_column_of_a_shop_is_taken_for_ours(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    make_shop(folder, customers=8)
    document = shop_document()
    for name in ("reason", "subject_index", "table"):
        document["tables"]["transactions"]["columns"][name] = {"from": "department", "sensitivity": "behavioural"}
    descriptor = load_descriptor(str(write_descriptor(folder, document)))
    change_lines(folder, spoil_lines_of("c00001", "ts", None, 1))
    home.ingest(descriptor)
    [row] = home.quarantine.export(home.subject("c00001"))
    assert row["reason"] == row["subject_index"] == row["table"] == row["category"]
    assert (row["custos table"], row["custos reason"]) == ("transactions", "ordered_at: missing")


def test_a_table_that_left_the_shop_leaves_the_quarantine(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    make_shop(folder, customers=20)
    people = pq.read_table(folder / "people.parquet").to_pylist()
    people[0]["customer"] = " "
    pq.write_table(pa.Table.from_pylist(people), folder / "people.parquet")
    home.ingest(load_descriptor(str(folder / "shop.yaml")))
    assert home.quarantine.read("corner_shop", "customers") is not None
    document = shop_document()
    del document["tables"]["customers"]
    home.ingest(load_descriptor(str(write_descriptor(folder, document))))
    assert home.quarantine.read("corner_shop", "customers") is None


@pytest.mark.parametrize(("full", "files"), [(1, 3), (quarantine.PIECE_BYTES, 1)])
def test_what_is_pushed_is_sealed_beside_and_is_read_erased_and_replaced_with_the_rest(
    home: Home, shop: Make, monkeypatch: pytest.MonkeyPatch, full: int, files: int
) -> None:
    monkeypatch.setattr(quarantine, "PIECE_BYTES", full)
    descriptor = shop(customers=12)
    change_lines(descriptor.base_dir, spoil_lines_of("c00002", "ts", None))
    home.ingest(descriptor)
    folder = home.root / "quarantine" / descriptor.name
    ingested = (folder / "transactions.sealed").read_bytes()
    one, two = [
        {"customer_id": person, "order_id": "bad", "ordered_at": "soon", "amount": 1.0}
        for person in ("c00002", "c00003")
    ]
    for events in ([one], [two], [two, one], [one]):
        push(home, descriptor, events)
    assert len(list(folder.glob("*.sealed"))) == files
    assert ((folder / "transactions.sealed").read_bytes() == ingested) is (full == 1)
    held = home.quarantine.read(descriptor.name, "transactions")
    assert held is not None
    assert held.num_rows == home.quarantine.size(descriptor.name) == 4
    subject = home.subject("c00002")
    assert [row["custos table"] for row in home.quarantine.export(subject)] == ["transactions"] * 3
    assert (home.quarantine.count(subject), home.quarantine.erase(subject), home.quarantine.verify(subject)) == (
        3,
        3,
        0,
    )
    assert home.quarantine.size(descriptor.name) == home.quarantine.count(home.subject("c00003")) == 1
    home.ingest(descriptor)
    assert [file.name for file in folder.glob("*.sealed")] == ["transactions.sealed"]


def by_day(folder: Path, zone: str, source: str) -> Descriptor:
    document = {**shop_document(), "time_zone": zone}
    document["tables"] = {"transactions": document["tables"]["transactions"]}
    document["tables"]["transactions"]["source"] = source
    document["tables"]["transactions"]["columns"]["ordered_at"]["type"] = "date"
    return load_descriptor(str(write_descriptor(folder, document)))


@pytest.mark.parametrize("kind", ["text", "date", "naive", "aware"])
def test_days_of_orders_are_midnight_in_the_shops_zone(home: Home, tmp_path: Path, kind: str) -> None:
    days: dict[str, pa.Array] = {
        "text": pa.array(["2024-03-30", "2024-04-02"]),
        "date": pa.array([dt.date(2024, 3, 30), dt.date(2024, 4, 2)]),
        "naive": pa.array([dt.datetime(2024, 3, 30, 23, 59), dt.datetime(2024, 4, 2)]),  # noqa: DTZ001  a shop's own
        "aware": pa.array(
            [dt.datetime(2024, 3, 30, 22, 59, tzinfo=dt.UTC), dt.datetime(2024, 4, 2, 12, tzinfo=dt.UTC)]
        ),
    }
    one = {
        "quantity": [1.0, 1.0],
        "price": [2.0, 3.0],
        "stock": [1, 1],
        "department": ["x", "x"],
        "discount": [0.0, 0.0],
    }
    table = pa.table({"customer": ["a", "b"], "invoice": ["1", "2"], "ts": days[kind], **one})
    pq.write_table(table, tmp_path / "lines.parquet")
    report = home.ingest(by_day(tmp_path, "Europe/Berlin", "lines.parquet"))
    kept = home.paths.protected_store("corner_shop").read("transactions")
    assert kept["ordered_at"].type == pa.timestamp("us", "UTC")
    assert sorted(moment.isoformat() for moment in kept["ordered_at"].to_pylist()) == [
        "2024-03-29T23:00:00+00:00",
        "2024-04-01T22:00:00+00:00",
    ]
    assert report.to_dict()["first_event"] == "2024-03-29T23:00:00+00:00"


def test_what_is_no_day_is_unparsable(home: Home, tmp_path: Path) -> None:
    rows = "".join(f"{n},i{n},2024-03-{n + 1:02d},1,2.5,9,x,0\n" for n in range(15)) + "7,i99,someday,1,2.5,9,x,0\n"
    (tmp_path / "lines.csv").write_text("customer,invoice,ts,quantity,price,stock,department,discount\n" + rows)
    report = home.ingest(by_day(tmp_path, "UTC", "lines.csv"))
    assert report.tables["transactions"].quarantined == {"ordered_at: unparsable": 1}
