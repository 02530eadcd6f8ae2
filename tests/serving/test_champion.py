"""Following the champion: swapped when sound, refused when broken, never lost."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from privacy.errors import CheckFailed
from serving.champion import ASK_ANYWAY_SECONDS, RETRY_REFUSED_SECONDS, ChampionFollower, file_stamp
from tests.serving.shop import FileRegistry, LinearModel, Ref
from training.models import try_out


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(tmp_path: Path) -> FileRegistry:
    made = FileRegistry(tmp_path / "aliases.json")
    made.point(churn=1, clv=1)
    return made


@pytest.fixture
def follower(registry: FileRegistry, clock: Clock) -> Iterator[ChampionFollower]:
    made = ChampionFollower(registry, clock=clock)
    yield made
    made.stop()


def version(follower: ChampionFollower, target: str) -> str | None:
    champion = follower.current(target)
    return champion.version if champion else None


def test_nothing_is_in_service_before_the_first_poll(follower: ChampionFollower) -> None:
    assert follower.current("clv") is None


def test_a_moved_alias_is_followed_and_the_other_target_untouched(
    follower: ChampionFollower, registry: FileRegistry
) -> None:
    follower.poll()
    churn, before = follower.current("churn"), follower.current("clv")
    registry.point(churn=1, clv=2)
    follower.poll()
    assert version(follower, "clv") == "2"
    assert follower.current("churn") is churn
    assert before is not None
    assert before.version == "1"  # a request that began with it still holds it, whole
    registry.point(churn=1, clv=1)
    follower.poll()
    assert version(follower, "clv") == "1"  # back again, as after a rollback


@pytest.mark.parametrize("broken", [13, 14])
def test_a_broken_version_is_refused_and_reported_while_the_old_one_serves(
    follower: ChampionFollower, registry: FileRegistry, broken: int, caplog: pytest.LogCaptureFixture
) -> None:
    follower.poll()
    registry.point(churn=1, clv=broken)
    with caplog.at_level(logging.INFO, "custos.champion"):
        follower.poll()
    assert version(follower, "clv") == "1"
    state = follower.states()["clv"]
    assert (state.serving, state.refused) == ("1", str(broken))
    assert "champion refused: clv" in caplog.text
    assert "SECRET" not in caplog.text + state.reason  # what a model raises may quote data


def test_a_refused_version_is_retried_later_not_at_once(
    follower: ChampionFollower, registry: FileRegistry, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    follower.poll()
    registry.point(churn=1, clv=13)
    with caplog.at_level(logging.ERROR, "custos.champion"):
        for _ in range(3):
            follower.poll()
        assert caplog.text.count("refused") == 1
        clock.now += RETRY_REFUSED_SECONDS
        follower.poll()
        assert caplog.text.count("refused") == 2
    registry.point(churn=1, clv=3)
    follower.poll()
    assert version(follower, "clv") == "3"
    assert follower.states()["clv"].refused is None


def test_a_registry_that_is_away_costs_nothing_that_serves(follower: ChampionFollower, registry: FileRegistry) -> None:
    follower.poll()
    registry.path.unlink()
    follower.poll()
    assert version(follower, "churn") == "1"
    assert "away" in follower.states()["churn"].reason
    registry.point(churn=2, clv=2)
    follower.poll()
    assert version(follower, "churn") == "2"
    assert follower.states()["churn"].reason == ""


def test_a_missing_champion_is_told(follower: ChampionFollower, registry: FileRegistry) -> None:
    registry.point(churn=1)
    follower.poll()
    assert version(follower, "churn") == "1"
    assert version(follower, "clv") is None
    assert "no champion" in follower.states()["clv"].reason


class OneForAll(LinearModel):
    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        return np.zeros(1)


def test_warming_refuses_a_model_that_answers_nonsense() -> None:
    try_out(LinearModel("clv", 1.0))
    for broken in (LinearModel("clv", float("inf")), OneForAll("clv")):
        with pytest.raises(CheckFailed):
            try_out(broken)


class CountingRegistry(FileRegistry):
    asked = 0

    def champion(self, target: str) -> Ref | None:
        self.asked += 1
        return super().champion(target)


def test_a_quiet_registry_is_not_asked_and_a_stirred_one_is(tmp_path: Path, clock: Clock) -> None:
    registry = CountingRegistry(tmp_path / "aliases.json")
    registry.point(churn=1, clv=1)
    follower = ChampionFollower(registry, stamp=file_stamp(registry.path), clock=clock)
    for _ in range(5):
        follower.poll_if_stirred()
    assert registry.asked == 2  # once a target
    registry.point(churn=1, clv=2)
    follower.poll_if_stirred()
    assert version(follower, "clv") == "2"
    clock.now += ASK_ANYWAY_SECONDS
    follower.poll_if_stirred()
    assert registry.asked == 6
    registry.path.unlink()
    for asked in (8, 10):  # away: asked every time, until it answers
        follower.poll_if_stirred()
        assert registry.asked == asked
    follower.stop()


def test_a_stamp_sees_journals_too(tmp_path: Path) -> None:
    stamp = file_stamp(tmp_path / "mlflow.db")
    seen = [stamp()]
    for name in ("mlflow.db", "mlflow.db-wal"):
        (tmp_path / name).write_bytes(b"x")
        seen.append(stamp())
    assert seen[0] != seen[1] != seen[2]
