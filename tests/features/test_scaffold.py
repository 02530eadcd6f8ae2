"""Drafts of descriptors: what is proposed, what is left to a person, and that no value is written down."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from faker import Faker
from hypothesis import given, settings
from hypothesis import strategies as st

from features.checking.check import check
from features.checking.files import header_is_data
from features.datasets.descriptor import load_descriptor
from features.datasets.sample_shop import chinese_id
from features.scaffold.contents import contents_of
from features.scaffold.draft import draft
from features.scaffold.words import concept_of
from mlproject.cli import main
from privacy.errors import BadInput
from tests.shops import make_shop

from .conftest import NOW, Home

NAMES = [
    ("customer_id", "customer_id"), ("CustomerID", "customer_id"), ("household_key", "customer_id"),
    ("会员编号", "customer_id"), ("E-Mail", "email"), ("邮箱", "email"), ("mobile_no", "phone"), ("手机号码", "phone"),
    ("passport_no", "national_id"), ("身份证号", "national_id"), ("full_name", "name"), ("收货人", "name"),
    ("creditCard", "card"), ("银行卡号", "card"), ("IBAN", "iban"), ("home_address", "address"), ("住址", "address"),
    ("DOB", "birth_date"), ("出生日期", "birth_date"), ("sex", "gender"), ("邮编", "postal_code"),
    ("religion", "sensitive_detail"),
    ("病史", "sensitive_detail"), ("order_no", "order_id"), ("订单编号", "order_id"), ("InvoiceDate", "ordered_at"),
    ("下单时间", "ordered_at"), ("注册时间", "signed_up_at"), ("入网时间", "signed_up_at"),
    ("开户日期", "signed_up_at"), ("开户行", "iban"), ("实付金额", "amount"), ("qty", "quantity"),
    ("StockCode", "product_id"), ("商品编号", "product_id"), ("department", "category"), ("xyz", None), ("备注", None),
    ("product_name", None), ("average", None), ("image", None), ("station", None), ("stage", None), ("racecar", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "concept"), NAMES)
def test_names_of_columns_are_understood(name: str, concept: str | None) -> None:
    found = concept_of(name)
    assert (found.name if found else None) == concept


def people(count: int) -> dict[str, list[str]]:
    """Made-up details of people, by kind of column."""
    chinese, english, draw = Faker("zh_CN"), Faker("en_US"), random.Random(5)
    chinese.seed_instance(5)
    english.seed_instance(6)
    born = [dt.date(1950, 1, 1) + dt.timedelta(days=draw.randrange(18_000)) for _ in range(count)]
    return {
        "EMAIL": [english.email() for _ in born],
        "PHONE": [chinese.phone_number() if at % 2 else f"+44 20 7946 {at:04d}" for at, _ in enumerate(born)],
        "NATIONAL_ID": [chinese_id(draw, day) for day in born],
        "IBAN": [english.iban() for _ in born],
        "CARD": [english.credit_card_number("visa16") for _ in born],
        "IP": [english.ipv4() for _ in born],
        "born": [day.isoformat() for day in born],
        "name": [(chinese if at % 2 else english).name() for at, _ in enumerate(born)],
        "address": [(chinese if at % 2 else english).address().replace("\n", ", ") for at, _ in enumerate(born)],
    }


KINDS = ("EMAIL", "PHONE", "NATIONAL_ID", "IBAN", "CARD", "IP")


@pytest.mark.parametrize("kind", KINDS)
def test_values_tell_what_a_column_is_whatever_its_name(kind: str) -> None:
    contents = contents_of(pa.array(people(200)[kind]))
    assert contents.strongest()[0] == kind
    assert contents.strongest()[1] > 0.9


@pytest.mark.parametrize(
    "values", [["1.50", "22.00"], ["SKU-001", "B-17"], ["2024-01-05", "2023-12-31"], ["blue", "红色"]]
)
def test_ordinary_values_are_nobodys(values: list[str]) -> None:
    assert contents_of(pa.array(values * 50)).strongest() == ("", 0.0)


def folder_of_files(folder: Path) -> dict[str, list[str]]:
    """Write orders in two parts, people under names that tell nothing or Chinese ones, and things."""
    shop = make_shop(folder / "made", customers=30, days=200)
    lines = pq.read_table(shop.with_name("lines.parquet")).to_pandas()
    lines = lines.rename(
        columns={"ts": "InvoiceDate", "quantity": "Quantity", "price": "UnitPrice", "stock": "StockCode"}
    )
    (folder / "orders").mkdir()
    half = len(lines) // 2
    lines[:half].to_csv(folder / "orders" / "part-01.csv.gz", index=False)
    lines[half:].to_csv(folder / "orders" / "part-02.csv.gz", index=False)
    ids = sorted(lines["customer"].unique())
    made = people(len(ids))
    half_empty = [made["EMAIL"][at] if at % 3 == 0 else "prefers tea" for at in range(len(ids))]
    ours = {"会员编号": ids, "姓名": made["name"], "手机": made["PHONE"], "地址": made["address"], "生日": made["born"]}
    blind = {"f4": made["NATIONAL_ID"], "f5": made["IBAN"], "f6": made["CARD"], "f7": made["name"], "f8": made["born"]}
    alike = {"gender": ["F", "M"] * (len(ids) // 2), "religion": ["a", "b"] * (len(ids) // 2), "score": range(len(ids))}
    columns = {**ours, "contact": made["EMAIL"], **blind, **alike, "备注": half_empty}
    pd.DataFrame(columns).to_csv(folder / "会员.csv", index=False)
    things = {"sku": range(1, 201), "department": ["dairy", "bakery"] * 100, "name": [f"Thing {n}" for n in range(200)]}
    pd.DataFrame(things).to_parquet(folder / "products.parquet", index=False)
    pd.DataFrame({"a": [1], "b": [2]}).to_csv(folder / "misc.csv", index=False)
    for path in (folder / "made").iterdir():
        path.unlink()
    (folder / "made").rmdir()
    return made


@pytest.mark.slow
def test_a_folder_becomes_a_descriptor_that_runs_once_it_is_decided(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    made = folder_of_files(folder)
    path = folder / "shop.yaml"
    written = draft(folder, path)
    path.write_text(written.text, "utf-8")
    document = yaml.safe_load(written.text)
    columns = {name: table["columns"] for name, table in document["tables"].items()}
    sensitivities = {
        name: {column["from"]: column.get("sensitivity") for column in each.values() if "from" in column}
        for name, each in columns.items()
    }
    assert sensitivities["customers"] == {
        **dict.fromkeys(("会员编号", "姓名", "contact", "手机", "f4", "f5", "f6", "地址"), "direct_identifier"),
        **dict.fromkeys(("生日", "gender"), "quasi_identifier"),
        "religion": "sensitive",
        **dict.fromkeys(("备注", "f7", "f8", "score"), None),
    }
    assert sensitivities["transactions"]["cashier"] is None
    assert sensitivities["products"] == {"sku": "non_personal", "department": "non_personal", "name": None}
    assert document["tables"]["transactions"]["source"] == "orders/part-*.csv.gz"
    assert columns["transactions"]["amount"]["sql"] == '"Quantity" * "UnitPrice"'
    assert {"customer_id", "order_id", "ordered_at", "quantity", "product_id", "category"} <= columns[
        "transactions"
    ].keys()
    assert "33 % hold e-mail addresses" in written.text
    assert "lie 14 to 100 years back: birth dates?" in written.text
    assert "# Not used: misc.csv (1 row), whose columns are a, b:" in written.text
    assert not [value for values in made.values() for value in values if value in written.text]

    with pytest.raises(BadInput, match=r"column 'transactions.cashier' has no 'sensitivity' \(and 5 more mistakes\)"):
        load_descriptor(str(path))
    assert check(str(path)).status == 2
    decided = decide(written.text)
    path.write_text(decided, "utf-8")
    report = check(str(path), now=NOW)
    assert [each for each in report.findings if each.level == "error"] == []
    assert report.status == 0
    assert home.ingest(load_descriptor(str(path))).people == 30


def decide(text: str) -> str:
    """Give every undecided column a sensitivity, as a person would: inside its braces."""
    lines = text.splitlines()
    for at, line in enumerate(lines[1:], 1):
        if "# TO DECIDE:" in lines[at - 1] and line.endswith("}"):
            lines[at] = line.replace("}", ", sensitivity: sensitive}")
    return "\n".join(lines)


def write_lines(folder: Path, **columns: Any) -> dict[str, Any]:
    """Write order lines of 40 customers and return the columns drafted for them."""
    folder.mkdir(exist_ok=True)
    orders = [(f"k{n % 40}", dt.datetime(2024, 1, 1) + dt.timedelta(days=n), n) for n in range(200)]  # noqa: DTZ001
    base = {
        "customer": [who for who, _, _ in orders for _ in "ab"],
        "when": [when for _, when, _ in orders for _ in "ab"],
    }
    given = {name: [make(n) for _, _, n in orders for _ in "ab"] for name, make in columns.items()}
    pd.DataFrame({**base, **given}).to_parquet(folder / "orders.parquet", index=False)
    return dict(yaml.safe_load(draft(folder, folder / "shop.yaml").text)["tables"]["transactions"]["columns"])


def test_times_sums_and_orders_are_found_by_type_and_uniqueness(tmp_path: Path) -> None:
    found = write_lines(tmp_path, bon=lambda n: f"b{n}", eur=lambda n: n + 0.5, x=lambda n: n % 3)
    assert found["order_id"] == {"from": "bon", "sensitivity": "behavioural"}
    assert found["ordered_at"] == {"from": "when", "sensitivity": "behavioural"}
    assert found["amount"] == {"from": "eur", "type": "float", "sensitivity": "behavioural"}
    assert found["x"] == {"from": "x"}


def test_two_that_could_be_are_left_to_a_person(tmp_path: Path) -> None:
    found = write_lines(
        tmp_path, bon=lambda n: f"b{n}", slip=lambda n: f"s{n}", eur=lambda n: n + 0.5, usd=lambda n: n + 0.7
    )
    assert {name: column.get("sensitivity") for name, column in found.items()} == {
        "customer_id": "direct_identifier",
        "ordered_at": "behavioural",
        **dict.fromkeys(("bon", "slip", "eur", "usd")),
    }


def test_a_name_that_keeps_a_column_open_is_not_believed_against_its_values(tmp_path: Path) -> None:
    phones = people(200)["PHONE"]
    found = write_lines(
        tmp_path,
        order_id=lambda n: phones[n],
        category=lambda n: f"word {n}" if n % 9 else "call 13812345678",
        amount=lambda n: "much",
        store_id=lambda n: phones[n % 2],
    )
    assert [name for name, column in found.items() if "sensitivity" not in column] == [
        "order_id",
        "category",
        "amount",
        "store_id",
    ]


NAME = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(
    lambda text: text.strip() == text
)


@settings(max_examples=8)
@given(st.lists(NAME, min_size=1, max_size=5, unique_by=str.lower))
def test_any_names_of_columns_give_yaml_that_means_them(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("odd")
    value = "Zyxwv-Planted"
    table = {"customer_id": ["a", "b"], "ts": [dt.datetime(2024, 1, 1)] * 2, "amount": [1.5, 2.5]}  # noqa: DTZ001
    table |= {name: [value, f"{value}2"] for name in names if name.lower() not in table}
    pq.write_table(pa.table(table), folder / "orders.parquet")
    if header_is_data(table):
        with pytest.raises(BadInput, match="looks like data"):
            draft(folder, folder / "shop.yaml")
        return
    text = draft(folder, folder / "shop.yaml").text
    columns = yaml.safe_load(text)["tables"]["transactions"]["columns"]
    assert {column["from"] for column in columns.values()} == set(table)
    assert value not in text


def test_nothing_is_overwritten_and_bad_input_gets_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "shop"
    make_shop(folder, customers=5)  # writes a shop.yaml
    home = ["--home", str(tmp_path / "home")]
    before = (folder / "shop.yaml").read_bytes()

    def told(*arguments: str, expect: int = 2) -> str:
        assert main(["dataset", "init", *arguments, *home]) == expect
        return capsys.readouterr().err

    assert "there is such a file already" in told(str(folder))
    assert (folder / "shop.yaml").read_bytes() == before
    assert "there is no such file or folder" in told(str(tmp_path / "gone"))
    assert "a descriptor is a YAML file" in told(str(folder), "--out", str(tmp_path / "x.txt"))
    (tmp_path / "empty").mkdir()
    assert "there is nothing to read" in told(str(tmp_path / "empty"))
    (tmp_path / "headless").mkdir()
    (tmp_path / "headless" / "a.csv").write_text("欧阳金,13812345678,5\n王芳,13912345678,6\n", "utf-8")
    headless = told(str(tmp_path / "headless"))
    assert "its first line looks like data" in headless
    assert "欧阳金" not in headless
    (tmp_path / "gbk").mkdir()
    (tmp_path / "gbk" / "a.csv").write_bytes("客户编号,金额\n一,2\n".encode("gb18030"))
    assert "1 file is not UTF-8 but probably GB 18030" in told(str(tmp_path / "gbk"))
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "a.parquet").write_bytes((folder / "lines.parquet").read_bytes()[:900])
    assert "the file can't be read" in told(str(tmp_path / "cut"))
    (tmp_path / "link.yaml").symlink_to(tmp_path / "nowhere")
    assert "there is such a file already" in told(str(folder), "--out", str(tmp_path / "link.yaml"))
    assert not (tmp_path / "home").exists()


def test_links_are_left_out_and_told_and_names_are_told_on_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "shop"
    make_shop(elsewhere, customers=4)
    make_shop(folder, customers=4)
    (folder / "shop.yaml").unlink()
    (folder / "secrets.parquet").symlink_to(elsewhere / "people.parquet")
    (folder / "more").symlink_to(elsewhere)
    (folder / "loop.csv").symlink_to("loop.csv")
    hostile = "odd\nWrote \x1b[31m\u202egpj.csv"
    (folder / hostile).write_text("aa,bb\nyes,no\n")
    assert main(["dataset", "init", str(folder), "--home", str(tmp_path / "home")]) == 0
    told = capsys.readouterr().out
    for name in ("secrets.parquet", "more", "loop.csv"):
        assert told.count(f"{name}: not used: a symbolic link") == 1
    assert all(line.isprintable() for line in told.splitlines())
    assert told.count("\nWrote ") == 1
    written = (folder / "shop.yaml").read_text()
    assert "secrets" not in written
    assert "more/" not in written
    (folder / "shop.yaml").unlink()
    (folder / "broken\n\x1b[31m.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    assert main(["dataset", "init", str(folder), "--home", str(tmp_path / "home")]) == 2
    *stages, refusal = capsys.readouterr().err.splitlines()
    assert all(line.isprintable() for line in [*stages, refusal])
    assert refusal.startswith("custos: ")
    only = tmp_path / "only"
    only.mkdir()
    (only / "orders.parquet").symlink_to(elsewhere / "lines.parquet")
    with pytest.raises(BadInput, match="nothing to read"):
        draft(only, only / "shop.yaml")


def test_one_file_and_a_descriptor_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "data" / "shop", tmp_path / "yaml" / "mine.yaml"
    make_shop(folder, customers=5)
    arguments = ["dataset", "init", str(folder / "lines.parquet"), "--out", str(out), "--home", str(tmp_path / "home")]
    assert main(arguments) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("../data/shop/lines.parquet (")
    assert told[-1].startswith(f"Wrote {out}: ")
    assert yaml.safe_load(out.read_text())["tables"]["transactions"]["source"] == "../data/shop/lines.parquet"
    assert check(str(out), now=NOW).rows["transactions"] == pq.read_metadata(folder / "lines.parquet").num_rows


def test_a_folder_without_orders_says_what_is_missing(tmp_path: Path) -> None:
    pd.DataFrame({"sku": [1, 2], "name": ["a", "b"]}).to_csv(tmp_path / "things.csv", index=False)
    written = draft(tmp_path, tmp_path / "shop.yaml")
    assert written.missing == ("transactions",)
    assert "Not found: transactions." in written.text


def test_files_that_cant_be_orders_as_they_are_say_why(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("customer_id;order_id;ts;amount\n" + '7;1;05/13/2024;"1,50"\n' * 9, "utf-8")
    lines = yaml.safe_load(draft(tmp_path, tmp_path / "shop.yaml").text)["tables"]["transactions"]["columns"]
    assert [name for name, column in lines.items() if "sensitivity" not in column] == ["ordered_at", "amount"]
    (tmp_path / "o.csv").write_text("a,b\n", "utf-8")
    text = draft(tmp_path, tmp_path / "shop.yaml").text
    assert yaml.safe_load(text)["tables"] == {}
    (tmp_path / "o.csv").write_bytes(b"\x00\x01,\x02\n" * 9)
    with pytest.raises(BadInput, match="its first line looks like data"):
        draft(tmp_path, tmp_path / "shop.yaml")
