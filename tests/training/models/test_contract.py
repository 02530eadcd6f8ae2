"""What every design promises: by-name columns, clear refusals, an exact copy from disk, no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from privacy.errors import BadInput, EnvironmentFailed
from tests.training.conftest import CHURN_TASK, CLV_TASK, TableGateway, days
from training import models
from training.candidates import Bench
from training.cutoffs import CutoffPlan
from training.dataset import fetch
from training.models import CustomerModel
from training.models._base import write_spec
from training.models.boosting import Hyperparameters
from training.models.churn import ChurnTrees
from training.models.clv import AnchoredClv
from training.models.purchase import PURCHASE_COLUMNS
from training.models.pyfunc import _load_pyfunc

Fitted = Mapping[str, CustomerModel]


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    made: dict[str, CustomerModel] = {}
    for task, moments in ((CHURN_TASK, (120, 148, 176)), (CLV_TASK, (120, 190, 246))):
        train, test = days(*moments[:2]), days(moments[2] + 28)
        plan = CutoffPlan(train[:1], test, (*train, *test), task.horizon_days, "descriptor")
        data = fetch(TableGateway(120), None, "service", task, plan)
        bench = Bench(task.target, data.train, data.purchases_train, train[0], task.horizon_days)
        made |= {f"{task.target}/{name}": model for name, model in bench.baselines().items()}
        boosted = bench.boosted(Hyperparameters.default(task.target, 120), 8, 3).model
        made[f"{task.target}/{boosted.name}"] = boosted
        rival = bench.challenger()
        if rival is not None:
            made[f"{task.target}/{rival.model.name}"] = rival.model
    return made


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = TableGateway(60).rows(days(300))
    return rows.drop(columns=["customer_token", "event_timestamp"])


def test_every_design_is_fitted(fitted: Fitted) -> None:
    assert sorted(fitted) == sorted(models.DESIGNS)


@pytest.mark.parametrize("design", sorted(models.DESIGNS))
class TestEveryDesign:
    def test_answers_are_probabilities_or_money(self, fitted: Fitted, frame: pd.DataFrame, design: str) -> None:
        model = fitted[design]
        found = model.predict(frame)
        assert isinstance(model, CustomerModel)
        assert f"{model.target}/{model.name}" == design
        assert found.dtype == np.float64
        assert found.shape == (60,)
        assert (found >= 0).all()
        assert np.isfinite(found).all()
        assert (found <= 1).all() or model.target == models.CLV
        assert len(np.unique(found)) > 10

    def test_columns_go_by_name_and_others_are_ignored(self, fitted: Fitted, frame: pd.DataFrame, design: str) -> None:
        model = fitted[design]
        other = frame[frame.columns[::-1]].assign(town="Springfield")
        assert model.predict(other).tolist() == model.predict(frame).tolist()
        assert model.predict(frame[list(model.feature_names)]).tolist() == model.predict(frame).tolist()

    def test_rows_are_independent(self, fitted: Fitted, frame: pd.DataFrame, design: str) -> None:
        model = fitted[design]
        singly = [float(model.predict(frame.iloc[[row]])[0]) for row in range(20)]
        assert singly == pytest.approx(model.predict(frame)[:20].tolist(), rel=1e-12)
        assert model.predict(frame.iloc[:0]).shape == (0,)

    def test_missing_text_and_infinite_columns_are_named(
        self, fitted: Fitted, frame: pd.DataFrame, design: str
    ) -> None:
        model = fitted[design]
        for name in model.feature_names:
            with pytest.raises(BadInput, match=name):
                model.predict(frame.drop(columns=name))
            with pytest.raises(BadInput, match=f"{name}.*not numeric") as caught:
                model.predict(frame.assign(**{name: "secret"}))
            assert "secret" not in str(caught.value)
            with pytest.raises(BadInput, match=f"{name}.*60 infinite"):
                model.predict(frame.assign(**{name: np.inf}))

    def test_a_copy_from_disk_is_exact(self, fitted: Fitted, frame: pd.DataFrame, design: str, tmp_path: Path) -> None:
        model = fitted[design]
        model.save(tmp_path / "saved")
        copy = models.load(tmp_path / "saved")
        assert copy.predict(frame).tolist() == model.predict(frame).tolist()
        assert (copy.target, copy.name, copy.horizon_days) == (model.target, model.name, model.horizon_days)
        assert copy.feature_names == model.feature_names
        assert _load_pyfunc(str(tmp_path / "saved")).predict(frame).tolist() == model.predict(frame).tolist()
        assert {path.name for path in (tmp_path / "saved").iterdir()} <= {"model.json", "booster.txt"}

    def test_a_damaged_copy_is_refused(self, fitted: Fitted, design: str, tmp_path: Path) -> None:
        fitted[design].save(tmp_path)
        spec = (tmp_path / "model.json").read_text()
        for wrong in ("{", "[]", spec.replace("horizon_days", "x"), spec.replace(design, "churn/oracle")):
            (tmp_path / "model.json").write_text(wrong)
            with pytest.raises(EnvironmentFailed, match=r"model\.json"):
                models.load(tmp_path)


@pytest.mark.parametrize("design", ["churn/lightgbm", "churn/logistic", "clv/anchored"])
def test_empty_features_are_answered(fitted: Fitted, frame: pd.DataFrame, design: str) -> None:
    found = fitted[design].predict(frame.assign(weary=np.nan, gap_mean_days=None))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("design", ["churn/lightgbm", "churn/bgnbd", "clv/anchored"])
def test_empty_purchase_statistics_are_refused(fitted: Fitted, frame: pd.DataFrame, design: str) -> None:
    with pytest.raises(BadInput, match=r"'btyd_x' has 60 empty"):
        fitted[design].predict(frame.assign(btyd_x=np.nan))


@pytest.mark.parametrize("design", ["churn/lightgbm", "clv/anchored"])
def test_a_saved_booster_holds_nobodys_extremes_and_answers_the_same(
    fitted: Fitted, frame: pd.DataFrame, design: str, tmp_path: Path
) -> None:
    model = fitted[design]
    assert isinstance(model, ChurnTrees | AnchoredClv)
    model.save(tmp_path / "once")
    text = (tmp_path / "once" / "booster.txt").read_text()
    (infos,) = [line for line in text.splitlines() if line.startswith("feature_infos=")]
    assert set(infos.removeprefix("feature_infos=").split(" ")) == {"none"}
    assert "feature_infos=[" in model.trees.text()  # what LightGBM would have written
    assert "pandas_categorical" not in text
    # Beyond the training range, empty cells, zeros: the trees alone decide.
    holes = frame.mask(np.random.default_rng(4).random(frame.shape) < 0.3)
    holes[[*PURCHASE_COLUMNS, "ewma_daily_spend_84"]] = frame[[*PURCHASE_COLUMNS, "ewma_daily_spend_84"]]
    inputs = [name for name in model.feature_names if name not in (*PURCHASE_COLUMNS, "ewma_daily_spend_84")]
    asked = pd.concat(
        [frame, holes, *(frame.assign(**dict.fromkeys(inputs, value)) for value in (np.nan, 0.0, -1e9, 1e9))],
        ignore_index=True,
    )
    copy = models.load(tmp_path / "once")
    assert copy.predict(asked).tobytes() == model.predict(asked).tobytes()
    assert isinstance(copy, ChurnTrees | AnchoredClv)
    assert copy.importance() == model.importance()
    copy.save(tmp_path / "twice")
    again = models.load(tmp_path / "twice")
    assert again.predict(asked).tobytes() == model.predict(asked).tobytes()


def test_returns_outweighing_sales_still_give_a_forecast(fitted: Fitted, frame: pd.DataFrame) -> None:
    found = fitted["clv/anchored"].predict(frame.assign(ewma_daily_spend_84=-1e6))
    assert (found > 0).all()
    assert (fitted["clv/naive"].predict(frame.assign(spend_rate=-1.0)) == 0).all()


def test_a_missing_booster_is_named(fitted: Fitted, tmp_path: Path) -> None:
    fitted["clv/anchored"].save(tmp_path)
    (tmp_path / "booster.txt").write_text("tree\nnonsense")
    with pytest.raises(EnvironmentFailed, match="damaged"):
        models.load(tmp_path)
    fitted["clv/anchored"].save(tmp_path)
    whole = (tmp_path / "booster.txt").read_bytes()
    (tmp_path / "booster.txt").write_bytes(whole[: len(whole) // 2])  # LightGBM itself would end the process
    with pytest.raises(EnvironmentFailed, match="damaged"):
        models.load(tmp_path)
    (tmp_path / "booster.txt").unlink()
    with pytest.raises(EnvironmentFailed, match=r"lacks booster\.txt"):
        models.load(tmp_path)
    with pytest.raises(EnvironmentFailed, match="the saved model is gone"):
        models.load(tmp_path / "nowhere")


def edited(folder: Path, **change: object) -> None:
    """Change a saved model as somebody would who knows of its digest."""
    spec = {**json.loads((folder / "model.json").read_text()), **change}
    rest = {name: value for name, value in spec.items() if name not in {"format", "design", "digest"}}
    write_spec(folder, str(spec["design"]), rest)


@pytest.mark.parametrize("design", ["clv/bgnbd", "churn/bgnbd", "churn/oracle"])
def test_a_model_of_another_design_is_refused_where_one_is_named(fitted: Fitted, tmp_path: Path, design: str) -> None:
    fitted["churn/lightgbm"].save(tmp_path)
    assert models.load(tmp_path, "churn/lightgbm").name == "lightgbm"
    edited(tmp_path, design=design)
    with pytest.raises(EnvironmentFailed, match=r"the saved model is no churn/lightgbm .*model\.json"):
        models.load(tmp_path, "churn/lightgbm")


@pytest.mark.parametrize("design", ["churn/lightgbm", "churn/logistic", "clv/anchored"])
def test_a_model_whose_inputs_are_not_its_own_is_refused(fitted: Fitted, tmp_path: Path, design: str) -> None:
    fitted[design].save(tmp_path)
    inputs = json.loads((tmp_path / "model.json").read_text())["inputs"]
    wrong: list[object] = [inputs[1:], [*inputs, "more"], 5, None]
    if design != "churn/logistic":  # its weights don't name their columns
        wrong += [inputs[::-1], ["colour", *inputs[1:]]]
    for given in wrong:
        edited(tmp_path, inputs=given)
        with pytest.raises(EnvironmentFailed, match="lacks some of its numbers"):
            models.load(tmp_path)


@pytest.mark.parametrize(
    "change", [{"purchase": []}, {"purchase": {"bg_nbd": {"r": "x"}}}, {"horizon_days": None}, {"horizon_days": "soon"}]
)
def test_a_model_of_other_numbers_is_refused(fitted: Fitted, tmp_path: Path, change: dict[str, object]) -> None:
    fitted["churn/bgnbd"].save(tmp_path)
    edited(tmp_path, **change)
    with pytest.raises(EnvironmentFailed, match="lacks some of its numbers"):
        models.load(tmp_path)
