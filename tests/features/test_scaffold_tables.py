"""Which files of a folder become which tables, what is left out and why: told, and never more open than it is sure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from features.datasets.descriptor import load_descriptor
from features.scaffold.draft import Draft, draft
from mlproject.cli import main

from .telecom_shop import PEOPLE, write_telecom_shop


def drafted(folder: Path) -> tuple[Draft, dict[str, Any]]:
    made = draft(folder, folder / "shop.yaml")
    return made, yaml.safe_load(made.text)["tables"]


def told(folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main(["dataset", "init", str(folder), "--home", str(folder.parent / "home")]) == 0
    return capsys.readouterr().out.splitlines()


def sensitivities(columns: dict[str, Any]) -> dict[str, str | None]:
    return {name: column.get("sensitivity") for name, column in columns.items()}


def test_chinese_service_contacts_and_consents_are_tables_of_their_own(tmp_path: Path) -> None:
    files = write_telecom_shop(tmp_path / "data")
    made, tables = drafted(tmp_path / "data")
    assert {name: table["source"] for name, table in tables.items()} == {
        "transactions": "订单-*.csv",
        "customers": "客户资料.csv",
        "interactions": "客服联系.csv",
        "consents": "授权.csv",
    }
    contacts, consents = tables["interactions"]["columns"], tables["consents"]["columns"]
    assert {name: column["from"] for name, column in contacts.items()} == {
        "customer_id": "客户编号", "happened_at": "联系时间", "kind": "联系类型", "channel": "渠道",
    }  # fmt: skip
    assert set(sensitivities(contacts).values()) == {"direct_identifier", "behavioural"}
    assert {name: column["from"] for name, column in consents.items()} == {
        "customer_id": "客户编号", "purpose": "用途", "granted": "同意", "at": "时间",
    }  # fmt: skip
    assert sensitivities(consents) == {
        "customer_id": "direct_identifier", "purpose": "non_personal", "granted": "behavioural", "at": "behavioural",
    }  # fmt: skip
    assert tables["transactions"]["columns"]["returned"] == {"from": "退货"}
    assert "such as case when \"退货\" = '是' then -... else ... end" in made.text
    customers = sensitivities(tables["customers"]["columns"])
    assert [name for name, said in customers.items() if said is None] == []
    assert not [value for value in files["客户资料.csv"][["姓名", "手机号", "身份证号"]].stack() if value in made.text]


def test_words_of_the_shops_own_are_left_to_a_person(tmp_path: Path) -> None:
    files = write_telecom_shop(tmp_path / "data")
    files["客服联系.csv"].assign(联系类型="投诉").to_csv(tmp_path / "data" / "客服联系.csv", index=False)
    consents = files["授权.csv"].assign(用途="营销推送")
    consents.loc[0, "同意"] = "否"
    consents.to_csv(tmp_path / "data" / "授权.csv", index=False)
    made, tables = drafted(tmp_path / "data")
    assert sensitivities(tables["interactions"]["columns"])["kind"] is None
    assert [name for name, said in sensitivities(tables["consents"]["columns"]).items() if said is None] == [
        "purpose",
        "granted",
    ]
    assert "campaign, coupon, service and web count; for others write sql" in made.text
    assert "such as \"同意\" = '是'" in made.text
    assert "投诉" not in made.text


def test_columns_that_the_consent_ledger_would_not_keep_are_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_telecom_shop(tmp_path / "data")
    lines = told(tmp_path / "data", capsys)
    at = lines.index(f"授权.csv ({PEOPLE} rows): consents: 4 columns")
    assert lines[at + 1] == ("  not used: 经办人: the consent ledger keeps the customer, purpose, granted and at alone")
    assert "经办人: the consent ledger" in (tmp_path / "data" / "shop.yaml").read_text("utf-8")


def test_files_that_are_no_table_say_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data"
    write_telecom_shop(folder)
    pd.DataFrame({"甲": [1], "乙": [2]}).to_csv(folder / "杂项.csv", index=False)
    pd.read_csv(folder / "订单-01.csv", dtype=str)[:5].assign(备注="").to_csv(folder / "订单补录.csv", index=False)
    (folder / "空.csv").write_text("客户编号,备注\n", "utf-8")
    pd.DataFrame({"客户编号": ["a", "a"], "备注": ["x", "y"]}).to_csv(folder / "备注.csv", index=False)
    (folder / "旧数据.xlsx").write_bytes(b"PK")
    (folder / "2023" / "q1").mkdir(parents=True)
    pd.DataFrame({"a": [1]}).to_csv(folder / "2023" / "q1" / "old.csv", index=False)
    (folder / ".custos").mkdir()
    (folder / ".custos" / "kept.parquet").write_bytes(b"PAR1")
    whys = {line.split(" (")[0].split(":")[0]: line.partition("not used: ")[2] for line in told(folder, capsys)}
    assert whys["杂项.csv"].startswith("no column names a person (such as customer_id or 客户编号)")
    assert whys["订单补录.csv"].startswith("it could be transactions, which 订单-*.csv is likelier; files of one table")
    assert whys["空.csv"] == "it has no rows"
    assert whys["备注.csv"].startswith("it tells of people, but is neither orders (a time, and an amount")
    assert whys["旧数据.xlsx"] == "neither parquet nor csv; write it as one of these"
    assert whys["2023/q1/old.csv"] == "two folders down; move it up, or name its folder"
    assert not [name for name in whys if "custos" in name]


def test_files_in_another_encoding_are_told_all_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data"
    for name, frame in write_telecom_shop(folder).items():
        if name.startswith("订单"):
            frame.to_csv(folder / name, index=False, encoding="gb18030")
    assert main(["dataset", "init", str(folder), "--home", str(tmp_path / "home")]) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert "2 files are not UTF-8 but probably GB 18030 (订单-01.csv, 订单-02.csv)" in err
    assert "iconv -f GB18030 -t UTF-8 '订单-01.csv' > ../shop/'订单-01.csv'; so each of them" in err
    assert not (folder / "shop.yaml").exists()


def test_many_files_of_other_kinds_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_telecom_shop(tmp_path / "data")
    for number in range(11):
        (tmp_path / "data" / f"scan-{number:02d}.png").write_bytes(b"x")
    lines = told(tmp_path / "data", capsys)
    assert sum(".png: not used" in line for line in lines) == 10
    assert "1 more file of other kinds or deeper down: not used" in lines


def parts(folder: Path, suffix: str, **second: list[Any]) -> None:
    """Two files of orders with equal columns, the second with other values in some."""
    folder.mkdir()
    rows: dict[str, list[Any]] = {
        "customer_id": ["a", "b", "a"] * 20, "order_id": list(range(60)), "amount": [1.5] * 60,
        "ordered_at": [f"2024-01-{1 + at % 28:02d}T10:00:00" for at in range(60)],
    }  # fmt: skip
    for number, columns in enumerate((rows, {**rows, **second}), 1):
        frame = pd.DataFrame(columns)
        path = folder / f"orders-{number}{suffix}"
        frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path, index=False)


def test_text_files_of_one_table_that_differ_in_type_are_told_and_not_proposed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts(tmp_path / "data", ".csv", amount=["1.5"] * 57 + ["EUR 1"] * 3)  # 97.5 % of the whole are numbers
    lines = told(tmp_path / "data", capsys)
    assert lines[0] == "orders-*.csv (120 rows): transactions: 4 columns"
    parts(tmp_path / "more", ".csv", amount=["1.5"] * 56 + ["EUR 1"] * 4)
    lines = told(tmp_path / "more", capsys)
    assert lines[:2] == [
        "orders-*.csv (120 rows): transactions: 4 columns, 1 to decide",
        "  not alike in all its files: amount: numbers in orders-1.csv, text in orders-2.csv",
    ]
    amount = yaml.safe_load((tmp_path / "more" / "shop.yaml").read_text("utf-8"))["tables"]["transactions"]["columns"]
    assert "sensitivity" not in amount["amount"]


def test_the_name_of_a_file_never_ends_a_comment(tmp_path: Path) -> None:
    parts(tmp_path / "data", ".csv", amount=["1.5"] * 56 + ["EUR 1"] * 4)
    for path in sorted((tmp_path / "data").iterdir()):
        path.rename(path.with_name(f"a\ntargets: {path.name}"))
    made = draft(tmp_path / "data", tmp_path / "data" / "shop.yaml")
    assert "not alike in all its files" in made.text
    assert [line for line in made.text.splitlines() if line.startswith("targets")] == ["targets:"]
    assert yaml.safe_load(made.text)["targets"]["churn"]


def test_parquet_files_that_cannot_be_read_as_one_table_stay_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts(tmp_path / "data", ".parquet", amount=["1,50"] * 60)
    lines = told(tmp_path / "data", capsys)
    assert lines[0].startswith("orders-1.parquet (60 rows): transactions")
    assert lines[1] == (
        "orders-2.parquet (60 rows): not used: it could be transactions, which orders-1.parquet is likelier; files of "
        "one table have equal columns and alike names (they can't be one table: 'orders-2.parquet' has text in column "
        "'amount', 'orders-1.parquet' has numbers)"
    )


def test_a_draft_and_a_check_say_how_far_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data"
    parts(folder, ".csv")
    seen: list[tuple[str, int, int]] = []
    draft(folder, folder / "shop.yaml", lambda what, done, total: seen.append((what, done, total)))
    assert seen == [("files opened", 0, 2), ("files opened", 1, 2), ("tables looked at", 0, 1)]
    told(folder, capsys)
    assert main(["dataset", "init", str(folder), "--out", str(tmp_path / "x.yaml"), "--home", str(tmp_path / "h")]) == 0
    assert capsys.readouterr().err.startswith("  look at the files ...\n")  # no terminal: a line before, one after
    assert main(["dataset", "check", str(folder / "shop.yaml"), "--json", "--home", str(tmp_path / "h")]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["rows"] == {"transactions": 120}
    assert [line.split()[0] for line in err.splitlines()] == ["check", "check"]


def test_an_empty_part_differs_from_nothing(tmp_path: Path) -> None:
    parts(tmp_path / "data", ".csv", amount=[None] * 60)
    _, tables = drafted(tmp_path / "data")
    assert sensitivities(tables["transactions"]["columns"])["amount"] == "behavioural"


def test_the_draft_of_a_telecom_shop_runs_once_it_is_decided(tmp_path: Path) -> None:
    write_telecom_shop(tmp_path / "data")
    made, _ = drafted(tmp_path / "data")
    lines = made.text.splitlines()
    for at, line in enumerate(lines[1:], 1):
        if "# TO DECIDE:" in lines[at - 1]:
            lines[at] = line.replace("}", ", sensitivity: sensitive}")
    (tmp_path / "data" / "shop.yaml").write_text("\n".join(lines), "utf-8")
    assert set(load_descriptor(str(tmp_path / "data" / "shop.yaml")).tables) == {
        "transactions", "customers", "interactions", "consents",
    }  # fmt: skip
