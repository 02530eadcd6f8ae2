"""`custos quality` as people meet it: a stop, a warning, a page, a refusal; and nothing in it that is anybody's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlproject.cli import main
from mlproject.pipelines.quality import score_tags
from mlproject.wiring import House
from tests.canaries import CANARIES, write_shop
from tests.home import Home
from tests.leaks import Scanner
from tests.shops import make_shop

STRICT: dict[str, Any] = {"tables": {"transactions": {"columns": {"amount": {"completeness": 1, "on_breach": "stop"}}}}}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A shop ingested with a warning, then refused by a stop, then ingested as it asked at first."""
    made = Home(tmp_path_factory.mktemp("quality"))
    shop = write_shop(made.folder / "shop", customers=40)
    document = yaml.safe_load(shop.read_text())
    for asked, status in (({"completeness": 1}, 0), (STRICT, 1), ({"completeness": 1}, 0)):
        shop.write_text(yaml.safe_dump({**document, "quality": asked}, allow_unicode=True))
        made.custos("ingest", str(shop), expect=status)
    return made


def test_an_ingest_tells_its_warnings_and_the_report_keeps_them(home: Home) -> None:
    told = "completeness of transactions is at least 0.99"
    first, _, stopped, refused, *_ = [text.decode() for text in home.spoken]
    assert f"Mind: {told}" in first.splitlines()[-1]
    assert (stopped, "custos: completeness of transactions.amount is at least 0.99" in refused) == ("", True)
    assert "wanted 1; mend the source, or ask for less under 'quality'; nothing was kept" in refused
    assert told in home.custos("report")
    report = json.loads(home.custos("report", "--json"))["quality"]
    assert (report["outcome"], report["k"], report["tables"]["customers"]["completeness"]["value"]) == ("kept", 5, 1.0)


def test_the_scorecard_is_read_by_people_and_programs(home: Home) -> None:
    shown = home.custos("quality")
    assert "canary_shop, " in shown.splitlines()[0]
    assert "warn: completeness of transactions is at least" in shown.splitlines()[-1]
    card = json.loads(home.custos("quality", "--json"))
    amount = card["tables"]["transactions"]["columns"]["amount"]["scores"]["completeness"]
    rows = card["tables"]["transactions"]["rows"]["rows"]
    assert (amount["bound"], amount["value"]) == ("at least", pytest.approx((rows - 4) / rows, abs=1e-6))
    cards = json.loads(home.custos("quality", "--history", "--json"))
    assert [each["outcome"] for each in cards] == ["kept", "stopped", "kept"]
    assert len({each["digest"] for each in cards}) == 1  # what is asked of the data is no part of them
    lines = home.custos("quality", "--history").splitlines()
    assert len(lines) == 1 + 3 * 2 + 1
    assert [line.split()[2] for line in lines[1:4:2]] == ["kept", "stopped"]


def test_a_training_tags_its_run_with_what_it_learned_from(home: Home) -> None:
    tags = score_tags(House.open(home.path))
    assert sorted(tags) == ["quality.customers", "quality.transactions"]
    assert tags["quality.customers"] == "completeness 100 %, validity 100 %, uniqueness 100 %, volume 100 %"
    assert tags["quality.transactions"].startswith("completeness ≥ 99.9")


def test_the_page_is_written_beside_and_renamed(home: Home) -> None:
    page = home.folder / "quality.html"
    page.write_text("older")
    assert f"page: {page}" in home.custos("quality", "--html", str(page))
    assert page.read_text().startswith("<!doctype html>")
    assert not [path for path in home.folder.iterdir() if path.suffix == ".tmp"]
    for place in (home.path / "quality.html", home.folder / "none" / "page.html", home.folder / "page.pdf"):
        home.custos("quality", "--html", str(place), expect=2)
        assert not place.exists()


def test_an_ingest_that_was_stopped_is_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home(tmp_path)
    assert main(["quality", "--home", str(home.path)]) == 2
    assert "this home has no quality scorecard yet" in capsys.readouterr().err
    shop = write_shop(tmp_path / "shop", customers=20)
    shop.write_text(yaml.safe_dump({**yaml.safe_load(shop.read_text()), "quality": STRICT}, allow_unicode=True))
    home.custos("ingest", str(shop), expect=1)
    assert "stop: completeness of transactions.amount is at least" in home.custos("quality", expect=1)
    assert not (home.path / "state.json").exists()
    assert "custos run DATASET" in str(home.custos("report", expect=2) or home.spoken[-1])


@pytest.mark.parametrize(("role", "status"), [("analyst", 0), ("privacy_officer", 0), ("crm_service", 3)])
def test_it_is_for_whom_the_policy_lets_read_reports(role: str, status: int, home: Home) -> None:
    settings = home.path / "settings.yaml"
    settings.write_text(f"operator: somebody\nrole: {role}\n")
    try:
        home.custos("quality", expect=status)
    finally:
        settings.unlink()


def test_nothing_of_anybody_is_in_history_page_or_answers(home: Home) -> None:
    page = home.folder / "leaks.html"
    spoken = len(home.spoken)
    home.custos("quality", "--html", str(page))
    home.custos("quality", "--json", "--history")
    (home.folder / "spoken.txt").write_bytes(b"\n".join(home.spoken[spoken:]))
    scanner = Scanner([value for canary in CANARIES for value in canary.values()])
    for file in (home.path / "quality.jsonl", page, home.folder / "spoken.txt"):
        assert scanner.scan_file(file) == []


def test_an_erasure_leaves_the_aggregates_as_they_are(home: Home) -> None:
    before = (home.path / "quality.jsonl").read_bytes()
    home.custos("subject", "erase", str(CANARIES[1].customer_id))
    assert (home.path / "quality.jsonl").read_bytes() == before
    home.custos("ingest", str(home.folder / "shop" / "shop.yaml"))
    assert (home.path / "quality.jsonl").read_bytes().startswith(before)


def test_a_scorecard_that_cannot_be_kept_is_a_line_and_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, shop = tmp_path / "home", make_shop(tmp_path / "shop", customers=4)
    (home / "quality.lock").mkdir(parents=True)
    assert main(["ingest", str(shop), "--home", str(home)]) == 0
    assert (
        "Mind: the tables are published, but their scorecard isn't in the history: cannot lock"
        in capsys.readouterr().out
    )
    assert main(["report", "--home", str(home)]) == 0
    (home / "quality.lock").rmdir()
    assert main(["ingest", str(shop), "--home", str(home)]) == 0
    assert "Mind: the tables" not in capsys.readouterr().out
