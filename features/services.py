"""Which features each service holds and what it is for; Feast's objects are made of this, and so is the catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from privacy.classification import Purpose, Role

from .small_bands import LEAST_PEOPLE
from .transforms.feature import MODELS, Feature, Use
from .transforms.registry import every_feature

if TYPE_CHECKING:
    from .datasets.descriptor import Descriptor

__all__ = ["DEVELOPERS", "INSIGHT_SERVICE", "SERVICES", "Service", "shop_features", "tags_of"]

INSIGHT_SERVICE: Final = "insight_v1"
"""The service of bands that people plan with; no model reads it."""
DEVELOPERS: Final = frozenset({Role.ADMIN, Role.DATA_SCIENTIST, Role.PRIVACY_OFFICER})
"""Who makes features and models, and who attacks them before somebody else does; the policy keeps these apart."""
PLANNERS: Final = DEVELOPERS | {Role.ANALYST, Role.MARKETER}
EVERYDAY: Final = PLANNERS | {Role.CRM_SERVICE}
"""Who asks about customers to act on it."""


@dataclass(frozen=True)
class Service:
    """A feature service: its purposes, the roles it answers, and the uses of the features it holds.

    `k` is how many people share a band at least, and how many an answer is about that tells rows offline. Purposes,
    roles and k are tags in Feast's registry, which holds nobody to them; the gateway does.
    """

    name: str
    purposes: tuple[Purpose, ...]
    roles: frozenset[Role]
    uses: frozenset[Use] = MODELS
    k: int = 1

    def holds(self, features: Iterable[Feature]) -> list[Feature]:
        """Those of `features` that are the service's, in order."""
        return [feature for feature in features if feature.use in self.uses]


SERVICES: Final = (
    Service("churn_v1", (Purpose.RETENTION,), EVERYDAY),
    Service("clv_v1", (Purpose.RETENTION, Purpose.VALUE), EVERYDAY),
    Service(INSIGHT_SERVICE, (Purpose.VALUE, Purpose.MARKETING), PLANNERS, frozenset({Use.INSIGHT}), LEAST_PEOPLE),
    Service("engagement_v1", (Purpose.RETENTION, Purpose.VALUE), DEVELOPERS, frozenset({Use.ENGAGEMENT})),
)


def tags_of(purposes: Iterable[Purpose], roles: Iterable[Role], k: int, dataset: str) -> dict[str, str]:
    """Return what Feast's registry keeps of a service's bounds.

    >>> tags_of([Purpose.VALUE], {Role.ANALYST, Role.ADMIN}, 5, "shop")
    {'purposes': 'value', 'roles': 'admin,analyst', 'k': '5', 'dataset': 'shop'}
    """
    return {"purposes": ",".join(purposes), "roles": ",".join(sorted(roles)), "k": str(k), "dataset": dataset}


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
