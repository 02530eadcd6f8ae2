"""Studies: the default first, resumed exactly, never mixed with other data, ghosts cleaned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest

from privacy.errors import BadInput, EnvironmentFailed
from training.models.boosting import Folds, Hyperparameters, Trees
from training.tuning import StudyRequest, Tuned, tune


@pytest.fixture(scope="module")
def data() -> Folds:
    random = np.random.default_rng(3)
    matrix = random.normal(size=(400, 4))
    matrix[::7, 2] = np.nan
    label = (matrix[:, 0] + 0.5 * matrix[:, 1] ** 2 + random.normal(size=400) > 0.4).astype(float)
    return Folds("churn", matrix, label, None, np.arange(400) % 3, ("a", "b", "c", "d"))


def request(root: Path, trials: int, *, name: str = "one", digest: str = "d" * 36, seed: int = 7) -> StudyRequest:
    return StudyRequest("churn", digest, f"sqlite:///{root / name / 'optuna.db'}", trials, seed)


def test_default_is_first_and_complete(data: Folds, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = tune(data, request(tmp_path, 3), lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert found.default == Hyperparameters.default("churn", 400)
    assert found.history[0] == (0, "complete", found.default_loss)
    assert found.best_loss == min(loss for _, state, loss in found.history if state == "complete" and loss)
    assert found.default_rounds >= 10
    assert not found.resumed


@pytest.mark.slow
def test_an_interrupted_study_ends_as_an_uninterrupted_one(data: Folds, tmp_path: Path) -> None:
    whole = tune(data, request(tmp_path, 6, name="whole"))
    tune(data, request(tmp_path, 2, name="parts"))
    ghost = optuna.load_study(study_name=request(tmp_path, 6).name, storage=request(tmp_path, 6, name="parts").url)
    ghost.ask()  # what a process killed in mid-trial leaves behind
    resumed = tune(data, request(tmp_path, 6, name="parts"))
    assert resumed.resumed
    assert resumed.history == whole.history
    assert resumed.best == whole.best
    states = [trial.state for trial in ghost.get_trials()]
    assert optuna.trial.TrialState.RUNNING not in states
    assert states.count(optuna.trial.TrialState.FAIL) == 1


def test_a_default_killed_in_mid_trial_is_tried_again(data: Folds, tmp_path: Path) -> None:
    first = request(tmp_path, 1)
    tune(data, first)
    optuna.delete_study(study_name=first.name, storage=first.url)
    study = optuna.create_study(study_name=first.name, storage=first.url)
    study.enqueue_trial({"num_leaves": 8, "min_data_in_leaf": 5}, user_attrs={"default": True})
    study.ask()
    found = tune(data, first)
    assert found.default_loss == found.best_loss
    assert len(found.history) == 1


def test_a_finished_study_is_read_and_not_run_again(data: Folds, tmp_path: Path) -> None:
    first = tune(data, request(tmp_path, 3))
    again: list[int] = []
    assert tune(data, request(tmp_path, 3), lambda done, _: again.append(done)).history == first.history
    assert again == []


@pytest.mark.slow
def test_a_longer_study_before_does_not_change_a_shorter_answer(data: Folds, tmp_path: Path) -> None:
    alone = tune(data, request(tmp_path, 2, name="alone"))
    longer = tune(data, request(tmp_path, 8, name="shared"))
    assert longer.best_loss < alone.best_loss  # else this test would tell nothing
    after = tune(data, request(tmp_path, 2, name="shared"))
    assert after == replace(alone, resumed=True)


@pytest.mark.parametrize("other", [{"digest": "e" * 36}, {"seed": 8}])
def test_other_data_or_seed_is_another_study(data: Folds, tmp_path: Path, other: dict[str, object]) -> None:
    tune(data, request(tmp_path, 1))
    found: Tuned = tune(data, request(tmp_path, 1, **other))  # type: ignore[arg-type]
    assert not found.resumed
    assert found.study != request(tmp_path, 1).name


def test_constant_features_still_give_an_answer(data: Folds, tmp_path: Path) -> None:
    flat = Folds("churn", np.ones((400, 4)), data.label, None, data.fold, data.feature_names)
    found = tune(flat, request(tmp_path, 2))
    scores = Trees.fit(flat, found.best, found.best_rounds, 7).raw(flat.matrix)
    assert len(np.unique(scores)) == 1
    assert 1 / (1 + np.exp(-scores[0])) == pytest.approx(data.label.mean(), abs=1e-6)


def test_a_fold_outside_of_which_nobody_spent_is_explained(data: Folds, tmp_path: Path) -> None:
    spend = np.where((data.fold == 1) & (data.matrix[:, 0] > 0), 5.0, 0.0)
    lonely = Folds("clv", data.matrix, spend, None, data.fold, data.feature_names)
    with pytest.raises(BadInput, match="too few customers have any clv outcome"):
        tune(lonely, request(tmp_path, 1))


def test_trees_are_the_same_every_time(data: Folds) -> None:
    chosen = Hyperparameters.default("churn", 400)
    one, two = (Trees.fit(data, chosen, 5, 7).text() for _ in range(2))
    assert one == two != Trees.fit(data, chosen, 5, 8).text()
    assert "num_threads" not in one


def test_the_anchor_is_where_trees_start() -> None:
    random = np.random.default_rng(1)
    matrix = random.normal(size=(300, 2))
    anchor = random.normal(4.0, 0.5, 300)
    exact = Folds("clv", matrix, np.exp(anchor), anchor, np.arange(300) % 3, ("a", "b"))
    learnt = Trees.fit(exact, Hyperparameters.default("clv", 300), 20, 1).raw(matrix)
    assert np.abs(learnt).max() < 1e-6  # nothing is left to learn


def test_no_trials_and_unusable_stores_are_explained(data: Folds, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="0 trials"):
        tune(data, request(tmp_path, 0))
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "optuna.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(EnvironmentFailed, match=r"the database can't be read.*optuna\.db"):
        tune(data, request(tmp_path, 1))
