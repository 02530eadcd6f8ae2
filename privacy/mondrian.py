"""Mondrian, all regions of a level at once: sorting and counting over columns of codes, no loop over rows or regions.

Source: LeFevre, DeWitt, Ramakrishnan, Mondrian multidimensional k-anonymity, ICDE 2006 (strict partitioning). A region
is cut on the column it is widest in, at the shallowest boundary of that column's hierarchy that leaves k people on
both sides, nearest the middle among those. Only counts decide, so the order of the rows changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["Accept", "Cuts", "Regions", "partition"]

Ints = npt.NDArray[np.int64]
Accept = Callable[[Ints, Ints, int], npt.NDArray[np.bool_]]
"""(rows, their group, number of groups) -> which groups may stand by themselves."""

LEAF: Final = -1
_KEY_BITS: Final = 63
_LOG_CHANCE: Final = float(np.log(1e-4))


@dataclass(frozen=True)
class Cuts:
    """The tree of cuts, node 0 first: below `at[node]` in column `column[node]` go left, the others right.

    A node whose column is -1 is a region; `left` then holds its number.
    """

    column: Ints
    at: Ints
    left: Ints
    right: Ints

    def region_of(self, codes: npt.NDArray[Any]) -> Ints:
        """(n,) The region that each row of codes (n, columns) falls in."""
        nodes = np.zeros(len(codes), np.int64)
        rows = np.arange(len(codes))
        while len(rows):
            here = nodes[rows]
            inner = self.column[here] != LEAF
            rows, here = rows[inner], here[inner]
            goes_right = codes[rows, self.column[here]] >= self.at[here]
            nodes[rows] = np.where(goes_right, self.right[here], self.left[here])
        return self.left[nodes]


@dataclass(frozen=True)
class Regions:
    """What a partition found: each row's region, the tree that leads there, and each region's box.

    A box, `low` to `high` (regions, columns), is what the cuts leave of all codes, narrowed where one column follows
    from others.
    """

    of_row: Ints
    cuts: Cuts
    low: Ints
    high: Ints


def partition(
    codes: npt.NDArray[Any],
    bounds: Sequence[tuple[int, int]],
    depths: Sequence[npt.NDArray[Any]],
    k: int,
    accept: Accept | None = None,
) -> Regions:
    """Cut rows of codes (n, columns), n >= k, into regions of at least k rows each.

    `bounds` are the first and last code of each column, `depths` how deep a cut before each code is. With `accept`
    no cut is made that it refuses a side of.
    """
    work = _Work(codes, bounds, depths, k)
    while work.live.size:
        work.retire()
        if not work.live.size:
            break
        found = work.best_cuts()
        if accept is not None:
            work.hold_to(found, accept)
        work.cut(found)
    return work.regions()


@dataclass
class _Found:
    """A cut for some of the live regions: region, rows left of it, first code right of it."""

    region: Ints
    left: Ints
    code: Ints


class _Live:
    """The regions still to be cut: rows of one region are neighbours, `starts` says from where."""

    def __init__(
        self, starts: Ints, sizes: Ints, node: Ints, low: Ints, high: Ints, spent: npt.NDArray[np.bool_]
    ) -> None:
        self.starts, self.sizes, self.node, self.low, self.high = starts, sizes, node, low, high
        self.spent = spent  # columns that can't be cut any more for want of k rows; cuts elsewhere don't help
        self.tried = np.zeros_like(spent)  # columns whose best cut was not accepted

    @property
    def size(self) -> int:
        return len(self.starts)

    def take(self, kept: npt.NDArray[Any]) -> _Live:
        sizes = self.sizes[kept]
        live = _Live(_starts(sizes), sizes, self.node[kept], self.low[kept], self.high[kept], self.spent[kept])
        live.tried = self.tried[kept]
        return live


class _Work:
    def __init__(
        self, codes: npt.NDArray[Any], bounds: Sequence[tuple[int, int]], depths: Sequence[npt.NDArray[Any]], k: int
    ) -> None:
        rows, columns = codes.shape
        lasts = np.array([last for _, last in bounds])
        narrow = np.uint16 if lasts.max(initial=0) < 2**16 else np.uint32
        self.k, self.columns = k, columns
        self.codes = np.ascontiguousarray(codes, narrow)
        self.rows = np.arange(rows)
        self.extent = np.maximum([last - first for first, last in bounds], 1)
        self.code_bits = max(int(lasts.max(initial=1)).bit_length(), 1)
        self.shallow = _Shallowest(depths)
        one = np.array([[first for first, _ in bounds]]), lasts[None, :].copy()
        self.live = _Live(
            np.zeros(1, np.int64), np.array([rows]), np.zeros(1, np.int64), *one, np.zeros((1, columns), bool)
        )
        self.below = np.zeros((columns, int(lasts.max(initial=0)) + 2), np.int64)
        """How many rows have a code below each, by column."""
        for at in range(columns):
            counts = np.bincount(self.codes[:, at], minlength=self.below.shape[1] - 1)
            self.below[at, 1:] = np.cumsum(counts)
        self.of_row = np.zeros(rows, np.int64)
        self.done: list[_Live] = []
        self.count = 0
        self.nodes: list[tuple[Ints, Ints, Ints, Ints, Ints]] = []
        self.node_count = 1

    def retire(self) -> None:
        """Put aside the regions that can't be cut; choose the column to cut the others on."""
        live = self.live
        low = np.minimum.reduceat(self.codes, live.starts, axis=0)
        high = np.maximum.reduceat(self.codes, live.starts, axis=0)
        self._narrow(low, high)
        width = (high.astype(np.int64) - low) / self.extent
        width[live.spent | live.tried] = 0
        cuttable = (live.sizes >= 2 * self.k) & (width.max(axis=1) > 0)
        if not cuttable.all():
            finished, ready = np.flatnonzero(~cuttable), np.flatnonzero(cuttable)
            of_done = np.repeat(~cuttable, live.sizes)
            numbers = self.count + np.arange(len(finished))
            self.of_row[self.rows[of_done]] = np.repeat(numbers, live.sizes[finished])
            done = live.take(finished)
            self._note(done.node, np.full(len(finished), LEAF), numbers * 0, numbers, numbers * 0)
            self.done.append(done)
            self.count += len(finished)
            self.codes, self.rows = self.codes[~of_done], self.rows[~of_done]
            self.live, width = live.take(ready), width[ready]
        self.choice = width.argmax(axis=1)

    def _narrow(self, least: npt.NDArray[Any], most: npt.NDArray[Any]) -> None:
        """Narrow boxes to the codes of their rows, where so many rows would hardly all lie there by chance.

        Such a column follows from others (who lives alone has no children). Where the rows merely happen to lie
        closer the box stays wide, so that newcomers find a place.
        """
        live, columns = self.live, np.arange(self.columns)
        inside = self.below[columns, most.astype(np.int64) + 1] - self.below[columns, least]
        whole = self.below[columns, live.high + 1] - self.below[columns, live.low]
        follows = live.sizes[:, None] * np.log(inside / whole) <= _LOG_CHANCE
        live.low = np.where(follows, least, live.low)
        live.high = np.where(follows, most, live.high)

    def best_cuts(self) -> _Found:
        """Sort every live region by its chosen column; the best cut of each that has one."""
        live, k = self.live, self.k
        of_row = np.repeat(np.arange(live.size), live.sizes)
        values = self.codes[np.arange(len(self.rows)), self.choice[of_row]]
        order, keys = _sorted(of_row, values, self.code_bits)
        self.codes, self.rows = self.codes.take(order, axis=0), self.rows.take(order)
        at = np.flatnonzero(keys[1:] != keys[:-1]) + 1
        region = keys[at] >> self.code_bits
        left = at - live.starts[region]
        able = (left >= k) & (live.sizes[region] - left >= k)
        at, region, left = at[able], region[able], left[able]
        if not len(at):
            return _Found(region, left, left)
        mask = (1 << self.code_bits) - 1
        depth, code = self.shallow.between(self.choice[region], keys[at - 1] & mask, keys[at] & mask)
        bits = len(self.rows).bit_length()
        score = (((depth << bits) | np.abs(2 * left - live.sizes[region])) << bits) | left
        first = np.flatnonzero(np.concatenate(([True], region[1:] != region[:-1])))
        best = np.minimum.reduceat(score, first) & ((1 << bits) - 1)
        winners = np.searchsorted(at, live.starts[region[first]] + best)
        return _Found(region[winners], left[winners], code[winners])

    def hold_to(self, found: _Found, accept: Accept) -> None:
        """Take back the cuts of which a side isn't accepted; their regions try another column."""
        live, count = self.live, len(found.region)
        if not count:
            return
        place = np.full(live.size, -1)
        place[found.region] = np.arange(count)
        of_row = np.repeat(place, live.sizes)
        offset = np.arange(len(self.rows)) - np.repeat(live.starts, live.sizes)
        cut = of_row >= 0
        group = 2 * of_row[cut] + (offset[cut] >= found.left[of_row[cut]])
        good = accept(self.rows[cut], group, 2 * count).reshape(-1, 2).all(axis=1)
        refused = found.region[~good]
        live.tried[refused, self.choice[refused]] = True
        found.region, found.left, found.code = found.region[good], found.left[good], found.code[good]

    def cut(self, found: _Found) -> None:
        """Make the cuts; a region without one has spent its column, unless the cut was only not accepted."""
        live = self.live
        split = np.zeros(live.size, bool)
        split[found.region] = True
        whole = np.flatnonzero(~split)
        untried = whole[~live.tried[whole, self.choice[whole]]]
        live.spent[untried, self.choice[untried]] = True
        parts = 1 + split
        parent = np.repeat(np.arange(live.size), parts)
        low, high, spent, tried = live.low[parent], live.high[parent], live.spent[parent], live.tried[parent]
        sizes, node = live.sizes[parent], live.node[parent]
        lefts = (np.cumsum(parts) - parts)[found.region]
        column = self.choice[found.region]
        sizes[lefts], sizes[lefts + 1] = found.left, sizes[lefts] - found.left
        high[lefts, column], low[lefts + 1, column] = found.code - 1, found.code
        tried[lefts], tried[lefts + 1] = False, False
        children = self.node_count + np.arange(2 * len(lefts)).reshape(-1, 2)
        self._note(node[lefts].copy(), column, found.code, children[:, 0], children[:, 1])
        node[lefts], node[lefts + 1] = children[:, 0], children[:, 1]
        self.node_count += 2 * len(lefts)
        self.live = _Live(_starts(sizes), sizes, node, low, high, spent)
        self.live.tried = tried

    def regions(self) -> Regions:
        """Everything found, once no region is live."""
        order = np.argsort(np.concatenate([note[0] for note in self.nodes]))
        column, at, left, right = (np.concatenate([note[part] for note in self.nodes])[order] for part in (1, 2, 3, 4))
        low, high = (np.concatenate([getattr(done, end) for done in self.done]) for end in ("low", "high"))
        return Regions(self.of_row, Cuts(column, at, left, right), low, high)

    def _note(self, node: Ints, column: Ints, at: Ints, left: Ints, right: Ints) -> None:
        self.nodes.append((node, column, at, left, right))


class _Shallowest:
    """The shallowest cut between two neighbouring codes of a region, by a sparse table over each column's depths."""

    def __init__(self, depths: Sequence[npt.NDArray[Any]]) -> None:
        self.width = max(len(column) for column in depths)
        table = np.full((len(depths), self.width), np.iinfo(np.int64).max)
        for at, column in enumerate(depths):  # of equally shallow ones the last, which is where the next code begins
            places = self.width - 1 - np.arange(len(column))
            table[at, : len(column)] = np.asarray(column, np.int64) * self.width + places
        self.levels = [table]
        while (1 << len(self.levels)) <= self.width:
            above, step = self.levels[-1], 1 << (len(self.levels) - 1)
            wider = above.copy()
            wider[:, : self.width - step] = np.minimum(above[:, : self.width - step], above[:, step:])
            self.levels.append(wider)

    def between(self, column: Ints, below: npt.NDArray[Any], code: npt.NDArray[Any]) -> tuple[Ints, Ints]:
        """Depth and code of the best cut after `below` and up to `code`, both (m,)."""
        low, high = below.astype(np.int64) + 1, code.astype(np.int64)
        reach = np.floor(np.log2(high - low + 1)).astype(np.int64)
        answer = np.empty(len(column), np.int64)
        for level in np.unique(reach):
            some = np.flatnonzero(reach == level)
            table, step = self.levels[level], 1 << int(level)
            answer[some] = np.minimum(table[column[some], low[some]], table[column[some], high[some] - step + 1])
        return answer // self.width, self.width - 1 - answer % self.width


def _starts(sizes: Ints) -> Ints:
    return np.cumsum(sizes) - sizes


def _sorted(region: Ints, values: npt.NDArray[Any], code_bits: int) -> tuple[Ints, Ints]:
    """Order by region, then value; and the sorted keys `region << code_bits | value`."""
    keys = (region << code_bits) | values.astype(np.int64)
    bits = len(keys).bit_length()
    if int(region[-1:].max(initial=0)).bit_length() + code_bits + bits > _KEY_BITS:
        order = np.argsort(keys, kind="stable")
        return order, keys[order]
    packed = np.sort((keys << bits) | np.arange(len(keys)))  # sorting numbers is several times faster than argsort
    return packed & ((1 << bits) - 1), packed >> bits
