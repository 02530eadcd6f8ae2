"""The tutorial's shop of several ids, as the page shows it: its files, what ingest tells, and who is one person."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from .home import Home
from .test_docs import TUTORIAL

CUSTOMERS = ("A-17", "card 77001245", "A-18", "A-19")


def ingested(folder: Path) -> tuple[Home, str]:
    """Write the page's files, and ingest them."""
    files = re.findall(r"```(?:csv|yml) (\S+)\n(.*?)```", TUTORIAL, re.DOTALL)
    assert [name for name, _ in files] == ["orders.csv", "members.csv", "shop.yaml"]
    for name, text in files:
        (folder / name).write_text(text, "utf-8")
    home = Home(folder)
    return home, home.custos("ingest", str(folder / "shop.yaml"))


def orders_by_token(home: Home) -> list[int]:
    (current,) = home.path.glob("protected/till_and_web/current")
    tokens = [token for file in current.glob("transactions/*.parquet") for token in pq.read_table(file)[0].to_pylist()]
    return sorted(tokens.count(token) for token in set(tokens))


def test_the_shop_of_the_page_says_what_the_page_says(tmp_path: Path) -> None:
    home, told = ingested(tmp_path)
    (shown,) = re.findall(r"```text\n(identity.*?)```", TUTORIAL, re.DOTALL)
    assert shown in told
    assert orders_by_token(home) == [1, 4]


@pytest.mark.slow
@pytest.mark.parametrize("customer", CUSTOMERS[:3])
def test_any_of_the_ids_erases_the_person(customer: str, tmp_path: Path) -> None:
    home, _ = ingested(tmp_path)
    home.custos("subject", "erase", customer)
    assert orders_by_token(home) == [1]


def end_state(home: Home) -> tuple[str, dict[str, int], list[int]]:
    (current,) = home.path.glob("protected/till_and_web/current")
    manifest = json.loads((current / "manifest.json").read_text())
    return manifest["digest"], {name: one["rows"] for name, one in manifest["tables"].items()}, orders_by_token(home)


@pytest.mark.slow
def test_an_ingest_that_links_killed_often_comes_to_the_same_end(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("undisturbed", "killed")]
    homes = []
    for folder in folders:
        folder.mkdir()
        home, _ = ingested(folder)
        members = folder / "members.csv"
        members.write_text(members.read_text().replace(",1985-09-30", ","))  # which alone kept A-19 apart
        homes.append(home)
    random = np.random.default_rng(11)
    shops = [str(folder / "shop.yaml") for folder in folders]
    for instant in random.uniform(1.0, 6.0, 5):
        process = homes[1].start("ingest", shops[1])
        try:
            process.wait(instant)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for home, shop in zip(homes, shops, strict=True):
        home.custos("ingest", shop)
    assert end_state(homes[1]) == end_state(homes[0])
    assert end_state(homes[0])[2] == [5]
