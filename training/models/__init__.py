"""The family of customer models: one protocol, one file a design, `load` for any of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from privacy.errors import EnvironmentFailed
from training.models._base import CHURN, CLV, MODEL_FILE, REMEDY, TARGETS, CustomerModel, read_spec, try_out
from training.models.baselines import PurchaseBaseline, RateClv, ScoreChurn
from training.models.churn import ChurnTrees
from training.models.clv import AnchoredClv
from training.models.linear import LinearChurn

__all__ = ["CHURN", "CLV", "DESIGNS", "TARGETS", "CustomerModel", "load", "try_out"]

DESIGNS: Final[Mapping[str, Callable[[Mapping[str, Any], Path], CustomerModel]]] = {
    "churn/bgnbd": PurchaseBaseline.from_spec,
    "churn/ewma_orders": ScoreChurn.from_spec,
    "churn/lightgbm": ChurnTrees.from_spec,
    "churn/logistic": LinearChurn.from_spec,
    "churn/recency": ScoreChurn.from_spec,
    "clv/anchored": AnchoredClv.from_spec,
    "clv/bgnbd": PurchaseBaseline.from_spec,
    "clv/ewma84": RateClv.from_spec,
    "clv/naive": RateClv.from_spec,
}
"""`target/name` -> how a model of that design is rebuilt from its stored numbers."""


def load(directory: Path, design: str = "") -> CustomerModel:
    """Read a model that some design's `save` wrote; it must be of `design` (`target/name`), where one is named.

    Raises:
        EnvironmentFailed: the directory holds no model, a damaged one, or one of another or an unknown design.
    """
    spec = read_spec(directory)
    saved, where = str(spec.get("design")), str(directory / MODEL_FILE)
    if saved not in DESIGNS or (design and saved != design):
        what = f"the saved model is no {design}" if design else "the saved model has an unknown design"
        raise EnvironmentFailed(what, where=where, remedy=REMEDY)
    try:
        return DESIGNS[saved](spec, directory)
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        what = f"the saved {saved} model lacks some of its numbers"
        raise EnvironmentFailed(what, where=where, remedy=REMEDY) from None
