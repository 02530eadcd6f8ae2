"""A descriptor against its data: everything that is wrong told in one go, and nothing of a person."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from features.checking.check import check
from features.checking.declared import declared
from features.checking.files import header_is_data, written_in
from features.checking.findings import CheckReport, Finding
from features.datasets.descriptor import parse_descriptor
from mlproject.cli import main
from privacy.errors import BadInput
from tests.canaries import CANARIES, write_shop
from tests.shops import make_shop, shop_document, write_descriptor

from .conftest import NOW

Document = dict[str, Any]
Rows = list[dict[str, Any]]


def read(folder: Path, name: str) -> Rows:
    return pq.read_table(folder / name).to_pylist()


def write(folder: Path, name: str, rows: Rows) -> None:
    pq.write_table(pa.Table.from_pylist(rows), folder / name)


def columns(document: Document, table: str = "transactions") -> Document:
    return document["tables"][table]["columns"]


def found(folder: Path, document: Document | None = None) -> CheckReport:
    path = folder / "shop.yaml" if document is None else write_descriptor(folder, document)
    return check(str(path), now=NOW)


def told(report: CheckReport, *levels: str) -> set[tuple[str, str, str, int | None]]:
    wanted = levels or ("error", "warning")
    return {(each.table, each.column, each.code, each.count) for each in report.findings if each.level in wanted}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return make_shop(tmp_path / "shop", customers=20).parent


def test_a_sound_shop_has_nothing_but_a_note(shop: Path) -> None:
    report = found(shop)
    assert (told(report), report.status) == (set(), 0)
    [note] = report.findings
    assert (note.code, note.what) == ("not_declared", "columns that are not declared are never read: cashier")
    assert report.rows == {"transactions": len(read(shop, "lines.parquet")), "customers": 20}


def test_of_many_columns_that_are_not_declared_some_are_named(shop: Path) -> None:
    more = {f"c{number:02}": 1 for number in range(30)}
    write(shop, "lines.parquet", [{**row, **more} for row in read(shop, "lines.parquet")])
    [note] = found(shop).findings
    assert note.what.endswith(": cashier, " + ", ".join(f"c{number:02}" for number in range(19)) + " and 11 more")


def test_everything_in_the_descriptor_is_told_at_once(shop: Path) -> None:
    document = shop_document()
    document["colour"] = "red"
    document["currency"] = "pounds"
    document["targets"]["churn"]["horizon_days"] = 0
    columns(document)["category"].pop("sensitivity")
    columns(document)["discount"]["frm"] = "x"
    columns(document)["quantity"]["mask"] = "blur"
    columns(document, "customers")["email"]["sensitivity"] = "secret"
    columns(document, "customers")["gender"] = {"from": "sex", "sensitivity": "quasi_identifier"}
    columns(document, "customers")["name"]["references"] = "ghosts.name"
    document["withhold"] = ["no_feature", "spend_rate"]
    report = found(shop, document)
    assert report.status == 2
    assert {each[:3] for each in told(report, "error")} == {
        ("", "", "unknown_key"),
        ("", "", "wrong_value"),
        ("transactions", "category", "undeclared"),
        ("transactions", "discount", "unknown_key"),
        ("transactions", "quantity", "wrong_value"),
        ("customers", "email", "wrong_value"),
        ("customers", "gender", "missing_column"),
        ("customers", "name", "refused"),
        ("", "", "refused"),
    }
    assert sum(each.code == "refused" and each.table == "" for each in report.findings) == 2
    assert report.rows["transactions"] == len(read(shop, "lines.parquet"))


def test_tables_that_reference_each_other_in_a_circle_are_told(shop: Path) -> None:
    document = shop_document()
    columns(document)["product_id"]["references"] = "customers.name"
    columns(document, "customers")["email"]["references"] = "transactions.category"
    report = found(shop, document)
    assert any("in a circle: " in each.what and each.declared for each in report.findings)
    columns(document, "customers")["email"]["references"] = "customers.email"
    assert any("customers -> customers" in each.what for each in found(shop, document).findings)


def test_everything_in_the_data_is_told_at_once(shop: Path) -> None:
    lines, people = read(shop, "lines.parquet"), read(shop, "people.parquet")
    lines[0]["ts"] = NOW + dt.timedelta(days=30)
    lines[1]["ts"] = dt.datetime(1901, 1, 1, tzinfo=dt.UTC)
    lines[2].update(invoice=None, price=float("inf"))  # two faults in one row: both are told
    lines[3]["customer"] = " "
    for line in lines[4:10]:
        line["customer"] = "c99999"
    for person in people[: len(people) // 2]:
        person["customer"] = None
    people += [people[-1], people[-1]]
    write(shop, "lines.parquet", lines)
    write(shop, "people.parquet", people)
    report = found(shop)
    assert report.status == 1
    strangers = len({line["customer"] for line in lines} - {person["customer"] for person in people} - {" "})
    assert told(report) == {
        ("transactions", "ordered_at", "in_the_future", 1),
        ("transactions", "ordered_at", "before_1970", 1),
        ("transactions", "order_id", "missing", 1),
        ("transactions", "amount", "not_a_finite_number", 1),
        ("transactions", "amount", "too_large", 1),
        ("transactions", "customer_id", "blank", 1),
        ("transactions", "customer_id", "dangling", strangers),
        ("customers", "customer_id", "missing", 10),
        ("customers", "customer_id", "not_unique", 2),
        ("customers", "", "bad_rows", 10),
    }


def test_an_open_column_that_holds_details_of_people_is_pointed_out(shop: Path) -> None:
    document = shop_document()
    columns(document, "customers")["email"]["sensitivity"] = "behavioural"
    assert told(found(shop, document)) == {("customers", "email", "open_details", None)}
    columns(document, "customers")["email"]["mask"] = "scrub"
    assert told(found(shop, document)) == set()


def test_wrong_types_are_told_by_column(shop: Path) -> None:
    document = shop_document()
    columns(document)["ordered_at"]["from"] = "price"
    columns(document)["order_id"] = {"sql": "3.5", "sensitivity": "behavioural"}
    columns(document)["amount"]["sql"] = "quantity * cost"
    columns(document)["category"]["type"] = "int"
    columns(document)["discount"]["from"] = "aisle"
    report = found(shop, document)
    rows = len(read(shop, "lines.parquet"))
    assert told(report) == {
        ("transactions", "ordered_at", "wrong_type", None),
        ("transactions", "order_id", "wrong_type", None),
        ("transactions", "amount", "wrong_type", None),
        ("transactions", "category", "unparsable", rows),
        ("transactions", "", "bad_rows", rows),
        ("transactions", "discount", "missing_column", None),
    }


def test_references_that_are_written_differently_are_an_error(shop: Path) -> None:
    people = read(shop, "people.parquet")
    for number, person in enumerate(people):
        person["customer"] = f"0{number}"
    write(shop, "people.parquet", people)
    [finding] = [each for each in found(shop).findings if each.code == "dangling"]
    assert (finding.level, finding.count, finding.of) == ("error", 20, 20)
    assert "written alike" in finding.remedy


def csv_shop(folder: Path, files: dict[str, bytes], source: str = "*.csv*") -> CheckReport:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    document = shop_document()
    document["tables"] = {"transactions": {**document["tables"]["transactions"], "source": source}}
    return found(folder, document)


HEAD = "customer,invoice,ts,quantity,price,stock,department,discount\n"
LINE = "c1,i1,2024-01-01,1,2,7,乳制品,0\n"
GOOD = (HEAD + LINE * 50).encode()


def test_encodings_are_told_by_file_and_the_good_files_are_read(tmp_path: Path) -> None:
    other = {"b.csv": (HEAD + LINE * 3).encode("gb18030"), "c.csv": GOOD.decode().encode("utf-16")}
    report = csv_shop(tmp_path, {"a.csv": GOOD, **other, "d.csv.gz": GOOD, "e.csv": b"\xef\xbb\xbf" + GOOD})
    texts = [each.what for each in report.findings if each.level == "error"]
    assert any("'b.csv' is not UTF-8 but probably GB 18030" in text for text in texts)
    assert any("'c.csv' is not UTF-8 but UTF-16" in text for text in texts)
    assert any("3 in UTF-8, 1 in probably GB 18030, 1 in UTF-16" in text for text in texts)
    assert report.rows["transactions"] == 150


def test_what_is_cut_off_is_told_by_file(tmp_path: Path) -> None:
    make_shop(tmp_path / "a", customers=6)
    whole = (tmp_path / "a" / "lines.parquet").read_bytes()
    folder = tmp_path / "b"
    folder.mkdir()
    (folder / "part-1.parquet").write_bytes(whole)
    (folder / "part-2.parquet").write_bytes(whole[: len(whole) // 2])
    (folder / "part-3.parquet").write_bytes(b"")
    (folder / "part-4.parquet").write_bytes(whole[4:])
    document = shop_document()
    document["tables"] = {"transactions": {**document["tables"]["transactions"], "source": "part-*.parquet"}}
    report = found(folder, document)
    assert {each[2] for each in told(report, "error")} == {"truncated", "empty"}
    assert report.rows["transactions"] == len(read(tmp_path / "a", "lines.parquet"))
    packed = gzip.compress(GOOD)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "cut.csv.gz").write_bytes(packed[: len(packed) // 2])
    [finding] = [each for each in csv_shop(tmp_path / "c", {}).findings if each.level == "error"]
    assert (finding.code, "cut.csv.gz" in finding.what) == ("truncated", True)


def test_every_difference_of_columns_is_told(tmp_path: Path) -> None:
    other = GOOD.replace(b"department", b"aisle").replace(b"discount", b"rebate")
    report = csv_shop(tmp_path, {"a.csv": GOOD, "b.csv": other})
    assert len([each for each in report.findings if each.code == "unequal_columns"]) == 4


def test_a_file_without_a_header_is_told_and_its_first_line_is_not(tmp_path: Path) -> None:
    first = "张三丰,13812345678,2024-01-01,1,2,7,x,0\n"
    report = csv_shop(tmp_path, {"a.csv": (first + LINE).encode()})
    shown = "\n".join(report.lines()) + json.dumps(report.to_dict(), ensure_ascii=False)
    assert "its first line looks like data" in shown
    assert "张三丰" not in shown
    assert "13812345678" not in shown


@pytest.mark.parametrize("source", ["gone/*.csv", "**x/*.csv", "shop.yaml", "[", "nobody.nothing:at_all"])
def test_a_source_that_isnt_there_is_told_beside_the_rest(shop: Path, source: str) -> None:
    document = shop_document()
    document["tables"]["transactions"]["source"] = source
    columns(document, "customers")["phone"]["from"] = "telephone"
    report = found(shop, document)
    assert {each[0] for each in told(report, "error")} == {"transactions", "customers"}
    assert report.rows == {"transactions": None, "customers": 20}


def test_a_query_is_checked_like_a_file(shop: Path) -> None:
    document = shop_document()
    document["tables"]["transactions"]["source"] = {"url": "sqlite:///gone.db", "query": "SELECT 1 AS a"}
    assert [each.what for each in found(shop, document).findings if each.level == "error"] == [
        "table 'transactions': no file 'gone.db'"
    ]


def test_no_rows_marks_that_match_nothing_and_consents(shop: Path) -> None:
    write(shop, "people.parquet", [])
    pq.write_table(pq.read_table(shop / "lines.parquet").slice(0, 0), shop / "none.parquet")
    document = shop_document()
    document["tables"]["customers"]["source"] = "none.parquet"
    document["tables"]["customers"]["columns"] = {"customer_id": columns(document)["customer_id"]}
    document["inference"] = {"infant": {"transactions.category": ["nappies", "dairy"]}}
    report = found(shop, document)
    assert ("customers", "", "empty", None) in told(report)
    assert [each.what for each in report.findings if each.code == "unmatched_mark"] == [
        "nothing in the data is infant: transactions.category 'nappies'"
    ]
    document["tables"]["consents"] = {**document["tables"]["customers"], "source": "lines.parquet"}
    assert "table 'consents' has no column 'purpose'" in [each.what for each in found(shop, document).findings]


def test_one_bad_consent_is_an_error(shop: Path) -> None:
    rows = [
        {"who": f"c{n:05d}", "what": "marketing", "yes": True, "when": dt.datetime(2023, 5, 1, tzinfo=dt.UTC)}
        for n in range(1, 20)
    ]
    write(shop, "consents.parquet", [*rows, {**rows[0], "what": "newsletter"}])
    document = shop_document()
    declared = {"purpose": "what", "granted": "yes", "at": "when"}
    document["tables"]["consents"] = {
        "source": "consents.parquet",
        "columns": {
            "customer_id": {"from": "who", "sensitivity": "direct_identifier"},
            **{name: {"from": source, "sensitivity": "behavioural"} for name, source in declared.items()},
        },
    }
    assert ("consents", "purpose", "not_a_purpose", 1) in told(found(shop, document), "error")
    write(shop, "consents.parquet", rows)
    assert not [each for each in told(found(shop, document), "error") if each[0] == "consents"]


NOT_DOCUMENTS: list[object] = [
    None,
    [],
    "x",
    {},
    {"tables": []},
    {"tables": {"transactions": []}},
    {"tables": {1: {2: 3}}},
]


@pytest.mark.parametrize("document", NOT_DOCUMENTS, ids=str)
def test_whatever_yaml_holds_is_told(tmp_path: Path, document: object) -> None:
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(document))
    report = check(str(tmp_path / "shop.yaml"))
    assert report.status == 2
    assert list(report.lines())[-1].endswith("can't be used as it is")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["lines.parquet", "string", "phone"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=2),
    max_leaves=4,
)


def _paths(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    deeper = [path for key in node for path in _paths(node[key], (*at, key))] if isinstance(node, dict) else []
    return [at, *deeper] if at else deeper


@settings(max_examples=15)
@given(st.data())
def test_a_descriptor_with_anything_in_any_place_is_told_and_never_crashes(data: st.DataObject) -> None:
    document = shop_document()
    document["inference"] = {"infant": {"transactions.category": ["nappies"]}}
    columns(document)["product_id"]["references"] = "customers.name"
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(_paths(document)))
        node = document
        for key in path[:-1]:
            node = node[key]
        if data.draw(st.booleans()):
            node[path[-1]] = data.draw(VALUES)
        else:
            del node[path[-1]]
    try:
        parse_descriptor(document, Path("gone"), "shop.yaml")
        sound = True
    except BadInput:
        sound = False
    descriptor, findings = declared(document, Path("gone/shop.yaml"), {})
    assert bool(findings) >= (not sound)  # what can't be loaded is told
    assert (descriptor is not None) >= sound
    assert all(finding.declared and "\n" not in finding.line() for finding in findings)


@given(st.text(max_size=30), st.sampled_from(["utf-8", "gb18030", "utf-16", "latin-1"]))
def test_the_encoding_of_a_file_is_never_called_utf_8_when_it_isnt(
    tmp_path_factory: pytest.TempPathFactory, text: str, encoding: str
) -> None:
    path = tmp_path_factory.mktemp("text") / "a.csv"
    path.write_bytes(text.encode(encoding, errors="ignore"))
    try:
        path.read_bytes().decode("utf-8")
        whole = True
    except UnicodeDecodeError:
        whole = False
    assert written_in(path) != "UTF-8" or whole
    assert written_in(path) == "UTF-8" or not whole or path.read_bytes()[:2] in (b"\xff\xfe", b"\xfe\xff")


HEADS = [
    "客户编号",
    "金额",
    "下单时间",
    "Customer Name",
    "Order Date",
    "Unit Price",
    "Loyalty Card No",
    "Net Amount (EUR)",
]


@given(st.lists(st.from_regex(r"[a-z_]{1,12}", fullmatch=True) | st.sampled_from(HEADS), max_size=6))
def test_names_of_columns_are_not_taken_for_data(names: list[str]) -> None:
    assert not header_is_data(names)


def test_no_value_of_a_person_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_shop(tmp_path / "shop", customers=15)
    document = yaml.safe_load(path.read_text())
    for name, table in document["tables"].items():
        for column, said in table["columns"].items():
            if name == "customers" and column != document["subject"]:
                said["type"] = "int"  # every value fails its cast
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    for more in ([], ["--json"]):
        assert main(["dataset", "check", str(path), "--home", str(tmp_path / "home"), *more]) == 1
    shown = capfd.readouterr()
    assert "unparsable" in shown.out
    for canary in CANARIES:
        for value in vars(canary).values():
            assert str(value) not in shown.out + shown.err
    assert not (tmp_path / "home").exists()


def test_the_exit_status_and_json_of_the_command(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, home = str(shop / "shop.yaml"), str(shop / "home")
    assert main(["dataset", "check", path, "--home", home]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "shop.yaml (corner_shop)"
    assert shown[-1] == "1 note: it can be run"
    os.unlink(shop / "people.parquet")  # noqa: PTH108
    assert main(["dataset", "check", path, "--home", home, "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["rows"]["customers"] is None
    assert [each["code"] for each in answer["findings"] if each["level"] == "error"] == ["no_file"]
    (shop / "shop.yaml").write_text("a: [")
    assert main(["dataset", "check", path, "--home", home]) == 2
    assert main(["dataset", "check", "nowhere", "--home", home]) == 2


def test_a_line_has_everything_that_is_known() -> None:
    finding = Finding("customers", "phone", "error", "missing", "missing", "fill it", 1, 3)
    assert finding.line() == "error    phone: missing in 1 of 3 (33.3 %); fill it"


def test_who_may_not_ingest_may_not_check(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = shop / "home"
    home.mkdir()
    (home / "settings.yaml").write_text("role: analyst\n")
    assert main(["dataset", "check", str(shop / "shop.yaml"), "--home", str(home)]) == 3
