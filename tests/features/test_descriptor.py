"""Descriptors: the built-in one, and one clear line for everything that can be wrong with one."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from features.datasets.descriptor import load_descriptor
from privacy.classification import Sensitivity
from privacy.errors import BadInput
from tests.shops import shop_document, write_descriptor

Change = Callable[[dict[str, Any]], object]


def lines(document: dict[str, Any]) -> dict[str, Any]:
    return document["tables"]["transactions"]["columns"]


def test_complete_journey_fixes_the_cutoffs_of_the_benchmark() -> None:
    targets = load_descriptor("complete_journey").targets

    def weeks(moments: tuple[dt.datetime, ...] | None) -> list[int]:
        start = dt.datetime(2017, 1, 1, tzinfo=dt.UTC)
        return [(moment - start).days // 7 for moment in moments or ()]

    assert weeks(targets.churn.train_cutoffs) == [16, 20, 24, 28, 32, 36, 40]
    assert weeks(targets.churn.test_cutoffs) == [44, 48]
    assert weeks(targets.clv.train_cutoffs) == [12, 14, 16, 18, 20]
    assert weeks(targets.clv.test_cutoffs) == [36]
    assert (targets.churn.horizon_days, targets.churn.active_within_days) == (28, 56)
    assert targets.clv.horizon_days == 112


def test_the_plan_says_what_protection_must_know(tmp_path: Path) -> None:
    document = shop_document()
    lines(document)["till_id"] = {"from": "cashier", "sensitivity": "behavioural", "key": True}
    plan = load_descriptor(str(write_descriptor(tmp_path, document))).tables["transactions"].plan()
    kinds = {rule.name: rule.kind for rule in plan.columns}
    assert (kinds["customer_id"], kinds["order_id"], kinds["till_id"]) == ("subject", "key", "key")
    assert kinds["product_id"] == "attribute"
    assert plan.dated_by == "ordered_at"
    assert plan.columns[0].sensitivity is Sensitivity.DIRECT_IDENTIFIER


def test_a_cutoff_is_midnight_in_the_shops_zone(tmp_path: Path) -> None:
    document = {**shop_document(), "time_zone": "Asia/Shanghai"}
    document["targets"]["churn"]["cutoffs"] = {"train": [dt.date(2023, 6, 1)], "test": [dt.date(2023, 9, 1)]}
    churn = load_descriptor(str(write_descriptor(tmp_path, document))).targets.churn
    assert churn.train_cutoffs == (dt.datetime(2023, 5, 31, 16, tzinfo=dt.UTC),)


WRONG: list[tuple[Change, str]] = [
    (lambda d: lines(d)["amount"].pop("sensitivity"), "column 'transactions.amount' has no 'sensitivity'"),
    (lambda d: lines(d)["amount"].update(frm="x"), "column 'transactions.amount' has an unknown key 'frm'"),
    (lambda d: lines(d)["amount"].update({"from": "x"}), "column 'transactions.amount': needs either"),
    (lambda d: lines(d)["amount"].update(sensitivity="secret"), "column 'transactions.amount': sensitivity"),
    (lambda d: lines(d)["amount"].update(sensitivity="sensitive"), "'transactions.amount' must be behavioural"),
    (lambda d: lines(d)["customer_id"].update(sensitivity="behavioural"), "must be a direct_identifier"),
    (lambda d: lines(d).pop("order_id"), "table 'transactions' has no column 'order_id'"),
    (lambda d: lines(d).pop("customer_id"), "table 'transactions' has no column 'customer_id'"),
    (lambda d: d["tables"].pop("transactions"), "no table 'transactions'"),
    (lambda d: d["tables"].update(ghosts=d["tables"]["customers"]), "unknown table 'ghosts'"),
    (lambda d: d.update(time_zone="Mars/Olympus"), "unknown time_zone 'Mars/Olympus'"),
    (lambda d: d.update(colour="red"), "unknown key 'colour'"),
    (lambda d: d["targets"]["churn"].update(horizon_days=0), "the descriptor: targets.churn.horizon_days"),
    (lambda d: d["targets"].pop("clv"), "no 'targets.clv'"),
    (lambda d: lines(d)["amount"].update(mask="blur"), "'transactions.amount': mask: unknown mask blur"),
    (
        lambda d: lines(d)["amount"].update(mask=["phone"]),
        "'transactions.amount': mask: a mask is a name, or a mapping",
    ),
    (lambda d: lines(d)["amount"].update(mask={"fn": "card", "first": 9}), "must be a whole number from 0 to 6"),
    (lambda d: lines(d)["amount"].update(mask={"fn": "band"}), "mask band needs edges"),
]


@pytest.mark.parametrize(("change", "told"), WRONG, ids=[told for _, told in WRONG])
def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, change: Change, told: str) -> None:
    document = shop_document()
    change(document)
    with pytest.raises(BadInput) as raised:
        load_descriptor(str(write_descriptor(tmp_path, document)))
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "shop.yaml" in str(raised.value)


def test_an_unknown_dataset_lists_the_built_in_ones() -> None:
    with pytest.raises(BadInput, match=r"no dataset 'nowhere'.*complete_journey"):
        load_descriptor("nowhere")


def test_broken_yaml_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text("name: corner\ntables: [oops\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"can't be read as YAML \(shop.yaml, line \d"):
        load_descriptor(str(path))


def test_reading_a_descriptor_imports_no_framework() -> None:
    code = (
        "import sys; from features.datasets.descriptor import load_descriptor; load_descriptor('complete_journey');"
        "print(sorted({'feast', 'ibis', 'pandas', 'duckdb', 'pandera', 'faker'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
