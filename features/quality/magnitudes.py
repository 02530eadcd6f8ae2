"""How large the numbers of a column are, gathered batch by batch in a megabyte, and which lie far from the rest."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["FAR", "Magnitudes"]

FAR: Final = 3.5
"""A modified z-score beyond this marks an outlier (Iglewicz and Hoaglin 1993; NIST/SEMATECH e-Handbook 1.3.5.17)."""
NORMAL: Final = 0.6745
"""The median absolute deviation of a standard normal distribution."""
SHIFT: Final = 52 - 6
"""What is left of a double: its exponent and 6 bits, so 64 classes an octave, at most 1.6 % wide."""
CLASSES: Final = 2047 << 6


class Magnitudes:
    """A histogram of absolute values by their leading bits, as HdrHistogram has it: log-linear, exact in its counts.

    >>> few = Magnitudes()
    >>> few.add(pa.array([9.0, 10.0, 11.0, 12.0, 0.0, None, -10_000.0]))
    >>> few.outliers()
    1
    """

    def __init__(self) -> None:
        self._counts: npt.NDArray[np.int64] = np.zeros(CLASSES, np.int64)

    def add(self, column: pa.Array) -> None:
        """Count finite numbers in; nulls are left out."""
        values = column.drop_null().to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
        self._counts += np.bincount(np.abs(values).view(np.int64) >> SHIFT, minlength=CLASSES)

    def told(self) -> list[list[int]]:
        """Return the classes that have values, and how many each has."""
        classes = np.flatnonzero(self._counts)
        return [classes.tolist(), self._counts[classes].tolist()]

    def add_told(self, told: list[list[int]]) -> None:
        """Count in what another histogram has `told`."""
        classes, counts = told
        self._counts[classes] += counts

    def outliers(self) -> int | None:
        """Return how many values other than 0 are outliers on the log scale, None where there is no scale to tell by.

        Their modified z-score is 0.6745 |log x - median| / MAD, both of logarithms, as amounts are skewed. Where
        more than half of the values are alike (within a class), the median absolute deviation is 0 and every other
        value would be one.
        """
        classes = np.flatnonzero(self._counts[1:]) + 1
        if not len(classes):
            return None
        counts = self._counts[classes]
        logs = np.log(((classes << SHIFT) + (1 << (SHIFT - 1))).view(np.float64))
        distances = np.abs(logs - _median(logs, counts))
        order = np.argsort(distances, kind="stable")
        spread = _median(distances[order], counts[order])
        return int(counts[NORMAL * distances > FAR * spread].sum()) if spread > 0 else None


def _median(values: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> float:
    """The lower median of rising `values` that occur so often."""
    reached = np.cumsum(counts)
    return float(values[np.searchsorted(reached, (reached[-1] + 1) // 2)])
