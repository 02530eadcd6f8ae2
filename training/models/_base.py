"""What every customer model is, and how it is checked and stored.

A saved model is a directory: `model.json` (design, features, fitted numbers) and, for boosted designs,
`booster.txt`. No pickle, so loading one runs no code of its author's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from privacy.durable import write_beside
from privacy.errors import BadInput, CheckFailed, EnvironmentFailed
from privacy.json_files import read_object

__all__ = [
    "CHURN",
    "CLV",
    "MODEL_FILE",
    "TARGETS",
    "CustomerModel",
    "damaged",
    "feature_matrix",
    "read_spec",
    "try_out",
    "write_spec",
]

CHURN: Final = "churn"
CLV: Final = "clv"
TARGETS: Final = (CHURN, CLV)
MODEL_FILE: Final = "model.json"
REMEDY: Final = "restore it, or train it again: `custos train churn`, `custos train clv`"
_FORMAT: Final = 2
_FLOAT: Final = np.dtype(np.float64)


@runtime_checkable
class CustomerModel(Protocol):
    """A fitted model of one target over one horizon.

    `predict` takes a frame with at least `feature_names` as numeric columns, in any order, and returns one
    float64 a row: the probability of churn, or the net spend expected within the horizon (never negative).
    """

    @property
    def target(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def feature_names(self) -> tuple[str, ...]: ...
    @property
    def horizon_days(self) -> int: ...
    def predict(self, frame: pd.DataFrame) -> np.ndarray: ...
    def save(self, directory: Path) -> None: ...


def feature_matrix(frame: pd.DataFrame, names: Sequence[str], *, no_nulls: Sequence[str] = ()) -> np.ndarray:
    """Return the named columns as a float64 matrix of shape (rows, names), in the order of `names`.

    Raises:
        BadInput: a column is missing, twice there, not numeric, infinite, or null where `no_nulls` forbids it.

    >>> feature_matrix(pd.DataFrame({"b": [2], "a": [1.5], "c": [0]}), ["a", "b"]).tolist()
    [[1.5, 2.0]]
    """
    places = {name: place for place, name in enumerate(frame.columns)}
    missing = [name for name in names if name not in places]
    if missing:
        raise BadInput(
            f"{len(missing)} feature column(s) missing: {', '.join(missing[:5])}",
            remedy="give every column the model was trained on",
        )
    if len(places) != len(frame.columns):
        twice = sorted({str(name) for name in frame.columns[frame.columns.duplicated()]} & set(names))
        if twice:
            raise BadInput(f"feature column {twice[0]!r} is there more than once")
    matrix = _matrix(frame, names, places)
    _refuse_infinite(matrix, names)
    for name in no_nulls:
        empty = int(np.isnan(matrix[:, names.index(name)]).sum())
        if empty:
            raise BadInput(f"feature column {name!r} has {empty} empty value(s); the model needs all of them")
    return matrix


def _matrix(frame: pd.DataFrame, names: Sequence[str], places: Mapping[str, int]) -> np.ndarray:
    if set(frame.dtypes) == {_FLOAT}:
        # What the store answers; for one customer, column by column takes longer than the prediction itself.
        return frame.to_numpy().take([places[name] for name in names], axis=1)
    matrix = np.empty((len(frame), len(names)), dtype=np.float64)
    for position, name in enumerate(names):
        matrix[:, position] = _numbers(frame[name], name)
    return matrix


def _numbers(column: pd.Series, name: str) -> np.ndarray:
    kind = column.dtype
    if pd.api.types.is_object_dtype(kind) and column.isna().all():
        return np.full(len(column), np.nan)
    if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_complex_dtype(kind):
        raise BadInput(f"feature column {name!r} is not numeric but {kind}")
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _refuse_infinite(matrix: np.ndarray, names: Sequence[str]) -> None:
    # One pass over the sum finds almost every clean matrix without a temporary of its size.
    if not np.isinf(matrix).any():
        return
    counts = np.isinf(matrix).sum(axis=0)
    worst = int(np.argmax(counts > 0))
    raise BadInput(f"feature column {names[worst]!r} has {int(counts[worst])} infinite value(s)")


def try_out(model: CustomerModel) -> None:
    """Ask `model` about two ordinary customers; raises CheckFailed unless it answers one finite number for each."""
    names = list(model.feature_names)
    answer = np.asarray(model.predict(pd.DataFrame(np.ones((2, len(names))), columns=names)), dtype=np.float64)
    if answer.shape != (2,) or not np.isfinite(answer).all():
        raise CheckFailed(f"the {model.target} model {model.name} does not answer one finite number a row")
    if model.horizon_days < 1:
        raise CheckFailed(f"the {model.target} model {model.name} states no horizon")


def write_spec(directory: Path, design: str, spec: Mapping[str, object]) -> None:
    """Store what a design needs to be rebuilt, as JSON; floats survive exactly (shortest repr)."""
    body = {"format": _FORMAT, "design": design, **spec}
    body["digest"] = _digest(body)
    text = json.dumps(body, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_beside(directory / MODEL_FILE, text.encode())


def read_spec(directory: Path) -> dict[str, object]:
    """Read `model.json` of a saved model.

    Raises:
        EnvironmentFailed: there is none, it isn't as it was written, or something else wrote it.
    """
    path = directory / MODEL_FILE
    spec = read_object(path, "the saved model", remedy=REMEDY)
    if spec is None:
        raise EnvironmentFailed("the saved model is gone", where=str(path), remedy=REMEDY)
    if spec.get("format") != _FORMAT:
        raise EnvironmentFailed("the saved model has an unknown format", where=str(path), remedy=REMEDY)
    if spec.pop("digest", None) != _digest(spec):
        raise damaged(path)
    return spec


def damaged(path: Path) -> EnvironmentFailed:
    """What to raise when a file of a saved model isn't what was saved."""
    return EnvironmentFailed("the saved model is damaged", where=str(path), remedy=REMEDY)


def _digest(body: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
