"""What a feature is: the one record that declares it, and the windows of a shop."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from privacy.classification import Purpose, Sensitivity

__all__ = ["COARSE", "MODELS", "ORDERS", "Feature", "Level", "Use", "Windows", "windows_for"]

ORDERS: Final = ("transactions.order_id", "transactions.ordered_at", "transactions.amount")
"""What every feature is made of: which lines are a purchase, when, and of what value."""


class Use(StrEnum):
    """Who a column is for: the models, the BTYD design and baselines, the answer's status, people who plan.

    Engagement waits: no model has learned from it so far.
    """

    MODEL = "model"
    STATISTIC = "statistic"
    STATUS = "status"
    INSIGHT = "insight"
    ENGAGEMENT = "engagement"


MODELS: Final = frozenset({Use.MODEL, Use.STATISTIC, Use.STATUS})
"""The uses of what the models' services hold."""


class Level(StrEnum):
    """How finely a column tells what somebody buys: everything together, a department, a category, a product."""

    TOTAL = "total"
    DEPARTMENT = "department"
    CATEGORY = "category"
    PRODUCT = "product"


COARSE: Final = frozenset({Level.TOTAL, Level.DEPARTMENT})


@dataclass(frozen=True)
class Feature:
    """One column of the feature table: a float64, null where it has no meaning, or one of its `bands` as a text.

    `sources` are the columns of the descriptor that it is computed from, beside the subject; `purposes` those that it
    may serve. A service for any other purpose is refused.
    """

    name: str
    family: str
    unit: str
    window: str
    description: str
    use: Use = Use.MODEL
    sources: tuple[str, ...] = ORDERS
    purposes: tuple[Purpose, ...] = (Purpose.RETENTION, Purpose.VALUE)
    bands: tuple[str, ...] = ()
    sensitivity: Sensitivity = Sensitivity.BEHAVIOURAL
    level: Level = Level.TOTAL

    @property
    def dtype(self) -> str:
        """The column's type: bands are texts, everything else is a number."""
        return "string" if self.bands else "float64"


@dataclass(frozen=True)
class Windows:
    """The look-back windows of a shop, in days, ascending; half-lives are the same for all."""

    days: tuple[int, int, int, int]
    half_lives: tuple[int, ...] = (14, 28, 84)

    @property
    def recent(self) -> int:
        """The window that stands for `lately`."""
        return self.days[1]

    @property
    def longest(self) -> int:
        """The window that baskets and tenure are cut at."""
        return self.days[-1]


FAST: Final = Windows((14, 28, 56, 84))
SLOW: Final = Windows((30, 60, 90, 180))


def windows_for(slow: bool) -> Windows:
    """Return the windows of a shop whose customers come often, or seldom (`slow`).

    >>> windows_for(False).longest
    84
    """
    return SLOW if slow else FAST
