"""LightGBM, held to what repeatable training needs: fixed binning, row-wise histograms, seeded, no pickle."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import lightgbm as lgb
import numpy as np

from privacy.durable import read_bytes, write_beside
from privacy.errors import BadInput, EnvironmentFailed
from training.models._base import CHURN, CLV, REMEDY, damaged

__all__ = ["BOOSTER_FILE", "FoldedBoosters", "Folds", "Hyperparameters", "Trees"]

_T = TypeVar("_T")
_INFOS: Final = re.compile("^feature_infos=(.*)$", re.MULTILINE)
_CATEGORIES: Final = re.compile("^pandas_categorical:.*\n?", re.MULTILINE)

BOOSTER_FILE: Final = "booster.txt"
LEARNING_RATE: Final = 0.06
_SLOWER: Final = 3
"""The final fit runs at a third of the rate for three times the rounds: the seed matters half as much then."""

_TWEEDIE_POWER: Final = 1.25
_OBJECTIVES: Final[Mapping[str, Mapping[str, object]]] = {
    CHURN: {"objective": "binary", "metric": "binary_logloss"},
    CLV: {"objective": "tweedie", "metric": "tweedie", "tweedie_variance_power": _TWEEDIE_POWER},
}
# Binning belongs to the Dataset, which trials share, so nothing a trial varies may touch it.
_BINNING: Final[Mapping[str, object]] = {
    "max_bin": 63,
    "min_data_in_bin": 3,
    "feature_pre_filter": False,
    "deterministic": True,
    "force_row_wise": True,
    # Many small rounds: two OpenMP threads gain a fifth on an idle machine and lose twentyfold on a busy one,
    # where they spin for each other. Folds run side by side instead, one thread each.
    "num_threads": 1,
    "verbose": -1,
}


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What is tuned: the size of a tree, how much it is held back, and how many features and rows it sees."""

    num_leaves: int
    min_data_in_leaf: int
    lambda_l2: float
    feature_fraction: float
    bagging_fraction: float

    @classmethod
    def default(cls, target: str, rows: int) -> Hyperparameters:
        """Return the regularised defaults of a target for a training set of `rows` rows."""
        per_leaf, l2 = (rows // 75, 50.0) if target == CHURN else (rows // 115, 20.0)
        return cls(8, int(np.clip(per_leaf, 5, 200)), l2, 0.3, 0.7)

    def to_params(self) -> dict[str, object]:
        """Return them under LightGBM's names."""
        return {
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": self.min_data_in_leaf,
            "lambda_l2": self.lambda_l2,
            "feature_fraction": self.feature_fraction,
            "bagging_fraction": self.bagging_fraction,
            "bagging_freq": 1,
        }


@dataclass(frozen=True, slots=True)
class Folds:
    """What boosting needs of a training set: matrix, label, starting scores (log anchor) and a fold per row."""

    target: str
    matrix: np.ndarray
    label: np.ndarray
    init: np.ndarray | None
    fold: np.ndarray
    feature_names: tuple[str, ...]


class Trees:
    """A fitted booster: raw scores, importance, and a text file; equal input gives equal bytes of trees."""

    def __init__(self, booster: lgb.Booster) -> None:
        self._booster = booster

    @classmethod
    def fit(cls, data: Folds, chosen: Hyperparameters, rounds: int, seed: int) -> Trees:
        """Boost on every row of `data` for as many rounds as cross-validation found, at a third of its rate."""
        params = _params(data.target, chosen, seed) | {"learning_rate": LEARNING_RATE / _SLOWER}
        dataset = _dataset(data, np.arange(len(data.label)))
        try:
            booster = lgb.train(params, dataset, num_boost_round=max(1, rounds) * _SLOWER)
        except lgb.basic.LightGBMError:
            raise BadInput("LightGBM can't learn from these features", remedy="check that some of them vary") from None
        return cls(booster)

    def raw(self, matrix: np.ndarray) -> np.ndarray:
        """Return the raw score of each row: log odds (churn) or the log ratio to the anchor (CLV)."""
        if not len(matrix):
            return np.zeros(0)
        return np.asarray(self._booster.predict(matrix, raw_score=True, num_threads=1), dtype=np.float64)

    def importance(self) -> dict[str, float]:
        """Return each feature's share of the total gain."""
        gain = np.asarray(self._booster.feature_importance("gain"), dtype=np.float64)
        total = float(gain.sum()) or 1.0
        return dict(zip(self._booster.feature_name(), (gain / total).tolist(), strict=True))

    def text(self) -> str:
        """Return the trees alone, without the block of training parameters (thread count and the like)."""
        return str(self._booster.model_to_string()).split("\nparameters:", 1)[0]

    def save(self, directory: Path) -> str:
        """Write LightGBM's own text format, without the extremes of each feature: they are somebody's values.

        Returns the SHA-256 of the file, 64 hex digits.
        """
        data = _without_extremes(self._booster.model_to_string()).encode()
        write_beside(directory / BOOSTER_FILE, data)
        return hashlib.sha256(data).hexdigest()

    @classmethod
    def load(cls, directory: Path, digest: str, features: Sequence[str]) -> Trees:
        """Read what `save` wrote, if it is still that: LightGBM ends the whole process over a file cut short.

        Raises:
            EnvironmentFailed: the file is missing or damaged.
            ValueError: it is as it was saved, but no booster of these features.
        """
        path = directory / BOOSTER_FILE
        data = read_bytes(path, "the saved model")
        if data is None:
            raise EnvironmentFailed(f"the saved model lacks {BOOSTER_FILE}", where=str(path), remedy=REMEDY)
        if hashlib.sha256(data).hexdigest() != digest:
            raise damaged(path)
        try:
            booster = lgb.Booster(model_str=data.decode())
        except lgb.basic.LightGBMError:
            raise damaged(path) from None
        if booster.feature_name() != list(features):
            raise ValueError("the booster was grown on other features")
        return cls(booster)


class FoldedBoosters:
    """Boosters of all folds, grown in step so that a poor setting can be stopped early; binned data is shared.

    Each fold has a thread of its own, in which its boosters are made: LightGBM's log level is thread-local.
    """

    def __init__(self, data: Folds) -> None:
        self._target = data.target
        self._pairs: list[tuple[lgb.Dataset, lgb.Dataset]] = []
        for held_out in np.unique(data.fold):
            train = _dataset(data, np.flatnonzero(data.fold != held_out))
            valid = _dataset(data, np.flatnonzero(data.fold == held_out), reference=train)
            self._pairs.append((train, valid))
        self._threads = [ThreadPoolExecutor(max_workers=1) for _ in self._pairs]

    def start(self, chosen: Hyperparameters, seed: int) -> list[lgb.Booster]:
        """Return one fresh booster a fold; BadInput where a fold leaves nothing to learn from."""
        params = _params(self._target, chosen, seed) | {"learning_rate": LEARNING_RATE}
        made = zip(self._threads, self._pairs, strict=True)
        try:
            return _wait([thread.submit(_fresh, params, train, valid) for thread, (train, valid) in made])
        except lgb.basic.LightGBMError:
            # Tweedie refuses a fold outside of which nobody spent anything.
            raise BadInput(
                f"too few customers have any {self._target} outcome to hold some of them out",
                remedy="train on more history or a longer horizon",
            ) from None

    def grow(self, boosters: Sequence[lgb.Booster], rounds: int) -> float:
        """Add `rounds` trees to each and return the mean held-out loss."""
        work = zip(self._threads, boosters, strict=True)
        return float(np.mean(_wait([thread.submit(_grow, booster, rounds) for thread, booster in work])))

    def close(self) -> None:
        """End the threads."""
        for thread in self._threads:
            thread.shutdown()


def _without_extremes(text: str) -> str:
    """Blank what LightGBM notes of the training data (least and greatest value a feature, pandas categories).

    Prediction reads neither: thresholds and the handling of missing values stand in the trees.
    """
    head, trees, rest = text.partition("\nTree=")
    head = _INFOS.sub(lambda line: f"feature_infos={' '.join(['none'] * len(line[1].split()))}", head)
    return _CATEGORIES.sub("", head + trees + rest)


def _wait(futures: Sequence[Future[_T]]) -> list[_T]:
    return [future.result() for future in futures]


def _fresh(params: dict[str, Any], train: lgb.Dataset, valid: lgb.Dataset) -> lgb.Booster:
    booster = lgb.Booster(params=params, train_set=train)
    return booster.add_valid(valid, "held_out")


def _grow(booster: lgb.Booster, rounds: int) -> float:
    for _ in range(rounds):
        booster.update()
    return float(booster.eval_valid()[0][2])


def _params(target: str, chosen: Hyperparameters, seed: int) -> dict[str, Any]:
    return {**_OBJECTIVES[target], **_BINNING, **chosen.to_params(), "seed": seed}


def _dataset(data: Folds, rows: np.ndarray, reference: lgb.Dataset | None = None) -> lgb.Dataset:
    made = lgb.Dataset(
        data.matrix[rows],
        label=data.label[rows],
        init_score=None if data.init is None else data.init[rows],
        feature_name=list(data.feature_names),
        params=dict(_BINNING),
        reference=reference,
    )
    return made.construct()
