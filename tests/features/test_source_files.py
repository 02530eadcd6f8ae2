"""Files of a source: globs in a steady order, equal columns, names that look like patterns, bytes."""

from __future__ import annotations

import datetime as dt
import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import sources
from features.datasets.descriptor import Descriptor, load_descriptor, parse_descriptor
from features.source_files import matching
from privacy.errors import BadInput
from tests.shops import shop_document, write_descriptor

LINE = {
    "customer": "c1",
    "invoice": "i1",
    "ts": dt.datetime(2024, 1, 1, 9, tzinfo=dt.UTC),
    "quantity": 1.0,
    "price": 2.0,
    "stock": 7,
    "department": "dairy",
    "discount": 0.0,
}
HEAD = ",".join(LINE)


def part(path: Path, **changes: Any) -> None:
    """Write a parquet file of one line; a change to ... leaves a column out."""
    line = {name: value for name, value in {**LINE, **changes}.items() if value is not ...}
    pq.write_table(pa.Table.from_pylist([line]), path)


def reading(folder: Path, source: str, **columns: Any) -> Descriptor:
    document = shop_document()
    document["tables"] = {"transactions": {**document["tables"]["transactions"], "source": source}}
    document["tables"]["transactions"]["columns"].update(columns)
    return load_descriptor(str(write_descriptor(folder, document)))


def rows_of(descriptor: Descriptor, table: str = "transactions") -> list[dict[str, Any]]:
    return [row for batch in sources.batches(descriptor, descriptor.tables[table]) for row in batch.to_pylist()]


def test_the_files_of_a_glob_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in (10, 2, 1, 33):
        part(tmp_path / f"part-{number:03d}.parquet", invoice=f"i{number}")
    found = [row["order_id"] for row in rows_of(reading(tmp_path, "part-*.parquet"))]
    assert found == ["i1", "i2", "i10", "i33"]


@given(st.sets(st.text("ab[]?*0 'é", min_size=1, max_size=6), min_size=1, max_size=6))
def test_a_file_is_found_by_its_own_name_whatever_it_is(
    tmp_path_factory: pytest.TempPathFactory, names: set[str]
) -> None:
    folder = tmp_path_factory.mktemp("files")
    for name in names:
        (folder / f"{name}.csv").touch()
    for name in names:
        assert matching(folder, f"{name}.csv") == [folder / f"{name}.csv"]
    if "*" not in names:
        assert matching(folder, "*.csv") == sorted(folder.iterdir())


def test_a_name_with_brackets_is_read_as_itself_beside_one_that_it_would_match(tmp_path: Path) -> None:
    part(tmp_path / "l[1].parquet", invoice="brackets")
    part(tmp_path / "l1.parquet", invoice="plain")
    assert [row["order_id"] for row in rows_of(reading(tmp_path, "l[1].parquet"))] == ["brackets"]
    assert [row["order_id"] for row in rows_of(reading(tmp_path, "l*.parquet"))] == ["plain", "brackets"]


def test_csv_and_its_compressed_form_are_one_source(tmp_path: Path) -> None:
    folder = tmp_path / "orders"
    folder.mkdir()
    (folder / "a.csv").write_text(f"{HEAD}\n007,i1,2024-01-01,1,2,7,dairy,0\n")
    with gzip.open(folder / "b.csv.gz", "wt") as file:
        file.write(
            "invoice;customer;ts;quantity;price;stock;department;discount\ni2;8;2024-01-02;1,5;2;7;dairy;0\n".replace(
                "1,5", "2"
            )
        )
    found = rows_of(reading(tmp_path, "orders/*.csv*"))
    assert [(row["customer_id"], row["order_id"], row["amount"]) for row in found] == [
        ("007", "i1", 2.0),
        ("8", "i2", 4.0),
    ]


def test_files_must_have_equal_columns(tmp_path: Path) -> None:
    part(tmp_path / "part-1.parquet")
    part(tmp_path / "part-2.parquet", discount=..., voucher="x")
    with pytest.raises(BadInput) as raised:
        rows_of(reading(tmp_path, "part-*.parquet"))
    assert "the files don't have equal columns: 'part-2.parquet' has no column 'discount' (and 1 more)" in str(
        raised.value
    )


@pytest.mark.parametrize(
    ("column", "value", "equal"), [("customer", 7, False), ("stock", 7.5, True), ("department", None, True)]
)
def test_parts_of_parquet_must_mean_the_same(tmp_path: Path, column: str, value: object, *, equal: bool) -> None:
    part(tmp_path / "part-1.parquet")
    part(tmp_path / "part-2.parquet", **{column: value})
    descriptor = reading(tmp_path, "part-*.parquet")
    if equal:
        assert len(rows_of(descriptor)) == 2
        return
    with pytest.raises(BadInput, match=r"'part-2.parquet' has numbers in column 'customer', 'part-1.parquet' has text"):
        rows_of(descriptor)


@pytest.mark.parametrize("pattern", ["**x/*.csv", "gone/*.csv", "[", "a\0*.csv", "lines.parquet/*.csv"])
def test_a_pattern_that_finds_nothing_gets_one_line(tmp_path: Path, pattern: str) -> None:
    part(tmp_path / "lines.parquet")
    descriptor = reading(tmp_path, "lines.parquet")
    document = shop_document()
    document["tables"] = {"transactions": {**document["tables"]["transactions"], "source": pattern}}
    descriptor = parse_descriptor(document, tmp_path, "shop.yaml")
    with pytest.raises(BadInput, match=r"table 'transactions': (no file|.* is no pattern of files)"):
        rows_of(descriptor)


def test_bytes_are_refused_whatever_type_is_declared(tmp_path: Path) -> None:
    part(tmp_path / "lines.parquet", department=b"\xff\x00")
    for more in ({}, {"type": "string"}):
        column = {"from": "department", "sensitivity": "behavioural", **more}
        with pytest.raises(BadInput, match=r"column 'transactions.category' holds bytes"):
            rows_of(reading(tmp_path, "lines.parquet", category=column))


def test_sources_may_start_from_another_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    part(tmp_path / "data" / "lines.parquet")
    document = {**shop_document(), "folder": "data"}
    document["tables"].pop("customers")
    (tmp_path / "here").mkdir()
    descriptor = load_descriptor(str(write_descriptor(tmp_path, document)))
    assert len(rows_of(descriptor)) == 1
    moved = load_descriptor(str(write_descriptor(tmp_path / "here", {**document, "folder": "../data"})))
    assert len(rows_of(moved)) == 1
    assert moved.digest() == descriptor.digest()
