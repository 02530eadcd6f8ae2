"""A push that waited, or goes on for long, works with the home as it is by then."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from features.storage import TableStore
from mlproject.pipelines.push import push_lines
from mlproject.wiring import House
from tests.features.pushes import split
from tests.features.test_push import SPLIT
from tests.home import Home
from tests.shops import make_shop


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home, shop = Home(tmp_path), make_shop(tmp_path / "shop", customers=8)
    (tmp_path / "later.json").write_text(json.dumps(split(tmp_path / "shop", SPLIT)))
    home.custos("ingest", str(shop))
    return home


def lines(home: Home) -> list[bytes]:
    return [json.dumps(event).encode() for event in json.loads((home.folder / "later.json").read_text())]


def test_what_an_ingest_came_to_forbid_meanwhile_is_not_stored(home: Home) -> None:
    house, shop = House.open(home.path), home.folder / "shop" / "shop.yaml"
    store = TableStore(home.path / "protected" / "corner_shop")
    assert "category" in store.read("transactions").column_names

    def slowly() -> Iterator[bytes]:
        yield from lines(home)
        document = yaml.safe_load(shop.read_text())
        document["tables"]["transactions"]["columns"]["category"]["sensitivity"] = "sensitive"
        shop.write_text(yaml.safe_dump(document))
        home.custos("ingest", str(shop))

    pushed = push_lines(house, slowly())
    assert pushed.added == len(lines(home)) > 0
    assert "category" not in store.read("transactions").column_names


def test_an_ingest_tells_how_much_of_what_was_pushed_it_replaces(home: Home) -> None:
    pushed = push_lines(House.open(home.path), lines(home))
    told = home.custos("ingest", str(home.folder / "shop" / "shop.yaml"))
    assert f"Mind: {pushed.added} rows had been pushed since the last ingest" in told
    assert "had been pushed" not in home.custos("ingest", str(home.folder / "shop" / "shop.yaml"))


def test_a_home_is_opened_anew_where_its_vault_keys_or_policy_are_others(home: Home) -> None:
    house = House.open(home.path)
    push_lines(house, lines(home)[:1])
    assert house.renewed() is house
    for file in (house.paths.vault, house.paths.key_store):
        opened = house.renewed()
        copy = file.with_suffix(".copy")
        shutil.copy(file, copy)
        copy.replace(file)  # as a restored backup would lie there
        assert opened.renewed() is not opened
    opened = house.renewed()
    home.custos("keys", "rotate")
    assert opened.renewed() is not opened
