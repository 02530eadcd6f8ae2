"""The tutorial's way, by the commands it gives: from a folder of files to a prediction; and its worked example."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from features import sources
from features.checking.check import check
from features.datasets.descriptor import load_descriptor
from features.scaffold.draft import draft
from mlproject.wiring import build_serving
from privacy.classification import Purpose, Role
from privacy.policy import Principal

from .home import Home
from .shops import make_shop
from .test_docs import ROOT, TUTORIAL, commands

CDNOW = ROOT.parent / "shared" / "data" / "cdnow.parquet"
SHIPPED = ROOT / "features" / "datasets" / "cdnow.yaml"


def files_of_a_shop(folder: Path, customers: int) -> None:
    """Write what the tutorial's first step shows."""
    made = make_shop(folder / "made", customers=customers)
    lines = pq.read_table(made.with_name("lines.parquet")).to_pandas().drop(columns=["department", "discount"])
    lines = lines.rename(
        columns={"ts": "InvoiceDate", "quantity": "Quantity", "price": "UnitPrice", "stock": "StockCode"}
    )
    data = folder / "data"
    (data / "orders").mkdir(parents=True)
    for number, part in enumerate(np.array_split(np.arange(len(lines)), 2), 1):
        lines.iloc[part].to_csv(data / "orders" / f"part-{number:02d}.csv.gz", index=False)
    people = pq.read_table(made.with_name("people.parquet")).to_pandas().rename(columns={"born": "birth_date"})
    remarks = ["please call +44 20 7946 0958" if at % 3 == 0 else "likes tea" for at in range(len(people))]
    people.assign(remarks=remarks).to_csv(data / "members.csv", index=False)
    shutil.rmtree(folder / "made")


def decide(path: Path) -> None:
    """What the tutorial says of every line that is marked."""
    text = path.read_text("utf-8")
    assert "TO DECIDE" in text
    path.write_text(re.sub(r"(TO DECIDE:.*\n.*)}\n", r"\1, sensitivity: sensitive}\n", text), "utf-8")


def today(home: Home, at: int) -> str:
    """A line of an event on the last day that the home has, of its customers."""
    last = json.loads((home.path / "state.json").read_text())["last_event"]
    order = {"customer_id": f"c{at:05d}", "order_id": f"new-{at}", "ordered_at": last, "amount": 12.5}
    return json.dumps(order) + "\n"


@pytest.mark.slow
def test_the_tutorial_leads_from_files_to_a_prediction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    files_of_a_shop(tmp_path, customers=120)
    monkeypatch.chdir(tmp_path)
    decided, pushed = False, list[str]()
    for line in commands(TUTORIAL):
        words = shlex.split(line)[1:]
        if "cdnow" in line or words[0] == "serve":
            continue
        words = words[: words.index("--home")] if "--home" in words else words
        words = [word.replace(".shop/", "home/") for word in words]
        if words[0] == "push":
            Path("today.jsonl").write_text(today(home, 1))
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(today(home, 2).encode())))
        if words[:2] == ["dataset", "check"] and not decided:
            home.custos(*words, expect=2)
            decide(Path(words[2]))
            decided = True
        told = home.custos(*words, *(["--trials", "1"] if words[0] == "run" else []))
        pushed += [told] if words[0] == "push" else []
    assert pushed[0].startswith("push: 1 of 1 event added, 0 new people\nonline store: 1 person")
    assert json.loads(pushed[1])["online"] == 1
    scored = pd.read_parquet("churn.parquet")
    assert len(scored) > 100
    known = scored["customer_token"][:3].tolist()
    asking = Principal("crm", Role.CRM_SERVICE, Purpose.RETENTION)
    parts = build_serving(home.path)
    parts.champions.poll()
    answer = parts.predictor.predict(asking, known, ["churn", "clv"])
    assert [one["customer"] for one in answer["results"]] == known


def test_cdnow_is_described_as_published(tmp_path: Path) -> None:
    if not CDNOW.exists():
        pytest.skip("shared/data/cdnow.parquet is not part of the repository")
    shutil.copy(CDNOW, tmp_path)
    shutil.copy(SHIPPED, tmp_path)
    path = str(tmp_path / "cdnow.yaml")
    report = check(path)
    assert (report.findings, report.rows) == ([], {"transactions": 69_659})
    descriptor = load_descriptor(path)
    [table] = descriptor.tables.values()
    read = pd.concat(batch.to_pandas() for batch in sources.batches(descriptor, table))
    published = pd.read_parquet(CDNOW)
    assert read["customer_id"].nunique() == 23_570
    assert read["amount"].sum() == pytest.approx(published["value"].sum())
    days = published.groupby(["customer_id", "ts"]).ngroups
    assert read.groupby(["customer_id", "order_id"]).ngroups == days
    assert (read["ordered_at"].min(), read["ordered_at"].max()) == tuple(
        pd.Timestamp(day, tz="UTC") for day in ("1997-01-01", "1998-06-30")
    )


def test_a_draft_of_cdnow_finds_all_but_an_order_number(tmp_path: Path) -> None:
    if not CDNOW.exists():
        pytest.skip("shared/data/cdnow.parquet is not part of the repository")
    shutil.copy(CDNOW, tmp_path)
    made = draft(tmp_path, tmp_path / "shop.yaml")
    assert (made.missing, made.undecided) == (("order_id",), 1)
    assert "# order_id: {from: ts, type: string, sensitivity: behavioural}" in made.text


def test_the_shipped_descriptor_is_sound_and_says_what_is_missing(tmp_path: Path) -> None:
    report = check("cdnow")
    assert [(each.code, each.declared) for each in report.findings] == [("no_file", False)]
