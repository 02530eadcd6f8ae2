"""Events pushed into a home whose online rows are on Redis or PostgreSQL, or in a file: the same values everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import postgres, redis
from tests.features.pushes import split
from tests.features.test_push import SPLIT
from tests.home import Home
from tests.mlproject.test_server_online import token_of
from tests.shops import make_shop

Server = tuple[str, Callable[[], None], Callable[[], None]]


@pytest.fixture(params=["redis", "postgresql"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "redis":
        with redis.running() as found:
            yield found.url, found.stop, found.start
    else:
        with postgres.running() as database:
            yield database.url(database.database()), database.stop, database.start


def made(folder: Path, url: str | None) -> tuple[Home, list[dict[str, Any]]]:
    folder.mkdir()
    home, shop = Home(folder), make_shop(folder / "shop", customers=12)
    later = split(folder / "shop", SPLIT)
    if url is not None:
        home.path.mkdir()
        (home.path / "settings.yaml").write_text(yaml.safe_dump({"online": {"url": url}}))
    for command in (["ingest", str(shop)], ["build"], ["materialize"]):
        home.custos(*command)
    return home, later


def pushed(home: Home, events: list[dict[str, Any]], expect: int = 0) -> str:
    path = home.folder / "events.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return home.custos("push", str(path), "--json", expect=expect)


def read(home: Home, customers: list[str]) -> list[dict[str, Any]]:
    """Everybody's answer, without the token, which differs between homes."""
    tokens = [token_of(home, customer) for customer in customers]
    told = json.loads(home.custos("features", "get", "churn_v1", "--purpose", "retention", *tokens, "--json"))
    return [{name: value for name, value in row.items() if name != "customer"} for row in told]


@pytest.mark.slow
def test_what_is_pushed_there_is_as_in_a_file_and_outlives_a_server_that_is_away(
    server: Server, tmp_path: Path
) -> None:
    url, stop, start = server
    here, later = made(tmp_path / "here", None)
    there, _ = made(tmp_path / "there", url)
    customers = sorted({str(event["customer_id"]) for event in later})
    pushed(here, later[:8])
    assert json.loads(pushed(there, later[:8]))["online"] > 0
    assert read(there, customers) == read(here, customers)
    before = read(there, customers)
    again = json.loads(pushed(there, later[:8]))  # the same moment, the same people
    assert (again["added"], again["online"] > 0) == (0, True)
    assert read(there, customers) == before

    stop()
    pushed(there, later[8:], expect=4)
    assert b"can't be used" in there.spoken[-1]
    start()
    assert "online store: 12 people" in there.custos("materialize")  # which completes what the server missed
    soon = read(there, customers)
    mended = json.loads(pushed(there, later[8:]))  # they were stored before the server was found to be away
    assert (mended["added"], mended["repeated"], mended["online"] > 0) == (0, len(later) - 8, True)
    pushed(here, later[8:])
    assert soon == read(there, customers) == read(here, customers)
    there.custos("build", "--since")
    here.custos("build", "--since")
    assert "online store: 12 people" in there.custos("materialize")
    here.custos("materialize")
    assert read(there, customers) == read(here, customers)
    assert there.custos("doctor").count("bad ") == 0
