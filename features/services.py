"""Which features each service holds and what it is for; Feast's objects are made of this, and so is the catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from privacy.classification import Purpose

from .small_bands import LEAST_PEOPLE
from .transforms.feature import MODELS, Feature, Use
from .transforms.registry import every_feature

if TYPE_CHECKING:
    from .datasets.descriptor import Descriptor

__all__ = ["INSIGHT_SERVICE", "SERVICES", "Service", "shop_features"]

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
    Service("engagement_v1", (Purpose.RETENTION, Purpose.VALUE), frozenset({Use.ENGAGEMENT})),
)


def shop_features(descriptor: Descriptor) -> tuple[Feature, ...]:
    """List what is built of a shop: all but what it withholds, and what needs another table that it doesn't have.

    A column that its `transactions` lack leaves a feature null, so that models find the columns they know.
    """
    columns = {f"{table.name}.{name}" for table in descriptor.tables.values() for name in table.columns}
    return tuple(
        feature
        for feature in every_feature(descriptor.slow, descriptor.withhold)
        if all(source in columns or source.startswith("transactions.") for source in feature.sources)
    )
