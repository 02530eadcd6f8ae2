"""Bands of few people are joined to the next ones before anybody is told them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .transforms.feature import Feature

__all__ = ["LEAST_PEOPLE", "joined_bands", "without_small_bands"]

LEAST_PEOPLE: Final = 5
"""How many people share a band at least, where the shop's profile asks for no more."""


def joined_bands(counts: Sequence[int], least: int) -> list[int | None]:
    """Say which band each of some ordered bands is told as, so that every told band has `least` people.

    A band with fewer joins the next and is told as it; what is left over at the end joins the last that has enough.
    All are None where there are fewer than `least` people.

    >>> joined_bands([2, 9, 0, 7, 4], least=5)
    [1, 1, 3, 3, 3]
    >>> joined_bands([1, 3], least=5)
    [None, None]
    """
    told: list[int | None] = []
    running, last = 0, None
    for band, count in enumerate(counts):
        running += count
        if running >= least:
            told += [band] * (band + 1 - len(told))
            running, last = 0, band
    return told + [last] * (len(counts) - len(told))


def without_small_bands(table: pa.Table, listed: Sequence[Feature], least: int) -> pa.Table:
    """Join the small bands of each banded feature of `listed` at every cut-off of `table`; null where nobody is enough.

    `table` has event_timestamp, and everybody of a cut-off.
    """
    moments = pc.dictionary_encode(table["event_timestamp"].combine_chunks()).indices.to_numpy()
    for feature in listed:
        if feature.bands:
            bands = pa.array(feature.bands, pa.string())
            codes = pc.index_in(table[feature.name].combine_chunks(), value_set=bands).to_numpy(zero_copy_only=False)
            told = bands.take(pa.array(_told(codes, moments, len(bands), least), pa.int64(), from_pandas=True))
            table = table.set_column(table.schema.get_field_index(feature.name), feature.name, told)
    return table


def _told(
    codes: npt.NDArray[np.int64], moments: npt.NDArray[np.int64], bands: int, least: int
) -> npt.NDArray[np.float64]:
    """The band each row is told as, NaN for none."""
    cells = moments * bands + codes
    counts = np.bincount(cells, minlength=(int(moments.max(initial=-1)) + 1) * bands).reshape(-1, bands)
    places = [[np.nan if place is None else place for place in joined_bands(row.tolist(), least)] for row in counts]
    return np.asarray(places, np.float64).reshape(-1)[cells]
