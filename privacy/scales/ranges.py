"""Numbers and dates by ranges: cuts at round places, every elementary range held by at least k people.

A cut is the roundest place near a quantile, not the value of who lies there, and the outermost ranges are open: what
the youngest or the richest person has is in no published text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.errors import BadInput

from ._base import UNKNOWN, Codes, Scale

__all__ = ["RangeScale", "fit_ranges", "is_ranged"]

Kind = Literal["date", "float", "int"]
Numbers = npt.NDArray[Any]

MOST_CELLS: Final = 256
PRESENT: Final = "not missing"
DAYS_OF_A_YEAR, DAYS_OF_A_MONTH = 366, 31


class RangeScale(Scale):
    """Values by `cuts`, ascending: a range begins at its cut and ends before the next; the outer two are open.

    `kind` says how they are written: whole numbers (`20 to 34`), numbers (`2.5 to <4`) or days (`1980`, `1980-03`,
    `1980-03-01`, as coarse as the cuts are). `extents` (ranges, 2) are the least and greatest value of each range;
    they are people's own, serve the loss alone and are never kept.
    """

    def __init__(
        self,
        column: str,
        kind: Kind,
        cuts: Numbers,
        *,
        missing: bool,
        empty: bool = False,
        extents: Numbers | None = None,
    ) -> None:
        super().__init__(column, missing=missing)
        self.kind, self.cuts, self.empty = kind, cuts, empty
        self._extents = extents

    @property
    def last(self) -> int:
        """The highest code."""
        return 0 if self.empty else len(self.cuts) + 1

    @property
    def measurable(self) -> bool:
        """Whether the extents are known: not when it was read back."""
        return self._extents is not None or self.empty

    def encode(self, values: pa.Array) -> Codes:
        """(n,) Codes; fractions have no place on a scale of whole numbers, nor infinity on any."""
        numbers, absent = plain_numbers(values, self.column, self.kind)
        codes = (1 + np.searchsorted(self.cuts, numbers, side="right")).astype(np.int32)
        if self.kind == "int" and numbers.dtype.kind == "f":
            codes[numbers != np.floor(numbers)] = UNKNOWN
        codes[np.isinf(numbers)] = UNKNOWN
        if self.empty:
            codes[:] = UNKNOWN
        codes[absent] = 0 if self.missing else UNKNOWN
        return codes

    def texts(self, low: Codes, high: Codes) -> list[str]:
        """(m,) Texts such as `20 to 34`, `19 or less`, `35 or more`."""
        pairs = zip((low - 2).tolist(), (high - 1).tolist(), strict=True)  # places among the cuts; beyond them, open
        if self.kind == "date":
            return self._days(pairs)
        starts = [f"{cut:.12g}" if self.kind == "float" else str(cut) for cut in self.cuts.tolist()]
        ends = [str(cut - 1) for cut in self.cuts.tolist()] if self.kind == "int" else starts
        between, below = (" to ", "{} or less") if self.kind == "int" else (" to <", "below {}")
        answer = []
        for start, end in pairs:
            if start < 0:
                answer.append(below.format(ends[end]) if end < len(ends) else PRESENT)
            elif end == len(ends):
                answer.append(f"{starts[start]} or more")
            else:
                same = starts[start] == ends[end]
                answer.append(starts[start] if same else f"{starts[start]}{between}{ends[end]}")
        return answer

    def loss(self, low: Codes, high: Codes) -> npt.NDArray[np.float64]:
        """(m,) The interval's extent over the column's; 0 where one value is all it holds."""
        if self._extents is None:
            raise ValueError("a scale that was read back, or is empty, knows no extents")
        whole = self._extents[-1, 1] - self._extents[0, 0]
        if not whole:
            return np.zeros(len(low))
        return (self._extents[high - 1, 1] - self._extents[low - 1, 0]) / whole

    def tells_nothing(self, low: Codes, high: Codes) -> npt.NDArray[np.bool_]:
        """(m,) Whether intervals are open on both sides, or hold only missing values."""
        return ((low <= self.first) & (high == self.last)) | (high == 0)

    def to_json(self) -> dict[str, Any]:
        """Kind, cuts, and whether anybody lacked the value."""
        return {
            "kind": self.kind, "column": self.column, "missing": self.missing, "empty": self.empty,
            "cuts": self.cuts.tolist(),
        }  # fmt: skip

    def _days(self, pairs: Iterable[tuple[int, int]]) -> list[str]:
        """Days, months or years, as coarse as both ends are."""
        cuts = self.cuts.astype("M8[D]")
        units = [cuts.astype(f"M8[{unit}]") for unit in "DMY"]
        grain = np.sum([unit == cuts for unit in units[1:]], axis=0).tolist()
        starts = [unit.astype(str).tolist() for unit in units]
        ends = [(unit - 1).astype(str).tolist() for unit in units]
        answer = []
        for start, end in pairs:
            if start < 0:
                answer.append(f"before {starts[grain[end]][end]}" if end < len(grain) else PRESENT)
            elif end == len(grain):
                answer.append(f"{starts[grain[start]][start]} or later")
            else:
                coarse = min(grain[start], grain[end])
                first, final = starts[coarse][start], ends[coarse][end]
                answer.append(first if first == final else f"{first} to {final}")
        return answer


def is_ranged(kind: pa.DataType) -> bool:
    """Whether a column of this type is generalised by ranges unless a hierarchy says otherwise."""
    return (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        or pa.types.is_date(kind) or pa.types.is_timestamp(kind)
    )  # fmt: skip


def plain_numbers(values: pa.Array, column: str, kind: Kind) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Values as int64 or float64, and which are missing: nulls and NaN; these hold some number."""
    if not is_ranged(values.type):
        raise BadInput(f"quasi-identifier {column} is no {'date' if kind == 'date' else 'number'} here", where=column)
    if kind == "date":
        if not (pa.types.is_date(values.type) or pa.types.is_timestamp(values.type)):
            raise BadInput(f"quasi-identifier {column} is no date here", where=column)
        values = values.cast(pa.timestamp(values.type.unit)) if pa.types.is_timestamp(values.type) else values
        values = pc.floor_temporal(values, unit="day") if pa.types.is_timestamp(values.type) else values
        values = values.cast(pa.date32()).cast(pa.int32())
    absent = values.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    try:
        wide = values.cast(pa.float64() if not pa.types.is_integer(values.type) else pa.int64())
    except pa.ArrowInvalid:
        raise BadInput(f"quasi-identifier {column} holds numbers beyond 64 bits", where=column) from None
    return pc.fill_null(wide, 0).to_numpy(zero_copy_only=False), absent


def fit_ranges(column: str, values: pa.Array, k: int) -> RangeScale:
    """The scale of a column of numbers or dates; BadInput where it holds infinity.

    Numbers that are all whole are written as whole numbers. At most 256 ranges, each of at least k people.
    """
    is_day = pa.types.is_date(values.type) or pa.types.is_timestamp(values.type)
    numbers, absent = plain_numbers(values, column, "date" if is_day else "float")
    present = np.sort(numbers[~absent])
    if len(present) and np.isinf(present[[0, -1]]).any():
        count = int(np.isinf(present).sum())
        raise BadInput(
            f"quasi-identifier {column} holds infinity in {count:,} rows", where=column, remedy="make it null"
        )
    kind: Kind = "date" if is_day else "int"
    if present.dtype.kind == "f" and not _whole(present):
        kind = "float"
    elif present.dtype.kind == "f":
        present = present.astype(np.int64)
    missing = bool(absent.any())
    if not len(present):
        return RangeScale(column, kind, present[:0], missing=missing, empty=True)
    cuts = _held(_round_cuts(present, kind), present, k)
    edges = np.concatenate(([0], np.searchsorted(present, cuts), [len(present)]))
    extents = np.stack((present[edges[:-1]], present[edges[1:] - 1]), axis=1).astype(np.float64)
    return RangeScale(column, kind, cuts, missing=missing, extents=extents)


def _whole(numbers: Numbers) -> bool:
    return (
        bool((np.abs(numbers[[0, -1]]) < 2**53).all() and (numbers == np.floor(numbers)).all())
        if len(numbers)
        else True
    )


def _round_cuts(present: Numbers, kind: Kind) -> Numbers:
    """Candidate cuts near the quantiles, each moved to the roundest place that stays above the one before."""
    places = np.arange(1, MOST_CELLS) * len(present) // MOST_CELLS
    candidates = np.unique(present[places])
    candidates = candidates[candidates > present[0]]
    before = np.concatenate((present[:1], candidates[:-1]))
    gaps = candidates - before
    if kind == "date":
        days = candidates.astype("M8[D]")
        rounded = np.where(gaps > 2 * DAYS_OF_A_MONTH, days.astype("M8[M]").astype("M8[D]"), days)
        rounded = np.where(gaps > 2 * DAYS_OF_A_YEAR, days.astype("M8[Y]").astype("M8[D]"), rounded)
        return np.unique(rounded.astype(np.int64))
    if kind == "int":
        steps = _step(np.maximum(gaps // 2, 1).astype(np.float64)).astype(np.int64)
        return np.unique(candidates // steps * steps)
    widths = _step(gaps / 2)
    return np.unique(np.maximum(np.floor(candidates / widths) * widths, np.nextafter(before, np.inf)))


def _step(widths: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The greatest of 1, 2 or 5 times a power of ten that is at most each width."""
    power = 10.0 ** np.floor(np.log10(widths))
    lead = widths / power
    return np.where(lead >= 5, 5, np.where(lead >= 2, 2, 1)) * power


def _held(cuts: Numbers, present: Numbers, k: int) -> Numbers:
    """Those of `cuts` between which at least k people lie, taken from the lowest up."""
    kept, reached = [], 0
    for cut, place in zip(cuts.tolist(), np.searchsorted(present, cuts).tolist(), strict=True):
        if place - reached >= k and len(present) - place >= k:
            kept.append(cut)
            reached = place
    return np.array(kept, present.dtype)
