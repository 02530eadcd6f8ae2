"""Every stage can be killed and run again; the same data and seed give the same trees in any home."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.storage import TableStore
from tests.canaries import write_shop
from tests.home import Home

pytestmark = pytest.mark.slow

STAGES = (("ingest",), ("build",), ("materialize",), ("train", "clv", "--trials", "2"))


def made(folder: Path, seed: int = 3) -> Home:
    home = Home(folder)
    write_shop(folder / "shop", seed=seed)
    return home


def arguments(home: Home, stage: tuple[str, ...]) -> tuple[str, ...]:
    return (*stage, str(home.folder / "shop" / "shop.yaml")) if stage == ("ingest",) else stage


def state(home: Home) -> dict[str, Any]:
    """Return what a later stage would read, without tokens: they differ between homes."""
    protected = TableStore(home.path / "protected" / "canary_shop").manifest()
    features = TableStore(home.path / "features" / "canary_shop").manifest()
    return {
        "data": protected["digest"],
        "rows": {name: table["rows"] for name, table in protected["tables"].items()},
        "features": features["digest"],
    }


def trees(home: Home) -> list[str]:
    """Return the trees of every model; what follows them are parameters, among them the number of threads."""
    texts = [path.read_text() for path in (home.path / "mlflow" / "artifacts").rglob("booster.txt")]
    return sorted(text.split("\nparameters:")[0] for text in texts)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = made(tmp_path_factory.mktemp("undisturbed"))
    for stage in STAGES:
        home.custos(*arguments(home, stage))
    return home


def test_another_home_gives_the_same_data_features_and_trees(undisturbed: Home, tmp_path: Path) -> None:
    other = made(tmp_path)
    for stage in STAGES:
        other.custos(*arguments(other, stage))
    assert state(other) == state(undisturbed)
    assert trees(other)
    assert trees(other) == trees(undisturbed)
    report = [json.loads(home.custos("report", "--json"))["models"]["clv"]["metrics"] for home in (other, undisturbed)]
    assert report[0] == report[1]


def test_other_data_gives_other_features(undisturbed: Home, tmp_path: Path) -> None:
    other = made(tmp_path, seed=4)
    for stage in STAGES[:2]:
        other.custos(*arguments(other, stage))
    assert state(other)["features"] != state(undisturbed)["features"]


@pytest.mark.parametrize("stage", [STAGES[0], STAGES[-1]], ids=lambda stage: stage[0])
def test_a_killed_stage_runs_to_the_same_end(stage: tuple[str, ...], undisturbed: Home, tmp_path: Path) -> None:
    killed_then_run(stage, undisturbed, made(tmp_path), kills=1)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage[0])
def test_a_stage_killed_often_runs_to_the_same_end(stage: tuple[str, ...], undisturbed: Home, tmp_path: Path) -> None:
    killed_then_run(stage, undisturbed, made(tmp_path), kills=12)  # with the two above, fifty


def killed_then_run(stage: tuple[str, ...], undisturbed: Home, home: Home, kills: int) -> None:
    """Send SIGKILL at seeded random instants of real processes, then run the stage to its end."""
    for before in STAGES[: STAGES.index(stage)]:
        home.custos(*arguments(home, before))
    random = np.random.default_rng([kills, STAGES.index(stage)])
    for instant in random.uniform(1.0, 8.0, kills):
        process = home.start(*arguments(home, stage))
        try:
            process.wait(instant)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for after in STAGES[STAGES.index(stage) :]:
        home.custos(*arguments(home, after))
    assert state(home) == state(undisturbed)
    assert home.custos("doctor").count("bad ") == 0
    assert int(json.loads(home.custos("report", "--json"))["models"]["clv"]["champion"]["version"]) >= 1
