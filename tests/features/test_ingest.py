"""Sources, contract, quarantine and protection on real files."""

from __future__ import annotations

import datetime as dt
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from features.datasets.descriptor import Descriptor, load_descriptor
from privacy.errors import BadInput
from tests.shops import make_shop, shop_document, write_descriptor

from .conftest import NOW, Home

Make = Callable[..., Descriptor]


def change_lines(folder: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    path = folder / "lines.parquet"
    rows = pq.read_table(path).to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows), path)


def test_a_shop_goes_in_and_nothing_of_the_source_is_left(home: Home, shop: Make) -> None:
    descriptor = shop(customers=12)
    source = pq.read_table(descriptor.base_dir / "lines.parquet")
    report = home.ingest(descriptor)
    lines = report.tables["transactions"]
    assert (lines.rows_in, lines.kept, lines.quarantined) == (source.num_rows, source.num_rows, {})
    assert report.people == 12
    assert report.tables["customers"].columns_dropped == ["name", "email", "phone"]
    told = report.tables["profile"]
    assert (told.rows_in, told.kept, told.anonymity and told.anonymity["dropped"]) == (
        12,
        0,
        {
            "birth_date": "nothing is left of it at k=10: of 12 people 12 have it, 1 alike, in 12 different values; "
            "a hierarchy, a mask or a lower k (anonymity) may leave something",
        },
    )
    assert report.last_event == max(source["ts"].to_pylist())

    store = home.paths.protected_store(descriptor.name)
    assert sorted(store.manifest()["tables"]) == ["customers", "people", "transactions"]
    kept = store.read("transactions")
    assert kept.column_names == [
        "customer_token", "order_token", "ordered_at", "amount", "quantity", "product_id", "category", "discount",
    ]  # fmt: skip
    assert kept["ordered_at"].type == pa.timestamp("us", "UTC")
    assert sum(kept["amount"].to_pylist()) == pytest.approx(
        sum(q * p for q, p in zip(source["quantity"].to_pylist(), source["price"].to_pylist(), strict=True))
    )
    everything = b"".join(path.read_bytes() for path in store.root.rglob("*") if path.is_file())
    assert not [who for who in set(source["customer"].to_pylist()) if who.encode() in everything]


def test_the_same_shop_gives_the_same_digest_in_another_home(home: Home, shop: Make, tmp_path: Path) -> None:
    descriptor = shop(customers=12)
    other = Home.create(tmp_path / "other")
    first, second, again = home.ingest(descriptor), other.ingest(descriptor), home.ingest(descriptor)
    assert first.digest == second.digest == again.digest
    own = home.paths.protected_store(descriptor.name).read("transactions")
    foreign = other.paths.protected_store(descriptor.name).read("transactions")
    assert not set(own["customer_token"].to_pylist()) & set(foreign["customer_token"].to_pylist())


def test_bad_rows_are_sealed_with_their_reasons(home: Home, shop: Make) -> None:
    descriptor = shop(customers=20)
    spoiled: list[tuple[str, Any]] = [("ts", None), ("price", float("inf")), ("invoice", None), ("price", None)]

    def spoil(rows: list[dict[str, Any]]) -> None:
        for number, (column, value) in enumerate(spoiled):
            rows[number][column] = value
        rows[4]["ts"] = NOW + dt.timedelta(days=3)
        rows[5]["ts"] = dt.datetime(1901, 1, 1, tzinfo=dt.UTC)
        rows[6]["customer"] = "  "
        rows[7]["customer"] = None  # left out by `where`, not bad

    change_lines(descriptor.base_dir, spoil)
    written = pq.read_table(descriptor.base_dir / "lines.parquet").to_pylist()
    report = home.ingest(descriptor).tables["transactions"]
    assert report.quarantined == {
        "ordered_at: missing": 1,
        "amount: not a finite number": 1,
        "order_id: missing": 1,
        "amount: missing": 1,
        "ordered_at: in the future": 1,
        "ordered_at: before 1970": 1,
        "customer_id: blank": 1,
    }
    assert report.kept == report.rows_in - 7 == len(written) - 8

    sealed = (home.root / "quarantine" / descriptor.name / "transactions.sealed").read_bytes()
    assert written[0]["customer"].encode() not in sealed
    held = home.quarantine.read(descriptor.name, "transactions")
    assert held is not None
    assert held.num_rows == 7
    assert "cashier" not in held.column_names


def test_the_quarantine_finds_exports_and_erases_a_person(home: Home, shop: Make) -> None:
    descriptor = shop(customers=8)

    def spoil(rows: list[dict[str, Any]]) -> None:
        mine = [row for row in rows if row["customer"] == "c00003"]
        others = [row for row in rows if row["customer"] == "c00004"]
        for row in (*mine[:2], others[0]):
            row["ts"] = None

    change_lines(descriptor.base_dir, spoil)
    home.ingest(descriptor)
    quarantine, subject = home.quarantine, home.subject("c00003")
    assert quarantine.count(subject) == 2
    assert {row["custos reason"] for row in quarantine.export(subject)} == {"ordered_at: missing"}
    assert {row["customer_id"] for row in quarantine.export(subject)} == {"c00003"}
    assert quarantine.erase(subject) == 2
    assert quarantine.verify(subject) == 0
    assert quarantine.count(home.subject("c00004")) == 1


def test_too_many_bad_rows_publish_nothing(home: Home, shop: Make) -> None:
    descriptor = shop(customers=8)
    home.ingest(descriptor)
    store = home.paths.protected_store(descriptor.name)
    before = store.snapshot()

    def spoil(rows: list[dict[str, Any]]) -> None:
        for row in rows[: len(rows) // 8]:
            row["ts"] = None

    change_lines(descriptor.base_dir, spoil)
    with pytest.raises(BadInput, match=r"column 'transactions.ordered_at' is missing in \d+ of \d+ rows"):
        home.ingest(descriptor)
    assert store.snapshot() == before
    assert home.quarantine.read(descriptor.name, "transactions") is None


def test_a_refused_ingest_leaves_the_vault_as_it_was(home: Home, shop: Make) -> None:
    home.ingest(shop(customers=4))
    people, keys = len(home.vault), home.vault.keys_held()
    before = [home.vault.record(home.subject(f"c0000{number}").handle) for number in range(1, 5)]
    grown = shop(customers=12)

    def spoil(rows: list[dict[str, Any]]) -> None:
        for row in rows[: len(rows) // 8]:
            row["ts"] = None

    change_lines(grown.base_dir, spoil)
    with pytest.raises(BadInput, match="is missing in"):
        home.ingest(grown)
    assert (len(home.vault), home.vault.keys_held()) == (people, keys)
    assert [home.vault.record(home.subject(f"c0000{number}").handle) for number in range(1, 5)] == before
    assert not home.vault.find(pa.array([f"c{number:05d}" for number in range(5, 13)]))[1].any()
    assert home.ingest(shop(customers=12)).people == 12


def csv_shop(folder: Path, body: str, **changes: Any) -> Descriptor:
    folder.mkdir(exist_ok=True)
    with gzip.open(folder / "lines.csv.gz", "wt", encoding="utf-8") as file:
        file.write(body)
    document = {**shop_document(), **changes}
    document["tables"] = {"transactions": document["tables"]["transactions"]}
    document["tables"]["transactions"]["source"] = "*.csv.gz"
    return load_descriptor(str(write_descriptor(folder, document)))


HEAD = "customer,invoice,ts,quantity,price,stock,department,discount\n"


def test_text_files_keep_ids_as_written_and_times_are_the_shops(home: Home, tmp_path: Path) -> None:
    body = "007,i1,2024-03-30 23:30:00,1,2.5,9,x,0\n007,i2,2024-03-31 12:00:00,2,2.5,9,x,\n"
    body += "8,i3,2024-03-31T12:00:00+02:00,1,1,9,,0\n"
    home.ingest(csv_shop(tmp_path / "shop", HEAD + body, time_zone="Europe/Berlin"))
    kept = home.paths.protected_store("corner_shop").read("transactions")
    found = sorted(zip(kept["ordered_at"].to_pylist(), kept["amount"].to_pylist(), strict=True))
    assert [(moment.isoformat(), amount) for moment, amount in found] == [
        ("2024-03-30T22:30:00+00:00", 2.5),
        ("2024-03-31T10:00:00+00:00", 1.0),
        ("2024-03-31T10:00:00+00:00", 5.0),
    ]
    _, known = home.vault.find(pa.array(["007", "8", "7"]))
    assert known.tolist() == [True, True, False]


def test_unparsable_times_name_the_column_and_quote_nothing(home: Home, tmp_path: Path) -> None:
    body = "7,i1,the third of May,1,2.5,9,x,0\n8,i2,2024-03-31,1,1,9,x,0\n"
    with pytest.raises(BadInput) as raised:
        home.ingest(csv_shop(tmp_path / "shop", HEAD + body))
    told = str(raised.value)
    assert "column 'transactions.ordered_at' is unparsable in 1 of 2 rows" in told
    assert "May" not in told


def test_the_quarantine_keeps_what_was_written(home: Home, tmp_path: Path) -> None:
    body = "".join(f"{n},i{n},2024-03-{n + 1:02d},1,2.5,9,x,0\n" for n in range(15))
    home.ingest(csv_shop(tmp_path / "shop", HEAD + body + "7,i99,2024-03-04,1,2.5,9,x,none\n"))
    held = home.quarantine.read("corner_shop", "transactions")
    assert held is not None
    assert held.select(["customer_id", "discount", "custos reason"]).to_pylist() == [
        {"customer_id": "7", "discount": "none", "custos reason": "discount: unparsable"}
    ]


def _source(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["tables"]["transactions"].update(source=name)


FAULTS: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (_source("gone.parquet"), "table 'transactions': no file 'gone.parquet'"),
    (_source("shop.yaml"), "table 'transactions': can't read 'shop.yaml'"),
    (_source("half.parquet"), "table 'transactions' can't be read"),
    (_source("empty.parquet"), "table 'transactions' is empty"),
    (_source("tests.shops:nothing"), "there is no loader 'tests.shops:nothing'"),
    (
        lambda d: d["tables"]["transactions"]["columns"]["category"].update({"from": "aisle"}),
        "the source of table 'transactions' has no column 'aisle' for 'category'",
    ),
    (
        lambda d: d["tables"]["transactions"]["columns"]["amount"].update(sql="quantity * cost"),
        "table 'transactions': no column 'cost' in its source",
    ),
    (lambda d: d["tables"]["transactions"].update(where="customer = 'nobody'"), "table 'transactions' is empty"),
    (
        lambda d: d["tables"]["transactions"]["columns"]["ordered_at"].update({"from": "price"}),
        "column 'transactions.ordered_at' is no time in the source",
    ),
    (
        lambda d: d["tables"]["transactions"]["columns"].update(order_id={"sql": "3.5", "sensitivity": "behavioural"}),
        "column 'transactions.order_id' is an id but neither an integer nor a text",
    ),
    (
        lambda d: d["tables"]["customers"].update(dated_by="name"),
        "column 'customers.name' dates the rows but is no time",
    ),
]


@pytest.mark.parametrize(("fault", "told"), FAULTS, ids=[told for _, told in FAULTS])
def test_bad_input_gets_one_clear_line(
    home: Home, tmp_path: Path, fault: Callable[[dict[str, Any]], object], told: str
) -> None:
    folder = tmp_path / "shop"
    whole = make_shop(folder, customers=4).with_name("lines.parquet")
    (folder / "half.parquet").write_bytes(whole.read_bytes()[:700])
    pq.write_table(pq.read_table(whole).slice(0, 0), folder / "empty.parquet")
    document = shop_document()
    fault(document)
    descriptor = load_descriptor(str(write_descriptor(folder, document)))
    with pytest.raises(BadInput) as raised:
        home.ingest(descriptor)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)
    assert home.paths.protected_store(descriptor.name).snapshot() is None


def test_people_erased_before_are_not_taken_in_again(home: Home, shop: Make) -> None:
    descriptor = shop(customers=6)
    home.ingest(descriptor)
    handle = home.subject("c00002").handle
    home.vault.bury(pa.array(["c00002"]), NOW, "r-1")
    home.vault.sever(handle, "r-1")
    report = home.ingest(descriptor)
    assert report.people == 5
    assert report.tables["transactions"].tombstoned > 0


def test_an_order_may_be_known_by_its_time_alone(home: Home, tmp_path: Path) -> None:
    document = shop_document()
    columns = document["tables"]["transactions"]["columns"]
    columns["order_id"] = {"from": "ts", "type": "string", "sensitivity": "behavioural"}
    make_shop(tmp_path / "shop", customers=4)
    home.ingest(load_descriptor(str(write_descriptor(tmp_path / "shop", document))))
    kept = home.paths.protected_store("corner_shop").read("transactions").to_pandas()
    assert (kept.groupby("order_token")["ordered_at"].nunique() == 1).all()
    assert kept["order_token"].nunique() == kept.groupby(["customer_token", "ordered_at"]).ngroups
    columns["ticket"] = {"from": "ts", "sensitivity": "behavioural"}
    with pytest.raises(BadInput, match=r"'transactions.ticket' reads a source column that identifies"):
        home.ingest(load_descriptor(str(write_descriptor(tmp_path / "shop", document))))
