"""`identifies:` held against the data by a check, and proposed by a draft where contents leave no doubt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from features.checking.check import check
from features.datasets.descriptor import load_descriptor
from features.scaffold.draft import draft
from tests.identities import write_identities

from .conftest import NOW
from .linked_shop import LINES, TOGETHER

CODES = ("identifies_nobody", "links_nobody")


def found(folder: Path, people: list[dict[str, object]]) -> dict[str, tuple[str, str, int | None, int | None]]:
    """Column -> level, code, count and of how many, of what a check finds about ids."""
    report = check(str(write_identities(folder, people, LINES)), now=NOW)
    assert report.status == 0
    told = [each for each in report.findings if each.code in CODES]
    assert {each.table for each in told} <= {"customers"}
    return {each.column: (each.level, each.code, each.count, each.of) for each in told}


def test_columns_that_hold_what_they_say_are_no_finding(tmp_path: Path) -> None:
    assert found(tmp_path, [dict(row) for row in TOGETHER]) == {}


def test_a_column_without_an_id_of_its_kind_is_a_warning_and_a_few_without_are_a_note(tmp_path: Path) -> None:
    people: list[dict[str, object]] = [
        {"customer": "web-1", "email": "Ann Example", "phone": "139 1234 0678", "card": "000000"},
        {"customer": "till-9", "email": "12 High Street", "phone": "no phone", "card": "n/a"},
        {"customer": "web-2", "email": " ", "phone": None, "card": "-"},
    ]
    assert found(tmp_path, people) == {
        "email": ("warning", "identifies_nobody", 2, 2),  # names and streets
        "phone": ("note", "links_nobody", 1, 2),
        "card": ("warning", "identifies_nobody", 3, 3),  # of the form of a card, and junk
    }
    report = check(str(tmp_path / "shop.yaml"), now=NOW)
    shown = "\n".join(report.lines())
    assert (
        "identifies by email, and no value has its form in 2 of 2 (100.0 %); name the column that holds them" in shown
    )
    assert "Ann Example" not in shown
    assert "High Street" not in shown


def test_an_empty_column_identifies_nobody_and_is_no_finding(tmp_path: Path) -> None:
    assert found(tmp_path, [{"customer": who} for who in ("web-1", "till-9", "web-2")]) == {}


@pytest.fixture
def drafted(tmp_path: Path) -> str:
    """The draft of a shop whose customers have an address, a number, and a column that is named like one."""
    rows = [
        {"customer_id": f"c{at:04d}", "mail": f"p{at}@shop.cn", "mobile": f"1391234{at:04d}", "fax_phone": f"x{at % 3}"}
        for at in range(60)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "customers.csv", index=False)
    orders = [
        {"order_no": f"o{at}", "customer_id": f"c{at % 60:04d}", "ordered_at": f"2024-0{1 + at % 6}-11", "amount": 9.5}
        for at in range(120)
    ]
    pd.DataFrame(orders).to_csv(tmp_path / "orders.csv", index=False)
    return draft(tmp_path, tmp_path / "shop.yaml").text


def test_a_draft_proposes_what_surely_links_and_links_nobody_by_itself(drafted: str, tmp_path: Path) -> None:
    lines = drafted.splitlines()
    proposed = [each for each in lines if "identifies:" in each]
    assert sorted(each.removeprefix("#   to customers.").split(",")[1] for each in proposed) == [
        " identifies: email",
        " identifies: phone",
    ]
    assert any(each.startswith("# identity: {region: ") for each in lines)
    content: dict[str, Any] = yaml.safe_load(drafted)
    assert "identity" not in content
    columns = content["tables"]["customers"]["columns"]
    assert not [name for name, column in columns.items() if "identifies" in column]
    for each in proposed:  # done as it says, it is a descriptor
        place, kind = each.removeprefix("#   to ").split(", identifies: ")
        columns[place.removeprefix("customers.")]["identifies"] = kind
    content["identity"] = {"region": "CN"}
    for name in [name for name, column in columns.items() if column is None or "sensitivity" not in column]:
        del columns[name]
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(content, allow_unicode=True))
    assert load_descriptor(str(tmp_path / "shop.yaml")).identity.region == "CN"
    assert not [each for each in check(str(tmp_path / "shop.yaml"), now=NOW).findings if each.code in CODES]


def test_a_draft_without_such_columns_says_nothing_of_it(tmp_path: Path) -> None:
    rows = [{"customer_id": at, "order_no": at, "ordered_at": "2024-01-01", "amount": 2.5} for at in range(20)]
    pd.DataFrame(rows).to_csv(tmp_path / "orders.csv", index=False)
    assert "identifies" not in draft(tmp_path, tmp_path / "shop.yaml").text
