"""Look up millions of 16-byte MACs in memory: sorted arrays behind a directory of their top bits.

MAC values are uniform, so the top bits of a key say almost exactly where it lies; a short scan does the rest.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["IdentityIndex", "SortedIndex"]

Blocks = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]

_CHUNK: Final = 8192
_DELTA_ROWS: Final = 65536


class SortedIndex:
    """An immutable set of distinct (n, 16) uint8 keys; `order` says where each sorted key came from."""

    __slots__ = ("_bits", "_high", "_low", "_start", "order")

    def __init__(self, keys: Blocks) -> None:
        words = np.ascontiguousarray(keys).view(">u8").astype(np.uint64).reshape(len(keys), 2)
        self.order: Positions = np.lexsort((words[:, 1], words[:, 0]))
        self._high, self._low = words[self.order, 0], words[self.order, 1]
        self._bits = max(int(np.log2(max(len(keys), 2))), 1)
        buckets = np.bincount((self._high >> np.uint64(64 - self._bits)).astype(np.int64), minlength=1 << self._bits)
        self._start: Positions = np.concatenate([[0], np.cumsum(buckets)])

    def __len__(self) -> int:
        return len(self._high)

    def find(self, keys: Blocks) -> tuple[Positions, npt.NDArray[np.bool_]]:
        """Positions in sorted order (meaningless where unknown) and which keys are known."""
        positions = np.zeros(len(keys), np.int64)
        known = np.zeros(len(keys), np.bool_)
        if len(self) and len(keys):
            words = np.ascontiguousarray(keys).view(">u8").reshape(len(keys), 2)
            for start in range(0, len(keys), _CHUNK):
                part = words[start : start + _CHUNK].astype(np.uint64)
                here = slice(start, start + len(part))
                positions[here], known[here] = self._find_chunk(part[:, 0].copy(), part[:, 1].copy())
        return positions, known

    def _find_chunk(
        self, high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64]
    ) -> tuple[Positions, npt.NDArray[np.bool_]]:
        last = len(self) - 1
        at = np.minimum(self._start.take((high >> np.uint64(64 - self._bits)).astype(np.int64)), last)
        behind = np.flatnonzero(self._high.take(at) < high)
        while behind.size:
            at[behind] += 1
            behind = behind[at[behind] <= last]
            behind = behind[self._high.take(at[behind]) < high[behind]]
        np.minimum(at, last, out=at)
        same = self._high.take(at) == high
        twins = np.flatnonzero(same & (self._low.take(at) < low))  # equal high words: n^2 / 2^65, but possible
        while twins.size:
            at[twins] = np.minimum(at[twins] + 1, last)
            twins = twins[(self._high.take(at[twins]) == high[twins]) & (self._low.take(at[twins]) < low[twins])]
            twins = twins[at[twins] < last]
        return at, (self._high.take(at) == high) & (self._low.take(at) == low)


class IdentityIndex:
    """identity index -> handle, growing: a large sorted base and a small delta that is merged when it grows."""

    __slots__ = ("_base", "_delta")

    def __init__(self, keys: Blocks, handles: Blocks) -> None:
        self._base = _Segment(keys, handles)
        self._delta = _Segment(_NO_ROWS, _NO_ROWS)

    def find(self, keys: Blocks) -> tuple[Blocks, npt.NDArray[np.bool_]]:
        """(n, 16) handles (zero where unknown) and which keys are known."""
        handles = np.zeros((len(keys), 16), np.uint8)
        positions, known = self._base.index.find(keys)
        handles[known] = self._base.handles[positions[known]]
        if len(self._delta.index) and not known.all():
            rest = np.flatnonzero(~known)
            positions, late = self._delta.index.find(keys[rest])
            handles[rest[late]] = self._delta.handles[positions[late]]
            known[rest[late]] = True
        return handles, known

    def add(self, keys: Blocks, handles: Blocks) -> None:
        """Remember people who are not in it yet."""
        delta = self._delta.joined(_Segment(keys, handles))
        if len(delta.index) > max(_DELTA_ROWS, len(self._base.index) // 4):
            self._base, self._delta = self._base.joined(delta), _Segment(_NO_ROWS, _NO_ROWS)
        else:
            self._delta = delta


class _Segment:
    """Keys with their handles, both in sorted order."""

    __slots__ = ("handles", "index", "keys")

    def __init__(self, keys: Blocks, handles: Blocks) -> None:
        self.index = SortedIndex(keys)
        self.keys = np.ascontiguousarray(keys[self.index.order])
        self.handles = np.ascontiguousarray(handles[self.index.order])

    def joined(self, other: _Segment) -> _Segment:
        return _Segment(np.concatenate([self.keys, other.keys]), np.concatenate([self.handles, other.handles]))


_NO_ROWS: Final = np.zeros((0, 16), np.uint8)
