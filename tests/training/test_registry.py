"""The registry: what a reader sees when something is missing, gone or broken."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from privacy.errors import BadInput, EnvironmentFailed
from tests.training.conftest import Store
from training.models.baselines import RateClv
from training.registry import Registry


def version(store: Store, days: int) -> int:
    with store.tracker.run("clv", "test", {}) as run:
        uri = run.model("naive", RateClv("naive", days))
    return store.registry.register("clv", uri, run.run_id, {"design": "naive"}, "A test.")


def test_aliases_move_as_told(store: Store) -> None:
    first, second = version(store, 28), version(store, 56)
    assert (first, second) == (1, 2)
    store.registry.challenge("clv", second)
    store.registry.crown("clv", first)
    waiting, champion = store.registry.challenger("clv"), store.registry.champion("clv")
    assert waiting is not None
    assert champion is not None
    assert (waiting.version, champion.version) == (2, 1)
    assert store.registry.previous("clv") is None
    store.registry.crown("clv", second)
    store.registry.crown("clv", second)
    previous = store.registry.previous("clv")
    assert previous is not None
    assert previous.version == 1
    assert store.registry.challenger("clv") is None
    model, number = store.registry.load_champion("clv")
    assert (model.horizon_days, number) == (56, 2)


def test_no_champion_yet(store: Store) -> None:
    assert store.registry.champion("churn") is None
    with pytest.raises(BadInput, match=r"no champion of churn yet; custos train churn"):
        store.registry.load_champion("churn")
    store.registry.drop_challenger("churn")


def test_unknown_target_is_refused(store: Store) -> None:
    with pytest.raises(BadInput, match="unknown model 'fraud'"):
        store.registry.champion("fraud")


def test_files_that_are_gone_are_reported(store: Store) -> None:
    store.registry.crown("clv", version(store, 28))
    shutil.rmtree(store.root / "artifacts" / "clv" / "models")
    with pytest.raises(EnvironmentFailed):
        store.registry.load_champion("clv")


def test_a_broken_database_is_reported_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 500)
    with pytest.raises(EnvironmentFailed) as caught:
        Registry(f"sqlite:///{tmp_path}/mlflow.db").champion("clv")
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.__cause__ is None
