"""What the gateway is given and what it answers; no framework is needed to read or write these."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from privacy.classification import Purpose

from .storage import TableStore

__all__ = ["GatewayPaths", "GatewaySettings", "OnlineAnswer", "ServiceInfo"]


@dataclass(frozen=True)
class GatewayPaths:
    """Absolute places: `protected` and `features` hold one directory a dataset."""

    protected: Path
    features: Path
    registry: Path
    online: Path

    def protected_store(self, dataset: str) -> TableStore:
        """Return the protected tables of `dataset`."""
        return TableStore(self.protected / dataset, "protected tables")

    def feature_store(self, dataset: str) -> TableStore:
        """Return the feature tables of `dataset`."""
        return TableStore(self.features / dataset, "feature tables")


@dataclass(frozen=True)
class GatewaySettings:
    """Where the store lives, for how many days of data time a feature row is fresh, what the shop marks (inference)."""

    paths: GatewayPaths
    ttl_days: int = 35
    marked: Callable[[], Collection[str]] = tuple


@dataclass(frozen=True)
class ServiceInfo:
    """A feature service: its purposes and, in order, its features."""

    name: str
    purposes: tuple[Purpose, ...]
    features: tuple[str, ...]
    dataset: str


@dataclass(frozen=True)
class OnlineAnswer:
    """Online features of n tokens: `values` (n, k) with NaN for null, `present` (n,), `references`.

    A token that is unknown, mistyped, suppressed or erased is not present; which, isn't told.
    """

    columns: tuple[str, ...]
    values: npt.NDArray[np.float64]
    present: npt.NDArray[np.bool_]
    references: list[str | None]
    as_of: dt.datetime
