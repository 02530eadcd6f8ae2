"""The registry: what a reader sees when something is missing, gone or broken."""

from __future__ import annotations

import shutil

import pytest
from mlflow import MlflowClient

from privacy.errors import BadInput, CheckFailed, EnvironmentFailed
from tests.training.conftest import Store
from training.inference_gate import Inferred
from training.models.baselines import RateClv
from training.registry import EVALUATION_FILE
from training.settling import note_inferring, require_not_inferring


def version(store: Store, days: int) -> int:
    with store.tracker.run("clv", "test", {}) as run:
        uri = run.model("naive", RateClv("naive", days))
    return store.registry.register("clv", uri, run.run_id, {"design": "naive"}, "A test.")


def previous(store: Store, target: str = "clv") -> int | None:
    """Return where the alias `previous` points, which only an operator reads."""
    number = MlflowClient(store.uri).get_registered_model(target).aliases.get("previous")
    return None if number is None else int(number)


def test_aliases_move_as_told(store: Store) -> None:
    first, second = version(store, 28), version(store, 56)
    assert (first, second) == (1, 2)
    store.registry.challenge("clv", second)
    store.registry.crown("clv", first)
    waiting, champion = store.registry.challenger("clv"), store.registry.champion("clv")
    assert waiting is not None
    assert champion is not None
    assert (waiting.version, champion.version) == (2, 1)
    assert previous(store) is None
    store.registry.crown("clv", second)
    store.registry.crown("clv", second)
    assert previous(store) == 1
    assert store.registry.challenger("clv") is None
    model, number = store.registry.load_champion("clv")
    assert (model.horizon_days, number) == (56, 2)


def test_metrics_of_a_version_are_its_designs_in_the_run_behind_it(store: Store) -> None:
    with store.tracker.run("clv", "test", {}) as run:
        uri = run.model("naive", RateClv("naive", 28))
        baselines = {"naive": {"gini": 0.2}, "bgnbd": {"gini": 0.3}}
        run.document(EVALUATION_FILE, {"design": "anchored", "metrics": {"gini": 0.4}, "baselines": baselines})
    found = {}
    for design in ("anchored", "naive", "oracle"):
        store.registry.crown("clv", store.registry.register("clv", uri, run.run_id, {"design": design}, "A test."))
        champion = store.registry.champion("clv")
        assert champion is not None
        found[design] = champion
    assert store.registry.champion_metrics(found["anchored"]) == {"gini": 0.4}
    assert store.registry.champion_metrics(found["naive"]) == {"gini": 0.2}
    with pytest.raises(CheckFailed, match="clv version 3 measured no oracle; custos train clv"):
        store.registry.champion_metrics(found["oracle"])
    file = store.root / "artifacts" / "clv" / run.run_id / "artifacts" / EVALUATION_FILE
    for damaged in ("", "5", "{}", '{"design": "naive", "metrics": {"gini": "x"}, "baselines": {}}', "[" * 100_000):
        file.write_text(damaged)
        with pytest.raises(EnvironmentFailed, match=rf"gone or damaged \(MLflow run {run.run_id}\)"):
            store.registry.champion_metrics(found["naive"])
    file.unlink()
    with pytest.raises(EnvironmentFailed):
        store.registry.champion_metrics(found["naive"])


def test_no_champion_yet(store: Store) -> None:
    assert store.registry.champion("churn") is None
    with pytest.raises(BadInput, match=r"no champion of churn yet; custos train churn"):
        store.registry.load_champion("churn")
    store.registry.drop_challenger("churn")


def test_unknown_target_is_refused(store: Store) -> None:
    with pytest.raises(BadInput, match="unknown model 'fraud'"):
        store.registry.champion("fraud")


def test_files_that_are_gone_are_named_and_stop_nobody_from_asking(store: Store) -> None:
    store.registry.crown("clv", version(store, 28))
    shutil.rmtree(store.root / "artifacts" / "clv" / "models")
    champion = store.registry.champion("clv")
    assert champion is not None
    assert champion.version == 1
    with pytest.raises(EnvironmentFailed, match=r"files of clv version 1 are gone \(.*artifacts/clv.*custos train clv"):
        store.registry.load_champion("clv")


@pytest.mark.parametrize("content", ["", "{}", "5", '{"design": "naive", "metrics": 1, "baselines": {}}'])
def test_a_damaged_evaluation_is_told(content: str, store: Store) -> None:
    store.registry.crown("clv", version(store, 28))
    champion = store.registry.champion("clv")
    assert champion is not None
    file = store.root / "artifacts" / "clv" / champion.run_id / "artifacts" / EVALUATION_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    with pytest.raises(
        EnvironmentFailed, match=r"evaluation.json .* clv version 1 is gone or damaged.*custos train clv"
    ):
        store.registry.champion_metrics(champion)


def test_a_verdict_on_inference_holds_for_the_marks_it_was_found_under(store: Store) -> None:
    waiting = version(store, 28)
    store.registry.challenge("clv", waiting)
    with pytest.raises(CheckFailed, match="hasn't been through the inference gate"):
        require_not_inferring("clv", store.registry, "infant")
    passed, failed = (Inferred("model:clv", "infant", good, "told by the test") for good in (True, False))
    assert not note_inferring(store.registry, "clv", waiting, [passed, failed], "infant")
    with pytest.raises(CheckFailed, match="failed the inference gate"):
        require_not_inferring("clv", store.registry, "infant")
    assert note_inferring(store.registry, "clv", waiting, [passed], "infant")
    require_not_inferring("clv", store.registry, "infant")
    with pytest.raises(CheckFailed, match="hasn't been through the inference gate for what is marked now"):
        require_not_inferring("clv", store.registry, "infant and health")
