"""A home on a disk that fills up, at every stage: one line, nothing half-written, and the next run completes."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from features.storage import TableStore
from mlproject.cli import main
from tests.features.pushes import split
from tests.features.test_push import SPLIT
from tests.home import Home
from tests.shops import make_shop
from tests.small_disk import all_but, mounted

pytestmark = pytest.mark.slow

SPARE = (0, 30_000, 120_000)
"""Bytes that are left: for nothing at all, for a few small files, for some of what the stage writes."""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with mounted(tmp_path / "home", 200_000):
        yield Home(tmp_path)


def state(home: Home) -> dict[str, Any]:
    """What is published, by store."""
    stores = {room: TableStore(home.path / room / "corner_shop") for room in ("protected", "features")}
    return {room: None if store.snapshot() is None else store.manifest() for room, store in stores.items()}


def run(home: Home, stage: tuple[str, ...]) -> tuple[int, str]:
    """Run one command in this process, whatever becomes of it; its status, and what it said of a failure."""
    shown, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(told):
        status = main([*stage, "--home", str(home.path)])
    assert "Traceback" not in told.getvalue()
    return status, "".join(line for line in told.getvalue().splitlines() if line.startswith("custos: "))


def on_a_full_disk(home: Home, *stage: str) -> None:
    """Run a stage with more and more room, until it has enough; without, it says so in one line. Then run it again."""
    failures, before = 0, state(home)
    for spare in SPARE:
        with all_but(home.path, spare):
            status, line = run(home, stage)
        if status == 0:
            break
        failures += 1
        assert status == 4, line
        assert "unforeseen" not in line
        assert "space" in line or "disk is full" in line, line
        assert state(home) == before or spare, line  # with some room it may be published, and fail after that
    assert failures, "there was room enough with none"
    home.custos(*stage)
    assert home.custos("doctor").count("bad ") == 0


def test_every_stage_until_a_push_is_online(home: Home, tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", customers=12)
    later = split(tmp_path / "shop", SPLIT)
    events = tmp_path / "later.jsonl"
    events.write_text("".join(json.dumps(event) + "\n" for event in later))
    on_a_full_disk(home, "ingest", str(shop))
    on_a_full_disk(home, "build")
    on_a_full_disk(home, "materialize")
    on_a_full_disk(home, "push", str(events))
    assert json.loads(home.custos("push", str(events), "--json"))["repeated"] == len(later)
    calm = Home(tmp_path / "calm")
    for command in (("ingest", str(shop)), ("build",), ("materialize",), ("push", str(events))):
        calm.custos(*command)
    lines = [TableStore(one.path / "protected" / "corner_shop").manifest() for one in (home, calm)]
    assert lines[0]["digest"] == lines[1]["digest"]
