"""A home whose online rows are on Redis or PostgreSQL, as settings.yaml says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from mlproject.settings import OnlinePlace, load_settings
from mlproject.wiring import House
from privacy import Pseudonymiser
from privacy.errors import BadInput
from tests import postgres, redis
from tests.canaries import CANARIES, write_shop
from tests.home import Home

WHO, OTHER = (str(canary.customer_id) for canary in CANARIES[:2])


@pytest.fixture(params=["redis", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "redis":
        with redis.running() as server:
            yield server.url
    else:
        with postgres.running() as database:
            yield database.url(database.database())


@pytest.mark.slow
def test_rows_are_put_there_read_there_and_erased_there(url: str, tmp_path: Path) -> None:
    home, settings = Home(tmp_path), tmp_path / "home" / "settings.yaml"
    home.custos("ingest", str(write_shop(tmp_path / "shop", customers=15)))
    home.custos("build")
    home.custos("materialize")
    file = home.path / "feast" / "online.db"
    who, other = (token_of(home, customer) for customer in (WHO, OTHER))
    here = read(home, who, other)
    assert [row["status"] for row in here] == ["ok", "ok"]

    settings.write_text(yaml.safe_dump({"online": {"url": url}}))
    assert "no online features yet" in refused(home, "features", "get", "churn_v1", "--purpose", "retention", who)
    home.custos("materialize")
    assert not file.exists()
    assert read(home, who, other) == here
    receipt = json.loads(home.custos("subject", "erase", WHO, "--json"))
    [gone] = [store for store in receipt["stores"] if store["name"] == "online features"]
    assert gone["before"] > 0
    assert gone["after"] == 0
    home.custos("materialize")
    assert [row["status"] for row in read(home, who, other)] == ["unknown", "ok"]
    [online] = [one for one in json.loads(home.custos("doctor", "--json")) if one["what"] == "online"]
    assert online["outcome"] == "ok"


@pytest.mark.slow
def test_a_server_that_is_away_is_told_in_one_line(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with redis.running() as server:
        home.path.mkdir()
        (home.path / "settings.yaml").write_text(yaml.safe_dump({"online": {"url": server.url}}))
        home.custos("ingest", str(write_shop(tmp_path / "shop", customers=15)))
        home.custos("build")
        home.custos("materialize")
        who = token_of(home, WHO)
        server.stop()
        asked = ("features", "get", "churn_v1", "--purpose", "retention", who)
        assert "Redis can't be used" in refused(home, *asked)
        assert "Redis can't be used" in refused(home, "materialize")
        assert "Redis can't be used" in refused(home, "subject", "erase", WHO)
        server.start()
        home.custos("materialize")
        assert [row["status"] for row in read(home, who)] == ["ok"]


def test_a_password_is_in_its_variable_and_nowhere_else(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("online: {url: 'rediss://custos@cache:6379/0', password_env: ONLINE_PASSWORD}\n")
    place = load_settings(file).online
    assert place.address({"ONLINE_PASSWORD": "p@ss/word"}) == "rediss://custos:p%40ss%2Fword@cache:6379/0"
    assert OnlinePlace("redis://cache", "P").address({"P": "x"}) == "redis://:x@cache"
    assert OnlinePlace().address({}) == ""
    with pytest.raises(BadInput, match="ONLINE_PASSWORD is not set"):
        place.address({})


@pytest.mark.parametrize(
    "written",
    ["{url: 'redis://:secret@cache'}", "{url: 'mysql://cache/x'}", "{url: 'postgresql://cache/x?password=y'}",
     "{url: 'unix:///tmp/s', password_env: X}", "{url: 'redis://c', password_env: 'a b'}", "{place: x}", "[]"],
)  # fmt: skip
def test_what_is_no_place_is_refused_without_repeating_it(tmp_path: Path, written: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"online: {written}\n")
    with pytest.raises(BadInput, match="the setting online means nothing") as refusal:
        load_settings(file)
    assert "secret" not in str(refusal.value)


def token_of(home: Home, customer: str) -> str:
    house = House.open(home.path)
    return Pseudonymiser(house.keyring, house.vault).pseudonymise(pa.array([customer]), "retention")[0].as_py()


def read(home: Home, *tokens: str) -> list[dict]:
    return json.loads(home.custos("features", "get", "churn_v1", "--purpose", "retention", *tokens, "--json"))


def refused(home: Home, *arguments: str) -> str:
    home.custos(*arguments, expect=4)
    return home.spoken[-1].decode()
