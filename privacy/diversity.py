"""l-diversity and t-closeness of groups of rows, counted over the pairs (group, value) that occur.

Sources: Machanavajjhala et al., l-diversity, ICDE 2006 (distinct and entropy); Li et al., t-closeness, ICDE 2007.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.demands import Demands, Entropy
from privacy.errors import BadInput

__all__ = ["Measures", "Sensitive"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measures:
    """Of each group: how many distinct values, the entropy in nats, and the distance from the whole (EMD)."""

    distinct: Ints
    entropy: Floats
    distance: Floats

    def fulfil(self, demands: Demands) -> npt.NDArray[np.bool_]:
        """(groups,) bool."""
        good = np.ones(len(self.distinct), bool)
        if isinstance(demands.l, Entropy):
            good &= self.entropy >= np.log(demands.l.l) - 1e-9
        elif demands.l is not None:
            good &= self.distinct >= demands.l
        if demands.t is not None:
            good &= self.distance <= demands.t + 1e-9
        return good


class Sensitive:
    """One sensitive column, coded once; a missing value is a value, and the least of an ordered column.

    The distance is the earth mover's: between numbers and dates along their order, each step as long as the next;
    between other values each as far as any other (Li et al., 3.1 and 3.2).
    """

    def __init__(self, name: str, values: pa.Array) -> None:
        self.name = name
        kind = values.type
        if pa.types.is_nested(kind):
            raise BadInput(f"sensitive column {name} has a type that can't be compared", where=name)
        self.ordered = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        self.ordered = self.ordered or pa.types.is_temporal(kind)
        plain = values.dictionary_decode() if pa.types.is_dictionary(kind) else values
        if pa.types.is_floating(kind):
            plain = pc.if_else(pc.is_nan(plain), pa.scalar(None, kind), plain)
        known = plain.drop_null().unique()
        known = known.take(pc.sort_indices(known)) if self.ordered else known
        places = pc.index_in(plain, value_set=known).cast(pa.int64())
        self.codes: Ints = pc.fill_null(pc.add(places, int(plain.null_count > 0)), 0).to_numpy(zero_copy_only=False)
        counts = np.bincount(self.codes)
        self.values = len(counts)
        self._share: Floats = counts / max(len(self.codes), 1)
        self._below: Floats = np.cumsum(self._share)
        self._sums: Floats = np.concatenate(([0.0], np.cumsum(self._below)))

    def measures(self, rows: Ints | slice, groups: Ints, count: int) -> Measures:
        """Measures of `count` groups; `groups` (n,) is that of each of `rows`, and none is empty."""
        pairs, counts = np.unique(groups * self.values + self.codes[rows], return_counts=True)
        group, value = pairs // self.values, pairs % self.values
        sizes = np.asarray(np.bincount(group, counts, count), np.float64)
        spread = np.bincount(group, counts * np.log(counts), count)
        distance = (
            self._steps(group, value, counts, sizes) if self.ordered else self._equal(group, value, counts, sizes)
        )
        return Measures(np.bincount(group, minlength=count), np.log(sizes) - spread / sizes, distance)

    def _equal(self, group: Ints, value: Ints, counts: Ints, sizes: Floats) -> Floats:
        """Half the sum of differences of shares; values that a group lacks differ by their whole share."""
        share = self._share[value]
        differences: Any = np.bincount(group, np.abs(counts / sizes[group] - share) - share, len(sizes))
        return (differences + 1) / 2

    def _steps(self, group: Ints, value: Ints, counts: Ints, sizes: Floats) -> Floats:
        """The area between two distribution functions, in closed form between one value of a group and the next.

        There the group's function is constant and the whole's grows, so they cross at most once.
        """
        if self.values == 1:
            return np.zeros(len(sizes))
        fresh = np.concatenate(([True], group[1:] != group[:-1]))
        reached = np.cumsum(counts)
        before = np.repeat((reached - counts)[fresh], np.diff(np.append(np.flatnonzero(fresh), len(group))))
        level = (reached - before) / sizes[group]
        ends = np.append(value[1:], self.values)
        ends[np.append(fresh[1:], True)] = self.values
        crossing = np.clip(np.searchsorted(self._below, level), value, ends)
        sums = self._sums
        area = level * (2 * crossing - value - ends) - 2 * sums[crossing] + sums[value] + sums[ends]
        area[fresh] += sums[value[fresh]]
        return np.bincount(group, area, len(sizes)) / (self.values - 1)
