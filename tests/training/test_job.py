"""Whole training jobs on a synthetic shop with a real MLflow store and a real study."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from privacy.errors import BadInput, CheckFailed, EnvironmentFailed
from tests.training.conftest import AS_OF, CHURN_TASK, CLV_TASK, FIRST, Store, TableGateway, days
from training import models
from training.cutoffs import Task
from training.gates import GateThresholds
from training.job import TrainRequest, TrainResult, promote, train
from training.messages import setting_note
from training.models.boosting import BOOSTER_FILE, Hyperparameters
from training.tracking import pointed_at
from training.tuning import Tuned


def job(store: Store, task: Task, gateway: TableGateway, **changes: object) -> TrainResult:
    settings: dict[str, object] = {"trials": 1, "dataset": "corner_shop", "service": f"{task.target}_v1", **changes}
    request = TrainRequest(task=task, principal=None, first_event=FIRST, as_of=AS_OF, **settings)  # type: ignore[arg-type]
    return train(request, gateway, store.tracker, store.registry, store.study_url)


def noise(frame: pd.DataFrame) -> pd.DataFrame:
    """Only what BG/NBD and the other baselines see still tells anything; the booster's features are constant."""
    random = np.random.default_rng(len(frame))
    frame[["weary", "order_value_mean", "gap_mean_days", "orders_28d"]] = 1.0
    frame["orders_28"] = random.poisson(0.2 + (frame["decayed_orders_28"] > frame["decayed_orders_28"].median()) * 2.5)
    return frame


@pytest.mark.parametrize("task", [CHURN_TASK, CLV_TASK], ids=lambda task: task.target)
def test_a_better_candidate_becomes_champion(store: Store, task: Task) -> None:
    stages: list[tuple[str, int, int]] = []
    found = job(store, task, TableGateway(), progress=lambda *step: stages.append(step), tags={"keyset": "k1"})
    assert found.outcome == "promoted", found.message
    assert all(verdict.passed for verdict in found.verdicts)
    assert found.champion is not None
    assert (found.champion.version, found.version, found.tested_version) == (2, 2, 1)
    assert found.champion_metrics == found.metrics
    assert found.champion.tags == {
        "design": found.design, "stage": "refit", "gates": "passed", "refit_of": "1"
    }  # fmt: skip
    assert store.registry.challenger(task.target) is None
    assert {stage for stage, done, total in stages if done == total} == {
        "features", "baselines", "tuning", "fitting", "logging", "registering"
    }  # fmt: skip
    model, version = store.registry.load_champion(task.target)
    assert (model.target, version) == (task.target, 2)
    rows = TableGateway().rows(days(350))[list(model.feature_names)]
    with pointed_at(store.uri):
        served = mlflow.pyfunc.load_model(f"models:/{task.target}@champion").predict(rows)
    np.testing.assert_allclose(served, model.predict(rows), rtol=1e-12)
    again = promote(task.target, store.registry)
    assert (again.changed, again.champion.version) == (False, 2)
    assert store.registry.evaluation(found.champion)["metrics"] == found.metrics


def test_the_run_tells_everything_and_nothing_of_anyone(store: Store) -> None:
    found = job(store, CHURN_TASK, TableGateway(), trials=2)
    client = MlflowClient(store.uri)
    run = client.get_run(found.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["auc"] == pytest.approx(found.metrics["auc"], abs=1e-6)
    assert run.data.metrics["baseline_recency/auc"] == pytest.approx(found.baselines["recency"]["auc"], abs=1e-6)
    assert run.data.tags.items() >= {
        "dataset": "corner_shop", "feature_service": "churn_v1", "seed": "7", "design": found.design,
        "gates": "passed", "outcome": "promoted", "dataset.digest": found.digest,
    }.items()  # fmt: skip
    assert run.data.tags["mlflow.note.content"] == "\n\n".join((found.message, *found.notes))
    assert {part.dataset.name.split()[1] for part in run.inputs.dataset_inputs} == {"training", "testing", "refit"}
    assert all(len(part.dataset.digest) == 36 for part in run.inputs.dataset_inputs)
    assert [point.step for point in client.get_metric_history(found.run_id, "trial/loss")] == [0, 1]
    names = {item.path for item in client.list_artifacts(found.run_id)}
    assert names == {"evaluation.json", "model_card.md", "plots", "tuning"}
    plots = {Path(item.path).name for item in client.list_artifacts(found.run_id, "plots")}
    assert plots == {"calibration.png", "decile_lift.png", "importance.png", "tuning.png"}
    card = next(store.root.rglob("model_card.md")).read_text()
    assert "logistic" in card
    assert "within the last 56 days" in card
    token, host = b"fs_0000", str(store.root).encode()
    for path in (path for path in store.root.rglob("*") if path.is_file()):
        assert token not in path.read_bytes(), path.name
    with sqlite3.connect(store.root / "mlflow.db") as database:
        for table in ("params", "tags", "model_version_tags", "metrics", "datasets"):
            assert host not in repr(database.execute(f"select * from {table}").fetchall()).encode()
    requirements = next(store.root.rglob("requirements.txt")).read_text().splitlines()
    assert all("==" in line for line in requirements)
    assert not list(store.root.rglob("*.pkl"))
    assert not list(store.root.rglob("*input_example*"))


@pytest.mark.slow
def test_the_rival_design_wins_where_it_is_clearly_better(store: Store) -> None:
    def straight(frame: pd.DataFrame) -> pd.DataFrame:
        """Log odds linear in thirty weak features: the home ground of logistic regression."""
        random = np.random.default_rng([len(frame), int(frame["btyd_T_days"].iloc[0])])
        weak = random.normal(size=(len(frame), 30))
        frame["orders_28"] = (weak.sum(axis=1) * 0.8 + random.logistic(size=len(frame)) < 0).astype(int)
        return frame.assign(**{f"weak_{column}": weak[:, column] for column in range(30)})

    found = job(store, CHURN_TASK, TableGateway(change=straight))
    assert (found.outcome, found.design) == ("promoted", "logistic"), found.message
    assert found.metrics["auc"] > found.baselines["lightgbm"]["auc"] + 0.002
    assert store.registry.load_champion("churn")[0].name == "logistic"


@pytest.mark.slow
def test_another_home_with_other_tokens_grows_the_same_trees(new_store: Callable[[str], Store]) -> None:
    texts, studies = [], []
    for name, shuffle in (("one", 0), ("other", 9)):
        store = new_store(name)
        found = job(store, CLV_TASK, TableGateway(shuffle=shuffle), trials=3)
        assert found.champion is not None
        saved = (store.registry.files(found.champion) / BOOSTER_FILE).read_text()
        texts.append(saved.split("\nparameters:")[0])  # which follow the trees, the number of threads among them
        studies.append(json.loads(next(store.root.rglob("trials.json")).read_text()))
    assert texts[0] == texts[1]
    assert studies[0] == studies[1]


def test_without_a_passing_candidate_the_best_baseline_serves(store: Store) -> None:
    found = job(store, CHURN_TASK, TableGateway(change=noise), thresholds=GateThresholds(auc_margin=-1.0))
    best = max(found.baselines, key=lambda name: found.baselines[name]["auc"])
    assert found.outcome == "baseline"
    assert "the best baseline serves" in found.message
    assert found.champion is not None
    assert found.champion.design == best
    assert (found.tested_version, found.version) == (1, 3)
    assert found.champion_metrics == found.baselines[best] != found.metrics
    assert found.champion.tags["refit_of"] == str(found.champion.version - 1)
    assert models.load(store.registry.files(found.champion)).name == best
    with pytest.raises(CheckFailed, match=r"auc not below best.*failed"):
        promote("churn", store.registry, GateThresholds(auc_margin=-1.0))
    champion = store.registry.champion("churn")
    assert champion is not None
    assert champion.version == found.champion.version


@pytest.mark.slow
def test_the_incumbent_stays_when_a_later_candidate_fails(store: Store) -> None:
    first = job(store, CHURN_TASK, TableGateway())
    later = job(store, CHURN_TASK, TableGateway(change=noise), thresholds=GateThresholds(auc_margin=-1.0))
    assert later.outcome == "incumbent_kept"
    assert first.champion is not None
    assert later.champion is not None
    assert later.champion.version == first.champion.version
    waiting = store.registry.challenger("churn")
    assert waiting is not None
    assert waiting.tags["gates"] == "failed"
    assert later.tested_version == later.version == waiting.version
    assert later.champion_metrics == first.metrics != later.metrics


@pytest.mark.slow
def test_an_incumbent_whose_run_is_gone_still_serves(store: Store) -> None:
    first = job(store, CHURN_TASK, TableGateway())
    (store.root / "artifacts" / "churn" / first.run_id / "artifacts" / "evaluation.json").unlink()
    later = job(store, CHURN_TASK, TableGateway(change=noise), thresholds=GateThresholds(auc_margin=-1.0))
    assert (later.outcome, later.champion_metrics) == ("incumbent_kept", {})


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [True, False], ids=["promoted", "waiting"])
def test_a_champion_whose_files_are_gone_is_no_incumbent(store: Store, at_once: bool) -> None:
    job(store, CHURN_TASK, TableGateway())
    shutil.rmtree(store.root / "artifacts")
    with pytest.raises(EnvironmentFailed, match=r"files of churn version 2 are gone.*custos train churn"):
        promote("churn", store.registry)
    limits = GateThresholds(auc_margin=-1.0)
    later = job(store, CHURN_TASK, TableGateway(change=noise), thresholds=limits, promote=at_once)
    assert later.outcome == ("baseline" if at_once else "challenger")
    assert "former champion: version 2 no longer counts, as the files of churn version 2 are gone" in later.notes
    if not at_once:
        assert promote("churn", store.registry, limits).changed
    assert store.registry.load_champion("churn")[1] == later.version == 5


@pytest.mark.slow
def test_a_waiting_model_whose_files_are_gone_is_not_promoted(store: Store) -> None:
    job(store, CLV_TASK, TableGateway(), promote=False)
    shutil.rmtree(store.root / "artifacts")
    with pytest.raises(EnvironmentFailed, match=r"files of clv version 2 are gone.*custos train clv"):
        promote("clv", store.registry)
    assert store.registry.champion("clv") is None


@pytest.mark.slow
def test_the_notes_tell_how_the_setting_was_chosen_and_what_each_version_is(store: Store) -> None:
    found = job(store, CLV_TASK, TableGateway())
    assert found.notes == (
        "tuning: the default setting, of 1 tried the best inside the training windows",
        "versions: 1 is anchored as it was tested, 2 the same refitted on all closed windows, which serves",
    )
    default, other = Hyperparameters.default("clv", 400), Hyperparameters(5, 5, 1.0, 0.5, 0.5)
    history = ((0, "complete", 2.0), (1, "complete", 1.0))
    tuned = Tuned(default, 10, 2.0, other, 20, 1.0, history, "study", resumed=False)
    good, bad = {"gini": 0.5, "mae": 20.0}, {"gini": 0.4, "mae": 21.0}
    assert setting_note("clv", tuned, "tuned", bad, good) == (
        "tuning: the best of 2 trials is used: "
        "gini 0.5, mae 20 against the default's gini 0.4, mae 21 on the test windows, which decide this"
    )
    discarded = setting_note("clv", tuned, "default", good, bad)
    assert discarded.startswith("tuning: the best of 2 trials is discarded for the default setting: gini 0.4")


@pytest.mark.slow
def test_promotion_can_wait_and_remembers_the_previous(store: Store) -> None:
    first = job(store, CLV_TASK, TableGateway())
    second = job(store, CLV_TASK, TableGateway(), promote=False, seed=8)
    assert second.outcome == "challenger"
    assert "passed every gate and waits for promotion; champion: version 2" in second.message
    assert first.champion is not None
    waiting = store.registry.challenger("clv")
    assert waiting is not None
    assert (second.tested_version, second.version, waiting.version) == (3, 4, 4)
    assert waiting.tags["refit_of"] == "3"
    assert second.champion_metrics == first.metrics
    assert second.champion is not None
    assert second.champion.version == first.champion.version
    done = promote("clv", store.registry)
    assert done.changed
    assert done.champion.version == second.version
    assert all(verdict.passed for verdict in done.verdicts)
    assert MlflowClient(store.uri).get_registered_model("clv").aliases == {"champion": 4, "previous": 2}
    assert store.registry.champion_metrics(done.champion) == second.metrics
    # The refit of all closed windows serves, not the candidate that was measured.
    assert store.registry.load_champion("clv")[1] == 4
    assert promote("clv", store.registry).changed is False


@pytest.mark.slow
@pytest.mark.parametrize("passing", [True, False], ids=["candidate", "baseline"])
def test_the_first_model_of_a_home_can_wait_too(store: Store, passing: bool) -> None:
    limits = GateThresholds() if passing else GateThresholds(auc_margin=-1.0)
    found = job(store, CHURN_TASK, TableGateway(change=None if passing else noise), promote=False, thresholds=limits)
    assert (found.outcome, found.champion, found.champion_metrics) == ("challenger", None, {})
    assert found.message.endswith("waits for promotion; champion: none")
    assert ("the best baseline waits" in found.message) != passing
    done = promote("churn", store.registry, limits)
    assert (done.changed, done.champion.version) == (True, found.version)
    model, version = store.registry.load_champion("churn")
    assert (model.name == found.design, version) == (passing, found.version)
    assert store.registry.challenger("churn") is None
    expected = found.metrics if passing else found.baselines[model.name]
    assert store.registry.champion_metrics(done.champion) == expected


@pytest.mark.slow
def test_a_later_promoted_model_ends_the_waiting(store: Store) -> None:
    job(store, CLV_TASK, TableGateway(), promote=False)
    later = job(store, CLV_TASK, TableGateway(), seed=8)
    assert later.outcome == "promoted"
    assert promote("clv", store.registry).changed is False


ODD_SHOPS: dict[str, tuple[Task, TableGateway, str]] = {
    "ten customers": (CLV_TASK, TableGateway(10), "10 distinguishable customers in the training windows are too few"),
    "one class": (CHURN_TASK, TableGateway(change=lambda f: f.assign(orders_28=1)), "nobody of 1.. customers churned"),
    "no spend": (CLV_TASK, TableGateway(change=lambda f: f.assign(spend_56=0.0)), "none of 150 customers spent"),
    "no value": (CLV_TASK, TableGateway(change=lambda f: f.assign(btyd_mean_value=0.0)), "0 customers with repeat"),
    "same spend": (CLV_TASK, TableGateway(change=lambda f: f.assign(spend_56=10.0)), "nobody differs in spend"),
    "no second order": (
        CHURN_TASK, TableGateway(change=lambda f: f.assign(btyd_x=0.0, btyd_t_x_days=0.0)), "0 with a second order"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("task", "gateway", "says"), ODD_SHOPS.values(), ids=ODD_SHOPS)
def test_shops_no_model_can_be_made_of(store: Store, task: Task, gateway: TableGateway, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        job(store, task, gateway)
    assert store.registry.champion(task.target) is None


@pytest.mark.slow
def test_constant_features_leave_a_baseline_in_service(store: Store) -> None:
    def flat(frame: pd.DataFrame) -> pd.DataFrame:
        keys = ("customer_token", "event_timestamp", "orders_28", "orders_56", "spend_28", "spend_56")
        return frame.assign(**{name: 1.0 for name in frame.columns if name not in keys})

    found = job(store, CLV_TASK, TableGateway(change=flat))
    assert found.outcome == "baseline", found.message
    assert found.champion is not None
    assert found.champion.design in found.baselines
    rows = flat(TableGateway().rows(days(350)))
    assert np.isfinite(store.registry.load_champion("clv")[0].predict(rows)).all()


@pytest.mark.slow
def test_a_failing_job_leaves_a_failed_run_and_the_champion(store: Store) -> None:
    first = job(store, CLV_TASK, TableGateway())
    with pytest.raises(BadInput, match="0 trials"):
        job(store, CLV_TASK, TableGateway(), trials=0)
    client = MlflowClient(store.uri)
    experiment = client.get_experiment_by_name("clv")
    assert experiment is not None
    assert "customer spend" in experiment.tags["mlflow.note.content"]
    assert sorted(run.info.status for run in client.search_runs([experiment.experiment_id])) == ["FAILED", "FINISHED"]
    champion = store.registry.champion("clv")
    assert champion is not None
    assert first.champion is not None
    assert champion.version == first.champion.version


def test_nothing_to_promote_is_said(store: Store) -> None:
    with pytest.raises(BadInput, match="no model of churn to promote"):
        promote("churn", store.registry)
