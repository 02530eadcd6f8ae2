"""A champion attacked through models of its own design and setting, on the people it is trained on."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from privacy.errors import BadInput, EnvironmentFailed
from privacy.membership import lira
from tests.training.conftest import AS_OF, CHURN_TASK, CLV_TASK, FIRST, Store, TableGateway
from training.candidates import Bench
from training.cutoffs import Task, plan_cutoffs
from training.dataset import fetch
from training.membership import MembershipRequest, attack_membership
from training.models.boosting import Hyperparameters
from training.registry import ChampionRef


def asked(task: Task, shadows: int = 2) -> MembershipRequest:
    return MembershipRequest(task, None, f"{task.target}_v1", FIRST, AS_OF, shadows=shadows)


def bench(task: Task) -> Bench:
    plan = plan_cutoffs(task, FIRST, AS_OF)
    data = fetch(TableGateway(), None, f"{task.target}_v1", task, plan)
    return Bench(task.target, data.closed, data.purchases_closed, plan.closed[-1], plan.horizon_days)


@pytest.mark.parametrize(("task", "design"), [(CHURN_TASK, "lightgbm"), (CLV_TASK, "anchored")])
def test_the_champion_is_attacked_by_the_setting_of_its_run(store: Store, task: Task, design: str) -> None:
    setting = Hyperparameters.default(task.target, 1000)
    with store.tracker.run(task.target, "by hand", {}) as run:
        run.batch({**setting.to_params(), "rounds": 5, "setting": "default"}, {}, {}, ())
    champion = ChampionRef(task.target, 2, run.run_id, design, {}, "")
    found = attack_membership(asked(task), champion, TableGateway(), store.registry)
    assert found.found.people <= 150 < found.rows
    told = found.to_dict()
    assert (told["version"], told["design"], told["shadows"]) == (2, design, 2)
    for telling in (found.found.lira, found.found.threshold):
        assert 0.3 < telling.auc.value <= 1.0
    # The figures are those of the setting that the run tells: another one gives others.
    made, plan = bench(task), plan_cutoffs(task, FIRST, AS_OF)
    data = fetch(TableGateway(), None, f"{task.target}_v1", task, plan)
    kind: Literal["classification", "regression"] = "classification" if task is CHURN_TASK else "regression"
    for rounds, same in ((5, True), (25, False)):
        fit = made.fitting(design, setting, rounds)
        again = lira(made.folds.label, fit, kind, people=data.closed.customers.astype(np.int64), shadows=2)
        assert (again == found.found) == same


def test_a_run_that_does_not_tell_its_setting_is_named(store: Store) -> None:
    with store.tracker.run("churn", "by hand", {}) as run:
        made = run.run_id
    champion = ChampionRef("churn", 1, made, "lightgbm", {}, "")
    with pytest.raises(EnvironmentFailed, match="doesn't tell its setting"):
        attack_membership(asked(CHURN_TASK), champion, TableGateway(), store.registry)


@pytest.mark.parametrize("task", [CHURN_TASK, CLV_TASK], ids=lambda task: task.target)
def test_fitting_on_all_rows_is_the_design_itself(task: Task) -> None:
    made = bench(task)
    chosen = Hyperparameters.default(task.target, len(made.folds.label))
    name = "lightgbm" if task.target == "churn" else "anchored"
    everybody = np.arange(len(made.folds.label))
    whole = made.fitting(name, chosen, 10)(everybody, 3)
    model = made.boosted(chosen, 10, 3).model
    assert whole == pytest.approx(model.predict(made._data.frame), rel=1e-9)
    half = made.fitting(name, chosen, 10)(everybody[::2], 3)
    assert half.shape == whole.shape
    assert not np.allclose(half, whole)


def test_the_rival_design_is_attacked_too_and_a_baseline_is_none() -> None:
    made = bench(CHURN_TASK)
    everybody = np.arange(len(made.folds.label))
    rival = made.challenger()
    assert rival is not None
    assert made.fitting("logistic", None, 0)(everybody, 0) == pytest.approx(rival.model.predict(made._data.frame))
    for name in ("recency", "bgnbd", "no such design"):
        with pytest.raises(BadInput, match="is no model to attack"):
            made.fitting(name, Hyperparameters.default("churn", 100), 10)
