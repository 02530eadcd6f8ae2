"""Scales of quasi-identifiers: how a column becomes codes, and an interval of codes a published text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from privacy.hierarchies import Hierarchy

from ._base import ALL, MISSING, UNKNOWN, Codes, Scale
from .ranges import RangeScale, fit_ranges, is_ranged
from .trees import TreeScale, fit_values

__all__ = ["ALL", "MISSING", "UNKNOWN", "Codes", "Scale", "fit_ranges", "fit_values", "is_ranged", "scale_from_json"]


def scale_from_json(told: Mapping[str, Any]) -> Scale:
    """The scale that `Scale.to_json` told; KeyError or ValueError for anything else."""
    column, missing = str(told["column"]), bool(told["missing"])
    if told["kind"] == "values":
        paths = tuple(tuple(str(name) for name in path) for path in told["paths"])
        if not all(paths):
            raise ValueError("an empty path")
        return TreeScale(column, Hierarchy(paths, ordered=bool(told["ordered"])), missing=missing)
    if told["kind"] not in ("date", "float", "int"):
        raise ValueError("an unknown kind")
    cuts = np.array(told["cuts"], np.float64 if told["kind"] == "float" else np.int64)
    if cuts.ndim != 1 or (np.diff(cuts) <= 0).any() or not np.isfinite(cuts).all():
        raise ValueError("cuts that don't ascend")
    return RangeScale(column, told["kind"], cuts, missing=missing, empty=bool(told["empty"]))
