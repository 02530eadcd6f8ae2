"""Real processes that push, erase and build at the same time, or are killed: every event is there once."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.feature_table import FEATURES
from features.inbox import Inbox
from features.storage import TableStore
from mlproject.wiring import House
from privacy.classification import FEATURE_STORE
from privacy.tokens import handles_to_tokens
from tests.features.pushes import split
from tests.features.test_push import SPLIT
from tests.home import Home
from tests.shops import make_shop

Events = list[dict[str, Any]]


def made(folder: Path, customers: int = 12) -> tuple[Home, Events]:
    """A home whose shop is built and online, and the events that came after."""
    home, shop = Home(folder), make_shop(folder / "shop", customers=customers)
    later = split(folder / "shop", SPLIT)
    home.custos("ingest", str(shop))
    home.custos("build")
    home.custos("materialize")
    return home, later


def written(home: Home, name: str, events: Events) -> str:
    path = home.folder / name
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return str(path)


def state(home: Home) -> dict[str, Any]:
    """What is stored, without tokens."""
    protected = TableStore(home.path / "protected" / "corner_shop").manifest()
    features = TableStore(home.path / "features" / "corner_shop")
    return {
        "lines": protected["tables"]["transactions"]["digest"],
        "last": protected["last_event"],
        "features": features.manifest()["tables"][FEATURES]["digest"],
        "as_of": features.manifest()["as_of"],
        "state": json.loads((home.path / "state.json").read_text())["last_event"],
    }


@pytest.mark.slow
def test_push_inbox_and_their_words(tmp_path: Path) -> None:
    home, later = made(tmp_path)
    told = home.custos("push", written(home, "a.jsonl", later[:4]))
    assert told.startswith("push: 4 of 4 events added, 0 new people\nonline store: ")
    assert "1 quarantined (transactions.amount: missing 1)" in home.custos(
        "push", written(home, "b.jsonl", [*later[4:6], {**later[7], "amount": None}])
    )
    answer = json.loads(home.custos("push", written(home, "c.jsonl", later[:6]), "--json"))
    assert (answer["added"], answer["repeated"], answer["online"] > 0) == (0, 6, True)
    home.custos("push", written(home, "d.jsonl", [{**later[7], "amount": None}]), expect=1)
    home.custos("push", str(tmp_path / "none.jsonl"), expect=2)
    home.custos("push", expect=2)
    token = TableStore(home.path / "protected" / "corner_shop").read("people")["customer_token"][0].as_py()
    event = {"event": "ab" * 16, "customer_token": token, "ordered_at": "2024-01-22T10:00:00+00:00",
             "lines": [{"amount": 4.25, "category": "dairy"}, {"amount": 1.0, "product_id": "no number"}]}  # fmt: skip
    stranger = {**event, "event": "cd" * 16, "customer_token": "fs_nobody"}
    for _ in range(2):
        Inbox(home.path / "inbox").put([event, stranger])
        answer = json.loads(home.custos("push", "--inbox", "--json"))
        assert (answer["added"] + answer["repeated"], answer["tombstoned"]) == (2, 2)
        assert Inbox(home.path / "inbox").waiting() == []
    assert answer["added"] == 0
    anew = "0 of them as they were (cut-offs move with data time"
    assert anew in home.custos("build", "--since")  # eleven days after they were chosen
    day = {**later[0], "order_id": "one more", "ordered_at": "2024-01-30T09:00:00+00:00"}
    home.custos("push", written(home, "e.jsonl", [day]))
    kept = re.search(r"at (\d+) cut-offs, (\d+) of them as they were", home.custos("build", "--since"))
    assert kept is not None
    assert int(kept[2]) == int(kept[1]) - 1  # all but the new day: within a week they stay
    assert "online store: 12 people" in home.custos("materialize")
    assert home.custos("doctor").count("bad ") == 0


@pytest.mark.slow
def test_two_pushes_an_erasure_and_a_build_at_once_lose_nothing(tmp_path: Path) -> None:
    home, later = made(tmp_path)
    gone = later[0]["customer_id"]
    parts = [later[at::4] for at in range(4)]
    files = [written(home, f"{at}.jsonl", part) for at, part in enumerate(parts)]
    first = [home.start("push", file) for file in files[:2]]
    first += [home.start("subject", "erase", gone), home.start("build", "--since")]
    assert [process.wait(300) for process in first] == [0] * 4, (home.user / "commands.log").read_text()[-2000:]
    second = [home.start("push", file) for file in files[2:]]
    assert [process.wait(300) for process in second] == [0] * 2
    home.custos("subject", "erase", gone)
    whole = Home(tmp_path / "whole")
    whole.custos("ingest", str(make_shop(tmp_path / "whole" / "shop", customers=12)))
    whole.custos("subject", "erase", gone)
    told = [TableStore(one.path / "protected" / "corner_shop").read("transactions") for one in (home, whole)]
    order = [(name, "ascending") for name in ("ordered_at", "amount", "product_id", "discount")]
    columns = [name for name, _ in order]
    one, other = (table.select(columns).sort_by(order) for table in told)
    assert one.equals(other)
    assert home.custos("doctor").count("bad ") == 0


def killed_at(home: Home, instant: float, *command: str) -> None:
    """Start a command, and send it SIGKILL at an instant, unless it was done by then."""
    process = home.start(*command)
    try:
        process.wait(instant)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_killed_push_is_completed_by_the_next(tmp_path: Path) -> None:
    calm, later = made(tmp_path / "calm")
    begun = time.monotonic()
    calm.process("push", written(calm, "all.jsonl", later))
    usual = time.monotonic() - begun
    killed, _ = made(tmp_path / "killed")
    file = written(killed, "all.jsonl", later)
    for instant in usual * np.random.default_rng(7).uniform(0.4, 1.0, 8):
        killed_at(killed, float(instant), "push", file)
    killed.custos("push", file)
    assert state(killed) == state(calm)
    assert json.loads(killed.custos("push", file, "--json"))["repeated"] == len(later)
    assert killed.custos("doctor").count("bad ") == 0


def tokens_of(home: Home, who: list[str], domain: str) -> list[str]:
    """Their tokens in this home."""
    house = House.open(home.path)
    handles, known = house.vault.find(pa.array(who))
    assert known.all()
    tokens = handles_to_tokens(house.keyring, handles, domain).to_pylist()
    house.vault.close()
    return [str(token) for token in tokens]


def taken(home: Home, later: Events, who: list[str]) -> list[Events]:
    """What came later of them, as the API would take it: a request an order, in the order of their days."""
    tokens = dict(zip(who, tokens_of(home, who, FEATURE_STORE), strict=True))
    orders: dict[str, Events] = {}
    for event in later:
        if event["customer_id"] in tokens:
            orders.setdefault(event["order_id"], []).append(event)
    return [
        [
            {
                "event": hashlib.sha256(order.encode()).hexdigest()[:32],
                "customer_token": tokens[lines[0]["customer_id"]],
                "ordered_at": lines[0]["ordered_at"],
                "lines": [{name: line[name] for name in ("amount", "quantity", "category")} for line in lines],
            }
        ]
        for order, lines in orders.items()
    ]


def served(home: Home, who: list[str]) -> list[dict[str, Any]]:
    """What the service would read of them."""
    asked = ("features", "get", "churn_v1", "--purpose", "retention")
    rows = json.loads(home.custos(*asked, *tokens_of(home, who, "retention"), "--json"))
    assert {row["status"] for row in rows} == {"ok"}
    return [{name: np.nan if value is None else value for name, value in row["features"].items()} for row in rows]


@pytest.mark.slow
def test_a_killed_worker_of_the_inbox_loses_no_event_and_counts_none_twice(tmp_path: Path) -> None:
    calm, later = made(tmp_path / "calm", customers=40)
    killed, _ = made(tmp_path / "killed", customers=40)
    sold = pq.read_table(tmp_path / "calm" / "shop" / "lines.parquet")["customer"].to_pylist()
    who, kills = sorted({event["customer_id"] for event in later} & set(sold)), 10
    requests, inbox, begun = taken(killed, later, who), Inbox(killed.path / "inbox"), time.monotonic()
    assert len(requests) > kills
    Inbox(calm.path / "inbox").put([event for request in taken(calm, later, who) for event in request])
    calm.process("push", "--inbox")
    usual = time.monotonic() - begun
    for at, instant in enumerate(usual * np.random.default_rng(8).uniform(0.4, 1.0, kills)):
        inbox.put(requests[at])  # the API takes more between one worker and the next
        killed_at(killed, float(instant), "push", "--inbox")
    for request in requests[kills:]:
        inbox.put(request)
    killed.process("push", "--inbox")
    assert inbox.waiting() == []
    lines, ends = sum(len(event["lines"]) for request in requests for event in request), (state(killed), state(calm))
    for end in ends:
        del end["features"]  # somebody whose turn came earlier has a row of that day too
    assert ends[0] == ends[1]
    assert TableStore(killed.path / "protected" / "corner_shop").read("transactions").num_rows == len(sold) + lines
    for home in (killed, calm):  # all of it sent once more: nothing is added, and everybody's row is as of the last day
        Inbox(home.path / "inbox").put([event for request in taken(home, later, who) for event in request])
        answer = json.loads(home.custos("push", "--inbox", "--json"))
        assert (answer["added"], answer["repeated"], answer["online"]) == (0, lines, len(who))
    for one, other in zip(served(killed, who), served(calm, who), strict=True):
        assert one == pytest.approx(other, rel=1e-9, nan_ok=True)
    for home in (killed, calm):
        home.custos("build")
    assert state(killed) == state(calm)
    assert killed.custos("doctor").count("bad ") == 0
