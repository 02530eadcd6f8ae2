"""Real processes that push, erase and build at the same time, or are killed: every event is there once."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.feature_table import FEATURES
from features.inbox import Inbox
from features.storage import TableStore
from tests.features.pushes import split
from tests.features.test_push import SPLIT
from tests.home import Home
from tests.shops import make_shop

Events = list[dict[str, Any]]


def made(folder: Path) -> tuple[Home, Events]:
    """A home whose shop is built and online, and the events that came after."""
    home, shop = Home(folder), make_shop(folder / "shop", customers=12)
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
    told = home.custos("build", "--since")
    assert "of them as they were" in told
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


@pytest.mark.slow
def test_a_killed_push_is_completed_by_the_next(tmp_path: Path) -> None:
    calm, later = made(tmp_path / "calm")
    begun = time.monotonic()
    calm.process("push", written(calm, "all.jsonl", later))
    usual = time.monotonic() - begun
    killed, _ = made(tmp_path / "killed")
    file = written(killed, "all.jsonl", later)
    random = np.random.default_rng(7)
    for instant in usual * random.uniform(0.4, 1.0, 8):
        process = killed.start("push", file)
        try:
            process.wait(float(instant))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    killed.custos("push", file)
    assert state(killed) == state(calm)
    assert json.loads(killed.custos("push", file, "--json"))["repeated"] == len(later)
    assert killed.custos("doctor").count("bad ") == 0
