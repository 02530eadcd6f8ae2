"""A shop that marks lines, through the real command line: the gate holds what it can't bound, and says so."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.features.test_inference import MARKS, marked_shop
from tests.home import Home

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A shop of 60 people, whom an attack can't bound, run to models that wait."""
    made = Home(tmp_path_factory.mktemp("marked"))
    marked_shop(made.folder / "shop", MARKS, customers=60)
    told = made.custos("run", str(made.folder / "shop" / "shop.yaml"), "--trials", "1")
    assert "What failed is neither promoted nor told" in told
    return made


def events(home: Home, action: str) -> list[dict[str, object]]:
    lines = (home.path / "audit" / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["action"] == action]


def test_a_model_that_the_gate_cannot_clear_waits(home: Home) -> None:
    report = json.loads(home.custos("report", "--json"))
    assert report["inference"]["marked"] == ["infant", "health"]
    verdicts = report["inference"]["verdicts"]
    assert {verdict["what"] for verdict in verdicts} == {
        f"{kind}:{name}"
        for kind, names in (
            ("service", ("churn_v1", "clv_v1", "insight_v1", "profile_v1")),
            ("model", ("churn", "clv")),
        )
        for name in names
    }
    assert not all(verdict["passed"] for verdict in verdicts)
    model = report["models"]["churn"]
    assert (model["champion"], model["outcome"]) == (None, "challenger")
    assert "the inference gate refuses it" in model["message"]
    with closing(sqlite3.connect(home.path / "mlflow" / "mlflow.db")) as connection:
        shown = connection.execute("SELECT value FROM tags WHERE key = 'mlflow.note.content'").fetchall()
    # What the run's page says is how it ended.
    assert ("\n\n".join((model["message"], *model["notes"])),) in shown
    assert "marked lines left out" in home.custos("report")
    assert "inference gate" in [stage["name"] for stage in report["stages"]]
    assert events(home, "inference.test")


def test_promoting_it_fails_and_checking_again_says_why(home: Home) -> None:
    home.custos("promote", "churn", expect=1)
    assert "`custos inference check` looks for the fewest features" in home.custos("report")
    told = home.custos("inference", "check", expect=1)
    assert "Inference of infant, health" in told
    assert "FAILED" in told
    assert "look for what to withhold" in home.spoken[-1].decode()
    found = json.loads(home.custos("report", "--json"))["inference"]
    failed = {each["what"] for each in found["verdicts"] if not each["passed"] and each["what"].startswith("service:")}
    ways = {f"service:{name}": way for way in found["way_out"]["ways"] for name in way["services"]}
    assert set(ways) == failed
    assert (ways["service:profile_v1"]["may_withhold"], ways["service:profile_v1"]["passes"]) == (0, False)
    for name, way in ways.items():
        passes = "would pass without" if way["passes"] else "can't pass by withholding"
        [line] = [line for line in told.splitlines() if passes in line and name.removeprefix("service:") in line]
        assert str(len(way["withhold"])) in line or not way["passes"]
    assert home.custos("report").count("by withholding") == told.count("by withholding")
    home.custos("promote", "churn", expect=1)
    assert "failed the inference gate" in home.spoken[-1].decode()


def test_a_missing_flag_file_fails_closed(home: Home, tmp_path: Path) -> None:
    [flags] = (home.path / "inference").glob("*.sealed")
    away = flags.rename(tmp_path / flags.name)
    try:
        section = json.loads(home.custos("inference", "check", "--json", expect=1))
        assert all("the inference flags are gone" in verdict["why"] for verdict in section["verdicts"])
        home.custos("subject", "erase", "c00003", expect=4)
    finally:
        away.rename(flags)


def test_asking_for_infant_buyers_is_refused_and_audited(home: Home) -> None:
    from mlproject.wiring import House
    from privacy.tokens import translate

    house = House.open(home.path)
    own = house.stores.protected_store("corner_shop").read("people")["customer_token"].slice(0, 1).combine_chunks()
    mine = translate(house.sealed, own, "features", "retention")[0].as_py()
    before = len(events(home, "features.read"))
    for asked in ("infant_buyers", "新生儿", "pregnancy-score"):
        for token in (mine, "nonsense"):  # the question is refused, whoever it is about
            home.custos("features", "get", asked, "--purpose", "retention", token, expect=3)
            told = home.spoken[-1].decode()
            assert "no-sensitive-inference" in told
            assert asked not in told
            event = events(home, "features.read")[-1]
            assert (event["outcome"], event["rule"]) == ("deny", "no-sensitive-inference")
    assert len(events(home, "features.read")) == before + 6


def test_what_failed_is_not_told_either(home: Home, tmp_path: Path) -> None:
    out = str(tmp_path / "features.parquet")
    home.custos("features", "export", "churn_v1", "--purpose", "retention", "--out", out, expect=1)
    assert b"churn_v1 failed the inference gate" in home.spoken[-1]
    home.custos("features", "get", "churn_v1", "--purpose", "retention", "nonsense", expect=1)
    assert not Path(out).exists()


def test_a_model_that_waits_is_told_as_such(home: Home) -> None:
    waits = b"there is no champion of churn: version 2 waits for promotion, which the inference gate refuses"
    home.custos("count", "--by", "churn_band", "--purpose", "retention", "--epsilon", "0.1", "--dry-run", expect=2)
    assert waits in home.spoken[-1]
    assert waits.decode() in home.custos("doctor")


def test_who_may_test_it_and_that_a_refusal_overwrites_no_verdict(home: Home) -> None:
    settings = home.path / "settings.yaml"
    before = json.loads(home.custos("inference", "check", "--json", expect=1))
    for role, status in (("auditor", 3), ("privacy_officer", 1)):
        settings.write_text(f"role: {role}\n")
        try:
            home.custos("inference", "check", expect=status)
        finally:
            settings.unlink()
        assert json.loads(home.custos("report", "--json"))["inference"] == before


def test_an_erasure_empties_the_flags_too(home: Home) -> None:
    receipt = json.loads(home.custos("subject", "erase", "c00003", "--json"))
    stores = {store["name"]: store for store in receipt["stores"]}
    assert stores["inference flags"]["before"] > 0
    assert stores["inference flags"]["after"] == 0


def test_proposals_are_printed_as_yaml_and_json(home: Home) -> None:
    shop = str(home.folder / "shop" / "shop.yaml")
    from mlproject.cli import main

    place = ("--home", str(home.path))
    assert main(["inference", "propose", shop, *place]) == 0
    assert main(["inference", "propose", shop, "--json", *place]) == 0
