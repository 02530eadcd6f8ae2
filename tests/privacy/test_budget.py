"""The epsilon ledger: what was reserved stays reserved, whatever dies, races, fills up or is damaged."""

from __future__ import annotations

import json
import math
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy import durable
from privacy.budget import Ledger
from privacy.errors import BadInput, EnvironmentFailed, Refused

from .forked import after, exit_status, kill_at, killed

SHOP = ("shop", "retention")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "budget.json"


def test_what_is_reserved_is_gone_and_adds_up_exactly(path: Path) -> None:
    ledger = Ledger(path, 1.0)
    for _ in range(10):  # ten floats of 0.1 add up to a little less than 1
        ledger.reserve(*SHOP, 0.1, "count")
    assert ledger.remaining(*SHOP) == 0
    with pytest.raises(Refused, match=r"0 of 1\.0 is"):
        ledger.reserve(*SHOP, 1e-6, "count")
    assert len(ledger.spendings()) == 10


def test_data_sets_and_purposes_have_budgets_of_their_own(path: Path) -> None:
    ledger = Ledger(path, 1.0)
    ledger.reserve("shop", "retention", 1.0, "count")
    for pair in (("shop", "value"), ("other", "retention")):
        assert ledger.remaining(*pair) == 1
        ledger.reserve(*pair, 1.0, "count")


def test_a_ledger_that_lacks_what_was_told_elsewhere_is_refused(path: Path) -> None:
    ledger = Ledger(path, 1.0)
    ledger.require_whole({})
    made = ledger.reserve(*SHOP, 0.3, "count")
    told = {made: (*SHOP, 0.3)}
    ledger.require_whole(told)
    whole = path.read_text()
    for kept, put in (("0.3", "0.03"), ("retention", "value"), ("shop", "shop2"), (made, "eps_0")):
        path.write_text(whole.replace(f'"{kept}"', f'"{put}"'))
        with pytest.raises(EnvironmentFailed, match=r"lacks 1 release\(s\)"):
            ledger.require_whole(told)
    path.unlink()
    with pytest.raises(EnvironmentFailed, match=r"lacks 1 release\(s\)"):
        ledger.require_whole(told)


def test_a_reservation_is_on_disk_before_it_is_used_and_a_commit_changes_no_sum(path: Path) -> None:
    made = Ledger(path, 1.0).reserve(*SHOP, 0.25, "count by churn_band")
    (one,) = Ledger(path, 1.0).spendings()
    assert (one.id, one.state, one.epsilon, one.what) == (made, "reserved", Decimal("0.25"), "count by churn_band")
    Ledger(path, 1.0).commit(made)
    (one,) = Ledger(path, 1.0).spendings()
    assert one.state == "spent"
    assert Ledger(path, 1.0).remaining(*SHOP) == Decimal("0.75")
    with pytest.raises(BadInput, match="no such reservation"):
        Ledger(path, 1.0).commit("eps_0")


def test_asking_what_would_be_left_takes_nothing(path: Path) -> None:
    ledger = Ledger(path, 1.0)
    assert ledger.require(*SHOP, 0.4) == Decimal("0.6")
    assert not path.exists()


def test_a_lower_total_leaves_nothing_and_a_higher_one_more(path: Path) -> None:
    Ledger(path, 1.0).reserve(*SHOP, 0.8, "count")
    with pytest.raises(Refused, match=r"0 of 0\.5 is"):
        Ledger(path, 0.5).require(*SHOP, 0.1)
    assert Ledger(path, 2.0).remaining(*SHOP) == Decimal("1.2")


@pytest.mark.parametrize("epsilon", [0.0, -0.5, math.nan, math.inf, -math.inf])
def test_an_epsilon_that_is_none_is_refused_and_nothing_written(epsilon: float, path: Path) -> None:
    with pytest.raises(BadInput):
        Ledger(path, 1.0).reserve(*SHOP, epsilon, "count")
    assert not path.exists()


@settings(max_examples=8, deadline=None)
@given(st.lists(st.floats(0.01, 0.9), max_size=12))
def test_never_more_than_the_total(tmp_path_factory: pytest.TempPathFactory, amounts: list[float]) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("ledger") / "budget.json", 1.0)
    for epsilon in amounts:
        before = ledger.remaining(*SHOP)
        try:
            ledger.reserve(*SHOP, epsilon, "count")
        except Refused:
            assert Decimal(repr(epsilon)) > before
            assert ledger.remaining(*SHOP) == before
        else:
            assert ledger.remaining(*SHOP) == before - Decimal(repr(epsilon)) >= 0


def _spend(path: Path) -> int:
    ledger, won = Ledger(path, 1.0), 0
    for _ in range(10):
        try:
            ledger.commit(ledger.reserve(*SHOP, 0.05, "count"))
            won += 1
        except Refused:
            continue
    return won


def test_processes_side_by_side_share_one_budget(path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        won = sum(pool.map(_spend, [path] * 4))
    held = Ledger(path, 1.0).spendings()
    assert won == len(held) == 20
    assert Ledger(path, 1.0).remaining(*SHOP) == 0
    assert {one.state for one in held} == {"spent"}


def test_whoever_dies_between_reserving_and_drawing_has_spent(path: Path) -> None:
    def dies() -> None:
        Ledger(path, 1.0).reserve(*SHOP, 0.9, "count")
        os.kill(os.getpid(), signal.SIGKILL)

    assert exit_status(dies) == -signal.SIGKILL
    (one,) = Ledger(path, 1.0).spendings()
    assert one.state == "reserved"
    with pytest.raises(Refused):
        Ledger(path, 1.0).reserve(*SHOP, 0.2, "count")


def test_a_kill_at_any_step_leaves_a_ledger_that_holds_all_or_nothing(path: Path) -> None:
    Ledger(path, 1.0).reserve(*SHOP, 0.1, "before")
    before, seen = path.read_bytes(), set()
    for step in range(1, 200, 4):
        path.write_bytes(before)

        def work(step: int = step) -> None:
            ledger = Ledger(path, 1.0)
            kill_at(after(step))
            ledger.reserve(*SHOP, 0.1, "count")

        died = killed(work)
        held = len(Ledger(path, 1.0).spendings())
        assert held in (1, 2)
        seen.add((died, held))
        if not died:
            break
    assert seen == {(True, 1), (True, 2), (False, 2)}


def test_a_full_disk_refuses_before_anything_is_drawn(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(path, 1.0)
    ledger.reserve(*SHOP, 0.1, "before")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable.os, "fsync", full)
    with pytest.raises(EnvironmentFailed, match="No space left"):
        ledger.reserve(*SHOP, 0.1, "count")
    monkeypatch.undo()
    assert ledger.remaining(*SHOP) == Decimal("0.9")


@pytest.mark.parametrize(
    "damage",
    [
        lambda told: {**told, "format": 2},
        lambda told: {"format": 1},
        lambda told: {**told, "spendings": [{**told["spendings"][0], "epsilon": "-5"}]},
        lambda told: {**told, "spendings": [{**told["spendings"][0], "epsilon": "NaN"}]},
        lambda told: {**told, "spendings": [{**told["spendings"][0], "epsilon": 0.1}]},
        lambda told: {**told, "spendings": [{**told["spendings"][0], "state": "refunded"}]},
        lambda told: {**told, "spendings": [{**told["spendings"][0], "more": 1}]},
        lambda told: {**told, "spendings": [{}]},
        lambda told: {**told, "spendings": 3},
    ],
)
def test_a_damaged_ledger_refunds_nothing(damage, path: Path) -> None:  # type: ignore[no-untyped-def]
    Ledger(path, 1.0).reserve(*SHOP, 0.9, "count")
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    with pytest.raises(EnvironmentFailed, match="damaged"):
        Ledger(path, 1.0).reserve(*SHOP, 0.1, "count")


def test_the_clock_changes_nothing(path: Path) -> None:
    Ledger(path, 1.0).reserve(*SHOP, 0.9, "count")
    told = json.loads(path.read_text())
    told["spendings"][0]["at"] = "1970-01-01T00:00:00+00:00"
    path.write_text(json.dumps(told))
    assert Ledger(path, 1.0).remaining(*SHOP) == Decimal("0.1")
