"""Bands: how a probability or a value is told to those who may not see it exactly.

Thresholds are fixed, not quantiles: a band then means the same in every shop, on every day and for
every champion, and moving one customer can't move another's band (which quantiles would leak).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

__all__ = ["CHURN_BANDS", "CLV_BANDS", "Bands"]


@dataclass(frozen=True, slots=True)
class Bands:
    """Half-open ranges `[threshold, next)` with one label each; below the first threshold is label 0.

    >>> CHURN_BANDS.of(0.25), CHURN_BANDS.of(0.999)
    ('medium', 'very_high')
    >>> CLV_BANDS.of(-3.0), CLV_BANDS.of(50.0), CLV_BANDS.of(1e9)
    ('0-50', '50-100', '1000+')
    """

    thresholds: tuple[float, ...]
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.thresholds) + 1 or list(self.thresholds) != sorted(set(self.thresholds)):
            raise ValueError("bands need rising thresholds and one label more than thresholds")

    def of(self, value: float) -> str:
        """Return the label of `value`; `value` must be finite."""
        return self.labels[bisect_right(self.thresholds, value)]

    @classmethod
    def ranges(cls, thresholds: Sequence[float]) -> Bands:
        """Build bands labelled by their own currency range, the last one open.

        >>> Bands.ranges([10, 20]).labels
        ('0-10', '10-20', '20+')
        """
        edges = [0.0, *map(float, thresholds)]
        closed = [f"{low:g}-{high:g}" for low, high in pairwise(edges)]
        return cls(tuple(edges[1:]), (*closed, f"{edges[-1]:g}+"))


CHURN_BANDS: Final = Bands((0.25, 0.5, 0.75), ("low", "medium", "high", "very_high"))
"""Churn probability: low < 0.25 <= medium < 0.5 <= high < 0.75 <= very_high."""

CLV_BANDS: Final = Bands.ranges((50, 100, 250, 500, 1000))
"""Predicted spend in the horizon, in the shop's currency: 0-50, 50-100, 100-250, 250-500, 500-1000, 1000+."""
