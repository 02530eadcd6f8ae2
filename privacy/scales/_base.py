"""What every scale of a quasi-identifier can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["ALL", "MISSING", "UNKNOWN", "Codes", "Scale"]

Codes = npt.NDArray[np.int32]

ALL: Final = "*"
"""The published text of a column that tells nothing in a class."""
MISSING: Final = "missing"
UNKNOWN: Final = -1
"""The code of a value that a scale has no place for."""


class Scale(ABC):
    """One quasi-identifier as codes: 0 is missing, 1 to `last` are its values or ranges of them, in order.

    `missing` says whether anybody lacked the value when the scale was fitted; if nobody did, a newcomer's missing
    value has no place. What a region holds of a column is an interval of codes, both ends included.
    """

    def __init__(self, column: str, *, missing: bool) -> None:
        self.column, self.missing = column, missing

    @property
    @abstractmethod
    def last(self) -> int:
        """The highest code; 0 where every value was missing."""

    @property
    def first(self) -> int:
        """The lowest code that is in use."""
        return 0 if self.missing else 1

    @property
    def depths(self) -> Codes:
        """(last + 1,) How deep a cut before each code is: cuts are made at the shallowest place that k allows."""
        depths = np.ones(self.last + 1, np.int32)
        depths[:2] = 0  # who lacks a value is parted from those who have one before these are parted
        return depths

    @property
    def measurable(self) -> bool:
        """Whether `losses` can be told."""
        return True

    @abstractmethod
    def encode(self, values: pa.Array) -> Codes:
        """(n,) The codes of `values`; UNKNOWN for those without a place."""

    @abstractmethod
    def texts(self, low: Codes, high: Codes) -> list[str]:
        """(m,) Published texts of intervals that hold no missing value and not every value."""

    @abstractmethod
    def loss(self, low: Codes, high: Codes) -> npt.NDArray[np.float64]:
        """(m,) Share of the column's extent that intervals without missing values cover, 0 to 1 (NCP of a cell).

        Source: Xu et al., Utility-based anonymization using local recoding, KDD 2006.
        """

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """What `scale_from_json` makes this scale of again; it holds nobody's own value."""

    def published(self, low: Codes, high: Codes) -> tuple[Codes, Codes]:
        """The intervals that texts can name: at least those given."""
        return low, high

    def tells_nothing(self, low: Codes, high: Codes) -> npt.NDArray[np.bool_]:
        """(m,) Whether intervals hold every value, or only missing ones."""
        everything = (low <= self.first) & (high == self.last) & (self.last > self.first)
        return everything | (high == 0)

    def labels(self, low: Codes, high: Codes) -> pa.DictionaryArray:
        """(m,) Published texts of intervals: `*` for all, `missing`, `missing or ...`, or the scale's own."""
        width = self.last + 1
        pairs, place = np.unique(low.astype(np.int64) * width + high, return_inverse=True)
        low, high = (pairs // width).astype(np.int32), (pairs % width).astype(np.int32)
        texts = np.where(high == 0, MISSING, ALL).astype(object)
        if self.last == self.first == 0:
            texts[:] = MISSING
        named = np.flatnonzero(~self.tells_nothing(low, high))
        own = self.texts(np.maximum(low[named], 1), high[named])
        texts[named] = [f"{MISSING} or {text}" if at == 0 else text for at, text in zip(low[named], own, strict=True)]
        known = pa.array(texts, pa.string()).dictionary_encode()
        return pa.DictionaryArray.from_arrays(known.indices.take(pa.array(place)), known.dictionary)

    def losses(self, low: Codes, high: Codes) -> npt.NDArray[np.float64]:
        """(m,) `loss` of any intervals: together with missing values it is at least their share of the codes."""
        answer = np.zeros(len(low), np.float64)
        named = high > 0
        if not named.any():
            return answer
        answer[named] = self.loss(np.maximum(low[named], 1), high[named])
        both = named & (low == 0)
        answer[both] = np.maximum(answer[both], (high[both] + 1) / (self.last + 1))
        return answer
