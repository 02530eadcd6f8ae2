"""Masks of numbers: bands between given edges, numbers and coordinates rounded."""

from __future__ import annotations

from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.errors import BadInput
from privacy.masks._base import Edges, Mask, Whole, as_text, is_text, nulled

__all__ = ["Band", "Coordinate", "Rounded"]

_EXACT: Final = 2.0**53
"""Up to here float64 holds every whole number, and rounding by a power of ten can't overflow."""
_NUMBERS: Final = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
_NUMERAL: Final = r"^[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})$"


class _NumberMask(Mask):
    """Reads numbers, or text that is one; anything else becomes null."""

    def _numbers(self, array: pa.Array) -> npt.NDArray[np.float64]:
        """(n,) values, NaN where there is none."""
        if is_text(array.type):
            text = pc.utf8_trim_whitespace(pc.utf8_normalize(as_text(array, self), "NFKC"))
            array = nulled(text, pc.fill_null(pc.match_substring_regex(text, _NUMERAL), False))
        elif not any(is_kind(array.type) for is_kind in _NUMBERS):
            raise BadInput(f"mask {self.name} can't read a column of {array.type}", remedy="give it another mask")
        return pc.fill_null(array.cast(pa.float64(), safe=False), np.nan).to_numpy(zero_copy_only=False)


class Band(_NumberMask):
    """The band that a number lies in, each from its lower edge on; null for what isn't a number.

    Without edges it is of use in a policy only, where a model's answer has bands of its own.

    >>> Band(edges=[18, 65]).apply(pa.array([17.9, 18, 70, None])).to_pylist()
    ['below 18', '18 to 65', '65 and above', None]
    """

    name = "band"
    parameters = MappingProxyType({"edges": Edges(most=100)})

    def __init__(self, /, **given: object) -> None:
        super().__init__(**given)
        self.own = not self.given["edges"]
        if self.own:
            return
        told = [f"{edge:.15g}" for edge in self.given["edges"]]
        middle = [f"{low} to {high}" for low, high in pairwise(told)]
        self._labels = pa.array([f"below {told[0]}", *middle, f"{told[-1]} and above"])
        self._edges = np.array(self.given["edges"], np.float64)

    def apply(self, array: pa.Array | pa.ChunkedArray) -> pa.Array:
        if self.own:
            raise BadInput("mask band needs edges", remedy=f"give {self.parameters['edges'].says()}")
        return super().apply(array)

    def _masked(self, array: pa.Array) -> pa.Array:
        values = self._numbers(array)
        unknown = np.isnan(values)
        at: npt.NDArray[Any] = self._edges.searchsorted(values, "right")
        at[unknown] = 0
        return self._labels.take(pa.array(at, mask=unknown if unknown.any() else None))


class Coordinate(_NumberMask):
    """Latitude or longitude rounded to `decimals`; 1 is about 11 km; null for what isn't one.

    >>> Coordinate().apply(pa.array([31.2304, 121.4737, 400.0])).to_pylist()
    [31.2, 121.5, None]
    """

    name, type = "coordinate", pa.float64()
    parameters = MappingProxyType({"decimals": Whole(1, 0, 3)})

    def _masked(self, array: pa.Array) -> pa.Array:
        values = self._numbers(array)
        fits = np.abs(values) <= 180
        return pa.array(np.round(values, self.given["decimals"]), mask=None if fits.all() else ~fits)


class Rounded(_NumberMask):
    """A number rounded to `decimals`, or with fewer than 0 to tens, hundreds and so on; null for what isn't one.

    >>> Rounded(decimals=1).apply(pa.array([0.46, 0.44, None])).to_pylist()
    [0.5, 0.4, None]
    >>> Rounded(decimals=-2).apply(pa.array([412.7, -1260.0])).to_pylist()
    [400.0, -1300.0]
    """

    name, type = "rounded", pa.float64()
    parameters = MappingProxyType({"decimals": Whole(0, -6, 3)})

    def _masked(self, array: pa.Array) -> pa.Array:
        values = self._numbers(array)
        fits = np.abs(values) <= _EXACT
        near = np.round(np.where(fits, values, 0), self.given["decimals"]) + 0.0  # no -0.0: it tells a sign
        return pa.array(near, mask=None if fits.all() else ~fits)
