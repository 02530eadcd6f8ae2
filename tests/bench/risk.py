"""LiRA with eight shadow models beside one training of the same design on all rows: CPU ratio in one run.

Example: python -m tests.bench.risk
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping

os.environ.setdefault("OMP_NUM_THREADS", "1")

import lightgbm as lgb
import numpy as np

from privacy.membership import Fit, lira
from tests.bench.bars import Bar, tell

TRAININGS, ROWS, COLUMNS, SEED = 12.0, 6000, 20, 1
DESIGNS: Mapping[str, Mapping[str, float]] = {
    "overfit": {"num_leaves": 255, "min_data_in_leaf": 1, "rounds": 200},
    "default": {"num_leaves": 31, "min_data_in_leaf": 20, "rounds": 100},
    "tuned": {"num_leaves": 15, "min_data_in_leaf": 50, "lambda_l2": 5, "bagging_fraction": 0.7, "rounds": 150},
    "regularised": {"num_leaves": 7, "min_data_in_leaf": 200, "lambda_l2": 20, "rounds": 100},
}
"""From the one that learns rows by heart to the one that hardly can."""


def bars() -> list[Bar]:
    """The ratio for a tuned design; the training is measured before and after."""
    matrix, label = generated()
    fit = fitting(matrix, label, DESIGNS["tuned"])
    everybody = np.arange(ROWS)
    before = seconds(lambda: fit(everybody, SEED))
    attack = seconds(lambda: lira(label, fit, "classification", seed=SEED))
    training = min(before, seconds(lambda: fit(everybody, SEED)))
    return [Bar("LiRA with 8 shadows / one training", attack / training, TRAININGS, True)]


def generated(rows: int = ROWS, seed: int = SEED) -> tuple[np.ndarray, np.ndarray]:
    """Noisy labels over twenty features, of which ten matter: what can be learnt is less than what can be kept."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, COLUMNS))
    signal = matrix[:, :10] @ rng.normal(size=10) * 0.5 + matrix[:, 0] * matrix[:, 1]
    return matrix, (rng.random(rows) < 1.0 / (1.0 + np.exp(-signal))).astype(np.float64)


def fitting(matrix: np.ndarray, label: np.ndarray, design: Mapping[str, float]) -> Fit:
    """What trains one design and predicts everybody."""
    params = {key: value for key, value in design.items() if key != "rounds"}
    params |= {"objective": "binary", "verbose": -1, "num_threads": 1, "deterministic": True, "force_row_wise": True}
    if "bagging_fraction" in design:
        params["bagging_freq"] = 1

    def fit(rows: np.ndarray, seed: int) -> np.ndarray:
        data = lgb.Dataset(matrix[rows], label[rows])
        booster = lgb.train({**params, "seed": seed}, data, num_boost_round=int(design["rounds"]))
        return np.asarray(booster.predict(matrix, num_threads=1))

    return fit


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    sys.exit(tell(bars()))
