"""Quality by hand: what is missing, refused, repeated, dangling, returned or late is counted, each in its dimension."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import sources, table_writer
from features.contracts import Contract
from features.datasets.descriptor import Descriptor
from features.quality.magnitudes import Magnitudes
from features.quality.scores import Measure, TableScores
from features.quality.stored import whole_tables
from privacy.errors import BadInput
from tests.shops import shop_document

from .conftest import NOW, Home
from .scored import Rows, bad, hand_made, line, metered, person, with_products

NAN, INF = float("nan"), float("inf")
LINES: Rows = [
    line(day=0),
    line(day=1, department=""),
    line(day=2, department="\u3000 "),  # an ideographic blank
    line(day=3, department=None),
    line(day=4, price=NAN),
    line(day=5, price=INF),  # not finite and too large: one bad value
    line(day=60),  # in the future
    line(day=7, quantity=-1.0, department="茶叶"),
    line(day=8, price=None),
    line(day=9.5, customer="王小明"),
]


def test_columns_by_hand(tmp_path: Path) -> None:
    found = metered(hand_made(tmp_path, LINES, [person()]))
    assert found.rows == 10
    assert bad(found, "completeness") == {"category": 3, "amount": 1, "discount": 10}
    assert bad(found, "validity") == {"amount": 2, "ordered_at": 1}
    assert (found.returns, found.age_days) == (1, 12)  # the newest good row is of 19 December
    assert found.of_columns("completeness")["category"] == 0.7
    # Nothing is said of the values of a column that has none, nor of what only a whole table tells.
    assert "discount" not in found.of_columns("validity")
    assert {each.dimension for each in found.measures} == {"completeness", "validity"}
    assert found.score("completeness") == pytest.approx((10 * 8 - 14) / 80)
    assert found.outliers == {"amount": None, "quantity": None, "discount": None}  # all alike, or none at all


def test_what_cannot_be_read_is_invalid_and_not_missing(tmp_path: Path) -> None:
    lines = [line(discount=text) for text in ("0.5", "half", None, "1e3", "")]
    found = metered(hand_made(tmp_path, lines, [person()]))
    assert bad(found, "validity") == {"discount": 2}
    assert bad(found, "completeness") == {"discount": 1}


def computed_shop(folder: Path) -> Descriptor:
    """Five lines whose date and discount are computed from texts, by SQL that gives up on what it can't read."""
    document: dict[str, Any] = shop_document()
    columns = document["tables"]["transactions"]["columns"]
    columns["ordered_at"]["sql"] = "try_strptime(written, '%Y年%m月%d日')"
    columns["discount"]["sql"] = "try_cast(cut AS double) * quantity"
    for name in ("ordered_at", "discount"):
        del columns[name]["from"]
    lines = [
        line(written="2024年12月10日", cut="0.5"),
        line(written="2024/12/11", cut="half"),  # filled, and nothing computed
        line(written=None, cut=None),
        line(written="\u3000", cut=" "),
        line(written="2024年12月12日", cut="half", quantity=None),  # one of two cells is missing
    ]
    return hand_made(folder, lines, [person()], document)


def test_what_own_sql_makes_nothing_of_is_invalid_and_not_missing(tmp_path: Path) -> None:
    found = metered(computed_shop(tmp_path))
    assert bad(found, "validity") == {"ordered_at": 1, "discount": 1}
    assert bad(found, "completeness") == {"ordered_at": 2, "discount": 3, "quantity": 1, "amount": 1}
    assert (found.of_columns("validity")["ordered_at"], found.of_columns("completeness")["ordered_at"]) == (0.8, 0.6)


def test_only_a_needed_value_that_is_not_computed_makes_a_row_bad(home: Home, tmp_path: Path) -> None:
    descriptor = computed_shop(tmp_path / "shop")
    table = descriptor.tables["transactions"]
    [batch] = sources.batches(descriptor, table)
    failures = Contract(table, NOW).failures(batch).to_pylist()
    assert [(each["row"], each["column"], each["reason"]) for each in failures] == [
        (1, "ordered_at", "not computed"),
        (2, "ordered_at", "missing"),
        (3, "ordered_at", "missing"),
        (4, "amount", "missing"),
    ]
    with pytest.raises(BadInput, match=r"'transactions\.ordered_at' is missing in 2 of 5 rows"):
        home.ingest(descriptor)


def test_text_files_lose_what_is_no_number_to_own_sql(tmp_path: Path) -> None:
    document: dict[str, Any] = shop_document()
    document["tables"]["transactions"]["source"] = "lines.csv"
    descriptor = hand_made(tmp_path, [line()], [person()], document)
    prices = ["1.5"] * 18 + ["n/a", ""]
    rows = [f"ann,1,2024-12-10T09:00:00,2,{price},p1,tea," for price in prices]
    head = "customer,invoice,ts,quantity,price,stock,department,discount"
    (tmp_path / "lines.csv").write_text("\n".join([head, *rows]), "utf-8")
    found = metered(descriptor)
    assert (bad(found, "validity"), bad(found, "completeness")["amount"]) == ({"amount": 1}, 1)


def test_all_rows_bad_and_no_rows(tmp_path: Path) -> None:
    spoiled = [line(price=None, customer=" ") for _ in range(3)]
    found = metered(hand_made(tmp_path / "bad", spoiled, [person()]))
    assert bad(found, "completeness") == {"amount": 3, "customer_id": 3, "discount": 3}
    assert (found.score("validity"), found.returns, found.age_days) == (1.0, 0, None)
    empty = hand_made(tmp_path / "empty", [line()], [person()])
    lines = empty.base_dir / "lines.parquet"
    pq.write_table(pq.read_table(lines).slice(1), lines)
    found = metered(empty)
    assert (found.rows, found.score("completeness"), found.score("volume")) == (0, None, None)


def test_a_table_without_people(tmp_path: Path) -> None:
    goods = [
        {"stock": "p1", "department": "茶"},
        {"stock": "p2", "department": None},
        {"stock": "p3", "department": ""},
    ]
    found = metered(hand_made(tmp_path, [line()], [person()], with_products(), goods=goods), "products")
    assert bad(found, "completeness") == {"category": 2}
    assert (found.rows, found.age_days, found.returns) == (3, None, None)


@pytest.mark.parametrize(("days", "late"), [(1, 2), (2, 1), (0, 4)])
def test_late_rows_by_hand(days: int, late: int, tmp_path: Path) -> None:
    document = {**shop_document(), "quality": {"late_after_days": days}}
    booked = {"from": "booked", "type": "timestamp", "sensitivity": "behavioural"}
    document["tables"]["transactions"]["columns"]["created"] = booked
    came = [None, 0, 0.5, 1, 1.5, 2.01]  # at the limit is in time; before its day is odd, not late
    lines = [line(booked=None if after is None else line(day=after)["ts"]) for after in came]
    found = metered(hand_made(tmp_path, lines, [person()], document))
    assert bad(found, "timeliness") == {"created": late}
    assert found.score("timeliness") == (6 - late) / 6


def test_volume_is_what_came_of_the_ingest_before() -> None:
    scores = [TableScores("transactions", 80, rows_before=before).score("volume") for before in (None, 160, 80, 8)]
    assert scores == [None, 0.5, 1.0, 1.0]


def test_outliers_are_those_of_the_exact_modified_z_score() -> None:
    draw = np.random.default_rng(5)
    values = np.concatenate([draw.lognormal(3, 0.6, 5_000), [4_000.0, -9_000.0, 0.001, 1e9], np.zeros(300)])
    logs = np.log(np.abs(values[values != 0]))
    distances = np.abs(logs - np.median(logs))
    scores = 0.6745 * distances / np.median(distances)
    counted = Magnitudes()
    for part in np.array_split(values, 7):
        counted.add(pa.array(part))
    # A class is 1.6 % wide: within a tenth of the limit it may decide either way.
    assert 4 <= int((scores > 3.6).sum()) <= (counted.outliers() or 0) <= int((scores > 3.4).sum()) <= 12


def test_nothing_lies_far_off_where_most_are_alike() -> None:
    counted = Magnitudes()
    assert counted.outliers() is None
    counted.add(pa.array([1.0] * 60 + [2.0] * 40 + [None], pa.float64()))
    assert counted.outliers() is None


def whole(home: Home, descriptor: Descriptor) -> dict[tuple[str, str, str], int]:
    """What the published tables tell, by table, column and dimension."""
    home.ingest(descriptor)
    store = home.paths.protected_store(descriptor.name)
    files = {name: store.files(name) for name in descriptor.tables}
    return {
        (table, each.column, each.dimension): each.bad for table, each in whole_tables(descriptor, files, returned=True)
    }


def test_whole_tables_by_hand(home: Home, tmp_path: Path) -> None:
    lines = [
        line("ann", "1", 0),
        line("ann", "1", 0),  # the same line again
        line("ann", "1", 0, price=11.0),
        line("ann", "2", 1, quantity=-1.0),  # bought before
        line("bob", "1", 1, quantity=-1.0),  # bought later only
        line("bob", "1", 2, stock="p9"),  # there is no such product
        line("bob", "3", 2, price=-3.0),  # at the instant of a purchase
        line("cai", "4", 3, price=-5.0, stock=None),  # never bought; no product named
        line("cai", "5", 4, price=0.0),  # a gift is no purchase
        line("cai", "5", 5, price=-1.0),
        line("dan", "1", 6),  # not among the customers
    ]
    people = [person("ann"), person("bob"), person("bob", name="Bob"), person("cai")]
    goods = [{"stock": stock, "department": "tea"} for stock in ("p1", "p2", "p2", "p2", None)]
    descriptor = hand_made(tmp_path / "shop", lines, people, with_products(), goods=goods)
    assert whole(home, descriptor) == {
        ("transactions", "", "uniqueness"): 1,
        ("transactions", "customer_id", "consistency"): 1,
        ("transactions", "product_id", "consistency"): 1,
        ("transactions", "amount", "consistency"): 3,
        ("customers", "customer_id", "uniqueness"): 1,
        ("products", "product_id", "uniqueness"): 2,
    }


def spoiled_shop(folder: Path) -> tuple[Descriptor, dict[tuple[str, str, str], int]]:
    """A shop of two hundred people full of contradictions, and how many there are, counted the plain way."""
    draw = np.random.default_rng(11)
    lines = [
        line(
            f"c{draw.integers(200)}", f"{draw.integers(3)}", int(draw.integers(4)), quantity=float(draw.choice([1, -1]))
        )
        | {"stock": f"p{draw.integers(30)}"}
        for _ in range(3_000)
    ]
    people = [person(f"c{number}") for number in [*range(150), *range(20)]]
    goods = [{"stock": f"p{number}", "department": "tea"} for number in range(25)]
    seen = Counter(tuple(each.values()) for each in lines)
    first: dict[str, dt.datetime] = {}
    for each in lines:
        if each["quantity"] > 0:
            first[each["customer"]] = min(each["ts"], first.get(each["customer"], each["ts"]))
    never = dt.datetime.max.replace(tzinfo=dt.UTC)
    return hand_made(folder, lines, people, with_products(), goods=goods), {
        ("transactions", "", "uniqueness"): seen.total() - len(seen),
        ("transactions", "customer_id", "consistency"): sum(int(each["customer"][1:]) >= 150 for each in lines),
        ("transactions", "product_id", "consistency"): sum(int(each["stock"][1:]) >= 25 for each in lines),
        ("transactions", "amount", "consistency"): sum(
            each["quantity"] < 0 and each["ts"] < first.get(each["customer"], never) for each in lines
        ),
        ("customers", "customer_id", "uniqueness"): 20,
        ("products", "product_id", "uniqueness"): 0,
    }


@pytest.mark.parametrize("rows", [4_000_000, 1_600])
def test_whole_tables_are_counted_alike_in_one_file_and_in_many(
    rows: int, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_writer, "BUCKET_ROWS", rows)
    monkeypatch.setattr("features.sources.BATCH_ROWS", 512)
    descriptor, expected = spoiled_shop(tmp_path / "shop")
    assert whole(home, descriptor) == expected
    files = home.paths.protected_store(descriptor.name).files("transactions")
    assert len(files) == 1 if rows > 3_000 else len(files) > 64


def test_keys_and_masks_are_compared_only_where_they_can_be(home: Home, tmp_path: Path) -> None:
    document: dict[str, Any] = shop_document()
    document["tables"]["interactions"] = {
        "source": "calls.parquet",
        "columns": {
            "customer_id": {"from": "customer", "sensitivity": "direct_identifier"},
            "happened_at": {"from": "ts", "sensitivity": "behavioural"},
            "kind": {"from": "kind", "sensitivity": "behavioural"},
            "order_id": {"from": "invoice", "sensitivity": "behavioural", "references": "transactions.order_id"},
            "about": {"from": "stock", "sensitivity": "behavioural", "mask": "redact",
                      "references": "transactions.product_id"},
        },
    }  # fmt: skip
    calls = [
        {"customer": customer, "ts": line()["ts"], "kind": "service", "invoice": invoice, "stock": "p7"}
        for customer, invoice in (("ann", "1"), ("ann", "2"), ("bob", "1"), ("bob", "1"), ("eve", None))
    ]
    lines = [line("ann", "1"), line("bob", "2")]
    people = [person("ann"), person("bob")]
    found = whole(home, hand_made(tmp_path / "shop", lines, people, document, calls=calls))
    assert {place: count for place, count in found.items() if place[0] == "interactions"} == {
        ("interactions", "", "uniqueness"): 1,
        ("interactions", "customer_id", "consistency"): 1,
        ("interactions", "order_id", "consistency"): 3,  # ann's order 1 is neither ann's 2 nor bob's 1
    }


def test_the_score_of_a_table_is_the_mean_of_its_columns() -> None:
    measures = [Measure("a", "validity", 5), Measure("b", "validity", 0), Measure("a", "completeness", 1)]
    found = TableScores("transactions", 10, measures)
    assert (found.score("validity"), found.score("completeness"), found.score("uniqueness")) == (0.75, 0.9, None)
