"""What `custos ingest` tells of people with several ids, and what the log and the report keep of it."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from features.inbox import Inbox
from mlproject.wiring import House
from privacy import Pseudonymiser
from privacy.classification import FEATURE_STORE
from tests.home import Home
from tests.identities import Row, document, line, write_identities
from tests.leaks import Scanner

DAYS = [dt.date(2024, 1, 1 + day) for day in range(28)]


def write(folder: Path, pairs: int, *, linked: bool) -> Path:
    """Write `pairs` of two customers of one e-mail address, and twice that many who differ in their birth dates."""
    people: list[Row] = []
    for number in range(pairs):
        mails = (f"ann{number}@shop.cn", f"ANN{number}@shop.cn " if linked else None)
        people += [{"customer": f"a{number}-{at}", "email": mail} for at, mail in enumerate(mails)]
        phones = [f"139{number:04d}1357"] * 2
        born = [dt.date(1980, 1, 1), dt.date(1981, 1, 1)]
        people += [{"customer": f"b{number}-{at}", "phone": phones[at], "born": born[at]} for at in range(2)]
    lines = [line(str(row["customer"]), f"o{at}", DAYS[at % 28], 3.0) for at, row in enumerate(people)]
    return write_identities(folder, people, lines)


def links_noted(home: Home) -> list[dict[str, object]]:
    events = [json.loads(text) for text in (home.path / "audit" / "events.jsonl").read_text().splitlines()]
    return [event for event in events if event["action"] == "link"]


def test_counts_are_told_and_noted_and_nobody_is(tmp_path: Path) -> None:
    home = Home(tmp_path)
    shop = write(tmp_path / "shop", 12, linked=True)
    told = home.custos("ingest", str(shop))
    assert "identity: 12 customers turned out to be another one (12 people), by what they share: email 24" in told
    assert "kept apart by a unique field: phone: customers.born 24" in told
    report = json.loads((home.path / "report.json").read_text())["dataset"]["links"]
    assert (report["joined"], report["conflicts"]) == (12, {"phone: customers.born": 24})
    (event,) = links_noted(home)
    assert (event["count"], event["outcome"]) == (12, "allow")
    assert len(str(event["commitment"]).split(":")) == 2
    planted = [f"ann{number}@shop.cn" for number in range(12)]
    planted += [text for number in range(12) for text in (f"139{number:04d}1357", f"+86139{number:04d}1357")]
    scanner = Scanner(planted)
    assert scanner.scan_tree(home.path) == []
    assert scanner.scan_bytes(b"".join(home.spoken), "spoken") == []


@pytest.mark.parametrize(("pairs", "told"), [(0, "0"), (3, "<10")])
def test_few_are_not_counted_out(tmp_path: Path, pairs: int, told: str) -> None:
    home = Home(tmp_path)
    shop = write(tmp_path / "shop", max(pairs, 1), linked=bool(pairs))
    assert f"identity: {told} customers turned out" in home.custos("ingest", str(shop))
    assert [event["count"] for event in links_noted(home)] == ([pairs] if pairs else [])
    assert json.loads((home.path / "report.json").read_text())["dataset"]["links"]["joined"] == (told if pairs else 0)


def taken(home: Home, customer: str) -> dict[str, Any]:
    house = House.open(home.path)
    token = Pseudonymiser(house.keyring, house.vault).pseudonymise(pa.array([customer]), FEATURE_STORE)[0].as_py()
    lines = [{"amount": 4.25}]
    return {"event": f"{token[-32:]}", "customer_token": token, "ordered_at": "2024-01-21T10:00:00Z", "lines": lines}


@pytest.mark.slow
def test_the_command_that_erases_takes_either_id(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.custos("ingest", str(write(tmp_path / "shop", 2, linked=False)))
    inbox, waiting = Inbox(home.path / "inbox"), [taken(home, who) for who in ("a0-0", "a0-1", "b0-0")]
    for event in waiting:  # which the API took before the two were found to be one
        inbox.put([event])
    home.custos("ingest", str(write(tmp_path / "shop", 2, linked=True)))
    home.custos("subject", "erase", "a0-1")
    assert [events for _, events in inbox.waiting()] == [[waiting[2]]]
    home.custos("subject", "erase", "a1-0")
    told = home.custos("ingest", str(tmp_path / "shop" / "shop.yaml"))
    assert "4 of the erased refused" in told


def test_a_home_from_before_goes_on_without_an_identity_block(tmp_path: Path) -> None:
    home = Home(tmp_path)
    given = document()
    given.pop("identity")
    for column in given["tables"]["customers"]["columns"].values():
        column.pop("identifies", None)
    people: list[Row] = [{"customer": "a"}, {"customer": "b"}]
    shop = write_identities(tmp_path / "shop", people, [line(who, who, DAYS[0], 1.0) for who in "ab"], given)
    assert "identity" not in home.custos("ingest", str(shop))
    assert links_noted(home) == []
