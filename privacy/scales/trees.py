"""Nominal and ordered values by a hierarchy; without one, those that fewer than k people have are one, `(other)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.errors import BadInput
from privacy.hierarchies import Hierarchy

from ._base import UNKNOWN, Codes, Scale

__all__ = ["TreeScale", "fit_values"]

OTHER: Final = "(other)"
MOST_PARTS: Final = 4
MOST_VALUES: Final = 1024


class TreeScale(Scale):
    """Values in the order of a hierarchy's leaves; an interval is named by the nodes that make it up.

    An ordered scale names its ends (`15-24K to 50-74K`), any other up to four nodes (`Owner | Renter`), then the node
    above them. With the leaf `(other)` every value has a place.
    """

    def __init__(self, column: str, hierarchy: Hierarchy, *, missing: bool) -> None:
        super().__init__(column, missing=missing)
        self.hierarchy = hierarchy
        self._leaves = [path[-1] for path in hierarchy.paths]
        self._nodes = _nodes(hierarchy.paths)

    @property
    def last(self) -> int:
        """The highest code: how many values there are."""
        return len(self._leaves)

    @property
    def depths(self) -> Codes:
        """(last + 1,) The depth of the lowest node above both sides of a cut, one below the root where that is it."""
        depths = super().depths
        if not self.hierarchy.ordered:
            for code, (left, right) in enumerate(zip(self.hierarchy.paths, self.hierarchy.paths[1:], strict=False), 2):
                depths[code] = 1 + next(
                    at for at, pair in enumerate(zip(left, right, strict=False)) if pair[0] != pair[1]
                )
        return depths

    def encode(self, values: pa.Array) -> Codes:
        """(n,) Codes of the values as text."""
        text = _text(values, self.column)
        found = pc.add(pc.index_in(text, value_set=pa.array(self._leaves, pa.string())), 1)
        rest = self.last if self._leaves[-1:] == [OTHER] else UNKNOWN
        codes = pc.fill_null(found, rest).to_numpy(zero_copy_only=False).astype(np.int32)
        codes[text.is_null().to_numpy(zero_copy_only=False)] = 0 if self.missing else UNKNOWN
        return codes

    def texts(self, low: Codes, high: Codes) -> list[str]:
        """(m,) Ends of an ordered interval, or nodes that make an interval up."""
        pairs = list(zip(low.tolist(), high.tolist(), strict=True))
        if self.hierarchy.ordered:
            ends = ((self._leaves[at - 1], self._leaves[to - 1]) for at, to in pairs)
            return [a if a == b else f"{a} to {b}" for a, b in ends]
        return [" | ".join(self._parts(*pair)) for pair in pairs]

    def published(self, low: Codes, high: Codes) -> tuple[Codes, Codes]:
        """Widen intervals of too many parts to the node above them."""
        if self.hierarchy.ordered:
            return low, high
        pairs = list(zip(np.maximum(low, 1).tolist(), high.tolist(), strict=True))
        widened = {pair: pair if pair[1] < pair[0] or self._parts(*pair) else self._above(*pair) for pair in set(pairs)}
        ends = np.array([widened[pair] for pair in pairs], np.int32).reshape(-1, 2)
        return np.where(low == 0, low, ends[:, 0]).astype(np.int32), ends[:, 1]

    def tells_nothing(self, low: Codes, high: Codes) -> npt.NDArray[np.bool_]:
        """(m,) Whether intervals hold every value, only missing ones, or nothing but values that all stay unnamed."""
        unnamed = self._leaves == [OTHER] and not self.missing
        return super().tells_nothing(low, high) | unnamed

    def loss(self, low: Codes, high: Codes) -> npt.NDArray[np.float64]:
        """(m,) Of ordered values the steps covered, over all steps; of others the values covered, 0 where it is one."""
        if self.hierarchy.ordered:
            return (high - low) / max(self.last - 1, 1)
        return np.where(high == low, 0.0, (high - low + 1) / max(self.last, 1))

    def to_json(self) -> dict[str, Any]:
        """The hierarchy, and whether anybody lacked the value."""
        return {
            "kind": "values", "column": self.column, "missing": self.missing, "ordered": self.hierarchy.ordered,
            "paths": [list(path) for path in self.hierarchy.paths],
        }  # fmt: skip

    def _parts(self, low: int, high: int) -> tuple[str, ...]:
        """Names of the largest nodes within an interval, or () where they are more than four."""
        parts: list[str] = []
        at = low
        while at <= high:
            if len(parts) == MOST_PARTS:
                return ()
            end, name = next(node for node in self._nodes[at] if node[0] <= high)  # from the largest down to the leaf
            parts.append(name)
            at = end + 1
        return tuple(parts)

    def _above(self, low: int, high: int) -> tuple[int, int]:
        """The lowest node that holds an interval of several codes; the root when there is none."""
        first, final = self.hierarchy.paths[low - 1], self.hierarchy.paths[high - 1]
        shared = next(at for at, pair in enumerate(zip(first, final, strict=False)) if pair[0] != pair[1])
        if not shared:
            return 1, self.last
        stem = first[:shared]
        while low > 1 and self.hierarchy.paths[low - 2][:shared] == stem:  # what a node holds stands together
            low -= 1
        while high < self.last and self.hierarchy.paths[high][:shared] == stem:
            high += 1
        return low, high


def _nodes(paths: Sequence[tuple[str, ...]]) -> list[list[tuple[int, str]]]:
    """By the code it begins at: last code and name of every node, largest first."""
    starts: list[list[tuple[int, str]]] = [[] for _ in range(len(paths) + 1)]
    opened: list[tuple[str, int]] = []
    for code, path in enumerate([*paths, ()], 1):
        shared = 0
        while shared < min(len(path), len(opened)) and opened[shared][0] == path[shared]:
            shared += 1
        for name, start in reversed(opened[shared:]):
            starts[start].insert(0, (code - 1, name))
        opened = [*opened[:shared], *((name, code) for name in path[shared:])]
    return starts


def _text(values: pa.Array, column: str) -> pa.Array:
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_nested(values.type) or pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        raise BadInput(f"quasi-identifier {column} has a type that can't be generalised", where=column)
    return values.cast(pa.string())


def fit_values(column: str, values: pa.Array, k: int, hierarchy: Hierarchy | None) -> TreeScale:
    """The scale of a column of values: by its hierarchy, or by how many people have each value.

    Without a hierarchy the most frequent values come first, at most 1024 of them, each had by k people or more.
    """
    text = _text(values, column)
    missing = bool(text.null_count)
    if hierarchy is not None:
        return TreeScale(column, hierarchy, missing=missing)
    counted = pc.value_counts(text.drop_null())
    names, counts = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
    common = sorted((-count, name) for name, count in zip(names, counts, strict=True) if count >= k)
    kept = [name for _, name in common[:MOST_VALUES]]
    if len(kept) < len(names):
        kept = [*(name for name in kept if name != OTHER), OTHER]
    return TreeScale(column, Hierarchy(tuple((name,) for name in kept), ordered=False), missing=missing)
