"""What a source can have wrong, in any of its tables: one clear line, and what was published stays as it was."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.storage import TableStore
from tests.home import Home
from tests.shops import make_shop, shop_document, write_descriptor

Fault = Callable[[dict[str, Any], Path], object]
LINES, PEOPLE = "lines.parquet", "people.parquet"


def table(document: dict[str, Any], name: str = "transactions") -> dict[str, Any]:
    return document["tables"][name]


def written(document: dict[str, Any], file: Path, data: bytes, source: str | None = None) -> None:
    """Put `data` where `transactions` read it from."""
    file.write_bytes(data)
    table(document)["source"] = source or file.name


def csv(folder: Path, rows: slice = slice(None), encoding: str = "utf-8") -> bytes:
    lines = pd.read_parquet(folder / LINES)[rows]
    return lines.assign(department="乳制品").to_csv(index=False).encode(encoding)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def in_a_circle(document: dict[str, Any], _: Path) -> None:
    table(document)["columns"]["product_id"]["references"] = "customers.name"
    table(document, "customers")["columns"]["email"]["references"] = "transactions.category"


def files_in_two_encodings(document: dict[str, Any], folder: Path) -> None:
    written(document, folder / "part-1.csv", csv(folder, slice(20)), "part-*.csv")
    (folder / "part-2.csv").write_bytes(csv(folder, slice(20, None), "gb18030"))


def one_file_in_two_encodings(document: dict[str, Any], folder: Path) -> None:
    rest = csv(folder, slice(20, None), "gb18030").partition(b"\n")[2]
    written(document, folder / "lines.csv", csv(folder, slice(20)) + rest)


def a_packed_file_cut_in_half(document: dict[str, Any], folder: Path) -> None:
    written(document, folder / "lines.csv.gz", cut(gzip.compress(csv(folder))))


def one_of_two_files_cut_in_half(document: dict[str, Any], folder: Path) -> None:
    whole = (folder / LINES).read_bytes()
    written(document, folder / "part-1.parquet", whole, "part-*.parquet")
    (folder / "part-2.parquet").write_bytes(cut(whole))


def people_cut_in_half(_: dict[str, Any], folder: Path) -> None:
    (folder / PEOPLE).write_bytes(cut((folder / PEOPLE).read_bytes()))


def no_people(_: dict[str, Any], folder: Path) -> None:
    pq.write_table(pq.read_table(folder / PEOPLE).slice(0, 0), folder / PEOPLE)


def a_header_and_no_line(document: dict[str, Any], folder: Path) -> None:
    written(document, folder / "lines.csv", csv(folder).partition(b"\n")[0] + b"\n")


def not_a_byte(document: dict[str, Any], folder: Path) -> None:
    written(document, folder / "lines.csv", b"")


def everything_in_the_future(_: dict[str, Any], folder: Path) -> None:
    lines = pd.read_parquet(folder / LINES)
    lines.assign(ts=lines.ts + pd.Timedelta(days=9_000)).to_parquet(folder / LINES)


def all_people_bad(_: dict[str, Any], folder: Path) -> None:
    pd.read_parquet(folder / PEOPLE).assign(customer=" ").to_parquet(folder / PEOPLE)


def a_column_of_people_gone(document: dict[str, Any], _: Path) -> None:
    table(document, "customers")["columns"]["phone"]["from"] = "telephone"


def a_column_of_people_of_another_type(document: dict[str, Any], _: Path) -> None:
    table(document, "customers")["columns"]["birth_date"]["from"] = "name"


FAULTS: tuple[tuple[Fault, str], ...] = (
    (in_a_circle, "tables reference each other in a circle: transactions -> customers -> transactions"),
    (files_in_two_encodings, "table 'transactions' can't be read"),
    (one_file_in_two_encodings, "table 'transactions' can't be read"),
    (a_packed_file_cut_in_half, "table 'transactions' can't be read"),
    (one_of_two_files_cut_in_half, "`custos dataset check` names the file"),
    (people_cut_in_half, "table 'customers' can't be read"),
    (no_people, "table 'customers' is empty"),
    (a_header_and_no_line, "table 'transactions' is empty"),
    (not_a_byte, "table 'transactions' is empty"),
    (everything_in_the_future, "column 'transactions.ordered_at' is in the future in"),
    (all_people_bad, "column 'customers.customer_id' is blank in 8 of 8 rows"),
    (a_column_of_people_gone, "the source of table 'customers' has no column 'telephone' for 'phone'"),
    (a_column_of_people_of_another_type, "column 'customers.birth_date' is unparsable in 8 of 8 rows"),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = Home(tmp_path_factory.mktemp("published"))
    made.custos("ingest", str(make_shop(made.folder / "shop", customers=8)))
    return made


def published(home: Home) -> dict[str, Any]:
    return TableStore(home.path / "protected" / "corner_shop").manifest()


@pytest.mark.parametrize(("fault", "told"), FAULTS, ids=[case[0].__name__ for case in FAULTS])
def test_one_line_and_nothing_changes(home: Home, tmp_path: Path, fault: Fault, told: str) -> None:
    make_shop(tmp_path, customers=8)
    document, before = shop_document(), published(home)
    fault(document, tmp_path)
    home.custos("ingest", str(write_descriptor(tmp_path, document)), expect=2)
    (line,) = [line for line in home.spoken[-1].decode().splitlines() if line.startswith("custos: ")]
    assert told in line
    assert "unforeseen" not in line
    assert published(home) == before


def test_order_lines_that_come_twice_are_all_kept_and_told(tmp_path: Path) -> None:
    home, shop = Home(tmp_path), make_shop(tmp_path / "shop", customers=8)
    lines = pq.read_table(shop.parent / LINES)
    pq.write_table(pa.concat_tables([lines, lines]), shop.parent / LINES)
    told = home.custos("ingest", str(shop))
    assert f"transactions: {2 * lines.num_rows:,} rows in, {2 * lines.num_rows:,} kept, 0 quarantined" in told
    row = next(line for line in home.custos("quality").splitlines() if "the table" in line)
    assert "50.00 %" in row  # uniqueness: a source may well have two equal lines, so they are told and not dropped
    asked = {"tables": {"transactions": {"uniqueness": 0.9, "on_breach": "stop"}}}
    home.custos("ingest", str(write_descriptor(shop.parent, {**shop_document(), "quality": asked})), expect=1)
    assert "uniqueness of transactions is 0.5, wanted 0.9" in home.spoken[-1].decode()
