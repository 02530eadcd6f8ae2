"""Which features each service holds and what it is for; Feast's objects are made of this, and so is the catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from privacy.classification import Purpose

from .small_bands import LEAST_PEOPLE
from .transforms.feature import Feature, Use

__all__ = ["INSIGHT_SERVICE", "SERVICES", "Service"]

MODELS: Final = frozenset({Use.MODEL, Use.STATISTIC, Use.STATUS})
INSIGHT_SERVICE: Final = "insight_v1"
"""The service of bands that people plan with; no model reads it."""


@dataclass(frozen=True)
class Service:
    """A feature service: its purposes, the uses of the features it holds, and how many people share a band at least."""

    name: str
    purposes: tuple[Purpose, ...]
    uses: frozenset[Use] = MODELS
    k: int = 1

    def holds(self, features: Iterable[Feature]) -> list[Feature]:
        """Those of `features` that are the service's, in order."""
        return [feature for feature in features if feature.use in self.uses]


SERVICES: Final = (
    Service("churn_v1", (Purpose.RETENTION,)),
    Service("clv_v1", (Purpose.RETENTION, Purpose.VALUE)),
    Service(INSIGHT_SERVICE, (Purpose.VALUE, Purpose.MARKETING), frozenset({Use.INSIGHT}), LEAST_PEOPLE),
)
