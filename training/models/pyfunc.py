"""The door by which `mlflow.pyfunc` loads a customer model: `loader_module="training.models.pyfunc"`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from training.models import CustomerModel, load

__all__ = ["PyfuncModel"]


class PyfuncModel:
    """A customer model as MLflow wants it; answers are those of the model, bit for bit."""

    def __init__(self, model: CustomerModel) -> None:
        self.model = model

    def predict(self, model_input: pd.DataFrame, _params: object = None) -> np.ndarray:
        """Return one prediction a row."""
        return self.model.predict(model_input)


def _load_pyfunc(data_path: str) -> PyfuncModel:
    return PyfuncModel(load(Path(data_path)))
