"""Counts and sums with discrete Laplace noise, drawn by OpenDP; one customer is the privacy unit.

Noise of whole numbers, because the last bits of floating-point Laplace noise give away what it was added to (Mironov
2012, CCS); sampled exactly as Canonne, Kamath and Steinke (2020, NeurIPS) do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from privacy.errors import BadInput

if TYPE_CHECKING:
    from opendp.mod import Measurement

__all__ = ["Bounds", "DiscreteLaplace", "checked_epsilon", "histogram", "noised_counts", "noised_sum"]

ALPHA: Final = 0.05
LEAST_EPSILON: Final = 1e-6
MOST_EPSILON: Final = 100.0


def checked_epsilon(epsilon: float) -> float:
    """An epsilon that noise can be drawn for; BadInput for 0, below, NaN, infinite, absurdly small or large."""
    if not LEAST_EPSILON <= epsilon <= MOST_EPSILON:  # False for NaN
        raise BadInput("epsilon must be a positive number", remedy=f"from {LEAST_EPSILON:g} to {MOST_EPSILON:g}")
    return float(epsilon)


@dataclass(frozen=True)
class DiscreteLaplace:
    """Noise for a release that one customer moves by at most `sensitivity` (L1, whole units) at cost `epsilon`.

    P(k) = (1 - p) / (1 + p) p^|k| with p = exp(-epsilon / sensitivity), for whole k.

    >>> DiscreteLaplace(0.5).accuracy()
    6
    """

    epsilon: float
    sensitivity: int = 1

    def __post_init__(self) -> None:
        checked_epsilon(self.epsilon)
        if self.sensitivity < 1:
            raise BadInput("the sensitivity of a noised release is at least 1")

    @property
    def scale(self) -> float:
        """sensitivity / epsilon, in units."""
        return self.sensitivity / self.epsilon

    def accuracy(self, alpha: float = ALPHA) -> int:
        """How far off a released number is at most, but for a share `alpha` of releases: known before any is made."""
        p = math.exp(-1.0 / self.scale)
        # P(|k| > a) = 2 p^(a + 1) / (1 + p)
        return max(math.ceil(-self.scale * math.log(alpha * (1.0 + p) / 2.0)) - 1, 0)

    def added_to(self, values: Sequence[int]) -> list[int]:
        """The values, each with noise of its own; only what one customer moves as promised may be given together."""
        if not values:
            return []
        return [int(value) for value in self._measurement()([int(value) for value in values])]

    def _measurement(self) -> Measurement:
        import opendp.prelude as dp

        dp.enable_features("contrib")
        space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l1_distance(T="i64")
        scale = self.scale
        while True:
            made: Any = space >> dp.m.then_laplace(scale=scale)
            if made.map(self.sensitivity) <= self.epsilon:
                return made
            scale = math.nextafter(scale, math.inf)  # the division was rounded down: never spend more than was said


def noised_counts(counts: Sequence[int], epsilon: float) -> list[int]:
    """Counts of groups that share nobody, noised at `epsilon` together, never below 0.

    Whoever is added or removed changes one count by one, so all of them cost epsilon once (parallel composition).
    Clipping at 0 looks only at what is released and costs nothing (post-processing).

    Raises:
        BadInput: epsilon is no positive number, or a count is negative.
    """
    if min(counts, default=0) < 0:
        raise BadInput("a count is negative")
    return [max(value, 0) for value in DiscreteLaplace(epsilon).added_to(counts)]


def histogram(values: npt.NDArray[np.float64], edges: Sequence[float]) -> list[int]:
    """How many values lie below the first edge, from each edge to the next, from the last on; then the missing ones.

    Exact, so not to be released. `edges` rise and must not come from the data: a quantile or an extreme is itself
    something somebody's value moved.

    >>> histogram(np.array([0.1, 0.5, 0.6, np.nan]), [0.5, 0.9])
    [1, 2, 0, 1]
    """
    if not len(edges) or list(edges) != sorted(set(edges)) or not np.isfinite(edges).all():
        raise BadInput("a histogram needs rising, finite edges")
    missing = np.isnan(values)
    places = np.searchsorted(np.asarray(edges, np.float64), values[~missing], side="right")
    return [*np.bincount(places, minlength=len(edges) + 1).tolist(), int(missing.sum())]


@dataclass(frozen=True)
class Bounds:
    """Between which values a number is clipped before it is summed, and to what `unit` it is rounded.

    They are declared, not taken from the data; the sum is over distances from the middle, which one customer moves
    by half the span at most.

    >>> Bounds(0.0, 1000.0, unit=0.01).half_span
    50000
    """

    low: float
    high: float
    unit: float = 0.01

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high and self.unit > 0):
            raise BadInput("bounds need a finite low below a finite high, and a unit above 0")
        if (self.high - self.low) / 2.0 / self.unit > 2**31:
            raise BadInput("the bounds are too far apart for their unit", remedy="give a coarser unit")

    @property
    def middle(self) -> float:
        """Halfway between."""
        return (self.low + self.high) / 2.0

    @property
    def half_span(self) -> int:
        """From the middle to either bound, in whole units, rounded up."""
        return math.ceil((self.high - self.low) / 2.0 / self.unit)


def noised_sum(values: npt.NDArray[np.float64], bounds: Bounds, epsilon: float) -> int:
    """The noised sum of the clipped values' distances from the middle, in units; missing values are left out.

    Raises BadInput as `DiscreteLaplace` does.
    """
    known = values[~np.isnan(values)]
    distances = np.rint((np.clip(known, bounds.low, bounds.high) - bounds.middle) / bounds.unit).astype(np.int64)
    (noised,) = DiscreteLaplace(epsilon, bounds.half_span).added_to([int(distances.sum())])
    return noised
