"""Marked lines: gone before anything is added up, counted, their people's days sealed and erasable."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.datasets.descriptor import Descriptor, load_descriptor
from features.marking import propose
from privacy.errors import BadInput, EnvironmentFailed
from tests.shops import make_shop, shop_document, write_descriptor

from .conftest import Home

TYPES = {number: "Diapers" if number <= 20 else "奶粉" if number <= 25 else "Bread" for number in range(1, 201)}
MARKS: dict[str, Any] = {
    "infant": {"products.kind": [" diapers", "奶粉", "Prams"]},
    "health": {"transactions.category": ["household"]},
}


def marked_shop(folder: Path, inference: dict[str, Any] | None = None, customers: int = 12) -> Descriptor:
    """A shop with products, of which numbers 1 to 25 are for infants, and no mark unless `inference` says so."""
    make_shop(folder, customers=customers)
    products = [{"stock": number, "kind": kind} for number, kind in TYPES.items()]
    pq.write_table(pa.Table.from_pylist(products), folder / "products.parquet")
    document = shop_document()
    document["tables"]["products"] = {
        "source": "products.parquet",
        "columns": {
            "product_id": {"from": "stock", "sensitivity": "non_personal"},
            "kind": {"from": "kind", "sensitivity": "non_personal"},
        },
    }
    if inference is not None:
        document["inference"] = inference
    return load_descriptor(str(write_descriptor(folder, document)))


def test_marked_lines_never_reach_a_protected_table(home: Home, tmp_path: Path) -> None:
    descriptor = marked_shop(tmp_path / "shop", MARKS)
    source = pq.read_table(tmp_path / "shop" / "lines.parquet").to_pylist()
    infant = [row for row in source if row["stock"] <= 25]
    health = [row for row in source if row["department"] == "household"]
    either = [row for row in source if row["stock"] <= 25 or row["department"] == "household"]
    report = home.ingest(descriptor)
    lines = report.tables["transactions"]
    assert (lines.marked, lines.marked_by) == (len(either), {"infant": len(infant), "health": len(health)})
    assert lines.kept == lines.rows_in - len(either)
    assert report.tables["products"].marked == 25
    assert report.unmatched == ["infant: products.kind 'Prams'"]

    store = home.paths.protected_store(descriptor.name)
    kept = store.read("transactions")
    assert min(kept["product_id"].to_pylist()) > 25
    assert "household" not in kept["category"].to_pylist()
    total = sum(row["quantity"] * row["price"] for row in source if row not in either)
    assert sum(kept["amount"].to_pylist()) == pytest.approx(total)
    assert set(store.read("products")["kind"].to_pylist()) == {"Bread"}
    everything = b"".join(path.read_bytes() for path in home.root.rglob("*") if path.is_file())
    assert not [word for word in ("Diapers", "奶粉") if word.encode() in everything]


def test_the_flags_are_the_days_of_marked_baskets_and_nothing_else(home: Home, tmp_path: Path) -> None:
    descriptor = marked_shop(tmp_path / "shop", MARKS)
    home.ingest(descriptor)
    source = pq.read_table(tmp_path / "shop" / "lines.parquet").to_pylist()
    mine = {(row["invoice"], row["ts"].date()) for row in source if row["customer"] == "c00003" and row["stock"] <= 25}
    subject = home.subject("c00003")
    told = [row for row in home.flags.export(subject) if row["attribute"] == "infant"]
    assert sorted(row["date"] for row in told) == sorted(day.isoformat() for _, day in mine)  # type: ignore[type-var]
    assert {frozenset(row) for row in told} == {frozenset({"dataset", "attribute", "date"})}
    sealed = home.flags.place(descriptor.name).read_bytes()
    assert b"infant" not in sealed
    assert subject.tokens[0].encode() not in sealed


def test_who_bought_often_enough_before_a_moment(home: Home, tmp_path: Path) -> None:
    descriptor = marked_shop(tmp_path / "shop", MARKS)
    home.ingest(descriptor)
    moment = dt.datetime(2023, 9, 1, tzinfo=dt.UTC)
    first = dt.date(2023, 9, 1) - dt.timedelta(days=112)
    source = pq.read_table(tmp_path / "shop" / "lines.parquet").to_pylist()
    baskets: dict[str, set[tuple[str, dt.date]]] = {}
    for row in source:
        if row["stock"] <= 25 and first <= row["ts"].date() < moment.date():
            baskets.setdefault(row["customer"], set()).add((row["invoice"], row["ts"].date()))
    expected = {home.subject(who).tokens[0] for who, bought in baskets.items() if len(bought) >= 2}
    assert expected
    assert home.flags.held_at(descriptor.name, "infant", moment, days=112, baskets=2) == expected


def test_flags_die_with_the_person_and_a_missing_file_is_told(home: Home, tmp_path: Path) -> None:
    descriptor = marked_shop(tmp_path / "shop", MARKS)
    home.ingest(descriptor)
    victim, other = home.subject("c00003"), home.subject("c00004")
    before, others = home.flags.count(victim), home.flags.count(other)
    assert before > 0
    assert others > 0
    assert home.flags.erase(victim) == before
    assert (home.flags.verify(victim), home.flags.erase(victim), home.flags.count(other)) == (0, 0, others)
    place = home.flags.place(descriptor.name)
    sealed = bytearray(place.read_bytes())
    sealed[-1] ^= 1
    place.write_bytes(sealed)
    with pytest.raises(EnvironmentFailed, match="inference flags is damaged"):
        home.flags.count(other)
    place.unlink()
    with pytest.raises(EnvironmentFailed, match="flags are gone"):
        home.flags.held_at(descriptor.name, "infant", dt.datetime(2023, 9, 1, tzinfo=dt.UTC), days=112, baskets=2)


def test_what_a_killed_writer_left_goes_with_the_next(home: Home, tmp_path: Path) -> None:
    descriptor = marked_shop(tmp_path / "shop", MARKS)
    home.ingest(descriptor)
    place = home.flags.place(descriptor.name)
    stale = place.with_name(f".{place.name}.abcdef.tmp")
    stale.write_bytes(b"half of it")
    size = home.flags.size(descriptor.name)
    home.ingest(descriptor)
    assert not stale.exists()
    assert home.flags.size(descriptor.name) == size


def test_a_refused_ingest_leaves_the_flags_as_they_were(home: Home, tmp_path: Path) -> None:
    descriptor = marked_shop(tmp_path / "shop", MARKS)
    home.ingest(descriptor)
    before = home.flags.place(descriptor.name).read_bytes()
    rows = pq.read_table(tmp_path / "shop" / "lines.parquet").to_pylist()
    pq.write_table(pa.Table.from_pylist([{**row, "ts": None} for row in rows]), tmp_path / "shop" / "lines.parquet")
    with pytest.raises(BadInput):
        home.ingest(descriptor)
    assert home.flags.place(descriptor.name).read_bytes() == before


def test_a_shop_that_marks_nothing_keeps_all_lines_and_flags_nobody(home: Home, tmp_path: Path) -> None:
    marked = marked_shop(tmp_path / "shop", MARKS)
    home.ingest(marked)
    descriptor = marked_shop(tmp_path / "shop")
    lines = home.ingest(descriptor).tables["transactions"]
    assert (lines.marked, lines.marked_by, lines.kept) == (0, {}, lines.rows_in)
    assert home.flags.count(home.subject("c00003")) == 0


def test_somebody_who_bought_marked_lines_only_can_be_erased(home: Home, tmp_path: Path) -> None:
    marked_shop(tmp_path / "shop", MARKS)
    path = tmp_path / "shop" / "lines.parquet"
    rows = pq.read_table(path).to_pylist()
    for row in rows:
        row["stock"] = 3 if row["customer"] == "c00007" else 100
    pq.write_table(pa.Table.from_pylist(rows), path)
    descriptor = load_descriptor(str(tmp_path / "shop" / "shop.yaml"))
    home.ingest(descriptor)
    subject = home.subject("c00007")
    store = home.paths.protected_store(descriptor.name)
    assert subject.tokens[0] not in store.read("transactions")["customer_token"].to_pylist()
    assert home.flags.erase(subject) > 0


def test_words_propose_and_nothing_is_applied(home: Home, tmp_path: Path) -> None:
    descriptor = marked_shop(tmp_path / "shop")
    proposed = propose(descriptor)
    assert proposed == {"infant": {"products.kind": ["Diapers", "奶粉"]}}
    assert home.ingest(descriptor).tables["transactions"].marked == 0
    accepted = marked_shop(tmp_path / "shop", proposed)
    assert home.ingest(accepted).tables["products"].marked == 25


FAULTS: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda d: d.update(inference={"infants": MARKS["infant"]}), "inference: unknown attribute 'infants'"),
    (lambda d: d.update(inference={"infant": {"products.aisle": ["x"]}}), "there is no column 'products.aisle'"),
    (lambda d: d.update(inference={"infant": {"customers.name": ["x"]}}), "'customers.name' is no column of a table"),
    (lambda d: d.update(inference={"infant": {"transactions.customer_id": ["x"]}}), "names people, not lines"),
    (lambda d: d.update(inference={"infant": {"products.kind": []}}), "inference.infant.products.kind"),
    (lambda d: d.update(inference={"infant": {}}), "inference.infant"),
    (lambda d: d["tables"]["transactions"]["columns"].pop("product_id"), "'transactions' has no column 'product_id'"),
]


@pytest.mark.parametrize(("fault", "told"), FAULTS, ids=[told for _, told in FAULTS])
def test_a_mark_that_cannot_hold_is_refused_by_its_place(
    tmp_path: Path, fault: Callable[[dict[str, Any]], object], told: str
) -> None:
    marked_shop(tmp_path / "shop")
    document = shop_document() | {"inference": {"infant": MARKS["infant"]}}
    document["tables"]["products"] = {
        "source": "products.parquet",
        "columns": {
            "product_id": {"from": "stock", "sensitivity": "non_personal"},
            "kind": {"from": "kind", "sensitivity": "non_personal"},
        },
    }
    fault(document)
    with pytest.raises(BadInput) as raised:
        load_descriptor(str(write_descriptor(tmp_path / "shop", document)))
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)
