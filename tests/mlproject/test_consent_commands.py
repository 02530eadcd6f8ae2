"""Consents from the shop's table to every command that reads people, and out again with a person."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import mlproject
from mlproject.pipelines.ingest import ingest_dataset
from mlproject.stages import Stages
from mlproject.wiring import House
from privacy.classification import Purpose
from tests.home import Home
from tests.shops import make_shop

EARLY = dt.datetime(2022, 6, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
MARKETING = ["--purpose", "marketing"]


def consenting_shop(folder: Path, rows: list[tuple[str, str, bool, dt.datetime]], customers: int = 12) -> Path:
    """A few customers and their consents."""
    path = make_shop(folder, customers=customers)
    names = ("who", "purpose", "granted", "at")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    at = pa.array(columns.pop("at"), pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({**columns, "at": at}), folder / "consents.parquet")
    document = yaml.safe_load(path.read_text("utf-8"))
    declared = {name: {"from": name, "sensitivity": "behavioural"} for name in names[1:]}
    subject = {"customer_id": {"from": "who", "sensitivity": "direct_identifier"}}
    document["tables"]["consents"] = {"source": "consents.parquet", "columns": {**subject, **declared}}
    path.write_text(yaml.safe_dump(document), "utf-8")
    return path


GRANTS = [(f"c{number:05d}", "marketing", True, EARLY) for number in range(1, 9)]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """Twelve customers, eight of whom consent to marketing, built and online."""
    made = Home(tmp_path)
    made.custos("ingest", str(consenting_shop(tmp_path / "shop", GRANTS)))
    made.custos("build")
    made.custos("materialize")
    return made


def told(home: Home, out: Path, expect: int = 0) -> int:
    """How many people the marketing export of insight is about."""
    home.custos("features", "export", "insight_v1", *MARKETING, "--out", str(out), expect=expect)
    return pq.read_table(out).num_rows


@pytest.mark.slow
def test_every_command_reads_who_consents_and_nobody_else(home: Home, tmp_path: Path) -> None:
    assert told(home, tmp_path / "people.parquet") == 8
    said = home.custos("access", "grant", "--role", "marketer", *MARKETING, "--user", "max")
    assert "only who consented is served" in said
    explain = ["--role", "marketer", "--action", "features.read", "--resource", "service:insight_v1"]
    assert "only of people who consent to marketing" in home.custos("policy", "explain", *explain, *MARKETING)
    assert "Consents on record: 8" in home.custos("report")
    assert "consents and withdrawals on record: 8, of linked people under each of their tokens" in home.custos("doctor")
    tokens = pq.read_table(tmp_path / "people.parquet")["customer_token"].to_pylist()
    online = mlproject.connect(home.path, said.splitlines()[-1]).features.online(tokens, "insight_v1")
    assert set(online["status"]) == {"ok"}

    # One withdraws: the next ingest hears of it, and nothing has to be built before they are gone.
    rows = [*GRANTS, ("c00001", "marketing", False, dt.datetime(2024, 3, 1, tzinfo=dt.UTC))]
    home.custos("ingest", str(consenting_shop(tmp_path / "shop", rows)))
    online = mlproject.connect(home.path, said.splitlines()[-1]).features.online(tokens, "insight_v1")
    assert sorted(set(online["status"])) == ["ok", "unknown"]
    assert online["status"].tolist().count("unknown") == 1
    home.custos("build")
    assert told(home, tmp_path / "people.parquet") == 7
    event = json.loads((home.path / "audit" / "events.jsonl").read_text().splitlines()[-1])
    assert event["detail"] == {"rows": 7, "without_consent": 5}

    receipt = json.loads(home.custos("subject", "erase", "c00002", "--json"))
    assert {"name": "consents", "before": 1, "after": 0} in receipt["stores"]
    assert told(home, tmp_path / "people.parquet") == 6
    (home.path / "consents.ledger").unlink()
    home.custos("doctor", expect=1)
    home.custos("subject", "erase", "c00003", expect=4)
    told(home, tmp_path / "people.parquet", expect=3)  # no consent is on record


@pytest.mark.slow
@pytest.mark.parametrize("later", [5, 0], ids=["more consent later", "few ever consent"])
def test_stages_leave_out_the_cutoffs_that_too_few_consent_at(tmp_path: Path, later: int) -> None:
    home, moment = Home(tmp_path), dt.datetime(2023, 9, 1, tzinfo=dt.UTC)
    rows = [*GRANTS[:3], *((who, *given, moment) for who, *given, _ in GRANTS[3 : 3 + later])]
    home.custos("ingest", str(consenting_shop(tmp_path / "shop", rows)))
    home.custos("build")
    if not later:
        home.custos("features", "stages", *MARKETING, expect=3)
        assert "insight_v1 answers about 5 people or more at once" in home.spoken[-1].decode()
        return
    found = json.loads(home.custos("features", "stages", *MARKETING, "--json"))
    assert found["left_out"]
    assert max(found["left_out"]) < "2023-09-01" < min(found["cutoffs"])
    assert found["shares"]
    lines = home.custos("features", "stages", *MARKETING)
    assert f"; {len(found['left_out'])} of fewer people left out)" in lines
    events = [json.loads(line) for line in (home.path / "audit" / "events.jsonl").read_text().splitlines()]
    refused = [event for event in events if event["rule"] == "service-k"]
    assert len(refused) == 2 * len(found["left_out"])


@pytest.mark.slow
def test_a_model_is_trained_on_who_consents_and_says_how_many_do_not(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.path.mkdir()
    (home.path / "settings.yaml").write_text("lawful_bases: {retention: consent}\n")
    rows = [(f"c{number:05d}", "retention", True, EARLY) for number in range(1, 131)]
    home.custos("ingest", str(consenting_shop(tmp_path / "shop", rows, customers=150)))
    home.custos("build")
    said = home.custos("train", "churn", "--trials", "1")
    [note] = [line for line in said.splitlines() if "consent: " in line]
    assert re.search(r"consent: [1-9][\d,]* rows are left out of people who didn't consent then, or don't now", note)
    events = [json.loads(line) for line in (home.path / "audit" / "events.jsonl").read_text().splitlines()]
    reads = [event["detail"] for event in events if event["action"] == "features.read"]
    assert {detail["without_consent"] > 0 for detail in reads[:1]} == {True}
    assert reads[-1]["without_consent"] == 0  # what is asked of those who were let in


def test_a_first_run_trains_under_the_consents_it_brings_in(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.path.mkdir()
    (home.path / "settings.yaml").write_text("lawful_bases: {retention: consent}\n")
    house = House.open(home.path)
    assert house.policy.awaits_consent(Purpose.RETENTION, "train")  # and remembered, were it not forgotten
    path = consenting_shop(tmp_path / "shop", [("c00001", "retention", True, EARLY)])
    assert any(line.startswith("consents: 1 row in, 1 kept") for line in ingest_dataset(house, str(path), Stages()))
    assert not house.policy.awaits_consent(Purpose.RETENTION, "train")
    assert house.policy.decide(house.operator("retention"), "train", "model:churn").on_consent
    house.vault.close()
